//! The index: what is declared and what is recorded, by key, with the ways between them; kept up to date by
//! comparing trees. A cache below the Git directory that may be deleted at any time; the only user of redb.

mod advance;
mod error;
mod files;
mod filter;
mod links;
mod lookup;
mod parallel;
mod quarantine;
mod records;
mod standing;
mod tables;
mod work;

use std::path::Path;
use std::time::Duration;

use redb::{Builder, Database, ReadableDatabase as _, backends::InMemoryBackend};

pub use advance::{Advance, Target};
pub use error::IndexError;
pub use filter::ManifestFilter;
pub use links::{Topic, topics_of};
pub use lookup::{Declared, Recorded};
pub use work::{Settled, WorkKey};

/// The name of the cache file; the number grows when the content changes its meaning.
const FILE: &str = "index-2.redb";

/// The bytes that the index may hold in memory.
const CACHE_BYTES: usize = 32 << 20;

/// How long to wait for another process that is using the index before going on without the cache.
const PATIENCE: Duration = Duration::from_millis(300);

/// The index.
#[derive(Debug)]
pub struct Index {
    database: Database,
    persistent: bool,
}

impl Index {
    /// Opens the index in `cache_dir`. Where that cannot be done (no directory, no permission, another process
    /// holds it, a damaged file), an empty index in memory serves as well and costs only time.
    ///
    /// # Errors
    /// Not even memory is to be had.
    pub fn open(cache_dir: Option<&Path>) -> Result<Self, IndexError> {
        if let Some(database) = cache_dir.and_then(open_file) {
            return Ok(Self { database, persistent: true });
        }
        let database = Builder::new().create_with_backend(InMemoryBackend::new())?;
        tables::create(&database)?;
        Ok(Self { database, persistent: false })
    }

    /// Whether what is learnt outlives the process.
    #[must_use]
    pub fn persistent(&self) -> bool {
        self.persistent
    }
}

/// Opens the file of the cache, makes it anew when it is damaged, and gives up on any other trouble.
fn open_file(dir: &Path) -> Option<Database> {
    std::fs::create_dir_all(dir).ok()?;
    let path = dir.join(FILE);
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        match try_open(&path) {
            Ok(database) => return Some(database),
            Err(redb::DatabaseError::DatabaseAlreadyOpen) if std::time::Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(redb::DatabaseError::DatabaseAlreadyOpen) => return None,
            Err(_) => return replace(&path),
        }
    }
}

fn try_open(path: &Path) -> Result<Database, redb::DatabaseError> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    // A file that was not closed properly would have to be read as a whole; making it anew costs no more.
    builder.set_repair_callback(redb::RepairSession::abort);
    let database = builder.create(path)?;
    // A process that was killed right after it had made the file left it without tables; it makes them all at once.
    let empty = !database.begin_read().is_ok_and(|read| read.open_table(tables::META).is_ok());
    if empty {
        tables::create(&database).map_err(|_| {
            redb::DatabaseError::Storage(redb::StorageError::Corrupted("no tables".to_owned()))
        })?;
    }
    Ok(database)
}

fn replace(path: &Path) -> Option<Database> {
    std::fs::remove_file(path).ok()?;
    try_open(path).ok()
}
