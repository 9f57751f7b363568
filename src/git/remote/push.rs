//! Pushing references with exact leases, all or none, and reading back what happened after any doubt (Invariants 3 and 4).

use std::collections::BTreeMap;
use std::slice;

use super::failure::{explain, is_contention, is_final, of_two_repositories, or_reasons};
use super::outage::{OutageWait, RemoteAccess};
use super::{PUSH, Remote};
use crate::git::refs::check_name;
use crate::git::{GitError, ObjectId, RefUpdate, Repo, SwapResult};

/// The outcome of a push for one reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushResult {
    /// The remote has the new value.
    Done,
    /// Lost race: the remote's reference has another value than expected.
    Moved(Option<ObjectId>),
    /// The server refused the new value, for this reason.
    Refused(String),
    /// Not changed, because another reference of the same push was not.
    Aborted,
}

/// A push that was reported as failed, whatever the remote made of it.
#[derive(Debug)]
pub struct PushFailure {
    error: GitError,
    /// References that the server refused by name, with its reason.
    refused: BTreeMap<String, String>,
    /// The server cannot move several references at once.
    is_not_atomic: bool,
}

impl From<GitError> for PushFailure {
    fn from(error: GitError) -> Self {
        Self { error, refused: BTreeMap::new(), is_not_atomic: false }
    }
}

impl PushFailure {
    /// One that is about a single reference, for this reason: of the others it is known that they are not to blame.
    #[must_use]
    pub fn of_one(error: GitError, reference: &str, reason: &str) -> Self {
        let refused = BTreeMap::from([(reference.to_owned(), reason.to_owned())]);
        Self { refused, ..Self::from(error) }
    }
}

impl Remote {
    /// Moves a reference of the remote from `expected` (`None`: absent) to the commit `new`, in one step. See
    /// [`Remote::push_all`].
    ///
    /// # Errors
    /// As there, and [`GitError::Refused`].
    pub fn push(
        &self,
        repo: &Repo,
        reference: &str,
        expected: Option<ObjectId>,
        new: ObjectId,
    ) -> Result<SwapResult, GitError> {
        let update = RefUpdate { reference: reference.to_owned(), expected, new };
        match self.push_all(repo, slice::from_ref(&update))?.into_iter().next() {
            Some(PushResult::Moved(tip)) => Ok(SwapResult::Moved(tip)),
            Some(PushResult::Refused(detail)) => Err(self.refused(reference, detail)),
            Some(PushResult::Done | PushResult::Aborted) | None => Ok(SwapResult::Done),
        }
    }

    /// Moves several references of the remote in one step, each from its expected value, all or none. Returns one result per
    /// update, in their order. After any failure the references are read back, so that a lost acknowledgement counts as done
    /// and a lost race is seen whatever the remote said; when nothing moved, the push is repeated a few times, and through an
    /// outage for as long as the remote's options say.
    ///
    /// A server that cannot do this atomically gets the updates one after the other until one fails: put first what the
    /// others rely on.
    ///
    /// # Errors
    /// When the remote cannot be reached, or this user may not write to it.
    pub fn push_all(&self, repo: &Repo, updates: &[RefUpdate]) -> Result<Vec<PushResult>, GitError> {
        // All names before anything is sent: a name that is no reference must not fail one half of a push that has no
        // atomicity.
        for update in updates {
            check_name(&update.reference)?;
        }
        if updates.is_empty() {
            return Ok(Vec::new());
        }
        let references: Vec<&str> = updates.iter().map(|update| update.reference.as_str()).collect();
        let commits: Vec<ObjectId> = updates.iter().map(|update| update.new).collect();
        // Before the first attempt, as an outage may last for hours while the user's own `git gc` runs.
        repo.keep_in_flight(&self.space, &commits)?;
        let mut outage = OutageWait::new(self, RemoteAccess::Write);
        let mut pause = self.options.backoff;
        let mut left = self.options.retries;
        loop {
            let Err(mut failure) = self.push_once(updates) else {
                outage.over();
                return self.acknowledged(repo, updates);
            };
            // No time is left for asking; the next runner, or the last publication of this one, reads the truth.
            if matches!(failure.error, GitError::Interrupted) {
                return Err(failure.error);
            }
            tracing::debug!(remote = self.shown, ?references, error = %failure.error, "push failed; reading back");
            if failure.is_not_atomic && updates.len() > 1 {
                return self.push_in_order(repo, updates);
            }
            // The reason of the push is the one to report when the remote cannot be read either.
            if let Ok(tips) = self.read_tips(&references) {
                if let Some(results) = self.judge(repo, updates, &tips, &failure)? {
                    outage.answered();
                    return Ok(results);
                }
                failure.error = of_two_repositories(failure.error);
            }
            self.remove_leftover_locks(&references);
            match outage.wait(failure.error) {
                Ok(()) => {}
                Err(error) if left == 0 || is_final(&error) => return Err(error),
                Err(error) => {
                    // Not an outage, and nothing moved: hosts refuse now and then for reasons that pass, such as a lock
                    // of a reference.
                    if !self.options.stop.sleep(pause) {
                        return Err(error);
                    }
                    left -= 1;
                    pause *= 2;
                }
            }
        }
    }

    /// Removes what a process of planspec that was killed in the remote's own folder left locked. Such a folder is a remote and
    /// somebody's place of work at once, as when a clone of it is made to try something.
    fn remove_leftover_locks(&self, references: &[&str]) {
        let Some(path) = self.address.local_path() else { return };
        // Whatever is wrong with it, the next attempt to push says so.
        if let Ok(remote) = Repo::open(&self.directory.join(path)) {
            remote.remove_leftover_locks(references, &self.options.stop);
        }
    }

    fn push_in_order(&self, repo: &Repo, updates: &[RefUpdate]) -> Result<Vec<PushResult>, GitError> {
        tracing::debug!(
            remote = self.shown,
            "the server has no atomic pushes; pushing one reference after the other"
        );
        let mut results = Vec::new();
        for update in updates {
            // In the order given, and none after a failure: what keeps a result goes first, so a status never names a
            // commit that the remote lacks.
            if results.iter().all(|result| *result == PushResult::Done) {
                results.extend(self.push_all(repo, slice::from_ref(update))?);
            } else {
                results.push(PushResult::Aborted);
            }
        }
        Ok(results)
    }

    fn push_once(&self, updates: &[RefUpdate]) -> Result<(), PushFailure> {
        if let Some(transport) = &self.options.transport {
            return transport.push(updates);
        }
        let mut program = self.push_program().args(PUSH);
        // Alone, a reference is atomic anyway, and old servers refuse the option.
        if updates.len() > 1 {
            program = program.args(["--atomic"]);
        }
        for RefUpdate { reference, expected, .. } in updates {
            // The value is always given. `--force-with-lease` without one compares with the remote-tracking reference,
            // which any fetch moves. Empty means that it must not exist.
            let lease = expected.map(|id| id.to_string()).unwrap_or_default();
            program = program.args([format!("--force-with-lease={reference}:{lease}")]);
        }
        program = program.args(["--end-of-options", &self.target]);
        // By object id: no local branch is needed, and none can be moved between planning and pushing.
        program = program.args(updates.iter().map(|update| format!("{}:{}", update.new, update.reference)));
        let output = self.finish(program).map_err(PushFailure::from)?;
        if output.success {
            return Ok(());
        }
        // `!<TAB>from:to<TAB>[remote rejected] (reason)`, one line per reference that was not moved.
        let text = String::from_utf8_lossy(&output.stdout);
        let lines = text.lines().filter_map(|line| line.strip_prefix("!\t")?.split_once('\t'));
        let mut refused = BTreeMap::new();
        let mut reasons = Vec::new();
        for (pair, summary) in lines {
            let reference = pair.split_once(':').map_or(pair, |(_, reference)| reference);
            let reason = summary.strip_prefix("[remote rejected] (").and_then(|rest| rest.strip_suffix(')'));
            reasons.push(summary.to_owned());
            // Of an atomic push, the server names the culprit with a reason of its own, and the others with this one.
            if let Some(reason) = reason.filter(|reason| !reason.contains("atomic") && !is_contention(reason))
            {
                refused.insert(reference.to_owned(), reason.to_owned());
            }
        }
        let is_not_atomic = output.stderr.contains("does not support --atomic");
        let names: Vec<&str> = updates.iter().map(|update| update.reference.as_str()).collect();
        // The reasons of `--porcelain` stand on standard output, those of the host on standard error. Both are
        // classified together.
        let said = format!("{}\n{}", output.stderr, refused.values().cloned().collect::<Vec<_>>().join("\n"));
        // The reasons of single references are not classified: most of them are lost races, which reading back tells.
        let error =
            or_reasons(explain(&self.shown, &format!("writing {}", names.join(" and ")), &said), &reasons);
        Err(PushFailure { error, refused, is_not_atomic })
    }

    /// What the references say after a failure; `None` when nothing moved and another attempt may help.
    fn judge(
        &self,
        repo: &Repo,
        updates: &[RefUpdate],
        tips: &[Option<ObjectId>],
        failure: &PushFailure,
    ) -> Result<Option<Vec<PushResult>>, GitError> {
        if updates.iter().zip(tips).all(|(update, tip)| *tip == Some(update.new)) {
            tracing::info!(remote = self.shown, "the acknowledgement of a push was lost; the remote has it");
            self.connection.succeeded(RemoteAccess::Write);
            return self.acknowledged(repo, updates).map(Some);
        }
        if updates.iter().zip(tips).all(|(update, tip)| *tip == update.expected) {
            // A refused permission is an error of the whole push: leaving something out of it would not help.
            let GitError::Refused { detail, .. } = &failure.error else { return Ok(None) };
            // Limits of size are refused before any reference is considered, and then every one is suspect.
            let is_suspect = |update: &RefUpdate| {
                failure.refused.is_empty() || failure.refused.contains_key(&update.reference)
            };
            let result = |update: &RefUpdate| match is_suspect(update) {
                true => PushResult::Refused(detail.clone()),
                false => PushResult::Aborted,
            };
            return Ok(Some(updates.iter().map(result).collect()));
        }
        // Mixed: another writer was faster at some of them. Each is reported by what its own reference says.
        let result = |(update, tip): (&RefUpdate, &Option<ObjectId>)| match *tip {
            tip if tip == Some(update.new) => Ok(PushResult::Done),
            tip if tip == update.expected => Ok(PushResult::Aborted),
            tip => self.moved(repo, update, tip),
        };
        updates.iter().zip(tips).map(result).collect::<Result<_, _>>().map(Some)
    }

    /// The remote has the new values: remembers them here, so that the next fetch starts from there.
    fn acknowledged(&self, repo: &Repo, updates: &[RefUpdate]) -> Result<Vec<PushResult>, GitError> {
        for RefUpdate { reference, new, .. } in updates {
            let local = self.local_name(reference)?;
            let before = repo.read_ref(&local)?;
            if before != Some(*new) {
                // A lost race is fine: a concurrent fetch saw something newer.
                repo.swap_ref(&local, before, Some(*new), "planspec: pushed")?;
            }
            tracing::debug!(remote = self.shown, reference, %new, "pushed");
        }
        Ok(vec![PushResult::Done; updates.len()])
    }

    /// The remote has another value, which may be a descendant of ours: the acknowledgement was lost, and another runner continued
    /// from there.
    fn moved(&self, repo: &Repo, update: &RefUpdate, tip: Option<ObjectId>) -> Result<PushResult, GitError> {
        let RefUpdate { reference, new, expected } = update;
        if tip.is_none() {
            // `gc` removed it. With the old value remembered here, the next push would expect it again, for ever.
            self.forget(repo, &self.local_name(reference)?)?;
            return Ok(PushResult::Moved(None));
        }
        let now = self.fetch(repo, &[reference])?.into_iter().next().flatten();
        if let Some(now) = now
            && repo.is_ancestor(*new, now)? == Some(true)
        {
            return Ok(PushResult::Done);
        }
        tracing::info!(remote = self.shown, reference, ?expected, found = ?now, "lost race: lease refused");
        Ok(PushResult::Moved(now))
    }

    fn refused(&self, reference: &str, detail: String) -> GitError {
        GitError::Refused { remote: self.shown.clone(), action: format!("writing {reference}"), detail }
    }
}
