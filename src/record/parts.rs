//! The record of a large Execution in parts: one file for each node in `<name>.nodes/` beside `<name>.yaml`, which names their
//! tree. A transition then reads and writes what it changes, however many nodes there are.
//!
//! A record has one form or the other by its number of nodes alone, and changes its form in the commit that changes that
//! number. As the record names the tree, the two are one: what somebody changes among the parts breaks this record, and no other.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::RecordError;
use super::layout::{self, MAX_RECORD_BYTES};
use super::render::read_yaml;
use crate::git::{EntryMode, GitError, ObjectId, Repo, TreeEntry};
use crate::markup;
use crate::model::{
    NodeId, NodeStatus, NodeStatuses, RecordParts, ResourceKey, ResourceStatus, StatusRecord,
};

/// From how many nodes on a record is in parts.
// By the bytes that a commit adds for one node of a chain: whole records compress well and cost 3.3 KiB at 128 nodes, 5.3 KiB at 256
// and 9.1 KiB at 500 (measured), where parts cost 2.8 KiB at 256 and 3.0 KiB at 500.
pub(super) const PARTS_FROM: usize = 256;

/// The most bytes of all parts of one record. A part alone may have as many as a whole record.
const MOST_BYTES: u64 = 8 * MAX_RECORD_BYTES;

/// Whether a record is in parts.
pub(crate) fn is_large(record: &StatusRecord) -> bool {
    record.execution().is_some_and(|status| status.node_statuses.len() >= PARTS_FROM)
}

/// How many states of a record are remembered: what is published, and what was made on top of it and may have lost its race.
const REMEMBERED: usize = 2;

/// What was written of a record in parts.
#[derive(Debug)]
struct WrittenParts {
    nodes: NodeStatuses,
    tree: ObjectId,
}

/// Writes the parts of records, and remembers them, so that the next commit costs what has changed.
#[derive(Debug, Default)]
pub(super) struct PartsWriter {
    written: HashMap<ResourceKey, Vec<WrittenParts>>,
}

impl PartsWriter {
    /// Writes the nodes of a record that is in parts; gives what the record says of them, and their tree. `there` is
    /// the tree of its parts so far.
    pub(super) fn write(
        &mut self,
        repo: &Repo,
        there: Option<ObjectId>,
        record: &StatusRecord,
    ) -> Result<(RecordParts, ObjectId), RecordError> {
        let status = record.execution();
        let none = NodeStatuses::new();
        let nodes = status.map_or(&none, |status| &status.node_statuses);
        let key = record.key();
        let written = self.written.remove(&key).unwrap_or_default();
        // Only what stands on the branch is built upon: what lost its race may be garbage that `git gc` has removed.
        let before = written.into_iter().find(|before| Some(before.tree) == there);
        let changed = before.as_ref().and_then(|before| nodes.changed_since(&before.nodes));
        let tree = match (&before, changed) {
            (Some(before), Some(changed)) if changed.is_empty() => before.tree,
            (Some(before), Some(changed)) => write_files(repo, Some(before.tree), changed.into_iter())?,
            // Not on top of what is there: files of nodes that the record does not have would stay.
            _ => write_files(repo, None, nodes.iter())?,
        };
        // An ended Execution is not written again soon, and a long-lived runner ends many.
        if !status.is_none_or(|status| status.phase.is_terminal()) {
            let mut remembered = vec![WrittenParts { nodes: nodes.clone(), tree }];
            remembered.extend(before.filter(|before| before.tree != tree));
            remembered.truncate(REMEMBERED);
            self.written.insert(key, remembered);
        }
        Ok((RecordParts { nodes: nodes.len(), tree: tree.to_string() }, tree))
    }

    /// Forgets what was remembered of a resource.
    pub(super) fn forget(&mut self, key: &ResourceKey) {
        self.written.remove(key);
    }
}

fn write_files<'n>(
    repo: &Repo,
    base: Option<ObjectId>,
    nodes: impl Iterator<Item = (&'n NodeId, &'n NodeStatus)>,
) -> Result<ObjectId, RecordError> {
    // The file of a node does not say which node it is: all those that have not started are one and the same blob.
    let mut blobs: HashMap<String, ObjectId> = HashMap::new();
    let mut edits = BTreeMap::new();
    let mut last: Option<(&NodeStatus, ObjectId)> = None;
    for (id, node) in nodes {
        let blob = match last {
            // To render each of thousands that have not started takes far longer than to see that it is like the one before.
            Some((known, blob)) if known == node => blob,
            _ => write_node(repo, node, &mut blobs)?,
        };
        last = Some((node, blob));
        edits.insert(layout::part_path(id), Some(blob));
    }
    Ok(repo.edit_own_tree(base, &edits)?)
}

fn write_node(
    repo: &Repo,
    node: &NodeStatus,
    blobs: &mut HashMap<String, ObjectId>,
) -> Result<ObjectId, RecordError> {
    let text = markup::yaml(node).map_err(RecordError::Render)?;
    if let Some(known) = blobs.get(&text) {
        return Ok(*known);
    }
    let blob = repo.write_blob(text.as_bytes())?;
    blobs.insert(text, blob);
    Ok(blob)
}

/// Adds the nodes to a record that is in parts.
pub(super) fn join(
    repo: &Repo,
    path: &str,
    record: &mut StatusRecord,
    parts: &RecordParts,
) -> Result<(), RecordError> {
    let ResourceStatus::Execution(status) = &mut record.status else { return Ok(()) };
    let tree = tree_of(path, parts)?;
    // One fetch for all of them in a partial clone, instead of one for each.
    repo.fetch_missing(tree)?;
    let mut reader = PartsReader::new(repo, path);
    let files = reader.files(tree)?;
    let count = files.len();
    for (id, blob) in files {
        let node = reader.node(blob)?;
        status.node_statuses.share(id, node);
    }
    if count != parts.nodes || status.node_statuses.len() != count {
        let there = status.node_statuses.len();
        return Err(unreadable(path, format!("it has {} nodes, and files of {there}", parts.nodes)));
    }
    Ok(())
}

/// Whether the parts of the record at `path` in the tree `root` are those that it names.
pub(super) fn are_there(
    repo: &Repo,
    root: ObjectId,
    path: &str,
    parts: &RecordParts,
) -> Result<(), RecordError> {
    let directory = layout::nodes_directory(path);
    let there = repo.entry(root, &directory)?;
    if there.is_some_and(|entry| entry.mode == EntryMode::Tree && entry.id.to_string() == parts.tree) {
        return Ok(());
    }
    Err(unreadable(path, format!("`{directory}` does not hold the nodes that it names")))
}

/// The nodes with what differs between two trees of parts; none where nodes were added or removed.
pub(super) fn changed_nodes(
    repo: &Repo,
    path: &str,
    mut nodes: NodeStatuses,
    (from, to): (ObjectId, ObjectId),
) -> Result<Option<NodeStatuses>, RecordError> {
    let mut reader = PartsReader::new(repo, path);
    for change in repo.compare(Some(from), Some(to))? {
        let name = String::from_utf8_lossy(&change.path).into_owned();
        let id = layout::part_node(&name.split('/').collect::<Vec<_>>());
        let (Some(id), Some(_), Some(new)) = (id, change.old, change.new.filter(|new| new.mode.is_file()))
        else {
            return Ok(None);
        };
        if !nodes.contains_key(id.as_str()) {
            return Ok(None);
        }
        let node = reader.node(new.id)?;
        nodes.share(id, node);
    }
    Ok(Some(nodes))
}

/// Checks that these files among the parts of the record at `path` hold nodes.
pub(super) fn check(repo: &Repo, path: &str, blobs: &[ObjectId]) -> Result<(), RecordError> {
    let mut reader = PartsReader::new(repo, path);
    blobs.iter().try_for_each(|blob| reader.node(*blob).map(drop))
}

struct PartsReader<'r> {
    repo: &'r Repo,
    /// The path of the record.
    path: &'r str,
    left: u64,
    /// Nodes in the same state share their file, and then their status in memory.
    known: HashMap<ObjectId, Arc<NodeStatus>>,
}

impl<'r> PartsReader<'r> {
    fn new(repo: &'r Repo, path: &'r str) -> Self {
        Self { repo, path, left: MOST_BYTES, known: HashMap::new() }
    }

    /// The file of each node.
    fn files(&self, tree: ObjectId) -> Result<Vec<(NodeId, ObjectId)>, RecordError> {
        let mut files = Vec::new();
        for first in self.directories(tree)? {
            for second in self.directories(first.1)? {
                for entry in self.entries(second.1)? {
                    let file = String::from_utf8_lossy(&entry.name).into_owned();
                    // A link to a file is none, and is not followed (Invariant 7).
                    let node =
                        layout::part_node(&[&first.0, &second.0, &file]).filter(|_| entry.mode.is_file());
                    files.push((node.ok_or_else(|| self.stray())?, entry.id));
                }
            }
        }
        Ok(files)
    }

    /// The directories in a directory, and nothing else.
    fn directories(&self, tree: ObjectId) -> Result<Vec<(String, ObjectId)>, RecordError> {
        let entries = self.entries(tree)?.into_iter();
        let directory = |entry: TreeEntry| {
            let name = String::from_utf8_lossy(&entry.name).into_owned();
            if entry.mode == EntryMode::Tree { Ok((name, entry.id)) } else { Err(self.stray()) }
        };
        entries.map(directory).collect()
    }

    /// Nobody but planspec writes there, so that what is no node was put there to be taken for one.
    fn stray(&self) -> RecordError {
        unreadable(self.path, "there is something else among its nodes".to_owned())
    }

    fn entries(&self, tree: ObjectId) -> Result<Vec<TreeEntry>, RecordError> {
        self.repo.entries(tree).map_err(|error| self.unsound(error))
    }

    fn node(&mut self, blob: ObjectId) -> Result<Arc<NodeStatus>, RecordError> {
        if let Some(known) = self.known.get(&blob) {
            return Ok(Arc::clone(known));
        }
        let bytes =
            self.repo.blob(blob, MAX_RECORD_BYTES.min(self.left)).map_err(|error| self.unsound(error))?;
        // All of them together are bounded too: a tree can name one large blob a million times, which is read once, or a
        // thousand of them.
        self.left = self.left.saturating_sub(bytes.len() as u64);
        let node: NodeStatus = read_yaml(&bytes)
            .map_err(|error| unreadable(self.path, format!("a node cannot be read: {error}")))?;
        let node = Arc::new(node);
        self.known.insert(blob, Arc::clone(&node));
        Ok(node)
    }

    /// What breaks this record alone is no error of Git. A missing object is: everything that the branch leads to has to be
    /// here, and a record that was taken for broken for want of it would run again.
    fn unsound(&self, error: GitError) -> RecordError {
        match error {
            GitError::TooLarge { .. } | GitError::BadTree { .. } | GitError::BadPath { .. } => {
                unreadable(self.path, format!("its nodes: {error}"))
            }
            error => error.into(),
        }
    }
}

pub(super) fn tree_of(path: &str, parts: &RecordParts) -> Result<ObjectId, RecordError> {
    parts.tree.parse().map_err(|error| unreadable(path, format!("the tree of its nodes: {error}")))
}

fn unreadable(path: &str, reason: String) -> RecordError {
    RecordError::Unreadable { path: path.to_owned(), reason }
}

#[cfg(test)]
mod tests;
