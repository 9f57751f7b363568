//! The state behind the live tree: which executions are under way, and which of their nodes are worth a line.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::event::Event;
use crate::model::{ExecutionPhase, NodeId, NodePhase, ResourceKey};
use crate::report::age::seconds_text;
use crate::report::style::{Tone, execution_sign, node_sign};
use crate::report::text;

/// How much of a node's last output is shown.
const OUTPUT_WIDTH: usize = 60;

/// From how many instances in one phase on they share a line.
const FOLDED: usize = 4;

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct ProgressTree {
    executions: BTreeMap<ResourceKey, ExecutionBranch>,
}

/// One execution that has not ended.
#[derive(Debug)]
struct ExecutionBranch {
    phase: ExecutionPhase,
    total: usize,
    ended: usize,
    since: Instant,
    /// Nodes that run or wait for somebody.
    leaves: BTreeMap<NodeId, NodeLeaf>,
}

/// One node that runs or waits for somebody.
#[derive(Debug)]
struct NodeLeaf {
    phase: NodePhase,
    attempt: u32,
    since: Instant,
    output: String,
}

impl ProgressTree {
    /// Takes an event in.
    pub(super) fn note(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Execution { key, to, .. } if to.is_terminal() => {
                // Its end has scrolled by as a line, and the room is for what still continues.
                self.executions.remove(key);
            }
            Event::Execution { key, to, nodes, .. } => {
                let branch = self.branch(key, now);
                branch.phase = *to;
                // Events from before the pin do not know the number of nodes, and say 0.
                branch.total = branch.total.max(*nodes);
            }
            Event::Node { key, node, from, to, attempt, .. } => {
                let branch = self.branch(key, now);
                if to.is_terminal() && !from.is_terminal() {
                    branch.ended += 1;
                }
                if matches!(to, NodePhase::Running | NodePhase::Blocked) {
                    // By this process's own clock: times in events come from clocks that may be set.
                    let leaf = NodeLeaf { phase: *to, attempt: *attempt, since: now, output: String::new() };
                    branch.leaves.insert(node.clone(), leaf);
                } else {
                    branch.leaves.remove(node);
                }
            }
            Event::Output { key, node, line } => {
                if let Some(leaf) =
                    self.executions.get_mut(key).and_then(|branch| branch.leaves.get_mut(node))
                {
                    // Only the last line: the tree shows that something continues, and the log has the rest.
                    leaf.output = text::shortened(line.trim(), OUTPUT_WIDTH);
                }
            }
            _ => {}
        }
    }

    fn branch(&mut self, key: &ResourceKey, now: Instant) -> &mut ExecutionBranch {
        self.executions.entry(key.clone()).or_insert_with(|| ExecutionBranch {
            phase: ExecutionPhase::Running,
            total: 0,
            ended: 0,
            since: now,
            leaves: BTreeMap::new(),
        })
    }

    /// The lines of the tree, at most `limit`; what does not fit is counted.
    pub(super) fn lines(&self, now: Instant, limit: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for (key, branch) in &self.executions {
            lines.push(branch.head(key, now));
            let shown = branch.shown();
            let last = shown.len().saturating_sub(1);
            for (i, (node, leaf)) in shown.into_iter().enumerate() {
                lines.push(leaf.line(&node, i == last, now));
            }
        }
        let more = lines.len().saturating_sub(limit);
        if more > 0 {
            lines.truncate(limit.saturating_sub(1));
            // One more than was cut, because this line takes the place of one.
            lines.push(Tone::Muted.paint(format!("… and {} more", more + 1)));
        }
        lines
    }
}

impl ExecutionBranch {
    /// The lines to come: instances in one phase are one, which shows the oldest of them. Otherwise those of one repeated node
    /// would push every other node off the screen.
    fn shown(&self) -> Vec<(String, &NodeLeaf)> {
        let unit = |node: &NodeId, leaf: &NodeLeaf| {
            text::numbered(node.as_str()).map(|(name, _)| (name.to_owned(), leaf.phase.as_str()))
        };
        let mut units: BTreeMap<_, usize> = BTreeMap::new();
        for unit in self.leaves.iter().filter_map(|(node, leaf)| unit(node, leaf)) {
            *units.entry(unit).or_default() += 1;
        }
        let mut shown: Vec<(String, &NodeLeaf)> = Vec::new();
        for (node, leaf) in &self.leaves {
            let Some((unit, count)) = unit(node, leaf).and_then(|unit| units.get_key_value(&unit)) else {
                shown.push((node.to_string(), leaf));
                continue;
            };
            let name = format!("{} ×{count}", unit.0);
            if *count < FOLDED {
                shown.push((node.to_string(), leaf));
            } else if let Some((_, known)) =
                shown.iter_mut().find(|(shown, known)| *shown == name && known.phase == leaf.phase)
            {
                *known = if leaf.since < known.since { leaf } else { *known };
            } else {
                shown.push((name, leaf));
            }
        }
        shown
    }

    fn head(&self, key: &ResourceKey, now: Instant) -> String {
        let tone = Tone::of_phase(self.phase.as_str());
        let progress =
            if self.total > 0 { format!("  {}/{}", self.ended, self.total) } else { String::new() };
        format!(
            "{} {}/{}{progress}  {}",
            tone.paint(execution_sign(self.phase)),
            key.namespace,
            Tone::Strong.paint(&key.name),
            elapsed(self.since, now)
        )
    }
}

impl NodeLeaf {
    fn line(&self, node: &str, last: bool, now: Instant) -> String {
        let knee = if last { "└─" } else { "├─" };
        let tone = Tone::of_phase(self.phase.as_str());
        let attempt = if self.attempt > 1 { format!(" (attempt {})", self.attempt) } else { String::new() };
        let output = if self.output.is_empty() {
            String::new()
        } else {
            format!("  {}", Tone::Muted.paint(&self.output))
        };
        format!(
            "  {} {} {node}  {}{attempt} {}{output}",
            Tone::Muted.paint(knee),
            tone.paint(node_sign(self.phase)),
            tone.paint(self.phase),
            elapsed(self.since, now)
        )
    }
}

fn elapsed(since: Instant, now: Instant) -> String {
    seconds_text(now.saturating_duration_since(since).as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{Kind, Name};

    fn key() -> ResourceKey {
        ResourceKey::new(Kind::Execution, Name::new("team").unwrap(), Name::new("run").unwrap())
    }

    fn node(id: &str, from: NodePhase, to: NodePhase) -> Event {
        let at = "2026-03-04T12:03:41Z".parse().unwrap();
        let node = NodeId::new(id).unwrap();
        Event::Node { at, key: key(), node, from, to, reason: None, message: String::new(), attempt: 1 }
    }

    fn execution(to: ExecutionPhase) -> Event {
        let at = "2026-03-04T12:03:41Z".parse().unwrap();
        Event::Execution { at, key: key(), from: None, to, message: String::new(), nodes: 3 }
    }

    fn shown(tree: &ProgressTree, at: Instant, limit: usize) -> Vec<String> {
        tree.lines(at, limit).iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
    }

    #[test]
    fn running_and_blocked_nodes_have_lines_and_ended_ones_are_counted() {
        let start = Instant::now();
        let mut tree = ProgressTree::default();
        tree.note(&execution(ExecutionPhase::Running), start);
        tree.note(&node("a", NodePhase::Pending, NodePhase::Running), start);
        tree.note(&node("b", NodePhase::Pending, NodePhase::Blocked), start);
        tree.note(&node("a", NodePhase::Running, NodePhase::Succeeded), start);
        tree.note(&node("c", NodePhase::Pending, NodePhase::Running), start);
        let output =
            Event::Output { key: key(), node: NodeId::new("c").unwrap(), line: "\u{1b}[1mhi".into() };
        tree.note(&output, start);
        assert_eq!(
            shown(&tree, start + Duration::from_secs(72), 10),
            ["● team/run  1/3  1m12s", "  ├─ ◍ b  Blocked 1m12s", "  └─ ● c  Running 1m12s  hi"]
        );
        assert_eq!(shown(&tree, start, 2), ["● team/run  1/3  0s", "… and 2 more"]);
    }

    #[test]
    fn instances_in_one_phase_share_a_line() {
        let start = Instant::now();
        let mut tree = ProgressTree::default();
        tree.note(&execution(ExecutionPhase::Running), start);
        for index in 0..9 {
            let began = start + Duration::from_secs(index);
            tree.note(&node(&format!("load-{index}"), NodePhase::Pending, NodePhase::Running), began);
        }
        tree.note(&node("load-9", NodePhase::Pending, NodePhase::Blocked), start);
        tree.note(&node("step-1", NodePhase::Pending, NodePhase::Running), start);
        assert_eq!(
            shown(&tree, start + Duration::from_secs(10), 10)[1..],
            ["  ├─ ● load ×9  Running 10s", "  ├─ ◍ load-9  Blocked 10s", "  └─ ● step-1  Running 10s"]
        );
    }

    #[test]
    fn an_execution_that_ended_leaves_the_tree() {
        let start = Instant::now();
        let mut tree = ProgressTree::default();
        tree.note(&execution(ExecutionPhase::Running), start);
        tree.note(&execution(ExecutionPhase::Succeeded), start);
        assert!(tree.lines(start, 10).is_empty());
    }
}
