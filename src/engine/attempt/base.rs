//! The base of an attempt: the commit that its workspace holds. Made once, by the runner that claims, and recorded with the
//! claim: nobody else needs to come to the same.

use tracing::info;

use super::workspace::{Workspaces, lock, parse_commit};
use crate::engine::snapshot::child::MergedResult;
use crate::git::{GitError, ObjectId, ResultMerge};
use crate::model::{ExecutionStatus, NodeId, NodeResult, ResourceKey};
use crate::plan::{results_among, results_before};
use crate::record::results_ref;
use crate::run::CompiledPlan;

/// What an attempt works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeBase {
    /// The commit on which the Execution began.
    Pinned,
    /// This commit.
    Commit(String),
    /// Nothing yet: results before it conflict.
    Conflict(ResultConflict),
}

impl NodeBase {
    /// The commit, where the Execution began on `start`.
    pub(super) fn commit(self, start: &str) -> Result<String, ResultConflict> {
        match self {
            Self::Pinned => Ok(start.to_owned()),
            Self::Commit(commit) => Ok(commit),
            Self::Conflict(conflict) => Err(conflict),
        }
    }
}

/// Results that conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResultConflict {
    /// Which, and where, for people.
    pub(crate) what: String,
    /// What was merged before, and what conflicts with it.
    pub(crate) sides: [ObjectId; 2],
    /// Those that go together.
    pub(crate) earlier: Vec<NodeId>,
    /// The first that does not go with them.
    pub(crate) later: NodeId,
}

impl ResultConflict {
    /// The nodes whose results these are, for people.
    pub(crate) fn nodes(&self) -> String {
        let nodes: Vec<&str> = self.earlier.iter().chain([&self.later]).map(NodeId::as_str).collect();
        nodes.join(", ")
    }

    /// What it is, and what can be done about it.
    pub(crate) fn message(&self) -> String {
        format!("{}; merge them by hand, run one of them again, or change the plan", self.what)
    }
}

impl Workspaces {
    /// The base of a node that is about to start. Blocks while results are merged.
    pub(crate) fn base(
        &self,
        compiled: &CompiledPlan,
        status: &ExecutionStatus,
        ix: usize,
        reference: &str,
    ) -> Result<NodeBase, GitError> {
        let start = status.start_commit().unwrap_or_default();
        let before = results_before(compiled, status, ix);
        self.combine(&compiled.key, start, &before, reference)
    }

    /// What all nodes of an Execution changed together, for the node that it works for; or why that cannot be one result.
    /// Blocks while results are merged.
    pub(super) fn whole(
        &self,
        compiled: &CompiledPlan,
        status: &ExecutionStatus,
    ) -> Result<MergedResult, GitError> {
        let all = vec![true; compiled.ids.len()];
        let results = results_among(&compiled.topology, status, &all);
        let start = status.start_commit().unwrap_or_default();
        let reference = results_ref(&compiled.key);
        let commit = match self.combine(&compiled.key, start, &results, &reference)? {
            NodeBase::Pinned => return Ok(Ok(None)),
            NodeBase::Conflict(conflict) => return Ok(Err(conflict.message())),
            NodeBase::Commit(commit) => parse_commit(&commit)?,
        };
        let base = parse_commit(start)?;
        let cache = self.cache()?;
        // Brought in also where nothing was merged: the record that names it is published with it, from this repository.
        self.with_repo(|repo| -> Result<_, GitError> {
            for commit in [base, commit] {
                self.bring_in(repo, commit, &reference)?;
                cache.import(repo, commit)?;
            }
            Ok(())
        })?;
        let (files, insertions, deletions) = cache.count_changes(base, commit)?;
        let commit = commit.to_string();
        let base = base.to_string();
        Ok(Ok(Some(NodeResult { commit, base, files, insertions, deletions })))
    }

    /// Work with the newest commit of a branch that it conflicts with: a commit of both, in whose files the conflicts are marked
    /// for whoever resolves them. Blocks while they are merged.
    pub(crate) fn conflicting(
        &self,
        (execution, pinned): (&ResourceKey, &str),
        work: &str,
        branch: &str,
    ) -> Result<NodeBase, GitError> {
        let commit = parse_commit(work)?;
        let pinned = parse_commit(pinned)?;
        let reference = results_ref(execution);
        let into = format!("refs/heads/{branch}");
        let cache = self.cache()?;
        let merge = self.with_repo(|repo| -> Result<_, GitError> {
            self.bring_in(repo, commit, &reference)?;
            // As it is now, each time: what was resolved against an older commit could conflict with this one again.
            let Some(tip) = self.tip(repo, &into)? else { return Ok(None) };
            for commit in [commit, tip] {
                cache.import(repo, commit)?;
            }
            // In a shallow clone the two seem to have nothing in common; they have the commit on which the work began.
            let base = repo.is_shallow().then_some(pinned);
            let ResourceKey { namespace, name, .. } = execution;
            let message = format!("Merge branch '{branch}' into the work of {namespace}/{name}");
            let merge = cache.merge_marked([commit, tip], base, &message)?;
            cache.export(merge, &[commit, tip], repo)?;
            info!(%execution, branch, %commit, %tip, %merge, "merged a branch into the work that conflicts with it");
            Ok(Some(merge))
        })?;
        // A branch that is gone conflicts with nothing, and what becomes of the delivery is for the host to say.
        Ok(NodeBase::Commit(merge.map_or_else(|| work.to_owned(), |merge| merge.to_string())))
    }

    /// What some results hold together. Blocks while they are merged.
    pub(crate) fn combine(
        &self,
        execution: &ResourceKey,
        pinned: &str,
        results: &[(&NodeId, &NodeResult)],
        reference: &str,
    ) -> Result<NodeBase, GitError> {
        let Some(((first, result), rest)) = results.split_first() else { return Ok(NodeBase::Pinned) };
        if rest.is_empty() {
            return Ok(NodeBase::Commit(result.commit.clone()));
        }
        let pinned = parse_commit(pinned)?;
        let mut merged = parse_commit(&result.commit)?;
        let mut names = vec![*first];
        // Pairwise and in the order of the plan: the same results always give the same commit.
        for (id, result) in rest {
            let theirs = parse_commit(&result.commit)?;
            match self.merge(&execution.to_string(), [pinned, merged, theirs], (&names, id), reference)? {
                ResultMerge::Commit(commit) => merged = commit,
                ResultMerge::Conflicts(files) => {
                    let files: Vec<String> = files.iter().map(|file| format!("`{file}`")).collect();
                    let ours: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                    let (ours, files) = (ours.join(", "), files.join(", "));
                    let what = format!("the files of {ours} and `{id}` conflict in {files}");
                    let sides = [merged, theirs];
                    let earlier = names.into_iter().cloned().collect();
                    let later = (*id).clone();
                    return Ok(NodeBase::Conflict(ResultConflict { what, sides, earlier, later }));
                }
            }
            names.push(id);
        }
        Ok(NodeBase::Commit(merged.to_string()))
    }

    fn merge(
        &self,
        execution: &str,
        [pinned, ours, theirs]: [ObjectId; 3],
        (names, id): (&[&NodeId], &NodeId),
        reference: &str,
    ) -> Result<ResultMerge, GitError> {
        let known = vec![pinned, ours, theirs];
        if let Some(merge) = lock(&self.merges).get(&known) {
            return Ok(merge.clone());
        }
        let cache = self.cache()?;
        let merge = self.with_repo(|repo| -> Result<_, GitError> {
            for commit in [pinned, ours, theirs] {
                self.bring_in(repo, commit, reference)?;
                cache.import(repo, commit)?;
            }
            let ours_named: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
            let message = format!(
                "Merge the results of {} and {id}\n\nPlanspec-Execution: {execution}\n",
                ours_named.join(", ")
            );
            let merge = cache.merge(ours, theirs, pinned, &message)?;
            if let ResultMerge::Commit(commit) = &merge {
                cache.export(*commit, &[ours, theirs], repo)?;
            }
            Ok(merge)
        })?;
        info!(execution, node = %id, %ours, %theirs, merged = ?merge, "merged results");
        lock(&self.merges).insert(known, merge.clone());
        Ok(merge)
    }
}
