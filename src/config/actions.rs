//! The variables that a runner of GitHub Actions sets for its jobs.

use std::fmt;
use std::path::PathBuf;

use super::Environment;

/// The API of the public host.
const PUBLIC_API: &str = "https://api.github.com";

/// The variables that a runner of GitHub Actions sets for its jobs. `Debug` never shows the token.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Actions {
    /// `GITHUB_EVENT_NAME`: what happened.
    pub event_name: Option<String>,
    /// `GITHUB_EVENT_PATH`: the file that says what happened in detail.
    pub event_path: Option<PathBuf>,
    /// `GITHUB_REPOSITORY`: `OWNER/NAME`.
    pub repository: Option<String>,
    /// `GITHUB_SHA`.
    pub sha: Option<String>,
    /// `GITHUB_TOKEN`.
    pub token: Option<String>,
    /// `GITHUB_API_URL`, or that of the public host.
    pub api: String,
    /// `GITHUB_SERVER_URL`.
    pub server: Option<String>,
    /// `GITHUB_RUN_ID`.
    pub run_id: Option<String>,
    /// `GITHUB_OUTPUT`: where outputs of the step go.
    pub output: Option<PathBuf>,
    /// `GITHUB_STEP_SUMMARY`: where the summary of the job goes.
    pub summary: Option<PathBuf>,
}

impl Environment {
    /// What the runner of GitHub Actions says, as far as it says anything.
    #[must_use]
    pub fn actions(&self) -> Actions {
        let text = |name| self.text(name).map(str::to_owned);
        let path = |name| self.os(name).map(PathBuf::from);
        Actions {
            event_name: text("GITHUB_EVENT_NAME"),
            event_path: path("GITHUB_EVENT_PATH"),
            repository: text("GITHUB_REPOSITORY"),
            sha: text("GITHUB_SHA"),
            token: text("GITHUB_TOKEN"),
            // Absent on a person's own machine, where a token alone is enough to work with the public host.
            api: text("GITHUB_API_URL").unwrap_or_else(|| PUBLIC_API.to_owned()),
            server: text("GITHUB_SERVER_URL"),
            // It becomes a part of addresses.
            run_id: text("GITHUB_RUN_ID").filter(|id| id.bytes().all(|byte| byte.is_ascii_digit())),
            output: path("GITHUB_OUTPUT"),
            summary: path("GITHUB_STEP_SUMMARY"),
        }
    }
}

impl fmt::Debug for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Actions")
            .field("event_name", &self.event_name)
            .field("repository", &self.repository)
            .field("token", &self.token.as_ref().map(|_| "***"))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_in_no_debug_output() {
        let environment =
            Environment::from_pairs([("GITHUB_TOKEN", "ghs_secret"), ("GITHUB_RUN_ID", "7; rm")]);
        let actions = environment.actions();
        assert_eq!((actions.token.as_deref(), actions.run_id.clone()), (Some("ghs_secret"), None));
        assert_eq!(actions.api, PUBLIC_API);
        assert!(!format!("{actions:?}").contains("ghs_secret"));
    }
}
