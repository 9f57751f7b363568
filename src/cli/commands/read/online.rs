//! `planspec verify --online`: what the host has now, and who may push there.

use serde_json::{Value, json};

use crate::cli::Context;
use crate::cli::ci::host::Host;
use crate::cli::error::CliError;
use crate::cli::repo_context::SelectedCommits;
use crate::git::ObjectId;
use crate::host::{HostBranch, PushRule};
use crate::report::text;

/// A branch on the host, beside what this clone has read of it.
pub(crate) struct OnlineBranch {
    name: String,
    read: Option<ObjectId>,
    host: HostBranch,
}

/// Asks the host about the desired branch and the status branch.
///
/// With the host's own API and not through Git, whose answers may come from a mirror or a proxy between here and there.
pub(crate) fn ask(
    desired: &str,
    tips: &SelectedCommits,
    context: &Context,
) -> Result<Vec<OnlineBranch>, CliError> {
    let host = Host::open(&context.environment.actions()).map_err(|error| {
        error.hint("--online needs GITHUB_TOKEN, a token that may read, and GITHUB_REPOSITORY, as OWNER/NAME")
    })?;
    let mut found = Vec::new();
    for (name, read) in [(desired, tips.desired), (tips.config.status_branch.as_str(), tips.status)] {
        let on_host = host.ask(|github, repo| github.host_branch(repo, name))?;
        tracing::debug!(branch = name, tip = ?on_host.tip, pushes = on_host.pushes.word(), "asked the host");
        found.push(OnlineBranch { name: name.to_owned(), read, host: on_host });
    }
    Ok(found)
}

impl OnlineBranch {
    /// Whether this clone has read what the host has.
    pub(crate) fn is_same(&self) -> bool {
        self.read.map(|read| read.to_string()) == self.host.tip
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "branch": self.name,
            "here": self.read.map(|read| read.to_string()),
            "host": self.host.tip,
            "same": self.is_same(),
            "pushes": self.host.pushes.word(),
        })
    }

    /// For people.
    pub(crate) fn line(&self) -> String {
        let short = |id: &str| id.chars().take(10).collect::<String>();
        let tip = self.host.tip.as_deref().map_or_else(|| "no such branch".to_owned(), short);
        let same = match self.read {
            _ if self.is_same() => "as here".to_owned(),
            Some(read) => format!("here {}", short(&read.to_string())),
            None => "not here".to_owned(),
        };
        let pushes = match self.host.pushes {
            PushRule::Restricted => "pushes are restricted by a ruleset",
            PushRule::Protected => "protected; only an administrator is told who may push",
            PushRule::Open => "whoever may write to the repository may push",
        };
        text::line(&format!("{} on the host: {tip}, {same}; {pushes}", self.name)).into_owned()
    }

    /// What is wrong with it.
    pub(crate) fn error(&self) -> Option<CliError> {
        (!self.is_same()).then(|| {
            CliError::no(text::line(&format!("`{}` on the host is not what was read here", self.name)))
                .hint("fetch and verify again; if it stays so, somebody between here and the host changes what you read, or your commits are not pushed")
        })
    }

    /// What is open about it, and how to close it.
    pub(crate) fn advice(&self, is_status: bool) -> Option<String> {
        let what = match is_status {
            true => {
                "add a branch ruleset for it with \"Restrict updates\", and exempt the app or account that runs planspec"
            }
            false => "add a branch ruleset for it with \"Require a pull request before merging\"",
        };
        let advice = format!("`{}` is open to every writer; on GitHub, Settings, Rules: {what}", self.name);
        (self.host.pushes == PushRule::Open).then(|| text::line(&advice).into_owned())
    }
}
