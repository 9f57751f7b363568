//! The table of results.

use std::fmt;
use std::time::Duration;

use super::measure::Sample;

/// The results so far.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<[String; 6]>,
}

const HEAD: [&str; 6] = ["work", "peer", "ours", "ratio", "of CPU", "wanted"];

impl Table {
    /// A work, a peer and its time, ours, and the ratio that is wanted at most.
    pub(crate) fn ratio(&mut self, work: &str, peer: (&str, Option<Sample>), ours: Sample, wanted: f64) {
        let (name, theirs) = peer;
        let shown = theirs.map_or_else(|| "absent".to_owned(), |theirs| time(theirs.wall));
        let over = |ours: Duration, theirs: Option<Duration>| match theirs {
            Some(theirs) if !theirs.is_zero() => {
                format!("{:.2}", ours.as_secs_f64() / theirs.as_secs_f64())
            }
            _ => "–".to_owned(),
        };
        self.row(
            work,
            &format!("{name}: {shown}"),
            &time(ours.wall),
            &over(ours.wall, theirs.map(|theirs| theirs.wall)),
            &over(ours.cpu, theirs.map(|theirs| theirs.cpu)),
            &format!("≤ {wanted}"),
        );
    }

    /// Any other row.
    pub(crate) fn row(
        &mut self,
        work: &str,
        peer: &str,
        ours: &str,
        ratio: &str,
        of_cpu: &str,
        wanted: &str,
    ) {
        self.rows.push([work, peer, ours, ratio, of_cpu, wanted].map(str::to_owned));
        eprintln!("  {work} | {peer} | {ours} | {ratio} | {of_cpu} | {wanted}");
    }
}

/// A time, with as many digits as mean something.
pub(crate) fn time(span: Duration) -> String {
    match span.as_secs_f64() {
        seconds if seconds >= 1.0 => format!("{seconds:.2} s"),
        seconds => format!("{:.1} ms", seconds * 1e3),
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = HEAD.map(str::to_owned);
        let width = |column: usize| {
            let all = self.rows.iter().chain([&head]);
            all.map(|row| row[column].chars().count()).max().unwrap_or(0)
        };
        let widths: [usize; 6] = std::array::from_fn(width);
        let mut line = |row: &[String; 6]| {
            for (cell, width) in row.iter().zip(widths) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")
        };
        line(&head)?;
        line(&widths.map(|width| "-".repeat(width)))?;
        self.rows.iter().try_for_each(line)
    }
}
