//! The work queue: what has to be planned again, because it changed, because a topic that it waits for changed, or because
//! its time has come.

use jiff::Timestamp;
use redb::{MultimapTable, ReadableTable as _, ReadableTableMetadata as _, Table, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::store::Store;
use super::tables::{AWAITS, META, SETTLED, WAKES, WORK, decode, encode, timed_key};
use super::{Index, IndexError, Topic};
use crate::model::{ResourceKey, Waiting};

/// The entry of the metadata that tells by which clock the times were last written.
const CLOCK: &str = "clock";
/// How far that clock may be ahead: clocks that are kept right go back by less, and a wait that is too long by this much does
/// no harm.
const CLOCK_TOLERANCE_MILLIS: i64 = 10_000;

/// The key of something to be planned.
pub type WorkKey = ResourceKey;

/// What an idle resource waits for: nothing to do until one of these things happens.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WaitSet {
    /// Topics whose change makes it worth planning again.
    pub on: Vec<String>,
    /// When to plan again in any case.
    pub wake: Option<Timestamp>,
    /// What it waits for, for the summary of a pass in which nothing happens.
    pub waiting: Vec<Waiting>,
}

impl WaitSet {
    /// Adds a topic.
    pub fn on(&mut self, topic: &Topic) {
        self.on.push(topic.to_string());
    }
}

impl Index {
    /// What has to be planned, in the order of the keys as text: pending work, and what is due at `now`.
    ///
    /// # Errors
    /// The store.
    pub fn work(&self, now: Timestamp) -> Result<Vec<ResourceKey>, IndexError> {
        let read = self.store.begin_read()?;
        // A set: a key may be pending and due at the same time.
        let mut keys = std::collections::BTreeSet::new();
        for entry in read.open_table(WORK)?.iter()? {
            keys.extend(entry?.0.value().parse::<ResourceKey>());
        }
        // The largest character, so that every key of this very millisecond is included.
        let end = timed_key(now.as_millisecond(), "\u{10ffff}");
        for entry in read.open_table(WAKES)?.range(..=end.as_str())? {
            let (key, _) = entry?;
            keys.extend(key.value().split_once('/').and_then(|(_, key)| key.parse().ok()));
        }
        tracing::trace!(keys = keys.len(), %now, "work queue read");
        Ok(keys.into_iter().collect())
    }

    /// Whether there is something to plan already, or will be by `then`.
    ///
    /// # Errors
    /// The store.
    pub fn is_busy(&self, then: Timestamp) -> Result<bool, IndexError> {
        // Without reading the keys: this is asked between passes, when a watching runner does nothing else.
        let pending = !self.store.begin_read()?.open_table(WORK)?.is_empty()?;
        Ok(pending || self.next_wake()?.is_some_and(|wake| wake <= then))
    }

    /// When the next resource is due by itself.
    ///
    /// # Errors
    /// The store.
    pub fn next_wake(&self) -> Result<Option<Timestamp>, IndexError> {
        let table = self.store.begin_read()?.open_table(WAKES)?;
        let Some((key, _)) = table.first()? else { return Ok(None) };
        Ok(time_and_key(key.value()).map(|(at, _)| at))
    }

    /// The same, less what is due by `now`, which is in `work`.
    ///
    /// # Errors
    /// The store.
    pub fn next_wake_after(&self, now: Timestamp) -> Result<Option<Timestamp>, IndexError> {
        let begin = timed_key(now.as_millisecond() + 1, "");
        let table = self.store.begin_read()?.open_table(WAKES)?;
        let Some(entry) = table.range(begin.as_str()..)?.next() else { return Ok(None) };
        Ok(time_and_key(entry?.0.value()).map(|(at, _)| at))
    }

    /// Adds work.
    ///
    /// # Errors
    /// The store.
    pub fn add_work(&mut self, keys: impl IntoIterator<Item = ResourceKey>) -> Result<(), IndexError> {
        // A write transaction costs something even when nothing is written.
        let mut keys = keys.into_iter().peekable();
        if keys.peek().is_none() {
            return Ok(());
        }
        let write = self.store.begin_write()?;
        {
            let mut table = write.open_table(WORK)?;
            for key in keys {
                table.insert(key.to_string().as_str(), [].as_slice())?;
            }
        }
        Ok(write.commit()?)
    }

    /// Whether the times in the index were written by a clock that was ahead of `now`: another runner's that was wrong, or
    /// this machine's before it was set back.
    ///
    /// # Errors
    /// The store.
    pub fn is_ahead_of(&self, now: Timestamp) -> Result<bool, IndexError> {
        let table = self.store.begin_read()?.open_table(META)?;
        let written: Option<i64> = table.get(CLOCK)?.and_then(|value| decode(value.value()).ok());
        Ok(written.is_some_and(|at| at.saturating_sub(now.as_millisecond()) > CLOCK_TOLERANCE_MILLIS))
    }

    /// Plans everything again that waits for a time, if a clock that was ahead wrote that: what is recorded says how long
    /// to wait, and the index decides nothing (Invariants 16 and 17).
    ///
    /// # Errors
    /// The store.
    pub fn distrust_times(&mut self, now: Timestamp) -> Result<(), IndexError> {
        if matches!(self.store, Store::Reading(..)) || !self.is_ahead_of(now)? {
            return Ok(());
        }
        let write = self.store.begin_write()?;
        {
            let mut work = write.open_table(WORK)?;
            let wakes = write.open_table(WAKES)?;
            for entry in wakes.iter()? {
                let (key, _) = entry?;
                if let Some((_, key)) = key.value().split_once('/') {
                    work.insert(key, [].as_slice())?;
                }
            }
        }
        write.open_table(META)?.insert(CLOCK, encode(&now.as_millisecond())?.as_slice())?;
        tracing::warn!(%now, "the index was written by a clock that was ahead; what waits for a time is planned again");
        Ok(write.commit()?)
    }

    /// Records that these were planned at `now`, and what they wait for; `None` for a resource that is gone or has ended.
    ///
    /// # Errors
    /// The store.
    pub fn settle(
        &mut self,
        keys: &[(ResourceKey, Option<WaitSet>)],
        now: Timestamp,
    ) -> Result<(), IndexError> {
        // An index that was only read had no work, so there is nothing to take off the queue; opening it for writing would
        // cost an idle pass several syncs.
        if keys.is_empty() || matches!(self.store, Store::Reading(..)) {
            return Ok(());
        }
        let write = self.store.begin_write()?;
        // In the order of the tables: a first pass settles ten thousands, and one after the other they are in the same pages.
        let mut keys: Vec<_> =
            keys.iter().map(|(key, settled)| (key.to_string(), settled.as_ref())).collect();
        keys.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let mut tables = WaitTables::open(&write)?;
        for (key, settled) in keys {
            tables.settle(&key, settled)?;
        }
        drop(tables);
        write.open_table(META)?.insert(CLOCK, encode(&now.as_millisecond())?.as_slice())?;
        Ok(write.commit()?)
    }

    /// What a resource waits for, as far as this machine knows.
    ///
    /// # Errors
    /// The store.
    pub fn waits_of(&self, key: &ResourceKey) -> Result<Vec<Waiting>, IndexError> {
        let table = self.store.begin_read()?.open_table(SETTLED)?;
        let known = table.get(key.to_string().as_str())?;
        known.map_or(Ok(Vec::new()), |entry| Ok(read_wait_set(entry.value())?.waiting))
    }

    /// How many resources wait, and for what the first few of them do.
    ///
    /// # Errors
    /// The store.
    pub fn waiting(&self, most: usize) -> Result<(u64, Vec<Waiting>), IndexError> {
        let table = self.store.begin_read()?.open_table(SETTLED)?;
        let mut first = Vec::new();
        for entry in table.iter()? {
            // Counted by the table, read only as far as is shown: thousands may wait.
            if first.len() >= most {
                break;
            }
            first.extend(read_wait_set(entry?.1.value())?.waiting);
        }
        Ok((table.len()?, first))
    }
}

/// The first millisecond at which something is due. Planning compares whole times: counted from the millisecond in which it
/// lies, it would be work before it is due, and be planned over and over until it is.
fn due_millis(at: Timestamp) -> i64 {
    at.as_millisecond() + i64::from(at.subsec_nanosecond() % 1_000_000 > 0)
}

/// Reads a key that [`timed_key`] made.
fn time_and_key(text: &str) -> Option<(Timestamp, &str)> {
    let (at, key) = text.split_once('/')?;
    // The shift of `timed_key`, undone.
    let millis = at.parse::<i64>().ok()?.saturating_sub(1 << 60);
    Some((Timestamp::from_millisecond(millis).ok()?, key))
}

/// JSON, unlike the other tables: an event leaves out what a [`Waiting`] does not say, and postcard cannot read back
/// fields that may be left out.
fn read_wait_set(bytes: &[u8]) -> Result<WaitSet, IndexError> {
    Ok(serde_json::from_slice(bytes)?)
}

/// The tables that say how resources were left.
struct WaitTables<'w> {
    work: Table<'w, &'static str, &'static [u8]>,
    settled: Table<'w, &'static str, &'static [u8]>,
    awaits: MultimapTable<'w, &'static str, &'static str>,
    wakes: Table<'w, &'static str, &'static [u8]>,
}

impl<'w> WaitTables<'w> {
    fn open(write: &'w WriteTransaction) -> Result<Self, IndexError> {
        Ok(Self {
            work: write.open_table(WORK)?,
            settled: write.open_table(SETTLED)?,
            awaits: write.open_multimap_table(AWAITS)?,
            wakes: write.open_table(WAKES)?,
        })
    }

    fn settle(&mut self, key: &str, settled: Option<&WaitSet>) -> Result<(), IndexError> {
        // In the same transaction as the new wait set: killed in between, the resource is either still work or properly
        // waiting, and never forgotten.
        self.work.remove(key)?;
        // The old one says which entries of the other tables have to go. Left behind, they would wake a resource that no
        // longer waits.
        let old = self.settled.remove(key)?.map(|old| read_wait_set(old.value())).transpose()?;
        for topic in old.iter().flat_map(|old| &old.on) {
            self.awaits.remove(topic.as_str(), key)?;
        }
        if let Some(at) = old.and_then(|old| old.wake) {
            self.wakes.remove(timed_key(due_millis(at), key).as_str())?;
        }
        // An empty wait set is stored as none: nothing can wake such a resource but a change of itself, which is found by
        // comparing trees.
        let Some(settled) = settled.filter(|settled| **settled != WaitSet::default()) else { return Ok(()) };
        for topic in &settled.on {
            self.awaits.insert(topic.as_str(), key)?;
        }
        if let Some(at) = settled.wake {
            self.wakes.insert(timed_key(due_millis(at), key).as_str(), [].as_slice())?;
        }
        let bytes = serde_json::to_vec(settled)?;
        self.settled.insert(key, bytes.as_slice())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_within_a_millisecond_is_no_work_before_it() {
        let mut index = Index::open(None).unwrap();
        let key: ResourceKey = "team/execution/e".parse().unwrap();
        let at = |micros| Timestamp::from_microsecond(micros).unwrap();
        let waits = |micros| Some(WaitSet { wake: Some(at(micros)), ..WaitSet::default() });
        index.settle(&[(key.clone(), waits(7_400))], at(0)).unwrap();
        assert_eq!(index.work(at(7_000)).unwrap(), []);
        assert_eq!(index.work(at(7_399)).unwrap(), []);
        assert_eq!(index.next_wake().unwrap(), Some(at(8_000)));
        assert_eq!(index.next_wake_after(at(7_999)).unwrap(), Some(at(8_000)));
        assert_eq!(index.work(at(8_000)).unwrap(), std::slice::from_ref(&key));
        assert_eq!(index.next_wake_after(at(8_000)).unwrap(), None);
        index.settle(&[(key.clone(), waits(9_000))], at(8_000)).unwrap();
        assert_eq!(index.work(at(8_999)).unwrap(), []);
        assert_eq!(index.work(at(9_000)).unwrap(), [key]);
    }

    #[test]
    fn a_wait_that_a_clock_a_year_ahead_wrote_is_planned_again() {
        let mut index = Index::open(None).unwrap();
        let key: ResourceKey = "team/execution/e".parse().unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let waits = |second| Some(WaitSet { wake: Some(at(second)), ..WaitSet::default() });
        let year = 31_536_000;
        index.settle(&[(key.clone(), waits(year + 2))], at(year)).unwrap();
        assert!(index.is_ahead_of(at(100)).unwrap());
        index.distrust_times(at(100)).unwrap();
        assert_eq!(index.work(at(100)).unwrap(), std::slice::from_ref(&key));
        // Planned by a clock that is right, it waits as long as that says.
        index.settle(&[(key, waits(160))], at(100)).unwrap();
        index.distrust_times(at(95)).unwrap();
        assert_eq!(index.work(at(101)).unwrap(), []);
        assert!(!index.is_ahead_of(at(95)).unwrap(), "a clock may be set back by seconds");
    }
}
