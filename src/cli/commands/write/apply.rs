//! `planspec apply`: manifests into the desired state.

use clap::Args;

use crate::cli::Context;
use crate::cli::desired::Desired;
use crate::cli::desired::change::DesiredChange;
use crate::cli::desired::input::{self, InputFile, path_in_work_tree};
use crate::cli::desired::publish::{self, Destination};
use crate::cli::error::{CliError, Exit};
use crate::cli::findings::print_findings;
use crate::cli::repo_context::RepoContext;
use crate::config::Limits;
use crate::diagnostic::Severity;
use crate::manifest::documents;

/// Commit manifests to the desired state
///
/// An existing resource is replaced in its file; a new one gets its own file below planspec/. Files in the
/// repository's own working tree are committed where they are. Everything is validated first and goes into one
/// commit.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec apply goal.yaml
  planspec apply -f goal.yaml --dry-run -o yaml
  planspec apply -f planspec/ -R --dry-run
  cat goal.yaml | planspec apply -f - --push")]
pub(crate) struct ApplyArguments {
    /// The same as `-f`
    #[arg(value_name = "FILE|DIR|-", required_unless_present = "filename")]
    files: Vec<String>,
    // `--file` and `-d` are those of planspec's reference CLI 0.1.0, here and in every command that takes `-f`.
    /// A file, a directory, or `-` for standard input
    #[arg(short, long = "filename", alias = "file", short_alias = 'd', value_name = "FILE|DIR|-")]
    filename: Vec<String>,
    /// Read subdirectories too
    #[arg(short = 'R', long)]
    recursive: bool,
    #[command(flatten)]
    destination: Destination,
}

/// The `create` of kubectl and of the reference CLI 0.1.0.
#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    #[command(flatten)]
    apply: ApplyArguments,
}

pub(crate) fn create(arguments: &CreateArguments, context: &mut Context) -> Result<Exit, CliError> {
    match arguments.apply.files.as_slice() {
        [kind, name] if matches!(kind.as_str(), "namespace" | "ns") => {
            context
                .out
                .note(format!("a namespace is there as soon as a resource names it: `namespace: {name}`"))?;
            Ok(Exit::Done)
        }
        _ => run(&arguments.apply, context),
    }
}

pub(crate) fn run(arguments: &ApplyArguments, context: &mut Context) -> Result<Exit, CliError> {
    let workspace = RepoContext::open(context)?;
    let base = publish::base(&workspace, &arguments.destination, context)?;
    let mut revision = DesiredChange::on(&workspace, base)?;
    let limits = revision.config().limits.clone();
    let named = [arguments.files.as_slice(), &arguments.filename].concat();
    let files = input::read_named(&named, arguments.recursive, &workspace.here, &limits)?;
    let Desired { resources, diagnostics } = input::parse_all(&files, &limits);
    if diagnostics.iter().any(|found| found.severity == Severity::Error) {
        let text = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.bytes.clone());
        print_findings(&diagnostics, "the input", text, context)?;
        context.out.note("nothing was changed")?;
        return Ok(Exit::No);
    }
    // Without this, the wrong files would be applied with success.
    if resources.is_empty() {
        return Err(CliError::no("no manifests found in the input"));
    }
    for file in &files {
        take(&mut revision, &workspace, file, &limits)?;
    }
    let done = publish::publish(&workspace, &revision, "Apply", &arguments.destination, context)?;
    Ok(if done { Exit::Done } else { Exit::No })
}

fn take(
    revision: &mut DesiredChange<'_>,
    workspace: &RepoContext,
    file: &InputFile,
    limits: &Limits,
) -> Result<(), CliError> {
    let resources = file.parse(limits).resources;
    if resources.is_empty() {
        return Ok(());
    }
    let inside = file.place.as_deref().and_then(|place| path_in_work_tree(workspace, place));
    // A manifest of this very working tree is committed in its place: a copy at another path would declare
    // everything twice.
    if let Some(path) = inside.filter(|path| revision.accepts(path)) {
        revision.take_file(&path, &file.bytes, &resources);
        return Ok(());
    }
    let text = std::str::from_utf8(&file.bytes).unwrap_or_default();
    for resource in &resources {
        let index = usize::try_from(resource.source.document).unwrap_or(usize::MAX);
        // As it was written, comments included.
        let document = documents::content(text, index)
            .ok_or_else(|| CliError::no(format!("cannot extract document {index} of {}", file.path)))?;
        revision.put(resource, document)?;
    }
    Ok(())
}
