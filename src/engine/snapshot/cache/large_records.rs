//! Large records as they were read or written last. Theirs are in parts, and of those only what changed since is read again:
//! each push of another runner would else cost thousands of reads here.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::git::Repo;
use crate::model::{ResourceKey, StatusRecord};
use crate::record::{self, RecordError, StatusTree};

/// Large records of Executions that have not ended, each with the status tree that held it.
#[derive(Debug, Default)]
pub(in crate::engine::snapshot) struct LargeRecords {
    known: RefCell<HashMap<ResourceKey, (StatusTree, Arc<StatusRecord>)>>,
}

impl LargeRecords {
    /// Takes in records that the tree `at` holds.
    pub(in crate::engine::snapshot) fn keep(
        &self,
        at: StatusTree,
        records: &HashMap<ResourceKey, Option<Arc<StatusRecord>>>,
    ) {
        for (key, record) in records {
            match record {
                Some(record) => drop(self.note(at, Arc::clone(record))),
                None => drop(self.known.borrow_mut().remove(key)),
            }
        }
    }

    /// Takes in a record that the tree `at` holds.
    pub(in crate::engine::snapshot) fn note(
        &self,
        at: StatusTree,
        record: Arc<StatusRecord>,
    ) -> Arc<StatusRecord> {
        let open = record.execution().is_some_and(|status| !status.phase.is_terminal());
        // What has ended is hardly read again, and may be most of what a long-lived runner has seen.
        if open && record::is_large(&record) {
            self.known.borrow_mut().insert(record.key(), (at, Arc::clone(&record)));
        } else {
            self.known.borrow_mut().remove(&record.key());
        }
        record
    }

    /// Whether a record is known.
    pub(in crate::engine::snapshot) fn holds(&self, key: &ResourceKey) -> bool {
        self.known.borrow().contains_key(key)
    }

    /// A record as `status` holds it.
    pub(in crate::engine::snapshot) fn get(
        &self,
        repo: &Repo,
        status: &StatusTree,
        key: &ResourceKey,
    ) -> Result<Option<Arc<StatusRecord>>, RecordError> {
        let known = self.known.borrow().get(key).cloned();
        let record = match known {
            // The same tree holds the same records.
            Some((at, record)) if at.tree == status.tree => return Ok(Some(record)),
            Some((at, record)) => status.get_after(repo, key, &at, &record)?,
            None => status.get(repo, key)?,
        };
        Ok(record.map(|record| self.note(*status, Arc::new(record))))
    }
}
