//! Runs of a workflow that are recognised by a key in their title: the host does not say which run a start has made.

use std::time::Duration;

use crate::github::{GitHub, WorkflowRun};
use crate::host::{HostError, RepoName, TokenIdentity};
use crate::model::JsonMap;

/// How long a run that was just started may take to appear in the host's list.
const APPEARS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// A workflow, and the key of the one run that is meant.
#[derive(Debug, Clone)]
pub(super) struct KeyedRuns {
    /// The host.
    pub(super) host: GitHub,
    /// The repository that has the workflow.
    pub(super) repo: RepoName,
    /// The name of its file.
    pub(super) workflow: String,
    /// The branch or tag that has it.
    pub(super) reference: String,
    /// What stands in the title of the run.
    pub(super) key: String,
}

impl KeyedRuns {
    /// The run that somebody of this name has started before, else the one that is started now; none while it is not listed yet.
    pub(super) async fn started(&self, inputs: &JsonMap) -> Result<Option<WorkflowRun>, HostError> {
        // Twice, for what was started just before a crash may not be in the list yet.
        if let Some(run) = self.find().await? {
            return Ok(Some(run));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        if let Some(run) = self.find().await? {
            return Ok(Some(run));
        }
        match self.host.dispatch(&self.repo, &self.workflow, &self.reference, inputs).await {
            // It may have started all the same: then its run appears, and if not, the attempt times out.
            Ok(()) | Err(HostError::Down { .. }) => {}
            Err(error) => return Err(error),
        }
        tracing::info!(repository = %self.repo, workflow = self.workflow, key = self.key, "started a workflow");
        for pause in APPEARS {
            tokio::time::sleep(pause).await;
            // From here on it is under way: what goes wrong now is no reason to start it again.
            if let Ok(Some(run)) = self.find().await {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    /// The run that we had started with the key in its title; the first one, should there be several.
    async fn find(&self) -> Result<Option<WorkflowRun>, HostError> {
        let named = |run: &WorkflowRun| self.is_named(run);
        let runs = self.host.dispatched_runs(&self.repo, &self.workflow, self.branch(), named).await?;
        if runs.is_empty() {
            return Ok(None);
        }
        // Asked only now, since most lists hold no such run.
        let myself = self.host.myself().await?;
        Ok(runs.into_iter().filter(|run| is_by(&myself, run)).min_by_key(|run| run.id))
    }

    /// The run with a number, where that is known; else the one that is found.
    pub(super) async fn look_up(&self, known: Option<u64>) -> Result<Option<WorkflowRun>, HostError> {
        match known {
            Some(id) => self.numbered(id).await,
            // It was started and not found; it may have appeared since.
            None => self.find().await,
        }
    }

    /// The run with a number that was recorded; none where it is not the one that is meant: whoever may push the status branch
    /// could put the number of another run into the record (Invariant 14).
    async fn numbered(&self, id: u64) -> Result<Option<WorkflowRun>, HostError> {
        let run = self.host.run(&self.repo, id).await?;
        if !self.is_named(&run) {
            return Ok(None);
        }
        // One more request, so only where it is over and counts for something.
        let counts = run.status.as_deref() == Some("completed");
        let ours = !counts || is_by(&self.host.myself().await?, &run);
        Ok(ours.then_some(run))
    }

    /// Has the run cancelled, by its number where that is known. No other run, whatever the record says.
    pub(super) async fn cancel(&self, known: Option<u64>) -> Result<(), HostError> {
        match self.look_up(known).await {
            Ok(None) | Err(HostError::NotFound { .. }) => Ok(()),
            Ok(Some(run)) => self.host.cancel_run(&self.repo, run.id).await,
            Err(error) => Err(error),
        }
    }

    /// Whether a run has the key, and was started by hand or by us on the branch that is meant.
    // Keys are recorded where many can read them, and whoever may start the workflow can put one into a title: of another
    // branch it would be other code, and of another person an answer that they chose.
    fn is_named(&self, run: &WorkflowRun) -> bool {
        let titles = [&run.display_title, &run.name];
        run.event == "workflow_dispatch"
            && run.head_branch.as_deref() == Some(self.branch())
            && titles.into_iter().flatten().any(|title| holds(title, &self.key))
    }

    /// The reference as the host names it in a run.
    fn branch(&self) -> &str {
        let full = &self.reference;
        full.strip_prefix("refs/heads/").or_else(|| full.strip_prefix("refs/tags/")).unwrap_or(full)
    }
}

/// What is said of a run that is not the one that was started.
pub(super) const OF_SOMEBODY_ELSE: &str = "the workflow run in the record is not the one of this attempt";

fn is_by(myself: &TokenIdentity, run: &WorkflowRun) -> bool {
    run.actor.as_ref().is_some_and(|actor| myself.is(actor))
}

/// Whether the title holds the key and not one that only begins like it: those of 1 and 10 do.
pub(super) fn holds(title: &str, key: &str) -> bool {
    title.match_indices(key).any(|(at, _)| {
        let after = title.get(at + key.len()..).and_then(|rest| rest.chars().next());
        !after.is_some_and(char::is_alphanumeric)
    })
}
