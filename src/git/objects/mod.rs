//! Objects: blobs, trees and commits, read, written and compared in the object database alone. Moves no reference and
//! touches no file of a working tree.

mod commit;
mod compare;
mod edit;
mod first_parents;
mod gather;
mod history;
mod loose;
mod merge;
mod pack;
mod path;
mod raw_tree;
mod signature;
mod store;
mod zlib;

pub use commit::Commit;
pub use compare::TreeChange;
pub use first_parents::{FirstParentLine, LinePlace, LineSource};
pub use history::CommitLog;
pub use merge::MergeResult;

/// A repository for a test, and the folder that holds it.
#[cfg(test)]
fn repo() -> (tempfile::TempDir, crate::git::Repo) {
    let dir = tempfile::tempdir().unwrap();
    let repo = crate::git::Repo::init_bare(dir.path(), "main").unwrap();
    (dir, repo)
}
