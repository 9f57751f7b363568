//! The status of the kinds that nothing drives: Plan, Capability, Binding.

use jiff::Timestamp;

use crate::model::{
    BindingPhase, BindingSpec, BindingStatus, BindingTarget, CapabilityPhase, CapabilitySpec,
    CapabilityStatus, Condition, ConditionStatus, DEPRECATED, Kind, Metadata, Name, PlanPhase, PlanSpec,
    PlanStatus, REPLACEMENT, Reference, ResourceKey, UnboundCapability, UnboundReason,
};

/// The one condition of a simple resource.
fn condition(kind: &str, why: Result<(), (&str, String)>, generation: u64, now: Timestamp) -> Condition {
    let (status, reason, message) = match why {
        // A condition needs a reason by contract, also a good one; the type says all there is to say.
        Ok(()) => (ConditionStatus::True, kind, String::new()),
        Err((reason, message)) => (ConditionStatus::False, reason, message),
    };
    Condition {
        kind: kind.to_owned(),
        status,
        reason: reason.to_owned(),
        message,
        last_transition_time: now,
        observed_generation: Some(generation),
    }
}

/// The conditions of before with one of them set anew.
fn with_condition(previous: Option<&[Condition]>, new: Condition) -> Vec<Condition> {
    // Conditions of other types stay: a list that is made anew would drop what another part of the reconciler observed.
    let mut conditions = previous.map(<[_]>::to_vec).unwrap_or_default();
    Condition::set(&mut conditions, new);
    conditions
}

/// The status of a Plan. `problem` says why it cannot be run, if it cannot.
#[must_use]
pub(crate) fn plan_status(
    spec: &PlanSpec,
    problem: Option<&str>,
    generation: u64,
    previous: Option<&PlanStatus>,
    now: Timestamp,
) -> PlanStatus {
    // The check of the graph comes in as its result: the caller may have built it already, and it is not to be built
    // twice.
    let why = problem.map_or(Ok(()), |problem| Err(("Invalid", problem.to_owned())));
    PlanStatus {
        phase: if problem.is_some() { PlanPhase::Invalid } else { PlanPhase::Ready },
        node_count: u32::try_from(spec.graph.nodes.len()).unwrap_or(u32::MAX),
        conditions: with_condition(
            previous.map(|status| status.conditions.as_slice()),
            condition("Valid", why, generation, now),
        ),
        observed_generation: Some(generation),
    }
}

/// The status of a Capability. A missing required capability makes it unavailable, deprecated or not.
#[must_use]
pub(crate) fn capability_status(
    metadata: &Metadata,
    spec: &CapabilitySpec,
    why_missing: impl Fn(&ResourceKey) -> Option<String>,
    generation: u64,
    previous: Option<&CapabilityStatus>,
    now: Timestamp,
) -> CapabilityStatus {
    // Only what must be there: an optional requirement that is missing is no reason to call the capability unavailable.
    let required = spec.requirements.iter().filter(|requirement| !requirement.optional);
    let missing: Vec<String> = required
        .map(|requirement| requirement.reference().key(Kind::Capability, &metadata.namespace))
        // All of them and not the first: whoever adds what is missing should not have to reconcile once for each.
        .filter_map(|key| why_missing(&key))
        .collect();
    // An annotation is a text, so `"false"` is how people write that it does not hold.
    let note = metadata.annotations.get(DEPRECATED).filter(|note| note.as_str() != "false");
    let phase = match (missing.is_empty(), note) {
        // Before deprecation: that something cannot be used at all is the more urgent of the two.
        (false, _) => CapabilityPhase::Unavailable,
        (true, Some(_)) => CapabilityPhase::Deprecated,
        (true, None) => CapabilityPhase::Available,
    };
    let why = if missing.is_empty() { Ok(()) } else { Err(("RequirementMissing", missing.join("; "))) };
    // The contract has no field in the spec for either, only in the status, so the author says it by annotations.
    let replacement = metadata.annotations.get(REPLACEMENT).and_then(|text| parse_replacement(text));
    CapabilityStatus {
        phase,
        conditions: with_condition(
            previous.map(|status| status.conditions.as_slice()),
            condition("Available", why, generation, now),
        ),
        observed_generation: Some(generation),
        // Without deprecation there is nothing to replace: the status must not send people away from a capability that
        // is in order.
        replacement: note.and(replacement),
        // A bare `true` is a switch and no message; repeated as one, it would read as if the author had said why.
        deprecation_message: note.filter(|note| !note.is_empty() && note.as_str() != "true").cloned(),
    }
}

/// `NAME` or `NAMESPACE/NAME`; anything else is no reference, and names nothing.
fn parse_replacement(text: &str) -> Option<Reference> {
    let (namespace, name) = match text.split_once('/') {
        Some((namespace, name)) => (Some(Name::new(namespace).ok()?), name),
        None => (None, text),
    };
    // Annotations are not checked by the schema. What is no valid name is dropped, since names become paths (Invariant
    // 8).
    Some(Reference { name: Name::new(name).ok()?, namespace, uid: None })
}

/// The status of a Binding. `usable` says of a rule's target whether its provider can be used, or why it cannot.
#[must_use]
pub(crate) fn binding_status(
    spec: &BindingSpec,
    usable: impl Fn(&BindingTarget) -> Result<(), (UnboundReason, String)>,
    generation: u64,
    previous: Option<&BindingStatus>,
    now: Timestamp,
) -> BindingStatus {
    // By rule and not by capability: whether a capability is needed at all is known to plans only, and a Binding does
    // not see them.
    let unbound: Vec<UnboundCapability> = spec
        .rules
        .iter()
        .filter_map(|rule| {
            let (reason, message) = usable(&rule.target).err()?;
            Some(UnboundCapability {
                capability_ref: rule.selector.capability_ref.as_ref().map(|reference| reference.name.clone()),
                node_id: rule.selector.node_id.clone(),
                reason,
                message,
            })
        })
        .collect();
    // A count that does not fit is capped instead of refused: a status is informational, and must never stop a pass.
    let total = u32::try_from(spec.rules.len()).unwrap_or(u32::MAX);
    let bound = total.saturating_sub(u32::try_from(unbound.len()).unwrap_or(u32::MAX));
    let phase = match bound {
        0 => BindingPhase::Unresolved,
        _ if bound < total => BindingPhase::PartiallyBound,
        _ => BindingPhase::Ready,
    };
    let why = if bound == total && total > 0 {
        Ok(())
    } else {
        Err(("ProviderUnavailable", format!("{bound} of {total} rules have a provider that can be used")))
    };
    BindingStatus {
        phase,
        total_count: total,
        bound_count: bound,
        unbound_capabilities: unbound,
        conditions: with_condition(
            previous.map(|status| status.conditions.as_slice()),
            condition("Ready", why, generation, now),
        ),
        observed_generation: Some(generation),
    }
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "a literal value reads best without a borrow")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_plan_is_ready_or_invalid_and_says_why() {
        let spec: PlanSpec = serde_json::from_value(
            json!({ "description": "d", "graph": { "nodes": [{ "id": "a", "kind": "Task" }] } }),
        )
        .unwrap();
        let ready = plan_status(&spec, None, 1, None, at(1));
        assert_eq!((ready.phase, ready.node_count), (PlanPhase::Ready, 1));
        assert_eq!(plan_status(&spec, None, 1, Some(&ready), at(2)), ready);
        let broken = plan_status(&spec, Some("cycle: a → a"), 2, Some(&ready), at(3));
        assert_eq!((broken.phase, broken.observed_generation), (PlanPhase::Invalid, Some(2)));
        let valid = Condition::find(&broken.conditions, "Valid").unwrap();
        assert_eq!((valid.status, valid.message.as_str()), (ConditionStatus::False, "cycle: a → a"));
        assert_eq!(valid.last_transition_time, at(3));
    }

    fn capability(annotations: Value, existing: &[&str]) -> CapabilityStatus {
        let metadata =
            serde_json::from_value(json!({ "name": "c", "namespace": "n", "annotations": annotations }))
                .unwrap();
        let spec = serde_json::from_value(json!({ "description": "d", "requirements": [
            { "name": "a" }, { "name": "b", "namespace": "m" }, { "name": "c", "optional": true },
        ] }))
        .unwrap();
        let missing = |key: &ResourceKey| {
            (!existing.contains(&key.to_string().as_str())).then(|| format!("there is no {key}"))
        };
        capability_status(&metadata, &spec, missing, 1, None, at(1))
    }

    #[test]
    fn a_capability_needs_its_requirements() {
        let all = ["n/capability/a", "m/capability/b"];
        assert_eq!(capability(json!({}), &all).phase, CapabilityPhase::Available);
        let missing = capability(json!({ DEPRECATED: "true" }), &all[..1]);
        assert_eq!(missing.phase, CapabilityPhase::Unavailable);
        assert_eq!(missing.conditions[0].message, "there is no m/capability/b");
    }

    #[test]
    fn a_capability_is_deprecated_by_annotation() {
        let all = ["n/capability/a", "m/capability/b"];
        let old = capability(json!({ DEPRECATED: "too slow", REPLACEMENT: "m/fast" }), &all);
        assert_eq!(old.phase, CapabilityPhase::Deprecated);
        assert_eq!(old.deprecation_message.as_deref(), Some("too slow"));
        let replacement = old.replacement.unwrap();
        assert_eq!((replacement.name.as_str(), replacement.namespace.unwrap().as_str()), ("fast", "m"));
        let plain = capability(json!({ DEPRECATED: "true", REPLACEMENT: "../x" }), &all);
        assert_eq!((plain.deprecation_message, plain.replacement), (None, None));
        assert_eq!(capability(json!({ DEPRECATED: "false" }), &all).phase, CapabilityPhase::Available);
    }

    #[track_caller]
    fn check_binding(providers: &[&str], phase: BindingPhase, bound: u32, unbound: &[&str]) {
        let rules: Vec<Value> = providers
            .iter()
            .enumerate()
            .map(|(i, provider)| {
                json!({ "selector": { "capabilityRef": { "name": format!("c{i}") } }, "target": { "provider": provider } })
            })
            .collect();
        let spec = serde_json::from_value(json!({ "rules": rules })).unwrap();
        let usable = |target: &BindingTarget| match target.provider.as_str() {
            "good" => Ok(()),
            other => Err((UnboundReason::ProviderUnavailable, format!("no `{other}` here"))),
        };
        let status = binding_status(&spec, usable, 1, None, at(1));
        assert_eq!((status.phase, status.bound_count), (phase, bound));
        assert_eq!(status.total_count as usize, providers.len());
        let names: Vec<_> =
            status.unbound_capabilities.iter().filter_map(|one| one.capability_ref.as_ref()).collect();
        assert_eq!(names.iter().map(|name| name.as_str()).collect::<Vec<_>>(), unbound);
    }

    #[test]
    fn a_binding_counts_the_rules_whose_provider_can_be_used() {
        check_binding(&["good", "good"], BindingPhase::Ready, 2, &[]);
        check_binding(&["good", "bad"], BindingPhase::PartiallyBound, 1, &["c1"]);
        check_binding(&["bad", "bad"], BindingPhase::Unresolved, 0, &["c0", "c1"]);
    }
}
