//! Where a goal stands: its plan, its executions, its deadline.

use jiff::Timestamp;

use super::select::{GoalView, PlanRank, PlanView, Selection, select_plan};
use crate::model::{
    Condition, ConditionStatus, ExecutionPhase, GoalPhase, GoalStatus, Reference, ResourceKey, after,
};

/// An execution that serves the goal: its `goalRef` names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunView<'a> {
    /// Its key.
    pub key: &'a ResourceKey,
    /// Where it stands.
    pub phase: ExecutionPhase,
    /// When it was created.
    pub created: Timestamp,
}

/// When the goal must be reached: `timeout` after its creation.
#[must_use]
pub(crate) fn deadline(goal: &GoalView<'_>) -> Option<Timestamp> {
    // Counted from the commit that brought the goal and not from its first Execution, so that a goal that nobody starts
    // on becomes overdue too.
    let timeout = goal.spec.timeout.as_ref()?;
    Some(after(goal.created, timeout.span()))
}

/// The status of a goal. What is under way counts most, else the latest execution decides; a deadline that passed
/// before any success is a failure whatever else is going on. `previous` keeps the times of conditions that did not change.
#[must_use]
pub(crate) fn goal_status(
    goal: &GoalView<'_>,
    plans: &[PlanView<'_>],
    runs: &[RunView<'_>],
    previous: Option<&GoalStatus>,
    now: Timestamp,
) -> GoalStatus {
    let selection = select_plan(goal, plans);
    // Worked out anew from what is recorded in every pass, never moved on from the previous phase: after a lost race or
    // a rewritten branch the same facts give the same phase (Invariant 5).
    let (phase, reason, message) = standing(goal, &selection, runs, now);
    // From the previous list, since `Condition::set` keeps the time of what did not change. With fresh times every pass
    // would make a commit.
    let mut conditions = previous.map(|status| status.conditions.clone()).unwrap_or_default();
    let mut set = |kind: &str, holds: ConditionStatus, reason: &str, message: String| {
        let condition = Condition {
            kind: kind.to_owned(),
            status: holds,
            reason: reason.to_owned(),
            message,
            last_transition_time: now,
            observed_generation: Some(goal.generation),
        };
        Condition::set(&mut conditions, condition);
    };
    set("Accepted", ConditionStatus::True, "Valid", String::new());
    let (holds, why, words) = plan_condition(goal, &selection);
    set("PlanSelected", holds, why, words);
    let reached = match phase {
        GoalPhase::Succeeded => ConditionStatus::True,
        GoalPhase::Failed | GoalPhase::Cancelled => ConditionStatus::False,
        // Not `False` while it can still be reached: whoever waits for the condition would take that for the outcome.
        _ => ConditionStatus::Unknown,
    };
    set("Reached", reached, reason, message);
    let active_plan_ref = selection.plan.map(|plan| Reference {
        // As a person would write the reference: within its own namespace without one.
        namespace: (plan.namespace != goal.key.namespace).then(|| plan.namespace.clone()),
        name: plan.name,
        uid: None,
    });
    GoalStatus { phase, active_plan_ref, conditions, observed_generation: Some(goal.generation) }
}

fn standing(
    goal: &GoalView<'_>,
    selection: &Selection,
    runs: &[RunView<'_>],
    now: Timestamp,
) -> (GoalPhase, &'static str, String) {
    // The key decides between Executions that one commit brought, which all have its committer time.
    let latest = runs.iter().max_by(|a, b| (a.created, a.key).cmp(&(b.created, b.key)));
    let under_way = runs.iter().filter(|run| !run.phase.is_terminal()).count();
    // An earlier success does not count while another Execution is under way: somebody started it because the goal is
    // to be reached again.
    let succeeded = latest.filter(|run| under_way == 0 && run.phase == ExecutionPhase::Succeeded);
    if let Some(run) = succeeded {
        return (GoalPhase::Succeeded, "ExecutionSucceeded", format!("{} succeeded", run.key));
    }
    // After success and before everything else: what was reached in time stays reached, and what still runs after the
    // deadline is about to be cancelled.
    if let (Some(end), Some(timeout)) = (deadline(goal), &goal.spec.timeout)
        && now >= end
    {
        return (GoalPhase::Failed, "DeadlineExceeded", format!("not reached within {timeout}, by {end}"));
    }
    match latest {
        Some(run) if under_way > 0 => {
            // The latest one may have ended while an older one still runs; the message has to name one that runs.
            let name = runs.iter().find(|run| !run.phase.is_terminal()).map_or(run.key, |run| run.key);
            let more = if under_way > 1 { format!(" and {} more", under_way - 1) } else { String::new() };
            (GoalPhase::Executing, "ExecutionUnderWay", format!("{name}{more}"))
        }
        Some(run) if run.phase == ExecutionPhase::Cancelled => {
            (GoalPhase::Cancelled, "ExecutionCancelled", format!("{} was cancelled", run.key))
        }
        Some(run) => (GoalPhase::Failed, "ExecutionFailed", format!("{} failed", run.key)),
        // Ready and not Executing: a goal never starts anything by itself, only an Execution does.
        None if selection.plan.is_some() => {
            (GoalPhase::Ready, "NotStarted", "no execution runs the plan yet".to_owned())
        }
        None => (GoalPhase::Planning, "NoPlan", "no valid plan serves the goal yet".to_owned()),
    }
}

fn plan_condition(goal: &GoalView<'_>, selection: &Selection) -> (ConditionStatus, &'static str, String) {
    if let Some(plan) = &selection.plan {
        return (ConditionStatus::True, "PlanFound", plan.to_string());
    }
    // None is active, so every candidate is invalid or superseded; no other rank leaves a goal without a plan.
    let candidates = &selection.candidates;
    if candidates.is_empty() {
        let how = match &goal.spec.plan_selector {
            Some(_) => "no plan has the labels of `planSelector`",
            None => "no plan names the goal in its `goalRef`",
        };
        return (ConditionStatus::False, "NoMatchingPlan", how.to_owned());
    }
    let each = candidates.iter().map(|one| format!("{} is {}", one.plan, one.standing));
    let words = each.collect::<Vec<_>>().join("; ");
    let invalid = candidates.iter().any(|one| one.standing == PlanRank::Invalid);
    // Invalid goes first as the reason for programs, because a person can fix it; the message lists both.
    (ConditionStatus::False, if invalid { "PlanInvalid" } else { "PlanSuperseded" }, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{GoalSpec, Kind, Name, PlanSpec, StringMap};
    use ExecutionPhase::{Blocked, Cancelled, Failed, Running, Succeeded};
    use serde_json::json;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn key(kind: Kind, name: &str) -> ResourceKey {
        ResourceKey::new(kind, Name::new("n").unwrap(), Name::new(name).unwrap())
    }

    /// The goal was created at 100 and has 50 seconds.
    fn status(
        with_plan: bool,
        runs: &[(ExecutionPhase, i64)],
        now: i64,
        previous: Option<&GoalStatus>,
    ) -> GoalStatus {
        let spec: GoalSpec = serde_json::from_value(json!({ "description": "d", "timeout": "50s" })).unwrap();
        let goal_key = key(Kind::Goal, "g");
        let goal = GoalView { key: &goal_key, spec: &spec, generation: 3, created: at(100) };
        let plan: PlanSpec = serde_json::from_value(
            json!({ "description": "d", "graph": { "nodes": [] }, "goalRef": { "name": "g" } }),
        )
        .unwrap();
        let plan_key = key(Kind::Plan, "p");
        let labels = StringMap::new();
        let plans = [PlanView::of(&plan_key, &labels, &plan, with_plan)];
        let keys: Vec<ResourceKey> =
            (0..runs.len()).map(|i| key(Kind::Execution, &format!("e{i}"))).collect();
        let runs: Vec<RunView<'_>> = runs
            .iter()
            .zip(&keys)
            .map(|((phase, created), key)| RunView { key, phase: *phase, created: at(*created) })
            .collect();
        goal_status(&goal, &plans, &runs, previous, at(now))
    }

    #[track_caller]
    fn check(with_plan: bool, runs: &[(ExecutionPhase, i64)], now: i64, phase: GoalPhase, reason: &str) {
        let status = status(with_plan, runs, now, None);
        let reached = Condition::find(&status.conditions, "Reached").unwrap();
        assert_eq!((status.phase, reached.reason.as_str()), (phase, reason), "{runs:?}");
    }

    #[test]
    fn the_phase_follows_the_plan_and_the_executions() {
        check(false, &[], 110, GoalPhase::Planning, "NoPlan");
        check(true, &[], 110, GoalPhase::Ready, "NotStarted");
        check(true, &[(Running, 101)], 110, GoalPhase::Executing, "ExecutionUnderWay");
        check(true, &[(Succeeded, 101), (Blocked, 102)], 110, GoalPhase::Executing, "ExecutionUnderWay");
        check(true, &[(Running, 101), (Succeeded, 102)], 110, GoalPhase::Executing, "ExecutionUnderWay");
        check(true, &[(Failed, 101), (Succeeded, 102)], 110, GoalPhase::Succeeded, "ExecutionSucceeded");
        check(true, &[(Failed, 103), (Succeeded, 102)], 110, GoalPhase::Failed, "ExecutionFailed");
        check(true, &[(Cancelled, 101)], 110, GoalPhase::Cancelled, "ExecutionCancelled");
        check(false, &[(Succeeded, 101)], 110, GoalPhase::Succeeded, "ExecutionSucceeded");
    }

    #[test]
    fn the_deadline_counts_from_creation_and_not_after_success() {
        check(true, &[(Running, 101)], 149, GoalPhase::Executing, "ExecutionUnderWay");
        check(true, &[(Running, 101)], 150, GoalPhase::Failed, "DeadlineExceeded");
        check(true, &[], 150, GoalPhase::Failed, "DeadlineExceeded");
        check(true, &[(Succeeded, 101)], 1_000, GoalPhase::Succeeded, "ExecutionSucceeded");
        check(true, &[(Cancelled, 101)], 1_000, GoalPhase::Failed, "DeadlineExceeded");
    }

    #[test]
    fn a_second_look_changes_nothing() {
        let first = status(true, &[(Running, 101)], 110, None);
        assert_eq!(status(true, &[(Running, 101)], 120, Some(&first)), first);
        let later = status(true, &[(Succeeded, 101)], 130, Some(&first));
        assert_eq!(Condition::find(&later.conditions, "Accepted").unwrap().last_transition_time, at(110));
        assert_eq!(Condition::find(&later.conditions, "Reached").unwrap().last_transition_time, at(130));
        assert_eq!(later.observed_generation, Some(3));
        assert_eq!(later.active_plan_ref, Some(Reference::to(Name::new("p").unwrap())));
    }

    #[test]
    fn the_plan_condition_says_why_there_is_none() {
        let status = status(false, &[], 110, None);
        let condition = Condition::find(&status.conditions, "PlanSelected").unwrap();
        assert_eq!(
            (condition.reason.as_str(), condition.message.as_str()),
            ("PlanInvalid", "n/plan/p is invalid")
        );
    }
}
