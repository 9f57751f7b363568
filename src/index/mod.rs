//! The index: what is declared and what is recorded, by key and by dependency; kept up to date by comparing trees. A cache
//! below the Git directory that may be deleted at any time (Invariant 1); the only user of redb.

mod advance;
mod error;
mod known_manifests;
mod links;
mod lookup;
mod store;
mod tables;
mod validation_cache;
mod work;

use std::path::Path;

pub use advance::{Advance, IndexTarget, ManifestFilter, read_entry};
pub use error::IndexError;
pub use links::{Topic, topics_of};
pub use lookup::{Declaration, RecordSummary};
pub use validation_cache::{ValidatedContent, ValidationCache};
pub use work::{WaitSet, WorkKey};

use self::known_manifests::KnownManifests;
use self::store::Store;

/// Which planspec wrote the index: any other writer means a rebuild. The number grows with each change of the layout
/// between two releases.
// The version alone is not enough: during development many layouts carry the same one.
const WRITER: &str = concat!(env!("CARGO_PKG_VERSION"), "+10");

/// The index.
pub struct Index {
    store: Store,
    manifests: KnownManifests,
}

impl Index {
    /// Opens the index in `cache_dir`. Where that is not possible (no directory, no permission, used by another process,
    /// damaged), an empty index in memory takes its place and costs only time.
    ///
    /// # Errors
    /// When not even that one can be created.
    pub fn open(cache_dir: Option<&Path>) -> Result<Self, IndexError> {
        // Nothing is compared with Git yet: what the file says counts only after `advance`.
        Ok(Self::over(Store::open(cache_dir)?))
    }

    /// As [`Self::open`], but only for reading where that is possible, until [`Self::advance`] finds something to write or
    /// [`Self::make_writable`] is called.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_to_read(cache_dir: &Path) -> Result<Self, IndexError> {
        Ok(Self::over(Store::open_to_read(cache_dir)?))
    }

    /// The index that is in `cache_dir`, for a command that only shows something; none where there is none, or where a runner
    /// writes to it.
    #[must_use]
    pub fn of_reader(cache_dir: &Path) -> Option<Self> {
        Some(Self::over(Store::of_reader(cache_dir)?))
    }

    fn over(store: Store) -> Self {
        Self { store, manifests: KnownManifests::default() }
    }

    /// Makes the index writable. What was read before may have changed: another process may have written to it, or it may be
    /// empty; call [`Self::advance`] next.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn make_writable(&mut self) -> Result<(), IndexError> {
        self.store.make_writable()
    }

    /// Whether the index outlives the process.
    #[must_use]
    pub fn persistent(&self) -> bool {
        !matches!(self.store, Store::Memory(_))
    }
}
