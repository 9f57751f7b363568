//! A preview as a value: what one job works out and another one, with more rights, writes as a comment. On that way it is
//! a file that a fork may have written, so reading it is strict, and nothing in it is trusted to be harmless.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::diagnostic::Severity;
use crate::model::NodeKind;

/// The version of the form; grows when a field changes its meaning or goes away.
pub(crate) const API_VERSION: &str = "planspec.io/preview/v1";

/// The largest file that is read as a preview.
const MAX_BYTES: usize = 16 << 20;

/// Why a file is no preview.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PreviewError {
    /// It is too large.
    #[error("the preview has {0} bytes, the limit is {MAX_BYTES}")]
    TooLarge(usize),
    /// It has another form.
    #[error("the file is not a preview: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is of another version.
    #[error("unknown preview version; this planspec supports {API_VERSION}")]
    Version,
}

/// What merging a change would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Preview {
    /// Always [`API_VERSION`]; anything else is refused.
    pub api_version: String,
    /// The commit that the change is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The commit that brings the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// Whether the branch has moved on since the change was based on it.
    #[serde(default)]
    pub stale_base: bool,
    /// Whether the change cannot be merged as it is.
    #[serde(default)]
    pub conflict: bool,
    /// What is wrong with the new state and was not with the old.
    #[serde(default)]
    pub diagnostics: Vec<PreviewFinding>,
    /// Resources that are new.
    #[serde(default)]
    pub created: Vec<String>,
    /// Resources that differ.
    #[serde(default)]
    pub changed: Vec<ChangedResource>,
    /// Resources that are gone.
    #[serde(default)]
    pub deleted: Vec<String>,
    /// Graphs that are new, changed or gone.
    #[serde(default)]
    pub graphs: Vec<PreviewGraph>,
    /// Executions that would start.
    #[serde(default)]
    pub starts: Vec<StartingExecution>,
    /// Approvals that would no longer count.
    #[serde(default)]
    pub voided: Vec<VoidedApproval>,
    /// What else would follow, a sentence each.
    #[serde(default)]
    pub consequences: Vec<String>,
    /// What a reader should know, a sentence each.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Deletions that the reconciler would not carry out without being asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBackDeletions>,
}

/// A finding at a place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PreviewFinding {
    /// The stable code.
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// The path of the file.
    pub file: String,
    /// The line, from 1, when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A resource that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ChangedResource {
    /// The resource, as `NAMESPACE/KIND/NAME`.
    pub resource: String,
    /// Whether its spec as written differs, so that its generation grows.
    pub spec: bool,
    /// The fields that differ; none when it is only written differently.
    #[serde(default)]
    pub fields: Vec<ChangedField>,
}

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ChangedField {
    /// The field, as in `spec.graph.nodes[research].timeout`.
    pub path: String,
    /// What it was; absent when it is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// What it is; absent when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
}

/// What becomes of a node or an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChangeMark {
    /// It stays as it is.
    #[default]
    Kept,
    /// It is new.
    Added,
    /// It differs.
    Changed,
    /// It is gone.
    Removed,
}

/// The graph of a plan, old and new in one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PreviewGraph {
    /// The plan, as `NAMESPACE/KIND/NAME`.
    pub plan: String,
    /// The nodes of both graphs.
    #[serde(default)]
    pub nodes: Vec<GraphNode>,
    /// The edges of both graphs.
    #[serde(default)]
    pub edges: Vec<GraphEdge>,
}

/// A node of a graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GraphNode {
    /// Its id, by which edges name it.
    pub id: String,
    /// Its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its kind.
    pub kind: NodeKind,
    /// What becomes of it.
    #[serde(default)]
    pub mark: ChangeMark,
}

/// An edge of a graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GraphEdge {
    /// The id of the node that goes first.
    pub from: String,
    /// The id of the node that follows.
    pub to: String,
    /// Whether it only orders.
    #[serde(default)]
    pub soft: bool,
    /// Whether it says that the first belongs to the group that follows, and orders nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub member: bool,
    /// What becomes of it.
    #[serde(default)]
    pub mark: ChangeMark,
}

/// An Execution that would start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct StartingExecution {
    /// The Execution, as `NAMESPACE/KIND/NAME`.
    pub execution: String,
    /// The plan that it names, as `NAMESPACE/KIND/NAME`.
    pub plan: String,
    /// How many nodes the plan has, when it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<usize>,
    /// The providers that it would call, and for which nodes.
    #[serde(default)]
    pub providers: Vec<ProviderUse>,
    /// Nodes that no provider is bound to.
    #[serde(default)]
    pub unbound: Vec<String>,
    /// The gates that it would wait at.
    #[serde(default)]
    pub gates: Vec<PreviewGate>,
    /// The commands that it would run on the runner.
    #[serde(default)]
    pub commands: Vec<PreviewCommand>,
}

/// A gate that an Execution would wait at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PreviewGate {
    /// The id of the node.
    pub node: String,
    /// The gate, as `NAMESPACE/KIND/NAME`.
    pub gate: String,
    /// Whom it names, as it writes them; anyone who may write when empty.
    #[serde(default)]
    pub reviewers: Vec<String>,
    /// How many have to approve.
    pub approvals: u32,
}

/// A command that an Execution would run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PreviewCommand {
    /// The id of the node.
    pub node: String,
    /// The program with its arguments, or the shell line, as it is written.
    pub command: String,
    /// Whether changes to files are kept.
    #[serde(default)]
    pub keeps_changes: bool,
    /// Globs of the files that it may change; any when empty.
    #[serde(default)]
    pub allow: Vec<String>,
    /// Globs of the files that it may not change.
    #[serde(default)]
    pub deny: Vec<String>,
}

/// A provider and the nodes that it would be called for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ProviderUse {
    /// The provider string of the binding.
    pub provider: String,
    /// The ids of the nodes.
    pub nodes: Vec<String>,
}

/// An approval that would no longer count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct VoidedApproval {
    /// The gate, as `NAMESPACE/KIND/NAME`.
    pub gate: String,
    /// Who approved it.
    pub reviewers: Vec<String>,
}

/// Deletions that the reconciler would not carry out without being asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct HeldBackDeletions {
    /// How many resources the change deletes.
    pub deleted: usize,
    /// How many there are before it.
    pub total: usize,
}

impl Preview {
    /// A preview of nothing.
    #[must_use]
    pub(crate) fn empty() -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            base: None,
            head: None,
            stale_base: false,
            conflict: false,
            diagnostics: Vec::new(),
            created: Vec::new(),
            changed: Vec::new(),
            deleted: Vec::new(),
            graphs: Vec::new(),
            starts: Vec::new(),
            voided: Vec::new(),
            consequences: Vec::new(),
            warnings: Vec::new(),
            held_back: None,
        }
    }

    /// Reads a file that anybody may have written.
    ///
    /// # Errors
    /// When it is too large, of another form or of another version.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, PreviewError> {
        // Before parsing, since the values take several times the memory of the text.
        if bytes.len() > MAX_BYTES {
            return Err(PreviewError::TooLarge(bytes.len()));
        }
        // Unknown fields are refused in every part: a newer form must not be shown by halves, and a fork
        // cannot add any.
        let preview: Self = serde_json::from_slice(bytes)?;
        if preview.api_version == API_VERSION { Ok(preview) } else { Err(PreviewError::Version) }
    }

    /// Whether there is nothing that a reader needs to know.
    #[must_use]
    pub(crate) fn is_silent(&self) -> bool {
        let Self {
            diagnostics,
            created,
            changed,
            deleted,
            graphs,
            starts,
            voided,
            consequences,
            warnings,
            ..
        } = self;
        let lists = [
            diagnostics.is_empty(),
            changed.is_empty(),
            graphs.is_empty(),
            starts.is_empty(),
            voided.is_empty(),
        ];
        let texts = [created, deleted, consequences, warnings];
        !self.conflict
            && self.held_back.is_none()
            && lists.into_iter().all(|empty| empty)
            && texts.into_iter().all(Vec::is_empty)
    }

    /// Takes back what merging would start or undo: the change goes into a branch that no reconciler reads.
    pub(crate) fn goes_nowhere(&mut self, base: &str, desired: &str) {
        if self.is_silent() {
            return;
        }
        self.starts.clear();
        self.voided.clear();
        self.consequences =
            vec![format!("Nothing starts: the desired branch is {desired}, and this goes into {base}.")];
        self.held_back = None;
    }

    /// How many findings are of a severity.
    #[must_use]
    pub(crate) fn count(&self, severity: Severity) -> usize {
        self.diagnostics.iter().filter(|found| found.severity == severity).count()
    }
}
