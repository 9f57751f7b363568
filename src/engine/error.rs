//! What ends a reconcile or a decision before its time.

use std::cell::RefCell;

use crate::git::GitError;
use crate::index::IndexError;
use crate::record::RecordError;

/// What ends a reconcile or a decision before its time.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Git.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The status branch.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// There is no desired commit.
    #[error("branch `{branch}` has no commit yet{}", remote.as_ref().map(|name| format!(" on `{name}`")).unwrap_or_default())]
    NothingDesired {
        /// The branch.
        branch: String,
        /// The remote.
        remote: Option<String>,
    },
    /// There is no desired branch, or none that can be used.
    #[error(transparent)]
    Branch(#[from] BranchError),
    /// The configuration is not valid.
    #[error("`.planspec.yaml` at commit {commit} is not valid: {message}")]
    Config {
        /// The commit, short.
        commit: String,
        /// The first thing that is wrong.
        message: String,
    },
    // Apart from the environment's errors, for an exit code of its own: the same command may win the next
    // time.
    /// The status branch kept moving.
    #[error("lost {attempts} races for the status branch in a row")]
    Contended {
        /// How often it was tried.
        attempts: u32,
    },
    // It may have been publishing, and nobody knows whether the branch moved: the process ends, and the next
    // one reads the truth (Invariant 4).
    /// The status branch lost what this clone saw of it.
    #[error("the status branch `{branch}` went back: this clone saw it at {last}, and {now}; {again}")]
    StatusWentBack {
        /// The branch.
        branch: String,
        /// The tip that was seen last.
        last: String,
        /// Where it is now, in words.
        now: String,
        /// What that means, in words.
        again: String,
    },
    /// A commit of the status branch is not what its signers may write.
    #[error("the status branch `{branch}` does not hold: commit {commit} ({subject}): {why}")]
    NotSigned {
        /// The branch.
        branch: String,
        /// The commit, short.
        commit: String,
        /// Its subject.
        subject: String,
        /// Why it does not hold.
        why: String,
    },
    /// A commit of the desired branch is not signed by whom `trust.desired` lists.
    #[error("the desired branch `{branch}` does not hold: commit {commit} ({subject}): {why}")]
    DesiredNotSigned {
        /// The branch.
        branch: String,
        /// The commit, short.
        commit: String,
        /// Its subject.
        subject: String,
        /// Why it does not hold.
        why: String,
    },
    /// `trust.status` asks for a signature, and there is none.
    #[error("the status commit has to be signed, and could not be: {detail}")]
    CannotSign {
        /// What Git said.
        detail: String,
    },
    /// The key of this process may not sign what it is about to record.
    #[error("the status commit would not hold: {why}")]
    NotSigner {
        /// Why not.
        why: String,
    },
    /// A thread of ours died.
    #[error("a worker ended without a result")]
    WorkerLost,
    /// A decision was asked for that cannot be made.
    #[error("{0}")]
    Refused(String),
    /// A file or directory.
    #[error("cannot {doing} `{}`", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: std::path::PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// Why there is no desired branch, or none that can be used.
#[derive(Debug, thiserror::Error)]
pub enum BranchError {
    /// HEAD is detached, and nothing is recorded yet.
    #[error("HEAD is detached, so there is no branch to take the desired state from")]
    Detached,
    /// The remote names no default branch and has several.
    #[error(
        "cannot tell which branch of `{remote}` holds the desired state: its HEAD names none of {branches}"
    )]
    Undetermined {
        /// The remote.
        remote: String,
        /// Its branches, as a list for people.
        branches: String,
    },
    /// The remote has no branch besides ours.
    #[error("`{remote}` has no branch yet")]
    Empty {
        /// The remote.
        remote: String,
    },
    /// The branch that the user or the configuration named does not exist.
    #[error("there is no branch `{branch}`{}", on(remote.as_deref()))]
    NotFound {
        /// The branch.
        branch: String,
        /// The remote.
        remote: Option<String>,
    },
    /// The configurations of two branches name each other, or a third one.
    #[error("`desiredBranch` on branch `{at}` names `{named}`, whose own `desiredBranch` names `{other}`")]
    Circular {
        /// The branch where the search began.
        at: String,
        /// The branch that it names.
        named: String,
        /// The branch that this one names.
        other: String,
    },
    /// The desired branch is a status branch or a work branch.
    #[error("`{branch}` is {what}, so it cannot hold the desired state")]
    Ours {
        /// The branch.
        branch: String,
        /// What it is, with its article.
        what: &'static str,
    },
    /// The working tree shows the status branch, which is about to move.
    #[error("the status branch `{branch}` is checked out here")]
    StatusCheckedOut {
        /// The status branch.
        branch: String,
    },
    /// The names of the two branches cannot exist beside each other, or are the same.
    #[error("`statusBranch` `{status}` cannot be used beside the branch `{other}`")]
    Overlap {
        /// The status branch.
        status: String,
        /// The other branch.
        other: String,
    },
}

fn on(remote: Option<&str>) -> String {
    remote.map(|name| format!(" on `{name}`")).unwrap_or_default()
}

/// The first failure to read while questions were answered that have no room for an error. What is answered after it decides nothing: it ends the pass, or refuses the decision.
#[derive(Default)]
pub(crate) struct KeptFailure(RefCell<Option<EngineError>>);

impl KeptFailure {
    /// What was read; none where nothing is there, or where it could not be read, which is kept.
    pub(crate) fn keep<T>(&self, result: Result<Option<T>, EngineError>) -> Option<T> {
        result.unwrap_or_else(|error| {
            // The first one is the cause; others mostly follow from it.
            self.0.borrow_mut().get_or_insert(error);
            None
        })
    }

    /// The failure, if there was one.
    pub(crate) fn check(self) -> Result<(), EngineError> {
        self.0.into_inner().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_the_one_that_is_told() {
        let kept = KeptFailure::default();
        assert_eq!(kept.keep(Ok(Some(1))), Some(1));
        assert_eq!(kept.keep::<u8>(Err(GitError::NoIdentity.into())), None);
        assert_eq!(kept.keep::<u8>(Err(GitError::Interrupted.into())), None);
        assert!(matches!(kept.check(), Err(EngineError::Git(GitError::NoIdentity))));
        assert!(KeptFailure::default().check().is_ok());
    }
}
