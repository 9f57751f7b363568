//! One line per event, for logs and pipes: plain text for people, JSON for programs.

use std::io::{self, Write};

use super::skips::FoldedSkips;
use super::{DetailLevel, ProgressReporter};
use crate::event::Event;

/// Writes a line per transition.
pub(crate) struct PlainProgress<W> {
    out: W,
    detail: DetailLevel,
    skips: FoldedSkips,
    /// Whether what comes is only what would happen.
    dry_run: bool,
}

impl<W: Write> PlainProgress<W> {
    /// Writes to `out`, which drops colours where they are not wanted.
    pub(crate) fn new(out: W, detail: DetailLevel) -> Self {
        Self { out, detail, skips: FoldedSkips::default(), dry_run: false }
    }
}

impl<W: Write + Send> ProgressReporter for PlainProgress<W> {
    fn show(&mut self, event: &Event) -> io::Result<()> {
        let mut lines = self.skips.of(event, self.detail);
        if let Event::PassStarted { dry_run, .. } = event {
            self.dry_run = *dry_run;
        }
        if lines.is_empty() {
            return Ok(());
        }
        // As `kubectl` marks each line: one that is read alone, or found in a log, must not be taken for what happened.
        if self.dry_run
            && matches!(event, Event::Resource { .. } | Event::Execution { .. } | Event::Node { .. })
        {
            lines.iter_mut().for_each(|line| line.push_str(" (dry run)"));
        }
        // In one write: a pass may end with many lines.
        lines.push(String::new());
        self.out.write_all(lines.join("\n").as_bytes())?;
        self.out.flush()
    }
}

/// Writes a JSON object per event.
pub(crate) struct JsonProgress<W> {
    out: W,
}

impl<W: Write> JsonProgress<W> {
    /// Writes to `out`.
    pub(crate) fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write + Send> ProgressReporter for JsonProgress<W> {
    fn show(&mut self, event: &Event) -> io::Result<()> {
        // One object a line, flushed at once: readers act on events while the pass continues.
        let mut line = serde_json::to_string(event).map_err(io::Error::other)?;
        line.push('\n');
        self.out.write_all(line.as_bytes())?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::Waiting;
    use crate::model::{Kind, Name, NodeId, NodePhase, ResourceKey};

    fn key() -> ResourceKey {
        let name = |text: &str| Name::new(text).unwrap();
        ResourceKey::new(Kind::Execution, name("team-platform"), name("sso-exec-001"))
    }

    fn running(message: &str) -> Event {
        Event::Node {
            at: "2026-03-04T12:03:41Z".parse().unwrap(),
            key: key(),
            node: NodeId::new("research").unwrap(),
            from: NodePhase::Pending,
            to: NodePhase::Running,
            reason: None,
            message: message.to_owned(),
            attempt: 1,
        }
    }

    fn shown(event: &Event, detail: DetailLevel) -> String {
        let mut out = Vec::new();
        PlainProgress::new(&mut out, detail).show(event).unwrap();
        anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string()
    }

    #[test]
    fn a_transition_is_one_line() {
        assert_eq!(
            shown(&running(""), DetailLevel::Normal),
            "12:03:41 team-platform/sso-exec-001 research Running (attempt 1)\n"
        );
        assert_eq!(shown(&running(""), DetailLevel::Quiet), "");
    }

    #[test]
    fn a_hostile_message_makes_no_second_line() {
        let text = shown(&running("x\n12:00:00 forged\u{1b}[2J"), DetailLevel::Normal);
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn provider_output_is_for_the_curious() {
        let node = NodeId::new("research").unwrap();
        let event = Event::Output { key: key(), node, line: "hello".to_owned() };
        assert_eq!(shown(&event, DetailLevel::Normal), "");
        assert_eq!(shown(&event, DetailLevel::Verbose), "team-platform/sso-exec-001 research | hello\n");
    }

    #[test]
    fn the_end_says_what_waits_and_what_to_run() {
        let waiting = Waiting {
            key: key(),
            node: NodeId::new("review").ok(),
            reason: "AwaitingApproval".to_owned(),
            message: "needs 1 approval".to_owned(),
            command: Some("planspec approve sso-exec-001/review".to_owned()),
            until: None,
        };
        let at = "2026-03-04T12:03:41Z".parse().unwrap();
        let event = Event::Finished { at, commits: 3, started: 1, waiting: vec![waiting], failed: vec![] };
        assert_eq!(
            shown(&event, DetailLevel::Normal),
            "waiting: team-platform/sso-exec-001 review: needs 1 approval\n  run: planspec approve \
             sso-exec-001/review\ndone: 3 status commits, 1 attempt started\n"
        );
    }

    #[test]
    fn json_has_one_event_a_line() {
        let mut out = Vec::new();
        JsonProgress::new(&mut out).show(&running("a\nb")).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["event"], &value["to"]), (&json!("node"), &json!("Running")));
    }
}
