//! The content of one status commit: records to put and remove, and the transitions for its message.

use std::sync::Arc;

use jiff::Timestamp;

use super::{DashboardInput, PinKind, Transition};
use crate::git::ObjectId;
use crate::model::{ResourceKey, StatusRecord};

/// Everything that goes into one status commit.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The desired commit that was reconciled.
    pub desired: Option<ObjectId>,
    /// The name of the runner.
    pub runner: String,
    /// The time of the commit.
    pub at: Timestamp,
    /// The changes of records.
    pub changes: Vec<RecordEdit>,
    /// What happened, for the message.
    pub transitions: Vec<Transition>,
    /// What the dashboard shows; it stays as it is when absent.
    pub dashboard: Option<DashboardInput>,
}

/// A change of one record.
#[derive(Debug, Clone)]
pub enum RecordEdit {
    /// The record is written.
    Put {
        /// The record.
        record: Arc<StatusRecord>,
        /// The blobs pinned beside it, all of them; those that are there stay when absent.
        pins: Option<Vec<(PinKind, ObjectId)>>,
    },
    /// The record and its pins are removed.
    Remove(ResourceKey),
}

impl RecordEdit {
    /// The resource.
    #[must_use]
    pub fn key(&self) -> ResourceKey {
        match self {
            // From the record itself: a key beside it could differ, and the record would be written to the path of
            // another resource.
            Self::Put { record, .. } => record.key(),
            Self::Remove(key) => key.clone(),
        }
    }
}
