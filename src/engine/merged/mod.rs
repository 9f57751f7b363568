//! What was merged: the first-parent line of the desired branch, and the manifests that its commits held. The status branch,
//! which more people may push than the desired one, is held against it: what it pins runs only if it was merged (Invariant
//! 14).

mod derived;
mod fetch;
mod history;
mod manifests;

use uuid::Uuid;

pub(crate) use self::derived::{derived_uid, expected_spec, reference_from};
pub(crate) use self::history::MergedHistory;

use crate::git::ObjectId;
use crate::model::ResourceKey;

// Never to be changed: with another value every resource would get a new uid, and its record would be another's.
/// The namespace of our name-based uids.
const UID_NAMESPACE: Uuid = Uuid::from_u128(0x7f0f_58a4_6b1d_5c4e_9a53_0d1c_3f0b_77d2);

/// The uid of a resource that was first observed at this desired commit.
pub(crate) fn uid_of(key: &ResourceKey, desired: ObjectId) -> String {
    // From the name and a commit alone: racing reconcilers make the same uid, and what is deleted and written again gets
    // another.
    Uuid::new_v5(&UID_NAMESPACE, format!("{key}@{desired}").as_bytes()).to_string()
}

/// An answer about what was merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MergedAnswer {
    /// It was.
    Yes,
    /// It was not, for this reason.
    No(String),
    /// It takes history that is not here to know. Neither yes nor no: whoever asks has to wait.
    Unknown(String),
}
