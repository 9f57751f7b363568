//! `planspec diff`: what a change means.

use std::collections::{HashMap, HashSet};

use clap::Args;
use serde_json::json;

use crate::cli::Context;
use crate::cli::desired::code_owners::OwnedTree;
use crate::cli::desired::difference::DesiredDiff;
use crate::cli::desired::input::{self, InputFile};
use crate::cli::desired::preview;
use crate::cli::desired::{self, Desired};
use crate::cli::error::{CliError, Exit};
use crate::cli::findings::print_findings;
use crate::cli::output_format::OutputFormat;
use crate::cli::repo_context::{Repair, RepoContext};
use crate::cli::view::inventory::Inventory;
use crate::cli::view::selector::{self, ExecutionTarget};
use crate::cli::view::work::ShownWork;
use crate::config::Config;
use crate::git::ObjectId;
use crate::model::{Kind, NodeId, Resource, ResourceKey};
use crate::report::markdown::COMMENT_LIMIT;
use crate::report::preview::{PageLinks, render};
use crate::report::text;

/// Show what a change means: resources, fields, and what the next reconcile would do
///
/// Compares BASE with HEAD. Without HEAD, the working tree is the new state; without BASE, the commit of the
/// branch is the old one. With an execution, as `execution/NAME`, or as NAME if that is no branch or commit, shows the
/// files that it changed.
/// Exits with 1 when there are differences. Nothing is executed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec diff
  planspec diff origin/main
  planspec diff origin/main HEAD -o json
  planspec diff origin/main..HEAD
  planspec diff origin/main --markdown > preview.md
  planspec diff -f goal.yaml
  planspec diff sso-exec-001
  planspec diff execution/sso-exec-001 --node implement")]
pub(crate) struct DiffArguments {
    /// The old state: a branch or commit; or an execution, whose changes are shown
    #[arg(value_name = "BASE")]
    base: Option<String>,
    /// The new state: a branch or commit
    #[arg(value_name = "HEAD")]
    head: Option<String>,
    /// Compare the branch with what applying this file, directory or standard input (`-`) would make of it
    #[arg(short, long, alias = "file", short_alias = 'd', value_name = "FILE|DIR|-", conflicts_with_all = ["head", "node", "stat"])]
    filename: Vec<String>,
    /// With `-f`: read subdirectories too
    #[arg(short = 'R', long, requires = "filename")]
    recursive: bool,
    /// Print the pull request comment, in Markdown
    #[arg(long)]
    markdown: bool,
    /// Of an execution, only what this node changed; of a gate, what comes before it
    #[arg(long, value_name = "NODE")]
    node: Option<NodeId>,
    /// Of an execution, only the files with the number of lines
    #[arg(long)]
    stat: bool,
}

pub(crate) fn run(arguments: &DiffArguments, context: &mut Context) -> Result<Exit, CliError> {
    let workspace = RepoContext::open(context)?;
    if let Some(target) = execution_of(arguments, &workspace, context)? {
        return show_work(&target, arguments.stat, &workspace, context);
    }
    let (base, head) = sides(arguments)?;
    let named = head.map(|revision| workspace.repo.resolve_commit(revision)).transpose()?;
    let workspace = match named {
        _ if !arguments.filename.is_empty() => workspace,
        Some(change) => workspace.repaired_by(Repair::Commit(change)),
        None => workspace.repaired_by(Repair::WorkingTree),
    };
    let tips = workspace.tips(context)?;
    let base = match base {
        Some(revision) => Some(commit(revision, &workspace)?),
        // The branch as it is here, not on the remote: the question is what these files change in it.
        None => workspace.local_desired()?,
    };
    let head = match (named, workspace.repo.work_tree()) {
        // The rest of the branch stays as it is.
        _ if !arguments.filename.is_empty() => base,
        (Some(named), _) => Some(named),
        (None, Some(_)) => None,
        (None, None) => tips.desired,
    };
    // The configuration is the base's: a change does not choose the rules that it is read by, unless it repairs them.
    let config = workspace.config_at(base)?;
    let old = load(&workspace, base, &config)?;
    let (new, texts) = new_state(arguments, head, &workspace, &old, &config)?;
    let read = |path: &str| match (texts.get(path), head.or(base)) {
        (Some(bytes), _) => Some(bytes.clone()),
        (None, Some(commit)) => desired::read_at(&workspace.repo, commit, path, &config.limits),
        (None, None) => None,
    };
    // What a change means depends on what is under way: approvals it voids, Executions that keep their graph.
    let status = workspace.status(&tips)?;
    let files = (OwnedTree::at(&workspace.repo, base), OwnedTree::here(&workspace.repo, head));
    let difference = DesiredDiff::of(&old, &new, &config, read, (&workspace, &status), files)?;
    match context.options.format()? {
        _ if arguments.markdown => {
            let mut preview = preview::of_difference(&difference, &old, &new, &config);
            (preview.base, preview.head) = (base.map(|id| id.to_string()), head.map(|id| id.to_string()));
            context.out.text(&render(&preview, COMMENT_LIMIT, PageLinks::default()).summary)?;
        }
        OutputFormat::Json => context.out.json(&difference.to_value())?,
        OutputFormat::Yaml => context.out.yaml(&difference.to_value())?,
        _ if difference.is_empty() => context.out.note("no differences")?,
        _ => {
            context.out.text(&difference.render())?;
            if !difference.findings.is_empty() {
                context.out.line("")?;
                print_findings(&difference.findings, "the change", read, context)?;
            }
        }
    }
    Ok(exit(&difference))
}

/// The state that is compared with the old one, and the texts of files that are in no commit.
fn new_state(
    arguments: &DiffArguments,
    head: Option<ObjectId>,
    workspace: &RepoContext,
    old: &Desired,
    config: &Config,
) -> Result<(Desired, HashMap<String, Vec<u8>>), CliError> {
    Ok(match (head, workspace.repo.work_tree()) {
        _ if !arguments.filename.is_empty() => {
            let names = &arguments.filename;
            let files = input::read_named(names, arguments.recursive, &workspace.here, &config.limits)?;
            applied(old, files, config)
        }
        (None, Some(root)) => {
            let files = input::read_work_tree(&workspace.repo, root, config)?;
            let new = input::parse_all(&files, &config.limits);
            (new, files.into_iter().map(|file| (file.path, file.bytes)).collect())
        }
        (head, _) => (load(workspace, head, config)?, HashMap::new()),
    })
}

/// The two commits that are named: apart, or as one range, which is how `git diff` takes them too.
fn sides(arguments: &DiffArguments) -> Result<(Option<&str>, Option<&str>), CliError> {
    let base = arguments.base.as_deref();
    let head = arguments.head.as_deref();
    match base.and_then(|range| range.split_once("..")) {
        Some((_, after)) if after.starts_with('.') => {
            Err(CliError::usage("a range with three dots begins at no named commit")
                .hint("write BASE..HEAD, where `git merge-base BASE HEAD` prints BASE"))
        }
        Some(_) if head.is_some() => Err(CliError::usage("BASE..HEAD is both; no second commit can follow")),
        Some((from, to)) => {
            Ok((Some(from).filter(|from| !from.is_empty()), Some(to).filter(|to| !to.is_empty())))
        }
        None => Ok((base, head)),
    }
}

/// The state that applying files would make, and their texts.
fn applied(old: &Desired, files: Vec<InputFile>, config: &Config) -> (Desired, HashMap<String, Vec<u8>>) {
    let Desired { resources, diagnostics } = input::parse_all(&files, &config.limits);
    let given: HashSet<ResourceKey> = resources.iter().map(Resource::key).collect();
    let mut new = Desired { resources: old.resources.clone(), diagnostics: old.diagnostics.clone() };
    new.resources.retain(|resource| !given.contains(&resource.key()));
    new.resources.extend(resources);
    new.diagnostics.extend(diagnostics);
    (new, files.into_iter().map(|file| (file.path, file.bytes)).collect())
}

/// The execution whose files are to be compared, if BASE names one.
fn execution_of(
    arguments: &DiffArguments,
    workspace: &RepoContext,
    context: &mut Context,
) -> Result<Option<ExecutionTarget>, CliError> {
    let needs_one = arguments.node.is_some() || arguments.stat;
    let Some(named) = arguments.base.as_deref() else {
        return match needs_one {
            true => Err(CliError::usage("`--node` and `--stat` need an execution")
                .hint("write `planspec diff EXECUTION --node NODE`")),
            false => Ok(None),
        };
    };
    let words: Vec<&str> = named.split('/').collect();
    let is_kind = |word: &&str| word.parse() == Ok(Kind::Execution);
    let spelled_out = words.len() > 1 && words.iter().take(2).any(is_kind);
    // Of a bare name, the commit wins, as everywhere in Git: what a branch means must not depend on what has run.
    if !spelled_out && !needs_one && !is_known_execution(named, arguments, workspace, context)? {
        return Ok(None);
    }
    if arguments.head.is_some() || arguments.markdown {
        return Err(CliError::usage("the files of an execution are compared with what it works on"));
    }
    let mut target = selector::execution(named)?;
    target.node = arguments.node.clone().or(target.node);
    Ok(Some(target))
}

fn commit(revision: &str, workspace: &RepoContext) -> Result<ObjectId, CliError> {
    let found = workspace.repo.resolve_commit(revision);
    found.map_err(|error| {
        CliError::from(error).hint("or name an execution; `planspec get executions` lists them")
    })
}

/// Whether a word that is no commit is the name of an execution.
fn is_known_execution(
    word: &str,
    arguments: &DiffArguments,
    workspace: &RepoContext,
    context: &mut Context,
) -> Result<bool, CliError> {
    let compares = arguments.head.is_some() || !arguments.filename.is_empty() || arguments.markdown;
    if compares || word.contains("..") || workspace.repo.resolve_commit(word).is_ok() {
        return Ok(false);
    }
    // What cannot be a name is left to Git, which says what is wrong with it.
    let Ok(target) = selector::execution(word) else { return Ok(false) };
    let tips = workspace.tips(context)?;
    let inventory = Inventory::load(workspace, &tips)?;
    let found = inventory.keys(&target.into(), context.options.namespace.as_ref())?;
    Ok(!found.is_empty())
}

fn show_work(
    target: &ExecutionTarget,
    stat: bool,
    workspace: &RepoContext,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let work = ShownWork::find(target, workspace, context)?;
    let shown = workspace.repo.difference(work.base, work.commit, stat)?;
    let shown = String::from_utf8_lossy(&shown).into_owned();
    let value = json!({
        "execution": work.key,
        "base": work.base.to_string(),
        "commit": work.commit.to_string(),
        "patch": shown,
    });
    match context.options.format()? {
        OutputFormat::Json => context.out.json(&value)?,
        OutputFormat::Yaml => context.out.yaml(&value)?,
        _ => {
            for line in shown.lines() {
                // What an agent wrote reaches a terminal without control characters (Invariant 8).
                context.out.line(text::line(line))?;
            }
        }
    }
    Ok(if shown.is_empty() { Exit::Done } else { Exit::No })
}

fn exit(difference: &DesiredDiff) -> Exit {
    let same = difference.is_empty() && !difference.has_errors();
    if same { Exit::Done } else { Exit::No }
}

fn load(workspace: &RepoContext, commit: Option<ObjectId>, config: &Config) -> Result<Desired, CliError> {
    match commit {
        Some(commit) => desired::load(&workspace.repo, commit, config),
        None => Ok(Desired::default()),
    }
}
