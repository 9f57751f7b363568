//! A new Execution that takes over what an earlier one did, node by node, and says why or why not.

use planspec::model::{ExecutionPhase, NodePhase, NodeReason};
use serde_json::{Value, json};

use crate::engine_rig::{Graph, QUICK, Stage, bindings, document, execution, status_in, yaml};
use crate::git_server::GitServer;
use crate::overdue::LONG;
use crate::pins::forge;

/// `fetch` → `build` → `test`, which fails until `fixed` exists; `lint` beside them. Each leaves its name.
fn graph(stage: &Stage) -> Graph {
    let trace = stage.outside("trace");
    let leaves =
        |more: &str| format!("echo \"$PLANSPEC_EXECUTION $PLANSPEC_NODE\" >> '{}'; {more}", trace.display());
    let fixed = stage.outside("fixed");
    let out = "echo \"sha=${PLANSPEC_NODE}-1\" >> \"$PLANSPEC_OUTPUT\"; echo log of $PLANSPEC_NODE; \
               echo jar > \"$PLANSPEC_ARTIFACTS/out.txt\"";
    Graph::new("work")
        .task_with(
            "fetch",
            &[],
            &leaves(out),
            &json!({ "outputs": ["sha"], "inputs": { "of": "${{ parameters.of }}" } }),
        )
        .task_with(
            "build",
            &["fetch"],
            &leaves("true"),
            &json!({ "inputs": { "sha": "${{ nodes.fetch.outputs.sha }}" } }),
        )
        .task("test", &["build"], &leaves(&format!("test -e '{}'", fixed.display())))
        .task("lint", &[], &leaves("true"))
}

fn first() -> Value {
    document("Execution", "first", &json!({ "planRef": { "name": "work" }, "parameters": { "of": "main" } }))
}

/// The first run has failed at `test`.
fn failed() -> Stage {
    let stage = Stage::new(QUICK, &[]);
    let graph = graph(&stage);
    stage.commit("work.yaml", &yaml(&[graph.plan(), bindings(&[&graph]), first()]));
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("first").phase, ExecutionPhase::Failed);
    stage
}

fn run(stage: &Stage, arguments: &[&str]) -> crate::environment::Outcome {
    let all: Vec<&str> = ["run"].iter().chain(arguments).copied().collect();
    stage.environment.planspec(&all)
}

/// What `trace` says of an execution.
fn ran(stage: &Stage, execution: &str) -> Vec<String> {
    let mut nodes: Vec<String> = stage
        .trace("trace")
        .iter()
        .filter_map(|line| line.strip_prefix(&format!("{execution} ")).map(str::to_owned))
        .collect();
    nodes.sort();
    nodes
}

#[test]
fn a_rerun_takes_over_what_succeeded_and_runs_the_rest() {
    let stage = failed();
    std::fs::write(stage.outside("fixed"), "").unwrap();
    let outcome = run(&stage, &["--from-execution", "first", "--name", "second"]).succeeds();
    let lines = outcome.lines();
    assert_eq!(lines[0], "execution/second created", "{lines:?}");
    let said = ["build   yes", "fetch   yes", "lint    yes", "test    no       it is Failed in first"];
    assert_eq!(lines[2..], said, "{lines:?}");
    stage.reconcile(&[]).succeeds();
    let (old, new) = (stage.status("first"), stage.status("second"));
    assert_eq!(new.phase, ExecutionPhase::Succeeded);
    assert_eq!(ran(&stage, "second"), ["test"]);
    let fetch = stage.node("second", "fetch");
    assert_eq!((fetch.phase, fetch.extensions.reason), (NodePhase::Succeeded, Some(NodeReason::Reused)));
    assert_eq!((fetch.attempt, fetch.message.as_str()), (0, "reused from first, attempt 1"));
    assert_eq!(fetch.outputs["sha"], "fetch-1");
    assert_eq!(fetch.extensions.log.unwrap().tail.trim(), "log of fetch");
    assert_eq!(new.artifacts.len(), 1);
    assert_eq!(new.artifacts[0].checksum, old.artifacts[0].checksum);
    assert_eq!(new.artifacts[0].metadata["execution"], "first");
    let reuse = new.extensions.reuse.unwrap();
    assert_eq!(reuse.message, "3 of 4 nodes reused from first");
    let history = stage.environment.git_output(&["log", "--format=%B", "planspec/status"]);
    assert!(history.contains("Succeeded (Reused): reused from first, attempt 1"), "{history}");
    let explained = |node: &str| {
        let what = format!("second/{node}");
        stage.environment.planspec(&["explain", &what, "-n", "team", "-o", "json"]).succeeds().json()
    };
    let described = stage.environment.planspec(&["describe", "execution/second", "-n", "team"]).succeeds();
    assert!(described.stdout.contains("3 of 4 nodes reused from first"), "{}", described.stdout);
    assert_eq!(explained("fetch")["reuse"], "reused from first");
    assert_eq!(explained("test")["reuse"], "not reused from first: it is Failed in first");
    // Reconciling again changes nothing.
    let tip = stage.status_tip();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status_tip(), tip);
    // Somebody may ask for a node all the same.
    stage.environment.planspec(&["retry", "second", "--from", "build", "-n", "team"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(ran(&stage, "second"), ["build", "test", "test"]);
    assert_eq!(explained("build")["reuse"], "not reused from first: a retry asked for a rerun");
    assert_eq!(stage.status("second").phase, ExecutionPhase::Succeeded);
    // What was taken over is taken over again, from the one that took it over.
    run(&stage, &["--from-execution", "second", "--name", "third"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("third").phase, ExecutionPhase::Succeeded);
    assert_eq!(ran(&stage, "third"), [] as [&str; 0]);
    assert_eq!(stage.status("third").artifacts.len(), 1);
}

/// Runs `second` after a change, and says why each node was not reused; `-` for one that was.
#[track_caller]
fn check_verdicts(stage: &Stage, arguments: &[&str], expected: &[(&str, &str)]) {
    let mut all = vec!["--from-execution", "first", "--name", "second", "-o", "json"];
    all.extend(arguments);
    let rows = run(stage, &all).succeeds().json();
    let verdict = |nodes: &Value, node: &str| match nodes[node].as_str().unwrap_or_default() {
        "reused" => "-".to_owned(),
        why => why.to_owned(),
    };
    stage.reconcile(&[]).succeeds();
    let decided = serde_json::to_value(stage.status("second").extensions.reuse.unwrap()).unwrap();
    for (node, why) in expected {
        assert_eq!(verdict(&rows[0]["reuse"]["nodes"], node), *why, "forecast of {node}: {rows}");
        assert_eq!(verdict(&decided["nodes"], node), *why, "{node}: {decided}");
    }
    let mut anew: Vec<&str> = expected.iter().filter(|(_, why)| *why != "-").map(|(node, _)| *node).collect();
    anew.sort_unstable();
    assert_eq!(ran(stage, "second"), anew);
}

const AFTER_FETCH: &str = "`fetch`, which comes before it, was not reused";

#[test]
fn other_inputs_run_a_node_and_all_that_follows_it() {
    let stage = failed();
    let inputs = "its inputs differ, or the data that it gets from the goal and the plan";
    let after_build = "it is Failed in first";
    let expected = [("fetch", inputs), ("build", AFTER_FETCH), ("test", after_build), ("lint", "-")];
    check_verdicts(&stage, &["-p", "of=next"], &expected);
}

#[test]
fn another_definition_or_provider_runs_a_node_anew() {
    let stage = failed();
    let graph = graph(&stage);
    let mut plan = graph.plan();
    plan["spec"]["graph"]["nodes"][3]["retries"] = json!(2);
    let mut binding = bindings(&[&graph]);
    binding["spec"]["rules"][0]["target"]["config"]["env"] = json!({ "A": "b" });
    stage.commit("work.yaml", &yaml(&[plan, binding, first()]));
    let expected = [
        ("fetch", "its provider or the provider's settings differ"),
        ("build", AFTER_FETCH),
        ("test", "it is Failed in first"),
        ("lint", "its definition in the plan differs"),
    ];
    check_verdicts(&stage, &["plan/work"], &expected);
}

#[test]
fn a_node_may_forbid_that_it_is_reused_and_a_gate_never_is() {
    let stage = Stage::new(QUICK, &[]);
    let trace = stage.outside("trace");
    let leaves = format!("echo \"$PLANSPEC_EXECUTION $PLANSPEC_NODE\" >> '{}'", trace.display());
    let graph = Graph::new("work")
        .task("a", &[], &leaves)
        .node(json!({ "id": "ok", "kind": "Gate", "dependsOn": ["a"], "gateRef": { "name": "g" } }))
        .task("b", &["ok"], &leaves)
        .task_with("c", &[], &leaves, &json!({ "annotations": { "planspec.io/reuse": "false" } }));
    stage.commit("work.yaml", &yaml(&[graph.plan(), bindings(&[&graph]), execution("first", "work")]));
    stage.reconcile(&[]).succeeds();
    // Its work is not at its end.
    let refused = run(&stage, &["--from-execution", "first"]).exits(1);
    assert!(refused.stderr.contains("planspec cancel first"), "{}", refused.stderr);
    stage.environment.planspec(&["approve", "g", "-n", "team"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("first").phase, ExecutionPhase::Succeeded);
    run(&stage, &["--from-execution", "first", "--name", "second"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(ran(&stage, "second"), ["c"]);
    let gate = stage.node("second", "ok");
    assert_eq!(
        (gate.phase, gate.extensions.reason),
        (NodePhase::Blocked, Some(NodeReason::AwaitingApproval))
    );
    let pending = stage.node("second", "b");
    assert_eq!(pending.message, "not reused: `ok`, which comes before it, was not reused");
    stage.environment.planspec(&["approve", "g", "-n", "team"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(ran(&stage, "second"), ["b", "c"]);
}

#[test]
fn where_nothing_is_known_of_the_earlier_one_everything_runs_and_that_is_said() {
    let stage = failed();
    let named = |name: &str, from: &str| {
        let mut new = first();
        new["metadata"] = json!({ "name": name, "namespace": "team", "annotations": { "planspec.io/from-execution": from } });
        new
    };
    stage.commit(
        "more.yaml",
        &yaml(&[named("second", "gone"), named("third", "third"), named("odd", "../x")]),
    );
    stage.reconcile(&[]).succeeds();
    for (name, why) in [
        ("second", "there is no record of team/execution/gone, which never ran or was removed"),
        ("third", "it names itself"),
    ] {
        let reuse = stage.status(name).extensions.reuse.unwrap();
        assert_eq!(reuse.message, format!("nothing was reused: {why}"));
        assert_eq!(ran(&stage, name).len(), 4);
    }
    assert!(stage.status("odd").extensions.reuse.unwrap().message.contains("`../x`"));
    let explained = stage.environment.planspec(&["explain", "second/lint", "-n", "team"]).succeeds();
    assert!(explained.stdout.contains("nothing was reused: there is no record"), "{}", explained.stdout);
    // On the command line a name that nothing has is a slip.
    let slip = run(&stage, &["--from-execution", "frist"]).exits(1);
    assert!(slip.stderr.contains("did you mean `first`?"), "{}", slip.stderr);
    run(&stage, &["plan/work", "--from-execution", "plan/work"]).exits(2);
    let mut other = graph(&stage).plan();
    other["metadata"]["namespace"] = json!("other");
    stage.commit("other.yaml", &yaml(&[other]));
    let refused = run(&stage, &["other/plan/work", "--from-execution", "team/execution/first"]).exits(1);
    assert!(refused.stderr.contains("is not in the namespace other"), "{}", refused.stderr);
    run(&stage, &[]).exits(2);
}

#[test]
fn a_record_from_which_the_bulk_is_gone_gives_what_is_left() {
    let stage = Stage::new(&format!("{QUICK}retention: 0s\n"), &[]);
    let large = "printf 'big=%05000d\\n' 1 >> \"$PLANSPEC_OUTPUT\"";
    let graph = Graph::new("work").task("small", &[], "true").task_with(
        "large",
        &["small"],
        large,
        &json!({ "outputs": ["big"] }),
    );
    stage.commit("work.yaml", &yaml(&[graph.plan(), bindings(&[&graph]), execution("first", "work")]));
    stage.reconcile(&[]).succeeds();
    stage.environment.planspec(&["gc"]).succeeds();
    assert!(stage.node("first", "large").outputs["big"].is_object(), "it was cut down");
    run(&stage, &["--from-execution", "first", "--name", "second"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.node("second", "small").extensions.reason, Some(NodeReason::Reused));
    let large = stage.node("second", "large");
    assert_eq!((large.phase, large.attempt), (NodePhase::Succeeded, 1));
    let reuse = stage.status("second").extensions.reuse.unwrap();
    assert_eq!(reuse.nodes["large"], "its output `big` is no longer kept in first");
}

/// `write` → `more` and `side` → `read`, which fails until `fixed` exists: all but `read` have changed files in `first`.
fn changed() -> (Stage, Graph) {
    let stage = Stage::new(QUICK, &[("notes", "old\n"), ("list", "1\n2\n3\n4\n5\n6\n7\n8\n")]);
    let trace = stage.outside("trace");
    let leaves =
        |more: &str| format!("echo \"$PLANSPEC_EXECUTION $PLANSPEC_NODE\" >> '{}'; {more}", trace.display());
    let fixed = stage.outside("fixed");
    let graph = Graph::new("work")
        .editor("write", &[], &leaves("cp notes made && sed -i s/2/two/ list"))
        .editor("more", &["write"], &leaves("cat made made > more"))
        .editor("side", &["write"], &leaves("echo side > side"))
        .editor(
            "read",
            &["more", "side"],
            &leaves(&format!("test -e '{}' && cat made more side notes > all", fixed.display())),
        );
    stage.commit("work.yaml", &yaml(&[graph.plan(), bindings(&[&graph]), execution("first", "work")]));
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("first").phase, ExecutionPhase::Failed);
    std::fs::write(&fixed, "").unwrap();
    (stage, graph)
}

/// What a file holds in the result of a node.
#[track_caller]
fn shown(stage: &Stage, (execution, node): (&str, &str), path: &str) -> String {
    let commit = stage.node(execution, node).extensions.result.unwrap().commit.clone();
    stage.environment.git(&["show", &format!("{commit}:{path}")]).succeeds().stdout
}

#[test]
fn what_a_node_changed_is_carried_along_to_what_is_there_now() {
    let (stage, _) = changed();
    stage.commit("list", "1\n2\n3\n4\n5\n6\n7\neight\n");
    stage.commit("notes", "new\n");
    let outcome = run(&stage, &["--from-execution", "first", "--name", "second"]).succeeds();
    let lines = outcome.lines();
    let said = ["more    yes", "read    no       it is Failed in first", "side    yes", "write   yes"];
    assert_eq!(lines[2..], said, "{lines:?}");
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("second").phase, ExecutionPhase::Succeeded);
    assert_eq!(ran(&stage, "second"), ["read"]);
    assert_eq!(shown(&stage, ("second", "read"), "all"), "old\nold\nold\nside\nnew\n");
    assert_eq!(shown(&stage, ("second", "read"), "list"), "1\ntwo\n3\n4\n5\n6\n7\neight\n");
    // It looks like any result: one commit by who made it, on what comes before it.
    let status = stage.status("second");
    let pinned = status.start_commit().unwrap();
    let result = |execution: &str, node: &str| stage.node(execution, node).extensions.result.unwrap();
    let (write, more) = (result("second", "write"), result("second", "more"));
    assert_eq!((write.base.as_str(), more.base.as_str()), (pinned, write.commit.as_str()));
    assert_eq!((write.files, write.insertions, write.deletions), (2, 2, 1));
    let said = stage.environment.git_output(&["show", "-s", "--format=%an%n%P%n%B", &write.commit]);
    let old = result("first", "write").commit.clone();
    assert!(said.starts_with(&format!("tool://sh\n{pinned}\n")), "{said}");
    assert!(
        said.contains("Planspec-Node: write") && said.contains(&format!("Planspec-Carried-From: {old}")),
        "{said}"
    );
    // Kept by its own reference, whatever becomes of the earlier Execution.
    stage.environment.git(&["update-ref", "-d", "refs/planspec/results/team/first"]).succeeds();
    let kept = stage.environment.git_output(&["rev-list", "refs/planspec/results/team/second"]);
    assert!(kept.contains(&more.commit) && kept.contains(&write.commit) && !kept.contains(&old), "{kept}");
    stage.environment.git(&["gc", "--quiet", "--prune=now"]).succeeds();
    // Once more, from the one that took it over.
    stage.commit("notes", "newer\n");
    run(&stage, &["--from-execution", "second", "--name", "third"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(ran(&stage, "third"), [] as [&str; 0]);
    assert_eq!(shown(&stage, ("third", "read"), "notes"), "newer\n");
    assert_eq!(shown(&stage, ("third", "read"), "all"), "old\nold\nold\nside\nnew\n");
}

#[test]
fn what_was_delivered_since_is_no_result_any_more() {
    let (stage, _) = changed();
    stage.commit("made", "old\n");
    stage.commit("list", "1\ntwo\n3\n4\n5\n6\n7\n8\n");
    run(&stage, &["--from-execution", "first", "--name", "second"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(ran(&stage, "second"), ["read"]);
    assert_eq!(stage.node("second", "write").extensions.result, None);
    let more = stage.node("second", "more").extensions.result.unwrap();
    assert_eq!(Some(more.base.as_str()), stage.status("second").start_commit());
    assert_eq!(shown(&stage, ("second", "read"), "all"), "old\nold\nold\nside\nold\n");
}

#[test]
fn a_change_that_conflicts_with_what_is_there_now_is_made_again() {
    let (stage, _) = changed();
    stage.commit("notes", "new\n");
    stage.commit("list", "1\n2!\n3\n4\n5\n6\n7\n8\n");
    let after = "`write`, which comes before it, was not reused";
    let expected = [
        ("write", "what it changed conflicts with what is there now in `list`"),
        ("more", after),
        ("side", after),
        ("read", "it is Failed in first"),
    ];
    check_verdicts(&stage, &[], &expected);
    assert_eq!(shown(&stage, ("second", "read"), "all"), "new\nnew\nnew\nside\nnew\n");
}

#[test]
fn files_of_a_branch_that_was_rewritten_are_made_again() {
    let (stage, _) = changed();
    stage
        .environment
        .git(&["commit", "--quiet", "--amend", "--no-edit", "--date=2001-01-01T00:00:00Z"])
        .succeeds();
    let outcome = run(&stage, &["--from-execution", "first", "--name", "second"]).succeeds();
    let why = "its files were made on a commit that is not part of what this one begins on";
    assert!(outcome.stdout.contains(why), "{}", outcome.stdout);
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("second").extensions.reuse.unwrap().nodes["write"], why);
    assert_eq!(ran(&stage, "second"), ["more", "read", "side", "write"]);
}

#[test]
fn a_clone_that_knows_only_the_tip_carries_results_along() {
    let (stage, _) = changed();
    stage.commit("notes", "new\n");
    run(&stage, &["--from-execution", "first", "--name", "second"]).succeeds();
    let bare = stage.outside("bare.git");
    stage.environment.git(&["clone", "--quiet", "--mirror", ".", bare.to_str().unwrap()]).succeeds();
    let clone = stage.outside("shallow");
    let url = format!("file://{}", bare.display());
    let arguments = ["clone", "--quiet", "--depth=1", &url, clone.to_str().unwrap()];
    stage.environment.git_in(stage.environment.root(), &arguments).succeeds();
    stage.reconcile_in(&clone, &[]).succeeds();
    let status = status_in(&bare, "second");
    assert_eq!(status.phase, ExecutionPhase::Succeeded, "{status:#?}");
    assert_eq!(ran(&stage, "second"), ["read"]);
    let read = status.node_statuses.iter().find(|(id, _)| id.as_str() == "read").unwrap().1;
    let read = read.extensions.result.clone().unwrap();
    let all = stage.environment.git_in(&bare, &["show", &format!("{}:all", read.commit)]).succeeds().stdout;
    assert_eq!(all, "old\nold\nold\nside\nnew\n");
}

#[test]
fn an_outage_while_results_are_fetched_makes_no_node_run_again() {
    let (stage, _) = changed();
    stage.commit("notes", "new\n");
    let server = GitServer::over_http();
    let url = server.http_url(Some("tok-write"));
    let all = ["push", "--quiet", &url, "main", "planspec/status", "refs/planspec/*:refs/planspec/*"];
    stage.environment.git(&all).succeeds();
    let results = stage.environment.git_output(&["rev-parse", "refs/planspec/results/team/first"]);
    let clone = stage.clone_to(&url, "clone");
    stage
        .environment
        .planspec_in(&clone, &["run", "--from-execution", "first", "--name", "second"])
        .succeeds();
    stage.environment.git_in(&clone, &["push", "--quiet", "origin", "main"]).succeeds();
    // Everything else is given, so that the pass itself goes on.
    server.steer("fail-want", &format!("{results}\n503 Service Unavailable"));
    let fresh = stage.clone_to(&url, "fresh");
    let deadline = std::time::Instant::now() + LONG;
    loop {
        // A pass is asked to end because it waits out an outage otherwise.
        let said = stage.reconcile_in(&fresh, &["--max-duration", "3s"]).stdout;
        assert_eq!(ran(&stage, "second"), [] as [&str; 0], "{said}");
        if said.contains("503") && said.contains("waiting: team/second") {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "the outage was not noticed: {said}");
    }
    std::fs::remove_file(server.bare().join("fail-want")).unwrap();
    // Another runner, which has asked for nothing in vain yet.
    let other = stage.clone_to(&url, "other");
    stage.reconcile_to_the_end(&other);
    let status = status_in(&server.bare(), "second");
    assert_eq!(status.phase, ExecutionPhase::Succeeded, "{status:#?}");
    assert_eq!(ran(&stage, "second"), ["read"]);
}

#[test]
fn a_record_that_passes_off_other_commits_as_results_brings_nothing_in() {
    for (base, why) in [
        // What lies between an old commit and the claimed result would be taken for the work of the node.
        (Some("HEAD~1"), "its files were made on more than what comes before it in the plan"),
        (None, "does not stand on"),
    ] {
        let (stage, _) = changed();
        let tree = stage.environment.git_output(&["rev-parse", "HEAD^{tree}"]);
        let foreign = stage.environment.git_output(&["commit-tree", tree.trim(), "-m", "foreign"]);
        let base = base.map(|base| stage.environment.git_output(&["rev-parse", base]));
        forge(&stage, |tree| {
            let path = tree.join("team/executions/first.yaml");
            let mut record: Value = serde_yaml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let result = &mut record["status"]["nodeStatuses"]["write"]["extensions"]["result"];
            result["commit"] = json!(foreign.trim());
            if let Some(base) = base {
                result["base"] = json!(base.trim());
            }
            std::fs::write(&path, serde_json::to_string(&record).unwrap()).unwrap();
        });
        stage.commit("notes", "new\n");
        run(&stage, &["--from-execution", "first", "--name", "second"]).succeeds();
        stage.reconcile(&[]).succeeds();
        let reuse = stage.status("second").extensions.reuse.unwrap();
        assert!(reuse.nodes["write"].contains(why), "{reuse:#?}");
        assert_eq!(ran(&stage, "second"), ["more", "read", "side", "write"]);
    }
}
