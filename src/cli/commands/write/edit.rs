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

/// What the edited text is called in messages.
const EDITED: &str = "edited.yaml";

/// Why a text is refused that is right by itself.
const REJECTED: &str = "the change was rejected";

/// How often the editor opens. Nobody corrects a text so often; a program in place of an editor might for ever.
const ROUNDS: u32 = 50;

/// How a line of the note begins.
const NOTE: &str = "# planspec:";

/// Edit a manifest in your editor and commit it
///
/// The editor is `--editor`, or else Git's (GIT_EDITOR, `core.editor`), VISUAL, or EDITOR. Only the document of the resource is edited.
/// A manifest with an error is opened with the error above it, and so is your text again until it is valid; to give up, close the
/// editor without a change.
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
    let opened = OpenedText { key, old: old.to_owned(), broken, editor };
    opened.edit(&workspace, &mut revision, &arguments.destination, context)
}

/// What is edited, and with what.
struct OpenedText {
    key: ResourceKey,
    old: String,
    /// The error for a manifest that is broken and stays as it is.
    broken: Option<CliError>,
    editor: Option<String>,
}

impl OpenedText {
    /// Opens the editor until the text is valid, or nothing changed.
    fn edit(
        self,
        workspace: &RepoContext,
        revision: &mut DesiredChange<'_>,
        destination: &Destination,
        context: &mut Context,
    ) -> Result<Exit, CliError> {
        let Self { key, old: mut text, broken, editor } = self;
        let mut note = first_note(&key, revision.found());
        let mut why = None;
        for round in 0..ROUNDS {
            let new = match edited(&format!("{note}{text}"), &key, editor.as_deref()) {
                Ok(new) => without_note(&new),
                Err(error) if round == 0 => return Err(error),
                // The editor went away; what was typed before is not lost with it.
                Err(error) => return Err(kept(&text, &error.to_string())?),
            };
            // Many editors add a line end when they save; an empty text gives up, as with `kubectl edit`.
            if new.trim().is_empty() || new.trim() == text.trim() {
                match (broken, round) {
                    (Some(broken), 0) => return Err(broken),
                    (None, 0) => {
                        context.out.note("no changes made")?;
                        return Ok(Exit::Done);
                    }
                    _ => break,
                }
            }
            text = new;
            let Some(refusal) = refused(revision, &key, &text)? else {
                publish::publish(workspace, revision, "Edit", destination, context)?;
                return Ok(Exit::Done);
            };
            tracing::debug!(
                round,
                why = refusal.why,
                "the edited text is refused, and the editor opens again"
            );
            note = refusal.note();
            why = Some(refusal.why);
            revision.edits.clear();
            revision.changes.clear();
        }
        // Once more, for excerpts of the file as it would be.
        if let Some(RefusedEdit { findings, .. }) =
            refused(revision, &key, &text)?.filter(RefusedEdit::is_found)
        {
            let read = |path: &str| match path {
                EDITED => Some(text.clone().into_bytes()),
                path => revision.reader()(path),
            };
            print_findings(&findings, "the edited text", read, context)?;
        }
        Err(kept(&text, why.unwrap_or(REJECTED))?)
    }
}

/// Why an edited text is not committed.
struct RefusedEdit {
    why: &'static str,
    findings: Vec<Diagnostic>,
}

impl RefusedEdit {
    fn is_found(&self) -> bool {
        !self.findings.is_empty()
    }

    /// What stands above the text when it is opened again.
    fn note(&self) -> String {
        let errors: Vec<&Diagnostic> =
            self.findings.iter().filter(|found| found.severity == Severity::Error).collect();
        // The note itself moves the lines of the text down.
        let above = u32::try_from(errors.len()).unwrap_or(u32::MAX).saturating_add(2);
        let said = errors.iter().map(|found| {
            let hint = found.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            match found.location.span.filter(|_| found.location.path == EDITED) {
                Some(span) => format!("line {}: {}{hint}", span.line.saturating_add(above), found.message),
                None => format!("{}{hint}", found.brief()),
            }
        });
        let first = format!("not saved: {}. Fix it, save, and close the editor:", self.why);
        let give_up =
            "To give up, close it without a change. These lines are left out when you save.".to_owned();
        noted([first].into_iter().chain(said).chain([give_up]))
    }
}

/// Puts the text into the change; gives what is wrong with it, if anything is.
fn refused(
    revision: &mut DesiredChange<'_>,
    key: &ResourceKey,
    text: &str,
) -> Result<Option<RefusedEdit>, CliError> {
    let parsed = manifest::parse(EDITED, text.as_bytes(), &revision.config().limits);
    let broken = DesiredChange::is_refused(&parsed.diagnostics);
    let why = match parsed.resources.as_slice() {
        [resource] if !broken && resource.key() == *key => {
            revision.put(resource, documents::content(text, 0).unwrap_or(text))?;
            let findings = revision.findings();
            return Ok(
                DesiredChange::is_refused(&findings).then_some(RefusedEdit { why: REJECTED, findings })
            );
        }
        // Under another key, the text would be a second resource, and the first would go without being deleted.
        [_] if !broken => "kind, namespace and name cannot be changed",
        _ => "the edited text is not a single valid resource",
    };
    Ok(Some(RefusedEdit { why, findings: parsed.diagnostics }))
}

/// What stands above the text of a resource whose manifest has an error, as `kubectl edit` shows what it refused.
fn first_note(key: &ResourceKey, found: &[Diagnostic]) -> String {
    let broken: Vec<String> = found.iter().filter(|found| found.breaks(key)).map(Diagnostic::brief).collect();
    if broken.is_empty() {
        return String::new();
    }
    let first = format!("This {} is broken. Fix it, save, and close the editor:", key.kind.singular());
    let last = "These lines are left out when you save.".to_owned();
    noted([first].into_iter().chain(broken).chain([last]))
}

/// On one line each: what a manifest says must not end the comment (Invariant 8).
fn noted(lines: impl Iterator<Item = String>) -> String {
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
