//! `planspec edit`: a manifest in the user's editor.

use std::io::Write as _;
use std::process::Command;

use clap::Args;

use crate::cli::Context;
use crate::cli::desired::change::DesiredChange;
use crate::cli::desired::publish::{self, Destination};
use crate::cli::error::{CliError, Exit};
use crate::cli::findings::print_findings;
use crate::cli::repo_context::RepoContext;
use crate::cli::signals;
use crate::cli::view::resolve::{self, IN_DESIRED_STATE};
use crate::cli::view::selector;
use crate::diagnostic::{Diagnostic, Severity};
use crate::manifest;
use crate::manifest::documents;
use crate::model::ResourceKey;
use crate::report::text;

/// How a line of the note begins.
const NOTE: &str = "# planspec:";

/// Edit a manifest in your editor and commit it
///
/// The editor is `--editor`, or else Git's (GIT_EDITOR, `core.editor`), VISUAL, or EDITOR. Only the document of the resource is edited.
/// A manifest with an error is opened with the error above it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec edit goal/enable-google-sso
  planspec edit goal enable-google-sso --editor nano
  EDITOR='code --wait' planspec edit plan/sso-implementation-v2 --push")]
pub(crate) struct EditArguments {
    /// The resource, as KIND/NAME or a kind and a name
    #[arg(value_name = "KIND/NAME", required = true, num_args = 1..=2)]
    target: Vec<String>,
    /// The editor to use
    #[arg(long, value_name = "COMMAND")]
    editor: Option<String>,
    #[command(flatten)]
    destination: Destination,
}

pub(crate) fn run(arguments: &EditArguments, context: &mut Context) -> Result<Exit, CliError> {
    let workspace = RepoContext::open(context)?;
    let base = publish::base(&workspace, &arguments.destination, context)?;
    let mut revision = DesiredChange::on(&workspace, base)?;
    let targets = match arguments.target.as_slice() {
        // A kind alone would choose what to edit, and a bare name has no kind; both are told how to write it.
        [only] => vec![selector::one(only, None)?],
        words => selector::many(words)?,
    };
    let [target] = targets.as_slice() else {
        return Err(CliError::usage("one resource is edited at a time"));
    };
    let namespace = context.options.namespace.as_ref();
    let found = resolve::one(&revision.keys(), target, namespace, IN_DESIRED_STATE, revision.found());
    // What is broken is what most needs to be edited.
    let (key, broken) = match found {
        Ok(key) => (key, None),
        Err(error) => match resolve::broken_key(revision.found(), target, namespace) {
            Some(key) => (key.clone(), Some(error)),
            None => return Err(error),
        },
    };
    let source = revision.source(&key).unwrap_or_default();
    let whole =
        revision.reader()(&source.path).and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let index = usize::try_from(source.document).unwrap_or(usize::MAX);
    let old = documents::content(&whole, index)
        .ok_or_else(|| CliError::no(format!("{} cannot be edited one document at a time", source.path)))?;
    // In the order of Git, which people have told what they edit with.
    let git = match context.environment.text("GIT_EDITOR") {
        Some(editor) => Some(editor.to_owned()),
        None => workspace.repo.configured(&["core.editor"])?,
    };
    let editor = arguments.editor.clone().or(git).or_else(|| context.environment.editor().map(str::to_owned));
    let shown = format!("{}{old}", note(&key, revision.found()));
    let new = without_note(&edited(&shown, &key, editor.as_deref())?);
    // Many editors add a line end when they save.
    if new.trim() == old.trim() {
        if let Some(broken) = broken {
            return Err(broken);
        }
        context.out.note("no changes made")?;
        return Ok(Exit::Done);
    }
    let parsed = manifest::parse("edited.yaml", new.as_bytes(), &revision.config().limits);
    let broken = parsed.diagnostics.iter().any(|found| found.severity == Severity::Error);
    let [resource] = parsed.resources.as_slice() else {
        print_findings(&parsed.diagnostics, "the edited text", |_| Some(new.clone().into_bytes()), context)?;
        return Err(kept(&new, "the edited text is not a single valid resource")?);
    };
    // Under another key, the text would be a second resource, and the first would go without being deleted.
    if broken || resource.key() != key {
        return Err(kept(&new, "kind, namespace and name cannot be changed")?);
    }
    revision.put(resource, documents::content(&new, 0).unwrap_or(&new))?;
    if publish::publish(&workspace, &revision, "Edit", &arguments.destination, context)? {
        return Ok(Exit::Done);
    }
    Err(kept(&new, "the change was rejected")?)
}

/// What stands above the text of a resource whose manifest has an error, as `kubectl edit` shows what it refused.
fn note(key: &ResourceKey, found: &[Diagnostic]) -> String {
    let broken: Vec<String> = found.iter().filter(|found| found.breaks(key)).map(Diagnostic::brief).collect();
    if broken.is_empty() {
        return String::new();
    }
    let first = format!("This {} is broken. Fix it, save, and close the editor:", key.kind.singular());
    let last = "These lines are left out when you save.".to_owned();
    // On one line each: what a manifest says must not end the comment (Invariant 8).
    let lines = [first].into_iter().chain(broken).chain([last]);
    lines.map(|line| format!("{NOTE} {}\n", text::line(&line))).collect()
}

/// The text without the note, however it was edited.
fn without_note(text: &str) -> String {
    text.split_inclusive('\n').skip_while(|line| line.starts_with(NOTE)).collect()
}

/// Lets the user edit a text in a file of its own.
fn edited(text: &str, key: &ResourceKey, editor: Option<&str>) -> Result<String, CliError> {
    let editor = editor.ok_or_else(|| {
        CliError::environment("no editor is set").hint("set EDITOR, as in `EDITOR=nano planspec edit …`")
    })?;
    // `EDITOR='code --wait'` has arguments. Split without a shell, it can hold nothing else.
    let words = shell_words::split(editor)
        .map_err(|error| CliError::environment(format!("EDITOR is not a valid command line: {error}")))?;
    let Some((program, arguments)) = words.split_first() else {
        return Err(CliError::environment("EDITOR is empty"));
    };
    let failed = |error: std::io::Error| CliError::caused("cannot create a file to edit", &error);
    let mut file = tempfile::Builder::new()
        .prefix(&format!("planspec-{}-", key.name))
        .suffix(".yaml")
        .tempfile()
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.flush().map_err(failed)?;
    // On a terminal, Ctrl-C reaches this process too, and there it is the editor's.
    let _held = signals::on_interrupt(|| {});
    let status = Command::new(program)
        .args(arguments)
        .arg(file.path())
        .status()
        .map_err(|error| CliError::caused(&format!("cannot start the editor `{program}`"), &error))?;
    if !status.success() {
        return Err(
            CliError::environment(format!("the editor `{program}` failed")).hint("nothing was changed")
        );
    }
    // Editors replace the file, so it is read by its path.
    std::fs::read_to_string(file.path()).map_err(failed)
}

/// Keeps what the user wrote where it can be found again.
fn kept(text: &str, why: &str) -> Result<CliError, CliError> {
    let failed = |error: std::io::Error| CliError::caused("cannot save the edited text", &error);
    let mut file =
        tempfile::Builder::new().prefix("planspec-edit-").suffix(".yaml").tempfile().map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    let (_, path) = file.keep().map_err(|error| CliError::caused("cannot save the edited text", &error))?;
    Ok(CliError::no(why)
        .hint(format!("your text is in {}; fix it and `planspec apply -f` it", path.display())))
}
