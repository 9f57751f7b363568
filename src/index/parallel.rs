//! Reading objects on all cores.

use std::path::Path;

use rayon::prelude::*;

use super::IndexError;
use crate::git::Repo;

/// How many changes are read before what they hold is written down, so that memory stays bounded.
pub(super) const CHUNK: usize = 4_096;

/// Runs `read` over items on all cores, each worker with a repository of its own.
pub(super) fn in_parallel<I: Sync, T: Send>(
    repo: &Repo,
    items: &[I],
    read: impl Fn(&Repo, &I) -> Result<T, IndexError> + Sync,
) -> Result<Vec<T>, IndexError> {
    if items.len() < 32 {
        return items.iter().map(|item| read(repo, item)).collect();
    }
    let dir: &Path = repo.common_dir();
    items
        .par_iter()
        .map_init(
            || Repo::open(dir),
            |worker, item| match worker {
                Ok(worker) => read(worker, item),
                Err(_) => read(&Repo::open(dir)?, item),
            },
        )
        .collect()
}
