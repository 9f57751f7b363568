//! The Executions that wait for a place in the window, the most urgent first.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use crate::model::ResourceKey;

/// How urgent an Execution is, and the goal that it serves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::engine::pass) struct ExecutionRank {
    pub(in crate::engine::pass) priority: u16,
    pub(in crate::engine::pass) goal: Option<ResourceKey>,
}

/// Executions that wait for a place.
// Kept in order, and each ranked once for a desired commit: a first pass over a large repository lets in a thousand of ten
// thousands with each commit, and would else sort all the others as often.
#[derive(Debug, Default)]
pub(in crate::engine::pass) struct WaitingExecutions {
    unranked: BTreeSet<ResourceKey>,
    ranks: HashMap<ResourceKey, ExecutionRank>,
    /// Those of `ranks`, the most urgent first.
    order: BTreeSet<(Reverse<u16>, ResourceKey)>,
    /// How many of `ranks` serve a goal.
    serving: HashMap<ResourceKey, usize>,
}

impl WaitingExecutions {
    pub(in crate::engine::pass) fn insert(&mut self, key: ResourceKey) {
        if !self.ranks.contains_key(&key) {
            self.unranked.insert(key);
        }
    }

    pub(in crate::engine::pass) fn remove(&mut self, key: &ResourceKey) {
        self.unranked.remove(key);
        if let Some(rank) = self.ranks.remove(key) {
            self.order.remove(&(Reverse(rank.priority), key.clone()));
            self.forget_service(rank.goal.as_ref());
        }
    }

    pub(in crate::engine::pass) fn contains(&self, key: &ResourceKey) -> bool {
        self.unranked.contains(key) || self.ranks.contains_key(key)
    }

    pub(in crate::engine::pass) fn len(&self) -> usize {
        self.unranked.len() + self.ranks.len()
    }

    pub(in crate::engine::pass) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether one of them serves this goal.
    pub(in crate::engine::pass) fn serve(&self, goal: &ResourceKey) -> bool {
        self.serving.contains_key(goal)
    }

    /// Ranks all of them anew: the priority of a goal may have changed while its Executions waited.
    pub(in crate::engine::pass) fn forget_ranks(&mut self) {
        self.unranked.extend(std::mem::take(&mut self.ranks).into_keys());
        self.order.clear();
        self.serving.clear();
    }

    /// Takes out the most urgent, up to `most` of them.
    pub(in crate::engine::pass) fn take<E>(
        &mut self,
        most: usize,
        mut rank: impl FnMut(&ResourceKey) -> Result<ExecutionRank, E>,
    ) -> Result<Vec<(ResourceKey, u16)>, E> {
        while let Some(key) = self.unranked.first() {
            // Still unranked where this fails, so that none is lost.
            let found = rank(key)?;
            let Some(key) = self.unranked.pop_first() else { break };
            self.order.insert((Reverse(found.priority), key.clone()));
            if let Some(goal) = found.goal.clone() {
                *self.serving.entry(goal).or_default() += 1;
            }
            self.ranks.insert(key, found);
        }
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some((Reverse(priority), key)) = self.order.pop_first()
        {
            let rank = self.ranks.remove(&key);
            self.forget_service(rank.as_ref().and_then(|rank| rank.goal.as_ref()));
            taken.push((key, priority));
        }
        Ok(taken)
    }

    fn forget_service(&mut self, goal: Option<&ResourceKey>) {
        let Some(goal) = goal else { return };
        if let Some(count) = self.serving.get_mut(goal) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.serving.remove(goal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn key(text: &str) -> ResourceKey {
        text.parse().unwrap()
    }

    /// The names of the most urgent ones, where the last letter of a name says how urgent it is, and which goal it serves.
    fn take(waiting: &mut WaitingExecutions, most: usize, asked: &mut Vec<String>) -> Vec<String> {
        let rank = |key: &ResourceKey| {
            let name = key.name.as_str();
            asked.push(name.to_owned());
            let letter = name.chars().last().unwrap_or_default();
            let goal = Some(self::key(&format!("n/goal/{letter}")));
            Ok::<_, Infallible>(ExecutionRank { priority: u16::try_from(u32::from(letter)).unwrap(), goal })
        };
        let Ok(taken) = waiting.take(most, rank);
        taken.into_iter().map(|(key, _)| key.name.to_string()).collect()
    }

    #[test]
    fn the_most_urgent_go_first_and_each_is_ranked_once() {
        let mut waiting = WaitingExecutions::default();
        let mut asked = Vec::new();
        for name in ["1a", "2c", "3b", "4b"] {
            waiting.insert(key(&format!("n/execution/{name}")));
        }
        assert_eq!(take(&mut waiting, 1, &mut asked), ["2c"]);
        assert_eq!(asked.len(), 4);
        // Twice the same, and one that came later.
        waiting.insert(key("n/execution/1a"));
        waiting.insert(key("n/execution/5c"));
        assert_eq!(waiting.len(), 4);
        assert_eq!(take(&mut waiting, 2, &mut asked), ["5c", "3b"]);
        assert_eq!(asked.len(), 5, "only the new one was ranked");
        waiting.forget_ranks();
        assert_eq!(take(&mut waiting, 9, &mut asked), ["4b", "1a"]);
        assert_eq!(asked.len(), 7);
        assert!(waiting.is_empty());
    }

    #[test]
    fn a_goal_is_served_as_long_as_one_of_its_executions_waits() {
        let mut waiting = WaitingExecutions::default();
        let goal = key("n/goal/b");
        for name in ["1b", "2b", "3a", "4a"] {
            waiting.insert(key(&format!("n/execution/{name}")));
        }
        assert_eq!(take(&mut waiting, 1, &mut Vec::new()), ["1b"]);
        assert!(waiting.serve(&goal));
        waiting.remove(&key("n/execution/2b"));
        assert!(!waiting.serve(&goal) && waiting.serve(&key("n/goal/a")));
        assert!(!waiting.contains(&key("n/execution/2b")) && waiting.contains(&key("n/execution/3a")));
        assert_eq!(take(&mut waiting, 9, &mut Vec::new()), ["3a", "4a"]);
        assert!(!waiting.serve(&key("n/goal/a")));
    }
}
