//! What a node builds on: the results of all nodes before it, less those that others among them were built on.

use std::collections::BTreeSet;

use crate::graph::{NodeIx, Topology};
use crate::model::{ExecutionStatus, NodeId, NodeResult, NodeStatus, NodeTrait};
use crate::run::CompiledPlan;

/// The results that the base of a node is made of, in the order in which they are merged.
///
/// A result holds every result before its node: that node began when all of them had ended, and a `retry` of one resets all
/// that comes after it. So only the last of each chain count.
#[must_use]
pub(crate) fn results_before<'s>(
    compiled: &'s CompiledPlan,
    status: &'s ExecutionStatus,
    ix: NodeIx,
) -> Vec<(&'s NodeId, &'s NodeResult)> {
    // Asked first: this runs for each node that starts, and in most plans no node changes a file.
    if !status.node_statuses.has(NodeTrait::HasResult) {
        return Vec::new();
    }
    let mut among = compiled.topology.upstream(ix);
    // What it is made on top of, although the plan does not say so.
    let onto = compiled.ids.get(ix).and_then(|id| status.node_statuses.get(id));
    for other in onto.into_iter().flat_map(|state| &state.extensions.onto) {
        mark_with_upstream(&compiled.topology, other, &mut among);
    }
    results_among(&compiled.topology, status, &among)
}

/// The nodes that changed files, by their place in the plan.
pub(crate) fn changed_nodes<'t, 's>(
    topology: &'t Topology,
    status: &'s ExecutionStatus,
) -> impl Iterator<Item = (NodeIx, &'s NodeId, &'s NodeStatus)> + use<'t, 's> {
    let changed = status.node_statuses.having(NodeTrait::HasResult);
    changed.filter_map(|(id, state)| Some((topology.find(id.as_str())?, id, state)))
}

/// Marks a node and all nodes before it.
fn mark_with_upstream(topology: &Topology, id: &NodeId, marked: &mut [bool]) {
    let Some(ix) = topology.find(id.as_str()) else { return };
    for (at, (flag, before)) in marked.iter_mut().zip(topology.upstream(ix)).enumerate() {
        *flag |= before || at == ix;
    }
}

/// A node with all that was built on what it changed: what comes after it, and what was made on top of any of that.
#[must_use]
pub(crate) fn built_on(compiled: &CompiledPlan, status: &ExecutionStatus, ix: NodeIx) -> Vec<bool> {
    let mut found = vec![false; compiled.ids.len()];
    let mut open = vec![ix];
    while let Some(start) = open.pop() {
        for (at, (flag, after)) in found.iter_mut().zip(compiled.topology.downstream(start)).enumerate() {
            *flag |= after || at == start;
        }
        for (at, id) in compiled.ids.iter().enumerate() {
            let is_found = |id: &NodeId| {
                let ix = compiled.topology.find(id.as_str());
                ix.and_then(|ix| found.get(ix)).copied().unwrap_or_default()
            };
            let onto = status.node_statuses.get(id).map(|state| state.extensions.onto.as_slice());
            if !found.get(at).copied().unwrap_or(true) && onto.unwrap_or_default().iter().any(is_found) {
                open.push(at);
            }
        }
    }
    found
}

/// The same for any set of nodes: the results that together hold what all of them changed.
#[must_use]
pub(crate) fn results_among<'s>(
    topology: &Topology,
    status: &'s ExecutionStatus,
    among: &[bool],
) -> Vec<(&'s NodeId, &'s NodeResult)> {
    // From the end: whatever comes before one that was seen is part of it.
    let mut covered = vec![false; among.len()];
    let mut results: Vec<Option<(&NodeId, &NodeResult)>> = vec![None; among.len()];
    for (ix, id, state) in changed_nodes(topology, status).filter(|(ix, ..)| among.get(*ix) == Some(&true)) {
        // What was made on top of another node holds that, too, wherever the two stand in the plan.
        for other in &state.extensions.onto {
            mark_with_upstream(topology, other, &mut covered);
        }
        if let (Some(place), Some(result)) = (results.get_mut(ix), state.extensions.result.as_deref()) {
            *place = Some((id, result));
        }
    }
    let mut found = Vec::new();
    for &ix in topology.order().iter().rev() {
        let Some(pair) = results.get(ix).copied().flatten() else { continue };
        if covered.get(ix).copied().unwrap_or(true) {
            continue;
        }
        for (flag, before) in covered.iter_mut().zip(topology.upstream(ix)) {
            *flag |= before;
        }
        found.push((ix, pair));
    }
    // The order of the manifest, which a person can see and change.
    found.sort_by_key(|(ix, _)| *ix);
    found.into_iter().map(|(_, pair)| pair).collect()
}

/// The commits that a new status of an Execution names and the published one does not: results, what is unfinished, and bases
/// that were merged for a node. What is recorded has to be kept (a record is never without its result).
#[must_use]
pub(crate) fn new_work(published: Option<&ExecutionStatus>, next: &ExecutionStatus) -> Vec<String> {
    let known: BTreeSet<&str> = published.into_iter().flat_map(named_commits).collect();
    let pinned = next.extensions.pinned.as_ref().map(|pinned| pinned.commit.as_str());
    let named: BTreeSet<&str> = named_commits(next).into_iter().collect();
    named
        .difference(&known)
        .filter(|commit| Some(**commit) != pinned)
        .map(|commit| (*commit).to_owned())
        .collect()
}

fn named_commits(status: &ExecutionStatus) -> Vec<&str> {
    let nodes = status.node_statuses.having(NodeTrait::NamesCommit).map(|(_, state)| &state.extensions);
    let commits = nodes.flat_map(|node| {
        let result = node.result.as_deref().map(|result| result.commit.as_str());
        // What a person handed in while the remote work is still being cancelled.
        let decided = node.decided.as_ref().and_then(|decided| decided.result.as_ref());
        let decided = decided.map(|result| result.commit.as_str());
        let unfinished = node.unfinished.as_deref().map(|work| work.commit.as_str());
        result.into_iter().chain(node.base.as_deref()).chain(decided).chain(unfinished)
    });
    // What it starts from, once it can start: until then the owner's reference keeps it, and where it is the pinned commit the
    // desired branch does.
    let extensions = &status.extensions;
    let start = extensions.base.as_deref().filter(|_| extensions.pinned.is_some());
    commits.chain(start).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn compiled(edges: &[(&str, &str)], ids: &[&str]) -> CompiledPlan {
        let nodes: Vec<Value> = ids.iter().map(|id| json!({ "id": id, "kind": "Task" })).collect();
        let edges: Vec<Value> = edges.iter().map(|(from, to)| json!({ "from": from, "to": to })).collect();
        CompiledPlan::of_graph(&json!({ "nodes": nodes, "edges": edges }))
    }

    fn status(results: &[&str], ids: &[&str]) -> ExecutionStatus {
        let node = |id: &&str| {
            let result = json!({ "commit": format!("c-{id}"), "base": "p", "files": 1, "insertions": 1, "deletions": 0 });
            let extensions = if results.contains(id) { json!({ "result": result }) } else { json!({}) };
            ((*id).to_owned(), json!({ "phase": "Succeeded", "extensions": extensions }))
        };
        let nodes: serde_json::Map<String, Value> = ids.iter().map(node).collect();
        serde_json::from_value(json!({ "phase": "Running", "nodeStatuses": nodes })).unwrap()
    }

    #[track_caller]
    fn check(edges: &[(&str, &str)], results: &[&str], node: &str, expected: &[&str]) {
        let ids = ["a", "b", "c", "d"];
        let compiled = compiled(edges, &ids);
        let status = status(results, &ids);
        let ix = compiled.topology.find(node).unwrap();
        let before = results_before(&compiled, &status, ix);
        let found: Vec<&str> = before.iter().map(|(_, result)| result.commit.as_str()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_node_builds_on_the_last_result_of_each_chain_before_it() {
        let chain = [("a", "b"), ("b", "c"), ("c", "d")];
        check(&chain, &["a", "b"], "d", &["c-b"]);
        check(&chain, &["a"], "d", &["c-a"]);
        check(&chain, &[], "d", &[]);
        let diamond = [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")];
        check(&diamond, &["a", "b", "c"], "d", &["c-b", "c-c"]);
        check(&diamond, &["a", "b"], "d", &["c-b"]);
        check(&diamond, &["a", "b", "c"], "b", &["c-a"]);
    }

    #[test]
    fn what_was_made_on_top_of_another_node_stands_for_both() {
        let ids = ["a", "b", "c", "d"];
        let compiled = compiled(&[("a", "d"), ("b", "d"), ("b", "c")], &ids);
        let mut status = status(&["a", "b"], &ids);
        let find = |id: &str| compiled.topology.find(id).unwrap();
        let before = |status: &ExecutionStatus, id: &str| {
            let before = results_before(&compiled, status, find(id));
            before.iter().map(|(_, result)| result.commit.clone()).collect::<Vec<_>>()
        };
        assert_eq!(before(&status, "d"), ["c-a", "c-b"]);
        let b = NodeId::new("b").unwrap();
        status.node_statuses.get_mut(&b).unwrap().extensions.onto = vec![NodeId::new("a").unwrap()];
        assert_eq!(before(&status, "d"), ["c-b"]);
        assert_eq!(before(&status, "b"), ["c-a"], "that is what it begins with");
        assert_eq!(built_on(&compiled, &status, find("a")), [true, true, true, true]);
        assert_eq!(built_on(&compiled, &status, find("c")), [false, false, true, false]);
    }

    #[test]
    fn only_what_is_new_in_a_status_has_to_be_kept() {
        let ids = ["a", "b"];
        let old = status(&["a"], &ids);
        let new = status(&["a", "b"], &ids);
        assert_eq!(new_work(Some(&old), &new), ["c-b"]);
        assert_eq!(new_work(None, &new), ["c-a", "c-b"]);
        assert!(new_work(Some(&new), &old).is_empty());
    }

    /// What a commit holds: of each node whose changes are in it, the number of the attempt that made them.
    type Held = BTreeMap<usize, u32>;

    /// An Execution whose nodes run, are made again, and are retried; its commits hold what a person would merge by hand.
    struct Model {
        compiled: CompiledPlan,
        status: ExecutionStatus,
        changes: Vec<bool>,
        attempts: Vec<u32>,
        done: Vec<bool>,
        commits: BTreeMap<String, Held>,
    }

    impl Model {
        /// Nodes `n0` to `n7`, with the edges and the changes of these bits, and behind all of them `end`.
        fn new(edges: u32, changes: u8) -> Self {
            let ids: Vec<String> = (0..8).map(|n| format!("n{n}")).chain(["end".to_owned()]).collect();
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let pairs = (0..8).flat_map(|to| (0..to).map(move |from| (from, to)));
            let mut drawn: Vec<(&str, &str)> = pairs
                .enumerate()
                .filter(|(bit, _)| edges >> bit & 1 == 1)
                .map(|(_, (from, to))| (ids[from], ids[to]))
                .collect();
            drawn.extend((0..8).map(|from| (ids[from], "end")));
            Self {
                compiled: compiled(&drawn, &ids),
                status: status(&[], &ids),
                changes: (0..9).map(|n| n < 8 && changes >> n & 1 == 1).collect(),
                attempts: vec![0; 9],
                done: vec![false; 9],
                commits: BTreeMap::new(),
            }
        }

        fn id(&self, ix: usize) -> NodeId {
            self.compiled.ids[ix].clone()
        }

        /// What these commits hold together; never two attempts of one node, and never one that was made again since.
        fn merged<'c>(&self, commits: impl Iterator<Item = &'c String>) -> Held {
            let mut held = Held::new();
            for (node, attempt) in commits.flat_map(|commit| &self.commits[commit]) {
                assert_eq!(*attempt, self.attempts[*node], "old work of node {node}");
                held.insert(*node, *attempt);
            }
            held
        }

        /// Runs what has not run, in order, each on its base.
        fn run(&mut self) {
            for ix in self.compiled.topology.order().to_vec() {
                if std::mem::replace(&mut self.done[ix], true) {
                    continue;
                }
                let base: Vec<String> = results_before(&self.compiled, &self.status, ix)
                    .into_iter()
                    .map(|(_, result)| result.commit.clone())
                    .collect();
                let mut held = self.merged(base.iter());
                // A careful person merges the result of each node that comes before it, or that it is made on top of.
                let mut before = self.compiled.topology.upstream(ix);
                for other in &self.status.node_statuses[&self.id(ix)].extensions.onto {
                    mark_with_upstream(&self.compiled.topology, other, &mut before);
                }
                let results = (0..9).filter(|other| before[*other]).filter_map(|other| {
                    let result = self.status.node_statuses[&self.id(other)].extensions.result.clone();
                    result.map(|result| result.commit.clone())
                });
                let results: Vec<String> = results.collect();
                assert_eq!(held, self.merged(results.iter()), "the base of node {ix}");
                self.attempts[ix] += 1;
                if self.changes[ix] {
                    held.insert(ix, self.attempts[ix]);
                    let commit = format!("{ix}-{}", self.attempts[ix]);
                    self.commits.insert(commit.clone(), held);
                    let result =
                        json!({ "commit": commit, "base": "p", "files": 1, "insertions": 1, "deletions": 0 });
                    let state = self.status.node_statuses.get_mut(&self.id(ix)).unwrap();
                    state.extensions.result = Some(serde_json::from_value(result).unwrap());
                }
            }
        }

        /// A node runs again with all that was built on it; on top of another one, where that was not.
        fn again(&mut self, ix: usize, onto: Option<usize>) {
            let again = built_on(&self.compiled, &self.status, ix);
            for at in (0..9).filter(|at| again[*at]) {
                self.done[at] = false;
                let state = self.status.node_statuses.get_mut(&self.id(at)).unwrap();
                (state.extensions.result, state.extensions.onto) = (None, Vec::new());
            }
            if let Some(onto) = onto.filter(|onto| !again[*onto]) {
                let other = self.id(onto);
                self.status.node_statuses.get_mut(&self.id(ix)).unwrap().extensions.onto = vec![other];
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        #[test]
        fn whatever_runs_again_each_node_builds_on_the_newest_work_of_all_before_it_and_on_no_other(
            edges in any::<u32>(),
            changes in any::<u8>(),
            steps in proptest::collection::vec((0usize..8, proptest::option::of(0usize..8)), 0..8),
        ) {
            let mut model = Model::new(edges, changes);
            model.run();
            for (ix, onto) in steps {
                model.again(ix, onto);
                model.run();
            }
        }
    }
}
