//! What a provider is given for an attempt: the claim with every expression replaced.

use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::attempt::workspace::Checkouts;
use crate::git::ObjectId;
use crate::model::{BindingTarget, NodeId, NodeReason, NodeStatus, ResourceKey, StatusRecord};
use crate::plan::{capability, inputs, settings};
use crate::provider::{Attempt, Brief, OutputContract};
use crate::run::CompiledPlan;
use crate::run::parameter::hint;

/// A node that was claimed; the claim is published.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) key: ResourceKey,
    pub(crate) node: usize,
    pub(crate) attempt: u32,
    pub(crate) target: BindingTarget,
    pub(crate) compiled: Arc<CompiledPlan>,
    pub(crate) record: Arc<StatusRecord>,
    /// The capabilities of the node, as they stand when it starts.
    pub(crate) capabilities: Vec<capability::Capability>,
}

/// Makes what providers are given.
pub(crate) struct AttemptFactory {
    checkouts: Arc<Checkouts>,
    runs_dir: PathBuf,
}

impl AttemptFactory {
    pub(crate) fn new(checkouts: Arc<Checkouts>, runs_dir: PathBuf) -> Arc<Self> {
        Arc::new(Self { checkouts, runs_dir })
    }

    /// Everything the provider gets, with all expressions replaced.
    pub(crate) fn attempt(&self, claim: &Claim, id: &NodeId) -> Result<Attempt, (NodeReason, String)> {
        let broken = |message: String| (NodeReason::ExpressionError, message);
        let Some(status) = claim.record.execution() else {
            return Err(broken("the record is not that of an execution".to_owned()));
        };
        let Some(node) = claim.compiled.node(claim.node) else {
            return Err(broken("the node is not in the plan".to_owned()));
        };
        let inputs = inputs(&claim.compiled, status, claim.node).map_err(broken)?;
        let inputs = capability::complete_inputs(inputs, &claim.capabilities)
            .map_err(|message| (NodeReason::InputInvalid, message))?;
        let config = settings(&claim.compiled, status, &claim.target, &inputs).map_err(broken)?;
        let pinned = status.extensions.pinned.as_ref();
        let commit = pinned.map(|pinned| pinned.commit.clone()).unwrap_or_default();
        let parsed: ObjectId =
            commit.parse().map_err(|_| broken("the pinned commit is malformed".to_owned()))?;
        let uid = &claim.record.metadata.uid;
        let state = status.node_statuses.get(id);
        // Nobody holds the lease while work goes on elsewhere; the last one is that under which it was begun.
        let lease = &status.extensions.lease;
        Ok(Attempt {
            key: claim.key.clone(),
            node: id.clone(),
            attempt: claim.attempt,
            run_id: status.run_id.clone().unwrap_or_else(|| uid.clone()),
            idempotency_key: format!("{uid}/{id}/{}", claim.attempt),
            work: work(uid, id, state),
            fencing_token: lease.as_ref().map_or(status.extensions.last_token, |lease| lease.token),
            provider: claim.target.provider.clone(),
            config,
            inputs,
            declared_outputs: node.outputs.clone(),
            criteria: node.acceptance_criteria.clone(),
            timeout: node.timeout.as_ref().map(crate::model::Duration::span),
            commit,
            run_dir: self.runs_dir.join(uid).join(id.as_str()).join(claim.attempt.to_string()),
            workspace: self.checkouts.of(parsed),
            handle: state.and_then(|state| state.extensions.handle.clone()),
            age: std::time::Duration::ZERO,
            output_contract: promise(claim.capabilities.clone()),
            answer: state.and_then(|state| state.extensions.answer.as_ref()).cloned(),
            brief: Arc::new(brief(&claim.compiled, node)),
        })
    }
}

/// A name for what is to be done: it outlives runners, and changes with each failure and each wish to begin anew.
fn work(uid: &str, id: &NodeId, state: Option<&NodeStatus>) -> String {
    let failures = state.map_or(0, |state| state.extensions.failures);
    match state.and_then(|state| state.extensions.reset_at) {
        Some(reset) => format!("{uid}/{id}/{failures}/{reset}"),
        None => format!("{uid}/{id}/{failures}"),
    }
}

/// What capabilities say to the outputs of a node.
fn promise(capabilities: Vec<capability::Capability>) -> OutputContract {
    let outputs = capabilities.iter().flat_map(|capability| &capability.spec.outputs);
    let hints: Vec<(String, String)> = outputs.map(|output| (output.name.clone(), hint(output))).collect();
    OutputContract::new(hints, move |outputs| capability::check_outputs(outputs, &capabilities))
}

/// What the work of a node is about.
fn brief(compiled: &CompiledPlan, node: &crate::model::Node) -> Brief {
    Brief {
        goal: compiled.goal.as_ref().map(|(_, goal)| goal.clone()),
        plan: compiled.plan.description.clone(),
        plan_context: compiled.plan.context.clone(),
        title: node.name.clone(),
        task: node.description.clone(),
        task_context: node.context.clone(),
        execution_context: compiled.spec.context.clone(),
    }
}
