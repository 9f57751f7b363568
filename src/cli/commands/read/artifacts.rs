//! `planspec artifacts`: the files that nodes left, as a list, and as files.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output_format::OutputFormat;
use crate::cli::repo_context::{RepoContext, SelectedCommits};
use crate::cli::view::execution_files::{ExecutionFiles, ListedArtifact, bucket};
use crate::cli::view::inventory::Inventory;
use crate::cli::view::selector::{self, ExecutionTarget, nearest};
use crate::engine::is_plain;
use crate::model::{NodeId, StatusRecord};
use crate::report::table::Table;
use crate::report::text;

/// List and fetch the files that the nodes of an execution left in `$PLANSPEC_ARTIFACTS`
///
/// They are on the machine that made them, and in the store that `artifacts.store` of .planspec.yaml names, from which
/// every clone has them.
#[derive(Debug, Args)]
pub(crate) struct ArtifactsArguments {
    #[command(subcommand)]
    action: ArtifactsAction,
}

#[derive(Debug, Subcommand)]
enum ArtifactsAction {
    List(ListArguments),
    Get(FetchArguments),
}

/// List what the nodes left, with where it is
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec artifacts list sso-exec-001
  planspec artifacts list sso-exec-001/build -o json")]
struct ListArguments {
    /// EXECUTION, or EXECUTION/NODE
    #[arg(value_name = "EXECUTION[/NODE]")]
    target: String,
}

/// Write artifacts into a folder, with their checksums verified
///
/// Of one node below its names; of a whole execution, below a folder for each node. A file that is there already is not
/// written over.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec artifacts get sso-exec-001/build
  planspec artifacts get sso-exec-001/build report.html --to /tmp")]
struct FetchArguments {
    /// EXECUTION, or EXECUTION/NODE
    #[arg(value_name = "EXECUTION[/NODE]")]
    target: String,
    /// Which ones, by name (default: all that can be had)
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// The folder to write to
    #[arg(long, value_name = "DIR", default_value = ".")]
    to: PathBuf,
}

pub(crate) fn run(arguments: &ArtifactsArguments, context: &mut Context) -> Result<Exit, CliError> {
    match &arguments.action {
        ArtifactsAction::List(arguments) => list(arguments, context),
        ArtifactsAction::Get(arguments) => get(arguments, context),
    }
}

fn list(arguments: &ListArguments, context: &mut Context) -> Result<Exit, CliError> {
    let format = context.options.format()?;
    let target = selector::execution(&arguments.target)?;
    let workspace = RepoContext::open(context)?;
    let (tips, record) = find(&workspace, &target, context)?;
    let bucket = bucket(&tips, context);
    let files = ExecutionFiles::of(&workspace, (&tips, bucket.as_ref()), &record);
    let listed = of_record(&files, &record, target.node.as_ref())?;
    match format {
        OutputFormat::Json => context.out.json(&as_values(&listed))?,
        OutputFormat::Yaml => context.out.yaml(&as_values(&listed))?,
        OutputFormat::Name => {
            for found in &listed {
                context.out.line(text::line(&format!("{}/{}", found.node, found.artifact.name)))?;
            }
        }
        _ if listed.is_empty() => context.out.note("no artifacts")?,
        _ => {
            let mut table = Table::new(["node", "artifact", "bytes", "where"]);
            for ListedArtifact { node, artifact, place, .. } in &listed {
                let size = artifact.size.map_or("-".to_owned(), |size| size.to_string());
                table.row(vec![
                    node.as_str().into(),
                    artifact.name.as_str().into(),
                    size.into(),
                    place.into(),
                ]);
            }
            for line in table.lines() {
                context.out.line(line)?;
            }
        }
    }
    Ok(Exit::Done)
}

fn as_values(listed: &[ListedArtifact<'_>]) -> Vec<serde_json::Value> {
    let value = |found: &ListedArtifact<'_>| {
        let ListedArtifact { node, artifact, here, place } = found;
        json!({
            "node": node, "name": artifact.name, "size": artifact.size, "checksum": artifact.checksum,
            "available": here, "where": place,
        })
    };
    listed.iter().map(value).collect()
}

fn get(arguments: &FetchArguments, context: &mut Context) -> Result<Exit, CliError> {
    let target = selector::execution(&arguments.target)?;
    let workspace = RepoContext::open(context)?;
    let (tips, record) = find(&workspace, &target, context)?;
    let bucket = bucket(&tips, context);
    let files = ExecutionFiles::of(&workspace, (&tips, bucket.as_ref()), &record);
    let mut listed = of_record(&files, &record, target.node.as_ref())?;
    for name in &arguments.names {
        if !listed.iter().any(|found| found.artifact.name == *name) {
            let error = CliError::no(format!("{} left no artifact `{name}`", arguments.target));
            let names = listed.iter().map(|found| found.artifact.name.as_str());
            return Err(match nearest(name, names) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("`planspec artifacts list {}` lists them", arguments.target)),
            });
        }
    }
    // What cannot be had is an error where it was asked for by name, and a note among all others.
    let named = !arguments.names.is_empty();
    listed.retain(|found| !named || arguments.names.contains(&found.artifact.name));
    if listed.is_empty() {
        context.out.note("no artifacts")?;
    }
    let to = workspace.here.join(&arguments.to);
    for found in &listed {
        let name = shown_name(found, target.node.is_none());
        if found.here && write(&files, found, &to.join(&name))? {
            context.out.line(text::line(&arguments.to.join(&name).display().to_string()))?;
            continue;
        }
        let place = if found.here { "gone from the store" } else { found.place.as_str() };
        let message = format!("{}/{} is not here: {place}", found.node, found.artifact.name);
        if named {
            return Err(CliError::no(message));
        }
        context.out.note(text::line(&message))?;
    }
    Ok(Exit::Done)
}

/// Writes one artifact, not over another file. Whether it was to be had.
fn write(files: &ExecutionFiles<'_>, found: &ListedArtifact<'_>, into: &Path) -> Result<bool, CliError> {
    // The name comes from a record that anybody may have written.
    if !is_plain(&found.artifact.name) {
        return Err(CliError::no(format!("`{}` is no name of a file", found.artifact.name)));
    }
    if into.symlink_metadata().is_ok() {
        return Err(CliError::no(format!("{} exists already", into.display()))
            .hint("`--to DIR` writes to another folder"));
    }
    files.copy(found.artifact, into)
}

fn shown_name(found: &ListedArtifact<'_>, with_node: bool) -> PathBuf {
    let name = Path::new(&found.artifact.name);
    if with_node { Path::new(found.node.as_str()).join(name) } else { name.to_owned() }
}

fn find(
    workspace: &RepoContext,
    target: &ExecutionTarget,
    context: &mut Context,
) -> Result<(SelectedCommits, std::sync::Arc<StatusRecord>), CliError> {
    let tips = workspace.tips(context)?;
    let object = Inventory::load(workspace, &tips)?.one(&target.clone().into(), context)?;
    let not_yet = || CliError::no(format!("{} has not been reconciled yet", object.key));
    let record = object.record.clone().ok_or_else(not_yet)?;
    Ok((tips, record.into()))
}

fn of_record<'s>(
    files: &ExecutionFiles<'_>,
    record: &'s StatusRecord,
    node: Option<&NodeId>,
) -> Result<Vec<ListedArtifact<'s>>, CliError> {
    let Some(status) = record.execution() else { return Ok(Vec::new()) };
    if let Some(node) = node.filter(|node| !status.node_statuses.contains_key(*node)) {
        let error = CliError::no(format!("{} has no node `{node}`", record.key()));
        return Err(match nearest(node.as_str(), status.node_statuses.keys().map(NodeId::as_str)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        });
    }
    Ok(files.artifacts(status, node))
}
