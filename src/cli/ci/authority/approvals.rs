//! Approving reviews of a pull request, where a gate says that they count for it.

use std::collections::BTreeMap;

use crate::cli::Context;
use crate::cli::ci::authority::authorize::{Permission, authorise, gates_of, refuse_author};
use crate::cli::ci::authority::{DecisionSource, record};
use crate::cli::ci::host::Host;
use crate::cli::ci::pass_view::PassView;
use crate::cli::desired::load;
use crate::cli::error::{CliError, Exit};
use crate::engine::{Decision, people_of};
use crate::git::ObjectId;
use crate::github::{Account, PullRequest};
use crate::model::{GateSpec, ResourceKey, ResourceStatus, ReviewAction, Spec};
use crate::report::text;

/// The annotation of a Gate that lets reviews count.
const COUNTS: &str = "planspec.io/approve-by-review";

/// Lets approving reviews count for the gates that wait and say so. The answer is how many were recorded.
pub(crate) fn count_reviews(host: &Host, context: &mut Context) -> Result<usize, CliError> {
    let view = PassView::open(context)?;
    let mut recorded = 0;
    let Some(tip) = view.tips().desired else { return Ok(0) };
    let config = &view.tips().config;
    let waiting = waiting_gates(&view)?;
    if waiting.is_empty() {
        return Ok(0);
    }
    let desired = load(&view.workspace().repo, tip, config)?;
    let mut asked: BTreeMap<ResourceKey, Vec<(ResourceKey, GateSpec)>> = BTreeMap::new();
    for (execution, gates) in waiting {
        for resource in desired.resources.iter().filter(|resource| gates.contains(&resource.key())) {
            // Of a Gate that is declared twice, no declaration may let reviews count that another one does not.
            let declared = desired.resources.iter().filter(|other| other.key() == resource.key()).count();
            let counts = resource.metadata.annotations.get(COUNTS).is_some_and(|value| value == "true");
            if let (true, 1, Spec::Gate(spec)) = (counts, declared, &resource.spec) {
                asked.entry(execution.clone()).or_default().push((resource.key(), spec.clone()));
            }
        }
    }
    let pulls = view.pulls(host, &asked.keys().cloned().collect())?;
    for (execution, pull) in pulls {
        // A plan that changed between the review and the pin is not what the reviewer saw (Invariant 11).
        if !is_what_was_reviewed(&view, &execution, &pull)? {
            let name = format!("{}/{}", execution.namespace, execution.name);
            context.out.note(format!(
                "reviews of #{} do not count for {name}: it runs a different graph than the merge introduced",
                pull.number
            ))?;
            continue;
        }
        let approvers = approvers(host, &pull)?;
        for (gate, spec) in asked.remove(&execution).unwrap_or_default() {
            for (who, source) in &approvers {
                let on = (&gate, &spec);
                recorded += usize::from(count(host, &view, &execution, on, (who, source), &pull, context)?);
            }
        }
    }
    Ok(recorded)
}

fn count(
    host: &Host,
    view: &PassView,
    execution: &ResourceKey,
    (gate, spec): (&ResourceKey, &GateSpec),
    (who, source): (&Account, &DecisionSource),
    pull: &PullRequest,
    context: &mut Context,
) -> Result<bool, CliError> {
    let people = people_of(&view.tips().config);
    if already(view, gate, execution, &people.identify_login(&who.login).unwrap_or_default())? {
        return Ok(false);
    }
    let permit =
        host.ask(|github, repo| authorise(github, repo, who, Permission::Decide(Some(spec)), &people))?;
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
        gate: gate.clone(),
        action: ReviewAction::Approve,
        execution: Some(execution.clone()),
        comment: Some(format!("approved #{}", pull.number)),
        expect: None,
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

/// The Executions that wait at gates, and which.
fn waiting_gates(view: &PassView) -> Result<Vec<(ResourceKey, Vec<ResourceKey>)>, CliError> {
    let mut waiting = Vec::new();
    for key in view.executions()? {
        let gates = gates_of(view, &key)?;
        if !gates.is_empty() {
            waiting.push((key, gates));
        }
    }
    Ok(waiting)
}

/// Whether somebody has said something about this Execution already: a review is no way around a later rejection.
fn already(
    view: &PassView,
    gate: &ResourceKey,
    execution: &ResourceKey,
    name: &str,
) -> Result<bool, CliError> {
    let Some(record) = view.record(gate)? else { return Ok(false) };
    let ResourceStatus::Gate(status) = &record.status else { return Ok(false) };
    let Some(uid) = view.record(execution)?.map(|record| record.metadata.uid) else { return Ok(false) };
    Ok(status.review_history.iter().any(|review| {
        review.reviewer.eq_ignore_ascii_case(name)
            && review.extensions.as_ref().is_some_and(|binding| binding.execution == uid)
    }))
}

/// Whether an Execution runs what the pull request introduced: the graph of its plan as the merge left it.
fn is_what_was_reviewed(
    view: &PassView,
    execution: &ResourceKey,
    pull: &PullRequest,
) -> Result<bool, CliError> {
    let record = view.record(execution)?;
    let pin = record.as_ref().and_then(|record| record.execution()?.extensions.pinned.clone());
    let merge = pull.merge_commit_sha.as_deref().and_then(|sha| sha.parse::<ObjectId>().ok());
    let (Some(pin), Some(merge)) = (pin, merge) else { return Ok(false) };
    if pin.commit == merge.to_string() {
        return Ok(true);
    }
    let Ok(merged) = load(&view.workspace().repo, merge, &view.tips().config) else {
        return Ok(false);
    };
    let plan = merged.resources.into_iter().find(|resource| resource.key() == pin.plan);
    Ok(plan.is_some_and(|plan| match plan.spec {
        Spec::Plan(spec) => spec.digest() == pin.graph_digest,
        _ => false,
    }))
}

/// Who approved the newest commit of a pull request, and did not take that back. Such a review is older than the Execution
/// that its merge brings; what it is about follows from the commit, not from its time.
fn approvers(host: &Host, pull: &PullRequest) -> Result<Vec<(Account, DecisionSource)>, CliError> {
    let reviews = host.ask(|github, repo| github.reviews(repo, pull.number))?;
    let mut latest: BTreeMap<String, Option<(Account, DecisionSource)>> = BTreeMap::new();
    for review in reviews {
        let Some(user) = review.user else { continue };
        // A comment leaves what was said before as it is, as the host has it.
        if review.state == "COMMENTED" || review.state == "PENDING" {
            continue;
        }
        // A push after the approval changes the head, and what is merged is then not what was approved.
        let approves = review.state == "APPROVED" && review.commit_id.as_deref() == Some(&pull.head.sha);
        let at = review.submitted_at.and_then(|at| at.parse().ok()).filter(|_| approves);
        let source =
            at.map(|at| DecisionSource { name: format!("review {}", review.id), at, in_advance: true });
        // The last word of each person counts: a later request for changes takes an approval back.
        latest.insert(user.login.to_lowercase(), source.map(|source| (user, source)));
    }
    Ok(latest.into_values().flatten().collect())
}
