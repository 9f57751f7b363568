//! External nodes of the types `pull-request` and `issue`: waits for what somebody else opens on the Git host, and ends there.
//! Opens and changes nothing.

use std::time::Duration;

use serde_json::{Value, json};

use super::External;
use crate::host::{Account, GitHost, HostError, Issue, PullRequest, RepoName};
use crate::model::{JsonMap, NodeReason};
use crate::provider::context::NO_HOST;
use crate::provider::output::plain_line;
use crate::provider::settings::Settings;
use crate::provider::{AttemptOutcome, ConfigError};

/// The longest that one poll may take, waits for the host's limits included.
const LONGEST: Duration = Duration::from_secs(30);

/// What is waited for, and where.
#[derive(Debug)]
pub(super) struct HostQuery {
    awaited: AwaitedOnHost,
    /// The repository of the plan when absent.
    repository: Option<RepoName>,
}

/// What is waited for on the host.
#[derive(Debug, PartialEq, Eq)]
enum AwaitedOnHost {
    Pull(u64),
    /// The pull request from a branch, of a fork if its owner is named.
    Branch {
        owner: Option<String>,
        branch: String,
    },
    Issue(u64),
}

impl HostQuery {
    pub(super) fn read(config: &JsonMap, form: &str) -> Result<Self, ConfigError> {
        let known: &[&str] = if form == "issue" {
            &["type", "number", "repository"]
        } else {
            &["type", "number", "head", "repository"]
        };
        let settings = Settings::new(config, known)?;
        let invalid = |key: &str, why: String| ConfigError::Invalid { key: key.to_owned(), why };
        let repository = settings.text("repository")?.map(|name| name.parse::<RepoName>()).transpose();
        let repository = repository.map_err(|error| invalid("repository", error.to_string()))?;
        let awaited = match (settings.value("number"), settings.text("head")?) {
            (Some(number), None) => {
                let number = number_of(number).ok_or_else(|| {
                    invalid("number", "must be the number of a pull request or an issue".to_owned())
                })?;
                if form == "issue" { AwaitedOnHost::Issue(number) } else { AwaitedOnHost::Pull(number) }
            }
            (None, Some(head)) => branch_of(&head).ok_or_else(|| {
                invalid("head", "must be BRANCH, or OWNER:BRANCH for one of a fork".to_owned())
            })?,
            _ => return Err(invalid("number", "is needed, or `head` for a pull request".to_owned())),
        };
        Ok(Self { awaited, repository })
    }
}

/// A number, or what an expression made of one: the output of a script is a text.
fn number_of(value: &Value) -> Option<u64> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_u64(),
    };
    number.filter(|number| *number > 0)
}

fn branch_of(head: &str) -> Option<AwaitedOnHost> {
    // No branch has a colon in its name, so the first one ends the owner.
    let (owner, branch) = match head.split_once(':') {
        Some((owner, branch)) => (Some(owner.to_owned()), branch),
        None => (None, head),
    };
    let is_sound = !branch.is_empty() && owner.as_ref().is_none_or(|owner| !owner.is_empty());
    is_sound.then(|| AwaitedOnHost::Branch { owner, branch: branch.to_owned() })
}

impl External {
    pub(super) async fn look_on_host(&self, query: &HostQuery) -> AttemptOutcome {
        let home = self.0.settings.home.as_ref().map(|home| &home.repo);
        let Some(repo) = query.repository.as_ref().or(home).filter(|_| self.0.settings.host.is_some()) else {
            // A matter of this runner: another one, such as a job on the host, can go on with the node.
            return AttemptOutcome::Blocked {
                reason: NodeReason::ProviderUnavailable,
                message: NO_HOST.to_owned(),
                handle: None,
                poll_after: None,
            };
        };
        let found = match self.0.host() {
            Ok(host) => self.found(host.within(LONGEST).settled().as_ref(), repo, &query.awaited).await,
            Err(error) => Err(error),
        };
        found.unwrap_or_else(|error| {
            tracing::debug!(%error, %repo, "cannot poll the Git host");
            let message = if error.is_passing() {
                // Without the host's own words: they hold times, and a message that differs at each poll is a commit at
                // each poll.
                "the Git host cannot be asked now: it fails, or limits requests".to_owned()
            } else {
                error.to_string()
            };
            self.waits(&message, None)
        })
    }

    async fn found(
        &self,
        host: &dyn GitHost,
        repo: &RepoName,
        awaited: &AwaitedOnHost,
    ) -> Result<AttemptOutcome, HostError> {
        match awaited {
            AwaitedOnHost::Pull(number) => {
                let pull = host.pull(repo, *number).await?;
                if pull.is_rejected() {
                    let message = format!("pull request #{number} was closed without being merged");
                    return Ok(AttemptOutcome::permanent(NodeReason::Rejected, message));
                }
                Ok(self.pull(&pull))
            }
            AwaitedOnHost::Branch { owner, branch } => {
                let origin = format!("{}:{branch}", owner.as_deref().unwrap_or(repo.owner()));
                let mut pulls = host.pulls_from(repo, &origin).await?;
                // The host lists forks of the same owner, too; and a stranger's branch of that name must not decide.
                pulls.retain(|pull| pull.head.branch == *branch && (owner.is_some() || !pull.is_from_fork()));
                // One that was closed is no end here: people close a pull request and open the next from its branch.
                Ok(match pulls.iter().filter(|pull| !pull.is_rejected()).max_by_key(|pull| pull.number) {
                    Some(pull) => self.pull(pull),
                    None => {
                        self.waits(&format!("there is no open or merged pull request from `{branch}`"), None)
                    }
                })
            }
            AwaitedOnHost::Issue(number) => Ok(self.issue(&host.issue(repo, *number).await?)),
        }
    }

    /// One that is open or merged.
    fn pull(&self, pull: &PullRequest) -> AttemptOutcome {
        if pull.merged_at.is_none() {
            return self
                .waits(&format!("pull request #{} is not merged yet: {}", pull.number, pull.url), None);
        }
        let mut outputs = common(pull.number, &pull.url, &pull.title, pull.user.as_ref());
        outputs.extend([
            ("head".to_owned(), json!(line(&pull.head.sha))),
            ("base".to_owned(), json!(line(&pull.base.branch))),
            ("mergeCommit".to_owned(), json!(pull.merge_commit.as_deref().map(line))),
        ]);
        AttemptOutcome::Succeeded { outputs: self.0.redactor.map(outputs) }
    }

    fn issue(&self, issue: &Issue) -> AttemptOutcome {
        let number = issue.number;
        if issue.is_pull {
            // Closing a pull request closes its issue: the plan would go on without what it waits for.
            let message = format!("#{number} is a pull request: write `type: pull-request`");
            return AttemptOutcome::permanent(NodeReason::ProviderFailed, message);
        }
        if issue.is_open {
            return self.waits(&format!("issue #{number} is still open: {}", issue.url), None);
        }
        if let Some(reason) = issue.closed_as.filter(|end| end.is_refusal()) {
            let message = format!("issue #{number} was closed as {reason}");
            return AttemptOutcome::permanent(NodeReason::Rejected, message);
        }
        let mut outputs = common(number, &issue.url, &issue.title, issue.user.as_ref());
        outputs.insert("closedBy".to_owned(), json!(login(issue.closed_by.as_ref())));
        AttemptOutcome::Succeeded { outputs: self.0.redactor.map(outputs) }
    }
}

/// The outputs that both have. They are data for the tasks that read them, whatever stands in them (Invariant 8).
fn common(number: u64, url: &str, title: &str, author: Option<&Account>) -> JsonMap {
    JsonMap::from_iter([
        ("number".to_owned(), json!(number)),
        ("url".to_owned(), json!(line(url))),
        ("title".to_owned(), json!(line(title))),
        ("author".to_owned(), json!(login(author))),
    ])
}

fn login(account: Option<&Account>) -> Option<String> {
    account.map(|account| line(&account.login))
}

fn line(text: &str) -> String {
    plain_line(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(form: &str, config: Value) -> Result<AwaitedOnHost, String> {
        let Value::Object(config) = config else { panic!("no map") };
        HostQuery::read(&config, form).map(|query| query.awaited).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_waited_for_is_a_number_or_a_branch() {
        assert_eq!(read("issue", json!({ "number": 7 })), Ok(AwaitedOnHost::Issue(7)));
        assert_eq!(read("pull-request", json!({ "number": "7" })), Ok(AwaitedOnHost::Pull(7)));
        let branch = |owner: Option<&str>| AwaitedOnHost::Branch {
            owner: owner.map(str::to_owned),
            branch: "a/b".to_owned(),
        };
        assert_eq!(read("pull-request", json!({ "head": "a/b" })), Ok(branch(None)));
        assert_eq!(read("pull-request", json!({ "head": "ada:a/b" })), Ok(branch(Some("ada"))));
        for wrong in [
            json!({}),
            json!({ "number": 0 }),
            json!({ "number": "seven" }),
            json!({ "head": ":x" }),
            json!({ "head": "" }),
            json!({ "number": 1, "repository": "../x" }),
        ] {
            assert!(read("pull-request", wrong.clone()).is_err(), "{wrong}");
        }
    }
}
