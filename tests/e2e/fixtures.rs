//! Manifests that many tests use.

/// The example of the README: a Goal, a Plan and an Execution in one file.
pub(crate) const SSO: &str = include_str!("../fixtures/valid/readme-sso.yaml");

/// A Goal.
pub(crate) fn goal(name: &str, description: &str) -> String {
    format!(
        "apiVersion: planspec.io/v1alpha1\nkind: Goal\nmetadata:\n  name: {name}\n  namespace: team\nspec:\n  \
         description: {description}\n"
    )
}

/// A Plan with two tasks in a row.
pub(crate) fn plan(name: &str) -> String {
    format!(
        "apiVersion: planspec.io/v1alpha1\nkind: Plan\nmetadata:\n  name: {name}\n  namespace: team\nspec:\n  \
         description: Build, then test\n  graph:\n    nodes:\n      - {{id: build, kind: Task}}\n      - {{id: \
         test, kind: Task, dependsOn: [build]}}\n"
    )
}
