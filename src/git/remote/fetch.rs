//! Fetching: the tips of named references, with their objects, kept under `refs/planspec/<remote>/`.

use std::path::PathBuf;
use std::time::Instant;

use super::outage::RemoteAccess;
use super::{FETCH, Remote};
use crate::git::command::GitOutput;
use crate::git::refs::{OwnLock, PATIENCE, explain, lock_file};
use crate::git::{GitError, ObjectId, Repo};

/// Our own lock around fetches into one repository; the `git` program holds it too, as it may outlive this process.
const FETCH_LOCK: &str = "fetch.lock";

impl Remote {
    /// Fetches these references (full names) of the remote. Returns their tips in the same order; `None` where the remote
    /// has no such reference, and then the local copy is deleted too.
    ///
    /// # Errors
    /// When the remote cannot be read, or the objects cannot be written.
    pub fn fetch(&self, repo: &Repo, refs: &[&str]) -> Result<Vec<Option<ObjectId>>, GitError> {
        self.patiently(RemoteAccess::Read, || self.fetch_refs(repo, refs))
    }

    fn fetch_refs(&self, repo: &Repo, refs: &[&str]) -> Result<Vec<Option<ObjectId>>, GitError> {
        if let Some(transport) = &self.options.transport {
            return self.take_tips(repo, transport.as_ref(), refs);
        }
        let locals: Vec<String> = refs.iter().map(|name| self.local_name(name)).collect::<Result<_, _>>()?;
        let started = Instant::now();
        let lock = self.fetch_lock(repo)?;
        let pairs: Vec<(&str, &str)> = refs.iter().copied().zip(locals.iter().map(String::as_str)).collect();
        let output = self.fetch_all(repo, &pairs, lock.as_ref())?;
        if !output.success {
            tracing::debug!(remote = self.shown, refs = ?refs, said = output.stderr, "fetch failed; asking which references exist");
            self.clear_leftovers(repo, &locals, lock.is_some());
            // One of them may not exist there, which `git fetch` reports as an error of the whole run. Asking first would cost
            // a second connection for every fetch; this way only the rare failure pays.
            let tips = self.read_tips(refs)?;
            let (present, absent): (Vec<_>, Vec<_>) =
                pairs.iter().zip(&tips).partition(|(_, tip)| tip.is_some());
            for ((_, local), _) in absent {
                self.forget(repo, local)?;
            }
            let present: Vec<(&str, &str)> = present.into_iter().map(|(pair, _)| *pair).collect();
            let output = self.fetch_all(repo, &present, lock.as_ref())?;
            if !output.success {
                let leftover = explain(&lock_file(repo, "shallow"));
                return Err(leftover.unwrap_or_else(|| self.failure("fetching", &output)));
            }
        }
        drop(lock);
        tracing::debug!(remote = self.shown, refs = ?refs, duration_ms = started.elapsed().as_millis(), "fetched");
        locals.iter().map(|local| repo.read_ref(local)).collect()
    }

    /// Fetches one commit with its files, without its history in a shallow clone.
    ///
    /// # Errors
    /// When the remote does not have it, or does not serve commits by id.
    pub fn fetch_commit(&self, repo: &Repo, commit: ObjectId) -> Result<(), GitError> {
        self.fetch_by_ids(repo, &[commit])
    }

    /// The same for several commits in one run, which fails as a whole when the remote lacks one of them.
    ///
    /// # Errors
    /// When the remote does not have one, or does not serve commits by id.
    pub fn fetch_by_ids(&self, repo: &Repo, commits: &[ObjectId]) -> Result<(), GitError> {
        let specs: Vec<String> = commits.iter().map(ToString::to_string).collect();
        self.patiently(RemoteAccess::Read, || {
            let lock = self.fetch_lock(repo)?;
            tracing::debug!(remote = self.shown, commits = specs.join(" "), "fetching commits by their ids");
            // In a complete clone never with a depth: it would cut the user's own history off.
            let depth = (repo.is_shallow() || is_cache_clone(repo)).then_some(1);
            let output = self.fetch_specs(&specs, depth, lock.as_ref())?;
            if output.success { Ok(()) } else { Err(self.failure("fetching", &output)) }
        })
    }

    /// The lock around fetches; `None` when another process does not let it go.
    fn fetch_lock(&self, repo: &Repo) -> Result<Option<OwnLock>, GitError> {
        let began = Instant::now();
        // Never beyond the end of `--max-duration`, whose last seconds are for giving leases back.
        let patience = (PATIENCE * 30).min(self.options.timeout).min(self.options.patience.until_end());
        let stop = &self.options.stop;
        let lock = OwnLock::take(repo, FETCH_LOCK, patience, stop);
        if lock.is_none() && stop.left(began).is_some_and(|left| left.is_zero()) {
            // Of the remote this says nothing, however long the other process held the lock.
            stop.has_cut(Instant::now());
            return Err(GitError::Interrupted);
        }
        Ok(lock)
    }

    /// Fetches pairs of a remote reference and a local one. In a shallow clone, a branch that is new here comes with the
    /// configured depth, a known one with the commits since.
    fn fetch_all(
        &self,
        repo: &Repo,
        pairs: &[(&str, &str)],
        lock: Option<&OwnLock>,
    ) -> Result<GitOutput, GitError> {
        // Two runs, as `--depth` would cut a known branch off again at its new tip, and the pin of an Execution (Invariant 9)
        // may be right behind that.
        let mut known = Vec::new();
        let mut new = Vec::new();
        let depth = self.options.depth.filter(|_| repo.is_shallow() || is_cache_clone(repo));
        for (theirs, ours) in pairs {
            let list = if depth.is_none() || repo.read_ref(ours)?.is_some() { &mut known } else { &mut new };
            // With `+`, since a branch that was rewritten has to be seen and reported, not refused (Invariant 13).
            list.push(format!("+{theirs}:{ours}"));
        }
        let mut output = GitOutput::nothing();
        if !known.is_empty() {
            output = self.fetch_specs(&known, None, lock)?;
        }
        if output.success && !new.is_empty() {
            output = self.fetch_specs(&new, depth, lock)?;
        }
        Ok(output)
    }

    fn fetch_specs(
        &self,
        specs: &[String],
        depth: Option<u32>,
        lock: Option<&OwnLock>,
    ) -> Result<GitOutput, GitError> {
        // The user's configuration may map references; only the given pairs may change.
        let mut program = self.program().args(FETCH).args(["--refmap="]);
        if let Some(depth) = depth {
            program = program.args([format!("--depth={depth}")]);
        }
        if let Some(file) = lock.and_then(OwnLock::share) {
            program = program.holding(file);
        }
        self.finish(program.args(["--end-of-options", &self.target]).args(specs))
    }

    /// Removes lock files that only our own fetches create: while we hold the fetch lock, no live process owns them.
    fn clear_leftovers(&self, repo: &Repo, locals: &[String], alone: bool) {
        if !alone {
            return;
        }
        let mut locks: Vec<PathBuf> = locals.iter().map(|local| lock_file(repo, local)).collect();
        // In the user's own clone, `shallow.lock` may belong to a `git fetch` of the user.
        if is_cache_clone(repo) {
            locks.push(lock_file(repo, "shallow"));
        }
        for lock in locks {
            if lock.exists() && std::fs::remove_file(&lock).is_ok() {
                tracing::warn!(lock = %lock.display(), "removed a lock that a killed fetch left");
            }
        }
    }

    pub(super) fn forget(&self, repo: &Repo, local: &str) -> Result<(), GitError> {
        if let Some(id) = repo.read_ref(local)? {
            tracing::debug!(remote = self.shown, reference = local, "reference is gone from the remote");
            repo.swap_ref(local, Some(id), None, "planspec: gone from the remote")?;
        }
        Ok(())
    }
}

/// Whether the repository is one of our cache clones, which nobody else works in, so that a shallow fetch cuts nobody's
/// history off.
pub(super) fn is_cache_clone(repo: &Repo) -> bool {
    let config = repo.git2().config();
    config.and_then(|config| config.get_bool("planspec.cacheClone")).unwrap_or(false)
}
