//! Nodes that are skipped in a row: what failed before them is the news, and forty lines would push it off the screen.

use jiff::Timestamp;

use super::{DetailLevel, lines};
use crate::event::Event;
use crate::model::{NodePhase, ResourceKey};

/// How many of them have a line of their own.
const SHOWN: u32 = 3;

/// The lines of events, with those of skipped nodes counted after the first ones.
#[derive(Debug, Default)]
pub(super) struct FoldedSkips {
    run: Option<SkipRun>,
}

/// Nodes of one Execution that were skipped one after the other.
#[derive(Debug)]
struct SkipRun {
    key: ResourceKey,
    at: Timestamp,
    count: u32,
}

impl FoldedSkips {
    /// The lines of an event, after the one that counts what went before it.
    pub(super) fn of(&mut self, event: &Event, detail: DetailLevel) -> Vec<String> {
        let Event::Node { at, key, to: NodePhase::Skipped, .. } = event else {
            return self.before(lines::of(event, detail));
        };
        // Whoever asks for details gets each; quiet output has none of them anyway.
        if detail != DetailLevel::Normal {
            return lines::of(event, detail);
        }
        match &mut self.run {
            Some(run) if run.key == *key => {
                run.count = run.count.saturating_add(1);
                run.at = *at;
                if run.count > SHOWN { Vec::new() } else { lines::of(event, detail) }
            }
            _ => {
                let shown = self.before(lines::of(event, detail));
                self.run = Some(SkipRun { key: key.clone(), at: *at, count: 1 });
                shown
            }
        }
    }

    fn before(&mut self, lines: Vec<String>) -> Vec<String> {
        // An event without a line does not end a row that people see.
        if lines.is_empty() {
            return lines;
        }
        let Some(SkipRun { key, at, count }) = self.run.take() else { return lines };
        let more = count.saturating_sub(SHOWN);
        let counted = (more > 0).then(|| lines::skipped(&key, at, more));
        counted.into_iter().chain(lines).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Kind, Name, NodeId};

    fn node(execution: &str, id: &str, to: NodePhase) -> Event {
        let name = |text: &str| Name::new(text).unwrap();
        Event::Node {
            at: "2026-03-04T12:03:41Z".parse().unwrap(),
            key: ResourceKey::new(Kind::Execution, name("team"), name(execution)),
            node: NodeId::new(id).unwrap(),
            from: NodePhase::Pending,
            to,
            reason: None,
            message: String::new(),
            attempt: 0,
        }
    }

    fn shown(events: &[Event], detail: DetailLevel) -> Vec<String> {
        let mut folded = FoldedSkips::default();
        let lines = events.iter().flat_map(|event| folded.of(event, detail));
        lines.map(|line| anstream::adapter::strip_str(&line).to_string()).collect()
    }

    #[test]
    fn nodes_that_are_skipped_in_a_row_are_counted_after_the_first_ones() {
        let mut events: Vec<Event> =
            ["a", "b", "c", "d", "e"].iter().map(|id| node("x", id, NodePhase::Skipped)).collect();
        events.push(node("x", "last", NodePhase::Running));
        let lines = shown(&events, DetailLevel::Normal);
        assert_eq!(
            lines,
            [
                "12:03:41 team/x a Skipped",
                "12:03:41 team/x b Skipped",
                "12:03:41 team/x c Skipped",
                "12:03:41 team/x and 2 more nodes Skipped",
                "12:03:41 team/x last Running",
            ]
        );
        assert_eq!(shown(&events, DetailLevel::Verbose).len(), 6);
    }

    #[test]
    fn each_execution_has_its_own_row() {
        let mut events: Vec<Event> =
            ["a", "b", "c", "d"].map(|id| node("x", id, NodePhase::Skipped)).to_vec();
        events.push(node("y", "a", NodePhase::Skipped));
        let lines = shown(&events, DetailLevel::Normal);
        assert_eq!(lines[3..], ["12:03:41 team/x and 1 more node Skipped", "12:03:41 team/y a Skipped"]);
    }
}
