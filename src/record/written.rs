//! What was written last: whoever made a commit knows what is in it, and need not read it back.

use std::collections::HashMap;
use std::sync::Arc;

use super::{StatusTree, layout, parts};
use crate::git::{EntryMode, GitError, ObjectId, Repo};
use crate::model::{ResourceKey, StatusRecord};

/// A status commit that was made, and is on no branch yet.
#[derive(Debug)]
pub struct WrittenCommit {
    /// The commit.
    pub commit: ObjectId,
    /// Its tree.
    pub tree: ObjectId,
    /// The first line of its message.
    pub subject: String,
    /// The records that were written for it.
    pub records: WrittenRecords,
}

impl WrittenCommit {
    /// The status tree at this commit.
    #[must_use]
    pub fn status(&self) -> StatusTree {
        StatusTree { commit: Some(self.commit), tree: Some(self.tree) }
    }
}

/// Records by their keys, each with the objects that hold it. An object never says anything else than what was written, so they
/// count wherever a tree has these very objects.
#[derive(Debug, Default)]
pub struct WrittenRecords {
    known: HashMap<ResourceKey, WrittenRecord>,
}

#[derive(Debug)]
struct WrittenRecord {
    record: Arc<StatusRecord>,
    file: ObjectId,
    /// The tree of its nodes, where it is in parts.
    nodes: Option<ObjectId>,
}

impl WrittenRecords {
    /// Notes the file of a record, and the tree of its nodes.
    pub(super) fn note(&mut self, record: &Arc<StatusRecord>, file: ObjectId, nodes: Option<ObjectId>) {
        self.known.insert(record.key(), WrittenRecord { record: Arc::clone(record), file, nodes });
    }

    /// Takes newer ones in.
    pub(crate) fn extend(&mut self, newer: Self) {
        self.known.extend(newer.known);
    }

    /// The record of `key` whose file at `path` in the tree `root` is this one, with all of its nodes beside it; none where that is
    /// not what was written last.
    pub(crate) fn find(
        &self,
        repo: &Repo,
        root: ObjectId,
        key: &ResourceKey,
        (path, file): (&str, ObjectId),
    ) -> Result<Option<&StatusRecord>, GitError> {
        let Some(known) = self.known.get(key).filter(|known| known.file == file) else { return Ok(None) };
        // The file names the tree of the nodes, but somebody may have put another one beside it.
        if let Some(nodes) = known.nodes {
            let there = repo.entry(root, &layout::nodes_directory(path))?;
            if !there.is_some_and(|entry| entry.mode == EntryMode::Tree && entry.id == nodes) {
                return Ok(None);
            }
        }
        debug_assert_eq!(parts::is_large(&known.record), known.nodes.is_some());
        Ok(Some(&known.record))
    }
}
