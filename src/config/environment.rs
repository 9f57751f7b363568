//! The environment of the process: read once in `main`, passed on as a value. Nothing else reads variables.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use super::artifacts::{BucketAccess, BucketCredentials};
use super::credentials;

/// The variables that the process was started with. Values may be secrets, so `Debug` shows no value.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    /// Whether credentials were handed over to this process in another way.
    cleared: bool,
}

/// A continuous integration service that this process runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ci {
    /// GitHub Actions.
    GitHubActions,
    /// Another one.
    Other,
}

/// What the environment says about a Git author or committer; each part overrides the Git configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GitIdentity {
    /// The name.
    pub name: Option<String>,
    /// The email address.
    pub email: Option<String>,
}

impl Environment {
    /// Reads the environment of this process.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
    pub fn read() -> Self {
        // Not `vars`, which panics when any variable of the process is not Unicode.
        let mut environment = Self::from_pairs(std::env::vars_os());
        environment.cleared = credentials::take_over(&mut environment.variables);
        environment
    }

    /// An environment of exactly these variables.
    #[must_use]
    pub fn from_pairs<K: Into<OsString>, V: Into<OsString>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let variables = pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables, cleared: false }
    }

    /// The variables that hold a credential, by their names.
    #[must_use]
    pub fn credentials(&self) -> Vec<(OsString, OsString)> {
        credentials::find(&self.variables)
    }

    /// Whether they were taken out of sight when this process was started.
    #[must_use]
    pub fn is_cleared(&self) -> bool {
        self.cleared
    }

    /// A file with the credentials for a program that is started in place of this one, and its descriptor, which stays open.
    ///
    /// # Errors
    /// When the system has no such files.
    #[cfg(target_os = "linux")]
    pub fn hand_over(&self) -> std::io::Result<(std::os::fd::OwnedFd, i32)> {
        credentials::hand_over(&self.credentials())
    }

    /// A variable, when it is set and not empty.
    #[must_use]
    pub fn os(&self, name: &str) -> Option<&OsStr> {
        // A CI service passes a secret or an input that is not set as an empty variable.
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// A variable, when it is set, not empty and UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.os(name).and_then(OsStr::to_str)
    }

    /// The overrides of the author that git itself knows, `GIT_AUTHOR_NAME` and `GIT_AUTHOR_EMAIL`.
    #[must_use]
    pub fn author(&self) -> GitIdentity {
        self.identity("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL")
    }

    /// The overrides of the committer that git itself knows, `GIT_COMMITTER_NAME` and `GIT_COMMITTER_EMAIL`.
    #[must_use]
    pub fn committer(&self) -> GitIdentity {
        self.identity("GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
    }

    fn identity(&self, name: &str, email: &str) -> GitIdentity {
        let text = |variable| self.text(variable).map(str::to_owned);
        GitIdentity { name: text(name), email: text(email) }
    }

    /// Whether this runs inside a task of planspec: for that, `PLANSPEC_OUTPUT` names a file, and is no default of a flag.
    #[must_use]
    pub fn is_inside_task(&self) -> bool {
        self.os("PLANSPEC_IDEMPOTENCY_KEY").is_some()
    }

    /// `PLANSPEC_<NAME>`: a default for the global flag of that name (`REPO`, `REF`, `REMOTE`, `NAMESPACE`,
    /// `OUTPUT`, `COLOR`, `RUNNER`, `LOG`).
    #[must_use]
    pub fn override_for(&self, name: &str) -> Option<&str> {
        self.text(&format!("PLANSPEC_{name}"))
    }

    /// The continuous integration service, if this runs in one.
    #[must_use]
    pub fn ci(&self) -> Option<Ci> {
        // `CI=false` is how people make a program behave as on their own machine.
        let on = |name| self.text(name).is_some_and(|value| value != "false" && value != "0");
        if on("GITHUB_ACTIONS") {
            Some(Ci::GitHubActions)
        } else if on("CI") {
            Some(Ci::Other)
        } else {
            None
        }
    }

    /// Whether the user wants no colour (`NO_COLOR`, or a terminal of type `dumb`).
    #[must_use]
    pub fn no_color(&self) -> bool {
        // Any value counts, also `0` and `false`: the convention asks only whether it is set and not empty.
        self.os("NO_COLOR").is_some() || self.dumb_terminal()
    }

    /// Whether the terminal cannot move its cursor.
    #[must_use]
    pub fn dumb_terminal(&self) -> bool {
        self.text("TERM") == Some("dumb")
    }

    /// The width of the terminal as the user wants it, `COLUMNS`.
    #[must_use]
    pub fn columns(&self) -> Option<u16> {
        self.text("COLUMNS")?.parse().ok().filter(|&columns| columns > 0)
    }

    /// Where caches that belong to no repository live: `$XDG_CACHE_HOME/planspec`, or `~/.cache/planspec`.
    #[must_use]
    pub fn cache_home(&self) -> Option<PathBuf> {
        // The XDG specification says that a relative path is to be ignored: it would depend on the working directory.
        let base = match self.os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute()) {
            Some(path) => path,
            None => PathBuf::from(self.os("HOME")?).join(".cache"),
        };
        Some(base.join("planspec"))
    }

    /// Where tasks work: below `RUNNER_TEMP` in a CI job, which its host empties, else with the other caches.
    #[must_use]
    pub fn work_home(&self) -> Option<PathBuf> {
        let temporary = self.os("RUNNER_TEMP").map(PathBuf::from).filter(|path| path.is_absolute());
        match temporary.filter(|_| self.ci().is_some()) {
            Some(temporary) => Some(temporary.join("planspec")),
            None => Some(self.cache_home()?.join("work")),
        }
    }

    /// What there is for object stores, under the names that every client of S3 reads.
    #[must_use]
    pub fn bucket_access(&self) -> BucketAccess {
        let text = |name| self.text(name).map(str::to_owned);
        let credentials = text("AWS_ACCESS_KEY_ID").zip(text("AWS_SECRET_ACCESS_KEY"));
        let credentials = credentials.map(|(key_id, secret)| BucketCredentials {
            key_id,
            secret,
            token: text("AWS_SESSION_TOKEN"),
        });
        BucketAccess { credentials, region: text("AWS_REGION").or_else(|| text("AWS_DEFAULT_REGION")) }
    }

    /// The editor for people: `VISUAL`, else `EDITOR`. A command line, to be split into words.
    #[must_use]
    pub fn editor(&self) -> Option<&str> {
        self.text("VISUAL").or_else(|| self.text("EDITOR"))
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment::from_pairs(pairs.iter().copied())
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        let environment = environment(&[("NO_COLOR", ""), ("VISUAL", ""), ("EDITOR", "vi -e")]);
        assert!(!environment.no_color());
        assert_eq!(environment.editor(), Some("vi -e"));
    }

    #[test]
    fn values_never_reach_a_debug_output() {
        let text = format!("{:?}", environment(&[("TOKEN", "s3cret")]));
        assert!(text.contains("TOKEN") && !text.contains("s3cret"), "{text}");
    }

    #[test]
    fn a_relative_cache_home_is_ignored_as_its_specification_asks() {
        let environment = environment(&[("XDG_CACHE_HOME", "cache"), ("HOME", "/elsewhere")]);
        assert_eq!(environment.cache_home(), Some(PathBuf::from("/elsewhere/.cache/planspec")));
    }

    #[test]
    fn ci_is_recognised() {
        assert_eq!(environment(&[("CI", "true"), ("GITHUB_ACTIONS", "true")]).ci(), Some(Ci::GitHubActions));
        assert_eq!(environment(&[("CI", "1")]).ci(), Some(Ci::Other));
        assert_eq!(environment(&[("CI", "false")]).ci(), None);
    }
}
