//! Which plan serves a goal, and why the others do not.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;

use jiff::Timestamp;

use super::version::compare_versions;
use crate::model::{GoalSpec, Kind, Name, PlanSpec, Reference, ResourceKey, StringMap};

/// A goal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GoalView<'a> {
    /// Its key.
    pub key: &'a ResourceKey,
    /// Its spec.
    pub spec: &'a GoalSpec,
    /// Its generation.
    pub generation: u64,
    /// When it was created: the committer time of the commit that first held it.
    pub created: Timestamp,
}

/// What choosing a plan depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlanView<'a> {
    /// Its key.
    pub key: &'a ResourceKey,
    /// Its labels.
    pub labels: &'a StringMap,
    /// The goal that it names.
    pub goal_ref: Option<&'a Reference>,
    /// The series and the version in it.
    pub release: Option<(&'a str, &'a str)>,
    /// The plans that it replaces.
    pub supersedes: &'a [Reference],
    /// Whether it can be run.
    pub valid: bool,
}

impl<'a> PlanView<'a> {
    /// What a plan says of itself, as far as choosing one depends on it.
    #[must_use]
    pub(crate) fn of(key: &'a ResourceKey, labels: &'a StringMap, spec: &'a PlanSpec, valid: bool) -> Self {
        Self {
            key,
            labels,
            goal_ref: spec.goal_ref.as_ref(),
            // The contract wants both or neither. Half of the pair counts as none, so that a plan without a version
            // never takes part in an order of versions.
            release: spec.series.as_deref().zip(spec.version.as_deref()),
            supersedes: &spec.supersedes,
            valid,
        }
    }
}

/// The plans of a goal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// The plan that serves it.
    pub plan: Option<ResourceKey>,
    /// Every plan that is meant for it, by key.
    pub candidates: Vec<PlanCandidate>,
}

/// A plan that is meant for a goal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlanCandidate {
    /// The plan.
    pub plan: ResourceKey,
    /// What became of it.
    pub standing: PlanRank,
}

/// What became of a plan that is meant for a goal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PlanRank {
    /// It serves the goal.
    Active,
    /// It cannot be run.
    Invalid,
    /// This plan replaces it.
    Superseded(ResourceKey),
    /// This plan is a higher version of the same series.
    Older(ResourceKey),
    /// This plan serves the goal as well, and its name comes first.
    Later(ResourceKey),
}

impl fmt::Display for PlanRank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Active => f.write_str("active"),
            Self::Invalid => f.write_str("invalid"),
            Self::Superseded(by) => write!(f, "superseded by {by}"),
            Self::Older(than) => write!(f, "{than} is a higher version"),
            Self::Later(than) => write!(f, "{than} comes first by name"),
        }
    }
}

/// Chooses the plan that serves a goal. `plans` are those of its namespace, those that name it, and those that replace
/// one of these; more do no harm. With a `planSelector` those plans of the goal's namespace are
/// meant that have its labels; without one, those whose `goalRef` names the goal. Invalid plans are out; so are plans
/// that a valid plan supersedes, whether that one is meant for the goal or not. Of a series the highest version stays.
/// Among what is left the first by name wins, so that every runner chooses alike.
#[must_use]
pub(crate) fn select_plan(goal: &GoalView<'_>, plans: &[PlanView<'_>]) -> Selection {
    let mut meant: Vec<&PlanView<'_>> =
        plans.iter().filter(|plan| is_meant_for(plan, goal.key, goal.spec)).collect();
    // The plans come from the index in no promised order, and the list of candidates ends up in a message that is
    // recorded.
    meant.sort_by(|a, b| a.key.cmp(b.key));
    // Against all plans and not only those that are meant: a plan may be superseded by one that serves another goal or
    // has other labels.
    let standings: Vec<Option<PlanRank>> = meant.iter().map(|plan| out(plan, plans)).collect();
    let eligible: Vec<&PlanView<'_>> =
        meant.iter().zip(&standings).filter(|(_, out)| out.is_none()).map(|(plan, _)| *plan).collect();
    // Only after invalid and superseded plans are out: a broken newest version must not take its valid predecessor out
    // with it.
    let heads = heads(&eligible);
    let newest = eligible.iter().filter(|plan| newer(plan, &heads).is_none()).map(|plan| plan.key);
    // Several series may be left, and no rule ranks them. By name, and not by time: two runners may have read different
    // commits last, but they sort names alike.
    let active = newest.min();
    let standing = |plan: &PlanView<'_>, out: Option<PlanRank>| {
        out.or_else(|| newer(plan, &heads).map(|than| PlanRank::Older(than.clone()))).unwrap_or_else(|| {
            match active {
                // What is left here is valid, not replaced and the newest of its series, so the name alone decided.
                Some(active) if active != plan.key => PlanRank::Later(active.clone()),
                _ => PlanRank::Active,
            }
        })
    };
    let candidates = meant
        .iter()
        .zip(standings)
        .map(|(plan, out)| PlanCandidate { plan: plan.key.clone(), standing: standing(plan, out) })
        .collect();
    Selection { plan: active.cloned(), candidates }
}

/// Whether a plan may serve a goal at all; which of several does is for [`select_plan`].
#[must_use]
pub(crate) fn is_meant_for(plan: &PlanView<'_>, key: &ResourceKey, goal: &GoalSpec) -> bool {
    match &goal.plan_selector {
        // Labels reach no further than the namespace: otherwise any team could offer a plan for another team's goal by
        // giving it the right labels.
        Some(selector) => plan.key.namespace == key.namespace && selector.matches(plan.labels),
        None => {
            // A `goalRef` may cross namespaces, because it names its goal in full; the reference is relative to the
            // plan that holds it.
            plan.goal_ref.is_some_and(|reference| reference.key(Kind::Goal, &plan.key.namespace) == *key)
        }
    }
}

/// Why a plan is out of itself.
fn out(plan: &PlanView<'_>, plans: &[PlanView<'_>]) -> Option<PlanRank> {
    // Before supersession: `invalid` is what its author can act on, whatever replaces it.
    if !plan.valid {
        return Some(PlanRank::Invalid);
    }
    let replaces = |other: &&PlanView<'_>| {
        // An invalid plan supersedes nothing. A broken successor would otherwise leave the goal without any plan that
        // can run.
        other.valid
            // A plan that names itself would be out for good, with nothing in its place.
            && other.key != plan.key
            && other.supersedes.iter().any(|old| old.key(Kind::Plan, &other.key.namespace) == *plan.key)
    };
    // Several plans may replace the same one. The one that is named must not depend on the order of reading (Invariant
    // 5).
    let by = plans.iter().filter(replaces).map(|other| other.key).min()?;
    Some(PlanRank::Superseded(by.clone()))
}

/// The newest plan of each series of a namespace; of equal versions the first by name.
fn heads<'p, 'k>(eligible: &[&'p PlanView<'k>]) -> Heads<'p, 'k> {
    let mut heads = Heads::new();
    for &plan in eligible {
        // A plan without a series competes with nobody by version; it stays, and only its name can put it behind
        // another.
        let Some((series, _)) = plan.release else { continue };
        // The namespace is part of the key: a series is a word that its authors choose, and two teams may choose the
        // same.
        let head = heads.entry((&plan.key.namespace, series)).or_insert(plan);
        if by_version(plan, head).is_gt() {
            *head = plan;
        }
    }
    heads
}

type Heads<'p, 'k> = HashMap<(&'p Name, &'k str), &'p PlanView<'k>>;

/// The plan that is newer in the same series, if there is one.
fn newer<'k>(plan: &PlanView<'k>, heads: &Heads<'_, 'k>) -> Option<&'k ResourceKey> {
    let (series, _) = plan.release?;
    let head = heads.get(&(&plan.key.namespace, series))?;
    (head.key != plan.key).then_some(head.key)
}

fn by_version(a: &PlanView<'_>, b: &PlanView<'_>) -> Ordering {
    let ((_, version_a), (_, version_b)) = (a.release.unwrap_or_default(), b.release.unwrap_or_default());
    // The names the other way round: the greater one wins here, and of equal versions the first by name is to win.
    compare_versions(version_a, version_b).then_with(|| b.key.cmp(a.key))
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "a literal value reads best without a borrow")]
mod tests {
    use super::*;
    use crate::model::Name;
    use serde_json::{Value, json};

    struct Plan {
        key: ResourceKey,
        labels: StringMap,
        spec: PlanSpec,
        valid: bool,
    }

    fn key(kind: Kind, name: &str) -> ResourceKey {
        let (namespace, name) = name.split_once('/').unwrap_or(("n", name));
        ResourceKey::new(kind, Name::new(namespace).unwrap(), Name::new(name).unwrap())
    }

    fn plan(name: &str, fields: Value) -> Plan {
        let mut spec = json!({ "description": "d", "graph": { "nodes": [] } });
        let mut fields = fields.as_object().unwrap().clone();
        let valid = fields.remove("valid").is_none_or(|valid| valid == json!(true));
        let labels = fields.remove("labels").map(|labels| serde_json::from_value(labels).unwrap());
        spec.as_object_mut().unwrap().extend(fields);
        Plan {
            key: key(Kind::Plan, name),
            labels: labels.unwrap_or_default(),
            spec: serde_json::from_value(spec).unwrap(),
            valid,
        }
    }

    fn serving(name: &str, fields: Value) -> Plan {
        let mut all = json!({ "goalRef": { "name": "g" } });
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        plan(name, all)
    }

    #[track_caller]
    fn check(goal: Value, plans: &[Plan], expected: &[&str]) {
        let mut spec = json!({ "description": "d" });
        spec.as_object_mut().unwrap().extend(goal.as_object().unwrap().clone());
        let spec: GoalSpec = serde_json::from_value(spec).unwrap();
        let key = key(Kind::Goal, "g");
        let goal = GoalView { key: &key, spec: &spec, generation: 1, created: Timestamp::UNIX_EPOCH };
        let mut views: Vec<_> =
            plans.iter().map(|plan| PlanView::of(&plan.key, &plan.labels, &plan.spec, plan.valid)).collect();
        for _ in 0..views.len().max(1) {
            let selection = select_plan(&goal, &views);
            let shown: Vec<String> = selection
                .candidates
                .iter()
                .map(|one| format!("{}: {}", one.plan.name, one.standing))
                .collect();
            assert_eq!(shown, expected);
            let active = selection.candidates.iter().find(|one| one.standing == PlanRank::Active);
            assert_eq!(selection.plan.as_ref(), active.map(|one| &one.plan));
            // The order in which plans come does not count.
            if !views.is_empty() {
                views.rotate_left(1);
            }
        }
    }

    fn release(series: &str, version: &str) -> Value {
        json!({ "series": series, "version": version })
    }

    #[test]
    fn without_a_selector_the_goal_ref_decides() {
        let plans = [
            serving("a", json!({})),
            plan("b", json!({})),
            plan("other/c", json!({ "goalRef": { "name": "g", "namespace": "n" } })),
            plan("other/d", json!({ "goalRef": { "name": "g" } })),
        ];
        check(json!({}), &plans, &["a: active", "c: n/plan/a comes first by name"]);
        check(json!({}), &[], &[]);
    }

    #[test]
    fn with_a_selector_only_labels_decide() {
        let plans = [
            plan("a", json!({ "labels": { "goal": "g" } })),
            serving("b", json!({})),
            plan("other/c", json!({ "labels": { "goal": "g" } })),
        ];
        check(json!({ "planSelector": { "matchLabels": { "goal": "g" } } }), &plans, &["a: active"]);
    }

    #[test]
    fn the_highest_version_of_a_series_wins() {
        let plans = [
            serving("a", release("sso", "9")),
            serving("b", release("sso", "10")),
            serving("c", release("sso", "10")),
            serving("d", release("alt", "1")),
        ];
        check(
            json!({}),
            &plans,
            &[
                "a: n/plan/b is a higher version",
                "b: active",
                "c: n/plan/b is a higher version",
                "d: n/plan/b comes first by name",
            ],
        );
    }

    #[test]
    fn invalid_and_superseded_plans_are_out() {
        let mut newest = release("sso", "3");
        newest["valid"] = json!(false);
        let plans = [
            serving("a", release("sso", "2")),
            serving("b", newest),
            serving("c", json!({ "supersedes": [{ "name": "a" }] })),
            serving("d", json!({ "supersedes": [{ "name": "c" }], "valid": false })),
        ];
        check(json!({}), &plans, &["a: superseded by n/plan/c", "b: invalid", "c: active", "d: invalid"]);
        check(
            json!({}),
            &[plan("x", json!({ "supersedes": [{ "name": "y" }] })), serving("y", json!({}))],
            &["y: superseded by n/plan/x"],
        );
    }
}
