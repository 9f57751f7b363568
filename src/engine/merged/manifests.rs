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
    /// Whether `blob` was a manifest at `commit`. If not, at which of the paths there may be one.
    ///
    /// # Errors
    /// [`GitError::Missing`] when files of the commit are not here.
    pub(super) fn find<'p>(
        &self,
        repo: &Repo,
        commit: ObjectId,
        blob: ObjectId,
        paths: &'p [String],
    ) -> Result<Result<(), Vec<&'p str>>, EngineError> {
        let at = repo.commit(commit)?;
        let files = self.of(repo, &at)?;
        let paths: Vec<&str> =
            paths.iter().map(String::as_str).filter(|path| files.filter.accepts(path)).collect();
        for path in &paths {
            let entry = repo.entry(at.tree, path)?;
            if entry.is_some_and(|entry| entry.mode.is_file() && entry.id == blob) {
                return Ok(Ok(()));
            }
        }
        Ok(if files.holds(repo, &at, blob)? { Ok(()) } else { Err(paths) })
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

/// Whether `blob` was the last valid version of a resource at the first of these commits, where the file at `path` is broken
/// (Invariant 6); nothing where that cannot be told. Objects are read from the first repository that has them.
pub(super) fn last_valid(
    repos: &[&Repo],
    config: &Config,
    commits: impl IntoIterator<Item = Result<Option<ObjectId>, EngineError>>,
    path: &str,
    (key, blob): (&ResourceKey, ObjectId),
) -> Result<Option<bool>, EngineError> {
    let mut seen = None;
    for commit in commits.into_iter().take(SEARCHED) {
        let Some(commit) = commit? else { return Ok(None) };
        let entry = first(repos, |repo| repo.entry(repo.commit(commit)?.tree, path))?;
        let Some(entry) = entry else { return Ok(None) };
        // A file that is gone takes what it declared with it.
        let Some(entry) = entry.filter(|entry| entry.mode.is_file()) else { return Ok(Some(false)) };
        if seen.replace(entry.id) == Some(entry.id) {
            continue;
        }
        if entry.id == blob {
            return Ok(Some(true));
        }
        let parsed = match first(repos, |repo| repo.blob(entry.id, manifest::most_bytes(&config.limits))) {
            Ok(Some(bytes)) => manifest::parse(path, &bytes, &config.limits),
            // History comes without blobs; then any version that was merged at this path counts.
            Ok(None) => continue,
            Err(EngineError::Git(GitError::TooLarge { size, .. })) => manifest::refuse_large(path, size),
            Err(error) => return Err(error),
        };
        let broken =
            parsed.broken || parsed.diagnostics.iter().any(|found| found.severity == Severity::Error);
        // A newer version is valid; or nothing is wrong with a file that does not declare it any more.
        if !broken || parsed.resources.iter().any(|resource| resource.key() == *key) {
            return Ok(Some(false));
        }
    }
    Ok(Some(false))
}

/// What the first repository that has the objects gives.
fn first<T>(repos: &[&Repo], read: impl Fn(&Repo) -> Result<T, GitError>) -> Result<Option<T>, EngineError> {
    for repo in repos {
        match read(repo) {
            Err(GitError::Missing { .. }) => {}
            found => return Ok(Some(found?)),
        }
    }
    Ok(None)
}
