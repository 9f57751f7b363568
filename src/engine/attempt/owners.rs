//! Who owns the files that a gate shows, by the CODEOWNERS of the pinned commit: never by that of the work, which would choose who
//! reviews it.

use super::base::NodeBase;
use super::workspace::{Workspaces, parse_commit};
use crate::git::{GitError, ObjectId, Repo};
use crate::model::{ExecutionStatus, FileOwners};
use crate::run::gate::{CODE_OWNERS_BYTES, CodeOwnersPlace, code_owners_text, file_owners};

impl Workspaces {
    /// The owners of all files in which what a gate shows differs from the pinned commit. `known` are those that are recorded.
    pub(crate) fn file_owners(
        &self,
        status: &ExecutionStatus,
        shown: &NodeBase,
        known: Option<&FileOwners>,
        reference: &str,
    ) -> Result<FileOwners, GitError> {
        let commit = match shown {
            NodeBase::Commit(commit) => commit,
            NodeBase::Pinned => return Ok(FileOwners::nobody("no task before the gate has changed a file")),
            NodeBase::Conflict(conflict) => {
                return Ok(FileOwners::nobody(format!(
                    "the files are not known while results conflict: {}",
                    conflict.what
                )));
            }
        };
        // A gate may wait for weeks and is planned again each time: the two commits say the same every time.
        if let Some(known) = known.filter(|known| known.commit.as_ref() == Some(commit)) {
            return Ok(known.clone());
        }
        let pinned = status.extensions.pinned.as_ref().map(|pinned| pinned.commit.as_str());
        let pinned = parse_commit(pinned.unwrap_or_default())?;
        let work = parse_commit(commit)?;
        let owners = self.with_repo(|repo| -> Result<_, GitError> {
            for commit in [pinned, work] {
                self.bring_in(repo, commit, reference)?;
            }
            // From the pinned commit and not from what the Execution started on: a plan within a plan starts on work that
            // nobody has merged, and its gate shows that as well.
            let tree = repo.commit(pinned)?.tree;
            let new = repo.commit(work)?.tree;
            let paths: Vec<Vec<u8>> =
                repo.compare(Some(tree), Some(new))?.into_iter().map(|change| change.path).collect();
            Ok(match code_owners(repo, tree)? {
                Ok(text) => file_owners(&text, &paths),
                Err(why) => FileOwners::nobody(format!("{why} at commit {}", pinned.short())),
            })
        })?;
        tracing::debug!(%pinned, %work, groups = owners.groups.len(), problem = ?owners.problem, "owners of a gate's files");
        Ok(FileOwners { commit: Some(commit.clone()), ..owners })
    }
}

/// The CODEOWNERS file of a tree, as text; the inner error says why there is none that can be read.
pub(crate) fn code_owners(repo: &Repo, tree: ObjectId) -> Result<Result<String, String>, GitError> {
    code_owners_text(|path| {
        let blob = match repo.file(tree, path) {
            Ok(Some(blob)) => blob,
            Ok(None) => return Ok(CodeOwnersPlace::Empty),
            Err(error @ GitError::RefusedEntry { .. }) => {
                return Ok(CodeOwnersPlace::Refused(error.to_string()));
            }
            Err(error) => return Err(error),
        };
        match repo.blob(blob, CODE_OWNERS_BYTES) {
            Ok(bytes) => Ok(CodeOwnersPlace::Content(bytes)),
            Err(GitError::TooLarge { .. }) => Ok(CodeOwnersPlace::TooLarge),
            Err(error) => Err(error),
        }
    })
}
