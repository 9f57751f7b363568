//! One delivery as a pull request: opened once, followed, closed when it is cancelled.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::DeliverySettings;
use super::page::{body, title, work_of};
use crate::host::{
    GitHost, HostError, MergeObstacle, NewPullRequest, PullRequest, PullRequestChange, TokenIdentity,
};
use crate::model::{ChangeRequest, JsonMap, NodeReason, is_work_branch};
use crate::provider::delivery::{refused, succeeded};
use crate::provider::output::{Redactor, plain_line};
use crate::provider::{Attempt, AttemptOutcome, AttemptReport, Evidence, HostRepository};

/// How long a pull request may take to appear in the host's list.
const APPEARS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// What is recorded of a pull request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PullHandle {
    /// Its number.
    pub(crate) pull: u64,
    /// The branch that it is to be merged into, of a draft, and where that is the host's default branch: what reviewers see is the
    /// difference to it, and whoever may write can give the pull request another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) into: Option<String>,
}

impl PullHandle {
    /// Reads what was recorded.
    pub(crate) fn read(handle: Option<&str>) -> Option<Self> {
        serde_json::from_str(handle?).ok()
    }
}

/// One attempt, and what it needs.
pub(super) struct PullTask {
    pub(super) attempt: Attempt,
    pub(super) home: HostRepository,
    pub(super) host: Arc<dyn GitHost>,
    /// Into which branch; the host's default when absent.
    pub(super) base: Option<String>,
    /// What that default was when the pull request was opened, as far as it is known.
    pub(super) default: OnceLock<String>,
    pub(super) redactor: Arc<Redactor>,
    /// What the Binding says.
    pub(super) settings: DeliverySettings,
    /// What a reviewer wants changed, once the reviews were read.
    pub(super) requested: OnceLock<Box<ChangeRequest>>,
}

impl PullTask {
    /// What is reported of an outcome, without secrets and control characters.
    pub(super) fn report(&self, outcome: AttemptOutcome) -> AttemptReport {
        let requested = self.requested.get().cloned();
        let evidence = Evidence { requested, ..Evidence::default() };
        AttemptReport { outcome: outcome.cleaned(&self.redactor), evidence }
    }

    /// Opens the pull request, unless an earlier start did.
    pub(super) async fn start(&self) -> AttemptOutcome {
        let upstream = &self.attempt.upstream;
        let (Some(_), Some(branch)) = (&upstream.commit, &upstream.branch) else {
            // The nodes before it changed no files, and the host takes no empty pull request.
            let outputs = ["number", "url", "mergeCommit"].map(|name| (name.to_owned(), json!(null)));
            return succeeded(&self.attempt, JsonMap::from_iter(outputs));
        };
        match self.ready(branch).await {
            Ok(pull) => {
                let pull = self.merged_by_the_host(pull).await;
                self.judged(&pull).await.unwrap_or_else(|| self.waits(&pull, ""))
            }
            // Another attempt finds what this one may have opened, so it need not count as a retry.
            Err(error) if error.is_passing() => AttemptOutcome::Lost { message: error.to_string() },
            // A setting of the repository, such as who may open pull requests: people change it, and run the node again.
            Err(error) => refused(error.to_string()),
        }
    }

    /// The branch that the work is meant for.
    fn into(&self) -> Option<&str> {
        self.base.as_deref().or_else(|| self.default.get().map(String::as_str))
    }

    /// The same; the host is asked for its default branch where that is not known yet.
    pub(super) async fn ask_into(&self) -> Result<String, HostError> {
        if let Some(into) = self.into() {
            return Ok(into.to_owned());
        }
        let default = self.host.default_branch(&self.home.repo).await?;
        Ok(self.default.get_or_init(|| default).clone())
    }

    /// The pull request, ready to be merged: the draft that was reviewed, where there is one.
    async fn ready(&self, branch: &str) -> Result<PullRequest, HostError> {
        // One that another attempt has opened may have been given another base since.
        let mut pull = self.opened(branch, false).await?;
        self.ask_into().await?;
        let is_ours = Some(&pull.head.sha) == self.attempt.upstream.commit.as_ref();
        // Its text first: whoever is told that it is ready reads who approved it.
        pull = self.brought_up_to_date(pull, false).await?;
        if pull.is_open && pull.draft && is_ours {
            self.host.mark_ready(&pull).await?;
            pull.draft = false;
            // The host works it out anew, and said `draft` of what was one.
            pull.obstacle = None;
        }
        Ok(pull)
    }

    /// The one pull request of the delivery, as it was found or as it was opened.
    pub(super) async fn opened(&self, branch: &str, draft: bool) -> Result<PullRequest, HostError> {
        let repo = &self.home.repo;
        let me = self.host.myself().await?;
        if let Some(pull) = self.find(&me, branch).await? {
            return Ok(pull);
        }
        let base = self.ask_into().await?;
        let title = self.title();
        let body = self.body(draft);
        let new = NewPullRequest { title, body, head: branch.to_owned(), base, draft };
        match self.host.open_pull(repo, &new).await {
            // It may be there all the same; the list may take a moment to show it.
            Err(down @ HostError::Down { .. }) => {
                for pause in APPEARS {
                    tokio::time::sleep(pause).await;
                    if let Some(pull) = self.find(&me, branch).await? {
                        return Ok(pull);
                    }
                }
                Err(down)
            }
            // The host takes one pull request for two branches, so that two runners that ask at once get one.
            Err(error @ HostError::Refused { status: 422, .. }) => self.find(&me, branch).await?.ok_or(error),
            opened => opened,
        }
    }

    /// The pull request of this delivery: one that is open, or one that was opened for this very work and has ended since.
    async fn find(&self, me: &TokenIdentity, branch: &str) -> Result<Option<PullRequest>, HostError> {
        let origin = format!("{}:{branch}", self.home.repo.owner());
        let pulls = self.host.pulls_from(&self.home.repo, &origin).await?;
        let fits = |pull: &&PullRequest| {
            let work = pull.body.as_deref().and_then(work_of);
            // What a `retry` left behind is over; what a killed runner opened, and somebody merged since, is not.
            let current = pull.is_open
                || work == Some(self.attempt.work.as_str())
                || (pull.merged_at.is_some() && self.holds_this_work(pull));
            current && self.is_of_this_task(pull, me)
        };
        Ok(pulls.iter().filter(fits).max_by_key(|pull| (pull.is_open, pull.number)).cloned())
    }

    /// Whether it was opened for this delivery, by this account: anybody can copy the mark, and only the author shows whose it is.
    pub(super) fn is_of_this_task(&self, pull: &PullRequest, me: &TokenIdentity) -> bool {
        let task = |work: &str| work.rsplit_once('/').map(|(task, _)| task.to_owned());
        let work = pull.body.as_deref().and_then(work_of);
        let same = work.is_some_and(|work| task(work) == task(&self.attempt.work));
        same && pull.user.as_ref().is_some_and(|user| me.is(user))
    }

    /// Whether it has just this work as its head, into the right branch: a draft that somebody made ready and merged, while the
    /// approval was on its way.
    fn holds_this_work(&self, pull: &PullRequest) -> bool {
        let base = self.into().is_none_or(|base| *base == pull.base.branch);
        base && Some(&pull.head.sha) == self.attempt.upstream.commit.as_ref()
    }

    /// Updates title and text in place, where they are not what they should be.
    pub(super) async fn brought_up_to_date(
        &self,
        pull: PullRequest,
        draft: bool,
    ) -> Result<PullRequest, HostError> {
        let title = self.title();
        let body = self.body(draft);
        let is_same = pull.title == title && pull.body.as_deref() == Some(body.as_str());
        if !pull.is_open || is_same {
            return Ok(pull);
        }
        let change = PullRequestChange { title: Some(title), body: Some(body), open: None };
        self.host.change_pull(&self.home.repo, pull.number, &change).await
    }

    /// Asks for an automatic merge, where the Binding does. Only when the work is offered and not at each poll: whoever turns it
    /// off on the host has decided that.
    async fn merged_by_the_host(&self, mut pull: PullRequest) -> PullRequest {
        let is_ours = Some(&pull.head.sha) == self.attempt.upstream.commit.as_ref();
        let Some(method) = self.settings.auto_merge.filter(|_| is_ours && pull.is_open) else {
            return pull;
        };
        if pull.auto_merge {
            return pull;
        }
        match self.host.merge_when_allowed(&pull, method).await {
            Ok(()) => pull.auto_merge = true,
            // People can merge it all the same, so the work is offered nevertheless.
            Err(error) => tracing::warn!(node = %self.attempt.node, %error, "auto-merge is not enabled"),
        }
        pull
    }

    fn title(&self) -> String {
        self.redactor.text(&title(&self.attempt))
    }

    fn body(&self, draft: bool) -> String {
        // Everybody who can read the repository can read it, and a title may hold what another task printed.
        self.redactor.text(&body(&self.attempt, self.home.dashboard.as_deref(), draft))
    }

    /// What became of the pull request; none where the host cannot be asked.
    pub(super) async fn look(&self, handle: &PullHandle) -> Option<AttemptOutcome> {
        match self.host.pull(&self.home.repo, handle.pull).await {
            Ok(pull) => self.judged(&pull).await,
            Err(HostError::NotFound { .. }) => Some(AttemptOutcome::Lost {
                message: format!("pull request #{} no longer exists", handle.pull),
            }),
            // A delivery that waits for people is not given up because the host cannot be asked.
            Err(error) => {
                tracing::warn!(node = %self.attempt.node, %error, "cannot poll a pull request");
                None
            }
        }
    }

    async fn judged(&self, pull: &PullRequest) -> Option<AttemptOutcome> {
        let commit = self.attempt.upstream.commit.as_deref().unwrap_or_default();
        let is_ours = pull.head.sha == commit;
        let base = self.into().filter(|base| *base != pull.base.branch);
        if pull.merged_at.is_some() {
            let other = |what: String| Some(AttemptOutcome::permanent(NodeReason::DeliveredOther, what));
            return match base {
                _ if !is_ours => other(format!(
                    "pull request #{} was merged with the head {}, and the work is {commit}",
                    pull.number,
                    plain_line(pull.head.sha.as_bytes())
                )),
                Some(base) => other(format!(
                    "pull request #{} was merged into `{}` instead of `{base}`",
                    pull.number,
                    plain_line(pull.base.branch.as_bytes())
                )),
                None => Some(self.merged(pull)),
            };
        }
        if !pull.is_open {
            let message = format!("pull request #{} was closed without being merged", pull.number);
            return Some(AttemptOutcome::permanent(NodeReason::Rejected, message));
        }
        if !is_ours {
            let head = plain_line(pull.head.sha.as_bytes());
            let message = format!(
                "somebody pushed to `{}`: pull request #{} is at {head}, and the work is {commit}; push that commit there again",
                plain_line(pull.head.branch.as_bytes()),
                pull.number,
            );
            return Some(self.waits_for(pull, NodeReason::WorkBranchMoved, &message));
        }
        if let Some(base) = base {
            let now = plain_line(pull.base.branch.as_bytes());
            return Some(self.waits(pull, &format!("; its base is `{now}` instead of `{base}`")));
        }
        self.obstacle(pull).await
    }

    /// What keeps the pull request from being merged, as far as the host says.
    async fn obstacle(&self, pull: &PullRequest) -> Option<AttemptOutcome> {
        match self.change_request(pull).await {
            Ok(Some(message)) => return Some(self.waits_for(pull, NodeReason::ChangesRequested, &message)),
            Ok(None) => {}
            Err(_) => return None,
        }
        match pull.obstacle {
            Some(MergeObstacle::Conflict) => Some(self.waits(pull, &self.conflict(pull))),
            Some(MergeObstacle::Rule)
                if self.host.checks_cannot_start(&self.home.repo, pull).await == Ok(true) =>
            {
                let message = format!(
                    "the checks that pull request #{} needs were not started: the host starts no workflows for what the token of a job opened; close and reopen it, or give planspec the token of an App",
                    pull.number
                );
                Some(self.waits_for(pull, NodeReason::ChecksCannotStart, &message))
            }
            // Its head may not change any more, and the host would make a new one to bring it up to date.
            Some(MergeObstacle::Behind) => {
                let base = plain_line(pull.base.branch.as_bytes());
                Some(self.waits(
                    pull,
                    &format!("; `{base}` has moved on and takes only branches that are up to date"),
                ))
            }
            Some(MergeObstacle::Draft) => Some(self.waits(pull, "; somebody made it a draft")),
            // The same words at the start and at each poll, whatever the reason was.
            _ if self.settings.auto_merge.is_some() && !pull.auto_merge => {
                Some(self.waits(pull, "; auto-merge is not enabled, so somebody has to merge it"))
            }
            _ => Some(self.waits(pull, "")),
        }
    }

    fn merged(&self, pull: &PullRequest) -> AttemptOutcome {
        let line = |text: &str| plain_line(text.as_bytes());
        let merge = pull.merge_commit.as_deref().map(line);
        let outputs = JsonMap::from_iter([
            ("number".to_owned(), json!(pull.number)),
            ("url".to_owned(), json!(line(&pull.url))),
            ("mergeCommit".to_owned(), json!(merge)),
        ]);
        succeeded(&self.attempt, outputs)
    }

    fn waits(&self, pull: &PullRequest, note: &str) -> AttemptOutcome {
        // The same words at each poll, so that a poll without news makes no commit.
        let message = format!("pull request #{} waits to be merged{note}", pull.number);
        self.waits_for(pull, NodeReason::AwaitingProvider, &message)
    }

    fn waits_for(&self, pull: &PullRequest, reason: NodeReason, message: &str) -> AttemptOutcome {
        let url = plain_line(pull.url.as_bytes());
        AttemptOutcome::Blocked {
            reason,
            message: format!("{message}: {url}"),
            // A base that the provider names is known without it.
            handle: serde_json::to_string(&PullHandle {
                pull: pull.number,
                into: self.default.get().cloned(),
            })
            .ok(),
            poll_after: Some(self.settings.poll_after),
        }
    }

    /// Closes the pull request of a delivery that was cancelled.
    pub(super) async fn close(&self, handle: &PullHandle) -> Result<(), HostError> {
        let repo = &self.home.repo;
        let pull = self.host.pull(repo, handle.pull).await?;
        // What people merged or closed already stays as they left it. The number comes from a record: nobody else's pull request is
        // closed for it (Invariant 14).
        let is_shown = is_work_branch(&self.attempt.key, &pull.head.branch) && !pull.is_from_fork();
        if !pull.is_open || !is_shown {
            return Ok(());
        }
        let change = PullRequestChange { open: Some(false), ..PullRequestChange::default() };
        self.host.change_pull(repo, handle.pull, &change).await.map(|_| ())
    }
}
