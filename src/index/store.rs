//! The file of the index. Opened for reading as long as that is enough: opening it for writing marks the file and costs
//! several syncs of the disk, even when nothing is written then.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use redb::backends::InMemoryBackend;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadOnlyDatabase, ReadTransaction, ReadableDatabase as _,
    RepairSession, StorageError, TransactionError, WriteTransaction,
};

use super::{IndexError, tables};

/// The name of the cache file; the number grows when the content changes its meaning.
const FILE: &str = "index-3.redb";

/// The bytes that the index may hold in memory.
// redb's default is 1 GiB; a pass touches few pages, and the file of 100,000 resources has some tens of megabytes.
const CACHE_BYTES: usize = 32 << 20;

/// How long to wait for another process that is using the index before going on without the cache.
// A watching runner holds the file for its whole life; a second command would wait in vain.
const PATIENCE: Duration = Duration::from_millis(300);

/// Where the index is.
pub(super) enum Store {
    /// The file, for reading only so far.
    Reading(ReadOnlyDatabase, PathBuf),
    /// The file.
    Writing(Database),
    /// Memory: this index ends with the process.
    Memory(Database),
}

impl Store {
    /// The file in `dir`, or memory where it is not available.
    pub(super) fn open(dir: Option<&Path>) -> Result<Self, IndexError> {
        match dir.and_then(open_file) {
            Some(database) => Ok(Self::Writing(database)),
            None => {
                tracing::info!(dir = ?dir, "the index file is not available; building one in memory");
                Self::in_memory()
            }
        }
    }

    /// The file in `dir` for reading, and nothing in its place: a command that only shows something makes no folder.
    pub(super) fn of_reader(dir: &Path) -> Option<Self> {
        let database = ReadOnlyDatabase::open(dir.join(FILE)).ok()?;
        Some(Self::Reading(database, dir.to_owned()))
    }

    /// The file in `dir` for reading, if it is intact and no process is writing to it; else as [`Self::open`].
    pub(super) fn open_to_read(dir: &Path) -> Result<Self, IndexError> {
        let path = dir.join(FILE);
        // Several readers share the file, so `status` and `get` work beside each other; a writer excludes them.
        match ReadOnlyDatabase::open(&path) {
            Ok(database) => Ok(Self::Reading(database, dir.to_owned())),
            Err(_) => Self::open(Some(dir)),
        }
    }

    fn in_memory() -> Result<Self, IndexError> {
        let database = Builder::new().create_with_backend(InMemoryBackend::new())?;
        tables::create(&database)?;
        Ok(Self::Memory(database))
    }

    pub(super) fn begin_read(&self) -> Result<ReadTransaction, TransactionError> {
        match self {
            Self::Reading(database, _) => database.begin_read(),
            Self::Writing(database) | Self::Memory(database) => database.begin_read(),
        }
    }

    /// Opens the file for writing. Another process may have changed it in between, or may hold it, and then this is an
    /// empty index in memory: the caller must not rely on anything that it read before.
    pub(super) fn make_writable(&mut self) -> Result<(), IndexError> {
        if let Self::Reading(_, dir) = self {
            let dir = std::mem::take(dir);
            // redb locks the file, also for reading: it is closed first, by putting something else in its place.
            *self = Self::in_memory()?;
            *self = Self::open(Some(&dir))?;
        }
        Ok(())
    }

    /// Begins to write; [`Self::make_writable`] has been called.
    pub(super) fn begin_write(&self) -> Result<WriteTransaction, IndexError> {
        match self {
            Self::Reading(..) => Err(IndexError::ReadOnly),
            Self::Writing(database) | Self::Memory(database) => {
                let mut write = database.begin_write()?;
                // Synced once, where the file is closed: one that was not closed is replaced when it is opened again, however
                // much of it had been synced. Refused only beside savepoints, of which there are none.
                let _ = write.set_durability(Durability::None);
                Ok(write)
            }
        }
    }
}

/// Opens the file of the cache, replaces it when it is damaged, and gives up on any other failure.
fn open_file(dir: &Path) -> Option<Database> {
    std::fs::create_dir_all(dir).ok()?;
    let path = dir.join(FILE);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match try_open(&path) {
            Ok(database) => return Some(database),
            Err(DatabaseError::DatabaseAlreadyOpen) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(DatabaseError::DatabaseAlreadyOpen) => {
                tracing::debug!(file = %path.display(), "another process is using the index");
                return None;
            }
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "the index is damaged and is replaced");
                return replace(&path);
            }
        }
    }
}

fn try_open(path: &Path) -> Result<Database, DatabaseError> {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    // redb repairs a file that was not closed properly by reading all of it; a rebuild costs no more and cannot fail.
    builder.set_repair_callback(RepairSession::abort);
    let database = builder.create(path)?;
    // A process that was killed after creating the file left it without tables: those are created in one transaction.
    let empty = !database.begin_read().is_ok_and(|read| read.open_table(tables::META).is_ok());
    if empty {
        tables::create(&database)
            .map_err(|_| DatabaseError::Storage(StorageError::Corrupted("no tables".to_owned())))?;
    }
    Ok(database)
}

fn replace(path: &Path) -> Option<Database> {
    // Once: if a new file cannot be opened either, the disk is full or read-only, and memory serves.
    std::fs::remove_file(path).ok()?;
    try_open(path).ok()
}
