//! What a change from one commit to the next means for a single resource.

use super::codes;
use crate::diagnostic::{Code, Diagnostic, Location, Severity};
use crate::model::{ExecutionSpec, Resource, SourceLocation, Spec};

/// Compares a resource with its next version; `None` means that it is removed.
#[must_use]
pub fn check_transition(old: &Resource, new: Option<&Resource>) -> Vec<Diagnostic> {
    let Some(new) = new else { return removed(old).into_iter().collect() };
    // Labels and annotations may change at any time.
    if old.spec_digest == new.spec_digest || old.key() != new.key() {
        return Vec::new();
    }
    let found = match (&old.spec, &new.spec) {
        (Spec::Execution(before), Spec::Execution(after)) => immutable(before, after, &new.source),
        // Approvals are bound to the generation of the Gate (Invariant 11).
        (Spec::Gate(_), Spec::Gate(_)) => Some(Diagnostic::warning(
            codes::APPROVALS_VOIDED,
            location(&new.source, "/spec"),
            "the gate changes: approvals given so far no longer count",
        )),
        // An Execution keeps the graph that it was pinned to (Invariant 9).
        (Spec::Plan(before), Spec::Plan(after)) if before.graph != after.graph => Some(note(
            codes::PINNED_PLAN_CHANGED,
            location(&new.source, "/spec/graph"),
            "running executions keep the graph that they started with",
        )),
        _ => None,
    };
    found.map(|diagnostic| diagnostic.about(&new.key())).into_iter().collect()
}

fn location(source: &SourceLocation, pointer: &str) -> Location {
    Location { path: source.path.clone(), span: None, document: source.document, pointer: pointer.to_owned() }
}

fn note(code: Code, at: Location, message: &str) -> Diagnostic {
    let mut diagnostic = Diagnostic::warning(code, at, message);
    diagnostic.severity = Severity::Note;
    diagnostic
}

fn removed(old: &Resource) -> Option<Diagnostic> {
    let at = location(&old.source, "");
    let diagnostic = match &old.spec {
        Spec::Execution(_) => Diagnostic::warning(
            codes::RESOURCE_REMOVED,
            at,
            "the execution is removed: it is cancelled if it is running, and its status is deleted",
        ),
        Spec::Goal(_) => note(
            codes::RESOURCE_REMOVED,
            at,
            "the goal is removed, and with it the status of the executions that it owns",
        ),
        _ => return None,
    };
    Some(diagnostic.about(&old.key()))
}

fn immutable(before: &ExecutionSpec, after: &ExecutionSpec, source: &SourceLocation) -> Option<Diagnostic> {
    let changes = [
        ("planRef", before.plan_ref != after.plan_ref),
        ("goalRef", before.goal_ref != after.goal_ref),
        ("bindingRef", before.binding_ref != after.binding_ref),
        ("nodeBindings", before.node_bindings != after.node_bindings),
        ("runtimeRef", before.runtime_ref != after.runtime_ref),
        ("parameters", before.parameters != after.parameters),
        ("context", before.context != after.context),
    ];
    let changed: Vec<&str> =
        changes.iter().filter(|(_, changed)| *changed).map(|(field, _)| *field).collect();
    let first = changed.first()?;
    let message = format!("the spec of an Execution never changes ({})", changed.join(", "));
    let at = location(source, &format!("/spec/{first}"));
    Some(
        Diagnostic::error(codes::IMMUTABLE_SPEC, at, message)
            .with_hint("create another Execution with a new name"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::manifest::parse;

    fn resource(kind: &str, spec: &str) -> Resource {
        let text = format!(
            "apiVersion: planspec.io/v1alpha1\nkind: {kind}\nmetadata: {{name: a, namespace: n}}\nspec: {spec}\n"
        );
        let mut parsed = parse("a.yaml", text.as_bytes(), &Limits::default());
        assert_eq!(parsed.diagnostics, Vec::new());
        parsed.resources.remove(0)
    }

    fn check(old: &Resource, new: Option<&Resource>, expected: &[&str]) {
        let found = check_transition(old, new);
        let found: Vec<String> = found
            .iter()
            .map(|found| format!("{:?} {} {}", found.severity, found.code, found.location.pointer))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_spec_of_an_execution_never_changes() {
        let old = resource("Execution", "{planRef: {name: p}, parameters: {a: 1}}");
        let new = resource("Execution", "{planRef: {name: p}, parameters: {a: 2}, goalRef: {name: g}}");
        check(&old, Some(&new), &["Error PS4001 /spec/goalRef"]);
        let reordered = resource("Execution", "{parameters: {a: 1}, planRef: {name: p}}");
        check(&old, Some(&reordered), &[]);
        check(&old, None, &["Warning PS4004 "]);
    }

    #[test]
    fn a_changed_gate_voids_approvals_and_a_changed_plan_does_not_reach_what_runs() {
        let gate = |count: u32| {
            resource(
                "Gate",
                &format!(
                    "{{gateType: approval, targetRef: {{kind: Plan, name: p}}, requiredApprovers: {count}}}"
                ),
            )
        };
        check(&gate(1), Some(&gate(2)), &["Warning PS4002 /spec"]);
        check(&gate(1), None, &[]);
        let plan = |id: &str| {
            resource("Plan", &format!("{{description: d, graph: {{nodes: [{{id: {id}, kind: Task}}]}}}}"))
        };
        check(&plan("a"), Some(&plan("b")), &["Note PS4003 /spec/graph"]);
        check(&plan("a"), Some(&plan("a")), &[]);
    }
}
