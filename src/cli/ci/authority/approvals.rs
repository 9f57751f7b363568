//! Approving reviews of the pull request that brought an Execution, where a gate says that they count for it.

use std::collections::BTreeMap;

use crate::cli::Context;
use crate::cli::ci::authority::authorize::gates_of;
use crate::cli::ci::authority::draft_reviews;
use crate::cli::ci::authority::reviewed::ReviewedStates;
use crate::cli::ci::authority::reviews::{AskedGate, approvers, count};
use crate::cli::ci::host::Host;
use crate::cli::ci::pass_view::PassView;
use crate::cli::desired::{Desired, load};
use crate::cli::error::CliError;
use crate::engine::people_of;
use crate::model::{GateSpec, ResourceKey, ResourceStatus, Spec};

/// The annotation of a Gate that lets reviews count.
const COUNTS: &str = "planspec.io/approve-by-review";

/// Lets approving reviews count for the gates that wait: those of what they ask about, and, where a gate says so, those of the
/// pull request that brought its Execution. The answer is how many were recorded.
pub(crate) fn count_reviews(host: &Host, context: &mut Context) -> Result<usize, CliError> {
    let view = PassView::open(context)?;
    let Some(tip) = view.tips().desired else { return Ok(0) };
    let waiting = waiting_gates(&view)?;
    if waiting.is_empty() {
        return Ok(0);
    }
    let desired = load(&view.workspace().repo, tip, &view.tips().config)?;
    let of_drafts = draft_reviews::count(host, &view, &desired, &waiting, context)?;
    Ok(of_drafts + count_origins(host, &view, &desired, waiting, context)?)
}

/// Counts the reviews of the pull requests that brought the Executions.
fn count_origins(
    host: &Host,
    view: &PassView,
    desired: &Desired,
    waiting: Vec<(ResourceKey, Vec<ResourceKey>)>,
    context: &mut Context,
) -> Result<usize, CliError> {
    let mut recorded = 0;
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
    let mut states = ReviewedStates::new(view, desired);
    for (execution, pull) in pulls {
        // What changed between the review and the wait is not what the reviewer saw (Invariant 11).
        if let Some(why) = states.difference(&execution, &pull)? {
            let name = format!("{}/{}", execution.namespace, execution.name);
            context.out.note(format!("reviews of #{} do not count for {name}: {why}", pull.number))?;
            continue;
        }
        let approvers = approvers(host, &pull)?;
        let people = people_of(&view.tips().config);
        for (gate, spec) in asked.remove(&execution).unwrap_or_default() {
            for (who, source) in &approvers {
                let name = people.identify_account(&who.login, who.id).unwrap_or_default();
                if already(view, &gate, &execution, &name)? {
                    continue;
                }
                let asked = AskedGate { execution: &execution, gate: &gate, spec: Some(&spec), expect: None };
                recorded += usize::from(count(host, view, &asked, (who, source), &pull, context)?);
            }
        }
    }
    Ok(recorded)
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
