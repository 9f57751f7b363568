//! Commits that the remote refused: whose content it was is found by halving, so that nobody else is held up by it.

use std::collections::BTreeSet;

use crate::model::{Kind, ResourceKey};

/// From this size on, commits are as large as they get.
const UNLIMITED: usize = 1_000;

/// After so many refusals in a row of commits with a single Execution, the remote refuses everything.
const MOST_IN_A_ROW: u32 = 4;

/// What the remote refused of late.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// How many Executions go into a commit; all that have something to say when absent.
    limit: Option<usize>,
    /// How many were refused since the last commit that was not.
    in_a_row: u32,
    /// Whose results were withdrawn already.
    withdrawn: BTreeSet<ResourceKey>,
}

/// What to do about a refused commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RefusalStep {
    /// Try with fewer Executions.
    Divide,
    /// Withdraw the results of this one, and record that they were refused.
    Withdraw(ResourceKey),
    /// Leave this one out: not even that could be recorded.
    LeaveOut(ResourceKey),
    /// Give up: it is not about anybody's content.
    GiveUp,
}

impl Refusals {
    /// How many Executions may go into the next commit.
    pub(crate) fn limit(&self) -> usize {
        self.limit.unwrap_or(usize::MAX)
    }

    /// The remote refused a commit with these resources.
    pub(crate) fn refused<'k>(&mut self, keys: impl Iterator<Item = &'k ResourceKey>) -> RefusalStep {
        let keys: Vec<&ResourceKey> = keys.collect();
        // Gates and goals come along with Executions.
        let executions: Vec<&ResourceKey> =
            keys.iter().copied().filter(|key| key.kind == Kind::Execution).collect();
        let suspects = if executions.is_empty() { keys } else { executions };
        if suspects.len() > 1 {
            // Half of what was sent and not of the limit, which may have been far from reached.
            self.limit = Some(suspects.len() / 2);
            return RefusalStep::Divide;
        }
        // Single suspects alone are counted: halving a large commit is refused several times without a word
        // about the remote.
        self.in_a_row += 1;
        match suspects.first() {
            Some(&key) if self.in_a_row < MOST_IN_A_ROW => {
                // Once: refused again without its results, the record is refused for something else that it
                // holds.
                if self.withdrawn.insert(key.clone()) {
                    RefusalStep::Withdraw(key.clone())
                } else {
                    RefusalStep::LeaveOut(key.clone())
                }
            }
            _ => RefusalStep::GiveUp,
        }
    }

    /// It is not known yet that the results of this one were what was refused: the next refusal may withdraw them.
    pub(crate) fn acquit(&mut self, key: &ResourceKey) {
        self.withdrawn.remove(key);
    }

    /// A commit with these resources was published.
    pub(crate) fn published<'k>(&mut self, keys: impl Iterator<Item = &'k ResourceKey>) {
        self.in_a_row = 0;
        if !self.withdrawn.is_empty() {
            for key in keys {
                self.withdrawn.remove(key);
            }
        }
        // Doubled rather than lifted: the culprit may still be among those that were not tried.
        self.limit = self.limit.map(|limit| limit * 2).filter(|limit| *limit < UNLIMITED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(count: usize) -> Vec<ResourceKey> {
        (0..count).map(|number| format!("team/execution/e{number}").parse().unwrap()).collect()
    }

    #[test]
    fn halving_finds_the_culprit_among_many_in_few_steps() {
        let mut pending = keys(64);
        let culprit = pending[41].clone();
        let mut refusals = Refusals::default();
        let mut pushes = 0;
        let found = loop {
            pushes += 1;
            let batch: Vec<ResourceKey> = pending.iter().take(refusals.limit()).cloned().collect();
            if !batch.contains(&culprit) {
                pending.drain(..batch.len());
                refusals.published(batch.iter());
                continue;
            }
            match refusals.refused(batch.iter()) {
                RefusalStep::Divide => {}
                step => break step,
            }
        };
        assert_eq!(found, RefusalStep::Withdraw(culprit));
        assert!(pushes <= 24, "{pushes} pushes");
    }

    #[test]
    fn one_that_is_refused_again_is_left_out_and_a_remote_that_takes_nothing_is_no_matter_of_content() {
        let one = keys(1);
        let mut refusals = Refusals::default();
        assert_eq!(refusals.refused(one.iter()), RefusalStep::Withdraw(one[0].clone()));
        assert_eq!(refusals.refused(one.iter()), RefusalStep::LeaveOut(one[0].clone()));
        let other = &keys(2)[1..];
        assert_eq!(refusals.refused(other.iter()), RefusalStep::Withdraw(other[0].clone()));
        assert_eq!(refusals.refused(other.iter()), RefusalStep::GiveUp);
        refusals.published(one.iter());
        assert_eq!(refusals.refused(other.iter()), RefusalStep::LeaveOut(other[0].clone()));
        refusals.published(other.iter());
        assert_eq!(refusals.refused(other.iter()), RefusalStep::Withdraw(other[0].clone()));
    }

    #[test]
    fn what_comes_along_with_an_execution_is_not_suspected() {
        let mut all = keys(1);
        all.push("team/gate/g".parse().unwrap());
        all.push("team/goal/g".parse().unwrap());
        assert_eq!(Refusals::default().refused(all.iter()), RefusalStep::Withdraw(all[0].clone()));
        assert_eq!(Refusals::default().refused(std::iter::empty()), RefusalStep::GiveUp);
    }
}
