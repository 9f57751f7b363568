//! `planspec run -f FILE --here`: a plan that is tried before anybody commits it. Its record lives in a throw-away
//! repository; its tasks work in the working tree itself, where their author can see what they do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::cli::Context;
use crate::cli::commands::write::run::{RunArguments, manifest_text, parsed};
use crate::cli::commands::write::run_request::RunRequest;
use crate::cli::desired::input::{self, InputFile};
use crate::cli::desired::{self, Desired};
use crate::cli::drive::{cores, drive, runner_name};
use crate::cli::error::{CliError, Exit};
use crate::cli::findings::print_findings;
use crate::cli::repo_context::{RepoContext, checked_config, here, identified};
use crate::cli::view::selector;
use crate::config::{CONFIG_FILE, Config};
use crate::diagnostic::{Diagnostic, Severity};
use crate::engine::ReconcileOptions;
use crate::git::{Repo, Signature};
use crate::manifest;
use crate::markup;
use crate::model::{JsonMap, Kind, NodeKind, Resource, Spec};
use crate::provider::without_worker;

const BRANCH: &str = "main";

pub(crate) fn run(arguments: &RunArguments, context: &mut Context) -> Result<Exit, CliError> {
    // A CI job may hold secrets, and the file may come from anybody who opens a pull request (Invariant 12).
    if context.environment.ci().is_some() {
        return Err(CliError::no("`--here` runs what nobody has merged, so it is refused in CI")
            .hint("`planspec reconcile` runs what is on the desired branch"));
    }
    let here = here(context)?;
    let tree = RepoContext::open(context).ok().and_then(|found| found.repo.work_tree().map(Path::to_owned));
    let tree = tree.unwrap_or_else(|| here.clone());
    let config = checked_config(manifest::read_config(|name| {
        Ok::<_, CliError>(std::fs::read(tree.join(name)).ok())
    })?)?;
    let files = input::read_named(&arguments.filename, false, &here, &config.limits)?;
    let Desired { mut resources, mut diagnostics } = input::parse_all(&files, &config.limits);
    let mut edits = contents(&files, &config)?;
    let broken = |found: &Diagnostic| found.severity == Severity::Error;
    if !diagnostics.iter().any(broken) && !has_execution(&resources) {
        let text = execution(arguments, &resources, context)?;
        resources.push(parsed(&text, &config)?);
        edits.insert("planspec/execution.yaml".to_owned(), Some(text.into_bytes()));
    }
    let read = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.bytes.clone());
    diagnostics.extend(desired::check_references(&resources, &config.limits, read));
    if diagnostics.iter().any(broken) {
        print_findings(&diagnostics, "the files", read, context)?;
        return Ok(Exit::No);
    }
    refuse_gates(&resources)?;
    drive_here(&edits, &config, tree, context)
}

fn has_execution(resources: &[Resource]) -> bool {
    resources.iter().any(|resource| matches!(resource.spec, Spec::Execution(_)))
}

/// An approval outlives the command that asked for it; here nothing would.
fn refuse_gates(resources: &[Resource]) -> Result<(), CliError> {
    let plans = resources.iter().filter_map(|resource| match &resource.spec {
        Spec::Plan(plan) => Some(plan),
        _ => None,
    });
    let mut nodes = plans.flat_map(|plan| &plan.graph.nodes);
    match nodes.find(|node| node.kind == NodeKind::Gate) {
        Some(gate) => Err(CliError::no(format!("`--here` cannot wait at the gate `{}`", gate.id))
            .hint("nothing would keep the approval; `planspec apply -f FILE`, then `planspec run`")),
        None => Ok(()),
    }
}

/// The Execution of the plan that the user names, or of the only one.
fn execution(
    arguments: &RunArguments,
    resources: &[Resource],
    context: &mut Context,
) -> Result<String, CliError> {
    let wanted =
        arguments.target.as_deref().map(|target| selector::one(target, Some(Kind::Plan))).transpose()?;
    let name = wanted.and_then(|wanted| wanted.name);
    let mut plans = resources.iter().filter_map(|resource| match &resource.spec {
        Spec::Plan(plan) => Some((resource.key(), plan)),
        _ => None,
    });
    let mut fitting = plans.by_ref().filter(|(key, _)| name.as_ref().is_none_or(|name| key.name == *name));
    let (plan, spec) = match (fitting.next(), fitting.next()) {
        (Some(found), None) => found,
        (Some(_), Some(_)) => {
            return Err(
                CliError::usage("the files hold several plans").hint("name one: planspec run plan/NAME -f …")
            );
        }
        (None, _) => return Err(CliError::no("the files hold no such plan")),
    };
    // Nothing else is in the repository that it could be mistaken for.
    let name = arguments.name.clone().unwrap_or_else(|| plan.name.clone());
    let parameters = arguments.parameters.collect(JsonMap::new(), &spec.parameters, context)?;
    let namespace = plan.namespace.clone();
    manifest_text(
        arguments,
        &RunRequest { plan, goal: None, namespace, given: JsonMap::new() },
        JsonMap::new(),
        parameters,
        None,
        &name,
    )
}

/// What the throw-away repository holds: the files, and the configuration without what belongs to the other repository.
fn contents(files: &[InputFile], config: &Config) -> Result<BTreeMap<String, Option<Vec<u8>>>, CliError> {
    let mut config =
        Config { paths: Vec::new(), exclude: Vec::new(), desired_branch: None, ..config.clone() };
    // Here is here: no workflow knows what stands in these files.
    config.providers.sections = without_worker(&config.providers.sections);
    let mut value = serde_json::to_value(&config)?;
    drop_nulls(&mut value);
    let text = markup::yaml(&value)
        .map_err(|error| CliError::bug(format!("{CONFIG_FILE} cannot be written: {error}")))?;
    let mut edits = BTreeMap::from([(CONFIG_FILE.to_owned(), Some(text.into_bytes()))]);
    for (index, file) in files.iter().enumerate() {
        // By number, because a name may lead out of the tree; standard input has none.
        let ending = if file.path.ends_with(".json") { "json" } else { "yaml" };
        edits.insert(format!("planspec/{index}.{ending}"), Some(file.bytes.clone()));
    }
    Ok(edits)
}

fn drop_nulls(value: &mut serde_json::Value) {
    if let serde_json::Value::Object(map) = value {
        map.retain(|_, inner| !inner.is_null());
        map.values_mut().for_each(drop_nulls);
    }
}

fn drive_here(
    edits: &BTreeMap<String, Option<Vec<u8>>>,
    config: &Config,
    tree: PathBuf,
    context: &mut Context,
) -> Result<Exit, CliError> {
    tracing::debug!(tree = %tree.display(), files = edits.len(), "running from a throw-away repository");
    let failed = |error: std::io::Error| CliError::caused("cannot make a folder for temporary files", &error);
    let throw_away = tempfile::Builder::new().prefix("planspec-here-").tempdir().map_err(failed)?;
    let repo = identified(Repo::init(throw_away.path(), BRANCH)?, &context.environment);
    repo.never_sign()?;
    // Nobody reads these commits; their author need not be configured.
    let author = Signature { name: "PlanSpec".to_owned(), email: "planspec@localhost".to_owned() };
    repo.set_local_identity(&author)?;
    repo.commit_on_branch(BRANCH, edits, "Try it here", &author, context.now())?;
    // Whoever tries a plan wants to see what its tasks say; afterwards there is no log to ask for.
    context.options.verbose = context.options.verbose.max(1);
    context.options.directory = Some(throw_away.path().to_owned());
    context.options.repo = None;
    context.options.reference = None;
    context.options.remote = None;
    let options = ReconcileOptions {
        default_jobs: config.jobs.map_or_else(cores, |jobs| jobs as usize),
        runner: runner_name(),
        stream_output: true,
        work_here: Some(tree),
        ..ReconcileOptions::default()
    };
    let summary = drive(RepoContext::open(context)?, options, context)?;
    if summary.waiting_count > 0 {
        context.out.note("it waits, and `--here` keeps nothing: commit the plan to go on")?;
    }
    let done = summary.failed.is_empty() && summary.waiting_count == 0 && !summary.interrupted;
    Ok(if done { Exit::Done } else { Exit::No })
}
