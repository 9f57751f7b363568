//! The capabilities that a task needs, as they stand now; one that is not declared is but a word that bindings match.

use crate::engine::EngineError;
use crate::engine::snapshot::Snapshot;
use crate::graph::NodeIx;
use crate::model::{Kind, NodeReason, Spec};
use crate::plan::capability::{Capability, check_outputs};
use crate::run::{AttemptOutcome, AttemptReport, CompiledPlan};

/// The declared capabilities of a task.
pub(crate) fn capabilities_of(
    snapshot: &Snapshot,
    compiled: &CompiledPlan,
    node: NodeIx,
) -> Result<Vec<Capability>, EngineError> {
    let Some(node) = compiled.node(node) else { return Ok(Vec::new()) };
    let mut capabilities = Vec::with_capacity(node.capability_refs.len());
    for reference in &node.capability_refs {
        // A plan's references are relative to the plan's namespace, not to that of the Execution.
        let key = reference.key(Kind::Capability, &compiled.plan_key.namespace);
        let Some(loaded) = snapshot.cached(&key)? else { continue };
        if let Spec::Capability(spec) = &loaded.resource.spec {
            let generation = snapshot.generation(&key, &loaded.declared)?;
            capabilities.push(Capability { key, generation, spec: spec.clone() });
        }
    }
    Ok(capabilities)
}

/// The end of an attempt, where its outputs have to be what the capabilities of the task promise.
pub(crate) fn checked(
    snapshot: &Snapshot,
    compiled: &CompiledPlan,
    node: NodeIx,
    report: AttemptReport,
) -> Result<AttemptReport, EngineError> {
    let AttemptReport { outcome: AttemptOutcome::Succeeded { outputs }, evidence } = report else {
        return Ok(report);
    };
    let outcome = match check_outputs(outputs, &capabilities_of(snapshot, compiled, node)?) {
        Ok(outputs) => AttemptOutcome::Succeeded { outputs },
        // Retryable: another attempt may give what was promised.
        Err(message) => AttemptOutcome::failed(NodeReason::OutputInvalid, message),
    };
    Ok(AttemptReport { outcome, evidence })
}
