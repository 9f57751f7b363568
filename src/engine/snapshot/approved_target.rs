//! What would do the work of a task, as an approval is bound to it (Invariant 11). The same on every machine: which providers are
//! at hand here does not count, since whoever approves sits elsewhere.

use serde_json::{Map, Value};

use crate::config::ProviderConfig;
use crate::engine::EngineError;
use crate::engine::snapshot::{LoadedResource, Snapshot};
use crate::graph::NodeIx;
use crate::model::{ApprovedTarget, BindingTarget, JsonMap, NodeKind, Spec};
use crate::plan::ProviderResolution;
use crate::plan::binding::{BindingView, TaskToBind, binding_for, resolve};
use crate::run::CompiledPlan;
use crate::run::gate::approved_target as digest_target;

/// Schemes whose names stand for settings in the configuration, and the section below `providers` that holds them.
const NAMED: [(&str, &str); 3] = [("agent", "agents"), ("service", "services"), ("mcp", "mcp")];

/// What would do the work of a task; none for what is no task, and where no provider is bound to it.
pub(crate) fn approved_target(
    snapshot: &Snapshot,
    compiled: &CompiledPlan,
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
    // Of the same Binding always the same, until the index is brought to other commits.
    let blob = binding.as_ref().map(|binding| binding.declared.blob);
    if let Some(known) = snapshot.answers.approved(&compiled.key, ix, blob) {
        return Ok(known);
    }
    let target = declared_target(&task, binding.as_deref());
    let target = target.map(|target| approvable(&snapshot.config.providers, &target));
    snapshot.answers.keep_approved(&compiled.key, ix, blob, &target);
    Ok(target)
}

/// A target as it is approved, with these settings of providers.
pub(crate) fn approvable(providers: &ProviderConfig, target: &BindingTarget) -> ApprovedTarget {
    digest_target(target, &named(providers, target))
}

/// The target that the Binding of a task names now.
pub(crate) fn bound_target(
    snapshot: &Snapshot,
    compiled: &CompiledPlan,
    ix: NodeIx,
) -> Result<Option<BindingTarget>, EngineError> {
    let Some(node) = compiled.node(ix) else { return Ok(None) };
    let task = TaskToBind::of(compiled, node);
    let binding = match binding_for(&task) {
        Some(key) => snapshot.cached(&key)?,
        None => None,
    };
    Ok(declared_target(&task, binding.as_deref()))
}

/// The settings of a target, on top of those that the configuration has for the name of an agent.
pub(crate) fn effective_settings(providers: &ProviderConfig, target: &BindingTarget) -> JsonMap {
    let agent = target.provider.strip_prefix("agent://");
    let named = agent.and_then(|name| providers.sections.get("agents")?.get(name));
    let mut settings = named.and_then(Value::as_object).cloned().unwrap_or_default();
    settings.extend(target.config.clone());
    settings
}

fn declared_target(task: &TaskToBind<'_>, binding: Option<&LoadedResource>) -> Option<BindingTarget> {
    let explained = resolve(task, |_| match binding.map(|binding| &binding.resource.spec) {
        // Not the generation: a rule for another task may have changed.
        Some(Spec::Binding(spec)) => Some(BindingView { spec, generation: 0 }),
        _ => None,
    });
    match ProviderResolution::from(explained.resolution) {
        ProviderResolution::Bound(_, target) => Some(target),
        ProviderResolution::Not(..) | ProviderResolution::Later(_) => None,
    }
}

/// The settings in the configuration that a target names, also within its own settings, as in `verify: agent://reviewer`.
fn named(providers: &ProviderConfig, target: &BindingTarget) -> Value {
    let mut found = Map::new();
    note(providers, &target.provider, &mut found);
    let mut open: Vec<&Value> = target.config.values().collect();
    while let Some(value) = open.pop() {
        match value {
            Value::String(text) => note(providers, text, &mut found),
            Value::Array(items) => open.extend(items),
            Value::Object(fields) => open.extend(fields.values()),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    Value::Object(found)
}

fn note(providers: &ProviderConfig, text: &str, found: &mut Map<String, Value>) {
    let Some((scheme, rest)) = text.split_once("://") else { return };
    let name = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let section = NAMED.iter().find(|(known, _)| *known == scheme).map(|(_, section)| *section);
    let settings = section.and_then(|section| providers.sections.get(section)?.get(name));
    if let (Some(section), Some(settings)) = (section, settings) {
        found.insert(format!("{section}.{name}"), settings.clone());
    }
}
