//! `planspec validate`: all diagnostics, nothing executed.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;

use crate::cli::Context;
use crate::cli::desired::bindings::check_bindings;
use crate::cli::desired::code_owners::{self, OwnedTree};
use crate::cli::desired::input::{self, InputFile};
use crate::cli::desired::nested_plans::any_nested;
use crate::cli::desired::worker_workflow;
use crate::cli::desired::{self, Desired, DesiredFacts};
use crate::cli::drive::registry_to_check;
use crate::cli::error::{CliError, Exit};
use crate::cli::findings::print_findings;
use crate::cli::repo_context::{Repair, RepoContext, config_here, here};
use crate::config::Config;
use crate::diagnostic::{Diagnostic, Severity};
use crate::git::{ObjectId, Repo};
use crate::manifest;
use crate::model::{Resource, ResourceKey};

/// Check manifests: syntax, schema, references and graphs; nothing is executed
///
/// Without `-f`, the working tree is checked, or the commit that `--ref` names. Exits with 1 when there are
/// errors.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec validate
  planspec validate -f goal.yaml
  planspec validate -f planspec/ -R -o sarif > findings.sarif
  planspec validate --ref HEAD --base origin/main")]
pub(crate) struct ValidateArguments {
    /// The same as `-f`
    #[arg(value_name = "FILE|DIR|-")]
    files: Vec<String>,
    /// A file, a directory, or `-` for standard input
    #[arg(short, long = "filename", alias = "file", short_alias = 'd', value_name = "FILE|DIR|-")]
    filename: Vec<String>,
    /// Read subdirectories too
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Also check for forbidden changes since this commit
    #[arg(long, value_name = "REV", conflicts_with_all = ["files", "filename"])]
    base: Option<String>,
    /// Exit with 1 even if there are only warnings
    #[arg(long)]
    deny_warnings: bool,
}

/// What is checked, and how to read it again to show excerpts.
struct ValidationInput {
    diagnostics: Vec<Diagnostic>,
    resources: usize,
    texts: CheckedTexts,
    config: Config,
}

/// Where the texts are that were checked.
enum CheckedTexts {
    /// At hand, by path.
    Read(HashMap<String, Vec<u8>>),
    /// Below a directory.
    Tree(PathBuf),
    /// In a commit.
    Commit(Repo, ObjectId),
}

pub(crate) fn run(arguments: &ValidateArguments, context: &mut Context) -> Result<Exit, CliError> {
    let named = [arguments.files.as_slice(), &arguments.filename].concat();
    let checked = if named.is_empty() {
        check_repository(arguments, context)?
    } else {
        check_files(&named, arguments.recursive, context)?
    };
    let ValidationInput { mut diagnostics, resources, texts, config } = checked;
    manifest::drop_consequences(&mut diagnostics);
    let read = |path: &str| match &texts {
        CheckedTexts::Read(texts) => texts.get(path).cloned(),
        CheckedTexts::Tree(root) => input::read_text(root, path, &config.limits),
        CheckedTexts::Commit(repo, id) => desired::read_at(repo, *id, path, &config.limits),
    };
    print_findings(&diagnostics, &counted(resources), read, context)?;
    let refused = |found: &Diagnostic| {
        found.severity == Severity::Error || (arguments.deny_warnings && found.severity == Severity::Warning)
    };
    Ok(if diagnostics.iter().any(refused) { Exit::No } else { Exit::Done })
}

/// Checks the files that `-f` names. References to resources outside them are resolved in the repository.
fn check_files(
    named: &[String],
    recursive: bool,
    context: &mut Context,
) -> Result<ValidationInput, CliError> {
    // Files can be checked outside of any repository, with the default configuration.
    let workspace = RepoContext::open(context).ok();
    let commit = workspace.as_ref().and_then(|workspace| workspace.local_desired().ok().flatten());
    let config = match &workspace {
        Some(workspace) => workspace.config_at(commit)?,
        None => Config::default(),
    };
    let limits = &config.limits;
    let files = input::read_named(named, recursive, &here(context)?, limits)?;
    let Desired { mut resources, mut diagnostics } = input::parse_all(&files, limits);
    let texts = texts_of(files);
    let read = |path: &str| texts.get(path).cloned();
    let count = resources.len();
    diagnostics.extend(check_bindings(&resources, &registry_to_check(&config), limits, read));
    let mut references = desired::check_references(&resources, limits, read);
    // The repository is read only where the files alone leave a reference open.
    if let (false, Some(workspace), Some(commit)) = (references.is_empty(), &workspace, commit) {
        let given: BTreeSet<ResourceKey> = resources.iter().map(Resource::key).collect();
        let mut around = desired::load(&workspace.repo, commit, &config)?.resources;
        around.retain(|resource| !given.contains(&resource.key()));
        for resource in &mut around {
            // The form that `git show` takes: the file on disk may be another one.
            resource.source.path = format!("{}:{}", commit.short(), resource.source.path);
        }
        resources.extend(around);
        references = desired::check_references(&resources, limits, read);
        // What is wrong in the repository itself was not asked about.
        references.retain(|found| texts.contains_key(&found.location.path));
    }
    diagnostics.extend(references);
    let mut ungated = desired::check_plans(&resources, &config, read);
    let tree = match &workspace {
        // The files are those beside the ones that were named, where there is a working tree.
        Some(workspace) => {
            let commit = commit.filter(|_| workspace.repo.work_tree().is_none());
            OwnedTree::here(&workspace.repo, commit)
        }
        None => OwnedTree::Unknown,
    };
    ungated.extend(code_owners::check_resources(&resources, tree, limits, read)?);
    ungated.retain(|found| texts.contains_key(&found.location.path));
    diagnostics.extend(ungated);
    Ok(ValidationInput { diagnostics, resources: count, texts: CheckedTexts::Read(texts), config })
}

/// Checks the whole repository: the working tree, or a commit.
fn check_repository(
    arguments: &ValidateArguments,
    context: &mut Context,
) -> Result<ValidationInput, CliError> {
    let now = context.now();
    let workspace = RepoContext::open(context)?;
    match (workspace.repo.work_tree().map(Path::to_owned), &context.options.reference) {
        (Some(root), None) => {
            check_work_tree(arguments, &workspace.repaired_by(Repair::WorkingTree), root, now)
        }
        _ => check_commit(arguments, workspace, context),
    }
}

fn check_work_tree(
    arguments: &ValidateArguments,
    workspace: &RepoContext,
    root: PathBuf,
    now: Timestamp,
) -> Result<ValidationInput, CliError> {
    // The one of the working tree, because it is a part of what is checked.
    let config = config_here(&root)?;
    let registry = registry_to_check(&config);
    let (survey, resources) = input::survey_work_tree(workspace, &root, &config, &registry, now)?;
    let survey = survey.unwrap_or_default();
    let nested = any_nested(survey.facts.iter().map(|(facts, _)| facts));
    let mut diagnostics = survey.diagnostics;
    let text = |path: &str| input::read_text(&root, path, &config.limits);
    diagnostics.extend(desired::check_sections(&registry, &config.limits, text));
    diagnostics.extend(worker_workflow::check(&config, text));
    let tree = OwnedTree::WorkTree(&workspace.repo, &root);
    diagnostics.extend(code_owners::check(survey.facts.iter(), tree, &config.limits, text)?);
    // Only for these is the whole of every resource needed, which a survey does not keep.
    if nested || arguments.base.is_some() || !config.gates.require.is_empty() {
        let files = input::read_work_tree(&workspace.repo, &root, &config)?;
        let all = input::parse_all(&files, &config.limits).resources;
        let texts = texts_of(files);
        let read = |path: &str| texts.get(path).cloned();
        diagnostics.extend(desired::check_plans(&all, &config, read));
        if let Some(base) = &arguments.base {
            diagnostics.extend(moves_since(base, workspace, &all, &config, read)?);
        }
    }
    Ok(ValidationInput { diagnostics, resources, texts: CheckedTexts::Tree(root), config })
}

fn check_commit(
    arguments: &ValidateArguments,
    workspace: RepoContext,
    context: &mut Context,
) -> Result<ValidationInput, CliError> {
    let commit = workspace.tips(context)?.desired;
    let commit = commit.ok_or_else(|| CliError::environment("the branch has no commit yet"))?;
    let workspace = workspace.repaired_by(Repair::Commit(commit));
    let config = workspace.config_at(Some(commit))?;
    let registry = registry_to_check(&config);
    let DesiredFacts { facts, mut diagnostics } =
        desired::survey(&workspace.repo, commit, &config, &registry)?;
    let read = |path: &str| desired::read_at(&workspace.repo, commit, path, &config.limits);
    diagnostics.extend(desired::check_facts(facts.iter(), &config.limits, read));
    diagnostics.extend(desired::check_sections(&registry, &config.limits, read));
    diagnostics.extend(worker_workflow::check(&config, read));
    let tree = OwnedTree::Commit(&workspace.repo, commit);
    diagnostics.extend(code_owners::check(facts.iter(), tree, &config.limits, read)?);
    let nested = any_nested(facts.iter().map(|(facts, _)| facts));
    if nested || arguments.base.is_some() || !config.gates.require.is_empty() {
        let all = desired::load(&workspace.repo, commit, &config)?.resources;
        diagnostics.extend(desired::check_plans(&all, &config, read));
        if let Some(base) = &arguments.base {
            diagnostics.extend(moves_since(base, &workspace, &all, &config, read)?);
        }
    }
    let texts = CheckedTexts::Commit(workspace.repo, commit);
    Ok(ValidationInput { diagnostics, resources: facts.len(), texts, config })
}

/// What may not have changed since a commit, and did.
fn moves_since(
    base: &str,
    workspace: &RepoContext,
    new: &[Resource],
    config: &Config,
    read: impl FnMut(&str) -> Option<Vec<u8>>,
) -> Result<Vec<Diagnostic>, CliError> {
    let base = workspace.repo.resolve_commit(base)?;
    // Each commit by its own configuration: a path that is excluded now was declared then.
    let old = desired::load(&workspace.repo, base, &workspace.config_at(Some(base))?)?;
    let mut moved = desired::transitions(&old.resources, new);
    manifest::locate(&mut moved, &config.limits, read);
    Ok(moved)
}

fn texts_of(files: Vec<InputFile>) -> HashMap<String, Vec<u8>> {
    files.into_iter().map(|file| (file.path, file.bytes)).collect()
}

fn counted(resources: usize) -> String {
    if resources == 1 { "1 resource".to_owned() } else { format!("{resources} resources") }
}
