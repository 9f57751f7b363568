//! When this machine first saw leases whose recorded times lie in the future: kept beside the index, so that a runner which
//! is started now and then, as by a schedule, takes over in the end. Losing the file costs a longer wait, no more.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::model::Lease;
use crate::plan::LeaseSightings;

/// The sightings, and the file that keeps them.
#[derive(Debug)]
pub(crate) struct LeaseMemory {
    path: PathBuf,
    saved: RefCell<LeaseSightings>,
    known: RefCell<LeaseSightings>,
}

impl LeaseMemory {
    /// What was kept in a cache; nothing where it cannot be read.
    pub(crate) fn load(cache: &Path) -> Self {
        let path = cache.join("leases.json");
        let known: LeaseSightings =
            fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self { path, saved: RefCell::new(known.clone()), known: RefCell::new(known) }
    }

    /// When the renewal that a lease records was first seen.
    pub(crate) fn first_seen(&self, uid: &str, lease: Option<&Lease>, now: Timestamp) -> Timestamp {
        lease.map_or(now, |lease| self.known.borrow_mut().first_seen(uid, lease, now))
    }

    /// Writes down what is new. In nearly every pass that is nothing: only a clock that is ahead leaves a trace.
    pub(crate) fn save(&self) {
        let known = self.known.borrow();
        if *known == *self.saved.borrow() {
            return;
        }
        // Written beside and renamed, under a name of this process: other runners here never read half a
        // file.
        let fresh = self.path.with_extension(format!("{}.new", std::process::id()));
        let bytes = serde_json::to_vec(&*known).unwrap_or_default();
        // A cache that cannot be written costs a longer wait.
        if fs::write(&fresh, bytes).and_then(|()| fs::rename(&fresh, &self.path)).is_err() {
            let _ = fs::remove_file(&fresh);
        }
        self.saved.replace(known.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ExecutionExtensions;
    use crate::plan::{LeaseTerms, next_lease};

    #[test]
    fn the_first_sight_outlives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let span = std::time::Duration::from_secs;
        let terms = LeaseTerms { duration: span(60), skew: span(10), longest: span(600) };
        let lease = next_lease(&ExecutionExtensions::default(), "a", terms, at(1_000));
        let first = LeaseMemory::load(folder.path());
        assert_eq!(first.first_seen("u", Some(&lease), at(10)), at(10));
        first.save();
        let second = LeaseMemory::load(folder.path());
        assert_eq!(second.first_seen("u", Some(&lease), at(50)), at(10));
        assert_eq!(second.first_seen("u", None, at(50)), at(50));
    }
}
