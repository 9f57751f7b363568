//! What would do the work of a task, as an approval is bound to it (Invariant 11). The same on every machine: which providers are
//! at hand here does not count, since whoever approves sits elsewhere.

use std::collections::HashMap;
use std::rc::Rc;

use serde_json::{Map, Value, json};

use crate::config::ProviderConfig;
use crate::engine::EngineError;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::child::{MOST_NESTED, PlanAtWork, execution_at_work, plan_at_work};
use crate::graph::NodeIx;
use crate::model::{
    ApprovedTarget, BindingTarget, Digest, ExecutionSpec, ExecutionStatus, JsonMap, Kind, Name, NodeId,
    NodeKind, Resource, ResourceKey, Spec, StatusRecord,
};
use crate::plan::binding::{BindingView, Resolution, TaskToBind, binding_for, resolve};
use crate::plan::{plan_named, spec_below};
use crate::run::CompiledPlan;
use crate::run::gate::approved_target as digest_target;

/// Schemes whose names stand for settings in the configuration, and the section below `providers` that holds them.
const NAMED: [(&str, &str); 3] = [("agent", "agents"), ("service", "services"), ("mcp", "mcp")];

/// What would do the work of a task; none for what is no task, and where no provider is bound to it.
pub(crate) fn approved_target(
    snapshot: &Snapshot,
    (compiled, status): (&CompiledPlan, &ExecutionStatus),
    ix: NodeIx,
) -> Result<Option<ApprovedTarget>, EngineError> {
    // As declared: whoever approves before a list is known approves the node, and with it each of its instances.
    let declared = compiled.declared(ix).filter(|(node, _)| node.kind == NodeKind::Task);
    let Some((node, ix)) = declared else { return Ok(None) };
    let task = TaskToBind::of(compiled, node);
    let binding = match binding_for(&task) {
        Some(key) => snapshot.cached(&key)?,
        None => None,
    };
    let execution = execution_at_work(snapshot, &compiled.key, status, &node.id)?;
    // Of the same Binding and the same attempt always the same, until the index is brought to other commits.
    let stamp = (binding.as_ref().map(|binding| binding.declared.blob), execution.clone());
    if let Some(known) = snapshot.answers.approved(&compiled.key, ix, &stamp) {
        return Ok(known);
    }
    let at_work = execution.map(|execution| plan_at_work(snapshot, &execution)).transpose()?.flatten();
    let declared = |key: &ResourceKey| Ok(snapshot.cached(key)?.map(|loaded| loaded.resource.clone()));
    let below = |owner: &StatusRecord, node: &NodeId| {
        let Some(status) = owner.execution() else { return Ok(None) };
        let execution = execution_at_work(snapshot, &owner.key(), status, node)?;
        execution.map_or(Ok(None), |execution| plan_at_work(snapshot, &execution))
    };
    let mut plans = NamedPlans::new(&snapshot.config.providers, task.namespace, (&declared, &below));
    let target = declared_target(&task, binding.as_deref().map(|loaded| &loaded.resource));
    let target = target.map(|target| plans.target(task.execution, &target, at_work)).transpose()?;
    // Not where plans are at work below that one: their attempts may change without a trace in the stamp.
    if !plans.deeper {
        snapshot.answers.keep_approved(&compiled.key, ix, stamp, &target);
    }
    Ok(target)
}

/// What is declared under a key.
pub(crate) type DeclaredNow<'a> = dyn Fn(&ResourceKey) -> Result<Option<Resource>, EngineError> + 'a;

/// The plan at work for a node of an Execution.
type AtWork<'a> = dyn Fn(&StatusRecord, &NodeId) -> Result<Option<PlanAtWork>, EngineError> + 'a;

/// The target of a task as it is approved, with these settings of providers; with the plan that it names, where there is one, and
/// what does each task of that.
pub(crate) fn approvable(
    providers: &ProviderConfig,
    task: &TaskToBind<'_>,
    target: &BindingTarget,
    declared: &DeclaredNow<'_>,
) -> Result<ApprovedTarget, EngineError> {
    NamedPlans::new(providers, task.namespace, (declared, &|_, _| Ok(None))).target(
        task.execution,
        target,
        None,
    )
}

/// The plans that do nodes of others. A gate before such a node has reviewers who approve what runs inside, since nobody else
/// is asked before it starts.
struct NamedPlans<'a> {
    providers: &'a ProviderConfig,
    declared: &'a DeclaredNow<'a>,
    at_work: &'a AtWork<'a>,
    /// That of the Execution, in which all that its nodes make is.
    namespace: &'a Name,
    read: HashMap<ResourceKey, Option<Rc<Resource>>>,
    /// From the outermost to the one that is looked at.
    above: Vec<ResourceKey>,
    /// By plan: one that many nodes name is worked out once, or nested ones would be looked at again and again without end.
    known: HashMap<ResourceKey, Digest>,
    /// Whether a plan is at work for a node of one that is at work itself.
    deeper: bool,
}

impl<'a> NamedPlans<'a> {
    fn new(
        providers: &'a ProviderConfig,
        namespace: &'a Name,
        (declared, at_work): (&'a DeclaredNow<'a>, &'a AtWork<'a>),
    ) -> Self {
        let (read, above, known, deeper) = Default::default();
        Self { providers, declared, at_work, namespace, read, above, known, deeper }
    }

    /// `at_work` is the plan that does the task by now, where it has begun.
    fn target(
        &mut self,
        execution: &ExecutionSpec,
        target: &BindingTarget,
        at_work: Option<PlanAtWork>,
    ) -> Result<ApprovedTarget, EngineError> {
        let mut named = named(self.providers, target);
        if let Some(Ok(name)) = plan_named(&target.provider)
            && let Some(digest) = self.plan(execution, name.clone(), at_work)?
        {
            named.insert(format!("plans.{name}"), json!(digest));
        }
        Ok(digest_target(target, &Value::Object(named)))
    }

    /// The digest of a plan with what does its tasks; none of one that is not there, or that would run itself.
    fn plan(
        &mut self,
        execution: &ExecutionSpec,
        name: Name,
        at_work: Option<PlanAtWork>,
    ) -> Result<Option<Digest>, EngineError> {
        let key = ResourceKey::new(Kind::Plan, self.namespace.clone(), name.clone());
        // One that is at work may be of another time than what is declared.
        if let (None, Some(known)) = (&at_work, self.known.get(&key)) {
            return Ok(Some(known.clone()));
        }
        // Both are refused when the node would start.
        if self.above.contains(&key) || self.above.len() >= MOST_NESTED {
            return Ok(None);
        }
        let (resource, below_it) = match at_work {
            Some(PlanAtWork { record, plan }) if plan.key() == key => (Some(Rc::new(plan)), Some(record)),
            _ => (self.resource(&key)?, None),
        };
        let Some(resource) = resource else { return Ok(None) };
        let Spec::Plan(spec) = &resource.spec else { return Ok(None) };
        let below = spec_below(execution, name);
        self.above.push(key.clone());
        let mut targets = Map::new();
        for node in spec.graph.nodes.iter().filter(|node| node.kind == NodeKind::Task) {
            let labels = &resource.metadata.labels;
            let task = TaskToBind {
                node,
                plan: &key,
                plan_labels: labels,
                execution: &below,
                namespace: self.namespace,
            };
            let binding = match binding_for(&task) {
                Some(key) => self.resource(&key)?,
                None => None,
            };
            if let Some(target) = declared_target(&task, binding.as_deref()) {
                let at_work = match (&below_it, plan_named(&target.provider)) {
                    (Some(owner), Some(_)) => (self.at_work)(owner, &node.id)?,
                    _ => None,
                };
                self.deeper |= at_work.is_some();
                targets.insert(node.id.to_string(), json!(self.target(&below, &target, at_work)?));
            }
        }
        self.above.pop();
        let digest = Digest::of_value(&json!({ "spec": spec, "targets": targets }));
        if below_it.is_none() {
            self.known.insert(key, digest.clone());
        }
        Ok(Some(digest))
    }

    fn resource(&mut self, key: &ResourceKey) -> Result<Option<Rc<Resource>>, EngineError> {
        if let Some(known) = self.read.get(key) {
            return Ok(known.clone());
        }
        let found = (self.declared)(key)?.map(Rc::new);
        self.read.insert(key.clone(), found.clone());
        Ok(found)
    }
}

/// The target that the Binding of a task names now.
pub(crate) fn bound_target(
    snapshot: &Snapshot,
    compiled: &CompiledPlan,
    ix: NodeIx,
) -> Result<Option<BindingTarget>, EngineError> {
    Ok(resolution(snapshot, compiled, ix)?.and_then(Resolution::target))
}

/// All that may do the work of a task as its Binding is now; several where its rules are in conflict.
pub(crate) fn candidates(
    snapshot: &Snapshot,
    compiled: &CompiledPlan,
    ix: NodeIx,
) -> Result<Vec<BindingTarget>, EngineError> {
    Ok(resolution(snapshot, compiled, ix)?.map(Resolution::candidates).unwrap_or_default())
}

fn resolution(
    snapshot: &Snapshot,
    compiled: &CompiledPlan,
    ix: NodeIx,
) -> Result<Option<Resolution>, EngineError> {
    let Some(node) = compiled.node(ix) else { return Ok(None) };
    let task = TaskToBind::of(compiled, node);
    let binding = match binding_for(&task) {
        Some(key) => snapshot.cached(&key)?,
        None => None,
    };
    Ok(Some(declared_resolution(&task, binding.as_deref().map(|loaded| &loaded.resource))))
}

/// The settings of a target, on top of those that the configuration has for the name of an agent.
pub(crate) fn effective_settings(providers: &ProviderConfig, target: &BindingTarget) -> JsonMap {
    let agent = target.provider.strip_prefix("agent://");
    let named = agent.and_then(|name| providers.sections.get("agents")?.get(name));
    let mut settings = named.and_then(Value::as_object).cloned().unwrap_or_default();
    settings.extend(target.config.clone());
    settings
}

fn declared_target(task: &TaskToBind<'_>, binding: Option<&Resource>) -> Option<BindingTarget> {
    declared_resolution(task, binding).target()
}

fn declared_resolution(task: &TaskToBind<'_>, binding: Option<&Resource>) -> Resolution {
    let explained = resolve(task, |_| match binding.map(|binding| &binding.spec) {
        // Not the generation: a rule for another task may have changed.
        Some(Spec::Binding(spec)) => Some(BindingView { spec, generation: 0 }),
        _ => None,
    });
    explained.resolution
}

/// The settings in the configuration that a target names, also within its own settings, as in `verify: agent://reviewer`, and
/// those that these name in turn.
fn named(providers: &ProviderConfig, target: &BindingTarget) -> Map<String, Value> {
    let mut found = Map::new();
    let mut open: Vec<&Value> = target.config.values().collect();
    open.extend(note(providers, &target.provider, &mut found));
    while let Some(value) = open.pop() {
        match value {
            Value::String(text) => open.extend(note(providers, text, &mut found)),
            Value::Array(items) => open.extend(items),
            Value::Object(fields) => open.extend(fields.values()),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    found
}

/// Notes the settings that a text names, and gives them where they were not noted yet.
fn note<'p>(providers: &'p ProviderConfig, text: &str, found: &mut Map<String, Value>) -> Option<&'p Value> {
    let (scheme, rest) = text.split_once("://")?;
    let name = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (_, section) = NAMED.iter().find(|(known, _)| *known == scheme)?;
    let settings = providers.sections.get(*section)?.get(name)?;
    found.insert(format!("{section}.{name}"), settings.clone()).is_none().then_some(settings)
}
