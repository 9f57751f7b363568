//! Fetching: the tips of named references, with their objects, kept under `refs/planspec/<remote>/`.

use std::path::Path;
use std::time::Instant;

use super::outage::RemoteAccess;
use super::{FETCH, Remote};
use crate::git::command::GitOutput;
use crate::git::refs::{OwnLock, PATIENCE, check_name, explain, lock_file};
use crate::git::{GitError, ObjectId, Repo};

/// More commits than any branch has. One more would be "all" as Git means it, by which a server completes every branch of the clone.
const WHOLE: u32 = 0x7fff_fffe;

/// How much of a branch a shallow clone gets that has nothing of it yet.
#[derive(Debug, Clone, Copy)]
pub struct NewestCommits<'a> {
    /// The branch, by its full name.
    pub reference: &'a str,
    /// How many of its commits, from the tip on.
    pub count: u32,
}

/// A reference of the remote, and the one here under which it is kept.
type RefPair<'a> = (&'a str, &'a str);

/// Our own lock around fetches into one repository; the `git` program holds it too, as it may outlive this process.
const FETCH_LOCK: &str = "fetch.lock";

impl Remote {
    /// Fetches these references (full names) of the remote. Returns their tips in the same order; `None` where the remote
    /// has no such reference, and then the local copy is deleted too.
    ///
    /// # Errors
    /// When the remote cannot be read, or the objects cannot be written.
    pub fn fetch(&self, repo: &Repo, refs: &[&str]) -> Result<Vec<Option<ObjectId>>, GitError> {
        self.patiently(RemoteAccess::Read, || self.fetch_refs(repo, refs, None))
    }

    /// The same, with no more than the newest commits of one of these branches where the clone is shallow and this branch is new in
    /// it. [`Remote::fetch_whole`] brings the rest.
    ///
    /// # Errors
    /// As [`Remote::fetch`].
    pub fn fetch_newest(
        &self,
        repo: &Repo,
        refs: &[&str],
        newest: NewestCommits<'_>,
    ) -> Result<Vec<Option<ObjectId>>, GitError> {
        self.patiently(RemoteAccess::Read, || self.fetch_refs(repo, refs, Some(newest)))
    }

    /// Brings the commits of a branch (full name) of which a shallow clone has only the newest. The other branches stay as short as
    /// they are, and no reference moves.
    ///
    /// # Errors
    /// When the remote cannot be read, or the objects cannot be written.
    pub fn fetch_whole(&self, repo: &Repo, reference: &str) -> Result<(), GitError> {
        // A transport that is no program cuts nothing off.
        if self.options.transport.is_some() {
            return Ok(());
        }
        check_name(reference)?;
        self.patiently(RemoteAccess::Read, || {
            let lock = self.fetch_lock(repo)?;
            let started = Instant::now();
            self.fetch_to_depth(repo, &[reference.to_owned()], Some(WHOLE), lock.as_ref())?;
            tracing::debug!(
                remote = self.shown,
                reference,
                duration_ms = started.elapsed().as_millis(),
                "fetched the whole history"
            );
            Ok(())
        })
    }

    fn fetch_refs(
        &self,
        repo: &Repo,
        refs: &[&str],
        newest: Option<NewestCommits<'_>>,
    ) -> Result<Vec<Option<ObjectId>>, GitError> {
        if let Some(transport) = &self.options.transport {
            return self.take_tips(repo, transport.as_ref(), refs);
        }
        let locals: Vec<String> = refs.iter().map(|name| self.local_name(name)).collect::<Result<_, _>>()?;
        let started = Instant::now();
        let lock = self.fetch_lock(repo)?;
        let pairs: Vec<RefPair<'_>> = refs.iter().copied().zip(locals.iter().map(String::as_str)).collect();
        let output = self.fetch_all(repo, &pairs, newest, lock.as_ref())?;
        if !output.success {
            tracing::debug!(remote = self.shown, refs = ?refs, said = output.stderr, "fetch failed; asking which references exist");
            if lock.is_some() {
                locals.iter().for_each(|local| remove_leftover(&lock_file(repo, local)));
            }
            // One of them may not exist there, which `git fetch` reports as an error of the whole run. Asking first would cost
            // a second connection for every fetch; this way only the rare failure pays. Or it is the depth that failed, which not every
            // server has, and which needs a lock that the user's own fetch may hold: then the whole branch comes.
            let tips = self.read_tips(refs)?;
            let (present, absent): (Vec<_>, Vec<_>) =
                pairs.iter().zip(&tips).partition(|(_, tip)| tip.is_some());
            for ((_, local), _) in absent {
                self.forget(repo, local)?;
            }
            let present: Vec<RefPair<'_>> = present.into_iter().map(|(pair, _)| *pair).collect();
            let output = self.fetch_all(repo, &present, None, lock.as_ref())?;
            if !output.success {
                return Err(self.failure("fetching", &output));
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
            self.fetch_to_depth(repo, &specs, depth, lock.as_ref())
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

    /// Fetches pairs of references.
    fn fetch_all(
        &self,
        repo: &Repo,
        pairs: &[RefPair<'_>],
        newest: Option<NewestCommits<'_>>,
        lock: Option<&OwnLock>,
    ) -> Result<GitOutput, GitError> {
        // With `+`, since a branch that was rewritten has to be seen and reported, not refused (Invariant 13).
        let spec = |(theirs, ours): &RefPair<'_>| format!("+{theirs}:{ours}");
        let mut whole: Vec<String> = Vec::new();
        let mut short = None;
        for pair in pairs {
            // A depth would cut a branch that is known off again at its new tip, and the pin of an Execution (Invariant 9) may be right
            // behind that; in a complete clone, the user's own history.
            match newest.filter(|newest| newest.reference == pair.0 && repo.is_shallow()) {
                Some(newest) if repo.read_ref(pair.1)?.is_none() => short = Some((spec(pair), newest.count)),
                _ => whole.push(spec(pair)),
            }
        }
        let whole = || match whole.is_empty() {
            true => Ok(GitOutput::nothing()),
            false => self.fetch_specs(&whole, None, lock),
        };
        let Some((short, count)) = short else { return whole() };
        // Two runs, as a depth holds for all that a run fetches. At the same time, as each has to connect.
        let (whole, short) = std::thread::scope(|scope| {
            let short = scope.spawn(|| self.fetch_specs(&[short], Some(count), lock));
            (whole(), short.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let (whole, short) = (whole?, short?);
        Ok(if whole.success { short } else { whole })
    }

    /// Fetches what may move the place where history is cut off, for which Git takes a lock of its own.
    fn fetch_to_depth(
        &self,
        repo: &Repo,
        specs: &[String],
        depth: Option<u32>,
        lock: Option<&OwnLock>,
    ) -> Result<(), GitError> {
        let mut output = self.fetch_specs(specs, depth, lock)?;
        let shallow = lock_file(repo, "shallow");
        if !output.success && shallow.exists() {
            // In the user's own clone, it may belong to a `git fetch` of the user.
            if lock.is_none() || !is_cache_clone(repo) {
                return Err(explain(&shallow).unwrap_or_else(|| self.failure("fetching", &output)));
            }
            remove_leftover(&shallow);
            output = self.fetch_specs(specs, depth, lock)?;
        }
        if output.success { Ok(()) } else { Err(self.failure("fetching", &output)) }
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

    pub(super) fn forget(&self, repo: &Repo, local: &str) -> Result<(), GitError> {
        if let Some(id) = repo.read_ref(local)? {
            tracing::debug!(remote = self.shown, reference = local, "reference is gone from the remote");
            repo.swap_ref(local, Some(id), None, "planspec: gone from the remote")?;
        }
        Ok(())
    }
}

/// Removes a lock file that only our own fetches make: while we hold the fetch lock, no live process owns it.
fn remove_leftover(lock: &Path) {
    if lock.exists() && std::fs::remove_file(lock).is_ok() {
        tracing::warn!(lock = %lock.display(), "removed a lock that a killed fetch left");
    }
}

/// Whether the repository is one of our cache clones, which nobody else works in, so that a shallow fetch cuts nobody's
/// history off.
pub(super) fn is_cache_clone(repo: &Repo) -> bool {
    let config = repo.git2().config();
    config.and_then(|config| config.get_bool("planspec.cacheClone")).unwrap_or(false)
}
