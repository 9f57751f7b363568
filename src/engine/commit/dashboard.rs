//! What the dashboard shows, gathered from the index and from the commit in the making.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::engine::EngineError;
use crate::engine::commit::resources::PendingRecords;
use crate::engine::execution::active::ActiveExecution;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::gate_in_force::in_force;
use crate::model::{
    ExecutionPhase, Kind, NodeId, NodePhase, NodeReason, NodeSituation, NodeTrait, PlanGraph, ResourceKey,
    Spec, StatusRecord, required_step,
};
use crate::record::{DashboardInput, EXECUTION_LIMIT, ExecutionCard, WaitingFor};

/// How many of what is active, and of what ended last, may have a row. Half each: with failures first, fifty old ones
/// would otherwise hide what runs, and fifty that run every failure.
const OF_EACH: usize = EXECUTION_LIMIT / 2;

/// Gathers what the dashboard shows once the records in `newer` are published.
pub(crate) fn input(
    snapshot: &Snapshot,
    newer: PendingRecords<'_>,
    active: &BTreeMap<ResourceKey, ActiveExecution>,
) -> Result<DashboardInput, EngineError> {
    let mut phases = snapshot.index.phases()?;
    // The later entry wins: the commit in the making is newer than the overlay, and that is newer than the
    // index.
    let overlay = snapshot.newer_records().chain(newer.iter());
    let mut last: BTreeMap<&ResourceKey, &Option<Arc<StatusRecord>>> = BTreeMap::new();
    last.extend(overlay);
    // The counts of the index are corrected by what is newer. Counting all records would cost what the
    // repository holds, not what changed.
    for (key, record) in &last {
        if let Some(old) = snapshot.index.recorded(key)?
            && let Some(count) = phases.get_mut(&(key.kind, old.phase))
        {
            *count = count.saturating_sub(1);
        }
        if let Some(record) = record {
            *phases.entry((key.kind, record.status.phase())).or_default() += 1;
        }
    }
    let mut wanted: BTreeSet<ResourceKey> =
        snapshot.index.executions_of_interest(OF_EACH)?.into_iter().collect();
    // The index does not know yet what this commit makes interesting.
    wanted.extend(last.keys().filter(|key| key.kind == Kind::Execution).map(|key| (*key).clone()));
    let mut cards = Vec::new();
    for key in wanted {
        let record = match last.get(&key) {
            Some(record) => (*record).clone(),
            None => snapshot.record(&key)?,
        };
        cards.extend(record.map(|record| (key, record)));
    }
    // The page says how many of each phase have no row, from `phases`: nothing is counted from what is cut here.
    let (mut active_cards, mut over): (Vec<_>, Vec<_>) =
        cards.into_iter().partition(|(_, record)| !is_over(record));
    for some in [&mut active_cards, &mut over] {
        some.sort_by_key(|(_, record)| std::cmp::Reverse(newest(record)));
        some.truncate(OF_EACH);
    }
    let mut waiting = Vec::new();
    let mut executions = Vec::new();
    for (key, record) in active_cards.into_iter().chain(over) {
        add_waiting(snapshot, &key, &record, &mut waiting)?;
        // What is driven has its graph in memory. For the others it is what was pinned, never what is
        // declared now (Invariant 9).
        let graph = match active.get(&key).and_then(|active| active.compiled.as_ref()) {
            Some(compiled) => Some(Arc::new(compiled.declared_graph().clone())),
            None => pinned_graph(snapshot, &key, &record)?.map(Arc::new),
        };
        let path = snapshot.path_of(&key)?;
        executions.push(ExecutionCard { record, path, graph });
    }
    Ok(DashboardInput { phases, waiting, executions })
}

fn is_over(record: &StatusRecord) -> bool {
    record.execution().is_none_or(|status| status.phase.is_terminal())
}

fn newest(record: &StatusRecord) -> Option<jiff::Timestamp> {
    record.execution().and_then(|status| status.completion_time.or(status.last_phase_transition_time))
}

fn pinned_graph(
    snapshot: &Snapshot,
    key: &ResourceKey,
    record: &StatusRecord,
) -> Result<Option<PlanGraph>, EngineError> {
    let pinned = record.execution().and_then(|status| status.extensions.pinned.as_ref());
    let Some(pinned) = pinned else { return Ok(None) };
    // The page does without a graph rather than fail: it is no reason to hold back a commit.
    let Some(blob) = snapshot.status.pinned(&snapshot.repo, key)?.plan else { return Ok(None) };
    let plan = snapshot.read(blob, "pinned", &pinned.plan)?;
    Ok(plan.and_then(|plan| match plan.spec {
        Spec::Plan(spec) => Some(spec.graph),
        _ => None,
    }))
}

fn add_waiting(
    snapshot: &Snapshot,
    key: &ResourceKey,
    record: &StatusRecord,
    waiting: &mut Vec<WaitingFor>,
) -> Result<(), EngineError> {
    let Some(status) = record.execution() else { return Ok(()) };
    // Held before it was pinned, so there are no nodes to list yet.
    if status.phase == ExecutionPhase::Blocked && status.node_statuses.is_empty() {
        waiting.push(WaitingFor {
            key: key.clone(),
            node: None,
            message: status.message.clone().unwrap_or_default(),
            people: Vec::new(),
            command: None,
            since: status.last_phase_transition_time,
        });
    }
    for (node, state) in status.node_statuses.having(NodeTrait::InPhase(NodePhase::Blocked)) {
        let reason = state.extensions.reason;
        let gate = if reason.is_some_and(NodeReason::asks_approval) {
            asked_gate(snapshot, key, record, (node, reason))?
        } else {
            None
        };
        let people = match &gate {
            Some(gate) => {
                let record = snapshot.record(gate)?;
                // The reviewers of the version that decides, which a deleted or broken manifest does not
                // change (Invariant 11).
                let version = in_force(snapshot, gate, record.as_deref())?;
                let owners = state.extensions.owners.as_deref();
                version.spec().map(|spec| spec.asked(owners)).unwrap_or_default()
            }
            None => Vec::new(),
        };
        let situation =
            NodeSituation { execution: key, node, phase: state.phase, reason, gate: gate.as_ref() };
        let command = required_step(&situation).map(|step| step.to_string());
        waiting.push(WaitingFor {
            key: key.clone(),
            node: Some(node.clone()),
            message: state.message.clone(),
            people,
            command,
            since: state.extensions.blocked_since,
        });
    }
    Ok(())
}

fn asked_gate(
    snapshot: &Snapshot,
    key: &ResourceKey,
    record: &StatusRecord,
    (node, reason): (&NodeId, Option<NodeReason>),
) -> Result<Option<ResourceKey>, EngineError> {
    let Some(graph) = pinned_graph(snapshot, key, record)? else { return Ok(None) };
    let home = record
        .execution()
        .and_then(|status| status.extensions.pinned.as_ref())
        .map(|pinned| &pinned.plan.namespace);
    Ok(home.and_then(|home| graph.asked_gate(node, reason, home)))
}
