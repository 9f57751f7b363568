//! The columns of `get`, by kind.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::object::LiveObject;
use super::table::{Table, TableCell};
use super::{age, text};
use crate::model::{
    BindingSpec, CapabilitySpec, ExecutionSpec, ExecutionStatus, GatePhase, GateSpec, GoalSpec, Kind,
    NodeKind, NodePhase, PlanSpec, Reference, ResourceStatus, Review, ReviewAction, ScheduleSpec,
    ScheduleStatus, Spec, StatusMetadata,
};

/// How much of a description a wide table shows.
const DESCRIPTION: usize = 60;

/// A table of objects of one kind.
#[must_use]
pub(crate) fn table(
    kind: Kind,
    objects: &[&LiveObject],
    namespaces: bool,
    wide: bool,
    now: Timestamp,
) -> Table {
    let mut heads: Vec<&str> = Vec::new();
    if namespaces {
        heads.push("namespace");
    }
    heads.extend(["name", "phase"]);
    heads.extend(narrow_heads(kind));
    heads.push("age");
    if wide {
        heads.extend(wide_heads(kind));
    }
    let mut table = Table::new(heads);
    for object in objects {
        table.row(row(object, namespaces, wide, now));
    }
    table
}

/// The row of one object, as [`table`] shows it.
#[must_use]
pub(crate) fn row(object: &LiveObject, namespaces: bool, wide: bool, now: Timestamp) -> Vec<TableCell> {
    let mut cells: Vec<TableCell> = Vec::new();
    if namespaces {
        cells.push(object.key.namespace.as_str().into());
    }
    cells.push(object.key.name.as_str().into());
    cells.push(TableCell::phase(&object.phase()));
    cells.extend(narrow(object, now).iter().map(TableCell::from));
    // The age counts from the commit that first held the resource, which only the record knows.
    let created = object.record.as_ref().map(|record| record.metadata.creation_timestamp);
    cells.push(or_dash(created.map(|at| age::between(at, now))).into());
    if wide {
        cells.extend(wider(object).iter().map(TableCell::from));
    }
    cells
}

fn narrow_heads(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Goal => &["plan", "priority"],
        Kind::Plan => &["nodes", "series", "version"],
        Kind::Capability => &["category"],
        Kind::Binding => &["bound", "strategy"],
        Kind::Gate => &["approvals", "target"],
        Kind::Execution => &["nodes", "plan", "elapsed"],
        Kind::Schedule => &["cron", "last", "next"],
    }
}

fn wide_heads(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Goal => &["timeout", "description"],
        Kind::Plan => &["goal", "description"],
        Kind::Capability => &["inputs", "outputs", "description"],
        Kind::Binding => &["providers"],
        Kind::Gate => &["type", "reviewers"],
        Kind::Execution => &["goal", "binding", "runner", "message"],
        Kind::Schedule => &["zone", "runs", "active", "policy"],
    }
}

fn narrow(object: &LiveObject, now: Timestamp) -> Vec<String> {
    let spec = object.resource.as_ref().map(|resource| &resource.spec);
    let status = object.record.as_ref().map(|record| &record.status);
    match object.key.kind {
        Kind::Goal => {
            let plan = match status {
                Some(ResourceStatus::Goal(status)) => status.active_plan_ref.as_ref().map(named),
                _ => None,
            };
            vec![or_dash(plan), or_dash(goal(spec).map(|spec| spec.priority.to_string()))]
        }
        Kind::Plan => {
            let nodes = plan(spec).map(|spec| {
                let work = spec.graph.nodes.iter().filter(|node| node.kind != NodeKind::Group);
                work.count().to_string()
            });
            let of = |field: fn(&PlanSpec) -> Option<&String>| or_dash(plan(spec).and_then(field).cloned());
            vec![or_dash(nodes), of(|spec| spec.series.as_ref()), of(|spec| spec.version.as_ref())]
        }
        Kind::Capability => vec![or_dash(capability(spec).and_then(|spec| spec.category.clone()))],
        Kind::Binding => {
            let bound = match status {
                Some(ResourceStatus::Binding(status)) => {
                    Some(format!("{}/{}", status.bound_count, status.total_count))
                }
                _ => None,
            };
            vec![or_dash(bound), or_dash(binding(spec).map(|spec| format!("{:?}", spec.strategy)))]
        }
        Kind::Gate => {
            let target = gate(spec).map(|spec| {
                let node =
                    spec.target_ref.node_id.as_ref().map(|node| format!("/{node}")).unwrap_or_default();
                format!("{}/{}{node}", spec.target_ref.kind.singular(), spec.target_ref.name)
            });
            vec![approvals(object, spec), or_dash(target)]
        }
        Kind::Execution => {
            let status = execution_status(status);
            let nodes = status.and_then(|status| progress(object, status));
            let elapsed = status.and_then(|status| {
                status.start_time.map(|start| age::between(start, status.completion_time.unwrap_or(now)))
            });
            vec![or_dash(nodes), or_dash(plan_of(spec, status)), or_dash(elapsed)]
        }
        Kind::Schedule => {
            let status = schedule_status(status);
            let last = status.and_then(|status| status.last_schedule_time);
            let next = status.and_then(|status| status.next_schedule_time);
            vec![
                or_dash(schedule(spec).map(|spec| spec.cron.clone())),
                or_dash(last.map(|at| format!("{} ago", age::between(at, now)))),
                or_dash(next.map(|at| due(at, now))),
            ]
        }
    }
}

fn wider(object: &LiveObject) -> Vec<String> {
    let spec = object.resource.as_ref().map(|resource| &resource.spec);
    let status = object.record.as_ref().map(|record| &record.status);
    let count = |number: usize| number.to_string();
    match object.key.kind {
        Kind::Goal => {
            let timeout = goal(spec).and_then(|spec| spec.timeout.as_ref()).map(ToString::to_string);
            vec![or_dash(timeout), description(goal(spec).map(|spec| &spec.description))]
        }
        Kind::Plan => {
            let goal = plan(spec).and_then(|spec| spec.goal_ref.as_ref()).map(named);
            vec![or_dash(goal), description(plan(spec).map(|spec| &spec.description))]
        }
        Kind::Capability => {
            let spec = capability(spec);
            vec![
                or_dash(spec.map(|spec| count(spec.inputs.len()))),
                or_dash(spec.map(|spec| count(spec.outputs.len()))),
                description(spec.map(|spec| &spec.description)),
            ]
        }
        Kind::Binding => vec![or_dash(binding(spec).map(providers))],
        Kind::Gate => {
            let reviewers = gate(spec).map(|spec| match spec.reviewers.as_slice() {
                // An empty cell would read as if nobody could.
                [] => "anyone with write access".to_owned(),
                some => some.join(","),
            });
            vec![or_dash(gate(spec).map(|spec| kebab(&format!("{:?}", spec.gate_type)))), or_dash(reviewers)]
        }
        Kind::Execution => {
            let spec = execution(spec);
            let status = execution_status(status);
            let runner =
                status.and_then(|status| status.extensions.lease.as_ref()).map(|lease| lease.holder.clone());
            let message = status.and_then(|status| status.message.as_ref());
            vec![
                or_dash(spec.and_then(|spec| spec.goal_ref.as_ref()).map(named)),
                or_dash(spec.and_then(|spec| spec.binding_ref.as_ref()).map(named)),
                or_dash(runner),
                description(message),
            ]
        }
        Kind::Schedule => {
            let spec = schedule(spec);
            let runs = spec.and_then(|spec| match (&spec.plan_ref, &spec.goal_ref) {
                (Some(plan), _) => Some(format!("plan/{}", named(plan))),
                (None, goal) => goal.as_ref().map(|goal| format!("goal/{}", named(goal))),
            });
            vec![
                or_dash(spec.map(|spec| spec.time_zone.clone().unwrap_or_else(|| "UTC".to_owned()))),
                or_dash(runs),
                or_dash(schedule_status(status).map(|status| count(status.active.len()))),
                or_dash(spec.map(|spec| format!("{:?}", spec.concurrency_policy))),
            ]
        }
    }
}

/// How many of the nodes that do work have ended, and how.
fn progress(object: &LiveObject, status: &ExecutionStatus) -> Option<String> {
    // A group does no work of its own, so that its end would count what its children did once more.
    let counted = status.node_statuses.iter().filter(|(id, _)| !object.summaries.contains(*id));
    let phases: Vec<NodePhase> = counted.map(|(_, node)| node.phase).collect();
    // What has ended counts, however it ended: this is how far the work is, not how well it went.
    let ended = phases.iter().filter(|phase| phase.is_terminal()).count();
    (!phases.is_empty()).then(|| format!("{ended}/{}{}", phases.len(), outcomes(&phases)))
}

/// How what has ended came out, as ` ✓2 ✘1 –2`; nothing where all of it succeeded.
fn outcomes(phases: &[NodePhase]) -> String {
    let count = |wanted: &[NodePhase]| phases.iter().filter(|phase| wanted.contains(phase)).count();
    let failed = count(&[NodePhase::Failed]);
    let skipped = count(&[NodePhase::Skipped, NodePhase::Cancelled]);
    if failed + skipped == 0 {
        return String::new();
    }
    let shown = [('✓', count(&[NodePhase::Succeeded])), ('✘', failed), ('–', skipped)];
    shown.iter().filter(|(_, count)| *count > 0).map(|(sign, count)| format!(" {sign}{count}")).collect()
}

fn approvals(object: &LiveObject, spec: Option<&Spec>) -> String {
    let Some(record) = &object.record else { return "-".to_owned() };
    let ResourceStatus::Gate(status) = &record.status else { return "-".to_owned() };
    let needed = match gate(spec) {
        Some(spec) => spec.required_approvers.to_string(),
        // An implicit gate takes one approval (contract).
        None if record.metadata.annotations.contains_key(StatusMetadata::IMPLICIT) => "1".to_owned(),
        // Its manifest is gone, and the version that decides is pinned beside the record: one would be a guess.
        None => "?".to_owned(),
    };
    // After the decision those count who made it; the history keeps voided reviews as well.
    if let Some(resolution) = status.resolution.as_ref().filter(|_| status.phase == GatePhase::Approved) {
        return format!("{}/{needed}", resolution.actors.len());
    }
    // One gate may serve many executions: those who approved the one that was reviewed last, each once.
    let bound = |review: &Review| review.extensions.as_ref().map(|binding| binding.execution.clone());
    let latest = status.review_history.last().and_then(bound);
    let approvals = status.review_history.iter().filter(|review| review.action == ReviewAction::Approve);
    let given: BTreeSet<&str> =
        approvals.filter(|review| bound(review) == latest).map(|review| review.reviewer.as_str()).collect();
    format!("{}/{needed}", given.len())
}

fn plan_of(spec: Option<&Spec>, status: Option<&ExecutionStatus>) -> Option<String> {
    // The manifest may be gone while its record still says what ran.
    let pinned =
        status.and_then(|status| status.extensions.pinned.as_ref()).map(|pin| pin.plan.name.to_string());
    pinned.or_else(|| execution(spec).map(|spec| named(&spec.plan_ref)))
}

fn providers(spec: &BindingSpec) -> String {
    let mut names: Vec<&str> = spec.rules.iter().map(|rule| rule.target.provider.as_str()).collect();
    names.dedup();
    names.join(",")
}

/// A reference as it is written: with its namespace only where it names one.
fn named(reference: &Reference) -> String {
    match &reference.namespace {
        Some(namespace) => format!("{namespace}/{}", reference.name),
        None => reference.name.to_string(),
    }
}

fn description(description: Option<&String>) -> String {
    or_dash(description.map(|description| text::shortened(description.trim(), DESCRIPTION)))
}

fn or_dash(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".to_owned())
}

/// `SignOff` as `sign-off`.
pub(super) fn kebab(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 2);
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

macro_rules! spec_of {
    ($name:ident, $variant:ident, $type:ty) => {
        fn $name(spec: Option<&Spec>) -> Option<&$type> {
            match spec {
                Some(Spec::$variant(spec)) => Some(spec),
                _ => None,
            }
        }
    };
}

spec_of!(goal, Goal, GoalSpec);
spec_of!(plan, Plan, PlanSpec);
spec_of!(capability, Capability, CapabilitySpec);
spec_of!(binding, Binding, BindingSpec);
spec_of!(gate, Gate, GateSpec);
spec_of!(execution, Execution, ExecutionSpec);
spec_of!(schedule, Schedule, ScheduleSpec);

fn schedule_status(status: Option<&ResourceStatus>) -> Option<&ScheduleStatus> {
    match status {
        Some(ResourceStatus::Schedule(status)) => Some(status),
        _ => None,
    }
}

/// When the next run of a Schedule starts.
fn due(at: Timestamp, now: Timestamp) -> String {
    // It has come, and waits for the run before it or for a runner.
    if at <= now { "due".to_owned() } else { format!("in {}", age::between(now, at)) }
}

fn execution_status(status: Option<&ResourceStatus>) -> Option<&ExecutionStatus> {
    match status {
        Some(ResourceStatus::Execution(status)) => Some(status),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::object::samples;
    use super::*;

    fn lines(object: &LiveObject, namespaces: bool, wide: bool) -> Vec<String> {
        let now = "2026-03-04T12:05:00Z".parse().unwrap();
        let table = table(object.key.kind, &[object], namespaces, wide, now);
        table.lines().iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
    }

    #[test]
    fn a_goal_shows_its_plan_and_priority() {
        assert_eq!(
            lines(&samples::goal(), false, false),
            ["NAME   PHASE       PLAN     PRIORITY   AGE", "sso    Executing   sso-v2   10         5m00s"]
        );
    }

    #[test]
    fn a_wide_table_shows_the_description_on_one_line() {
        let lines = lines(&samples::goal(), true, true);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].starts_with("team ") && lines[1].ends_with("Let people sign in"), "{lines:?}");
    }

    #[test]
    fn every_kind_has_as_many_cells_as_heads_even_when_nothing_is_known() {
        let now = "2026-03-04T12:05:00Z".parse().unwrap();
        for kind in Kind::ALL {
            let mut key = samples::goal().key;
            key.kind = kind;
            let object = LiveObject {
                key,
                resource: None,
                record: None,
                refused: None,
                resource_version: None,
                signature: None,
                declared_by: None,
                summaries: BTreeSet::new(),
            };
            let heads = 4 + narrow_heads(kind).len() + wide_heads(kind).len();
            assert_eq!(row(&object, true, true, now).len(), heads, "{kind}");
        }
    }
}
