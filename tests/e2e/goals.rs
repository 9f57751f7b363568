//! Goals from end to end: which plan serves one, where it stands through its whole life, what its deadline, its priority and
//! its end mean for the Executions that serve it.

use std::time::{Duration, Instant};

use planspec::model::{
    Condition, ExecutionPhase, GoalStatus, Kind, NodePhase, NodeReason, ResourceStatus, Spec, StatusRecord,
};
use serde_json::{Value, json};

use crate::engine_rig::{Graph, QUICK, Stage, bindings, check_history, document, record_in, yaml};

fn goal(name: &str, fields: &Value) -> Value {
    let mut goal = document("Goal", name, &json!({ "description": "as it should be" }));
    merge(&mut goal["spec"], fields);
    goal
}

fn merge(into: &mut Value, fields: &Value) {
    for (name, value) in fields.as_object().unwrap() {
        into[name] = value.clone();
    }
}

/// A plan of one task that does nothing, with these fields in its spec and these labels.
fn plan(name: &str, fields: &Value, labels: &Value) -> Value {
    let mut plan = Graph::new(name).node(json!({ "id": "a", "kind": "Task" })).plan();
    merge(&mut plan["spec"], fields);
    plan["metadata"]["labels"] = labels.clone();
    plan
}

/// An Execution that serves a goal.
fn serving(name: &str, plan: &str, goal: &str) -> Value {
    document("Execution", name, &json!({ "planRef": { "name": plan }, "goalRef": { "name": goal } }))
}

fn owned_by(goal: &str, mut resource: Value) -> Value {
    let owner = json!({ "apiVersion": "planspec.io/v1alpha1", "kind": "Goal", "name": goal, "uid": "any" });
    resource["metadata"]["ownerReferences"] = json!([owner]);
    resource
}

fn record(stage: &Stage, kind: Kind, name: &str) -> Option<StatusRecord> {
    record_in(&stage.environment.repo(), kind, name)
}

#[track_caller]
fn status(stage: &Stage, name: &str) -> GoalStatus {
    match record(stage, Kind::Goal, name).unwrap().status {
        ResourceStatus::Goal(status) => status,
        other => panic!("{other:?}"),
    }
}

/// The phase of a goal, and why it is or is not reached.
#[track_caller]
fn check_goal(stage: &Stage, name: &str, phase: &str, reason: &str) {
    let status = status(stage, name);
    let reached = Condition::find(&status.conditions, "Reached").unwrap();
    assert_eq!((format!("{:?}", status.phase).as_str(), reached.reason.as_str()), (phase, reason));
    assert_eq!(Condition::find(&status.conditions, "Accepted").unwrap().reason, "Valid");
}

#[track_caller]
fn check_active(stage: &Stage, goal: &str, plan: Option<&str>, reason: &str) {
    let status = status(stage, goal);
    assert_eq!(status.active_plan_ref.map(|plan| plan.name.to_string()).as_deref(), plan);
    assert_eq!(Condition::find(&status.conditions, "PlanSelected").unwrap().reason, reason);
}

/// The plan that `planspec run` takes for a goal.
#[track_caller]
fn runs(stage: &Stage, goal: &str, execution: &str) -> String {
    stage.environment.planspec(&["run", &format!("goal/{goal}"), "--name", execution]).succeeds();
    let text = stage.environment.read(&format!("planspec/team/executions/{execution}.yaml"));
    let parsed = planspec::manifest::parse("e.yaml", text.as_bytes(), &planspec::config::Limits::default());
    let Spec::Execution(spec) = &parsed.resources[0].spec else { panic!("{text}") };
    assert_eq!(spec.goal_ref.as_ref().unwrap().name.as_str(), goal);
    spec.plan_ref.name.to_string()
}

#[test]
fn of_the_plans_with_the_labels_the_highest_version_serves_and_superseded_ones_are_out() {
    let selector = json!({ "matchLabels": { "for": "sso" }, "matchExpressions": [
        { "key": "tier", "operator": "NotIn", "values": ["draft"] } ] });
    let release = |version: &str| json!({ "series": "sso", "version": version });
    let labels = json!({ "for": "sso" });
    let stage = Stage::new(QUICK, &[]);
    stage.commit("goal.yaml", &yaml(&[goal("g", &json!({ "planSelector": selector }))]));
    // Another one's `goalRef` does not count beside a selector.
    let named = plan("a-named", &json!({ "goalRef": { "name": "g" } }), &json!({}));
    stage.commit("named.yaml", &yaml(&[named]));
    stage.reconcile(&[]).succeeds();
    check_active(&stage, "g", None, "NoMatchingPlan");
    let draft = plan("draft", &release("v11"), &json!({ "for": "sso", "tier": "draft" }));
    let plans = [plan("nine", &release("v9"), &labels), plan("ten", &release("v10"), &labels), draft];
    stage.commit("plans.yaml", &yaml(&plans));
    stage.reconcile(&[]).succeeds();
    check_active(&stage, "g", Some("ten"), "PlanFound");
    // A newer one is run at once, whatever the last reconcile has seen.
    stage.commit("newer.yaml", &yaml(&[plan("eleven", &release("v11"), &labels)]));
    assert_eq!(runs(&stage, "g", "first"), "eleven");
    stage.reconcile(&[]).succeeds();
    check_active(&stage, "g", Some("eleven"), "PlanFound");
    // Whoever replaces it need not be meant for the goal itself.
    let withdrawn = plan("withdrawal", &json!({ "supersedes": [{ "name": "eleven" }] }), &json!({}));
    stage.commit("withdrawal.yaml", &yaml(std::slice::from_ref(&withdrawn)));
    assert_eq!(runs(&stage, "g", "second"), "ten");
    stage.reconcile(&[]).succeeds();
    check_active(&stage, "g", Some("ten"), "PlanFound");
    stage.remove("plans.yaml");
    stage.reconcile(&[]).succeeds();
    check_active(&stage, "g", None, "PlanSuperseded");
    // Whatever stands in the way may go again, and labels may change.
    stage.remove("withdrawal.yaml");
    stage.reconcile(&[]).succeeds();
    check_active(&stage, "g", Some("eleven"), "PlanFound");
    stage.commit("newer.yaml", &yaml(&[plan("eleven", &release("v11"), &json!({ "for": "oidc" }))]));
    stage.reconcile(&[]).succeeds();
    check_active(&stage, "g", None, "NoMatchingPlan");
    stage.commit("newer.yaml", &yaml(&[plan("eleven", &release("v11"), &labels), withdrawn]));
    stage.reconcile(&[]).succeeds();
    check_active(&stage, "g", None, "PlanSuperseded");
    let refused = stage.environment.planspec(&["run", "goal/g"]).exits(1);
    assert!(refused.stderr.contains("eleven is superseded by team/plan/withdrawal"), "{}", refused.stderr);
}

#[test]
fn without_a_selector_the_plan_that_names_the_goal_serves_it() {
    let stage = Stage::new(QUICK, &[]);
    let documents = [
        goal("g", &json!({})),
        plan("labelled", &json!({}), &json!({ "planspec.io/goal": "g" })),
        plan("named", &json!({ "goalRef": { "name": "g" } }), &json!({})),
    ];
    stage.commit("work.yaml", &yaml(&documents));
    stage.reconcile(&[]).succeeds();
    check_active(&stage, "g", Some("named"), "PlanFound");
    assert_eq!(runs(&stage, "g", "run"), "named");
    stage.commit("work.yaml", &yaml(&[goal("g", &json!({})), plan("named", &json!({}), &json!({}))]));
    stage.reconcile(&[]).succeeds();
    check_active(&stage, "g", None, "NoMatchingPlan");
}

#[test]
fn a_goal_goes_through_its_phases_and_says_why() {
    let stage = Stage::new(QUICK, &[]);
    stage.commit("goal.yaml", &yaml(&[goal("g", &json!({}))]));
    stage.reconcile(&[]).succeeds();
    check_goal(&stage, "g", "Planning", "NoPlan");
    let broken = stage.outside("broken");
    let graph = Graph::new("work")
        .node(json!({ "id": "look", "kind": "Gate", "gateRef": { "name": "look" } }))
        .task("a", &["look"], &format!("! test -e '{}'", broken.display()));
    let mut named = graph.plan();
    named["spec"]["goalRef"] = json!({ "name": "g" });
    stage.commit("plan.yaml", &yaml(&[named, bindings(&[&graph])]));
    stage.reconcile(&[]).succeeds();
    check_goal(&stage, "g", "Ready", "NotStarted");
    let accepted = |stage: &Stage| {
        Condition::find(&status(stage, "g").conditions, "Accepted").unwrap().last_transition_time
    };
    let since = accepted(&stage);
    let drive = |name: &str, arguments: &[&str]| {
        stage.commit(&format!("{name}.yaml"), &yaml(&[serving(name, "work", "g")]));
        stage.reconcile(&[]).succeeds();
        check_goal(&stage, "g", "Executing", "ExecutionUnderWay");
        stage.environment.planspec(arguments).succeeds();
        stage.reconcile(&[]).succeeds();
    };
    drive("e1", &["approve", "look", "-n", "team"]);
    check_goal(&stage, "g", "Succeeded", "ExecutionSucceeded");
    assert_eq!(accepted(&stage), since, "what did not change keeps its time");
    std::fs::write(&broken, "").unwrap();
    drive("e2", &["approve", "look", "-n", "team"]);
    check_goal(&stage, "g", "Failed", "ExecutionFailed");
    drive("e3", &["cancel", "e3", "-n", "team"]);
    check_goal(&stage, "g", "Cancelled", "ExecutionCancelled");
    drive("e4", &["reject", "look", "-n", "team"]);
    check_goal(&stage, "g", "Failed", "ExecutionFailed");
    // A change of the spec is seen; a second pass is not.
    stage.commit("goal.yaml", &yaml(&[goal("g", &json!({ "priority": 5 }))]));
    stage.reconcile(&[]).succeeds();
    assert_eq!(status(&stage, "g").observed_generation, Some(2));
    let tip = stage.status_tip();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status_tip(), tip);
}

#[test]
fn a_deadline_ends_what_runs_and_lets_nothing_more_begin() {
    let stage = Stage::new("", &[]);
    let (began, ended) = (stage.outside("began"), stage.outside("ended"));
    let script = format!("touch '{}'; sleep 60; touch '{}'", began.display(), ended.display());
    let graph = Graph::new("long").task("a", &[], &script).task("b", &["a"], "true");
    let quick = Graph::new("quick").task("a", &[], "true");
    let documents = [
        goal("late", &json!({ "timeout": "3s" })),
        goal("early", &json!({ "timeout": "3s" })),
        graph.plan(),
        quick.plan(),
        bindings(&[&graph, &quick]),
        serving("slow", "long", "late"),
        serving("fast", "quick", "early"),
    ];
    stage.commit("work.yaml", &yaml(&documents));
    let since = Instant::now();
    stage.reconcile(&[]).succeeds();
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
    assert!(began.exists() && !ended.exists());
    let slow = stage.status("slow");
    assert_eq!((slow.phase, slow.reason.as_deref()), (ExecutionPhase::Cancelled, Some("DeadlineExceeded")));
    assert_eq!(stage.node("slow", "b").phase, NodePhase::Cancelled);
    stage.reconcile(&[]).succeeds();
    check_goal(&stage, "late", "Failed", "DeadlineExceeded");
    check_goal(&stage, "early", "Succeeded", "ExecutionSucceeded");
    stage.commit("more.yaml", &yaml(&[serving("too-late", "quick", "late")]));
    stage.reconcile(&[]).succeeds();
    let node = stage.node("too-late", "a");
    assert_eq!((node.phase, node.attempt), (NodePhase::Cancelled, 0));
    assert_eq!(node.extensions.reason, Some(NodeReason::DeadlineExceeded));
    check_goal(&stage, "late", "Failed", "DeadlineExceeded");
    check_history(&stage.environment.repo());
}

#[test]
fn the_work_of_the_more_urgent_goal_goes_first_across_executions() {
    let stage = Stage::new(QUICK, &[]);
    let leaves = format!("echo $PLANSPEC_EXECUTION >> '{}'", stage.outside("trace").display());
    let graph = Graph::new("work").task("a", &[], &leaves).task("b", &[], &leaves).task("c", &[], &leaves);
    let documents = [
        graph.plan(),
        bindings(&[&graph]),
        goal("low", &json!({ "priority": 1 })),
        goal("high", &json!({ "priority": 900 })),
        serving("a-low", "work", "low"),
        crate::engine_rig::execution("b-none", "work"),
        serving("z-high", "work", "high"),
    ];
    stage.commit("work.yaml", &yaml(&documents));
    stage.reconcile(&["--jobs", "1"]).succeeds();
    let expected = [["z-high"; 3], ["a-low"; 3], ["b-none"; 3]].concat();
    assert_eq!(stage.trace("trace"), expected);
}

#[test]
fn of_several_executions_what_is_under_way_counts_and_then_the_latest() {
    let stage = Stage::new(QUICK, &[]);
    let graph =
        Graph::new("work").node(json!({ "id": "look", "kind": "Gate", "gateRef": { "name": "look" } }));
    let all = ["e1", "e2", "e3"].map(|name| serving(name, "work", "g"));
    let mut documents = vec![goal("g", &json!({})), graph.plan()];
    documents.extend(all);
    stage.commit("work.yaml", &yaml(&documents));
    stage.reconcile(&[]).succeeds();
    check_goal(&stage, "g", "Executing", "ExecutionUnderWay");
    let message =
        |stage: &Stage| Condition::find(&status(stage, "g").conditions, "Reached").unwrap().message.clone();
    assert_eq!(message(&stage), "team/execution/e1 and 2 more");
    let decide = |command: &str, execution: &str| {
        let execution = format!("execution/{execution}");
        let arguments = [command, "look", "--execution", &execution, "-n", "team"];
        stage.environment.planspec(&arguments).succeeds();
        stage.reconcile(&[]).succeeds();
    };
    decide("reject", "e1");
    decide("approve", "e3");
    check_goal(&stage, "g", "Executing", "ExecutionUnderWay");
    assert_eq!(message(&stage), "team/execution/e2");
    decide("reject", "e2");
    check_goal(&stage, "g", "Succeeded", "ExecutionSucceeded");
    assert_eq!(message(&stage), "team/execution/e3 succeeded");
}

#[test]
fn a_goal_forgets_an_execution_whose_manifest_goes() {
    let stage = Stage::new(QUICK, &[]);
    let graph =
        Graph::new("work").node(json!({ "id": "look", "kind": "Gate", "gateRef": { "name": "look" } }));
    let mut named = graph.plan();
    named["spec"]["goalRef"] = json!({ "name": "g" });
    stage.commit("work.yaml", &yaml(&[goal("g", &json!({})), named]));
    stage.commit("run.yaml", &yaml(&[serving("run", "work", "g")]));
    stage.reconcile(&[]).succeeds();
    check_goal(&stage, "g", "Executing", "ExecutionUnderWay");
    stage.remove("run.yaml");
    stage.reconcile(&[]).succeeds();
    assert!(record(&stage, Kind::Execution, "run").is_none());
    check_goal(&stage, "g", "Ready", "NotStarted");
}

#[test]
fn cancelling_a_goal_cancels_everything_under_it_also_what_no_reconcile_has_seen() {
    let stage = Stage::new("", &[]);
    let trace = stage.outside("trace");
    let wait = format!("echo $PLANSPEC_EXECUTION >> '{}'; sleep 60", trace.display());
    let done = Graph::new("done").task("a", &[], "true");
    let waits =
        Graph::new("waits").node(json!({ "id": "look", "kind": "Gate", "gateRef": { "name": "look" } }));
    let long = Graph::new("long").task("a", &[], &wait).task("b", &["a"], "true");
    let documents = [
        goal("g", &json!({})),
        done.plan(),
        waits.plan(),
        long.plan(),
        bindings(&[&done, &waits, &long]),
        serving("over", "done", "g"),
        serving("blocked", "waits", "g"),
        crate::engine_rig::execution("other", "waits"),
    ];
    stage.commit("work.yaml", &yaml(&documents));
    stage.reconcile(&[]).succeeds();
    stage.commit("more.yaml", &yaml(&[serving("running", "long", "g")]));
    let mut runner = stage.start(&[]);
    stage.wait_until("it runs", || !stage.trace("trace").is_empty());
    // Its runner would otherwise take the next one in before it is cancelled.
    runner.signal(rustix::process::Signal::STOP);
    stage.commit("unseen.yaml", &yaml(&[serving("unseen", "long", "g")]));
    let outcome = stage.environment.planspec(&["cancel", "goal/g", "-n", "team", "-m", "not now"]).succeeds();
    let lines: Vec<&str> = outcome.lines();
    assert!(lines.contains(&"execution/blocked cancelled"), "{lines:?}");
    assert!(lines.contains(&"execution/unseen cancelled"), "{lines:?}");
    assert!(
        lines.iter().any(|line| line.starts_with("execution/running cancellation requested;")),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 3, "{lines:?}");
    runner.signal(rustix::process::Signal::CONT);
    runner.ends();
    stage.reconcile_to_the_end(&stage.environment.repo());
    for name in ["blocked", "running", "unseen"] {
        assert_eq!(stage.status(name).phase, ExecutionPhase::Cancelled, "{name}");
    }
    assert_eq!(stage.status("over").phase, ExecutionPhase::Succeeded);
    assert_eq!(stage.status("other").phase, ExecutionPhase::Blocked, "it serves no goal");
    assert_eq!(stage.trace("trace"), ["running"]);
    check_goal(&stage, "g", "Cancelled", "ExecutionCancelled");
    let again = stage.environment.planspec(&["cancel", "goal/g", "-n", "team"]).exits(1);
    assert!(again.stderr.contains("no execution of team/goal/g is running"), "{}", again.stderr);
    check_history(&stage.environment.repo());
}

#[test]
fn an_execution_is_cancelled_before_any_reconcile_has_seen_it() {
    let stage = Stage::new(QUICK, &[]);
    let graph = Graph::new("work").task("a", &[], &format!("touch '{}'", stage.outside("ran").display()));
    stage.commit("work.yaml", &yaml(&[graph.plan(), bindings(&[&graph])]));
    stage.environment.planspec(&["run", "plan/work", "--name", "e"]).succeeds();
    stage.environment.planspec(&["cancel", "e", "-n", "team"]).succeeds();
    assert_eq!(stage.status("e").phase, ExecutionPhase::Cancelled);
    let before = record(&stage, Kind::Execution, "e");
    stage.reconcile(&[]).succeeds();
    assert_eq!(record(&stage, Kind::Execution, "e"), before);
    assert!(!stage.outside("ran").exists());
    stage.environment.planspec(&["cancel", "nothing", "-n", "team"]).exits(1);
}

#[test]
fn with_a_goal_goes_what_it_owns_and_nothing_else() {
    let stage = Stage::new(QUICK, &[]);
    let trace = stage.outside("trace");
    let wait = format!("echo in >> '{0}'; sleep 60; echo out >> '{0}'", trace.display());
    let long = Graph::new("long").task("a", &[], &wait);
    let quick = Graph::new("quick").task("a", &[], "true");
    stage.commit("goal.yaml", &yaml(&[goal("g", &json!({}))]));
    let documents = [
        quick.plan(),
        owned_by("g", long.plan()),
        bindings(&[&long, &quick]),
        owned_by("g", serving("owned-over", "quick", "g")),
        owned_by("g", serving("owned-running", "long", "g")),
        serving("free", "quick", "g"),
    ];
    stage.commit("work.yaml", &yaml(&documents));
    let mut runner = stage.start(&[]);
    stage.wait_until("it runs", || !stage.trace("trace").is_empty());
    stage.wait_until("the others are over", || {
        ["owned-over", "free"].iter().all(|name| {
            let record = record(&stage, Kind::Execution, name);
            record.is_some_and(|record| record.execution().unwrap().phase == ExecutionPhase::Succeeded)
        })
    });
    stage.remove("goal.yaml");
    runner.ends();
    stage.reconcile(&["--allow-mass-delete"]);
    for (kind, name) in [
        (Kind::Goal, "g"),
        (Kind::Execution, "owned-over"),
        (Kind::Execution, "owned-running"),
        (Kind::Plan, "long"),
    ] {
        assert!(record(&stage, kind, name).is_none(), "{name}");
    }
    assert!(record(&stage, Kind::Plan, "quick").is_some());
    assert_eq!(stage.status("free").phase, ExecutionPhase::Succeeded);
    assert_eq!(stage.trace("trace"), ["in"], "what ran was ended");
    let history = stage.environment.git_output(&["log", "--format=%B", "planspec/status"]);
    assert!(history.contains("owned-running a: Running -> Cancelled (ManifestRemoved)"), "{history}");
    check_history(&stage.environment.repo());
}
