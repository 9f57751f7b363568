//! Carrying along what a node changed in an earlier Execution: its change, made once more on top of what comes before the node in
//! the new one.

use tracing::info;

use super::workspace::{Workspaces, lock, parse_commit};
use crate::engine::snapshot::child::{MergeResults, MergedResult};
use crate::git::{GitError, ObjectId, Repo, ResultMerge, may_come_later};
use crate::graph::NodeIx;
use crate::model::{ExecutionStatus, NodeResult};
use crate::plan::{EarlierWork, results_before};
use crate::record::results_ref;
use crate::run::CompiledPlan;

/// The commits that carrying one result along is about.
struct Carriage {
    /// On what it was made, and the result.
    made: (ObjectId, ObjectId),
    /// On what it is to stand.
    onto: ObjectId,
    /// The commit on which the new Execution began.
    start: ObjectId,
}

impl MergeResults for Workspaces {
    fn whole_result(
        &self,
        compiled: &CompiledPlan,
        status: &ExecutionStatus,
    ) -> Result<MergedResult, GitError> {
        self.whole(compiled, status)
    }

    /// Nothing where all of it is there already. Blocks while it is merged.
    fn carried(
        &self,
        (compiled, status): (&CompiledPlan, &ExecutionStatus),
        ix: NodeIx,
        earlier: &EarlierWork<'_>,
    ) -> Result<MergedResult, GitError> {
        let there = results_ref(&earlier.key);
        let past_start = earlier.status.start_commit().unwrap_or_default();
        let before = results_before(compiled, earlier.status, ix);
        let was = match self.combine(&earlier.key, past_start, &before, &there)?.commit(past_start) {
            Ok(was) => was,
            Err(conflict) => return Ok(Err(conflict.message())),
        };
        // Made on top of more than that, such as what a review sent back, it is not the whole of the node's work. And a record
        // that somebody wrote by hand must not pass off what lies between two commits as a node's.
        if was != earlier.result.base {
            return Ok(Err("its files were made on more than what comes before it in the plan".to_owned()));
        }
        let start = status.start_commit().unwrap_or_default();
        let onto = match self.base(compiled, status, ix, &results_ref(&compiled.key))?.commit(start) {
            Ok(onto) => onto,
            Err(conflict) => return Ok(Err(conflict.message())),
        };
        let made = (parse_commit(&was)?, parse_commit(&earlier.result.commit)?);
        let carriage = Carriage { made, onto: parse_commit(&onto)?, start: parse_commit(start)? };
        let merge = match self.with_repo(|repo| self.carry(repo, &carriage, &there))? {
            Err(why) => return Ok(Err(why)),
            Ok(merge) => merge,
        };
        let commit = match merge {
            ResultMerge::Commit(commit) => commit,
            ResultMerge::Conflicts(files) => {
                let files: Vec<String> = files.iter().map(|file| format!("`{file}`")).collect();
                let files = files.join(", ");
                return Ok(Err(format!("what it changed conflicts with what is there now in {files}")));
            }
        };
        let (files, insertions, deletions) = self.cache()?.count_changes(carriage.onto, commit)?;
        info!(execution = %compiled.key, from = %earlier.key, node = ?compiled.ids.get(ix), result = %carriage.made.1, %commit, files, "carried a result along");
        let commit = commit.to_string();
        // What was delivered since is part of the branch: a result that changes nothing is none.
        Ok(Ok((files > 0).then_some(NodeResult { commit, base: onto, files, insertions, deletions })))
    }
}

impl Workspaces {
    fn carry(
        &self,
        repo: &Repo,
        carriage: &Carriage,
        reference: &str,
    ) -> Result<Result<ResultMerge, String>, GitError> {
        let Carriage { made: (from, result), onto, start } = *carriage;
        let known = vec![start, onto, from, result];
        // Planned again after a lost race, it is the same commit.
        if let Some(merge) = lock(&self.merges).get(&known) {
            return Ok(Ok(merge.clone()));
        }
        for commit in [result, from] {
            if let Err(error) = self.bring_in(repo, commit, reference) {
                return match error {
                    GitError::Remote { .. } | GitError::Missing { .. } if !may_come_later(&error) => {
                        Ok(Err(gone(commit)))
                    }
                    error => Err(error),
                };
            }
            if !repo.contains(commit)? {
                return Ok(Err(gone(commit)));
            }
        }
        if repo.is_ancestor(from, result)? != Some(true) {
            return Ok(Err(format!(
                "its result {} does not stand on {}, as its record says",
                result.short(),
                from.short()
            )));
        }
        let cache = self.cache()?;
        for commit in [start, onto] {
            self.bring_in(repo, commit, reference)?;
        }
        for commit in [start, onto, from, result] {
            cache.import(repo, commit)?;
        }
        let merge = cache.carry((from, result), onto, start)?;
        if let ResultMerge::Commit(commit) = &merge {
            cache.export(*commit, &[onto, result], repo)?;
        }
        lock(&self.merges).insert(known, merge.clone());
        Ok(Ok(merge))
    }
}

fn gone(commit: ObjectId) -> String {
    format!("its files are not kept any more (commit {})", commit.short())
}
