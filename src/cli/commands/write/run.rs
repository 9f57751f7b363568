//! `planspec run`: an Execution of a plan, or of the plan that serves a goal.

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::Context;
use crate::cli::commands::read::wait::{self, WaitCondition};
use crate::cli::commands::write::parameters::ParameterArguments;
use crate::cli::commands::write::reuse;
use crate::cli::commands::write::run_request::{RunRequest, planned};
use crate::cli::desired::change::{ChangeKind, DesiredChange};
use crate::cli::desired::publish::{self, Destination};
use crate::cli::drive::{PassBounds, drive};
use crate::cli::error::{CliError, Exit};
use crate::cli::repo_context::RepoContext;
use crate::cli::view::inventory::Inventory;
use crate::cli::view::local_changes::LocalChanges;
use crate::cli::view::selector::ResourceSelector;
use crate::config::Config;
use crate::manifest;
use crate::markup;
use crate::model::{API_VERSION, Duration, FROM_EXECUTION, JsonMap, Kind, Name, Resource, ResourceKey, Spec};
use crate::report::object::LiveObject;
use crate::report::text;

/// The longest name (RFC 1123 label).
const NAME_LIMIT: usize = 63;

/// Run a plan, or the plan that serves a goal: commits an Execution
///
/// `planspec reconcile` then drives it. With `--name`, running the same command again changes nothing.
///
/// With `--from-execution`, the nodes that succeeded in an earlier execution are reused where their definition, inputs and
/// provider are the same and everything before them is reused as well. The new execution gets the same parameters, bindings
/// and context, unless options say otherwise; without a goal or plan, it runs the same plan.
///
/// With `-f FILE --here`, the plan in a file runs at once, in the working tree as it is: to try it, before it is committed.
/// The record of the run is thrown away, and the exit code is 1 unless it succeeded.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec run -f hello.yaml --here
  planspec run goal/enable-google-sso
  planspec run plan/sso-implementation-v2 -p dryRun:=true -p 'tags:=[\"a\", \"b\"]'
  planspec run goal/enable-google-sso --name sso-exec-002 --push --wait
  planspec run --from-execution sso-exec-001
  planspec run plan/sso-implementation-v3 --from-execution sso-exec-001 -o json")]
pub(crate) struct RunArguments {
    /// goal/NAME, plan/NAME, or schedule/NAME for a run now
    #[arg(value_name = "goal/NAME|plan/NAME|schedule/NAME", required_unless_present_any = ["from_execution", "filename"])]
    pub(super) target: Option<String>,
    /// With `--here`: the file that holds the plan
    #[arg(short, long = "filename", alias = "file", value_name = "FILE|DIR|-", requires = "here")]
    pub(super) filename: Vec<String>,
    /// Run the plan in a file at once, in this working tree; nothing is committed
    #[arg(long, requires = "filename", conflicts_with_all = ["from_execution", "wait", "push", "pr", "dry_run"])]
    pub(crate) here: bool,
    /// Reuse what succeeded in this execution
    #[arg(long, value_name = "EXECUTION")]
    from_execution: Option<String>,
    #[command(flatten)]
    pub(super) parameters: ParameterArguments,
    /// The name of the Execution; by default generated from the plan's name and the time
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<Name>,
    /// The Binding to use
    #[arg(long, value_name = "NAME")]
    binding: Option<Name>,
    /// Wait until it has ended; exit with 1 unless it succeeded. Without a remote, drive it from here
    #[arg(long)]
    wait: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", requires = "wait")]
    timeout: Option<Duration>,
    #[command(flatten)]
    destination: Destination,
}

fn nothing_named(no_file: bool) -> CliError {
    match no_file {
        true => CliError::usage("name a goal or a plan to run"),
        // clap does not ask for `--here` beside what it conflicts with.
        false => CliError::usage("a file is run with `--here`, which commits nothing and has no `--dry-run`")
            .hint("`planspec validate -f FILE` checks it, `planspec run -f FILE --here` runs it"),
    }
}

pub(crate) fn run(arguments: &RunArguments, context: &mut Context) -> Result<Exit, CliError> {
    let workspace = RepoContext::open(context)?;
    let base = publish::base(&workspace, &arguments.destination, context)?;
    let mut revision = DesiredChange::on(&workspace, base)?;
    // Only reuse needs the records, which on a remote have to be fetched.
    let inventory = match &arguments.from_execution {
        Some(_) => Some(Inventory::load(&workspace, &workspace.tips(context)?)?),
        None => None,
    };
    let mut planned = match &arguments.target {
        Some(target) => {
            let found = planned(&revision, target, context);
            Some(LocalChanges::hinted(found, &workspace, revision.config())?)
        }
        None => None,
    };
    let earlier = match (&inventory, &arguments.from_execution) {
        (Some(inventory), Some(named)) => {
            let namespace = planned.as_ref().map(|planned| &planned.namespace);
            let earlier = reuse::earlier(inventory, named, namespace, context)?;
            if planned.is_none() {
                planned = Some(RunRequest::again(&earlier, &revision)?);
            }
            Some(earlier)
        }
        _ => None,
    };
    let Some(planned) = planned else { return Err(nothing_named(arguments.filename.is_empty())) };
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => free_name(&planned, &revision, context.now())?,
    };
    let namespace = planned.namespace.clone();
    let text = execution_text(arguments, &planned, earlier.as_ref(), &revision, &name, context)?;
    let execution = parsed(&text, revision.config())?;
    if let (Some(inventory), Some(earlier)) = (&inventory, &earlier) {
        revision.reuse = reuse::forecast((inventory, &workspace, &*context), &revision, &execution, earlier);
    }
    let from = |resource: &Resource| resource.metadata.annotations.get(FROM_EXECUTION).cloned();
    // `--name` makes the command repeatable: the same again changes nothing.
    let same = |old: &Resource| old.spec == execution.spec && from(old) == from(&execution);
    let same_name = revision.find(&execution.key()).map(same);
    match same_name {
        Some(true) => revision.changes.push((execution.key(), ChangeKind::Unchanged)),
        // The spec of an Execution never changes (Invariant 9).
        Some(false) => {
            return Err(CliError::no(format!("execution `{name}` already exists and runs something else"))
                .hint("use another `--name`, or leave it out"));
        }
        None => revision.put(&execution, &text)?,
    }
    if !publish::publish(&workspace, &revision, "Run", &arguments.destination, context)? {
        return Ok(Exit::No);
    }
    if !arguments.wait || arguments.destination.dry_run {
        return Ok(Exit::Done);
    }
    let target =
        ResourceSelector { namespace: Some(namespace), kind: Some(Kind::Execution), name: Some(name) };
    see_to_it(&workspace, &target, arguments, context)?;
    let ended = WaitCondition::Phase(vec!["Succeeded".to_owned()]);
    wait::wait(&workspace, &[target], &ended, arguments.timeout.as_ref(), context)
}

/// Before the wait: drives what nobody else does, or says who will.
fn see_to_it(
    workspace: &RepoContext,
    target: &ResourceSelector,
    arguments: &RunArguments,
    context: &mut Context,
) -> Result<(), CliError> {
    match &workspace.remote {
        // A reconcile takes the branch of the remote (Invariant 13), so that this wait would never end.
        Some(remote) if !arguments.destination.push && !arguments.destination.pr => {
            let note = format!(
                "it is not pushed to {}: `git push`, then a `planspec reconcile` drives it",
                remote.name()
            );
            context.out.note(text::line(&note))?;
        }
        // Its runners have the secrets and the tools; this machine is asked for by a command of its own.
        Some(remote) => {
            let note = format!(
                "waiting for a runner of {}; `planspec reconcile` drives it from here",
                remote.name()
            );
            context.out.note(text::line(&note))?;
        }
        None => {
            let inventory = Inventory::load(workspace, &workspace.tips(context)?)?;
            let recorded = inventory.find(target, context)?.and_then(|object| object.record);
            let lease = recorded.and_then(|record| record.execution()?.extensions.lease.clone());
            if let Some(lease) = lease {
                // `run` again with the name of one that is under way.
                context.out.note(text::line(&format!("driven by {}", lease.holder)))?;
                return context.out.flush();
            }
            context.out.note("nobody else drives it: reconciling here")?;
            context.out.flush()?;
            let bounds = PassBounds::within(arguments.timeout.clone());
            drive(RepoContext::open(context)?, bounds.options(context), context)?;
            // Of all that the pass drove, only this one is asked for: a Schedule always waits for its next time.
            if !has_ended(&RepoContext::open(context)?, target, context)? {
                context.out.note("still waiting; after the answer, `planspec reconcile` goes on")?;
            }
        }
    }
    // What was said has to be on the screen before a wait that may take hours.
    context.out.flush()
}

fn has_ended(
    workspace: &RepoContext,
    target: &ResourceSelector,
    context: &mut Context,
) -> Result<bool, CliError> {
    let inventory = Inventory::load(workspace, &workspace.tips(context)?)?;
    let recorded = inventory.find(target, context)?.and_then(|object| object.record);
    Ok(recorded.is_some_and(|record| record.execution().is_some_and(|now| now.phase.is_terminal())))
}

/// A generated name that no Execution has: each `run` without a name is a run of its own, also within one second.
fn free_name(planned: &RunRequest, revision: &DesiredChange<'_>, now: Timestamp) -> Result<Name, CliError> {
    let mut number = 1_u32;
    loop {
        let name = generated_name(&planned.plan.name, now, number)?;
        let namespace = planned.namespace.clone();
        let key = ResourceKey { namespace, kind: Kind::Execution, name: name.clone() };
        if revision.find(&key).is_none() {
            return Ok(name);
        }
        number += 1;
    }
}

/// `<plan>-<date>-<time>`, cut to the length of a name; all but the first of a second end with their number.
fn generated_name(plan: &Name, now: Timestamp, number: u32) -> Result<Name, CliError> {
    let mut suffix = now.strftime("-%Y%m%d-%H%M%S").to_string();
    if number > 1 {
        suffix.push_str(&format!("-{number}"));
    }
    let stem: String = plan.as_str().chars().take(NAME_LIMIT.saturating_sub(suffix.len())).collect();
    let name = format!("{}{suffix}", stem.trim_end_matches('-'));
    Name::new(&name).map_err(|error| CliError::bug(format!("the name `{name}` {error}")))
}

/// The manifest of the new Execution, with what it takes over from an earlier one.
fn execution_text(
    arguments: &RunArguments,
    planned: &RunRequest,
    earlier: Option<&LiveObject>,
    revision: &DesiredChange<'_>,
    name: &Name,
    context: &mut Context,
) -> Result<String, CliError> {
    let mut spec = earlier
        .and_then(|earlier| inherited(earlier, &planned.plan, revision))
        .unwrap_or(planned.given.clone());
    let given = match spec.remove("parameters") {
        Some(Value::Object(given)) => given,
        _ => JsonMap::new(),
    };
    let declared = match revision.find(&planned.plan).map(|plan| &plan.spec) {
        Some(Spec::Plan(plan)) => plan.parameters.as_slice(),
        _ => &[],
    };
    let parameters = arguments.parameters.collect(given, declared, context)?;
    manifest_text(arguments, planned, spec, parameters, earlier, name)
}

/// The manifest of an Execution; `spec` is what it takes over from an earlier one.
pub(super) fn manifest_text(
    arguments: &RunArguments,
    planned: &RunRequest,
    mut spec: JsonMap,
    parameters: JsonMap,
    earlier: Option<&LiveObject>,
    name: &Name,
) -> Result<String, CliError> {
    let RunRequest { plan, goal, namespace, given: _ } = planned;
    let reference = |key: &ResourceKey| {
        // Left out where it is the default, as a person would write it.
        if key.namespace == *namespace {
            json!({ "name": key.name })
        } else {
            json!({ "name": key.name, "namespace": key.namespace })
        }
    };
    spec.insert("planRef".to_owned(), reference(plan));
    if let Some(goal) = goal {
        spec.insert("goalRef".to_owned(), reference(goal));
    }
    if let Some(binding) = &arguments.binding {
        spec.insert("bindingRef".to_owned(), json!({ "name": binding }));
    }
    if !parameters.is_empty() {
        spec.insert("parameters".to_owned(), Value::Object(parameters));
    }
    let metadata = match earlier {
        Some(earlier) => {
            let annotations = json!({ FROM_EXECUTION: earlier.key.name });
            json!({ "name": name, "namespace": namespace, "annotations": annotations })
        }
        None => json!({ "name": name, "namespace": namespace }),
    };
    let value = json!({
        "apiVersion": API_VERSION,
        "kind": Kind::Execution,
        "metadata": metadata,
        "spec": spec,
    });
    markup::yaml(&value).map_err(|error| CliError::bug(format!("an Execution cannot be written: {error}")))
}

/// What an earlier execution was given besides its plan and its goal; Bindings of nodes only as far as the plan has them.
fn inherited(earlier: &LiveObject, plan: &ResourceKey, revision: &DesiredChange<'_>) -> Option<JsonMap> {
    let mut spec = reuse::spec_of(earlier)?.clone();
    if let Some(Spec::Plan(plan)) = revision.find(plan).map(|resource| &resource.spec) {
        // A Binding for a node that the plan does not have is an error of validation.
        spec.node_bindings.retain(|id, _| plan.graph.nodes.iter().any(|node| node.id == *id));
    }
    // The goal is the one of this run, which may have none.
    spec.goal_ref = None;
    match serde_json::to_value(spec).ok()? {
        Value::Object(spec) => Some(spec),
        _ => None,
    }
}

pub(super) fn parsed(text: &str, config: &Config) -> Result<Resource, CliError> {
    // Read back like any manifest, so that nothing is committed that a reconcile would refuse.
    let parsed = manifest::parse("execution.yaml", text.as_bytes(), &config.limits);
    let found = parsed.diagnostics.into_iter().next();
    parsed.resources.into_iter().next().ok_or_else(|| {
        CliError::usage(found.map_or("the execution is not valid".to_owned(), |found| found.message))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_name_is_a_name_however_long_the_plan_s_is() {
        let now = "2026-03-04T12:03:41Z".parse().unwrap();
        let name =
            |plan: &str, number| generated_name(&Name::new(plan).unwrap(), now, number).unwrap().to_string();
        assert_eq!(name("sso", 1), "sso-20260304-120341");
        assert_eq!(name("sso", 2), "sso-20260304-120341-2");
        assert_eq!(name(&"x".repeat(63), 1).len(), 63);
        assert_eq!(name(&"x".repeat(63), 12).len(), 63);
    }
}
