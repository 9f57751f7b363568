//! Which part of a log is shown: its end, what is new enough, with or without times.

use std::path::Path;

use clap::Args;
use jiff::Timestamp;

use crate::model::Duration;

/// The part of a log that the user wants.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LogWindow {
    /// Only this many lines at the end of each log; -1 for all
    #[arg(long, value_name = "LINES", allow_negative_numbers = true)]
    tail: Option<i64>,
    /// Only what was printed within this time, as in `10m`
    #[arg(long, value_name = "DURATION")]
    since: Option<Duration>,
    /// Begin each line with the time at which it was printed
    #[arg(long)]
    pub(crate) timestamps: bool,
}

/// When the bytes of a log were written, as the runner noted it beside the log: from an offset on, to the second.
#[derive(Debug, Default)]
pub(crate) struct LogTimes(Vec<(u64, Timestamp)>);

impl LogTimes {
    /// Reads what is beside a log; nothing where the log is not of this machine.
    pub(crate) fn beside(log: &Path) -> Self {
        let text = std::fs::read_to_string(log.with_extension("times")).unwrap_or_default();
        let entry = |line: &str| {
            let (offset, second) = line.split_once(' ')?;
            Some((offset.parse().ok()?, Timestamp::from_second(second.parse().ok()?).ok()?))
        };
        // A line that is half written, while the log grows, is one that is not there yet.
        Self(text.lines().filter_map(entry).collect())
    }

    fn at(&self, offset: u64) -> Option<Timestamp> {
        let after = self.0.partition_point(|(from, _)| *from <= offset);
        after.checked_sub(1).and_then(|index| self.0.get(index)).map(|(_, time)| *time)
    }
}

impl LogWindow {
    /// Whether the part is the whole log.
    pub(crate) fn is_whole(&self) -> bool {
        self.tail.is_none_or(|tail| tail < 0) && self.since.is_none()
    }

    /// Where in a log that part begins. `otherwise` is the time of lines that nobody noted one for.
    pub(crate) fn start(
        &self,
        log: &[u8],
        times: &LogTimes,
        otherwise: Option<Timestamp>,
        now: Timestamp,
    ) -> usize {
        let mut starts: Vec<usize> = Vec::new();
        let mut offset = 0;
        for line in log.split_inclusive(|byte| *byte == b'\n') {
            starts.push(offset);
            offset += line.len();
        }
        let mut first = 0;
        if let Some(since) = &self.since {
            let oldest = now.checked_sub(since.span()).unwrap_or(Timestamp::MIN);
            let time = |start: &usize| times.at(wide(*start)).or(otherwise);
            // Times only grow, so that everything after the first line that is new enough is new enough.
            first = starts.partition_point(|start| time(start).is_some_and(|time| time < oldest));
        }
        if let Some(tail) = self.tail.and_then(|tail| usize::try_from(tail).ok()) {
            first = first.max(starts.len().saturating_sub(tail));
        }
        starts.get(first).copied().unwrap_or(log.len())
    }

    /// A piece of a log, which begins at `from`, with the times that were asked for. `begun` says that its first line is the
    /// rest of one.
    pub(crate) fn show(
        &self,
        piece: &[u8],
        from: u64,
        times: &LogTimes,
        otherwise: Option<Timestamp>,
        begun: bool,
    ) -> String {
        if !self.timestamps {
            return String::from_utf8_lossy(piece).into_owned();
        }
        let (mut out, mut offset) = (String::new(), from);
        for (i, line) in piece.split_inclusive(|byte| *byte == b'\n').enumerate() {
            if i > 0 || !begun {
                let time = times.at(offset).or(otherwise);
                out.push_str(&time.map_or_else(|| "-".to_owned(), |time| time.to_string()));
                out.push(' ');
            }
            out.push_str(&String::from_utf8_lossy(line));
            offset += wide(line.len());
        }
        out
    }
}

fn wide(offset: usize) -> u64 {
    u64::try_from(offset).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &[u8] = b"one\ntwo\nthree\n";

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn part(window: &LogWindow) -> &'static str {
        let times = LogTimes(vec![(0, second(100)), (4, second(110)), (8, second(120))]);
        std::str::from_utf8(&LOG[window.start(LOG, &times, None, second(125))..]).unwrap()
    }

    #[test]
    fn the_end_and_what_is_new_are_cut_at_lines() {
        let window = |tail, since: Option<&str>| LogWindow {
            tail,
            since: since.map(|text| text.parse().unwrap()),
            timestamps: false,
        };
        assert_eq!(part(&window(Some(2), None)), "two\nthree\n");
        assert_eq!(part(&window(Some(0), None)), "");
        assert_eq!(part(&window(Some(-1), None)), "one\ntwo\nthree\n");
        assert_eq!(part(&window(None, Some("10s"))), "three\n");
        assert_eq!(part(&window(None, Some("1s"))), "");
        assert_eq!(part(&window(Some(1), Some("1h"))), "three\n");
    }

    #[test]
    fn each_line_gets_its_time_and_the_rest_of_one_does_not() {
        let times = LogTimes(vec![(0, second(0))]);
        let window = LogWindow { timestamps: true, ..LogWindow::default() };
        let shown = window.show(b"ne\ntwo\n", 1, &times, None, true);
        assert_eq!(shown, "ne\n1970-01-01T00:00:00Z two\n");
        assert_eq!(window.show(b"x", 0, &LogTimes::default(), None, false), "- x");
    }
}
