//! Totals of the records: how many are in each phase, which executions are active, which ended last.

use std::collections::BTreeMap;

use redb::{ReadableTable as _, Table, WriteTransaction};

use crate::index::lookup::RecordSummary;
use crate::index::tables::{ACTIVE, ENDED, PHASES, decode, encode, timed_key};
use crate::index::{Index, IndexError};
use crate::model::{Kind, ResourceKey};

type CountTable<'t> = Table<'t, &'static str, &'static [u8]>;

/// Updates the totals while records change. Counting them again for a dashboard would read every record of a year.
pub(super) struct RecordCounts<'t> {
    phases: CountTable<'t>,
    active: CountTable<'t>,
    ended: CountTable<'t>,
    deltas: BTreeMap<String, i64>,
}

impl<'t> RecordCounts<'t> {
    pub(super) fn open(write: &'t WriteTransaction) -> Result<Self, IndexError> {
        Ok(Self {
            phases: write.open_table(PHASES)?,
            active: write.open_table(ACTIVE)?,
            ended: write.open_table(ENDED)?,
            deltas: BTreeMap::new(),
        })
    }

    /// A record changed.
    pub(super) fn replace(
        &mut self,
        kind: Kind,
        key: &str,
        old: Option<&RecordSummary>,
        new: Option<&RecordSummary>,
    ) -> Result<(), IndexError> {
        // Collected and stored once per batch: a pass over 100,000 records changes a dozen counters.
        for (record, delta) in [(old, -1), (new, 1)] {
            if let Some(record) = record {
                *self.deltas.entry(format!("{}/{}", kind.as_str(), record.phase)).or_default() += delta;
            }
        }
        // The other kinds neither end nor are active; their phases are all that is counted.
        if kind != Kind::Execution {
            return Ok(());
        }
        // A retry reopens an Execution, so the time of its first end may have to go.
        if let Some(at) = old.and_then(|old| old.ended) {
            self.ended.remove(timed_key(at, key).as_str())?;
        }
        match new {
            Some(new) if !new.terminal => {
                self.active.insert(key, [].as_slice())?;
            }
            _ => {
                self.active.remove(key)?;
            }
        }
        if let Some(at) = new.and_then(|new| new.ended) {
            self.ended.insert(timed_key(at, key).as_str(), [].as_slice())?;
        }
        Ok(())
    }

    /// Stores the totals.
    pub(super) fn close(mut self) -> Result<(), IndexError> {
        for (phase, delta) in std::mem::take(&mut self.deltas) {
            // Signed, as the deltas are: a total that damage made too small must not wrap around.
            let old: i64 = match self.phases.get(phase.as_str())? {
                Some(old) => decode(old.value())?,
                None => 0,
            };
            // An index that was built from nothing has no phase without a record either.
            match old + delta {
                0 => self.phases.remove(phase.as_str())?,
                count => self.phases.insert(phase.as_str(), encode(&count)?.as_slice())?,
            };
        }
        Ok(())
    }
}

impl Index {
    /// How many records are in which phase.
    ///
    /// # Errors
    /// The store.
    pub fn phases(&self) -> Result<BTreeMap<(Kind, String), usize>, IndexError> {
        let table = self.store.begin_read()?.open_table(PHASES)?;
        let mut phases = BTreeMap::new();
        for entry in table.iter()? {
            let (name, count) = entry?;
            let Some((kind, phase)) = name.value().split_once('/') else { continue };
            let count: i64 = decode(count.value())?;
            // A negative total could only come from damage. It is left out of the dashboard, and a rebuild counts again.
            if let (Ok(kind), Ok(count)) = (kind.parse(), usize::try_from(count)) {
                phases.insert((kind, phase.to_owned()), count);
            }
        }
        Ok(phases)
    }

    /// Executions that are not over.
    ///
    /// # Errors
    /// The store.
    pub fn active_executions(&self) -> Result<Vec<ResourceKey>, IndexError> {
        let mut keys = Vec::new();
        for entry in self.store.begin_read()?.open_table(ACTIVE)?.iter()? {
            keys.extend(entry?.0.value().parse::<ResourceKey>());
        }
        Ok(keys)
    }

    /// Executions that are not over, then those that ended last; `most` of each.
    ///
    /// # Errors
    /// The store.
    pub fn executions_of_interest(&self, most: usize) -> Result<Vec<ResourceKey>, IndexError> {
        let read = self.store.begin_read()?;
        let mut keys = Vec::new();
        // By key and not by time: the dashboard sorts what it shows.
        for entry in read.open_table(ACTIVE)?.iter()?.take(most) {
            keys.extend(entry?.0.value().parse::<ResourceKey>());
        }
        // From the end, where the latest are, as the keys begin with the time.
        for entry in read.open_table(ENDED)?.iter()?.rev().take(most) {
            let (key, _) = entry?;
            keys.extend(key.value().split_once('/').and_then(|(_, key)| key.parse::<ResourceKey>().ok()));
        }
        Ok(keys)
    }
}
