//! `planspec validate`: all diagnostics, nothing executed.

use std::collections::{BTreeSet, HashMap};

use clap::Args;

use crate::cli::Context;
use crate::cli::desired::{self, Desired};
use crate::cli::error::{CliError, Exit};
use crate::cli::findings::print_findings;
use crate::cli::input::{self, InputFile};
use crate::cli::workspace::{Workspace, here, parse_config};
use crate::config::{CONFIG_FILE, Config};
use crate::diagnostic::{Diagnostic, Severity};
use crate::git::{ObjectId, Repo};
use crate::manifest;
use crate::model::ResourceKey;

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
pub(crate) struct Arguments {
    /// A file, a directory, or `-` for standard input
    #[arg(short, long = "filename", value_name = "FILE|DIR|-")]
    filename: Vec<String>,
    /// Look below directories too
    #[arg(short = 'R', long, requires = "filename")]
    recursive: bool,
    /// Also check what may not change since this commit
    #[arg(long, value_name = "REV", conflicts_with = "filename")]
    base: Option<String>,
    /// Exit with 1 also when there are only warnings
    #[arg(long)]
    deny_warnings: bool,
}

/// What is checked, and how to read it again to show excerpts.
struct Checked {
    diagnostics: Vec<Diagnostic>,
    resources: usize,
    texts: HashMap<String, Vec<u8>>,
    commit: Option<(Repo, ObjectId)>,
    config: Config,
}

pub(crate) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, CliError> {
    let checked = if arguments.filename.is_empty() {
        check_repository(arguments, context)?
    } else {
        check_files(arguments, context)?
    };
    let Checked { diagnostics, resources, texts, commit, config } = checked;
    let read = |path: &str| match texts.get(path) {
        Some(bytes) => Some(bytes.clone()),
        None => commit.as_ref().and_then(|(repo, id)| desired::read_at(repo, *id, path, &config.limits)),
    };
    print_findings(&diagnostics, &counted(resources), read, context)?;
    let refused = |found: &Diagnostic| {
        found.severity == Severity::Error || (arguments.deny_warnings && found.severity == Severity::Warning)
    };
    Ok(if diagnostics.iter().any(refused) { Exit::No } else { Exit::Done })
}

/// Checks the files that `-f` names. What they refer to and do not hold is looked for in the repository.
fn check_files(arguments: &Arguments, context: &mut Context) -> Result<Checked, CliError> {
    let workspace = Workspace::open(context).ok();
    let commit = workspace.as_ref().and_then(|workspace| workspace.local_desired().ok().flatten());
    let config = match &workspace {
        Some(workspace) => workspace.config_at(commit)?,
        None => Config::default(),
    };
    let limits = &config.limits;
    let files = input::read_named(&arguments.filename, arguments.recursive, &here(context)?, limits)?;
    let Desired { mut resources, mut diagnostics } = input::parse_all(&files, limits);
    let texts = texts_of(files);
    let read = |path: &str| texts.get(path).cloned();
    let count = resources.len();
    let mut references = desired::check_references(&resources, limits, read);
    if let (false, Some(workspace), Some(commit)) = (references.is_empty(), &workspace, commit) {
        let given: BTreeSet<ResourceKey> = resources.iter().map(crate::model::Resource::key).collect();
        let mut around = desired::load(&workspace.repo, commit, &config)?.resources;
        around.retain(|resource| !given.contains(&resource.key()));
        for resource in &mut around {
            resource.source.path = format!("{}:{}", commit.short(), resource.source.path);
        }
        resources.extend(around);
        references = desired::check_references(&resources, limits, read);
        references.retain(|found| texts.contains_key(&found.location.path));
    }
    diagnostics.extend(references);
    Ok(Checked { diagnostics, resources: count, texts, commit: None, config })
}

/// Checks the whole repository: the working tree, or a commit.
fn check_repository(arguments: &Arguments, context: &mut Context) -> Result<Checked, CliError> {
    let workspace = Workspace::open(context)?;
    let tree = workspace.repo.work_tree().map(std::path::Path::to_owned);
    let (found, texts, commit, config) = match (tree, &context.options.reference) {
        (Some(root), None) => {
            let config = match std::fs::read(root.join(CONFIG_FILE)) {
                Ok(bytes) => parse_config(&bytes)?,
                Err(_) => Config::default(),
            };
            let files = input::read_work_tree(&workspace.repo, &root, &config)?;
            let found = input::parse_all(&files, &config.limits);
            (found, texts_of(files), None, config)
        }
        _ => {
            let commit = workspace.tips(context)?.desired;
            let commit = commit.ok_or_else(|| CliError::environment("the branch has no commit yet"))?;
            let config = workspace.config_at(Some(commit))?;
            let found = desired::load(&workspace.repo, commit, &config)?;
            (found, HashMap::new(), Some(commit), config)
        }
    };
    let Desired { resources, mut diagnostics } = found;
    let read = |path: &str| match (texts.get(path), commit) {
        (Some(bytes), _) => Some(bytes.clone()),
        (None, Some(commit)) => desired::read_at(&workspace.repo, commit, path, &config.limits),
        (None, None) => None,
    };
    diagnostics.extend(desired::check_references(&resources, &config.limits, read));
    if let Some(base) = &arguments.base {
        let base = workspace.repo.resolve_commit(base)?;
        let old = desired::load(&workspace.repo, base, &workspace.config_at(Some(base))?)?;
        let mut moved = desired::transitions(&old.resources, &resources);
        manifest::locate(&mut moved, &config.limits, read);
        diagnostics.extend(moved);
    }
    let resources = resources.len();
    let commit = commit.map(|id| (workspace.repo, id));
    Ok(Checked { diagnostics, resources, texts, commit, config })
}

fn texts_of(files: Vec<InputFile>) -> HashMap<String, Vec<u8>> {
    files.into_iter().map(|file| (file.path, file.bytes)).collect()
}

fn counted(resources: usize) -> String {
    if resources == 1 { "1 resource".to_owned() } else { format!("{resources} resources") }
}
