//! The pull request of a delivery before it starts: a draft, while a Gate before it waits. Whoever decides there reviews what
//! an approval would lead to, and the same pull request is offered afterwards.

use super::page::work_of;
use super::task::{PullHandle, PullTask};
use crate::host::{HostError, MergeObstacle, PullRequest};
use crate::model::NodeReason;
use crate::provider::output::plain_line;
use crate::provider::{AttemptOutcome, Stop};

impl PullTask {
    /// Opens the pull request as a draft while a Gate before the delivery waits, and keeps it up to date.
    pub(super) async fn propose(&self) -> AttemptOutcome {
        let Some(branch) = &self.attempt.upstream.branch else {
            return AttemptOutcome::Stopped(Stop::Shutdown);
        };
        let (pull, into) = match self.drafted(branch).await {
            Ok(drafted) => drafted,
            Err(error) if error.is_passing() => return AttemptOutcome::Stopped(Stop::Shutdown),
            // Such as a repository that has no drafts. The Gate can be answered otherwise, and then it is opened as ready.
            Err(error) => {
                let message = format!("the pull request cannot be shown before the approval: {error}");
                return AttemptOutcome::permanent(NodeReason::DeliveryRefused, message);
            }
        };
        let asked = if pull.is_open { self.change_request(&pull).await } else { Ok(None) };
        // What is known of the reviews stays as it is.
        let Ok(asked) = asked else { return AttemptOutcome::Stopped(Stop::Shutdown) };
        let mut message = match (asked, pull.is_open) {
            (Some(asked), _) => asked,
            (None, true) => {
                let conflict = self.draft_conflict(&pull, &into).unwrap_or_default();
                format!("pull request #{} is a draft until the approval{conflict}", pull.number)
            }
            // Opened again at each poll, it would be a quarrel with whoever closed it.
            _ if pull.merged_at.is_none() => {
                format!("pull request #{} was closed before the approval", pull.number)
            }
            _ => format!("pull request #{} was merged before the approval", pull.number),
        };
        if pull.base.branch != into {
            let now = plain_line(pull.base.branch.as_bytes());
            message = format!("{message}; its base is `{now}` instead of `{into}`");
        }
        let handle = PullHandle { pull: pull.number, into: Some(into) };
        AttemptOutcome::Blocked {
            reason: NodeReason::AwaitingApproval,
            message: format!("{message}: {}", plain_line(pull.url.as_bytes())),
            handle: serde_json::to_string(&handle).ok(),
            poll_after: Some(self.settings.poll_after),
        }
    }

    /// The draft, and the branch that it is to be merged into: what reviewers are shown is the difference to that, so a person
    /// who retargets it does not change what the approval is for.
    async fn drafted(&self, branch: &str) -> Result<(PullRequest, String), HostError> {
        let into = self.ask_into().await?;
        let mut pull = match self.known(branch).await? {
            Some(pull) => pull,
            None => self.opened(branch, true).await?,
        };
        // One whose work was approved before, and is asked about again because there is other work now.
        let is_new_work = pull.body.as_deref().and_then(work_of) != Some(self.attempt.work.as_str());
        if pull.is_open && !pull.draft && is_new_work {
            match self.host.convert_to_draft(&pull).await {
                Ok(()) => pull.draft = true,
                Err(error) if error.is_passing() => return Err(error),
                // It lies open with work that nobody has approved, and its text must not say otherwise.
                Err(error) => {
                    self.brought_up_to_date(pull, true).await?;
                    return Err(error);
                }
            }
        }
        Ok((self.brought_up_to_date(pull, true).await?, into))
    }
    /// The pull request that is recorded, asked for by its number: unlike in a list, the host says there whether it conflicts.
    async fn known(&self, branch: &str) -> Result<Option<PullRequest>, HostError> {
        let Some(handle) = PullHandle::read(self.attempt.handle.as_deref()) else { return Ok(None) };
        let pull = match self.host.pull(&self.home.repo, handle.pull).await {
            Err(HostError::NotFound { .. }) => return Ok(None),
            pull => pull?,
        };
        let me = self.host.myself().await?;
        // The number comes from a record: the text of nobody else's pull request is changed for it (Invariant 14).
        let is_shown = pull.is_open && pull.head.branch == branch && !pull.is_from_fork();
        Ok(Some(pull).filter(|pull| is_shown && self.is_of_this_task(pull, &me)))
    }

    /// That what would be approved conflicts with its base. It is resolved before people are asked: an approval of this work would
    /// be void as soon as it is.
    fn draft_conflict(&self, pull: &PullRequest, into: &str) -> Option<String> {
        let is_shown = Some(&pull.head.sha) == self.attempt.upstream.commit.as_ref();
        let conflicts = pull.obstacle == Some(MergeObstacle::Conflict) && pull.base.branch == into;
        (is_shown && conflicts).then(|| self.conflict(pull))
    }
}
