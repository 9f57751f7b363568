//! References between resources, on manifests as people write them.

use super::*;
use crate::config::Limits;
use crate::manifest::{Parsed, facts, locate, parse};

const GOAL: &str = "{apiVersion: planspec.io/v1alpha1, kind: Goal, metadata: {name: g, namespace: n}, spec: {description: d}}";

fn capability(name: &str, rest: &str) -> String {
    format!(
        "{{apiVersion: planspec.io/v1alpha1, kind: Capability, metadata: {{name: {name}, namespace: n}}, spec: {{description: d, {rest}}}}}"
    )
}

fn plan(name: &str, nodes: &str, rest: &str) -> String {
    format!(
        "{{apiVersion: planspec.io/v1alpha1, kind: Plan, metadata: {{name: {name}, namespace: n}}, spec: {{description: d, graph: {{nodes: [{nodes}]}}, {rest}}}}}"
    )
}

fn execution(name: &str, rest: &str) -> String {
    format!(
        "{{apiVersion: planspec.io/v1alpha1, kind: Execution, metadata: {{name: {name}, namespace: n}}, spec: {{{rest}}}}}"
    )
}

/// Checks the findings on documents that stand one per line; each finding as `LINE: WHAT IS UNDERLINED: CODE message (hint)`.
fn check(documents: &[String], expected: &[&str]) {
    let text = documents.join("\n---\n");
    let limits = Limits::default();
    let Parsed { resources, diagnostics, .. } = parse("a.yaml", text.as_bytes(), &limits);
    assert_eq!(diagnostics, Vec::new());
    let facts: Vec<Facts> = resources.iter().map(facts).collect();
    let bytes = postcard::to_allocvec(&facts).unwrap();
    let facts: Vec<Facts> = postcard::from_bytes(&bytes).unwrap();
    let mut found = check_references(facts.iter().zip(resources.iter().map(|resource| &resource.source)));
    locate(&mut found, &limits, |path| (path == "a.yaml").then(|| text.clone().into_bytes()));
    let found: Vec<String> = found
        .iter()
        .map(|found| {
            let span = found.location.span.unwrap();
            assert!(found.resource.is_some());
            let hint = found.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!(
                "{}: {}: {} {}{hint}",
                span.line,
                text.get(span.start..span.end).unwrap(),
                found.code,
                found.message
            )
        })
        .collect();
    assert_eq!(found, expected);
}

const TASK: &str = "{id: a, kind: Task}";

#[test]
fn a_complete_set_has_nothing_wrong() {
    let documents = [
        GOAL.to_owned(),
        plan(
            "p",
            "{id: a, kind: Task, capabilityRefs: [{name: c}], inputs: {x: \"${{ parameters.x }}\"}}, {id: w, kind: Gate, gateRef: {name: implicit}}",
            "goalRef: {name: g}",
        ),
        capability(
            "c",
            "inputs: [{name: x, type: number, required: true}, {name: y, type: string, required: true, default: z}]",
        ),
        execution("e", "planRef: {name: p}, goalRef: {name: g}"),
    ];
    check(&documents, &[]);
}

#[test]
fn what_an_owner_that_is_gone_takes_with_it_is_not_checked_further() {
    let owned = execution("e", "planRef: {name: p}, goalRef: {name: gone}").replace(
        "namespace: n}",
        "namespace: n, ownerReferences: [{apiVersion: planspec.io/v1alpha1, kind: Goal, name: gone, uid: u}]}",
    );
    check(&[owned], &["1: gone: PS3002 there is no Goal `gone` in the namespace `n`"]);
}

#[test]
fn missing_targets_are_reported_with_the_nearest_name() {
    let documents = [
        GOAL.to_owned(),
        plan("deploy-v1", TASK, "goalRef: {name: gg}"),
        execution("e", "planRef: {name: deploy-v2}, bindingRef: {name: b}"),
        execution("f", "planRef: {name: deploy-v1, namespace: m}"),
    ];
    check(
        &documents,
        &[
            "3: gg: PS3002 there is no Goal `gg` in the namespace `n` (did you mean `g`?)",
            "5: b: PS3002 there is no Binding `b` in the namespace `n`",
            "5: deploy-v2: PS3002 there is no Plan `deploy-v2` in the namespace `n` (did you mean `deploy-v1`?)",
            "7: deploy-v1: PS3002 there is no Plan `deploy-v1` in the namespace `m` (there is one in the namespace `n`; add `namespace`)",
        ],
    );
}

#[test]
fn a_resource_declared_twice_is_reported_at_the_second_place() {
    check(
        &[GOAL.to_owned(), GOAL.to_owned()],
        &[
            "3: g: PS3001 Goal `g` is declared twice in the namespace `n` (remove one, or give it another name)",
        ],
    );
}

#[test]
fn node_bindings_name_nodes_of_the_plan() {
    let binding = "{apiVersion: planspec.io/v1alpha1, kind: Binding, metadata: {name: b, namespace: n}, spec: {rules: [{selector: {planRef: {name: p}}, target: {provider: sh}}]}}";
    let documents = [
        binding.to_owned(),
        plan("p", "{id: build, kind: Task}", ""),
        execution("e", "planRef: {name: p}, nodeBindings: {biuld: {name: b}}"),
    ];
    check(&documents, &["5: biuld: PS3005 the plan has no node `biuld` (did you mean `build`?)"]);
}

#[test]
fn circles_are_reported_once_with_their_path() {
    let documents = [
        capability("a", "requirements: [{name: b}]"),
        capability("b", "requirements: [{name: c, optional: true}]"),
        capability("c", "requirements: [{name: b}]"),
        plan("p", TASK, "supersedes: [{name: q}]"),
        plan("q", TASK, "supersedes: [{name: p}]"),
        plan("r", TASK, "supersedes: [{name: r}]"),
    ];
    check(
        &documents,
        &[
            "5: b: PS3010 cycle of required capabilities: b → c → b",
            "9: p: PS3011 cycle of superseded plans: p → q → p",
            "11: r: PS3011 cycle of superseded plans: r → r",
        ],
    );
}

fn waits_for(kind: &str, name: &str) -> String {
    format!(
        "{{id: x, kind: External, externalRef: {{type: resource, resourceRef: {{kind: {kind}, name: {name}}}}}}}"
    )
}

#[test]
fn executions_that_wait_for_each_other_are_named() {
    let documents = [
        plan("p", &waits_for("Execution", "f"), ""),
        plan("q", &waits_for("Execution", "e"), ""),
        execution("e", "planRef: {name: p}"),
        execution("f", "planRef: {name: q}"),
        execution("late", "planRef: {name: q}"),
    ];
    check(&documents, &["3: e: PS3017 executions wait for each other: e → f → e"]);
    check(
        &[plan("p", &waits_for("Execution", "e"), ""), execution("e", "planRef: {name: p}")],
        &["1: e: PS3017 executions wait for each other: e → e"],
    );
}

#[test]
fn a_wait_for_a_goal_is_a_wait_for_the_executions_that_serve_it() {
    let documents = [
        GOAL.to_owned(),
        plan("p", &waits_for("Goal", "g"), ""),
        execution("e", "planRef: {name: p}, goalRef: {name: g}"),
    ];
    check(&documents, &["3: g: PS3017 executions wait for each other: e → goal/g → e"]);
}

#[test]
fn inputs_are_checked_against_the_capability() {
    let inputs = "inputs: [{name: framework, type: string, required: true, enum: [react, vue]}, {name: count, type: number}, {name: env, type: string, required: true}]";
    let nodes = "{id: a, kind: Task, capabilityRefs: [{name: c}], inputs: {framework: raect, count: \"3\", evn: x}}, {id: b, kind: Task, capabilityRefs: [{name: none}]}";
    check(
        &[capability("c", inputs), plan("p", nodes, "")],
        &[
            "3: a: PS3012 the task `a` lacks the input `env`, which the capability `c` requires (is `evn` meant to be `env`?)",
            "3: \"3\": PS3013 the input `count` is a string, the capability `c` expects a number",
            "3: raect: PS3013 the input `framework` is \"raect\", the capability `c` takes `react` or `vue` (did you mean `react`?)",
            "3: none: PS3003 there is no Capability `none` in the namespace `n`",
        ],
    );
}

#[test]
fn a_deprecated_capability_warns_with_its_replacement() {
    let old = capability("old", "inputs: [{name: day, type: string, format: date}]").replace(
        "namespace: n}",
        "namespace: n, annotations: {planspec.io/deprecated: too slow, planspec.io/replacement: new}}",
    );
    let nodes = "{id: a, kind: Task, capabilityRefs: [{name: old}], inputs: {day: yesterday}}";
    check(
        &[old, plan("p", nodes, "")],
        &[
            "3: old: PS3016 the task `a` needs the capability `old`, which is deprecated: too slow (use `new`)",
            "3: yesterday: PS3013 the input `day` is \"yesterday\", the capability `old` expects the format date",
        ],
    );
}

/// A chain as long as a repository is large: no recursion, no quadratic search.
#[test]
fn a_long_chain_of_requirements_is_walked() {
    let source = SourceLocation::default();
    let make = |index: usize| {
        let text = capability(&format!("c{index}"), &format!("requirements: [{{name: c{}}}]", index + 1));
        facts(&parse("a.yaml", text.as_bytes(), &Limits::default()).resources[0])
    };
    let all: Vec<Facts> = (0..2_000).map(make).collect();
    let found = check_references(all.iter().map(|facts| (facts, &source)));
    assert_eq!(found.iter().map(|found| found.code.id).collect::<Vec<_>>(), ["PS3003"]);
}
