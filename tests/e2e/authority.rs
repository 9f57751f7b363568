//! What the repository's word forbids, whatever a Plan or a Binding says: required gates, commands that data would become, tokens
//! that tasks could read.

use std::io::Write as _;

use planspec::model::{ExecutionPhase, NodePhase, NodeReason};
use serde_json::json;

use crate::engine_rig::{Graph, QUICK, Stage, bindings, document, execution, yaml};
use crate::environment::TestEnvironment;
use crate::skip;

const REQUIRE: &str = "gates: {require: [{providers: ['tool://deploy*'], gate: prod}]}\n";

/// A plan that deploys, with or without the gate before it.
fn deploys(stage: &Stage, gated: bool) -> Graph {
    let script = format!("echo deployed >> '{}'", stage.outside("trace").display());
    let config = json!({ "command": script, "shell": true });
    let graph = Graph::new("work");
    if !gated {
        return graph.provided("ship", &[], "tool://deploy-web", &config);
    }
    graph.node(json!({ "id": "look", "kind": "Gate", "gateRef": { "name": "prod" } })).provided(
        "ship",
        &["look"],
        "tool://deploy-web",
        &config,
    )
}

#[test]
fn no_task_of_such_a_provider_starts_without_the_gate_that_the_configuration_requires() {
    let stage = Stage::new(&format!("{QUICK}{REQUIRE}"), &[]);
    let graph = deploys(&stage, false);
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("run", "work"), bindings(&[&graph])]));
    for arguments in
        [vec!["validate"], vec!["validate", "--ref", "HEAD"], vec!["validate", "-f", "work.yaml"]]
    {
        let outcome = stage.environment.planspec(&arguments).exits(1);
        assert!(outcome.stdout.contains("PS3019"), "{outcome:?}");
        let why = "node `ship` runs tool://deploy-web, which needs gate `prod` before it";
        assert!(outcome.stdout.contains(why), "{outcome:?}");
    }
    let preview = stage.environment.planspec(&["diff", "HEAD~1", "HEAD"]).exits(1);
    assert!(preview.stdout.contains("PS3019"), "{preview:?}");
    stage.reconcile(&[]).succeeds();
    let node = stage.node("run", "ship");
    assert_eq!((node.phase, node.extensions.reason), (NodePhase::Blocked, Some(NodeReason::GateRequired)));
    assert!(node.message.contains("`gates.require` asks for gate `prod`"), "{}", node.message);
    assert!(stage.trace("trace").is_empty());
    // Nobody passes by the gate by saying that the work is done, and nobody is told to.
    let page = stage.environment.planspec(&["describe", "execution/run", "-n", "team"]).succeeds().stdout;
    assert!(page.contains("planspec fail run/ship") && !page.contains("planspec complete"), "{page}");
    let refused = stage.environment.planspec(&["complete", "run/ship", "-n", "team"]).exits(1);
    assert!(refused.stderr.contains("needs a gate before it"), "{refused:?}");
    stage.environment.planspec(&["retry", "run", "-n", "team"]).exits(1);
    stage.reconcile(&[]).succeeds();
    assert!(stage.trace("trace").is_empty());

    // Nor where the node waits for something else first.
    let nothing = "providers: {allow: ['tool://nothing']}\n";
    let stage = Stage::new(&format!("{QUICK}{REQUIRE}{nothing}"), &[]);
    let graph = deploys(&stage, false);
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("run", "work"), bindings(&[&graph])]));
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.node("run", "ship").extensions.reason, Some(NodeReason::ProviderUnavailable));
    let refused = stage.environment.planspec(&["complete", "run/ship", "-n", "team"]).exits(1);
    assert!(refused.stderr.contains("needs a gate before it"), "{refused:?}");

    let stage = Stage::new(&format!("{QUICK}{REQUIRE}"), &[]);
    let graph = deploys(&stage, true);
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("run", "work"), bindings(&[&graph])]));
    stage.environment.planspec(&["validate"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert!(stage.trace("trace").is_empty());
    stage.environment.planspec(&["approve", "prod", "-n", "team"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.trace("trace"), ["deployed"]);
}

/// Of two rules that are equally good either may win, by a change of the Binding alone.
#[test]
fn where_rules_are_in_conflict_the_gates_that_any_of_them_needs_are_required() {
    let rule = |provider: &str| json!({ "selector": { "planRef": { "name": "work" } }, "target": { "provider": provider, "config": { "command": "true" } } });
    let rules = [rule("tool://harmless"), rule("tool://deploy-web")];
    let torn = document("Binding", "default", &json!({ "strategy": "ErrorOnConflict", "rules": rules }));
    let stage = Stage::new(&format!("{QUICK}{REQUIRE}"), &[]);
    let open = Graph::new("work").provided("ship", &[], "", &json!({}));
    stage.commit("work.yaml", &yaml(&[open.plan(), execution("run", "work"), torn.clone()]));
    let outcome = stage.environment.planspec(&["validate"]).exits(1);
    let why = "node `ship` runs tool://deploy-web, which needs gate `prod` before it";
    assert!(outcome.stdout.contains(why), "{outcome:?}");
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.node("run", "ship").extensions.reason, Some(NodeReason::BindingConflict));
    let refused = stage.environment.planspec(&["complete", "run/ship", "-n", "team"]).exits(1);
    assert!(refused.stderr.contains("needs a gate before it"), "{refused:?}");

    let look = json!({ "id": "look", "kind": "Gate", "gateRef": { "name": "prod" } });
    let gated = Graph::new("work").node(look).provided("ship", &["look"], "", &json!({}));
    let stage = Stage::new(&format!("{QUICK}{REQUIRE}"), &[]);
    stage.commit("work.yaml", &yaml(&[gated.plan(), execution("run", "work"), torn]));
    let outcome = stage.environment.planspec(&["validate"]);
    assert!(!outcome.stdout.contains("PS3019"), "{outcome:?}");
    stage.reconcile(&[]).succeeds();
    stage.environment.planspec(&["approve", "prod", "-n", "team"]).succeeds();
    stage.reconcile(&[]).succeeds();
    stage.environment.planspec(&["complete", "run/ship", "-n", "team"]).succeeds();
    assert_eq!(stage.status("run").phase, ExecutionPhase::Succeeded);
}

#[test]
fn a_required_gate_that_was_skipped_lets_nothing_pass() {
    let stage = Stage::new(&format!("{QUICK}{REQUIRE}"), &[]);
    let script = format!("echo deployed >> '{}'", stage.outside("trace").display());
    let graph = Graph::new("work")
        .node(json!({ "id": "look", "kind": "Gate", "gateRef": { "name": "prod" }, "when": "false" }))
        .provided("ship", &[], "tool://deploy-web", &json!({ "command": script, "shell": true }))
        .soft("look", "ship");
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("run", "work"), bindings(&[&graph])]));
    stage.reconcile(&[]).succeeds();
    let node = stage.node("run", "ship");
    assert_eq!((node.phase, node.extensions.reason), (NodePhase::Blocked, Some(NodeReason::GateRequired)));
    assert!(stage.trace("trace").is_empty());
}

/// A repository that requires the gate before this provider, with these documents.
fn requiring(glob: &str, more: &str, documents: &[serde_json::Value]) -> Stage {
    let require = format!("gates: {{require: [{{providers: ['{glob}'], gate: prod}}]}}\n");
    let stage = Stage::new(&format!("{QUICK}{require}{more}"), &[]);
    stage.commit("work.yaml", &yaml(documents));
    stage
}

#[track_caller]
fn is_held_back(stage: &Stage, execution: &str, node: &str) {
    let outcome = stage.environment.planspec(&["validate"]).exits(1);
    assert!(outcome.stdout.contains("PS3019"), "{outcome:?}");
    stage.reconcile(&[]).succeeds();
    let node = stage.node(execution, node);
    assert_eq!((node.phase, node.extensions.reason), (NodePhase::Blocked, Some(NodeReason::GateRequired)));
    assert!(stage.trace("trace").is_empty());
}

#[test]
fn a_required_gate_holds_back_a_command_of_the_plan_a_delivery_and_what_runs_after_everything_else() {
    let own = Graph::new("work").node(json!({ "id": "ship", "kind": "Task", "run": "exit 0" }));
    let documents = [own.plan(), execution("run", "work")];
    is_held_back(&requiring("tool://run", "", &documents), "run", "ship");

    let merge = "providers: {merge: [{branch: main, gate: none}]}\n";
    let land = Graph::new("work").editor("a", &[], "echo x > made").provided(
        "ship",
        &["a"],
        "merge://main",
        &json!({}),
    );
    let documents = [land.plan(), execution("run", "work"), bindings(&[&land])];
    is_held_back(&requiring("merge://*", merge, &documents), "run", "ship");

    let open = Graph::new("work").editor("a", &[], "echo x > made").provided(
        "ship",
        &["a"],
        "pull-request://main",
        &json!({}),
    );
    let documents = [open.plan(), execution("run", "work"), bindings(&[&open])];
    is_held_back(&requiring("pull-request://*", "", &documents), "run", "ship");

    // Whoever verifies the work starts with it.
    let judged = json!({
        "command": "true", "changes": "commit",
        "verify": { "provider": "tool://judge", "config": { "command": "true" } },
    });
    let judged = Graph::new("work").provided("ship", &[], "tool://make", &judged);
    let documents = [judged.plan(), execution("run", "work"), bindings(&[&judged])];
    is_held_back(&requiring("tool://judge", "", &documents), "run", "ship");

    let last = json!({ "id": "ship", "kind": "Task", "finally": true, "run": "exit 0" });
    let last = Graph::new("work").task("a", &[], "true").node(last);
    let documents = [last.plan(), execution("run", "work"), bindings(&[&last])];
    is_held_back(&requiring("tool://run", "", &documents), "run", "ship");
}

#[test]
fn a_required_gate_holds_back_each_instance_of_a_repeated_node() {
    let ship = |after: &[&str]| {
        json!({ "id": "ship", "kind": "Task", "dependsOn": after, "run": "exit 0",
            "forEach": { "items": ["a", "b"], "as": "name" } })
    };
    let open = Graph::new("work").node(ship(&[]));
    let stage = requiring("tool://run", "", &[open.plan(), execution("run", "work")]);
    is_held_back(&stage, "run", "ship-0");
    is_held_back(&stage, "run", "ship-1");

    let look = json!({ "id": "look", "kind": "Gate", "gateRef": { "name": "prod" } });
    let gated = Graph::new("work").node(look).node(ship(&["look"]));
    let stage = requiring("tool://run", "", &[gated.plan(), execution("run", "work")]);
    stage.environment.planspec(&["validate"]).succeeds();
    stage.reconcile(&[]).succeeds();
    stage.environment.planspec(&["approve", "prod", "-n", "team"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("run").phase, ExecutionPhase::Succeeded);
}

#[test]
fn a_required_gate_holds_back_a_plan_that_does_a_node_and_is_asked_for_inside_it_too() {
    let look = || json!({ "id": "look", "kind": "Gate", "gateRef": { "name": "prod" } });
    let inner = Graph::new("inner").node(json!({ "id": "ship", "kind": "Task", "run": "exit 0" }));
    let outer = |gated: bool| {
        let graph = Graph::new("outer");
        let graph = if gated { graph.node(look()) } else { graph };
        graph.provided("load", if gated { &["look"] } else { &[] }, "plan://inner", &json!({}))
    };
    let documents =
        |outer: &Graph| [inner.plan(), outer.plan(), execution("run", "outer"), bindings(&[outer])];
    is_held_back(&requiring("plan://*", "", &documents(&outer(false))), "run", "load");

    // The gate of the plan that asked does not count for another plan: its reviewers were not shown what that one runs.
    let stage = requiring("tool://run", "", &documents(&outer(true)));
    stage.reconcile(&[]).succeeds();
    stage.environment.planspec(&["approve", "prod", "-n", "team"]).succeeds();
    is_held_back(&stage, "run-load", "ship");
}

/// A Schedule and a node may name another Binding than the default one, which says that nothing dangerous runs.
#[test]
fn a_required_gate_is_asked_for_where_a_schedule_a_goal_or_an_outer_plan_brings_another_binding() {
    let ship = Graph::new("ship").task("ship", &[], "true");
    let outer = Graph::new("outer").task("load", &[], "true");
    let binding = |name: &str, rules: &[(&str, &str)]| {
        let rules: Vec<_> = rules
            .iter()
            .map(|(plan, provider)| {
                json!({ "selector": { "planRef": { "name": plan } },
                    "target": { "provider": provider, "config": if provider.starts_with("tool") { json!({ "command": "true" }) } else { json!({}) } } })
            })
            .collect();
        document("Binding", name, &json!({ "rules": rules }))
    };
    let harmless = || binding("default", &[("ship", "tool://echo"), ("outer", "tool://echo")]);
    let dangerous = || binding("dangerous", &[("ship", "tool://deploy"), ("outer", "plan://ship")]);
    let schedule = |what: serde_json::Value| {
        let mut spec = json!({ "cron": "* * * * *", "bindingRef": { "name": "dangerous" } });
        spec.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
        document("Schedule", "nightly", &spec)
    };
    let mut for_goal = ship.plan();
    for_goal["spec"]["goalRef"] = json!({ "name": "done" });
    let goal = document("Goal", "done", &json!({ "description": "x" }));
    let mut run = execution("run", "outer");
    run["spec"]["bindingRef"] = json!({ "name": "dangerous" });
    for documents in [
        vec![ship.plan(), schedule(json!({ "planRef": { "name": "ship" } }))],
        vec![for_goal, goal, schedule(json!({ "goalRef": { "name": "done" } }))],
        vec![ship.plan(), outer.plan(), schedule(json!({ "planRef": { "name": "outer" } }))],
        vec![ship.plan(), outer.plan(), run],
    ] {
        let documents = [documents, vec![harmless(), dangerous()]].concat();
        let stage = requiring("tool://deploy", "", &documents);
        let outcome = stage.environment.planspec(&["validate"]).exits(1);
        assert!(outcome.stdout.contains("PS3019") && outcome.stdout.contains("`ship`"), "{outcome:?}");
        assert_eq!(outcome.stdout.matches("PS3019").count(), 1, "{outcome:?}");
    }
}

#[test]
fn no_value_becomes_a_part_of_a_shell_line_or_makes_one() {
    let stage = Stage::new(QUICK, &[]);
    let pwned = stage.outside("pwned");
    let value = format!("touch {}", pwned.display());
    let input = json!({ "inputs": { "x": value } });
    let line =
        Graph::new("line").provided("a", &[], "tool://x", &json!({ "command": "echo ${{ inputs.x }}" }));
    stage.commit("line.yaml", &yaml(&[line.plan(), bindings(&[&line])]));
    let outcome = stage.environment.planspec(&["validate"]).exits(1);
    assert!(
        outcome.stdout.contains("PS3015") && outcome.stdout.contains("handed over in `env`"),
        "{outcome:?}"
    );
    stage.remove("line.yaml");
    // A program that a value names stays a program, though the value holds a blank.
    let mut plan = Graph::new("work").task_with("a", &[], "true", &input).plan();
    plan["spec"]["graph"]["nodes"][0]["inputs"] = json!({ "x": value });
    let binding = document(
        "Binding",
        "default",
        &json!({ "rules": [{
            "selector": { "planRef": { "name": "work" } },
            "target": { "provider": "tool://x", "config": { "command": "${{ inputs.x }}" } },
        }] }),
    );
    stage.commit("work.yaml", &yaml(&[plan, execution("run", "work"), binding]));
    stage.environment.planspec(&["validate"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("run").phase, ExecutionPhase::Failed);
    assert!(!pwned.exists());
}

#[test]
fn the_token_of_the_host_and_what_is_shaped_like_one_are_redacted_everywhere() {
    let token = format!("ghs_{}", "Ab3".repeat(12));
    let other = format!("glpat-{}", "z9".repeat(10));
    let mut stage = Stage::new(QUICK, &[]);
    let script =
        format!("echo {token}; echo {other}; echo \"t=$(printf %s {token})\" >> \"$PLANSPEC_OUTPUT\"");
    let graph = Graph::new("work").task("a", &[], &script);
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("run", "work"), bindings(&[&graph])]));
    for (name, value) in [
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_TOKEN", token.as_str()),
        ("GITHUB_API_URL", "http://127.0.0.1:9"),
        ("GITHUB_REPOSITORY", "acme/app"),
    ] {
        stage.environment.set(name, value);
    }
    stage.reconcile(&[]).succeeds();
    let node = stage.node("run", "a");
    assert_eq!(node.outputs["t"], "***");
    let log = node.extensions.log.unwrap().tail;
    assert_eq!(log.lines().collect::<Vec<_>>(), ["***", "***"]);
    let log = stage.environment.planspec(&["logs", "run/a", "-n", "team"]).succeeds().stdout;
    assert!(!log.contains(&token) && !log.contains(&other), "{log}");
}

#[cfg(target_os = "linux")]
#[test]
fn no_process_above_a_task_shows_it_the_credentials_of_the_runner() {
    let token = format!("ghs_{}", "Ab3".repeat(12));
    let header = "AUTHORIZATION: basic eC1hY2Nlc3MtdG9rZW46eA==";
    let mut stage = Stage::new(QUICK, &[]);
    let seen = stage.outside("seen");
    // All the way up; where the system does not let it look, there is nothing to see.
    let script = format!(
        "p=$PPID; while [ \"${{p:-0}}\" -gt 1 ]; do cat /proc/$p/environ >> '{seen}' 2>/dev/null; \
         p=$(sed -n 's/^PPid:[^0-9]*//p' /proc/$p/status); done; echo end >> '{seen}'",
        seen = seen.display()
    );
    let graph = Graph::new("work").task("a", &[], &script);
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("run", "work"), bindings(&[&graph])]));
    for (name, value) in [
        ("GITHUB_TOKEN", token.as_str()),
        ("DEPLOY_PASSWORD", "correct-horse-battery"),
        ("GIT_CONFIG_COUNT", "1"),
        ("GIT_CONFIG_KEY_0", "http.https://example.org/.extraheader"),
        ("GIT_CONFIG_VALUE_0", header),
    ] {
        stage.environment.set(name, value);
    }
    stage.reconcile(&[]).succeeds();
    let text = std::fs::read(&seen).unwrap();
    let text = String::from_utf8_lossy(&text);
    assert!(text.ends_with("end\n"));
    for secret in [&token, header, "correct-horse-battery"] {
        assert!(!text.contains(secret), "{text}");
    }
    // The settings still reach Git, and the variables those that the configuration names.
    let kept = stage.environment.planspec(&["validate"]).succeeds();
    assert!(!kept.stderr.contains("GIT_CONFIG"), "{kept:?}");
}

/// The credentials are in the memory of the runner, which its own user could read like any file.
#[cfg(target_os = "linux")]
#[test]
fn no_task_reads_the_memory_of_the_runner_that_holds_credentials() {
    let mut stage = Stage::new(QUICK, &[]);
    let seen = stage.outside("seen");
    // What the task starts may look at the task, so that the machine forbids nothing else; the runner is above both.
    let looks = |whom: &str| format!("cat /proc/$PPID/environ >/dev/null 2>&1 && echo {whom} >> \"$SEEN\"");
    let script =
        format!("export SEEN='{}'; sh -c '{}'; {}; true", seen.display(), looks("task"), looks("runner"));
    let graph = Graph::new("work").task("a", &[], &script);
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("run", "work"), bindings(&[&graph])]));
    stage.environment.set("GITHUB_TOKEN", &format!("ghs_{}", "Ab3".repeat(12)));
    let repo = stage.environment.repo();
    let mut command = match rustix::process::geteuid().is_root() {
        // Root may look at everything, by capabilities that can be taken away.
        true => {
            let without = "-sys_ptrace,-perfmon,-sys_admin";
            let lesser = |program: &str| {
                let mut command = stage.environment.command("setpriv", &repo);
                command.args(["--bounding-set", without, "--inh-caps", without, program]);
                command
            };
            if let Err(missing) = skip::program(&mut lesser("true"), "util-linux") {
                // In CI too: the root of a container may not be allowed to give any away.
                let _ = writeln!(std::io::stderr(), "skipped: {missing} (no_task_reads_the_memory)");
                return;
            }
            lesser(env!("CARGO_BIN_EXE_planspec"))
        }
        false => stage.environment.planspec_command(&repo),
    };
    let outcome = command.arg("reconcile").output().unwrap();
    assert!(outcome.status.success(), "{outcome:?}");
    assert_eq!(std::fs::read_to_string(&seen).unwrap(), "task\n");
}

/// A plan that is tried works in the working tree itself, whose `.git` holds what a checkout leaves there.
#[cfg(target_os = "linux")]
#[test]
fn a_task_in_a_sandbox_that_works_in_the_working_tree_does_not_see_its_repository() {
    // As in a sandbox: some machines have the program, and do not let it make a namespace.
    let mut probe = std::process::Command::new("bwrap");
    probe.args(["--unshare-user-try", "--unshare-net", "--ro-bind", "/", "/", "true"]);
    if skip::unless_found(skip::program(&mut probe, "bubblewrap")).is_none() {
        return;
    }
    let tried = |sandbox: bool, command: &str| {
        format!(
            "apiVersion: planspec.io/v1alpha1\nkind: Plan\nmetadata: {{name: try, namespace: team}}\nspec:\n  description: Look around\n  graph:\n    nodes:\n      \
             - id: look\n        kind: Task\n        run:\n          command: |\n            {command}\n          sandbox: {sandbox}\n"
        )
    };
    let environment = TestEnvironment::with_files(&[("a", "committed")]);
    environment.git(&["config", "http.extraheader", "AUTHORIZATION: basic planted"]).succeeds();
    let linked = environment.root().join("linked");
    environment.git(&["worktree", "add", "--quiet", linked.to_str().unwrap()]).succeeds();
    let blind = "! grep -rs planted --exclude=try.yaml . && ! git rev-parse HEAD && ! touch .git/hook && ! rm -rf .git && grep -q committed a && touch made";
    for place in [environment.repo(), linked] {
        let run = |text: &str| {
            std::fs::write(place.join("try.yaml"), text).unwrap();
            environment.planspec_in(&place, &["run", "-f", "try.yaml", "--here"])
        };
        run(&tried(true, blind)).succeeds();
        assert!(place.join("made").exists());
        assert_eq!(
            environment.git_in(&place, &["rev-parse", "--abbrev-ref", "HEAD"]).succeeds().lines().len(),
            1
        );
        // Without one it is a process like any other of its user.
        run(&tried(false, "git rev-parse HEAD")).succeeds();
    }
}
