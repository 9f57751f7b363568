//! What makes a derived Execution genuine: its name, its uid and its spec follow from what made it, which was merged
//! (Invariant 14).

use uuid::Uuid;

use super::UID_NAMESPACE;
use crate::model::{
    DerivedExecution, ExecutionSpec, Name, Origin, Reference, Resource, ResourceKey, ScheduleSpec, Spec,
};
use crate::plan::goal::{PlanView, is_meant_for};
use crate::plan::recurrence::scheduled_spec;
use crate::run::cron::CronTimes;

/// The uid of what an owner makes for this reason: whoever makes it, it is the same one.
pub(crate) fn derived_uid(owner: &str, origin: &Origin) -> String {
    let reason = match origin {
        Origin::Time(at) => format!("time/{}", at.as_second()),
        // As it is written, while the name replaces underscores.
        Origin::Node(node, attempt) => format!("node/{node}/{attempt}"),
    };
    Uuid::new_v5(&UID_NAMESPACE, format!("{owner}/{reason}").as_bytes()).to_string()
}

/// What a derived Execution has to run, computed again from merged manifests; or why it is none of its owner's.
pub(crate) fn expected_spec(
    (key, uid): (&ResourceKey, &str),
    derived: &DerivedExecution,
    owner: &Resource,
    plan: &Resource,
    goal: Option<&Resource>,
) -> Result<ExecutionSpec, String> {
    let owner_key = owner.key();
    if derived.owner_key(&key.namespace) != owner_key {
        return Err(format!("what is pinned as its owner is {owner_key}"));
    }
    if DerivedExecution::name(&owner_key.name, &derived.origin) != key.name {
        return Err(format!("{owner_key} gives no execution this name"));
    }
    if derived_uid(&derived.owner.uid, &derived.origin) != uid {
        return Err("its uid is not made of that of its owner".to_owned());
    }
    match (&owner.spec, &derived.origin) {
        (Spec::Schedule(schedule), Origin::Time(at)) => {
            let times = CronTimes::new(&schedule.cron, schedule.time_zone.as_deref());
            if !times.is_ok_and(|times| times.contains(*at)) {
                return Err(format!("{at} is not a time of {owner_key}"));
            }
            let plan = plan_of(schedule, &owner_key, plan, goal)?;
            Ok(scheduled_spec(schedule, plan))
        }
        _ => Err(format!("{owner_key} makes no such execution")),
    }
}

/// The plan that a Schedule runs. Which one a goal had chosen at that time is not known any more; it must be one that serves it.
fn plan_of(
    schedule: &ScheduleSpec,
    owner: &ResourceKey,
    plan: &Resource,
    goal: Option<&Resource>,
) -> Result<Reference, String> {
    if let Some(plan) = &schedule.plan_ref {
        return Ok(plan.clone());
    }
    let key = plan.key();
    let serves = goal.is_some_and(|goal| match (&goal.spec, &plan.spec) {
        (Spec::Goal(spec), Spec::Plan(named)) => {
            let view = PlanView::of(&key, &plan.metadata.labels, named, true);
            is_meant_for(&view, &goal.key(), spec)
        }
        _ => false,
    });
    if !serves {
        return Err(format!("{key} does not serve the goal of {owner}"));
    }
    Ok(reference_from(&owner.namespace, &key))
}

/// A reference as a person would write it: within its own namespace without one.
pub(crate) fn reference_from(home: &Name, key: &ResourceKey) -> Reference {
    let namespace = (key.namespace != *home).then(|| key.namespace.clone());
    Reference { namespace, ..Reference::to(key.name.clone()) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Limits;
    use crate::manifest;
    use crate::model::{Kind, Name, NodeId};

    const OWNER_UID: &str = "6f9619ff-8b86-5011-b42d-00cf4fc964ff";

    fn resource(kind: &str, name: &str, fields: &Value, spec: &Value) -> Resource {
        let mut metadata = json!({ "name": name, "namespace": "team" });
        metadata.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let manifest =
            json!({ "apiVersion": "planspec.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec });
        let text = manifest.to_string();
        let parsed = manifest::parse("m.json", text.as_bytes(), &Limits::default());
        assert_eq!(parsed.resources.len(), 1, "{:?}", parsed.diagnostics);
        parsed.resources.into_iter().next().unwrap()
    }

    fn schedule(runs: &Value) -> Resource {
        let mut spec = json!({ "cron": "0 2 * * *", "parameters": { "depth": 3 } });
        spec.as_object_mut().unwrap().extend(runs.as_object().unwrap().clone());
        resource("Schedule", "nightly", &json!({}), &spec)
    }

    fn plan(fields: &Value, goal: Option<&str>) -> Resource {
        let mut spec = json!({ "description": "x", "graph": { "nodes": [{ "id": "a", "kind": "Task", "run": "true" }] } });
        if let Some(goal) = goal {
            spec["goalRef"] = json!({ "name": goal });
        }
        resource("Plan", "job", fields, &spec)
    }

    fn derived(origin: Origin) -> DerivedExecution {
        let owner = Name::new("nightly").unwrap();
        let spec = serde_json::from_value(json!({ "planRef": { "name": "job" } })).unwrap();
        DerivedExecution {
            owner: DerivedExecution::owner_reference(Kind::Schedule, &owner, OWNER_UID),
            origin,
            spec,
        }
    }

    fn at(text: &str) -> Origin {
        Origin::Time(text.parse().unwrap())
    }

    /// What is expected of an Execution with the name and the uid that it should have.
    fn expected(
        origin: &Origin,
        owner: &Resource,
        plan: &Resource,
        goal: Option<&Resource>,
    ) -> Result<Value, String> {
        let name = DerivedExecution::name(&owner.metadata.name, origin);
        let key = ResourceKey::new(Kind::Execution, owner.metadata.namespace.clone(), name);
        let uid = derived_uid(OWNER_UID, origin);
        let spec = expected_spec((&key, &uid), &derived(origin.clone()), owner, plan, goal)?;
        Ok(serde_json::to_value(spec).unwrap())
    }

    #[test]
    fn the_spec_of_a_run_follows_from_its_schedule() {
        let owner = schedule(&json!({ "planRef": { "name": "job" } }));
        let two = at("2026-03-04T02:00:00Z");
        let plan = plan(&json!({}), None);
        let spec = json!({ "planRef": { "name": "job" }, "parameters": { "depth": 3 } });
        assert_eq!(expected(&two, &owner, &plan, None), Ok(spec));
        let three = expected(&at("2026-03-04T03:00:00Z"), &owner, &plan, None);
        assert_eq!(three, Err("2026-03-04T03:00:00Z is not a time of team/schedule/nightly".to_owned()));
        let node = expected(&Origin::Node(NodeId::new("a").unwrap(), 1), &owner, &plan, None);
        assert_eq!(node, Err("team/schedule/nightly makes no such execution".to_owned()));
        let another = resource("Goal", "nightly", &json!({}), &json!({ "description": "x" }));
        assert!(expected(&two, &another, &plan, None).unwrap_err().contains("pinned as its owner"));
    }

    #[test]
    fn a_run_for_a_goal_takes_a_plan_that_serves_it() {
        let owner = schedule(&json!({ "goalRef": { "name": "done" } }));
        let two = at("2026-03-04T02:00:00Z");
        let named = resource("Goal", "done", &json!({}), &json!({ "description": "x" }));
        assert!(expected(&two, &owner, &plan(&json!({}), Some("done")), Some(&named)).is_ok());
        for plan in [plan(&json!({}), None), plan(&json!({}), Some("other"))] {
            let refused = expected(&two, &owner, &plan, Some(&named)).unwrap_err();
            assert_eq!(refused, "team/plan/job does not serve the goal of team/schedule/nightly");
        }
        let selector = json!({ "description": "x", "planSelector": { "matchLabels": { "for": "it" } } });
        let selecting = resource("Goal", "done", &json!({}), &selector);
        let labels = json!({ "labels": { "for": "it" } });
        assert!(expected(&two, &owner, &plan(&labels, None), Some(&selecting)).is_ok());
        assert!(expected(&two, &owner, &plan(&json!({}), Some("done")), Some(&selecting)).is_err());
        // Labels reach no further than the namespace: otherwise any team could offer a plan for another team's goal.
        let elsewhere = plan(&json!({ "labels": { "for": "it" }, "namespace": "other" }), None);
        assert!(expected(&two, &owner, &elsewhere, Some(&selecting)).is_err());
    }
}
