//! What came of the work of a node: what its attempts changed, and how that was judged.

use serde::{Deserialize, Serialize};

use crate::model::Digest;

/// What an attempt changed, as a commit on top of what it worked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeResult {
    /// The commit.
    pub commit: String,
    /// What it worked on.
    pub base: String,
    /// How many files differ.
    pub files: u64,
    /// How many lines are new.
    pub insertions: u64,
    /// How many lines are gone.
    pub deletions: u64,
}

/// What an attempt changed and nobody keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscardedChanges {
    /// How many files.
    pub files: u64,
}

/// What work used up, in its own words: nobody checks it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// How many tokens of a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// What it cost, in the currency that the agent counts in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// How many turns of a conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<u64>,
}

impl Usage {
    /// Both together; what neither says stays unsaid.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        // "Unknown" is not zero: a sum in which one part is missing would look complete.
        let both = |one: Option<u64>, two: Option<u64>| match (one, two) {
            (Some(one), Some(two)) => Some(one.saturating_add(two)),
            (one, two) => one.or(two),
        };
        let cost = match (self.cost, other.cost) {
            (Some(one), Some(two)) => Some(one + two),
            (one, two) => one.or(two),
        };
        Self { tokens: both(self.tokens, other.tokens), cost, turns: both(self.turns, other.turns) }
    }
}

/// How one acceptance criterion came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CriterionResult {
    /// Its name.
    pub name: String,
    /// Whether it holds.
    pub passed: bool,
    /// Whether its failure fails the attempt.
    pub required: bool,
    /// What was seen: exit code, status, matched text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub evidence: String,
    /// How long the check took, in milliseconds.
    pub duration_millis: u64,
    /// What was checked, where that is a commit of its own and not the folder in which the work was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<CheckedFiles>,
}

/// The files that a criterion was checked on, so that nobody takes its verdict for one on other files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedFiles {
    /// The result, or the base where nothing was changed.
    pub commit: String,
    /// The digest of what was run: the criterion, the tree that it was checked on, and the folder in it.
    pub digest: Digest,
    /// How many changed files were taken from the base for the check, as `config.protect.restore` asks.
    #[serde(default, skip_serializing_if = "is_none_of")]
    pub restored: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_none_of(count: &u64) -> bool {
    *count == 0
}

/// What people are shown of the work that a node is going to deliver, such as the draft of a pull request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkProposal {
    /// The commit that they are shown.
    pub base: String,
    /// What the provider needs to find it again; absent where it could not be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
}
