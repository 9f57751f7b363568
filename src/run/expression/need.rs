//! Which parts of the variables an expression needs, so that only these become CEL values.

use std::collections::BTreeMap;

use super::names::{Mention, Segment};

/// Which parts of a value an expression needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Need {
    /// Everything.
    All,
    /// These fields.
    Fields(BTreeMap<String, Need>),
}

impl Need {
    /// Everything.
    pub(super) const ALL: Self = Self::All;

    /// What is needed of each variable.
    pub(super) fn of(mentions: &[Mention]) -> BTreeMap<String, Self> {
        let mut roots = BTreeMap::new();
        for mention in mentions {
            let root = roots.entry(mention.root.clone()).or_insert_with(|| Self::Fields(BTreeMap::new()));
            root.add(&mention.path);
        }
        roots
    }

    fn add(&mut self, path: &[Segment]) {
        match (path.split_first(), &mut *self) {
            (_, Self::All) => {}
            (Some((Segment::Field(name), rest)), Self::Fields(fields)) => {
                fields.entry(name.clone()).or_insert_with(|| Self::Fields(BTreeMap::new())).add(rest);
            }
            // Which field it is shows only in the evaluation. Too much costs time; too little would be a field that is
            // missing.
            (Some((Segment::Computed, _)) | None, Self::Fields(_)) => *self = Self::All,
        }
    }

    /// What is needed of a field; none when the field is not.
    pub(super) fn field(&self, name: &str) -> Option<&Self> {
        match self {
            Self::All => Some(self),
            Self::Fields(fields) => fields.get(name),
        }
    }
}
