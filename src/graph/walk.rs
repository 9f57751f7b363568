//! Walking a relation that nobody has in one place: resources that wait for, need or replace each other.

use std::collections::HashSet;
use std::hash::Hash;

/// The cycles that are reached from `starts`, each once, as the nodes along it with the first repeated at the end.
///
/// Depth first without recursion: a chain may be as long as the repository is large.
pub(crate) fn cycles<K: Clone + Eq + Hash>(
    starts: impl IntoIterator<Item = K>,
    mut next: impl FnMut(&K) -> Vec<K>,
) -> Vec<Vec<K>> {
    let mut found = Vec::new();
    // All that a node of this set leads to has been walked.
    let mut done: HashSet<K> = HashSet::new();
    for start in starts {
        if done.contains(&start) {
            continue;
        }
        let mut open = HashSet::from([start.clone()]);
        let steps = next(&start).into_iter();
        let mut way = vec![(start, steps)];
        while let Some((_, steps)) = way.last_mut() {
            match steps.next() {
                None => {
                    let Some((node, _)) = way.pop() else { break };
                    open.remove(&node);
                    done.insert(node);
                }
                // Whatever cycle goes through it was found on another way.
                Some(target) if done.contains(&target) => {}
                Some(target) if open.contains(&target) => {
                    let nodes = way.iter().map(|(node, _)| node).skip_while(|node| **node != target);
                    let mut cycle: Vec<K> = nodes.cloned().collect();
                    cycle.push(target);
                    found.push(cycle);
                }
                Some(target) => {
                    let steps = next(&target).into_iter();
                    open.insert(target.clone());
                    way.push((target, steps));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(edges: &[(u32, u32)], expected: &[&[u32]]) {
        let next = |node: &u32| edges.iter().filter(|(from, _)| from == node).map(|(_, to)| *to).collect();
        assert_eq!(cycles(edges.iter().map(|(from, _)| *from), next), expected);
    }

    #[test]
    fn each_cycle_is_found_once_with_its_path() {
        check(&[(1, 2), (2, 3), (1, 3)], &[]);
        check(&[(1, 2), (2, 3), (3, 2), (4, 1)], &[&[2, 3, 2]]);
        check(&[(1, 1), (2, 1)], &[&[1, 1]]);
        check(&[(1, 2), (2, 1), (1, 3), (3, 1)], &[&[1, 2, 1], &[1, 3, 1]]);
    }

    #[test]
    fn a_chain_of_any_length_fits_the_stack() {
        let last = 200_000;
        let found = cycles([0], |node| vec![if *node == last { 0 } else { node + 1 }]);
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [last + 2]);
    }
}
