//! The manifests that a merged commit held.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::config::Config;
use crate::diagnostic::Severity;
use crate::engine::EngineError;
use crate::engine::desired_branch::MAX_CONFIG_BYTES;
use crate::git::{Commit, GitError, ObjectId, Repo};
use crate::index::{IndexError, ManifestFilter};
use crate::manifest;
use crate::model::ResourceKey;

/// How many commits are searched for the last valid version of a manifest that was broken later.
const SEARCHED: usize = 10_000;

/// What was read of merged commits so far.
#[derive(Default)]
pub(super) struct ManifestFiles {
    commits: RefCell<HashMap<ObjectId, Rc<CommitFiles>>>,
}

/// The files of one commit that were read as manifests.
struct CommitFiles {
    filter: ManifestFilter,
    /// Their blobs; found out when a manifest does not stand where it is expected.
    blobs: RefCell<Option<HashSet<ObjectId>>>,
}

impl ManifestFiles {
    /// Whether `blob`, which declares `key`, was in force at `commit`.
    ///
    /// # Errors
    /// [`GitError::Missing`] when files that it takes to know are not here.
    pub(super) fn held(
        &self,
        repo: &Repo,
        config: &Config,
        commit: ObjectId,
        (key, blob): (&ResourceKey, ObjectId),
        paths: &[String],
    ) -> Result<bool, EngineError> {
        let at = repo.commit(commit)?;
        let files = self.of(repo, &at)?;
        for path in paths.iter().filter(|path| files.filter.accepts(path)) {
            let entry = repo.entry(at.tree, path)?;
            if entry.is_some_and(|entry| entry.mode.is_file() && entry.id == blob) {
                return Ok(true);
            }
        }
        if files.holds(repo, &at, blob)? {
            return Ok(true);
        }
        for path in paths.iter().filter(|path| files.filter.accepts(path)) {
            if last_valid(repo, config, commit, path, key)? == Some(blob) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn of(&self, repo: &Repo, at: &Commit) -> Result<Rc<CommitFiles>, EngineError> {
        if let Some(known) = self.commits.borrow().get(&at.id) {
            return Ok(Rc::clone(known));
        }
        // By the configuration of that very commit: a file that it excludes was never a manifest, although it was merged. What
        // a later version of planspec does not like about it does not matter here.
        let (config, _) = manifest::read_config(|name| -> Result<_, GitError> {
            let blob = repo.file(at.tree, name)?;
            blob.map(|blob| repo.blob(blob, MAX_CONFIG_BYTES)).transpose()
        })?;
        let filter = ManifestFilter::new(&config).map_err(IndexError::from)?;
        let files = Rc::new(CommitFiles { filter, blobs: RefCell::default() });
        self.commits.borrow_mut().insert(at.id, Rc::clone(&files));
        Ok(files)
    }
}

impl CommitFiles {
    /// Whether the blob is a manifest of the commit at any path. Manifests move; then the whole tree is looked through, once.
    fn holds(&self, repo: &Repo, at: &Commit, blob: ObjectId) -> Result<bool, EngineError> {
        let mut blobs = self.blobs.borrow_mut();
        if blobs.is_none() {
            let files = repo.compare(None, Some(at.tree))?;
            let manifests = files.into_iter().filter_map(|file| {
                let entry = file.new.filter(|entry| entry.mode.is_file())?;
                let path = String::from_utf8(file.path).ok()?;
                self.filter.accepts(&path).then_some(entry.id)
            });
            *blobs = Some(manifests.collect());
        }
        Ok(blobs.as_ref().is_some_and(|blobs| blobs.contains(&blob)))
    }
}

/// The version of a resource that was in force at `commit` although the file at `path` is broken there: the newest one that is
/// valid (Invariant 6).
fn last_valid(
    repo: &Repo,
    config: &Config,
    commit: ObjectId,
    path: &str,
    key: &ResourceKey,
) -> Result<Option<ObjectId>, EngineError> {
    let mut seen = None;
    for commit in repo.log(commit).take(SEARCHED) {
        let entry = repo.entry(commit?.tree, path)?;
        // A file that is gone takes what it declared with it.
        let Some(entry) = entry.filter(|entry| entry.mode.is_file()) else { return Ok(None) };
        if seen.replace(entry.id) == Some(entry.id) {
            continue;
        }
        let parsed = match repo.blob(entry.id, manifest::most_bytes(&config.limits)) {
            Ok(bytes) => manifest::parse(path, &bytes, &config.limits),
            Err(GitError::TooLarge { size, .. }) => manifest::refuse_large(path, size),
            Err(error) => return Err(error.into()),
        };
        if parsed.resources.iter().any(|resource| resource.key() == *key) {
            return Ok(Some(entry.id));
        }
        let broken =
            parsed.broken || parsed.diagnostics.iter().any(|found| found.severity == Severity::Error);
        // A file in which nothing is wrong and that does not declare it any more hides nothing.
        if !broken {
            return Ok(None);
        }
    }
    // The end of a shallow clone is not the beginning of history.
    if repo.is_shallow() {
        Err(GitError::Missing { kind: "commit", id: commit, shallow: true }.into())
    } else {
        Ok(None)
    }
}
