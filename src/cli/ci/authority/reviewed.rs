//! Whether an Execution runs what the reviewers of its pull request saw: the graph, and what does the work of each task.

use std::collections::HashMap;
use std::rc::Rc;

use tracing::debug;

use crate::cli::ci::pass_view::PassView;
use crate::cli::desired::{ByKey, Desired, bound_target, by_key, load};
use crate::cli::error::CliError;
use crate::config::ProviderConfig;
use crate::engine::{EngineError, approvable};
use crate::git::ObjectId;
use crate::host::PullRequest;
use crate::model::{
    ApprovedTarget, DerivedExecution, ExecutionSpec, Node, NodeKind, PlanSpec, Resource, ResourceKey, Spec,
};
use crate::plan::binding::TaskToBind;

/// What is said where the Plan is not the one that was merged.
const OTHER_GRAPH: &str = "it runs a different graph than the merge introduced";

/// The states that Executions are compared with. Each is read once: one merge may bring many Executions.
pub(super) struct ReviewedStates<'a> {
    view: &'a PassView,
    /// What the desired branch declares.
    now: ByKey<'a>,
    read: HashMap<ObjectId, Rc<Desired>>,
}

impl<'a> ReviewedStates<'a> {
    pub(super) fn new(view: &'a PassView, now: &'a Desired) -> Self {
        Self { view, now: by_key(&now.resources), read: HashMap::new() }
    }

    fn at(&mut self, commit: ObjectId) -> Result<Rc<Desired>, CliError> {
        if let Some(known) = self.read.get(&commit) {
            return Ok(Rc::clone(known));
        }
        let found = Rc::new(load(&self.view.workspace().repo, commit, &self.view.tips().config)?);
        self.read.insert(commit, Rc::clone(&found));
        Ok(found)
    }

    /// What of an Execution is not as the merge of this pull request left it, in words. Whoever may merge after the review would
    /// else choose what it approved (Invariant 11).
    pub(super) fn difference(
        &mut self,
        execution: &ResourceKey,
        pull: &PullRequest,
    ) -> Result<Option<String>, CliError> {
        let record = self.view.record(execution)?;
        let pin = record.as_ref().and_then(|record| record.execution()?.extensions.pinned.clone());
        let merge = pull.merge_commit.as_deref().and_then(|sha| sha.parse::<ObjectId>().ok());
        let (Some(record), Some(pin), Some(merge)) = (record, pin, merge) else { return other_graph() };
        // What cannot be read was not seen by anybody.
        let Ok(merged) = self.at(merge) else { return other_graph() };
        let Ok(config_then) = self.view.workspace().config_at(Some(merge)) else { return other_graph() };
        let merged = by_key(&merged.resources);
        let Some((reviewed, plan)) = plan_of(&merged, &pin.plan) else { return other_graph() };
        let pinned;
        let mut runs = reviewed;
        if pin.commit != merge.to_string() {
            let Ok(commit) = pin.commit.parse::<ObjectId>() else { return other_graph() };
            pinned = self.at(commit)?;
            let Some((found, spec)) = plan_of(&by_key(&pinned.resources), &pin.plan) else {
                return other_graph();
            };
            if spec.digest() != pin.graph_digest || plan.digest() != pin.graph_digest {
                return other_graph();
            }
            // Its labels are not in the digest, and a rule may choose by them.
            runs = found;
        }
        let spec = match (DerivedExecution::of(&record), merged.get(execution).map(|found| &found.spec)) {
            (Some(derived), _) => derived.spec,
            (None, Some(Spec::Execution(spec))) => spec.clone(),
            (None, _) => return other_graph(),
        };
        let providers = &self.view.tips().config.providers;
        let then = DeclaredTargets { plan: reviewed, declared: &merged, providers: &config_then.providers };
        let now = DeclaredTargets { plan: runs, declared: &self.now, providers };
        // Also of the tasks before the gate: what they gave is not what a review of the pull request saw.
        let tasks = plan.graph.nodes.iter().filter(|node| node.kind == NodeKind::Task);
        let mut changed = None;
        for node in tasks {
            if then.of(node, execution, &spec)? != now.of(node, execution, &spec)? {
                changed = Some(node);
                break;
            }
        }
        debug!(%execution, pull = pull.number, changed = ?changed.map(|node| &node.id), "compared with what was merged");
        Ok(changed.map(|node| {
            format!("node `{}` has another target than the merge introduced; approve with a comment", node.id)
        }))
    }
}

fn other_graph() -> Result<Option<String>, CliError> {
    Ok(Some(OTHER_GRAPH.to_owned()))
}

fn plan_of<'a>(declared: &ByKey<'a>, key: &ResourceKey) -> Option<(&'a Resource, &'a PlanSpec)> {
    let found: &'a Resource = declared.get(key)?;
    match &found.spec {
        Spec::Plan(spec) => Some((found, spec)),
        _ => None,
    }
}

/// What does the work of the tasks of a Plan, as one commit declares it.
struct DeclaredTargets<'a> {
    plan: &'a Resource,
    declared: &'a ByKey<'a>,
    providers: &'a ProviderConfig,
}

impl DeclaredTargets<'_> {
    fn of(
        &self,
        node: &Node,
        execution: &ResourceKey,
        spec: &ExecutionSpec,
    ) -> Result<Option<ApprovedTarget>, EngineError> {
        let plan = self.plan.key();
        let task = TaskToBind {
            node,
            plan: &plan,
            plan_labels: &self.plan.metadata.labels,
            execution: spec,
            namespace: &execution.namespace,
        };
        let Some(target) = bound_target(&task, self.declared) else { return Ok(None) };
        let declared = |key: &ResourceKey| Ok(self.declared.get(key).map(|found| (*found).clone()));
        approvable(self.providers, &task, &target, &declared).map(Some)
    }
}
