//! Shortening the record of a finished execution after its retention time. The full record stays in history until `gc`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::markup::cut;
use crate::model::{
    Artifact, ExecutionExtensions, ExecutionStatus, JsonMap, LogSummary, NodeExtensions, NodeStatus, OMITTED,
    Reuse,
};

/// The largest output, in bytes of JSON, that a summary keeps as it is.
const OUTPUT_LIMIT: usize = 256;

/// The longest message that a summary keeps, in characters.
const MESSAGE_LIMIT: usize = 300;

/// The summary of a finished execution: phases, reasons, times, attempts, small outputs, and what identifies
/// logs and artifacts. Log tails, criteria, bindings, large outputs and long messages are dropped. What a later `retry` or a
/// reuse by another execution needs is kept: the pinned graph, input fingerprints, and the highest fencing token. An output
/// that is dropped becomes an object with its size. Shrinking a summary changes nothing.
#[must_use]
pub fn shrink(status: &ExecutionStatus) -> ExecutionStatus {
    let nodes = status.node_statuses.iter().map(|(id, node)| (id.clone(), shrink_node(node)));
    ExecutionStatus {
        phase: status.phase,
        run_id: status.run_id.clone(),
        reason: status.reason.clone(),
        message: status.message.as_deref().map(|message| cut(message, MESSAGE_LIMIT)),
        queued_time: status.queued_time,
        start_time: status.start_time,
        completion_time: status.completion_time,
        last_phase_transition_time: status.last_phase_transition_time,
        spec_hash: status.spec_hash.clone(),
        node_statuses: nodes.collect(),
        artifacts: status.artifacts.iter().map(shrink_artifact).collect(),
        conditions: status.conditions.clone(),
        observed_generation: status.observed_generation,
        extensions: ExecutionExtensions {
            // Nothing waits for an ended Execution any more.
            mutex: None,
            // What declares a derived Execution: without it there would be nothing that a retry could run.
            spec: status.extensions.spec.clone(),
            pinned: status.extensions.pinned.clone(),
            // A retry begins on it again.
            base: status.extensions.base.clone(),
            // An ended Execution has no lease; one that a dead runner left must not come back by a summary.
            lease: None,
            // A retry must get a higher one: an attempt of the old lease may still be running somewhere.
            last_token: status.extensions.last_token,
            // Kept, as it says who ended the Execution.
            cancel: status.extensions.cancel.clone(),
            suspend: None,
            resumed: None,
            unlocked: None,
            pin_accepted: status.extensions.pin_accepted.clone(),
            retries: status.extensions.retries,
            // What was stored goes at the same time.
            stored_bytes: 0,
            reuse: status
                .extensions
                .reuse
                .as_ref()
                // The verdict of each node goes, and that a decision was made stays: without it, a retry would decide
                // about reuse again.
                .map(|reuse| Reuse { nodes: BTreeMap::new(), ..reuse.clone() }),
        },
    }
}

fn shrink_node(node: &NodeStatus) -> NodeStatus {
    let outputs = node.outputs.iter().map(|(name, value)| (name.clone(), shrink_output(value)));
    let log = node.extensions.log.as_ref();
    NodeStatus {
        phase: node.phase,
        start_time: node.start_time,
        completion_time: node.completion_time,
        attempt: node.attempt,
        outputs: outputs.collect(),
        message: cut(&node.message, MESSAGE_LIMIT),
        extensions: NodeExtensions {
            reason: node.extensions.reason,
            failures: node.extensions.failures,
            // A later Execution compares with it to see whether it may reuse the node.
            basis: node.extensions.basis.clone(),
            // A reference keeps the commits as long as the record is there, and they say what came of the work.
            base: node.extensions.base.clone(),
            onto: node.extensions.onto.clone(),
            reruns: node.extensions.reruns,
            result: node.extensions.result.clone(),
            discarded: node.extensions.discarded,
            usage: node.extensions.usage,
            exit_code: node.extensions.exit_code,
            log: log.map(|log| LogSummary {
                // What is left recognises a log that somebody kept, and shows that there was one.
                tail: String::new(),
                size: log.size,
                checksum: log.checksum.clone(),
            }),
            ..NodeExtensions::default()
        },
    }
}

fn shrink_output(value: &Value) -> Value {
    // Of its JSON, as that is what the record would hold.
    let size = value.to_string().len();
    if size > OUTPUT_LIMIT { json!({ OMITTED: size }) } else { value.clone() }
}

fn shrink_artifact(artifact: &Artifact) -> Artifact {
    // `execution` names where a reused artifact comes from. Everything else is the provider's own and unbounded.
    let ours = |key: &str| matches!(key, "node" | "attempt" | "execution");
    let origin = artifact.metadata.iter().filter(|(key, _)| ours(key));
    Artifact {
        metadata: origin.map(|(key, value)| (key.clone(), value.clone())).collect::<JsonMap>(),
        ..artifact.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CriterionResult, Digest, ExecutionPhase, Lease, NodeId, NodePhase, NodeReason};

    fn full() -> ExecutionStatus {
        let at = jiff::Timestamp::UNIX_EPOCH;
        let node = NodeStatus {
            phase: NodePhase::Failed,
            start_time: Some(at),
            completion_time: Some(at),
            attempt: 3,
            outputs: [("small".to_owned(), json!(7)), ("large".to_owned(), json!("x".repeat(5_000)))]
                .into_iter()
                .collect(),
            message: "why ".repeat(1_000),
            extensions: NodeExtensions {
                reason: Some(NodeReason::ProviderFailed),
                log: Some(LogSummary {
                    tail: "line\n".repeat(50),
                    size: 9,
                    checksum: Digest::of_bytes(b"log"),
                }),
                criteria: vec![CriterionResult {
                    name: "c".into(),
                    passed: false,
                    required: true,
                    evidence: "e".repeat(500),
                    duration_millis: 1,
                    checked: None,
                }],
                handle: Some("h".into()),
                runner: Some("r".into()),
                ..NodeExtensions::default()
            },
        };
        let mut status = ExecutionStatus {
            phase: ExecutionPhase::Failed,
            completion_time: Some(at),
            node_statuses: [(NodeId::new("a").unwrap(), node)].into(),
            ..ExecutionStatus::default()
        };
        let lease =
            Lease { holder: "r".into(), acquire_time: at, renew_time: at, duration_millis: 1, token: 4 };
        status.extensions.lease = Some(lease);
        status.extensions.last_token = 4;
        status
    }

    #[test]
    fn the_story_stays_and_the_bulk_goes() {
        let (full, small) = (full(), shrink(&full()));
        let before = &full.node_statuses["a"];
        let after = &small.node_statuses["a"];
        assert_eq!((after.phase, after.attempt, after.start_time), (before.phase, 3, before.start_time));
        assert_eq!(after.extensions.reason, before.extensions.reason);
        assert_eq!(after.outputs["small"], 7);
        assert_eq!(after.outputs["large"], json!({ "omittedBytes": 5_002 }));
        assert_eq!(after.extensions.log.as_ref().unwrap().checksum, Digest::of_bytes(b"log"));
        assert_eq!(small.extensions.last_token, 4, "fencing tokens only grow, also over a shrink");
        assert_eq!(small.completion_time, full.completion_time);
        let size = |status: &ExecutionStatus| serde_yaml::to_string(status).unwrap().len();
        assert!(size(&small) < 1_024 && size(&full) > 5_000, "{} of {}", size(&small), size(&full));
    }

    #[test]
    fn shrinking_twice_changes_nothing() {
        let once = shrink(&full());
        assert_eq!(shrink(&once), once);
    }
}
