//! Reviews of a delivery that request changes, and conflicts with its base: who asked for what, and whether a node runs again
//! for it.

use super::task::PullTask;
use crate::host::{HostError, PullRequest, RepoPermission, ReviewVerdict};
use crate::markup::in_their_words;
use crate::model::{ChangeRequest, NodeId};
use crate::provider::output::plain_line;

/// How much of a reviewer's words is shown at the node, in characters.
const SHOWN: usize = 500;

/// How much of them goes into the brief of a node that runs again, in characters.
const PASSED_ON: usize = 4_000;

/// Who asks for the changes that a conflict takes.
const BY: &str = "planspec";

/// What a node is asked to do about a conflict.
fn conflict_words(branch: &str) -> String {
    format!(
        "Branch `{branch}` changed what this work changes. Its newest commit is merged into the working directory, and `git log -1` \
         names the files that conflict. The two sides stand between conflict markers; a file that one side deleted has none, and is \
         as the other side left it. Resolve every conflict, keep what both sides are for, and leave no marker."
    )
}

impl PullTask {
    /// What a reviewer wants changed, as a message; it is noted for the report.
    pub(super) async fn change_request(&self, pull: &PullRequest) -> Result<Option<String>, HostError> {
        let Some((login, words)) = self.requested_changes(pull).await? else { return Ok(None) };
        let shown = in_their_words(&words, SHOWN);
        let mut message = format!("{login} requested changes of pull request #{}{shown}", pull.number);
        let again = self.again(pull);
        if let Err(why) = &again {
            message = format!("{message}; {why}");
        }
        // Lines stay lines, since code may be quoted; all else that a terminal obeys goes, and what looks like a secret.
        let lines: Vec<String> = words.lines().map(|line| plain_line(line.as_bytes())).collect();
        let words = self.redactor.text(&lines.join("\n")).chars().take(PASSED_ON).collect();
        let node = again.ok().flatten();
        let commit = pull.head.sha.clone();
        let request = ChangeRequest { node, by: login, words, commit, conflicts_with: None };
        let _ = self.requested.set(Box::new(request));
        Ok(Some(message))
    }

    /// What is said of a pull request that conflicts with its base; that it is to be resolved is noted for the report.
    pub(super) fn conflict(&self, pull: &PullRequest) -> String {
        let shown = plain_line(pull.base.branch.as_bytes());
        let said = format!("; it conflicts with `{shown}`");
        match self.again(pull) {
            // The name as the host gave it: it is fetched by that, and what is no name of a branch is refused there.
            Ok(Some(node)) => {
                let words = conflict_words(&shown);
                let by = BY.to_owned();
                let commit = pull.head.sha.clone();
                let branch = Some(pull.base.branch.clone());
                let request = ChangeRequest { node: Some(node), by, words, commit, conflicts_with: branch };
                let _ = self.requested.set(Box::new(request));
                said
            }
            Ok(None) => said,
            Err(why) => format!("{said}; {why}"),
        }
    }

    /// The node that runs again; the error says why none does, though the Binding names one.
    fn again(&self, pull: &PullRequest) -> Result<Option<NodeId>, String> {
        // Work that somebody else pushed is in no record, and nothing is built on it.
        let is_ours = Some(&pull.head.sha) == self.attempt.upstream.commit.as_ref();
        let Some(node) = self.settings.rework.as_ref().filter(|_| is_ours) else { return Ok(None) };
        let mut before = self.attempt.upstream.nodes.iter();
        let Some(found) = before.find(|found| found.id == *node && found.result.is_some()) else {
            return Err(format!("`{node}`, which `rework` names, changed nothing before this node"));
        };
        let most = self.settings.max_rework;
        if found.reworks >= most {
            let times = if most == 1 { "once".to_owned() } else { format!("{most} times") };
            return Err(format!("`{node}` ran again {times}, which is all that `maxRework` allows"));
        }
        Ok(Some(node.clone()))
    }

    /// The last word of somebody with write access who requested changes of exactly this commit.
    async fn requested_changes(&self, pull: &PullRequest) -> Result<Option<(String, String)>, HostError> {
        let reviews = self.host.reviews(&self.home.repo, pull.number).await?;
        let mut last: Vec<(&str, Option<String>)> = Vec::new();
        for review in &reviews {
            let Some(user) = &review.user else { continue };
            // A comment takes nothing back; an approval and a dismissal do.
            let words = match review.verdict {
                ReviewVerdict::ChangesRequested
                    if review.commit.as_deref() == Some(pull.head.sha.as_str()) =>
                {
                    Some(review.body.clone().unwrap_or_default())
                }
                ReviewVerdict::Approved | ReviewVerdict::Dismissed | ReviewVerdict::ChangesRequested => None,
                ReviewVerdict::Comment | ReviewVerdict::Unknown => continue,
            };
            last.retain(|(login, _)| *login != user.login);
            last.push((&user.login, words));
        }
        for (login, words) in last {
            let Some(words) = words else { continue };
            // In a public repository anybody may review, and the host itself counts only those who may write.
            if self.host.permission(&self.home.repo, login).await? >= RepoPermission::Write {
                return Ok(Some((plain_line(login.as_bytes()), words)));
            }
        }
        Ok(None)
    }
}
