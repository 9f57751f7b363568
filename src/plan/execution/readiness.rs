//! Whether a node may go on: its edges, what its expressions read, and its condition.

use crate::graph::NodeIx;
use crate::model::{EdgeType, ExecutionStatus, NodePhase};
use crate::run::CompiledPlan;

/// Whether the edges let a node go on.
pub(super) enum EdgeState {
    /// They do.
    Open,
    /// A source, or a node that its expressions read, has not ended.
    Waiting,
    /// A hard source did not succeed, and the node's condition does not care.
    Blocked { source: NodeIx, phase: NodePhase },
}

pub(super) fn edge_state(compiled: &CompiledPlan, status: &ExecutionStatus, ix: NodeIx) -> EdgeState {
    let mut state = EdgeState::Open;
    for (source, kind) in compiled.topology.sources(ix) {
        let phase = compiled.phase_of(status, source);
        if !phase.is_terminal() {
            // A later source may have failed already, and then the node is skipped without waiting for this one.
            state = EdgeState::Waiting;
            continue;
        }
        // As `failure()` and `always()` do in CI: a condition that asks how the source ended decides by itself.
        let decides_itself = || {
            let id = compiled.name_for(ix, source)?;
            compiled.when(ix).map(|when| when.refers_to_phase_of(id.as_str()))
        };
        if kind == EdgeType::Hard && phase != NodePhase::Succeeded && !decides_itself().unwrap_or(false) {
            return EdgeState::Blocked { source, phase };
        }
    }
    // A skipped source ends before what is upstream of it may have; an expression must not depend on who is faster.
    let ended = |ix: &NodeIx| compiled.phase_of(status, *ix).is_terminal();
    if compiled.reads(ix).iter().all(ended) { state } else { EdgeState::Waiting }
}

/// Whether the condition of a node holds; one without a condition always runs.
///
/// # Errors
/// It cannot be evaluated; says why.
pub(super) fn condition(
    compiled: &CompiledPlan,
    status: &ExecutionStatus,
    ix: NodeIx,
) -> Result<bool, String> {
    let Some(when) = compiled.when(ix) else { return Ok(true) };
    when.holds(&compiled.scope(status, ix)).map_err(|error| format!("`when`: {error}"))
}
