//! A pull request: what merging it would give is compared with what there is, and said in annotations, a check, a comment
//! and the summary of the job. Nothing of the change is executed, and nothing of it chooses the rules.

use crate::cli::Context;
use crate::cli::ci::event::PullRef;
use crate::cli::ci::host::Host;
use crate::cli::ci::{CiOptions, step};
use crate::cli::desired::difference::DesiredDiff;
use crate::cli::desired::preview;
use crate::cli::desired::{self, Desired};
use crate::cli::error::{CliError, Exit};
use crate::cli::repo_context::RepoContext;
use crate::config::{Actions, CONFIG_FILE, Config, MISNAMED_CONFIG_FILES};
use crate::diagnostic::{Diagnostic, Severity};
use crate::git::{MergeResult, ObjectId};
use crate::github::{Annotation, AnnotationLevel, CheckResult, CommentUpdate, CommitState, GitHubError};
use crate::manifest;
use crate::report::diagnostics::github as workflow_commands;
use crate::report::markdown::{COMMENT_LIMIT, RenderedComment};
use crate::report::preview::{MARKER, Preview, render};
use crate::report::text;

/// The name of the check, which a ruleset may require.
const CHECK: &str = "planspec";

/// The most annotations of a check.
const MOST_ANNOTATIONS: usize = 500;

/// What merging would give.
struct MergePreview {
    preview: Preview,
    findings: Vec<Diagnostic>,
    /// Whether there is nothing against it.
    passed: bool,
}

/// Says what merging a pull request would do.
pub(crate) fn run(
    pull: &PullRef,
    choices: &CiOptions,
    actions: &Actions,
    muted: &step::MutedRunner,
    context: &mut Context,
) -> Result<Exit, CliError> {
    // The base, whatever the job has checked out: usually that is the merge result, which must not choose the
    // rules.
    context.options.reference = Some(pull.base.clone());
    let outcome = compare(pull, context)?;
    muted.commands(&workflow_commands(&outcome.findings), &mut context.out)?;
    let rendered = render(&outcome.preview, COMMENT_LIMIT, step::summary_address(actions).as_deref());
    step::summary(actions, &rendered.summary)?;
    let result = if outcome.passed { "valid" } else { "invalid" };
    step::outputs(
        actions,
        &[("result", result.to_owned()), ("executions", "{}".to_owned()), ("status-commit", String::new())],
    )?;
    if let Some(path) = &choices.report {
        let bytes = serde_json::to_vec_pretty(&outcome.preview)?;
        std::fs::write(path, bytes).map_err(|error| CliError::caused("cannot write the report", &error))?;
    }
    // The token of such a job may only read; the report takes the answer to a job that may comment.
    if pull.fork && !pull.trusted {
        context.out.note("a change from a fork is reported in the summary and in annotations only")?;
    } else {
        tell(pull, &outcome, &rendered, actions, context)?;
    }
    Ok(if outcome.passed { Exit::Done } else { Exit::No })
}

/// The comment and the check. A token that may not is no reason to fail: the same is in the summary.
fn tell(
    pull: &PullRef,
    outcome: &MergePreview,
    rendered: &RenderedComment,
    actions: &Actions,
    context: &mut Context,
) -> Result<(), CliError> {
    let host = match Host::open(actions) {
        Ok(host) => host,
        Err(error) => return warn(&error, context),
    };
    match host.keep_comment(pull.number, MARKER, &rendered.comment) {
        Ok(CommentUpdate::Unchanged(_)) => context.out.note("the comment is already up to date")?,
        Ok(_) => context.out.note(format!("commented on #{}", pull.number))?,
        Err(error) => warn(&error.into(), context)?,
    }
    if pull.trusted {
        return Ok(());
    }
    match check(&host, pull, outcome, rendered) {
        Ok(()) => Ok(()),
        Err(error) => warn(&error.into(), context),
    }
}

/// A check run, or a plain status where the token may not write checks.
fn check(
    host: &Host,
    pull: &PullRef,
    outcome: &MergePreview,
    rendered: &RenderedComment,
) -> Result<(), GitHubError> {
    let count = |severity| outcome.findings.iter().filter(|found| found.severity == severity).count();
    let title = format!("{} errors, {} warnings", count(Severity::Error), count(Severity::Warning));
    let report = CheckResult {
        name: CHECK.to_owned(),
        sha: pull.head.clone(),
        passed: outcome.passed,
        title: title.clone(),
        summary: rendered.comment.clone(),
        annotations: outcome.findings.iter().filter_map(annotation).take(MOST_ANNOTATIONS).collect(),
    };
    match host.ask(|github, repo| {
        let report = &report;
        async move { github.report_check(repo, report).await }
    }) {
        Ok(_) => Ok(()),
        // A status needs another permission than a check, and a ruleset can require either.
        Err(GitHubError::Permission { .. }) => {
            let state = if outcome.passed { CommitState::Success } else { CommitState::Failure };
            host.ask(|github, repo| {
                let title = &title;
                async move { github.set_status(repo, &pull.head, CHECK, state, title).await }
            })
        }
        Err(error) => Err(error),
    }
}

fn annotation(found: &Diagnostic) -> Option<Annotation> {
    // The host takes no annotation without a line; the comment holds these findings all the same.
    let span = found.location.span?;
    let level = match found.severity {
        Severity::Error => AnnotationLevel::Failure,
        Severity::Warning => AnnotationLevel::Warning,
        Severity::Note => AnnotationLevel::Notice,
    };
    let hint = found.hint.iter().map(|hint| format!("\nhelp: {}", text::line(hint)));
    Some(Annotation {
        path: found.location.path.clone(),
        start_line: span.line,
        end_line: span.end_line,
        level,
        title: format!("{} {}", found.code.id, found.code.title),
        message: text::line(&found.message).into_owned() + &hint.collect::<String>(),
    })
}

fn warn(error: &CliError, context: &mut Context) -> Result<(), CliError> {
    let why = error.to_string();
    context.out.warning(format!("cannot report on the host: {}", text::line(&why)))
}

/// Compares what merging would give with the newest commit of the base.
fn compare(pull: &PullRef, context: &mut Context) -> Result<MergePreview, CliError> {
    let workspace = RepoContext::open(context)?;
    let tips = workspace.tips(context)?;
    let base =
        tips.desired.ok_or_else(|| CliError::environment("the base commit is not in this repository"))?;
    let head = head(&workspace, pull)?;
    // A shallow clone may not know, and then nothing is claimed.
    let stale = workspace.repo.is_ancestor(base, head)? == Some(false);
    let Some((base, merged)) = merge(&workspace, base, head)? else {
        let mut preview = Preview::empty();
        (preview.base, preview.head) = (Some(base.to_string()), Some(head.to_string()));
        preview.stale_base = stale;
        preview.warnings.push("The change does not merge: it has conflicts with its base.".to_owned());
        return Ok(MergePreview { preview, findings: Vec::new(), passed: false });
    };
    // Of the base for both sides: a change does not choose the rules that it is read by.
    let config = workspace.config_at(Some(base))?;
    let before = desired::load(&workspace.repo, base, &config)?;
    let after = desired::load(&workspace.repo, merged, &config)?;
    let difference = difference(&workspace, (&before, base), (&after, merged), &config, &tips)?;
    let mut preview = preview::of_difference(&difference, &before, &after, &config);
    (preview.base, preview.head) = (Some(base.to_string()), Some(head.to_string()));
    preview.stale_base = stale;
    let mut findings = difference.findings;
    configuration(&workspace, base, merged, &mut preview, &mut findings)?;
    let passed = !findings.iter().any(|found| found.severity == Severity::Error);
    Ok(MergePreview { preview, findings, passed })
}

fn difference(
    workspace: &RepoContext,
    (before, base): (&Desired, ObjectId),
    (after, merged): (&Desired, ObjectId),
    config: &Config,
    tips: &crate::cli::repo_context::SelectedCommits,
) -> Result<DesiredDiff, CliError> {
    let status = workspace.status(tips)?;
    let read = |path: &str| {
        let at = |commit| desired::read_at(&workspace.repo, commit, path, &config.limits);
        // A finding about something that is removed is in a file that only the base has.
        at(merged).or_else(|| at(base))
    };
    DesiredDiff::of(before, after, config, read, workspace, &status)
}

/// A change of the configuration rules nothing before it is merged, but it has to be sound.
fn configuration(
    workspace: &RepoContext,
    base: ObjectId,
    merged: ObjectId,
    preview: &mut Preview,
    findings: &mut Vec<Diagnostic>,
) -> Result<(), CliError> {
    let repo = &workspace.repo;
    let (old, new) = (repo.commit(base)?.tree, repo.commit(merged)?.tree);
    let mut changed = false;
    // A misnamed file counts too, since it would stop every reconcile after the merge.
    for name in std::iter::once(CONFIG_FILE).chain(MISNAMED_CONFIG_FILES) {
        changed |= repo.file(old, name)? != repo.file(new, name)?;
    }
    if !changed {
        return Ok(());
    }
    preview.warnings.push(format!(
        "The change edits {CONFIG_FILE}: reviewers, providers and rules. It is read by the old rules until it is merged."
    ));
    let most = Config::default().limits.file_bytes;
    let (_, found) =
        manifest::read_config(|name| repo.file(new, name)?.map(|blob| repo.blob(blob, most)).transpose())?;
    preview.diagnostics.extend(found.iter().map(preview::finding));
    findings.extend(found);
    Ok(())
}

/// The newest commit of the change, brought in where it is not here.
fn head(workspace: &RepoContext, pull: &PullRef) -> Result<ObjectId, CliError> {
    let head: ObjectId =
        pull.head.parse().map_err(|_| CliError::environment("the event names an invalid commit id"))?;
    if workspace.repo.commit(head).is_ok() {
        return Ok(head);
    }
    let Some(remote) = &workspace.remote else {
        return Err(CliError::environment(format!("commit {head} is not in this repository")));
    };
    // The host keeps this one for every pull request, also for a fork, whose branches are in another
    // repository.
    let reference = format!("refs/pull/{}/head", pull.number);
    // The reference may have moved on since the event; then the commit is asked for by its id.
    if remote.fetch(&workspace.repo, &[&reference]).is_err() || workspace.repo.commit(head).is_err() {
        remote.fetch_commit(&workspace.repo, head)?;
    }
    Ok(head)
}

/// What merging gives, and on top of which base: our own merge, or, where history is cut off, the one that the host has
/// made and checked out. None where the two have conflicts.
fn merge(
    workspace: &RepoContext,
    base: ObjectId,
    head: ObjectId,
) -> Result<Option<(ObjectId, ObjectId)>, CliError> {
    let repo = &workspace.repo;
    let error = match repo.merge(base, head) {
        Ok(MergeResult::Commit(merged)) => return Ok(Some((base, merged))),
        Ok(MergeResult::Conflicts) => return Ok(None),
        Err(error) => error,
    };
    let checked_out = repo.commit(repo.resolve_commit("HEAD")?)?;
    match checked_out.parents.as_slice() {
        // Nothing else that is checked out is taken for the merge: its second parent has to be exactly this
        // head.
        [base, other] if *other == head && repo.commit(*base).is_ok() => Ok(Some((*base, checked_out.id))),
        _ => Err(CliError::from(error)
            .hint("check out with `fetch-depth: 0`, so that the base and the change can be merged")),
    }
}
