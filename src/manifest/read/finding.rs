//! What a manifest may not hold although it can be read, by JSON pointer.

use crate::manifest::pointer;

/// Something that a manifest may not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::manifest) struct ReadFinding {
    pub(in crate::manifest) kind: FindingKind,
    pub(in crate::manifest) pointer: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::manifest) enum FindingKind {
    DuplicateKey,
    TooDeep,
    /// A tag that means nothing here.
    Tag(String),
    /// A tag of YAML itself, such as `!!int`, on a value that is no such thing.
    TagMismatch(String),
    BadNumber,
    BadMerge,
}

/// The way to a value, kept on the stack: the pointer is only built when something is found.
pub(super) enum ValuePath<'a> {
    Root,
    Key(&'a ValuePath<'a>, &'a str),
    Item(&'a ValuePath<'a>, usize),
}

impl ValuePath<'_> {
    pub(super) fn finding(&self, kind: FindingKind) -> ReadFinding {
        ReadFinding { kind, pointer: self.pointer() }
    }

    fn pointer(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Key(parent, key) => pointer::join(&parent.pointer(), key),
            Self::Item(parent, index) => format!("{}/{index}", parent.pointer()),
        }
    }
}
