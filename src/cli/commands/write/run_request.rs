//! What `planspec run` is to run: a plan, the plan that serves a goal, what a schedule starts, or what an earlier execution ran.

use jiff::Timestamp;
use serde_json::Value;

use crate::cli::Context;
use crate::cli::commands::write::reuse;
use crate::cli::desired::change::DesiredChange;
use crate::cli::error::CliError;
use crate::cli::view::resolve::{self, IN_DESIRED_STATE};
use crate::cli::view::selector;
use crate::graph::Topology;
use crate::model::{JsonMap, Kind, Name, Resource, ResourceKey, Spec};
use crate::plan::goal::{GoalView, PlanView, select_plan};
use crate::report::object::LiveObject;

/// What is to be run.
pub(super) struct RunRequest {
    pub(super) plan: ResourceKey,
    pub(super) goal: Option<ResourceKey>,
    /// Where the execution will be.
    pub(super) namespace: Name,
    /// What a schedule gives to its runs: fields of the spec.
    pub(super) given: JsonMap,
}

impl RunRequest {
    /// What an earlier execution ran.
    pub(super) fn again(earlier: &LiveObject, revision: &DesiredChange<'_>) -> Result<Self, CliError> {
        let name = &earlier.key.name;
        let namespace = earlier.key.namespace.clone();
        let hint = format!("name a plan: planspec run plan/NAME --from-execution {name}");
        let Some(spec) = reuse::spec_of(earlier) else {
            return Err(CliError::no(format!("the manifest of {} is gone", earlier.key)).hint(hint));
        };
        let plan = spec.plan_ref.key(Kind::Plan, &namespace);
        if revision.find(&plan).is_none() {
            return Err(CliError::no(format!("{plan}, which {name} ran, no longer exists")).hint(hint));
        }
        let goal = spec.goal_ref.as_ref().map(|goal| goal.key(Kind::Goal, &namespace));
        Ok(Self { plan, goal, namespace, given: JsonMap::new() })
    }
}

/// The plan that the user names, or the one that serves the goal that they name.
pub(super) fn planned(
    revision: &DesiredChange<'_>,
    target: &str,
    context: &Context,
) -> Result<RunRequest, CliError> {
    let mut known = revision.keys();
    let mut wanted = selector::one(target, Some(Kind::Plan))?;
    if !target.contains('/') {
        // A bare name is whatever can be run under it; where that is a goal and its plan, the answer lists both.
        wanted.kind = None;
        known.retain(|key| matches!(key.kind, Kind::Plan | Kind::Goal | Kind::Schedule));
    }
    let namespace = context.options.namespace.as_ref();
    let key = resolve::one(&known, &wanted, namespace, IN_DESIRED_STATE, revision.found())?;
    let namespace = key.namespace.clone();
    match key.kind {
        Kind::Plan => Ok(RunRequest { plan: key, goal: None, namespace, given: JsonMap::new() }),
        Kind::Goal => {
            let plan = serving_plan(revision, &key, context.now())?;
            Ok(RunRequest { plan, goal: Some(key), namespace, given: JsonMap::new() })
        }
        Kind::Schedule => scheduled(revision, &key, context),
        other => Err(CliError::usage(format!("a {} cannot be run", other.singular()))),
    }
}

/// What a schedule would start now. An Execution like any other, which counts as none of its runs.
fn scheduled(
    revision: &DesiredChange<'_>,
    key: &ResourceKey,
    context: &Context,
) -> Result<RunRequest, CliError> {
    let Some(Spec::Schedule(spec)) = revision.find(key).map(|resource| &resource.spec) else {
        return Err(revision.missing(key));
    };
    let home = &key.namespace;
    let goal = spec.goal_ref.as_ref().map(|goal| goal.key(Kind::Goal, home));
    let plan = match (&spec.plan_ref, &goal) {
        (Some(plan), _) => plan.key(Kind::Plan, home),
        (None, Some(goal)) => serving_plan(revision, goal, context.now())?,
        (None, None) => return Err(CliError::no(format!("{key} names nothing to run"))),
    };
    let mut given = JsonMap::new();
    given.insert("parameters".to_owned(), Value::Object(spec.parameters.clone()));
    if let Some(binding) = &spec.binding_ref {
        given.insert("bindingRef".to_owned(), serde_json::to_value(binding)?);
    }
    Ok(RunRequest { plan, goal, namespace: home.clone(), given })
}

/// The plan that serves a goal, as the next reconcile will choose it too. The last one may not have seen the newest plan.
fn serving_plan(
    revision: &DesiredChange<'_>,
    goal: &ResourceKey,
    now: Timestamp,
) -> Result<ResourceKey, CliError> {
    let keyed: Vec<(ResourceKey, &Resource)> =
        revision.resources().iter().map(|resource| (resource.key(), resource)).collect();
    let plans: Vec<PlanView<'_>> = keyed
        .iter()
        .filter_map(|(key, resource)| match &resource.spec {
            Spec::Plan(spec) => {
                let valid = Topology::build(&spec.graph).is_ok();
                Some(PlanView::of(key, &resource.metadata.labels, spec, valid))
            }
            _ => None,
        })
        .collect();
    let Some(Spec::Goal(spec)) = revision.find(goal).map(|resource| &resource.spec) else {
        return Err(revision.missing(goal));
    };
    let view = GoalView { key: goal, spec, generation: 1, created: now };
    let selection = select_plan(&view, &plans);
    let why = selection.candidates.iter().map(|one| format!("{} is {}", one.plan, one.standing));
    let why = why.collect::<Vec<_>>().join("; ");
    selection.plan.ok_or_else(|| {
        let error = CliError::no(format!("no plan serves {goal}"));
        if why.is_empty() {
            return error.hint(
                "a plan serves it when the goal's planSelector matches its labels, or its goalRef names the goal",
            );
        }
        error.hint(why)
    })
}
