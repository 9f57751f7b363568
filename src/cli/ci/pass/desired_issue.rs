//! One issue for what a pass cannot apply of the desired branch: opened once, brought up to date while it changes, and closed when
//! it is repaired.

use crate::cli::Context;
use crate::cli::ci::host::Host;
use crate::cli::ci::pass::pass_report::PassReport;
use crate::cli::ci::step;
use crate::cli::error::CliError;
use crate::cli::repo_context::RepoContext;
use crate::config::Actions;
use crate::host::{HostError, Issue, IssueChange, IssueEnd, NewIssue};
use crate::report::desired_issue::{MARKER, Unapplied};
use crate::report::markdown::PageLinks;
use crate::report::text;

/// The label of the issue. Not `planspec`, by which tasks for people are found and whose closing starts a pass.
const LABEL: &str = "planspec-invalid";

const TITLE: &str = "planspec cannot apply all of the desired branch";

/// What the issue says about this pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IssueState {
    /// Nothing is wrong.
    Sound,
    /// Something is wrong that it did not say before, or that could not be said.
    New,
    /// It says so already.
    Known,
}

/// Keeps the issue up to date; `allowed` says that this pass was to carry out held-back deletions. A host that refuses is a warning: the pass has done its work, and its exit code tells the rest.
pub(super) fn report(
    host: &Host,
    passed: &PassReport,
    (allowed, actions): (bool, &Actions),
    context: &mut Context,
) -> Result<IssueState, CliError> {
    let unapplied = passed.unapplied();
    // What repairs a branch is a push. Every other pass would ask for nothing, and the host counts requests.
    let repaired = match actions.event_name.as_deref() {
        Some("push" | "workflow_dispatch" | "repository_dispatch") => true,
        _ => allowed,
    };
    if unapplied.is_empty() && !repaired {
        return Ok(IssueState::Sound);
    }
    match keep(host, &unapplied, passed, actions, context) {
        Ok(state) => Ok(state),
        Err(error) => {
            let why = error.to_string();
            context.out.warning(format!("cannot report on the host: {}", text::line(&why)))?;
            Ok(if unapplied.is_empty() { IssueState::Sound } else { IssueState::New })
        }
    }
}

fn keep(
    host: &Host,
    unapplied: &Unapplied,
    passed: &PassReport,
    actions: &Actions,
    context: &mut Context,
) -> Result<IssueState, CliError> {
    let own = host.ask(|github, repo| github.open_issues(repo, LABEL))?;
    // Anybody who may label can copy our mark into an issue of their own.
    let own = own.into_iter().filter(|issue| issue.user.as_ref().is_some_and(|user| host.is_own(user)));
    let body = |issue: &Issue| issue.body.clone().unwrap_or_default();
    let old =
        own.filter(|issue| body(issue).trim_start().starts_with(MARKER)).min_by_key(|issue| issue.number);
    if unapplied.is_empty() {
        if let Some(issue) = old {
            close(host, issue.number, passed)?;
            context.out.note(format!("closed #{}: everything is applied", issue.number))?;
        }
        return Ok(IssueState::Sound);
    }
    if let Some(issue) = &old
        && body(issue).contains(&unapplied.fingerprint())
    {
        return Ok(IssueState::Known);
    }
    let branch = RepoContext::open(context)?.current_branch(context)?;
    let full = step::summary_address(actions);
    let home = step::repository_address(actions);
    let foot = step::foot(full.as_deref(), passed.desired.as_deref());
    let links = PageLinks { full: full.as_deref(), repository: home.as_deref(), foot: &foot };
    let body = unapplied.render(&branch, passed.desired.as_deref(), links).comment;
    let number = match old {
        Some(issue) => {
            let change = IssueChange { body: Some(body), ..IssueChange::default() };
            host.ask(|github, repo| async move { github.change_issue(repo, issue.number, &change).await })?
                .number
        }
        None => {
            let title = TITLE.to_owned();
            let labels = vec![LABEL.to_owned()];
            let issue = NewIssue { title, body, labels, assignees: Vec::new() };
            host.ask(|github, repo| async move { github.open_issue(repo, &issue).await })?.number
        }
    };
    context.out.note(format!("what cannot be applied is in #{number}"))?;
    Ok(IssueState::New)
}

fn close(host: &Host, number: u64, passed: &PassReport) -> Result<(), HostError> {
    let commit: String = passed.desired.iter().flat_map(|commit| commit.chars()).take(12).collect();
    let change = IssueChange {
        body: Some(format!(
            "{MARKER}\n## ✅ planspec applies all of the desired branch\n\nRepaired by commit `{commit}`.\n"
        )),
        open: Some(false),
        closed_as: Some(IssueEnd::Completed),
    };
    host.ask(|github, repo| async move { github.change_issue(repo, number, &change).await }).map(|_| ())
}
