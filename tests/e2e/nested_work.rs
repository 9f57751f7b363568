//! What a plan that does a node works on and what it gives back, who is held back with it, and how people look into it.

use std::fs;

use planspec::model::{ExecutionPhase, NodePhase};
use serde_json::{Value, json};

use crate::engine_rig::{Graph, QUICK, Stage, check_history, execution, yaml};
use crate::nested::with_plans;
use crate::pins::forge;

/// `outer`: two editors, the plan `inner` on top of both, and an editor on top of that.
fn files(inner: &Graph) -> Stage {
    let outer = Graph::new("outer")
        .editor("left", &[], "echo l > left")
        .editor("right", &[], "echo r > right")
        .node(json!({ "id": "load", "kind": "Task", "dependsOn": ["left", "right"] }))
        .editor("last", &["load"], "cat left right one two > all");
    let binding = with_plans(&[&outer, inner], &[("outer", "load", "plan://inner")]);
    let stage = Stage::new(QUICK, &[("base", "base\n")]);
    stage.commit("work.yaml", &yaml(&[outer.plan(), inner.plan(), binding, execution("run", "outer")]));
    stage
}

fn show(stage: &Stage, commit: &str, path: &str) -> String {
    stage.environment.git_output(&["show", &format!("{commit}:{path}")])
}

#[test]
fn files_go_into_a_plan_and_come_out_of_it() {
    let inner = Graph::new("inner").editor("one", &[], "cat left right base > one").editor(
        "two",
        &[],
        "cat left > two",
    );
    let stage = files(&inner);
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("run").phase, ExecutionPhase::Succeeded, "{:#?}", stage.status("run"));
    let load = stage.node("run", "load").extensions;
    let child = stage.status("run-load");
    assert_eq!(child.extensions.base, load.base, "it begins where its node stands");
    let result = load.result.unwrap();
    assert_eq!((result.files, result.insertions, result.deletions), (2, 4, 0), "{result:?}");
    assert_eq!(Some(&result.base), load.base.as_ref());
    assert_eq!(show(&stage, &result.commit, "one"), "l\nr\nbase");
    // What comes after builds on it, and people see it.
    let last = stage.node("run", "last").extensions.result.unwrap();
    assert_eq!(show(&stage, &last.commit, "all"), "l\nr\nl\nr\nbase\nl");
    let shown = stage.environment.planspec(&["diff", "execution/run", "--node", "load", "-n", "team"]);
    assert!(shown.stdout.contains("+base") && !shown.stdout.contains("b/left"), "{shown:?}");
    let whole = stage.environment.planspec(&["diff", "execution/run-load", "--stat", "-n", "team"]);
    assert!(whole.stdout.contains("two") && !whole.stdout.contains("left"), "{whole:?}");
    // Kept with the owner: whoever fetches its reference has all of it.
    let kept = stage.environment.git_output(&["log", "--format=%H", "refs/planspec/results/team/run"]);
    assert!(kept.contains(&result.commit), "{kept}");
    check_history(&stage.environment.repo());
}

#[test]
fn a_fresh_clone_goes_on_within_a_plan_and_after_it() {
    let gate = |id: &str, after: &str| json!({ "id": id, "kind": "Gate", "dependsOn": [after], "gateRef": { "name": id } });
    let inner = Graph::new("inner")
        .editor("one", &[], "cat left right > one")
        .node(gate("look", "one"))
        .editor("two", &["look"], "cp one two");
    let stage = files(&inner);
    let remote = stage.outside("remote.git");
    let url = remote.to_str().unwrap().to_owned();
    stage.environment.git(&["clone", "--quiet", "--bare", ".", &url]).succeeds();
    let first = stage.clone_to(&url, "first");
    stage.reconcile_in(&first, &[]);
    // Another machine, which has nothing but the remote.
    let second = stage.clone_to(&url, "second");
    let approve = ["approve", "gate/look", "-n", "team"];
    stage.environment.planspec_in(&second, &approve).succeeds();
    stage.reconcile_to_the_end(&second);
    let status = crate::engine_rig::status_in(&remote, "run");
    assert_eq!(status.phase, ExecutionPhase::Succeeded, "{status:#?}");
    let last = status.node_statuses.get("last").and_then(|node| node.extensions.result.clone()).unwrap();
    let all = stage.environment.git_in(&remote, &["show", &format!("{}:all", last.commit)]).succeeds().stdout;
    assert_eq!(all, "l\nr\nl\nr\nl\nr\n");
}

#[test]
fn files_that_conflict_fail_the_node() {
    let inner =
        Graph::new("inner").editor("one", &[], "echo one > same").editor("two", &[], "echo two > same");
    let stage = files(&inner);
    stage.reconcile(&[]).succeeds();
    let load = stage.node("run", "load");
    assert_eq!(load.phase, NodePhase::Failed, "{load:?}");
    for word in ["execution/run-load", "`one`", "`two`", "`same`"] {
        assert!(load.message.contains(word), "{}", load.message);
    }
}

#[test]
fn of_results_that_conflict_before_a_plan_the_later_one_is_made_again() {
    let inner = Graph::new("inner").editor("one", &[], "cp same one");
    let outer = Graph::new("outer")
        .editor("left", &[], "echo l >> same")
        .editor_with("right", &[], "echo r >> same", &json!({ "onConflict": "rerun" }))
        .node(json!({ "id": "load", "kind": "Task", "dependsOn": ["left", "right"] }));
    let binding = with_plans(&[&outer, &inner], &[("outer", "load", "plan://inner")]);
    let stage = Stage::new(QUICK, &[]);
    stage.commit("work.yaml", &yaml(&[outer.plan(), inner.plan(), binding, execution("run", "outer")]));
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("run").phase, ExecutionPhase::Succeeded, "{:#?}", stage.status("run"));
    assert_eq!(stage.node("run", "right").extensions.reruns, 1);
    assert_eq!(show(&stage, &stage.node("run", "load").extensions.result.unwrap().commit, "one"), "l\nr");
}

#[test]
fn a_plan_begins_where_its_node_stands_and_nowhere_else() {
    let gate = json!({ "id": "ok", "kind": "Gate", "gateRef": { "name": "ok" } });
    let inner = Graph::new("inner").node(gate).editor("one", &["ok"], "cat left > one; touch two");
    let stage = files(&inner);
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("run-load").phase, ExecutionPhase::Blocked);
    let elsewhere = stage.environment.git_output(&["rev-parse", "HEAD"]);
    forge(&stage, |tree| {
        let path = tree.join("team/executions/run-load.yaml");
        let mut record: Value = serde_yaml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        record["status"]["extensions"]["base"] = json!(elsewhere);
        fs::write(path, record.to_string()).unwrap();
    });
    stage.environment.planspec(&["approve", "gate/ok", "-n", "team"]);
    stage.reconcile(&[]);
    let child = stage.status("run-load");
    assert_eq!(
        (child.phase, child.reason.as_deref()),
        (ExecutionPhase::Blocked, Some("PinMismatch")),
        "{child:?}"
    );
    assert!(child.message.unwrap().contains("does not start where node `load`"));
}

#[test]
fn a_mutex_holds_back_what_a_plan_would_do() {
    let stage = Stage::new(QUICK, &[]);
    let inner = Graph::new("inner").task("a", &[], &Stage::leaves_its_key(&stage.outside("trace")));
    let gate = json!({ "id": "hold", "kind": "Gate", "dependsOn": ["load"], "gateRef": { "name": "hold" } });
    let outer = Graph::new("outer").node(json!({ "id": "load", "kind": "Task" })).node(gate);
    let binding = with_plans(&[&outer, &inner], &[("outer", "load", "plan://inner")]);
    let exclusive = |name: &str| {
        let mut execution = execution(name, "outer");
        execution["metadata"]["annotations"] = json!({ "planspec.io/mutex": "production" });
        execution
    };
    stage.commit("work.yaml", &yaml(&[outer.plan(), inner.plan(), binding, exclusive("a"), exclusive("b")]));
    stage.reconcile(&[]).succeeds();
    // The one that has the mutex waits at its gate with it, and the other's plan has not begun.
    assert_eq!(stage.trace("trace").len(), 1);
    let begun = ["a", "b"].map(|name| stage.node(name, "load").phase);
    assert_eq!(begun.iter().filter(|phase| **phase == NodePhase::Succeeded).count(), 1, "{begun:?}");
    assert_eq!(begun.iter().filter(|phase| **phase == NodePhase::Pending).count(), 1, "{begun:?}");
}

#[test]
fn priority_goes_down() {
    let stage = Stage::new(QUICK, &[]);
    let script = format!("echo \"$PLANSPEC_EXECUTION\" >> '{}'", stage.outside("trace").display());
    let tasks = |name: &str, count: usize| {
        (0..count).fold(Graph::new(name), |graph, ix| graph.task(&format!("t{ix}"), &[], &script))
    };
    let (usual, inner) = (tasks("usual", 8), tasks("inner", 3));
    let outer = Graph::new("outer").node(json!({ "id": "load", "kind": "Task" }));
    let binding = with_plans(&[&usual, &outer, &inner], &[("outer", "load", "plan://inner")]);
    let mut goal =
        crate::engine_rig::document("Goal", "soon", &json!({ "description": "d", "priority": 900 }));
    goal["spec"]["acceptanceCriteria"] = json!([{ "id": "c", "description": "it is done" }]);
    let mut urgent = execution("z-urgent", "outer");
    urgent["spec"]["goalRef"] = json!({ "name": "soon" });
    let usual_run = execution("a-usual", "usual");
    let all = [usual.plan(), outer.plan(), inner.plan(), binding, goal, usual_run, urgent];
    stage.commit("work.yaml", &yaml(&all));
    stage.reconcile(&["--jobs", "1"]).succeeds();
    let trace = stage.trace("trace");
    assert_eq!(trace.len(), 11, "{trace:?}");
    // One task may have started before the plan's Execution was there; from then on the urgent ones go first.
    let last_urgent = trace.iter().rposition(|name| name == "z-urgent-load").unwrap();
    assert!(last_urgent <= 5, "{trace:?}");
}

#[test]
fn a_node_is_opened() {
    let inner = Graph::new("inner").task("a", &[], "true").task("b", &["a"], "true");
    let outer =
        Graph::new("outer").node(json!({ "id": "load", "kind": "Task" })).task("use", &["load"], "true");
    let binding = with_plans(&[&outer, &inner], &[("outer", "load", "plan://inner")]);
    let stage = Stage::new(QUICK, &[]);
    stage.commit("work.yaml", &yaml(&[outer.plan(), inner.plan(), binding, execution("run", "outer")]));
    let graph = |arguments: &[&str]| {
        let all: Vec<&str> = ["graph"].iter().chain(arguments).chain(&["-n", "team"]).copied().collect();
        stage.environment.planspec(&all)
    };
    // Of the plan, and of an Execution that has not begun: what the node is bound to.
    for target in ["plan/outer", "execution/run"] {
        let shown = graph(&[target, "--open", "load"]).succeeds().stdout;
        assert!(shown.starts_with("team/inner\n") && shown.contains("b  Task"), "{shown}");
    }
    stage.reconcile(&[]).succeeds();
    let shown = graph(&["execution/run", "--open", "load"]).succeeds().stdout;
    assert!(shown.starts_with("team/run-load\n") && shown.contains("Succeeded"), "{shown}");
    let refused = graph(&["execution/run", "--open", "use"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("no plan does node `use`"), "{refused:?}");
    let refused = graph(&["execution/run", "--open", "lod"]);
    assert!(refused.stderr.contains("did you mean `load`?"), "{refused:?}");
    let refused = graph(&["execution/run", "--open", "load", "--open", "a"]);
    assert!(refused.stderr.contains("no plan does node `a`"), "{refused:?}");
}
