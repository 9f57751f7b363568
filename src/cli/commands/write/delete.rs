//! `planspec delete`: manifests out of the desired state.

use clap::{Args, ValueEnum};

use crate::cli::Context;
use crate::cli::desired::change::{ChangeKind, DesiredChange};
use crate::cli::desired::input;
use crate::cli::desired::publish::{self, Destination};
use crate::cli::error::{CliError, Exit};
use crate::cli::repo_context::RepoContext;
use crate::cli::view::resolve;
use crate::cli::view::selector::{self, ResourceSelector};
use crate::model::{Kind, Name, Resource, ResourceKey, Spec};
use crate::report::object::short_name;

/// Remove manifests from the desired state
///
/// Only the document of the resource is removed from its file; an empty file is deleted. A resource that does not
/// exist is reported as unchanged.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec delete goal/enable-google-sso
  planspec delete execution sso-exec-001 sso-exec-002 --push
  planspec delete plan/sso-implementation-v2 --cascade --dry-run
  planspec delete -f goal.yaml --dry-run")]
pub(crate) struct DeleteArguments {
    /// A kind and names, or KIND/NAME
    #[arg(value_name = "KIND/NAME", required_unless_present = "filename")]
    targets: Vec<String>,
    /// Remove the resources that this file, directory or standard input (`-`) declares
    #[arg(
        short,
        long,
        alias = "file",
        short_alias = 'd',
        value_name = "FILE|DIR|-",
        conflicts_with = "targets"
    )]
    filename: Vec<String>,
    /// Read subdirectories too
    #[arg(short = 'R', long, requires = "filename")]
    recursive: bool,
    // The values of kubectl: `background` and `foreground` are the same here, as everything goes in one commit.
    /// Also remove what belongs to them: plans and executions of a goal, executions and gates of a plan
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "background")]
    cascade: Option<Cascade>,
    #[command(flatten)]
    destination: Destination,
}

/// What becomes of what belongs to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Cascade {
    /// It goes too
    #[value(alias = "foreground", alias = "true")]
    Background,
    /// It stays
    #[value(alias = "false")]
    Orphan,
}

pub(crate) fn run(arguments: &DeleteArguments, context: &mut Context) -> Result<Exit, CliError> {
    let workspace = RepoContext::open(context)?;
    let base = publish::base(&workspace, &arguments.destination, context)?;
    let mut revision = DesiredChange::on(&workspace, base)?;
    let mut keys = if arguments.filename.is_empty() {
        named(&revision, &selector::many(&arguments.targets)?, context)?
    } else {
        let limits = revision.config().limits.clone();
        let files = input::read_named(&arguments.filename, arguments.recursive, &workspace.here, &limits)?;
        input::parse_all(&files, &limits).resources.iter().map(Resource::key).collect()
    };
    let mut all = keys.clone();
    take_dependents(&mut all, revision.resources());
    let has_dependents = all.len() > keys.len();
    if arguments.cascade == Some(Cascade::Background) {
        keys = all;
    }
    revision.remove(&keys)?;
    for (key, _) in revision.changes.iter().filter(|(_, change)| *change == ChangeKind::Unchanged) {
        context.out.note(format!("there is no {} in the desired state", short_name(key)))?;
    }
    let done = publish::publish(&workspace, &revision, "Delete", &arguments.destination, context)?;
    if !done && has_dependents && arguments.cascade.is_none() {
        context.out.note("`--cascade` also deletes what belongs to it")?;
    }
    Ok(if done { Exit::Done } else { Exit::No })
}

/// Adds what would be left without what it belongs to, over any number of steps.
fn take_dependents(keys: &mut Vec<ResourceKey>, resources: &[Resource]) {
    loop {
        let more: Vec<ResourceKey> = resources
            .iter()
            .filter(|resource| owners(resource).iter().any(|owner| keys.contains(owner)))
            .map(Resource::key)
            .filter(|key| !keys.contains(key))
            .collect();
        if more.is_empty() {
            return;
        }
        keys.extend(more);
    }
}

/// What a resource belongs to.
fn owners(resource: &Resource) -> Vec<ResourceKey> {
    let home = &resource.metadata.namespace;
    match &resource.spec {
        Spec::Plan(plan) => plan.goal_ref.iter().map(|goal| goal.key(Kind::Goal, home)).collect(),
        Spec::Execution(execution) => {
            let goal = execution.goal_ref.iter().map(|goal| goal.key(Kind::Goal, home));
            goal.chain([execution.plan_ref.key(Kind::Plan, home)]).collect()
        }
        Spec::Gate(gate) => {
            let target = &gate.target_ref;
            let namespace = target.namespace.clone().unwrap_or_else(|| home.clone());
            vec![ResourceKey::new(target.kind, namespace, target.name.clone())]
        }
        // Goals are what others belong to; bindings and capabilities serve many.
        _ => Vec::new(),
    }
}

fn named(
    revision: &DesiredChange<'_>,
    targets: &[ResourceSelector],
    context: &mut Context,
) -> Result<Vec<ResourceKey>, CliError> {
    let mut keys = Vec::new();
    for target in targets {
        // `delete goals` would remove all of them, for the lack of one word.
        let (Some(kind), Some(name)) = (target.kind, &target.name) else {
            return Err(CliError::usage("name the resources to delete, as in KIND/NAME"));
        };
        let namespace: Option<&Name> = target.namespace.as_ref().or(context.options.namespace.as_ref());
        let mut found = revision.keys();
        found.retain(|key| resolve::selects(target, namespace, key));
        match (found.as_slice(), namespace) {
            ([key], _) => keys.push(key.clone()),
            // What is gone already counts as done, so that a script can be run again.
            ([], Some(namespace)) => keys.push(ResourceKey::new(kind, namespace.clone(), name.clone())),
            ([], None) => {
                context.out.note(format!("there is no {} `{name}` in the desired state", kind.singular()))?;
            }
            (several, _) => return Err(resolve::ambiguous(name, several)),
        }
    }
    Ok(keys)
}
