//! Merging the work of an Execution into a branch of people, once: `merge://`. That a branch already holds the work is seen from
//! its history, so that neither a crash nor a second runner merges it twice.

use std::path::PathBuf;
use std::sync::Arc;

use tracing::{info, warn};

use super::collect::{WorkOrder, changed_file, fault_of, shown};
use super::workspace::Workspaces;
use crate::git::{GitError, LineDepth, NewCommit, ObjectId, Repo, ResultMerge, SwapResult};
use crate::plan::{ChangedFile, PathRules, refusals};
use crate::provider::{BranchMerge, BranchMerger, WorkspaceError, holds_token};

/// How often a lost race is repeated. Each means that somebody else pushed to the branch in between.
const ATTEMPTS: usize = 10;

/// The largest file that is looked at; a larger one is refused by every host.
const LARGEST: u64 = 1 << 30;

/// How far back a commit is searched that brought the work into the branch.
const SEARCHED: usize = 1_000;

/// The work of one attempt, to be merged.
struct OrderedMerge {
    workspaces: Arc<Workspaces>,
    order: WorkOrder,
    pinned: ObjectId,
    /// Paths that are denied by default, and that the tasks that made this may change.
    lifted: Vec<String>,
}

/// What the history of a branch says of some work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BranchHistory {
    /// It holds the work, since this commit.
    Holds(ObjectId),
    /// It holds what the work began on.
    HoldsPin,
    /// It does not.
    Unrelated,
}

impl Workspaces {
    /// Merges what `order` holds into branches; `pinned` is the commit on which all of it began.
    pub(super) fn merger(
        self: &Arc<Self>,
        order: &WorkOrder,
        pinned: &str,
        lifted: &[String],
    ) -> Option<Arc<dyn BranchMerger>> {
        let pinned = pinned.parse().ok()?;
        let (workspaces, order, lifted) = (Arc::clone(self), order.clone(), lifted.to_vec());
        Some(Arc::new(OrderedMerge { workspaces, order, pinned, lifted }))
    }
}

impl BranchMerger for OrderedMerge {
    fn merge_into(&self, branch: &str, goes_on: &dyn Fn() -> bool) -> Result<BranchMerge, WorkspaceError> {
        let done = self.workspaces.with_repo(|repo| self.merge(repo, branch, goes_on));
        match done {
            Ok(merge) => Ok(merge),
            Err(error) => {
                match refusal(&error) {
                    Some(why) => {
                        warn!(branch, work = %self.order.base, %error, "the branch does not take the work");
                        Ok(BranchMerge::Refused(why))
                    }
                    None => Err(WorkspaceError::new(fault_of(&error), error)
                        .while_doing("cannot merge into the branch")),
                }
            }
        }
    }
}

impl OrderedMerge {
    fn merge(&self, repo: &Repo, branch: &str, goes_on: &dyn Fn() -> bool) -> Result<BranchMerge, GitError> {
        let reference = format!("refs/heads/{branch}");
        let work = self.order.base;
        self.workspaces.bring_in(repo, work, &self.order.reference)?;
        for attempt in 0..ATTEMPTS {
            // The tip as it is on the remote now: a merge on top of an older one would lose its race.
            let Some(tip) = self.workspaces.tip(repo, &reference)? else {
                return Ok(BranchMerge::Refused(format!("there is no branch `{branch}`; create it first")));
            };
            match self.history(repo, branch, tip)? {
                BranchHistory::Holds(commit) => {
                    // A killed runner was here before, or a person merged it by hand.
                    info!(branch, %work, %commit, "the branch already holds the work");
                    return Ok(BranchMerge::Delivered(commit.to_string()));
                }
                BranchHistory::HoldsPin => {}
                // Merging would bring in whatever else lies between the two: commits that this plan never saw.
                BranchHistory::Unrelated => {
                    let pinned = self.pinned.short();
                    return Ok(BranchMerge::Refused(format!(
                        "branch `{branch}` does not hold {pinned}, the commit on which the work began, so that a merge would bring in more than the work; merge that commit into it first"
                    )));
                }
            }
            let merge = match self.merged(repo, branch, tip)? {
                ResultMerge::Commit(merge) => merge,
                ResultMerge::Conflicts(files) => return Ok(BranchMerge::Conflicts(files)),
            };
            if let Some(why) = self.denied(repo, tip, merge)? {
                warn!(branch, %work, %merge, why, "refuse a merge that would change what no work may change");
                return Ok(BranchMerge::Refused(format!(
                    "the work {why}; where a task is to change such a file, name it in `config.paths.allow` of its Binding, and retry"
                )));
            }
            // The last moment: from here on somebody else sees it.
            if !goes_on() {
                return Ok(BranchMerge::Stopped);
            }
            match self.publish(repo, branch, tip, merge)? {
                SwapResult::Done => {
                    info!(branch, %work, %merge, attempt, "merged the work into a branch");
                    return Ok(BranchMerge::Delivered(merge.to_string()));
                }
                // Made again on the new tip, and looked at again: the winner may be another runner with this very work.
                SwapResult::Moved(found) => {
                    info!(branch, %tip, ?found, attempt, "lost the race for a branch; merging again");
                }
            }
        }
        Err(GitError::Contended { reference })
    }

    /// What the merge would change of the branch that no work may change. The results were looked at when they were taken in, but
    /// what names them is the status branch: whoever can push that could bring a workflow, a manifest or another configuration
    /// into force without anybody who may merge (Invariant 14).
    fn denied(&self, repo: &Repo, tip: ObjectId, merge: ObjectId) -> Result<Option<String>, GitError> {
        let work = repo.work_between(tip, merge)?;
        let blob = |id| repo.blob(id, LARGEST);
        let files: Vec<ChangedFile> = (work.changes.iter())
            .map(|change| changed_file(change, &blob, &holds_token))
            .collect::<Result<_, _>>()?;
        let paths: Vec<String> = work.paths.iter().map(|path| shown(path)).collect();
        // Everything else may change, as far as this is concerned.
        let allow: Vec<String> = self.lifted.iter().cloned().chain(["**".to_owned()]).collect();
        Ok(refusals(&files, &paths, &PathRules { allow: &allow, deny: &[], forbid: &[] }))
    }

    /// What the branch holds. A shallow clone may not know; then its commits are fetched into a repository of ours, without
    /// their files.
    fn history(&self, repo: &Repo, branch: &str, tip: ObjectId) -> Result<BranchHistory, GitError> {
        if let Some(known) = self.read_history(repo, tip)? {
            return Ok(known);
        }
        let cut_off = || GitError::CutOff { ours: tip, theirs: self.order.base };
        let remote = self.workspaces.remote().ok_or_else(cut_off)?;
        let into = self.workspaces.history_of(branch);
        for whole in [false, true] {
            let store = remote.fetch_line(repo, &into, tip, LineDepth { trees: false, whole })?;
            if let Some(known) = self.read_history(&store, tip)? {
                return Ok(known);
            }
        }
        Err(cut_off())
    }

    fn read_history(&self, repo: &Repo, tip: ObjectId) -> Result<Option<BranchHistory>, GitError> {
        let work = self.order.base;
        match repo.is_ancestor(work, tip)? {
            Some(true) => {
                let mut since = tip;
                // Along first parents, as a person reads a branch: the oldest of them that holds the work brought it in.
                for commit in repo.log(tip).take(SEARCHED) {
                    let commit = commit?.id;
                    if repo.is_ancestor(work, commit)? != Some(true) {
                        break;
                    }
                    since = commit;
                }
                Ok(Some(BranchHistory::Holds(since)))
            }
            Some(false) => Ok(repo.is_ancestor(self.pinned, tip)?.map(|holds| match holds {
                true => BranchHistory::HoldsPin,
                false => BranchHistory::Unrelated,
            })),
            None => Ok(None),
        }
    }

    /// The merge as a commit in the user's repository, which no reference names yet.
    fn merged(&self, repo: &Repo, branch: &str, tip: ObjectId) -> Result<ResultMerge, GitError> {
        let cache = self.workspaces.cache()?;
        let work = self.order.base;
        self.workspaces.bring_in(repo, self.pinned, &self.order.reference)?;
        for commit in [tip, work, self.pinned] {
            cache.import(repo, commit)?;
        }
        // In a shallow clone the two seem to have nothing in common. They have the commit on which the work began, since the
        // branch holds it.
        let base = repo.is_shallow().then_some(self.pinned);
        let commit = NewCommit {
            author: self.order.author.clone(),
            committer: repo.runner_identity(),
            at: self.workspaces.now(),
            message: self.order.message.clone(),
        };
        // With the attributes of the branch, as `git merge` on it would take them.
        let merge = cache.merge_as([tip, work], base, tip, &commit)?;
        match merge {
            ResultMerge::Commit(merge) => {
                cache.export(merge, &[tip, work], repo)?;
                // Where `trust.desired` asks for signatures, nobody else would sign what a runner puts on the branch.
                let key = repo.signing_key().filter(|_| self.workspaces.signs_merges());
                let signed = key.map(|_| repo.signed(merge)).transpose()?;
                Ok(ResultMerge::Commit(signed.unwrap_or(merge)))
            }
            ResultMerge::Conflicts(files) => {
                info!(branch, %tip, %work, ?files, "the work conflicts with a branch");
                Ok(ResultMerge::Conflicts(files))
            }
        }
    }

    fn publish(
        &self,
        repo: &Repo,
        branch: &str,
        tip: ObjectId,
        merge: ObjectId,
    ) -> Result<SwapResult, GitError> {
        match self.workspaces.remote() {
            // Exact: what was pushed since the tip was read makes this a lost race, and never gets lost (Invariant 3).
            Some(remote) => remote.push(repo, &format!("refs/heads/{branch}"), Some(tip), merge),
            None => repo.advance_branch(branch, tip, merge, "planspec: merge"),
        }
    }
}

/// Why a branch does not take a merge, where that is for people to change; none where it is this runner's fault, or passes.
fn refusal(error: &GitError) -> Option<String> {
    matches!(
        error,
        GitError::Refused { .. }
            | GitError::Permission { .. }
            | GitError::Overwritten { .. }
            | GitError::CheckedOutElsewhere { .. }
            | GitError::BadReference { .. }
    )
    .then(|| error.to_string())
}

impl Workspaces {
    /// The newest commit of a branch of people: on the remote, where there is one.
    pub(super) fn tip(&self, repo: &Repo, reference: &str) -> Result<Option<ObjectId>, GitError> {
        match self.remote() {
            Some(remote) => Ok(remote.fetch(repo, &[reference])?.first().copied().flatten()),
            None => repo.read_ref(reference),
        }
    }

    /// Where the commits of a branch are that a shallow clone lacks: one place for each, as it keeps one line.
    fn history_of(&self, branch: &str) -> PathBuf {
        let name: String = branch
            .bytes()
            .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte) } else { '-' })
            .collect();
        self.folder().join(format!("history-{name}.git"))
    }
}
