//! What came of the work of a node: what its attempts changed, left and used up, how that was judged, and what people say of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Digest, JsonMap, NodeId};

/// What stands, in the summary of a finished execution, for an output that was too large to keep: an object with this
/// key, and the size in bytes of JSON.
pub const OMITTED: &str = "omittedBytes";

/// What an attempt had changed when it asked to be run again later, or asked a person: the next attempt finds it as changes that
/// are not committed. It is no result, and nothing builds on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfinishedWork {
    /// The commit that keeps it, on top of its base.
    pub commit: String,
    /// What the attempt worked on. On anything else, these changes say nothing.
    pub base: String,
    /// How many files differ.
    pub files: u64,
    /// The number of the attempt.
    pub attempt: u32,
}

impl UnfinishedWork {
    /// What an attempt has changed so far, kept as a result would be.
    #[must_use]
    pub fn of(NodeResult { commit, base, files, .. }: NodeResult, attempt: u32) -> Self {
        Self { commit, base, files, attempt }
    }

    /// What it is, for the message that says that it is dropped.
    #[must_use]
    pub fn summary(&self) -> String {
        format!("what attempt {} had left unfinished ({})", self.attempt, self.file_count())
    }

    /// How many files differ, in words.
    #[must_use]
    pub fn file_count(&self) -> String {
        if self.files == 1 { "1 file".to_owned() } else { format!("{} files", self.files) }
    }
}

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

/// What an attempt left behind that can be had on any machine: files in its artifacts folder, and a log that is longer than
/// what the record keeps of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredFiles {
    /// The folder of the attempt, `<uid of the execution>/<node>/<attempt>`, in every place where it is kept.
    pub path: String,
    /// The Git tree that holds it; none where the store is not this repository, or nothing fits into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<String>,
    /// How many bytes are stored.
    pub bytes: u64,
    /// What stays on the machine that ran the attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOutFile>,
}

impl StoredFiles {
    /// Whether a file of the attempt's artifacts folder is stored.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        !self.left_out.iter().any(|left| left.name == name)
    }
}

/// The end of a log, and how to recognise the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSummary {
    /// The last lines, redacted.
    pub tail: String,
    /// The size of the whole log in bytes.
    pub size: u64,
    /// The digest of the whole log.
    pub checksum: Digest,
}

/// A file of an attempt that is not stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOutFile {
    /// Its name below the artifacts folder, or `log`.
    pub name: String,
    /// Why, as a fragment for people.
    pub why: String,
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

    /// The larger of both in each respect.
    #[must_use]
    pub fn larger(self, other: Self) -> Self {
        let cost = match (self.cost, other.cost) {
            (Some(one), Some(two)) => Some(one.max(two)),
            (one, two) => one.or(two),
        };
        Self { tokens: self.tokens.max(other.tokens), cost, turns: self.turns.max(other.turns) }
    }

    /// It in words, without what is not known; none where nothing is.
    #[must_use]
    pub fn summary(self) -> Option<String> {
        let count = |number: Option<u64>, one: &str| {
            number.map(|number| format!("{number} {one}{}", if number == 1 { "" } else { "s" }))
        };
        // No sign of a currency: the agent counts in one, and does not say in which.
        let cost = self.cost.map(|cost| format!("cost {cost:.2}"));
        let parts: Vec<String> =
            [count(self.tokens, "token"), count(self.turns, "turn"), cost].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

/// How much work may use up before a person is asked whether it may go on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkBudget {
    /// How many tokens of a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// What it may cost, in the currency that the agent counts in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<serde_json::Number>,
    /// How many turns of a conversation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<u64>,
}

impl WorkBudget {
    /// What is used up of it, in words; none while there is something left. It counts from what was used up when somebody last
    /// let the work go on.
    #[must_use]
    pub fn spent(&self, used: Usage, granted: Usage) -> Option<String> {
        let count = |used: Option<u64>, granted: Option<u64>, budget: Option<u64>, what: &str| {
            let used = used?.saturating_sub(granted.unwrap_or_default());
            budget.filter(|budget| used >= *budget).map(|budget| format!("{used} of {budget} {what}"))
        };
        let cost = || {
            let used = used.cost? - granted.cost.unwrap_or_default();
            let budget = self.cost.as_ref()?.as_f64()?;
            (used >= budget).then(|| format!("{used:.2} of {budget:.2} in cost"))
        };
        count(used.tokens, granted.tokens, self.tokens, "tokens")
            .or_else(cost)
            .or_else(|| count(used.turns, granted.turns, self.turns, "turns"))
    }
}

/// Somebody let work go on whose budget was spent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BudgetGrant {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// In their words.
    pub text: String,
    /// What the node had used up by then.
    pub node: Usage,
    /// What its Execution had used up by then.
    pub execution: Usage,
}

/// What somebody answered to a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuestionAnswer {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// What they say.
    pub text: String,
}

/// What a person decided about a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeDecision {
    /// Whether it failed.
    #[serde(default)]
    pub failed: bool,
    /// What it gave.
    #[serde(default, skip_serializing_if = "JsonMap::is_empty")]
    pub outputs: JsonMap,
    /// What a person handed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<NodeResult>,
    /// Who said so, and why.
    pub message: String,
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

/// What a reviewer wants changed of work that is delivered, or that its base conflicts with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangeRequest {
    /// The node that is to run again for it; a person sees to it when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// Who.
    pub by: String,
    /// What they say.
    pub words: String,
    /// The commit that they looked at; the node works on top of it.
    pub commit: String,
    /// The branch that the commit conflicts with, where that is what is wrong and nobody was asked; the node then works on a
    /// merge of the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflicts_with: Option<String>,
}

impl ChangeRequest {
    /// Why the work has to change, in a few words.
    #[must_use]
    pub fn cause(&self) -> String {
        match &self.conflicts_with {
            Some(branch) => format!("its work conflicts with `{branch}`"),
            None => format!("{} requested changes", self.by),
        }
    }
}

/// Why a node runs again on top of its own work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rework {
    /// How often it did, this time included.
    pub count: u32,
    /// What is asked of it.
    pub request: ChangeRequest,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_spent_when_all_of_it_is_used_and_counts_on_from_a_grant() {
        let budget: WorkBudget = serde_json::from_str(r#"{"tokens": 1000, "cost": 0.5}"#).unwrap();
        let used = |tokens, cost| Usage { tokens: Some(tokens), cost: Some(cost), turns: Some(99) };
        let none = Usage::default();
        assert_eq!(budget.spent(used(999, 0.49), none), None);
        assert_eq!(budget.spent(used(1000, 0.1), none).unwrap(), "1000 of 1000 tokens");
        assert_eq!(budget.spent(used(10, 0.75), none).unwrap(), "0.75 of 0.50 in cost");
        assert_eq!(budget.spent(used(1500, 0.1), used(1000, 0.1)), None);
        assert_eq!(budget.spent(used(2000, 0.1), used(1000, 0.1)).unwrap(), "1000 of 1000 tokens");
        assert_eq!(budget.spent(none, none), None, "what nobody says is not spent");
    }

    #[test]
    fn usage_is_said_in_words_without_what_nobody_knows() {
        let usage = |tokens, cost, turns| Usage { tokens, cost, turns };
        assert_eq!(usage(None, None, None).summary(), None);
        assert_eq!(usage(Some(1), None, Some(2)).summary().unwrap(), "1 token, 2 turns");
        let all = usage(Some(5200), Some(0.08), None).plus(usage(Some(900), Some(0.01), Some(1)));
        assert_eq!(all.summary().unwrap(), "6100 tokens, 1 turn, cost 0.09");
    }
}
