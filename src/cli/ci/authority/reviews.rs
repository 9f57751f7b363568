//! Reviews of pull requests as approvals: whose they are, and how one is recorded. What they are about is decided by those who
//! ask.

use std::collections::BTreeMap;

use crate::cli::Context;
use crate::cli::ci::authority::authorize::{Permission, authorise, owners_at};
use crate::cli::ci::authority::authors::refuse_author;
use crate::cli::ci::authority::{DecisionSource, record};
use crate::cli::ci::host::Host;
use crate::cli::ci::pass_view::PassView;
use crate::cli::error::{CliError, Exit};
use crate::engine::{Decision, people_of};
use crate::host::{Account, PullRequest, ReviewVerdict};
use crate::model::{GateSpec, ResourceKey, ReviewAction};
use crate::report::text;

/// A gate at which an Execution waits.
pub(super) struct AskedGate<'a> {
    pub(super) execution: &'a ResourceKey,
    pub(super) gate: &'a ResourceKey,
    /// Its spec, where one is in force.
    pub(super) spec: Option<&'a GateSpec>,
    /// The digest of what was reviewed: something else that is asked meanwhile is not approved by it (Invariant 11).
    pub(super) expect: Option<String>,
}

/// Records the approval of one reviewer for one gate, if it counts.
pub(super) fn count(
    host: &Host,
    view: &PassView,
    asked: &AskedGate<'_>,
    (who, source): (&Account, &DecisionSource),
    pull: &PullRequest,
    context: &mut Context,
) -> Result<bool, CliError> {
    let AskedGate { execution, gate, spec, expect } = asked;
    let people = people_of(&view.tips().config);
    let owners = owners_at(view, (gate, *spec), Some(execution))?;
    let wish = Permission::Decide(*spec, owners.as_ref());
    let permit = host.ask(|github, repo| authorise(github, repo, who, wish, &people))?;
    let permit = match permit {
        Ok(permit) => permit,
        Err(why) => {
            context.out.note(format!("a review does not count for {gate}: {}", text::line(&why)))?;
            return Ok(false);
        }
    };
    // The same rules as for commands: a second way in with laxer ones would be a way around them.
    if let Some(why) = refuse_author(host, view, gate, Some(execution), &permit.login)? {
        context.out.note(format!("a review does not count for {gate}: {}", text::line(&why)))?;
        return Ok(false);
    }
    let decision = Decision::Review {
        gate: (*gate).clone(),
        action: ReviewAction::Approve,
        execution: Some((*execution).clone()),
        comment: Some(format!("approved #{}", pull.number)),
        expect: expect.clone(),
    };
    match record(&decision, &permit, source, context) {
        Ok(lines) => {
            for line in &lines {
                context.out.line(text::line(line))?;
            }
            Ok(true)
        }
        // A gate may be decided meanwhile; that is no reason to stop.
        Err(error) if error.exit() == Exit::No => {
            let why = error.to_string();
            context.out.note(format!("a review does not count for {gate}: {}", text::line(&why)))?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Who approved the newest commit of a pull request, and did not take that back. Such a review is older than the Execution
/// that its merge brings; what it is about follows from the commit, not from its time.
pub(super) fn approvers(host: &Host, pull: &PullRequest) -> Result<Vec<(Account, DecisionSource)>, CliError> {
    let reviews = host.ask(|github, repo| github.reviews(repo, pull.number))?;
    let mut latest: BTreeMap<String, Option<(Account, DecisionSource)>> = BTreeMap::new();
    for review in reviews {
        let Some(user) = review.user else { continue };
        // A comment leaves what was said before as it is, as the host has it.
        if review.verdict == ReviewVerdict::Comment {
            continue;
        }
        // A push after the approval changes the head, and what is merged is then not what was approved.
        let approves =
            review.verdict == ReviewVerdict::Approved && review.commit.as_deref() == Some(&pull.head.sha);
        let at = review.submitted_at.and_then(|at| at.parse().ok()).filter(|_| approves);
        let source =
            at.map(|at| DecisionSource { name: format!("review {}", review.id), at, in_advance: true });
        // The last word of each person counts: a later request for changes takes an approval back.
        latest.insert(user.login.to_lowercase(), source.map(|source| (user, source)));
    }
    Ok(latest.into_values().flatten().collect())
}
