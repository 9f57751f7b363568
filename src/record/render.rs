//! Status records to YAML and back. Keeps the rendered parts of executions, so that a change of a few nodes among thousands
//! costs no more than those few. Knows nothing of paths and commits.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::RecordError;
use crate::manifest::usual_yaml;
use crate::markup;
use crate::model::{
    Artifact, ArtifactType, ExecutionStatus, JsonMap, NodeId, NodeStatus, NodeStatuses, RecordFile,
    RecordParts, ResourceKey, ResourceStatus, StatusRecord, same,
};

/// Reads the file of one status record.
///
/// # Errors
/// [`RecordError::Malformed`] when the bytes are not a status record.
pub fn parse_record(bytes: &[u8]) -> Result<RecordFile, RecordError> {
    read_yaml(bytes).map_err(RecordError::Malformed)
}

/// Reads one document. What planspec writes is usual YAML, which is read in a fifth of the time that a parser takes; of anything else
/// the parser says what it means, or what is wrong with it.
pub(super) fn read_yaml<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_yaml::Error> {
    let usual = str::from_utf8(bytes).ok().and_then(usual_yaml);
    if let Some(read) = usual.and_then(|value| serde_json::from_value(value).ok()) {
        return Ok(read);
    }
    // Anybody who can push the branch wrote it, and one such record must not hold up the others (Invariant 6).
    if markup::is_nested_too_deeply(bytes) {
        return Err(serde::de::Error::custom("it is nested too deeply"));
    }
    serde_yaml::from_slice(bytes)
}

/// Renders status records as YAML, and remembers the rendered nodes and artifacts of executions.
#[derive(Debug, Default)]
pub struct Renderer {
    executions: HashMap<ResourceKey, RenderedParts>,
}

impl Renderer {
    /// A renderer that remembers nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The file of a record as a YAML document, equal in meaning to `serde_yaml::to_string`. With `parts`, it names them in
    /// place of the nodes.
    ///
    /// # Errors
    /// [`RecordError::Render`] when the record holds what YAML cannot express.
    pub fn render(
        &mut self,
        record: &StatusRecord,
        parts: Option<&RecordParts>,
    ) -> Result<String, RecordError> {
        // Other kinds have small records, and no parts worth remembering.
        let ResourceStatus::Execution(status) = &record.status else {
            return yaml(record);
        };
        let key = record.key();
        // Taken out while it changes: an error half-way must not leave parts of two versions behind.
        let mut rendered = self.executions.remove(&key).unwrap_or_default();
        let nodes = if parts.is_some() { &NodeStatuses::new() } else { &status.node_statuses };
        rendered.update(nodes, &status.artifacts)?;
        let frame = yaml(&frame(record, status, parts))?;
        let text = rendered.fill(&frame);
        // A finished execution is not rendered again soon, and a long-lived runner finishes many.
        if !status.phase.is_terminal() {
            self.executions.insert(key, rendered);
        }
        match text {
            Some(text) => Ok(text),
            // Another version of the emitter may write the samples differently: slower, and never wrong.
            None => {
                tracing::debug!(resource = %record.key(), "samples not found; rendering the whole record");
                let mut file = RecordFile { record: record.clone(), parts: parts.cloned() };
                if let (ResourceStatus::Execution(status), Some(_)) = (&mut file.record.status, parts) {
                    status.node_statuses = NodeStatuses::new();
                }
                yaml(&file)
            }
        }
    }

    /// Forgets what was remembered of a resource.
    pub fn forget(&mut self, key: &ResourceKey) {
        self.executions.remove(key);
    }
}

/// The rendered parts of one execution, in the order of its status.
#[derive(Debug, Default)]
struct RenderedParts {
    #[allow(clippy::vec_box, reason = "parts are large, and all of them are moved at every update")]
    nodes: Vec<Box<(NodeId, Arc<NodeStatus>, String)>>,
    artifacts: Vec<(Artifact, String)>,
}

impl RenderedParts {
    /// Brings the parts up to date, and renders only those that differ.
    fn update(&mut self, nodes: &NodeStatuses, artifacts: &[Artifact]) -> Result<(), RecordError> {
        let mut known = std::mem::take(&mut self.nodes).into_iter().peekable();
        self.nodes.reserve(nodes.len());
        for (id, node) in nodes.entries() {
            // Both are in the order of ids, so one walk finds what was removed, what is new and what changed.
            while known.next_if(|part| part.0 < *id).is_some() {}
            // Compared by value and not by a flag of the caller: a change that somebody forgot to report would be
            // published as the old text.
            let part = match known.next_if(|part| part.0 == *id) {
                Some(part) if same(&part.1, node) => part,
                _ => Box::new((id.clone(), Arc::clone(node), node_text(id, node)?)),
            };
            self.nodes.push(part);
        }
        // Artifacts are only added at the end, so the position finds the part of before.
        self.artifacts.truncate(artifacts.len());
        for (index, artifact) in artifacts.iter().enumerate() {
            match self.artifacts.get_mut(index) {
                Some(part) if part.0 == *artifact => {}
                Some(part) => *part = (artifact.clone(), artifact_text(artifact)?),
                None => self.artifacts.push((artifact.clone(), artifact_text(artifact)?)),
            }
        }
        Ok(())
    }

    /// Puts the parts in the place of the samples that [`frame`] put there; `None` if a sample is not found.
    fn fill(&self, frame: &str) -> Option<String> {
        let nodes: usize = self.nodes.iter().map(|part| part.2.len()).sum();
        let artifacts: usize = self.artifacts.iter().map(|part| part.1.len()).sum();
        let mut text = String::with_capacity(frame.len() + nodes + artifacts);
        // Only keys of `status` are indented by two spaces, so text of a message cannot match: the first match is the sample.
        let (head, rest) = frame.split_once("\nstatus:\n")?;
        text.push_str(head);
        text.push_str("\nstatus:\n");
        let rest = if self.nodes.is_empty() {
            rest
        } else {
            let (before, after) = rest.split_once("  nodeStatuses:\n    sample:\n      phase: Pending\n")?;
            text.push_str(before);
            text.push_str("  nodeStatuses:\n");
            self.nodes.iter().for_each(|part| text.push_str(&part.2));
            after
        };
        let rest = if self.artifacts.is_empty() {
            rest
        } else {
            let (before, after) = rest.split_once("  artifacts:\n  - name: sample\n    type: file\n")?;
            text.push_str(before);
            text.push_str("  artifacts:\n");
            self.artifacts.iter().for_each(|part| text.push_str(&part.1));
            after
        };
        text.push_str(rest);
        Some(text)
    }
}

/// The record with one sample in the place of all nodes, and one in that of all artifacts.
fn frame(record: &StatusRecord, status: &ExecutionStatus, parts: Option<&RecordParts>) -> RecordFile {
    let sample = || NodeId::new("sample").ok().map(|id| (id, NodeStatus::default()));
    let artifact = Artifact {
        name: "sample".to_owned(),
        kind: ArtifactType::File,
        path: None,
        url: None,
        checksum: None,
        size: None,
        media_type: None,
        metadata: JsonMap::new(),
    };
    // Field by field rather than a clone: the point is not to copy thousands of nodes.
    let status = ExecutionStatus {
        phase: status.phase,
        run_id: status.run_id.clone(),
        reason: status.reason.clone(),
        message: status.message.clone(),
        queued_time: status.queued_time,
        start_time: status.start_time,
        completion_time: status.completion_time,
        last_phase_transition_time: status.last_phase_transition_time,
        spec_hash: status.spec_hash.clone(),
        node_statuses: if status.node_statuses.is_empty() || parts.is_some() {
            NodeStatuses::new()
        } else {
            sample().into_iter().collect()
        },
        artifacts: if status.artifacts.is_empty() { Vec::new() } else { vec![artifact] },
        conditions: status.conditions.clone(),
        observed_generation: status.observed_generation,
        extensions: status.extensions.clone(),
    };
    let status = ResourceStatus::Execution(Box::new(status));
    RecordFile { record: StatusRecord { metadata: record.metadata.clone(), status }, parts: parts.cloned() }
}

fn node_text(id: &NodeId, node: &NodeStatus) -> Result<String, RecordError> {
    Ok(indented(&yaml(&BTreeMap::from([(id, node)]))?, "    "))
}

fn artifact_text(artifact: &Artifact) -> Result<String, RecordError> {
    Ok(indented(&yaml(&[artifact])?, "  "))
}

/// Shifts a block to the right. Block scalars keep their meaning: their indentation is relative.
fn indented(block: &str, by: &str) -> String {
    let mut text = String::with_capacity(block.len() + block.len() / 4);
    for line in block.split_inclusive(ends_line) {
        if !line.starts_with(ends_line) {
            text.push_str(by);
        }
        text.push_str(line);
    }
    text
}

/// YAML 1.1 has more line breaks than one; the emitter escapes all but these.
fn ends_line(c: char) -> bool {
    matches!(c, '\n' | '\u{2028}' | '\u{2029}')
}

fn yaml(value: &impl Serialize) -> Result<String, RecordError> {
    markup::yaml(value).map_err(RecordError::Render)
}

#[cfg(test)]
mod tests;
