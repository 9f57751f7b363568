//! What a decision of a person may change in a record. A signature says who wrote a commit of the status branch; this says
//! whether that is what a person may write: the change has to be one that the fold makes of decisions in their name.

use jiff::Timestamp;

use super::{Change, Evidence, NodeChange, apply};
use crate::model::{
    ExecutionPhase, ExecutionStatus, GateStatus, NodeId, NodePhase, NodeReason, NodeStatus, PersonRequest,
    PinnedGraph, ResourceStatus, StatusRecord,
};

/// Why the change of a record is more than decisions of `by`, as a fragment; `None` where it is no more. `is_derived` says
/// which nodes only follow from others: groups, and nodes with instances.
pub(crate) fn beyond_decisions(
    by: &str,
    old: Option<&StatusRecord>,
    new: Option<&StatusRecord>,
    is_derived: &dyn Fn(&NodeId) -> bool,
) -> Option<String> {
    let Some(new) = new else { return Some("the record is removed".to_owned()) };
    let checked = match (old.map(|old| &old.status), &new.status) {
        (None, ResourceStatus::Gate(new)) => gate(by, &GateStatus::default(), new),
        (Some(ResourceStatus::Gate(old)), ResourceStatus::Gate(new)) => gate(by, old, new),
        (None, ResourceStatus::Execution(new)) => unseen_execution(by, new),
        (Some(ResourceStatus::Execution(old)), ResourceStatus::Execution(new)) => {
            execution(by, old, new, is_derived)
        }
        _ => Err("nobody decides about this kind of resource".to_owned()),
    };
    if let Err(why) = checked {
        return Some(why);
    }
    // A uid names what a review or an attempt belongs to. Only `accept-pin` gives an Execution another one.
    let old = old?;
    let renamed = old.metadata.uid != new.metadata.uid && old.pin_accepted() == new.pin_accepted();
    renamed.then(|| "the uid is another one".to_owned())
}

/// A review more, in this name and without what only the host can vouch for. Everything else in the record of a gate is drawn
/// from the reviews again before anything passes it (Invariant 11).
fn gate(by: &str, old: &GateStatus, new: &GateStatus) -> Result<(), String> {
    let Some(added) = new.review_history.strip_prefix(old.review_history.as_slice()) else {
        return Err("earlier reviews are changed or removed".to_owned());
    };
    if added.is_empty() {
        return Err("the record of the gate is changed without a review".to_owned());
    }
    for review in added {
        if review.reviewer != by {
            return Err(format!("it records a review by {}", review.reviewer));
        }
        // Teams, account and comment are what the host said. A person's key can say nothing for the host.
        let vouched = review.extensions.as_ref().is_some_and(|binding| {
            !binding.teams.is_empty() || binding.account.is_some() || binding.source.is_some()
        });
        if vouched {
            return Err("the review claims what only the Git host can vouch for".to_owned());
        }
    }
    Ok(())
}

/// A cancellation may come before any runner has seen the Execution.
fn unseen_execution(by: &str, new: &ExecutionStatus) -> Result<(), String> {
    let cancelled = new.extensions.cancel.as_ref().is_some_and(|request| request.by == by);
    if !cancelled || !new.node_statuses.is_empty() || new.extensions.pinned.is_some() {
        return Err("the record of an execution is added that nobody has cancelled".to_owned());
    }
    Ok(())
}

fn execution(
    by: &str,
    old: &ExecutionStatus,
    new: &ExecutionStatus,
    is_derived: &dyn Fn(&NodeId) -> bool,
) -> Result<(), String> {
    let mut expected = old.clone();
    let retried = requests(by, &mut expected, new)?;
    nodes(by, &mut expected, new, (is_derived, retried))?;
    follows(&mut expected, new)?;
    // The whole record, and not a list of fields: one that is added later is a runner's until somebody says otherwise.
    if expected != *new {
        return Err("the record of the execution has changes that only a runner makes".to_owned());
    }
    Ok(())
}

/// Takes over what people ask of an Execution as a whole; whether it is retried.
fn requests(by: &str, expected: &mut ExecutionStatus, new: &ExecutionStatus) -> Result<bool, String> {
    let mine = &mut expected.extensions;
    let theirs = &new.extensions;
    let retried = theirs.retries == mine.retries.saturating_add(1);
    let mut frees_lease = false;
    let mut asked = |mine: &mut Option<PersonRequest>, theirs: &Option<PersonRequest>, frees: bool| {
        if mine == theirs {
            return Ok(());
        }
        match theirs {
            Some(request) if request.by != by => {
                return Err(format!("it records a request of {}", request.by));
            }
            Some(_) => frees_lease |= frees,
            None => {}
        }
        mine.clone_from(theirs);
        Ok(())
    };
    asked(&mut mine.suspend, &theirs.suspend, false)?;
    if theirs.resumed.is_some() {
        asked(&mut mine.resumed, &theirs.resumed, false)?;
    }
    // A request to cancel goes away by a retry alone.
    if theirs.cancel.is_some() || retried {
        asked(&mut mine.cancel, &theirs.cancel, true)?;
    }
    if theirs.unlocked.is_some() {
        asked(&mut mine.unlocked, &theirs.unlocked, true)?;
    }
    if theirs.pin_accepted.is_some() && mine.pin_accepted != theirs.pin_accepted {
        asked(&mut mine.pin_accepted, &theirs.pin_accepted, false)?;
        // That the commit was merged is checked before anything runs (Invariant 14). Of what was merged, an older plan may lack
        // a gate that was added since, so it has to be the same graph, as for the command.
        let what = |pinned: &Option<PinnedGraph>| {
            pinned.as_ref().map(|pin| (pin.plan.clone(), pin.graph_digest.clone(), pin.goal.clone()))
        };
        if what(&mine.pinned) != what(&theirs.pinned) {
            return Err("what is pinned now is another graph".to_owned());
        }
        mine.pinned.clone_from(&theirs.pinned);
    }
    // `cancel` ends an expired lease without naming anybody, also when the request is an older one.
    if theirs.lease.is_none() && (frees_lease || mine.cancel.is_some()) {
        mine.lease = None;
    }
    if retried {
        mine.retries = theirs.retries;
        mine.reuse.clone_from(&theirs.reuse);
    }
    Ok(retried)
}

/// Makes of each changed node what a decision in this name would make of it.
fn nodes(
    by: &str,
    expected: &mut ExecutionStatus,
    new: &ExecutionStatus,
    (is_derived, retried): (&dyn Fn(&NodeId) -> bool, bool),
) -> Result<(), String> {
    let gone: Vec<NodeId> =
        expected.node_statuses.keys().filter(|id| !new.node_statuses.contains_key(*id)).cloned().collect();
    for id in gone {
        // Instances whose list is computed again. A node of the plan itself that is missing is a pin that does not hold.
        if !retried {
            return Err(format!("node `{id}` is removed"));
        }
        expected.node_statuses.remove(&id);
    }
    for (id, node) in new.node_statuses.iter() {
        let Some(before) = expected.node_statuses.get(id) else {
            return Err(format!("node `{id}` is added"));
        };
        if before == node {
            continue;
        }
        if is_derived(id) {
            expected.node_statuses.insert(id.clone(), node.clone());
            continue;
        }
        let Some((change, at)) = decision(by, before, node) else {
            return Err(format!("node `{id}` becomes {} without a decision of {by}", node.phase));
        };
        // The same fold as for everybody: what is illegal for a decision is illegal for a forged one.
        apply(expected, &Change::Node(id.clone(), change), at).map_err(|error| error.to_string())?;
        if expected.node_statuses.get(id) != Some(node) {
            return Err(format!("node `{id}` has changes that only a runner makes"));
        }
    }
    Ok(())
}

/// The decision in this name that would make the one node of the other, and when it was made.
fn decision(by: &str, old: &NodeStatus, new: &NodeStatus) -> Option<(NodeChange, Timestamp)> {
    let says = |words: &str| says(&new.message, words, by);
    let message = new.message.clone();
    let extensions = &new.extensions;
    let ended = new.completion_time;
    match (new.phase, extensions.reason) {
        (NodePhase::Succeeded, reason @ Some(NodeReason::CompletedByPerson)) if says("completed") => {
            // With the commits that a person handed in.
            let result = new.extensions.result.as_deref().cloned();
            let outputs = new.outputs.clone();
            let evidence = Evidence { result, ..Evidence::default() };
            Some((NodeChange::Succeed { reason, message, outputs, evidence }, ended?))
        }
        (NodePhase::Failed, Some(reason @ NodeReason::CompletedByPerson)) if says("failed") => {
            Some((NodeChange::Fail { reason, message, evidence: Evidence::default() }, ended?))
        }
        (NodePhase::Cancelled, Some(reason @ NodeReason::CancelRequested)) if says("cancelled") => {
            Some((NodeChange::Cancel { reason, message }, ended?))
        }
        (NodePhase::Pending, _) if says("retried") => {
            Some((NodeChange::Reset { message }, extensions.reset_at?))
        }
        (NodePhase::Blocked, Some(NodeReason::BudgetSpent)) => {
            let granted = extensions.granted.as_ref().filter(|granted| granted.by == by)?;
            let is_new = old.extensions.granted.as_ref() != Some(granted);
            is_new.then(|| (NodeChange::Grant(granted.clone()), granted.at))
        }
        (NodePhase::Blocked, _) => match (&extensions.decided, &extensions.answer) {
            (Some(decided), _) if old.extensions.decided.is_none() => {
                let word = if decided.failed { "failed" } else { "completed" };
                let at = extensions.blocked_since.unwrap_or(Timestamp::UNIX_EPOCH);
                self::says(&decided.message, word, by)
                    .then(|| (NodeChange::Decide(Box::new(decided.clone())), at))
            }
            (_, Some(answer)) if old.extensions.answer.is_none() && answer.by == by => {
                Some((NodeChange::Answer(answer.clone()), answer.at))
            }
            _ => None,
        },
        _ => None,
    }
}

/// Whether a message is `WORD by NAME`, with or without a comment: `completed by ada` is not `completed by adam`.
fn says(message: &str, word: &str, by: &str) -> bool {
    let rest = message.strip_prefix(word).and_then(|rest| rest.strip_prefix(" by "));
    rest.and_then(|rest| rest.strip_prefix(by)).is_some_and(|rest| rest.is_empty() || rest.starts_with(": "))
}

/// Takes over what follows from the nodes. A phase that would hide work which is left to do does not follow from them.
fn follows(expected: &mut ExecutionStatus, new: &ExecutionStatus) -> Result<(), String> {
    let ended = new.node_statuses.values().all(|node| node.phase.is_terminal());
    if new.phase != expected.phase
        && matches!(new.phase, ExecutionPhase::Succeeded | ExecutionPhase::Failed)
        && !ended
    {
        return Err(format!("the execution becomes {} with nodes that have not ended", new.phase.as_str()));
    }
    expected.phase = new.phase;
    expected.reason.clone_from(&new.reason);
    expected.message.clone_from(&new.message);
    expected.conditions.clone_from(&new.conditions);
    expected.completion_time = new.completion_time;
    expected.last_phase_transition_time = new.last_phase_transition_time;
    if new.extensions.mutex.is_none() {
        expected.extensions.mutex = None;
    }
    Ok(())
}
