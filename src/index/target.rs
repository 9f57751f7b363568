//! What the index is brought to, and what that came to.

use crate::diagnostic::Diagnostic;
use crate::git::ObjectId;
use crate::record::StatusTree;

/// The commits that the index is brought to.
#[derive(Debug, Clone, Copy)]
pub struct IndexTarget<'a> {
    /// The tree of the desired commit.
    pub desired: ObjectId,
    /// The tree of the desired commit that the status branch was last written for, if it is known here.
    pub previous: Option<ObjectId>,
    /// The status branch.
    pub status: &'a StatusTree,
    /// The blob of `.planspec.yaml`: another one may mean other paths, and then everything is read again.
    pub config: Option<ObjectId>,
}

/// What bringing the index up to date came to.
#[derive(Debug, Clone, Default)]
pub struct Advance {
    /// What is wrong with the files that were read.
    pub diagnostics: Vec<Diagnostic>,
    /// How many files were read.
    pub files: usize,
    /// How many records were read.
    pub records: usize,
    /// Whether everything had to be read.
    pub rebuilt: bool,
}
