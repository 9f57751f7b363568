//! Schedules: which of their times starts a run now, which runs are forgotten, and what is recorded of it. Missed times and
//! concurrency are handled as a CronJob of Kubernetes does.

use jiff::{SignedDuration, Timestamp};

use crate::model::{
    ConcurrencyPolicy, Condition, ConditionStatus, ExecutionSpec, Name, PersonRequest, Reference,
    ScheduleSpec, ScheduleStatus,
};
use crate::run::cron::CronTimes;

/// A run that the Schedule started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScheduledRun {
    /// The name of its Execution.
    pub name: Name,
    /// The time for which it was started.
    pub at: Timestamp,
    /// Whether it has ended.
    pub ended: bool,
}

/// What is known of a Schedule.
#[derive(Debug)]
pub(crate) struct ScheduleView<'a> {
    pub spec: &'a ScheduleSpec,
    pub times: &'a CronTimes,
    pub generation: u64,
    /// Times up to here never count.
    pub created: Timestamp,
    /// The status as it is recorded.
    pub previous: Option<&'a ScheduleStatus>,
    pub runs: &'a [ScheduledRun],
    /// The plan to run; none while a goal has not chosen one.
    pub plan: Option<Reference>,
    pub now: Timestamp,
}

/// What becomes of a Schedule.
#[derive(Debug, PartialEq)]
pub(crate) struct ScheduleDecision {
    pub status: ScheduleStatus,
    /// The time that starts a run now, and what that runs.
    pub start: Option<(Timestamp, ExecutionSpec)>,
    /// Runs whose records go.
    pub forget: Vec<Name>,
    /// When there is something to do again.
    pub wake: Option<Timestamp>,
}

/// What a run of a Schedule runs.
#[must_use]
pub(crate) fn scheduled_spec(schedule: &ScheduleSpec, plan: Reference) -> ExecutionSpec {
    ExecutionSpec {
        plan_ref: plan,
        goal_ref: schedule.goal_ref.clone(),
        binding_ref: schedule.binding_ref.clone(),
        node_bindings: std::collections::BTreeMap::new(),
        runtime_ref: None,
        parameters: schedule.parameters.clone(),
        context: Vec::new(),
        budget: None,
    }
}

/// Why nothing is started although a time has come.
enum Hindrance {
    /// A reason that stays, for programs and in words: the next time will not start anything either.
    Lasting(&'static str, String),
    /// An earlier run is under way.
    Running,
}

/// Decides what a Schedule does now. `is_taken` says whether the name of the run for a time belongs to something else.
pub(crate) fn plan_schedule(
    view: &ScheduleView<'_>,
    is_taken: impl Fn(Timestamp) -> Option<String>,
) -> ScheduleDecision {
    let now = view.now;
    let mut status = view.previous.cloned().unwrap_or_default();
    let mut next = first_open(view);
    let mut start = None;
    let mut hindrance = standing(view);
    let due = next.and_then(|first| Some((first, view.times.last(first, now)?)));
    if let Some((first, last)) = due {
        let missed = |reason, message| condition("OnTime", ConditionStatus::False, reason, message, view);
        let begun = view.runs.iter().any(|run| run.at == last) || status.last_schedule_time == Some(last);
        if begun {
            // Recorded by a runner whose clock was ahead of this one; the time does not come twice.
            next = view.times.after(now);
        } else if hindrance.is_none() && is_late(view, last) {
            let within = view.spec.starting_deadline.as_ref().map(ToString::to_string).unwrap_or_default();
            let message = format!("nothing was started for {last}: no runner came within {within}");
            Condition::set(&mut status.conditions, missed("Missed", message));
            next = view.times.after(now);
        } else if let Some(why) = is_taken(last).filter(|_| hindrance.is_none()) {
            hindrance = Some(Hindrance::Lasting("NameTaken", why));
            // Skipped: who has the name may keep it for ever, and later times have other names.
            next = view.times.after(now);
        } else if let (None, Some(plan)) = (&hindrance, view.plan.clone()) {
            start = Some((last, scheduled_spec(view.spec, plan)));
            status.last_schedule_time = Some(last);
            next = view.times.after(now);
            let on_time = if first == last {
                condition("OnTime", ConditionStatus::True, "Started", String::new(), view)
            } else {
                let message = format!("of the times from {first} to {last}, only the last one was started");
                missed("Missed", message)
            };
            Condition::set(&mut status.conditions, on_time);
        }
    }
    status.next_schedule_time = next;
    status.observed_generation = Some(view.generation);
    let ready = match &hindrance {
        Some(Hindrance::Lasting(reason, message)) => {
            condition(ScheduleStatus::READY, ConditionStatus::False, reason, message.clone(), view)
        }
        _ => condition(ScheduleStatus::READY, ConditionStatus::True, "Scheduled", String::new(), view),
    };
    Condition::set(&mut status.conditions, ready);
    let running = view.runs.iter().filter(|run| !run.ended);
    status.active = running.map(|run| Reference::to(run.name.clone())).collect();
    // What has come and had to wait is woken by the end of what it waits for.
    let wake = next.filter(|at| *at > now && !view.spec.suspend && asked(view).is_none());
    ScheduleDecision { status, start, forget: forgotten(view), wake }
}

/// The first time for which nothing was started or given up yet.
fn first_open(view: &ScheduleView<'_>) -> Option<Timestamp> {
    let recorded = view.previous.and_then(|previous| previous.next_schedule_time);
    let coming = view.times.after(view.now);
    let Some(recorded) = recorded else { return view.times.after(view.created) };
    // The expression was changed, and counts from now on: what it would have meant in the past was never asked for.
    if !view.times.contains(recorded) {
        return coming;
    }
    // Times before the Schedule itself never count, whatever somebody wrote on the status branch (Invariant 14); and a clock
    // that was ahead may have recorded a time that would lock the Schedule until then (Invariant 16).
    let earliest = view.times.after(view.created);
    Some(recorded).max(earliest).into_iter().chain(coming).min()
}

/// Somebody's request that nothing is started.
fn asked<'v>(view: &ScheduleView<'v>) -> Option<&'v PersonRequest> {
    view.previous.and_then(|previous| previous.extensions.suspend.as_ref())
}

/// What keeps the Schedule from starting anything.
fn standing(view: &ScheduleView<'_>) -> Option<Hindrance> {
    if view.spec.suspend {
        return Some(Hindrance::Lasting("Suspended", "`suspend` is set in its manifest".to_owned()));
    }
    if let Some(request) = asked(view) {
        let words = request.comment.as_deref().map(|words| format!(": {words}")).unwrap_or_default();
        let message = format!("suspended by {}{words}; `planspec resume` ends it", request.by);
        return Some(Hindrance::Lasting("Suspended", message));
    }
    if view.plan.is_none() {
        return Some(Hindrance::Lasting("NoPlan", "its goal has no active plan".to_owned()));
    }
    let running = view.runs.iter().any(|run| !run.ended);
    (running && view.spec.concurrency_policy == ConcurrencyPolicy::Forbid).then_some(Hindrance::Running)
}

fn is_late(view: &ScheduleView<'_>, time: Timestamp) -> bool {
    let late = view.now.duration_since(time);
    view.spec.starting_deadline.as_ref().is_some_and(|deadline| {
        SignedDuration::try_from(deadline.span()).is_ok_and(|deadline| late > deadline)
    })
}

/// The ended runs beyond the history limit, the oldest ones.
fn forgotten(view: &ScheduleView<'_>) -> Vec<Name> {
    let mut ended: Vec<&ScheduledRun> = view.runs.iter().filter(|run| run.ended).collect();
    ended.sort_by_key(|run| std::cmp::Reverse(run.at));
    let kept = usize::try_from(view.spec.history_limit).unwrap_or(usize::MAX);
    ended.into_iter().skip(kept).map(|run| run.name.clone()).collect()
}

fn condition(
    kind: &str,
    status: ConditionStatus,
    reason: &str,
    message: String,
    view: &ScheduleView<'_>,
) -> Condition {
    Condition {
        kind: kind.to_owned(),
        status,
        reason: reason.to_owned(),
        message,
        last_transition_time: view.now,
        observed_generation: Some(view.generation),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A Schedule in simulated time, with the runs that it has.
    struct Simulation {
        spec: ScheduleSpec,
        times: CronTimes,
        created: Timestamp,
        status: Option<ScheduleStatus>,
        generation: u64,
        runs: Vec<ScheduledRun>,
        started: Vec<Timestamp>,
    }

    impl Simulation {
        fn new(created: &str, spec: &serde_json::Value) -> Self {
            let mut whole = json!({ "planRef": { "name": "p" } });
            for (name, value) in spec.as_object().unwrap() {
                whole[name] = value.clone();
            }
            let spec: ScheduleSpec = serde_json::from_value(whole).unwrap();
            let times = CronTimes::new(&spec.cron, spec.time_zone.as_deref()).unwrap();
            let status = None;
            let generation = 1;
            let runs = Vec::new();
            let started = Vec::new();
            Self { spec, times, created: at(created), status, generation, runs, started }
        }

        /// A pass at this time; what it decided.
        fn pass(&mut self, now: Timestamp) -> ScheduleDecision {
            let view = ScheduleView {
                spec: &self.spec,
                times: &self.times,
                generation: self.generation,
                created: self.created,
                previous: self.status.as_ref(),
                runs: &self.runs,
                plan: self.spec.plan_ref.clone(),
                now,
            };
            let decision = plan_schedule(&view, |_| None);
            // Planning twice changes nothing but what the first one started (Invariant 5).
            self.status = Some(decision.status.clone());
            if let Some((time, _)) = &decision.start {
                self.started.push(*time);
                let name = Name::new(&format!("r{}", time.as_second())).unwrap();
                self.runs.push(ScheduledRun { name, at: *time, ended: false });
            }
            self.runs.retain(|run| !decision.forget.contains(&run.name));
            decision
        }

        fn end_all(&mut self) {
            self.runs.iter_mut().for_each(|run| run.ended = true);
        }

        fn reason(&self, kind: &str) -> &str {
            let conditions = &self.status.as_ref().unwrap().conditions;
            Condition::find(conditions, kind).map_or("", |condition| condition.reason.as_str())
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Two years with a pass every eleven hours and outages of three days, with changes of the clock in them.
    #[track_caller]
    fn check_two_years(zone: &str) {
        let mut simulation = Simulation::new(
            "2026-01-01T00:00:00Z",
            &json!({ "cron": "30 2 * * *", "timeZone": zone, "historyLimit": 3 }),
        );
        let mut now = at("2026-01-01T00:00:00Z");
        let end = at("2028-01-01T00:00:00Z");
        let mut passes = 0_u64;
        let mut expected = Vec::new();
        while now < end {
            let before = now;
            let outage = if passes % 20 == 19 { 24 * 3 } else { 0 };
            now += SignedDuration::from_mins(673) + SignedDuration::from_hours(outage);
            // Only the last of what came since the last pass.
            let mut last = None;
            let mut time = before;
            while let Some(next) = simulation.times.after(time).filter(|next| *next <= now) {
                (last, time) = (Some(next), next);
            }
            expected.extend(last);
            simulation.pass(now);
            let again = simulation.pass(now);
            assert_eq!(again.start, None, "a second runner at the same time starts nothing");
            assert!(again.wake.is_some_and(|wake| wake > now));
            simulation.end_all();
            passes += 1;
            assert!(simulation.runs.len() <= 4);
        }
        assert_eq!(simulation.started, expected, "{zone}");
        assert!(expected.len() > 500, "{}", expected.len());
    }

    #[test]
    fn a_nightly_schedule_runs_once_a_night_for_two_years() {
        check_two_years("Europe/Berlin");
        check_two_years("America/New_York");
        check_two_years("Australia/Lord_Howe");
    }

    #[test]
    fn times_before_its_creation_never_count() {
        let mut simulation = Simulation::new("2026-03-04T12:00:00Z", &json!({ "cron": "0 * * * *" }));
        let first = simulation.pass(at("2026-03-04T12:30:00Z"));
        assert_eq!((first.start, first.wake), (None, Some(at("2026-03-04T13:00:00Z"))));
        // Nor does what somebody wrote on the status branch.
        simulation.status.as_mut().unwrap().next_schedule_time = Some(at("2026-03-01T00:00:00Z"));
        assert_eq!(simulation.pass(at("2026-03-04T12:40:00Z")).start, None);
        simulation.pass(at("2026-03-04T13:00:00Z"));
        assert_eq!(simulation.started, [at("2026-03-04T13:00:00Z")]);
    }

    #[test]
    fn of_several_missed_times_the_last_one_is_started() {
        let mut simulation = Simulation::new("2026-03-04T12:00:00Z", &json!({ "cron": "0 * * * *" }));
        simulation.pass(at("2026-03-04T12:30:00Z"));
        simulation.pass(at("2026-03-04T17:10:00Z"));
        assert_eq!(simulation.started, [at("2026-03-04T17:00:00Z")]);
        assert_eq!(simulation.reason("OnTime"), "Missed");
        simulation.end_all();
        simulation.pass(at("2026-03-04T18:00:00Z"));
        assert_eq!(simulation.reason("OnTime"), "Started");
    }

    #[test]
    fn what_comes_too_late_is_not_started() {
        let spec = json!({ "cron": "0 * * * *", "startingDeadline": "5m" });
        let mut simulation = Simulation::new("2026-03-04T12:00:00Z", &spec);
        simulation.pass(at("2026-03-04T12:30:00Z"));
        simulation.pass(at("2026-03-04T13:05:01Z"));
        assert_eq!((simulation.started.len(), simulation.reason("OnTime")), (0, "Missed"));
        simulation.pass(at("2026-03-04T14:05:00Z"));
        assert_eq!(simulation.started, [at("2026-03-04T14:00:00Z")]);
    }

    #[test]
    fn what_is_forbidden_beside_another_run_starts_after_it() {
        let mut simulation = Simulation::new("2026-03-04T12:00:00Z", &json!({ "cron": "0 * * * *" }));
        simulation.pass(at("2026-03-04T13:00:00Z"));
        simulation.pass(at("2026-03-04T14:00:00Z"));
        let waiting = simulation.pass(at("2026-03-04T15:30:00Z"));
        assert_eq!((waiting.wake, simulation.started.len()), (None, 1));
        simulation.end_all();
        simulation.pass(at("2026-03-04T15:40:00Z"));
        assert_eq!(simulation.started, [at("2026-03-04T13:00:00Z"), at("2026-03-04T15:00:00Z")]);
    }

    #[test]
    fn what_is_allowed_runs_beside_another() {
        for policy in ["Allow", "Replace"] {
            let spec = json!({ "cron": "0 * * * *", "concurrencyPolicy": policy });
            let mut simulation = Simulation::new("2026-03-04T12:00:00Z", &spec);
            simulation.pass(at("2026-03-04T13:00:00Z"));
            simulation.pass(at("2026-03-04T14:00:00Z"));
            assert_eq!(simulation.started.len(), 2, "{policy}");
        }
    }

    #[test]
    fn a_suspended_schedule_starts_the_last_missed_time_when_it_goes_on() {
        let spec = json!({ "cron": "0 * * * *", "suspend": true });
        let mut simulation = Simulation::new("2026-03-04T12:00:00Z", &spec);
        let suspended = simulation.pass(at("2026-03-04T15:10:00Z"));
        assert_eq!((suspended.start, suspended.wake), (None, None));
        assert_eq!(simulation.status.as_ref().unwrap().word(), "Suspended");
        simulation.spec.suspend = false;
        simulation.pass(at("2026-03-04T15:20:00Z"));
        assert_eq!(simulation.started, [at("2026-03-04T15:00:00Z")]);
    }

    #[test]
    fn a_changed_expression_counts_from_the_change_on() {
        let mut simulation = Simulation::new("2026-03-04T12:00:00Z", &json!({ "cron": "0 2 * * *" }));
        simulation.pass(at("2026-03-05T02:00:00Z"));
        simulation.end_all();
        simulation.times = CronTimes::new("0 14 * * *", None).unwrap();
        // Two in the afternoon has passed today, and was not asked for when it did.
        simulation.pass(at("2026-03-05T15:00:00Z"));
        simulation.pass(at("2026-03-06T14:00:00Z"));
        assert_eq!(simulation.started, [at("2026-03-05T02:00:00Z"), at("2026-03-06T14:00:00Z")]);
    }

    #[test]
    fn a_clock_that_is_ahead_neither_locks_a_schedule_nor_starts_a_time_twice() {
        let mut simulation = Simulation::new("2026-03-04T12:00:00Z", &json!({ "cron": "0 * * * *" }));
        // A minute early by the clock of this runner.
        simulation.pass(at("2026-03-04T13:00:00Z"));
        simulation.end_all();
        assert_eq!(simulation.pass(at("2026-03-04T12:59:00Z")).start, None);
        assert_eq!(simulation.pass(at("2026-03-04T13:00:00Z")).start, None);
        simulation.pass(at("2027-03-04T13:00:00Z"));
        simulation.end_all();
        assert_eq!(simulation.pass(at("2026-03-04T13:59:00Z")).wake, Some(at("2026-03-04T14:00:00Z")));
        simulation.pass(at("2026-03-04T14:00:00Z"));
        assert_eq!(simulation.started.last(), Some(&at("2026-03-04T14:00:00Z")));
    }

    #[test]
    fn a_name_that_is_taken_is_said_and_skipped() {
        let simulation = Simulation::new("2026-03-04T12:00:00Z", &json!({ "cron": "0 * * * *" }));
        let view = ScheduleView {
            spec: &simulation.spec,
            times: &simulation.times,
            generation: 1,
            created: simulation.created,
            previous: None,
            runs: &[],
            plan: simulation.spec.plan_ref.clone(),
            now: at("2026-03-04T13:10:00Z"),
        };
        let decision = plan_schedule(&view, |_| Some("taken".to_owned()));
        assert_eq!((decision.start, decision.status.word()), (None, "NameTaken"));
        assert_eq!(decision.wake, Some(at("2026-03-04T14:00:00Z")));
    }
}
