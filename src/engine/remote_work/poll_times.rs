//! When remote work is polled next on this machine, kept across runs.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::engine::EngineError;
use crate::index::Index;
use crate::model::{NodeId, NodeReason};

/// How far ahead the clock may have been that wrote the file: clocks that are kept right go back by less.
const CLOCK_TOLERANCE_MILLIS: i64 = 10_000;

/// The most entries that are read from the file.
const MOST_TIMES: usize = 100_000;

/// When remote work is polled next on this machine: kept beside the index, so that intervals hold across runs although a
/// poll that learns nothing is not recorded. Losing the file costs early polls, no more.
#[derive(Debug)]
pub(crate) struct PollTimes {
    path: PathBuf,
    next: BTreeMap<String, i64>,
    /// Everything is due that was not polled since.
    at_once: bool,
    changed: bool,
}

/// The file of times in a cache.
fn file(cache: &Path) -> PathBuf {
    cache.join("polls.json")
}

/// Makes all remote work due at once on this machine, for a pass that was started because something happened there.
///
/// # Errors
/// The index.
pub(crate) fn forget_poll_times(cache: &Path) -> Result<(), EngineError> {
    // Written down and not only removed: the record has a time, too, and the work may have been handed over a moment ago. A
    // job begins in a fresh clone, whose cache is not there yet. Where it cannot be written, polls keep their times.
    let at_once = PollFile { at_once: true, ..PollFile::default() };
    let bytes = serde_json::to_vec(&at_once).unwrap_or_default();
    let _ = fs::create_dir_all(cache).and_then(|()| fs::write(file(cache), bytes));
    // The times alone wake nothing: what waits goes onto the work list, so that the next pass asks at once.
    let mut index = Index::open(Some(cache))?;
    let (_, waiting) = index.waiting(MOST_TIMES)?;
    let remote = [
        NodeReason::AwaitingPerson,
        NodeReason::AwaitingProvider,
        NodeReason::AwaitingEvent,
        NodeReason::ChangesRequested,
        NodeReason::WorkBranchMoved,
        NodeReason::ChecksCannotStart,
    ];
    let due = waiting.into_iter().filter(|one| remote.iter().any(|reason| one.reason == reason.to_string()));
    Ok(index.add_work(due.map(|one| one.key))?)
}

impl PollTimes {
    pub(crate) fn load(cache: &Path, now: Timestamp) -> Self {
        let path = file(cache);
        let (next, at_once) = read(&path, now);
        Self { path, next, at_once, changed: false }
    }

    /// The name of an attempt among the times, or of a commit that people are shown before there is one.
    pub(crate) fn name(uid: &str, node: &NodeId, attempt: impl Display) -> String {
        format!("{uid}/{node}/{attempt}")
    }

    /// When to poll next; not before `recorded`, unless something is known to have happened there.
    pub(crate) fn due(&self, name: &str, recorded: Timestamp) -> Timestamp {
        match self.next.get(name).and_then(|&millis| Timestamp::from_millisecond(millis).ok()) {
            Some(kept) => kept.max(recorded),
            None if self.at_once => Timestamp::MIN,
            None => recorded,
        }
    }

    pub(crate) fn set(&mut self, name: String, at: Timestamp) {
        self.next.insert(name, at.as_millisecond());
        self.changed = true;
    }

    /// Writes the times down, without those that are over. Other runners on this machine may have written theirs meanwhile.
    pub(crate) fn save(&mut self, now: Timestamp) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        for (name, at) in read(&self.path, now).0 {
            // The later of two times comes from the later poll, whichever runner made it.
            let kept = self.next.entry(name).or_insert(at);
            *kept = at.max(*kept);
        }
        // A time that has come says no more than none.
        self.next.retain(|_, &mut at| at > now.as_millisecond());
        // Written beside and renamed, under a name of this process: other runners on this machine never read
        // half a file.
        let fresh = self.path.with_extension(format!("{}.new", std::process::id()));
        let file = PollFile { written: now.as_millisecond(), next: self.next.clone(), at_once: false };
        let bytes = serde_json::to_vec(&file).unwrap_or_default();
        // A cache that cannot be written only costs early polls.
        if fs::write(&fresh, bytes).and_then(|()| fs::rename(&fresh, &self.path)).is_err() {
            let _ = fs::remove_file(&fresh);
        }
    }
}

/// The file as it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
struct PollFile {
    /// When, by the clock of whoever wrote it.
    written: i64,
    next: BTreeMap<String, i64>,
    /// Whether something happened where remote work is, so that the next pass polls all of it.
    #[serde(default)]
    at_once: bool,
}

fn read(path: &Path, now: Timestamp) -> (BTreeMap<String, i64>, bool) {
    let bytes = fs::read(path).unwrap_or_default();
    let PollFile { written, next, at_once } = serde_json::from_slice(&bytes).unwrap_or_default();
    // A clock that was ahead would put polls off for as long as it was wrong (Invariant 16).
    let from_the_future = written.saturating_sub(now.as_millisecond()) > CLOCK_TOLERANCE_MILLIS;
    // A file of that size is none of ours, and starting over only costs early polls.
    let next = if from_the_future || next.len() > MOST_TIMES { BTreeMap::new() } else { next };
    (next, at_once)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_clock_that_was_ahead_put_off_is_polled_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let saved = |now: i64, next: i64| {
            let mut times = PollTimes::load(folder.path(), at(now));
            times.set("u/a/1".to_owned(), at(next));
            times.save(at(now));
        };
        let due = |now: i64| PollTimes::load(folder.path(), at(now)).due("u/a/1", at(5));
        saved(100, 160);
        assert_eq!([due(101), due(95)], [at(160), at(160)]);
        saved(31_536_000, 31_536_060);
        assert_eq!(due(110), at(5), "a year ahead");
        saved(110, 170);
        assert_eq!(due(111), at(170), "nothing of the wrong clock is taken over");
    }

    /// A review may come a moment after the pull request was opened, before the time that its record names.
    #[test]
    fn what_has_happened_is_polled_before_its_recorded_time_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        forget_poll_times(folder.path()).unwrap();
        let mut times = PollTimes::load(folder.path(), at(100));
        assert!(times.due("u/a/1", at(160)) < at(100));
        times.set("u/a/1".to_owned(), at(170));
        assert_eq!(times.due("u/a/1", at(160)), at(170));
        times.save(at(101));
        let later = PollTimes::load(folder.path(), at(102));
        assert_eq!([later.due("u/a/1", at(160)), later.due("u/b/1", at(150))], [at(170), at(150)]);
    }
}
