//! Work that was done on another machine: its files are written out there, and taken in here as bytes of a stranger.

use std::path::Path;

use super::collect::{WorkOrder, take_in};
use super::workspace::{Workspaces, parse_commit};
use crate::git::{EntryMode, GitError, HandedOverFile};
use crate::model::NodeResult;
use crate::provider::{
    ChangeRules, CollectError, CollectedChanges, FileKind, HandedOverChange, HandedOverContent,
};

impl Workspaces {
    /// Takes in what another machine changed for an order. Blocks.
    pub(super) fn take_in(
        &self,
        order: &WorkOrder,
        files: &[HandedOverChange],
        rules: &ChangeRules,
    ) -> Result<CollectedChanges, CollectError> {
        let cache = self.cache()?;
        let files: Vec<HandedOverFile> = files.iter().map(as_git_has_it).collect();
        self.with_repo(|repo| {
            self.bring_in(repo, order.base, &order.reference)?;
            cache.import(repo, order.base)?;
            take_in((repo, &cache), &self.terms, order, rules, (&files, self.now()))
        })
    }

    /// Writes what a result changed into a folder, the contents as numbered files. Blocks.
    pub(super) fn hand_over(
        &self,
        result: &NodeResult,
        into: &Path,
    ) -> Result<Vec<HandedOverChange>, GitError> {
        let (base, commit) = (parse_commit(&result.base)?, parse_commit(&result.commit)?);
        let limit = self.terms.limits.file_bytes;
        self.with_repo(|repo| {
            let work = repo.work_between(base, commit)?;
            let mut handed = Vec::new();
            for (number, change) in work.changes.iter().enumerate() {
                // A report is text, and these are few: whoever uses one is told which.
                let path = std::str::from_utf8(&change.path).map_err(|_| GitError::BadPath {
                    path: String::from_utf8_lossy(&change.path).into_owned(),
                    problem: "is not UTF-8",
                })?;
                let now = match change.after {
                    None => None,
                    Some((mode, id)) => {
                        let file = into.join(number.to_string());
                        let written = std::fs::write(&file, repo.blob(id, limit)?);
                        written.map_err(|source| GitError::Io {
                            doing: "write",
                            path: file.clone(),
                            source,
                        })?;
                        Some(HandedOverContent { kind: kind_of(mode), file })
                    }
                };
                handed.push(HandedOverChange { path: path.to_owned(), now });
            }
            Ok(handed)
        })
    }
}

fn as_git_has_it(change: &HandedOverChange) -> HandedOverFile {
    let content = change.now.as_ref().map(|now| {
        let mode = match now.kind {
            FileKind::Plain => EntryMode::Blob,
            FileKind::Executable => EntryMode::Executable,
            FileKind::Link => EntryMode::Symlink,
        };
        (mode, now.file.clone())
    });
    HandedOverFile { path: change.path.clone(), content }
}

fn kind_of(mode: EntryMode) -> FileKind {
    match mode {
        EntryMode::Symlink => FileKind::Link,
        EntryMode::Executable => FileKind::Executable,
        _ => FileKind::Plain,
    }
}
