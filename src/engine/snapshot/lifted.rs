//! Paths that are denied to work by default, and that a Binding lets a task change by naming them: what a delivery may bring into
//! a branch of people.

use serde_json::Value;

use crate::engine::EngineError;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::approved_target::{bound_target, effective_settings};
use crate::engine::snapshot::child::{MOST_NESTED, child_of};
use crate::engine::snapshot::pin::program_of;
use crate::graph::NodeIx;
use crate::model::{ExecutionStatus, ResourceKey};
use crate::plan::{changed_nodes, plan_named};
use crate::run::CompiledPlan;

/// An Execution whose work is delivered.
#[derive(Clone, Copy)]
pub(crate) struct DeliveredWork<'a> {
    pub(crate) compiled: &'a CompiledPlan,
    pub(crate) uid: &'a str,
    pub(crate) status: &'a ExecutionStatus,
}

/// What the settings of the tasks before a node let these change, as they are now; with those of plans that do such a task.
pub(crate) fn lifted_paths(
    snapshot: &Snapshot,
    work: DeliveredWork<'_>,
    node: NodeIx,
) -> Result<Vec<String>, EngineError> {
    let before = work.compiled.topology.upstream(node);
    let mut found = Vec::new();
    add(snapshot, work, &|ix| before.get(ix) == Some(&true), 0, &mut found)?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn add(
    snapshot: &Snapshot,
    DeliveredWork { compiled, uid, status }: DeliveredWork<'_>,
    is_meant: &dyn Fn(NodeIx) -> bool,
    depth: usize,
    found: &mut Vec<String>,
) -> Result<(), EngineError> {
    // Only tasks that changed something, of which a large plan has few.
    for (ix, id, state) in changed_nodes(&compiled.topology, status).filter(|(ix, ..)| is_meant(*ix)) {
        let Some(target) = bound_target(snapshot, compiled, ix)? else { continue };
        if plan_named(&target.provider).is_some() {
            let child = child_of(snapshot, (&compiled.key, uid), id, state.attempt)?;
            add_below(snapshot, &child, depth, found)?;
            continue;
        }
        let settings = effective_settings(&snapshot.config.providers, &target);
        let allowed = settings.get("paths").and_then(|paths| paths.get("allow")).and_then(Value::as_array);
        found.extend(allowed.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
    }
    Ok(())
}

/// The same of what an Execution did for a node.
fn add_below(
    snapshot: &Snapshot,
    key: &ResourceKey,
    depth: usize,
    found: &mut Vec<String>,
) -> Result<(), EngineError> {
    // Bounded: records that own each other could be written by whoever may push the status branch.
    if depth >= MOST_NESTED {
        return Ok(());
    }
    let Some(record) = snapshot.record(key)? else { return Ok(()) };
    let Some(status) = record.execution() else { return Ok(()) };
    let Some(pinned) = &status.extensions.pinned else { return Ok(()) };
    let Ok(compiled) = program_of(snapshot, key, (pinned, status))? else { return Ok(()) };
    let work = DeliveredWork { compiled: &compiled, uid: &record.metadata.uid, status };
    add(snapshot, work, &|_| true, depth + 1, found)
}
