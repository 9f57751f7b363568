//! Which provider does the work of a task: the rules of precedence, and why every other rule lost.
//! Decides by names, labels and priorities alone; whether the provider can be used is for the caller to ask.

pub(crate) mod capability;
mod missing;

use std::cmp::Reverse;
use std::fmt;

use crate::model::{
    BindingRule, BindingSelector, BindingSpec, BindingStrategy, BindingTarget, ExecutionSpec, Kind, Name,
    Node, Reference, ResourceKey, StringMap,
};
use crate::run::CompiledPlan;

pub(crate) use self::missing::without_binding;

/// The name of the Binding that is used when an execution names none.
pub(crate) const DEFAULT_BINDING: &str = "default";

/// The task that needs a provider.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TaskToBind<'a> {
    /// The node.
    pub node: &'a Node,
    /// Its plan.
    pub plan: &'a ResourceKey,
    /// The labels of the plan.
    pub plan_labels: &'a StringMap,
    /// The execution.
    pub execution: &'a ExecutionSpec,
    /// The namespace of the execution.
    pub namespace: &'a Name,
}

impl<'a> TaskToBind<'a> {
    /// A node of the plan of an Execution.
    pub(crate) fn of(compiled: &'a CompiledPlan, node: &'a Node) -> Self {
        Self {
            node,
            plan: &compiled.plan_key,
            plan_labels: &compiled.plan_labels,
            execution: &compiled.spec,
            namespace: &compiled.key.namespace,
        }
    }
}

/// A Binding as it stands now: bindings are resolved late (Invariant 9).
#[derive(Debug, Clone, Copy)]
pub(crate) struct BindingView<'a> {
    /// Its spec.
    pub spec: &'a BindingSpec,
    /// Its generation.
    pub generation: u64,
}

/// The outcome.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Resolution {
    /// A rule was chosen.
    Bound {
        /// The Binding.
        binding: ResourceKey,
        /// Its generation.
        generation: u64,
        /// The index of the rule, from 0.
        rule: usize,
        /// What the rule names.
        target: BindingTarget,
    },
    /// The task brings its own command.
    Own {
        /// What a rule would have named.
        target: BindingTarget,
    },
    /// No rule was chosen; the node waits.
    Unbound {
        /// Why, as a lower-case fragment.
        why: String,
    },
    /// Two rules are equally good and the Binding wants an error then.
    Conflict {
        /// Which, as a lower-case fragment.
        why: String,
        /// What each of the rules names that are equally good.
        targets: Vec<BindingTarget>,
    },
}

impl Resolution {
    /// All that may do the work of the task: of rules in conflict any may win once the Binding is changed.
    #[must_use]
    pub(crate) fn candidates(self) -> Vec<BindingTarget> {
        match self {
            Self::Bound { target, .. } | Self::Own { target } => vec![target],
            Self::Conflict { targets, .. } => targets,
            Self::Unbound { .. } => Vec::new(),
        }
    }

    /// What does the work of the task; none where that is not decided.
    #[must_use]
    pub(crate) fn target(self) -> Option<BindingTarget> {
        match self {
            Self::Bound { target, .. } | Self::Own { target } => Some(target),
            Self::Unbound { .. } | Self::Conflict { .. } => None,
        }
    }

    /// Why no rule is used; absent where one is.
    #[must_use]
    pub(crate) fn why(&self) -> Option<&str> {
        match self {
            Self::Unbound { why } | Self::Conflict { why, .. } => Some(why),
            Self::Bound { .. } | Self::Own { .. } => None,
        }
    }
}

/// The outcome, and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BindingExplanation {
    /// The outcome.
    pub resolution: Resolution,
    /// The Binding whose rules were considered, if one could be named.
    pub binding: Option<ResourceKey>,
    /// Every rule of that Binding, in its order.
    pub considered: Vec<RuleExplanation>,
}

/// What became of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RuleExplanation {
    /// Its index, from 0.
    pub rule: usize,
    /// Its priority.
    pub priority: u16,
    /// The shape of its selector; absent for one that is none of the five.
    pub specificity: Option<Specificity>,
    /// What became of it.
    pub verdict: RuleMatch,
}

/// The shapes of a selector, the least specific first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Specificity {
    /// `matchLabels` on the plan.
    Labels,
    /// `planRef`.
    Plan,
    /// `capabilityRef`.
    Capability,
    /// `planRef` and `capabilityRef`.
    PlanCapability,
    /// `planRef` and `nodeId`.
    PlanNode,
}

/// What became of a rule. The indexes are those of other rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RuleMatch {
    /// It is used.
    Chosen,
    /// It does not apply to the task.
    NoMatch(String),
    /// It applies, and this one has a higher priority.
    LowerPriority(usize),
    /// It applies with equal priority, and this one is more specific.
    LessSpecific(usize),
    /// It is as good as this one, which comes first.
    Later(usize),
    /// It is as good as this one, which the strategy does not allow.
    ConflictsWith(usize),
}

impl fmt::Display for RuleMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chosen => f.write_str("chosen"),
            Self::NoMatch(why) => f.write_str(why),
            Self::LowerPriority(than) => write!(f, "rule {than} has a higher priority"),
            Self::LessSpecific(than) => write!(f, "rule {than} is more specific"),
            Self::Later(than) => write!(f, "rule {than} matches as well and comes first"),
            Self::ConflictsWith(other) => write!(f, "rule {other} matches just as well"),
        }
    }
}

/// The reference to the Binding that an execution uses for a node: `nodeBindings`, else `bindingRef`, else the one
/// named `default`. The first that is written down decides, even when none of its rules match.
#[must_use]
pub(crate) fn binding_for(task: &TaskToBind<'_>) -> Option<ResourceKey> {
    // Before every Binding: a command that stands in the plan is what its author means, and a rule that matched by chance
    // would run something else in its place.
    if task.node.run.is_some() {
        return None;
    }
    // No fallback to the next one when no rule of it matches: a Binding with a typing error would otherwise hand the
    // work to a provider that nobody chose for it.
    let named = task.execution.node_bindings.get(&task.node.id).or(task.execution.binding_ref.as_ref());
    match named {
        // Relative to the Execution, which holds the reference, and not to the Plan, which may be of another namespace.
        Some(reference) => Some(reference.key(Kind::Binding, task.namespace)),
        None => {
            // The constant is a valid name, so this is never `None`; the `?` is here because production code may not
            // unwrap.
            let name = Name::new(DEFAULT_BINDING).ok()?;
            Some(ResourceKey::new(Kind::Binding, task.namespace.clone(), name))
        }
    }
}

/// Finds the provider of a task. `lookup` gives the Binding of a key, if there is one.
///
/// A task with several `capabilityRefs` is matched by a rule on any one of them: a single provider does the whole task,
/// and the plan's author lists what it must be able to do.
pub(crate) fn resolve<'b>(
    task: &TaskToBind<'_>,
    lookup: impl FnOnce(&ResourceKey) -> Option<BindingView<'b>>,
) -> BindingExplanation {
    if let Some(run) = &task.node.run {
        let resolution = Resolution::Own { target: run.target() };
        return BindingExplanation { resolution, binding: None, considered: Vec::new() };
    }
    let Some(key) = binding_for(task) else {
        let why = format!("no binding is named, and `{DEFAULT_BINDING}` cannot be");
        return BindingExplanation {
            resolution: Resolution::Unbound { why },
            binding: None,
            considered: Vec::new(),
        };
    };
    // The key goes along in the answer although nothing stands behind it: `explain` has to name the Binding that is
    // missing.
    let Some(binding) = lookup(&key) else {
        return BindingExplanation {
            resolution: Resolution::Unbound { why: missing::why(task, &key, &[]) },
            binding: Some(key),
            considered: Vec::new(),
        };
    };
    let mut considered: Vec<RuleExplanation> = binding
        .spec
        .rules
        .iter()
        .enumerate()
        // Every rule is judged, also after a match: `explain` shows why each of the others lost, and a conflict is only
        // seen by a comparison of all.
        .map(|(index, rule)| consider(task, &key, index, rule))
        .collect();
    let best = choose(binding.spec, &considered);
    // The index comes from an enumeration of the same rules, so it is there; a lookup that can fail keeps indexing,
    // which could panic, out of production code.
    let resolution = match best.and_then(|index| Some((index, binding.spec.rules.get(index)?))) {
        None => Resolution::Unbound { why: format!("no rule of {key} matches node `{}`", task.node.id) },
        Some((rule, chosen)) => match explain(binding.spec, &mut considered, rule) {
            // No provider is picked in spite of the conflict: the Binding asks for an error by its strategy, and a node
            // that was started by chance cannot be taken back.
            Some(other) => {
                let why =
                    format!("rules {rule} and {other} of {key} match node `{}` equally well", task.node.id);
                let equal =
                    considered.iter().filter(|one| matches!(one.verdict, RuleMatch::ConflictsWith(_)));
                let rules = equal.filter_map(|one| binding.spec.rules.get(one.rule));
                let targets = rules.map(|rule| rule.target.clone()).collect();
                Resolution::Conflict { why, targets }
            }
            None => Resolution::Bound {
                binding: key.clone(),
                // Recorded on the node when it starts: the Binding may have changed by the time somebody asks which
                // rule was in force (Invariant 9).
                generation: binding.generation,
                rule,
                target: chosen.target.clone(),
            },
        },
    };
    BindingExplanation { resolution, binding: Some(key), considered }
}

/// Whether a rule applies; as long as it does, its verdict is `Chosen`.
fn consider(
    task: &TaskToBind<'_>,
    binding: &ResourceKey,
    index: usize,
    rule: &BindingRule,
) -> RuleExplanation {
    let selector = &rule.selector;
    let specificity = shape(selector);
    let verdict = match specificity {
        // Validation refuses such a manifest. Were one to get here all the same, it matches nothing instead of every
        // task.
        None => RuleMatch::NoMatch("its selector is none of the five allowed shapes".to_owned()),
        Some(_) => match mismatch(task, &binding.namespace, selector) {
            Some(why) => RuleMatch::NoMatch(why),
            None => RuleMatch::Chosen,
        },
    };
    RuleExplanation { rule: index, priority: rule.priority, specificity, verdict }
}

/// The shape of a selector (contract: exactly one of five).
fn shape(selector: &BindingSelector) -> Option<Specificity> {
    // An empty `matchLabels` does not count as written, so that it never becomes a rule for all plans; Kubernetes'
    // empty selector would match everything.
    let labels = !selector.match_labels.is_empty();
    match (&selector.plan_ref, &selector.capability_ref, &selector.node_id, labels) {
        (Some(_), None, Some(_), false) => Some(Specificity::PlanNode),
        (Some(_), Some(_), None, false) => Some(Specificity::PlanCapability),
        (None, Some(_), None, false) => Some(Specificity::Capability),
        (Some(_), None, None, false) => Some(Specificity::Plan),
        (None, None, None, true) => Some(Specificity::Labels),
        // Not only too few but also too many fields: `nodeId` without its `planRef` would apply to nodes of that name
        // in plans of every team.
        _ => None,
    }
}

/// Why a selector does not apply to a task. References in a selector are relative to the binding's namespace, those in a
/// node to the plan's.
fn mismatch(task: &TaskToBind<'_>, home: &Name, selector: &BindingSelector) -> Option<String> {
    if let Some(plan) = &selector.plan_ref {
        // The whole key is compared: plans of the same name in two namespaces are different plans, with different
        // people who may merge them.
        let wanted = plan.key(Kind::Plan, home);
        if wanted != *task.plan {
            return Some(format!("it is for {wanted}"));
        }
    }
    // After `planRef`: a node id means something only within its plan, so the message about the plan comes first.
    if let Some(node) = &selector.node_id
        && *node != task.node.id
    {
        return Some(format!("it is for node `{node}`"));
    }
    if let Some(capability) = &selector.capability_ref {
        let wanted = capability.key(Kind::Capability, home);
        // A node's reference is relative to the plan's namespace and the rule's to the Binding's, so names alone cannot
        // be compared.
        let needed = |reference: &Reference| reference.key(Kind::Capability, &task.plan.namespace) == wanted;
        if !task.node.capability_refs.iter().any(needed) {
            return Some(format!("the node does not need {wanted}"));
        }
    }
    let differing =
        // The labels are those of the pinned Plan: a label that is added later must not send a running Execution to
        // another provider (Invariant 9).
        selector.match_labels.iter().find(|(key, value)| task.plan_labels.get(*key) != Some(value));
    differing.map(|(key, value)| format!("the plan has no label `{key}: {value}`"))
}

/// How a matching rule ranks; the greatest wins. Under `MostSpecific` a selector with more labels is the more specific.
fn rank(spec: &BindingSpec, considered: &RuleExplanation) -> Option<(u16, Specificity, usize)> {
    // `Chosen` only means "matches" until the best rule is known; a rule that does not apply has no rank at all.
    if considered.verdict != RuleMatch::Chosen {
        return None;
    }
    // Under the other strategies the number of labels must not count: `FirstMatch` promises the order of the array, and
    // `ErrorOnConflict` would miss the conflict of two label rules.
    let labels = match (spec.strategy, spec.rules.get(considered.rule)) {
        (BindingStrategy::MostSpecific, Some(rule)) => rule.selector.match_labels.len(),
        _ => 0,
    };
    // The order of the tuple is the order of precedence in the contract: explicit priority, then the shape of the
    // selector, then what the strategy adds.
    Some((considered.priority, considered.specificity?, labels))
}

/// The best of the matching rules, the first among equals.
fn choose(spec: &BindingSpec, considered: &[RuleExplanation]) -> Option<usize> {
    // `Reverse`, since `max` would give the last among equals, and the contract says the first in the array. That makes
    // the choice the same on every runner.
    let ranked = considered.iter().filter_map(|one| Some((rank(spec, one)?, Reverse(one.rule))));
    ranked.max().map(|(_, Reverse(rule))| rule)
}

/// Says of every matching rule but the best why it lost. Gives the first rule that conflicts with the best, if the
/// strategy makes an equal match a conflict.
fn explain(spec: &BindingSpec, considered: &mut [RuleExplanation], best: usize) -> Option<usize> {
    let top = considered.get(best).and_then(|one| rank(spec, one))?;
    let mut conflict = None;
    for one in considered.iter_mut().filter(|one| one.rule != best) {
        let Some(own) = rank(spec, one) else { continue };
        // In the order in which the rules of precedence apply, so that the verdict names the first one that decided; it
        // is what a person has to change.
        one.verdict = if own.0 < top.0 {
            RuleMatch::LowerPriority(best)
        } else if own < top {
            RuleMatch::LessSpecific(best)
        } else if spec.strategy == BindingStrategy::ErrorOnConflict {
            // The first one is named, whatever their number: the message is recorded on the node, and has to be the
            // same in every pass (Invariant 5).
            conflict.get_or_insert(one.rule);
            RuleMatch::ConflictsWith(best)
        } else {
            RuleMatch::Later(best)
        };
    }
    // The best one loses as well: none of the rules is used, and `Chosen` beside an unbound node would say the
    // opposite.
    if let (Some(other), Some(one)) = (conflict, considered.get_mut(best)) {
        one.verdict = RuleMatch::ConflictsWith(other);
    }
    conflict
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "a literal value reads best without a borrow")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    struct Case {
        execution: Value,
        bindings: Vec<(&'static str, BindingSpec)>,
    }

    fn binding(rules: Value) -> BindingSpec {
        strategy("FirstMatch", rules)
    }

    fn strategy(strategy: &str, rules: Value) -> BindingSpec {
        serde_json::from_value(json!({ "strategy": strategy, "rules": rules })).unwrap()
    }

    fn rule(priority: u16, selector: Value, provider: &str) -> Value {
        json!({ "priority": priority, "selector": selector, "target": { "provider": provider } })
    }

    fn resolve_case(case: &Case) -> BindingExplanation {
        let node: Node = serde_json::from_value(json!({
            "id": "build", "kind": "Task", "capabilityRefs": [{ "name": "code" }, { "name": "shell", "namespace": "shared" }],
        }))
        .unwrap();
        let mut execution = json!({ "planRef": { "name": "p" } });
        execution.as_object_mut().unwrap().extend(case.execution.as_object().unwrap().clone());
        let execution: ExecutionSpec = serde_json::from_value(execution).unwrap();
        let namespace = Name::new("team").unwrap();
        let plan = ResourceKey::new(Kind::Plan, namespace.clone(), Name::new("p").unwrap());
        let labels = StringMap::from([("a".into(), "1".into()), ("b".into(), "2".into())]);
        let task = TaskToBind {
            node: &node,
            plan: &plan,
            plan_labels: &labels,
            execution: &execution,
            namespace: &namespace,
        };
        resolve(&task, |key| {
            let found = case.bindings.iter().find(|(name, _)| key.to_string() == *name);
            found.map(|(_, spec)| BindingView { spec, generation: 4 })
        })
    }

    fn shown(case: &Case) -> String {
        match resolve_case(case).resolution {
            Resolution::Bound { binding, rule, target, .. } => {
                format!("{binding}#{rule} {}", target.provider)
            }
            Resolution::Own { target } => format!("own {}", target.provider),
            Resolution::Unbound { why } => format!("unbound: {why}"),
            Resolution::Conflict { why, .. } => format!("conflict: {why}"),
        }
    }

    #[track_caller]
    fn check(execution: Value, bindings: Vec<(&'static str, BindingSpec)>, expected: &str) {
        assert_eq!(shown(&Case { execution, bindings }), expected);
    }

    #[track_caller]
    fn check_default(spec: BindingSpec, expected: &str) {
        check(json!({}), vec![("team/binding/default", spec)], expected);
    }

    fn all() -> Value {
        json!({ "matchLabels": { "a": "1" } })
    }

    #[test]
    fn node_bindings_go_before_the_binding_ref_before_the_default() {
        let bindings = || {
            let each = |provider: &str| binding(json!([rule(0, all(), provider)]));
            vec![
                ("team/binding/default", each("d")),
                ("team/binding/own", each("o")),
                ("other/binding/node", each("n")),
            ]
        };
        check(json!({}), bindings(), "team/binding/default#0 d");
        check(json!({ "bindingRef": { "name": "own" } }), bindings(), "team/binding/own#0 o");
        let both = json!({
            "bindingRef": { "name": "own" }, "nodeBindings": { "build": { "name": "node", "namespace": "other" } },
        });
        check(both, bindings(), "other/binding/node#0 n");
        let another =
            json!({ "bindingRef": { "name": "own" }, "nodeBindings": { "test": { "name": "node" } } });
        check(another, bindings(), "team/binding/own#0 o");
    }

    #[test]
    fn what_is_named_decides_even_when_it_does_not_match() {
        let default = binding(json!([rule(0, all(), "d")]));
        let none = binding(json!([rule(0, json!({ "capabilityRef": { "name": "other" } }), "x")]));
        let bindings = vec![("team/binding/default", default), ("team/binding/own", none)];
        check(
            json!({ "bindingRef": { "name": "own" } }),
            bindings.clone(),
            "unbound: no rule of team/binding/own matches node `build`",
        );
        check(
            json!({ "bindingRef": { "name": "gone" } }),
            bindings,
            "unbound: there is no team/binding/gone",
        );
        check(
            json!({}),
            vec![],
            "unbound: the execution names no binding, and there is no team/binding/default; write `run:` on the task, or a Binding of that name with a rule for it",
        );
    }

    #[test]
    fn priority_goes_before_specificity_before_order() {
        let node = json!({ "planRef": { "name": "p" }, "nodeId": "build" });
        let plan = json!({ "planRef": { "name": "p" } });
        let capability = json!({ "capabilityRef": { "name": "code" } });
        let both = json!({ "planRef": { "name": "p" }, "capabilityRef": { "name": "code" } });
        check_default(
            binding(json!([rule(0, node.clone(), "node"), rule(1, all(), "labels")])),
            "team/binding/default#1 labels",
        );
        let order = [all(), plan, capability, both, node];
        for count in 1..=order.len() {
            let rules: Vec<Value> =
                order[..count].iter().map(|selector| rule(5, selector.clone(), "x")).collect();
            for name in ["FirstMatch", "MostSpecific", "ErrorOnConflict"] {
                check_default(strategy(name, json!(rules)), &format!("team/binding/default#{} x", count - 1));
            }
        }
        check_default(
            binding(json!([rule(0, all(), "first"), rule(0, all(), "second")])),
            "team/binding/default#0 first",
        );
    }

    #[test]
    fn the_strategy_decides_between_equals() {
        let rules =
            json!([rule(0, all(), "one"), rule(0, json!({ "matchLabels": { "a": "1", "b": "2" } }), "two")]);
        check_default(strategy("FirstMatch", rules.clone()), "team/binding/default#0 one");
        check_default(strategy("MostSpecific", rules.clone()), "team/binding/default#1 two");
        check_default(
            strategy("ErrorOnConflict", rules),
            "conflict: rules 0 and 1 of team/binding/default match node `build` equally well",
        );
    }

    #[test]
    fn one_of_several_capabilities_is_enough_and_namespaces_count() {
        let on = |reference: Value| binding(json!([rule(0, json!({ "capabilityRef": reference }), "x")]));
        check_default(on(json!({ "name": "code" })), "team/binding/default#0 x");
        check_default(on(json!({ "name": "shell", "namespace": "shared" })), "team/binding/default#0 x");
        check_default(
            on(json!({ "name": "shell" })),
            "unbound: no rule of team/binding/default matches node `build`",
        );
    }

    #[test]
    fn every_rule_is_explained() {
        let rules = json!([
            rule(0, json!({ "planRef": { "name": "q" } }), "x"),
            rule(0, json!({ "planRef": { "name": "p" }, "nodeId": "test" }), "x"),
            rule(0, json!({ "capabilityRef": { "name": "art" } }), "x"),
            rule(0, json!({ "matchLabels": { "a": "2" } }), "x"),
            rule(3, json!({ "planRef": { "name": "p" } }), "x"),
            rule(3, json!({ "capabilityRef": { "name": "code" } }), "x"),
            rule(3, json!({ "capabilityRef": { "name": "code" } }), "x"),
            rule(2, json!({ "planRef": { "name": "p" }, "nodeId": "build" }), "x"),
            rule(9, json!({ "nodeId": "build" }), "x"),
        ]);
        let case = Case { execution: json!({}), bindings: vec![("team/binding/default", binding(rules))] };
        let verdicts: Vec<String> =
            resolve_case(&case).considered.iter().map(|one| one.verdict.to_string()).collect();
        assert_eq!(
            verdicts,
            [
                "it is for team/plan/q",
                "it is for node `test`",
                "the node does not need team/capability/art",
                "the plan has no label `a: 2`",
                "rule 5 is more specific",
                "chosen",
                "rule 5 matches as well and comes first",
                "rule 5 has a higher priority",
                "its selector is none of the five allowed shapes",
            ]
        );
    }
}
