//! The commands that `describe` prints for nodes that wait or failed do what they say.

use serde_json::{Value, json};

use crate::environment::TestEnvironment;

/// Nodes of each kind of waiting, one for each command that is printed for it: the gate is approved at `gate-0` and
/// rejected at `gate-1`, and the same for the others.
const KINDS: [(&str, usize, Option<&str>); 6] = [
    ("gate", 2, None),
    ("person", 2, Some("human://wendy")),
    ("unbound", 3, None),
    ("unavailable", 3, Some("nothing://here")),
    ("event", 2, None),
    ("failed", 2, Some("tool://no")),
];

fn manifests() -> String {
    let mut nodes = Vec::new();
    let mut rules = Vec::new();
    for (kind, count, provider) in KINDS {
        for index in 0..count {
            let id = format!("{kind}-{index}");
            nodes.push(match kind {
                "gate" => json!({ "id": id, "kind": "Gate", "gateRef": { "name": id } }),
                "event" => json!({
                    "id": id, "kind": "External",
                    "externalRef": { "type": "resource", "resourceRef": { "name": "another" } },
                }),
                _ => json!({ "id": id, "kind": "Task" }),
            });
            let Some(provider) = provider else { continue };
            let config = if kind == "failed" {
                json!({ "command": "echo broken; exit 1", "shell": true })
            } else {
                json!({})
            };
            rules.push(json!({
                "selector": { "planRef": { "name": "p" }, "nodeId": id },
                "target": { "provider": provider, "config": config },
            }));
        }
    }
    let of = |kind: &str, name: &str, spec: Value| {
        json!({
            "apiVersion": "planspec.io/v1alpha1", "kind": kind,
            "metadata": { "name": name, "namespace": "team" }, "spec": spec,
        })
    };
    let all = [
        of("Plan", "p", json!({ "description": "Wait", "graph": { "nodes": nodes } })),
        of("Binding", "default", json!({ "rules": rules })),
        of("Execution", "e", json!({ "planRef": { "name": "p" } })),
    ];
    all.map(|one| one.to_string()).join("\n---\n")
}

/// The commands below the line of each node, by node.
fn printed(environment: &TestEnvironment) -> Vec<(String, Vec<String>)> {
    let page = environment.planspec(&["describe", "execution/e", "-n", "team"]).succeeds().stdout;
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    // Above it stands the table of the nodes, whose messages read the same.
    for line in page.lines().skip_while(|line| *line != "Waits") {
        if let Some(command) = line.strip_prefix("    run: planspec ") {
            let command = command.split_once("  # ").unwrap().0.to_owned();
            found.last_mut().unwrap().1.push(command);
        } else if line.contains(" waits for ") || line.contains(" failed: ") {
            found.push((line.split_whitespace().next().unwrap().to_owned(), Vec::new()));
        }
    }
    // Tables below say the same in other words.
    found.retain(|(_, commands)| !commands.is_empty());
    found
}

#[test]
fn every_command_that_describe_prints_is_carried_out() {
    let environment = TestEnvironment::with_files(&[("work.yaml", &manifests())]);
    environment.planspec(&["reconcile"]).succeeds();
    let found = printed(&environment);
    assert_eq!(found.len(), KINDS.iter().map(|(_, count, _)| count).sum::<usize>(), "{found:#?}");
    for (node, commands) in &found {
        let (kind, index) = node.rsplit_once('-').unwrap();
        let count = KINDS.iter().find(|(name, ..)| *name == kind).unwrap().1;
        assert_eq!(commands.len(), count, "{node}: {commands:?}");
        let command = &commands[index.parse::<usize>().unwrap()];
        let words: Vec<&str> = command.split(' ').collect();
        let outcome = environment.planspec(&words).succeeds();
        assert!(!outcome.stdout.is_empty(), "{command}");
        let explained = environment.planspec(&["explain", &format!("e/{node}"), "-n", "team"]).succeeds();
        // What is still open is shown by `explain` as by `describe`.
        if matches!(words[0], "explain" | "logs") {
            for other in commands.iter().filter(|other| !other.starts_with("explain")) {
                assert!(
                    explained.stdout.contains(&format!("  planspec {other}  # ")),
                    "{}",
                    explained.stdout
                );
            }
        }
    }
    let phase = |node: &str| {
        let shown = environment.planspec(&["get", "execution/e", "-n", "team", "-o", "json"]).succeeds();
        let value: Value = serde_json::from_str(&shown.stdout).unwrap();
        value["status"]["nodeStatuses"][node]["phase"].as_str().unwrap().to_owned()
    };
    environment.planspec(&["reconcile"]).succeeds();
    for (node, expected) in [
        ("gate-0", "Succeeded"),
        ("gate-1", "Failed"),
        ("person-0", "Succeeded"),
        ("person-1", "Failed"),
        ("unbound-0", "Succeeded"),
        ("unbound-1", "Blocked"),
        ("unbound-2", "Failed"),
        ("unavailable-0", "Succeeded"),
        ("unavailable-1", "Blocked"),
        ("unavailable-2", "Failed"),
        ("event-0", "Succeeded"),
        ("event-1", "Failed"),
    ] {
        assert_eq!(phase(node), expected, "{node}");
    }
}

/// Two tasks without a Binding, and a gate: what each waits for is one sentence.
#[test]
fn explain_says_once_what_a_node_waits_for() {
    let environment = TestEnvironment::with_files(&[("work.yaml", &manifests())]);
    environment.planspec(&["reconcile", "-q"]).succeeds();
    let unbound = environment.planspec(&["explain", "e/unbound-0", "-n", "team"]).succeeds().stdout;
    assert!(unbound.starts_with("team/e/unbound-0 is Blocked (Unbound)\n"), "{unbound}");
    assert!(
        unbound.contains("Binding team/binding/default"),
        "the Binding whose rules do not match: {unbound}"
    );
    assert!(unbound.contains("selects no rule\n"), "{unbound}");
    assert_eq!(unbound.matches("matches node").count(), 1, "{unbound}");
    let gate = environment.planspec(&["explain", "e/gate-0", "-n", "team"]).succeeds().stdout;
    assert_eq!(gate.matches("approval:").count(), 1, "{gate}");
    assert!(gate.starts_with("team/e/gate-0 is Blocked (AwaitingApproval)\n"), "{gate}");
    // Where there is no Binding at all, the sentence that says what to write is the only one about it.
    environment.git(&["rm", "--quiet", "work.yaml"]).succeeds();
    let bare = "apiVersion: planspec.io/v1alpha1\nkind: Plan\nmetadata: {name: bare, namespace: alone}\nspec:\n  description: Bare\n  \
                graph: {nodes: [{id: a, kind: Task}]}\n---\napiVersion: planspec.io/v1alpha1\nkind: Execution\n\
                metadata: {name: bare, namespace: alone}\nspec: {planRef: {name: bare}}\n";
    environment.commit_files(&[("bare.yaml", bare)], "Without a Binding");
    environment.planspec(&["reconcile", "-q", "--allow-mass-delete"]).succeeds();
    let bare = environment.planspec(&["explain", "bare/a"]).succeeds().stdout;
    assert_eq!(bare.matches("write `run:` on the task").count(), 1, "{bare}");
    assert_eq!(bare.matches("alone/binding/default").count(), 1, "{bare}");
    // One that is there under another name is named, by what is recorded and by what is resolved anew.
    let shell = "apiVersion: planspec.io/v1alpha1\nkind: Binding\nmetadata: {name: shell, namespace: alone}\nspec: {rules: \
                 [{selector: {planRef: {name: bare}}, target: {provider: \"tool://sh\", config: {command: \"true\"}}}]}\n";
    environment.commit_files(&[("shell.yaml", shell)], "A Binding of another name");
    let resolved = environment.planspec(&["explain", "bare/a", "-o", "json"]).succeeds().stdout;
    assert!(resolved.contains("there is `shell`: rename it to `default`"), "{resolved}");
    let waits = environment.planspec(&["reconcile"]).succeeds().stdout;
    assert!(waits.contains("start another Execution with `bindingRef: {name: shell}`"), "{waits}");
}
