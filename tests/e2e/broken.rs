//! Manifests that are committed with an error, and what is said where something refers to them.

use crate::environment::TestEnvironment;

/// One resource of each kind with a misspelt field, and what needs them.
const FILES: &[(&str, &str)] = &[
    ("goal.yaml", "kind: Goal\nmetadata: { name: g, namespace: t }\nspec: { descripton: x }\n"),
    (
        "plan.yaml",
        "kind: Plan\nmetadata: { name: y, namespace: t }\nspec: { description: x, grap: { nodes: [] } }\n",
    ),
    ("capability.yaml", "kind: Capability\nmetadata: { name: c, namespace: t }\nspec: { descripton: x }\n"),
    ("binding.yaml", "kind: Binding\nmetadata: { name: b, namespace: t }\nspec: { ruls: [] }\n"),
    (
        "gate.yaml",
        "kind: Gate\nmetadata: { name: ok, namespace: t }\nspec: { gateTyp: human, targetRef: { kind: Plan, name: z, nodeId: ok } }\n",
    ),
    (
        "schedule.yaml",
        "kind: Schedule\nmetadata: { name: s, namespace: t }\nspec: { crn: 0 0 * * *, planRef: { name: z } }\n",
    ),
    (
        "execution.yaml",
        "kind: Execution\nmetadata: { name: e, namespace: t }\nspec: { planReff: { name: z } }\n",
    ),
    (
        "needs-c.yaml",
        "kind: Capability\nmetadata: { name: d, namespace: t }\nspec:\n  description: x\n  requirements: [{ name: c }]\n",
    ),
    (
        "z.yaml",
        "kind: Plan\nmetadata: { name: z, namespace: t }\nspec:\n  description: x\n  graph:\n    nodes:\n\
         \x20     - { id: a, kind: Task, description: x }\n\
         \x20     - { id: ok, kind: Gate, gateRef: { name: ok } }\n\
         \x20     - { id: other, kind: External, externalRef: { type: resource, resourceRef: { kind: Execution, name: e } } }\n",
    ),
    (
        "of-plan.yaml",
        "kind: Execution\nmetadata: { name: of-plan, namespace: t }\nspec: { planRef: { name: y } }\n",
    ),
    (
        "of-goal.yaml",
        "kind: Execution\nmetadata: { name: of-goal, namespace: t }\nspec: { planRef: { name: z }, goalRef: { name: g } }\n",
    ),
    (
        "of-z.yaml",
        "kind: Execution\nmetadata: { name: of-z, namespace: t }\nspec: { planRef: { name: z }, bindingRef: { name: b } }\n",
    ),
];

fn environment() -> TestEnvironment {
    let files: Vec<(&str, String)> = FILES
        .iter()
        .map(|(path, text)| (*path, format!("apiVersion: planspec.io/v1alpha1\n{text}")))
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    TestEnvironment::with_files(&files)
}

#[test]
fn a_command_that_names_a_broken_resource_says_where_it_is_broken() {
    let environment = environment();
    for (command, said) in [
        (&["run", "plan/y"] as &[&str], "plan y is broken: plan.yaml:4: unknown field `grap`"),
        (&["run", "goal/g"], "goal g is broken: goal.yaml:4: unknown field `descripton`"),
        (&["run", "schedule/s"], "schedule s is broken: schedule.yaml:4: unknown field `crn`"),
        (&["get", "plan/y"], "plan y is broken: plan.yaml:4: "),
        (&["describe", "binding/b"], "binding b is broken: binding.yaml:4: unknown field `ruls`"),
        (&["describe", "capability", "c"], "capability c is broken: capability.yaml:4: "),
        (&["approve", "ok"], "gate ok is broken: gate.yaml:4: unknown field `gateTyp`"),
        (&["graph", "y"], "plan y is broken: plan.yaml:4: "),
        (&["wait", "execution/e"], "execution e is broken: execution.yaml:4: unknown field `planReff`"),
        (&["edit", "plan/y", "--editor", "true"], "plan y is broken: plan.yaml:4: "),
        (&["suspend", "schedule/s"], "schedule s is broken: schedule.yaml:4: "),
    ] {
        let outcome = environment.planspec(command).exits(1);
        assert!(outcome.stderr.contains(said), "{command:?}: {}", outcome.stderr);
        assert!(!outcome.stderr.contains("there is no"), "{command:?}: {}", outcome.stderr);
    }
    // What is not there at all is still said to be missing.
    let outcome = environment.planspec(&["run", "plan/none"]).exits(1);
    assert!(outcome.stderr.contains("there is no plan `none`"), "{}", outcome.stderr);
}

#[test]
fn a_broken_manifest_is_opened_with_its_error_above_it_and_fixed_in_its_place() {
    let environment = environment();
    let shown = environment.root().join("shown");
    let editor = |fix: &str| format!("sh -c 'cp \"$0\" {}; sed -i \"{fix}\" \"$0\"'", shown.display());
    let edit = |fix: &str| environment.planspec(&["edit", "plan/y", "--editor", &editor(fix)]);
    // Still broken: the text is kept, and nothing is committed.
    edit("s/grap:.*/}/").exits(1);
    assert_eq!(environment.git_output(&["log", "--oneline"]).lines().count(), 1);
    let outcome = edit("s/grap:.*/graph: {nodes: [{id: a, kind: Task}]} }/").succeeds();
    let opened = std::fs::read_to_string(&shown).unwrap();
    let lines: Vec<&str> = opened.lines().take(4).collect();
    assert_eq!(
        lines,
        [
            "# planspec: This plan is broken. Fix it, save, and close the editor:",
            "# planspec: plan.yaml:4: unknown field `grap`",
            "# planspec: These lines are left out when you save.",
            "apiVersion: planspec.io/v1alpha1",
        ],
        "{opened}"
    );
    assert!(outcome.stdout.contains("plan/y configured"), "{outcome:?}");
    let written = environment.read("plan.yaml");
    assert!(written.contains("graph:") && !written.contains("# planspec:"), "{written}");
    environment.planspec(&["get", "plan/y"]).succeeds();
    // A command that puts a resource into its file finds the file of a broken one as well.
    let whole = "apiVersion: planspec.io/v1alpha1\nkind: Goal\nmetadata: {name: g, namespace: t}\nspec: {description: Whole}\n";
    let applied = environment.planspec_with_input(&["apply", "-f", "-"], whole).succeeds();
    assert!(applied.stdout.contains("goal/g configured"), "{applied:?}");
    assert!(environment.read("goal.yaml").contains("Whole"));
}

/// An editor that carries out one line of a shell in each round, and keeps what it was shown.
fn rounds(environment: &TestEnvironment, steps: &[&str]) -> String {
    let root = environment.root().display();
    let cases: Vec<String> =
        steps.iter().enumerate().map(|(at, step)| format!("{}) {step} ;;", at + 1)).collect();
    let script = format!(
        "#!/bin/sh\nn=$(($(cat {root}/round 2>/dev/null || echo 0) + 1))\necho $n > {root}/round\n\
         cp \"$1\" {root}/shown-$n\ncase $n in\n{}\nesac\n",
        cases.join("\n")
    );
    let path = environment.root().join("editor");
    std::fs::write(&path, script).unwrap();
    let _ = std::fs::remove_file(environment.root().join("round"));
    format!("sh {}", path.display())
}

#[test]
fn an_edited_text_that_is_refused_is_opened_again_with_the_reason() {
    let text = "apiVersion: planspec.io/v1alpha1\nkind: Goal\nmetadata: { name: one, namespace: t }\n\
                # Kept.\nspec: { description: First }\n";
    let environment = TestEnvironment::with_files(&[("goal.yaml", text)]);
    let shown = |round: usize| {
        std::fs::read_to_string(environment.root().join(format!("shown-{round}"))).unwrap_or_default()
    };
    let editor = rounds(
        &environment,
        &[
            "sed -i 's/description/descripton/' \"$1\"",
            "sed -i 's/descripton/description/; s/name: one/name: two/' \"$1\"",
            "sed -i 's/name: two/name: one/; s/First/Second/' \"$1\"",
        ],
    );
    let outcome = environment.planspec(&["edit", "goal/one", "--editor", &editor]).succeeds();
    assert!(outcome.stdout.contains("goal/one configured"), "{outcome:?}");
    assert_eq!(environment.read("goal.yaml"), text.replace("First", "Second"));
    // The line is counted as the editor shows it.
    let said = "# planspec: line 8: unknown field `descripton` (did you mean `description`?)\n";
    assert!(shown(2).contains(said), "{}", shown(2));
    assert!(shown(2).lines().nth(7).unwrap().contains("descripton"), "{}", shown(2));
    assert!(shown(3).contains("kind, namespace and name cannot be changed"), "{}", shown(3));
    assert!(!shown(3).contains("unknown field"), "the reason of the round before is gone: {}", shown(3));
    // Closed without a change, it is given up, and the text is kept.
    let editor = rounds(&environment, &["sed -i 's/description/descripton/' \"$1\""]);
    let refused = environment.planspec(&["edit", "goal/one", "--editor", &editor]).exits(1);
    assert!(refused.stdout.contains("unknown field `descripton`"), "{refused:?}");
    assert!(refused.stderr.contains("your text is in "), "{refused:?}");
    assert_eq!(environment.read("goal.yaml"), text.replace("First", "Second"));
    let emptied = environment
        .planspec(&["edit", "goal/one", "--editor", &rounds(&environment, &[": > \"$1\""])])
        .succeeds();
    assert!(
        emptied.stderr.contains("no changes made") || emptied.stdout.contains("no changes made"),
        "{emptied:?}"
    );
}

#[test]
fn what_is_not_found_may_be_in_a_file_that_cannot_be_read() {
    let environment = TestEnvironment::with_files(&[(
        "plan.yaml",
        "apiVersion: planspec.io/v1alpha1\nkind: [Plan\nmetadata: { name: lost }\n",
    )]);
    for command in [&["edit", "plan/lost"] as &[&str], &["run", "plan/lost"], &["describe", "plan/lost"]] {
        let outcome = environment.planspec(command).exits(1);
        assert!(outcome.stderr.contains("plan.yaml:3: "), "{command:?}: {outcome:?}");
        assert!(outcome.stderr.contains("cannot be read, and may declare it"), "{command:?}: {outcome:?}");
    }
    let status = environment.planspec(&["status"]).succeeds().stdout;
    assert!(status.contains("  broken: plan.yaml:3: "), "{status}");
}

#[test]
fn what_waits_for_a_broken_resource_says_where_it_is_broken() {
    let environment = environment();
    let outcome = environment.planspec(&["reconcile", "--max-duration", "10m"]);
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    for expected in [
        "t/of-plan: t/plan/y is broken: plan.yaml:4: unknown field `grap`",
        "t/of-goal: t/goal/g is broken: goal.yaml:4: unknown field `descripton`",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
    let status =
        environment.planspec(&["get", "execution", "of-z", "-n", "t", "-o", "json"]).succeeds().json();
    let message = |node: &str| {
        status["status"]["nodeStatuses"][node]["message"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(message("a"), "t/binding/b is broken: binding.yaml:4: unknown field `ruls`", "{status:#}");
    assert!(message("ok").contains("is broken: gate.yaml:4: unknown field `gateTyp`"), "{status:#}");
    assert!(
        message("other")
            .contains("t/execution/e, which is broken: execution.yaml:4: unknown field `planReff`"),
        "{status:#}"
    );
    let needs = environment.planspec(&["get", "capability", "d", "-n", "t", "-o", "json"]).succeeds().json();
    let why = needs["status"]["conditions"][0]["message"].as_str().unwrap_or_default().to_owned();
    assert_eq!(why, "t/capability/c is broken: capability.yaml:4: unknown field `descripton`", "{needs:#}");
}
