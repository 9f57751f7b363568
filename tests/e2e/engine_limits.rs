//! Limits on how much runs at once in a namespace: within a reconcile, and across runners.

use planspec::model::{ExecutionPhase, Kind, NodePhase};
use serde_json::{Value, json};

use crate::engine_rig::{Graph, QUICK, Stage, bindings, check_history, document, execution, record_in, yaml};

/// Says when it begins and ends.
fn script(stage: &Stage) -> String {
    let trace = stage.outside("trace");
    format!("echo in >> '{0}'; sleep 0.2; echo out >> '{0}'", trace.display())
}

/// The most that were under way at once, by the trace.
fn most(lines: &[String]) -> usize {
    let mut now = 0usize;
    let counts = lines.iter().map(|line| {
        now = if line == "in" { now + 1 } else { now - 1 };
        now
    });
    counts.max().unwrap_or_default()
}

/// A document of another namespace.
fn elsewhere(mut document: Value) -> Value {
    document["metadata"]["namespace"] = json!("other");
    document
}

#[test]
fn a_namespace_has_as_many_attempts_at_once_as_it_may_on_any_number_of_runners() {
    // With leases long enough that a slow machine loses none: work that is begun again would be counted twice.
    let stage = Stage::new("limits: {namespaces: {\"*\": 2}}\n", &[]);
    let script = script(&stage);
    let graph = Graph::new("work").task("a", &[], &script).task("b", &[], &script).task("c", &["a"], &script);
    let names = ["one", "two", "three"];
    let mut documents = vec![graph.plan(), bindings(&[&graph])];
    documents.extend(names.map(|name| execution(name, "work")));
    stage.commit("work.yaml", &yaml(&documents));
    let arguments = ["--watch", "100ms", "--jobs", "4"];
    let mut runners = [stage.start(&arguments), stage.start(&arguments)];
    let phase = |name: &str| {
        let record = record_in(&stage.environment.repo(), Kind::Execution, name);
        record.and_then(|record| record.execution().map(|status| status.phase)).unwrap_or_default()
    };
    stage.wait_until("all are over", || names.iter().all(|name| phase(name) == ExecutionPhase::Succeeded));
    for runner in &mut runners {
        runner.signal(rustix::process::Signal::TERM);
        runner.ends();
    }
    let lines = stage.trace("trace");
    assert_eq!((lines.len(), most(&lines)), (18, 2), "{lines:?}");
    check_history(&stage.environment.repo());
}

#[test]
fn one_runner_keeps_to_the_limit_of_a_namespace_and_uses_its_slots_for_another() {
    let config = format!("{QUICK}limits: {{namespaces: {{team: 1}}}}\n");
    let stage = Stage::new(&config, &[]);
    let script = script(&stage);
    let graph = Graph::new("work").task("a", &[], &script).task("b", &[], &script).task("c", &[], &script);
    let mark = stage.outside("other");
    let free = Graph::new("work").task("x", &[], "").plan();
    let rule = json!({ "selector": { "planRef": { "name": "work" } }, "target": { "provider": "tool://t",
        "config": { "command": format!("touch '{}'", mark.display()), "shell": true } } });
    let binding = document("Binding", "default", &json!({ "rules": [rule] }));
    let others = [elsewhere(free), elsewhere(binding), elsewhere(execution("run", "work"))];
    let mut documents = vec![graph.plan(), bindings(&[&graph]), execution("run", "work")];
    documents.extend(others);
    stage.commit("work.yaml", &yaml(&documents));
    stage.reconcile(&["--jobs", "4"]).succeeds();
    let lines = stage.trace("trace");
    assert_eq!((lines.len(), most(&lines)), (6, 1), "{lines:?}");
    assert!(mark.exists());
}

#[test]
fn what_waits_for_the_attempts_of_another_runner_is_left_with_its_reason_and_goes_on_later() {
    let stage = Stage::new("limits: {namespaces: {team: 1}}\n", &[]);
    let (began, go) = (stage.outside("began"), stage.outside("go"));
    let wait = format!("touch '{}'; until test -e '{}'; do sleep 0.05; done", began.display(), go.display());
    let long = Graph::new("long").task("only", &[], &wait);
    let short = Graph::new("short").task("only", &[], "true");
    stage.commit(
        "work.yaml",
        &yaml(&[long.plan(), short.plan(), bindings(&[&long, &short]), execution("long", "long")]),
    );
    let mut holder = stage.start(&[]);
    stage.wait_until("the attempt runs", || began.exists());
    // Otherwise it would take the new one in as well.
    holder.signal(rustix::process::Signal::STOP);
    stage.commit("more.yaml", &yaml(&[execution("short", "short")]));
    let outcome = stage.reconcile(&[]).succeeds();
    let said = "namespace team has 1 running attempts, its limit";
    assert!(outcome.stdout.contains(said), "{}", outcome.stdout);
    let status = stage.status("short");
    assert_eq!(stage.node("short", "only").phase, NodePhase::Pending);
    assert_eq!(status.extensions.lease, None, "nobody holds what cannot go on");
    let explained = stage.environment.planspec(&["explain", "short/only", "-n", "team"]).succeeds();
    let said = "limit: namespace team runs at most 1 attempts at once, and has 1";
    assert!(explained.stdout.contains(said), "{}", explained.stdout);
    // Another pass says nothing new.
    let tip = stage.status_tip();
    stage.reconcile(&[]).succeeds();
    let since = stage.environment.git_output(&["log", "--format=%s", &format!("{tip}..planspec/status")]);
    assert!(!since.contains("short"), "{since}");
    std::fs::write(&go, "").unwrap();
    holder.signal(rustix::process::Signal::CONT);
    holder.succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("short").phase, ExecutionPhase::Succeeded);
    check_history(&stage.environment.repo());
}

#[test]
fn a_provider_that_is_taken_off_the_list_starts_nothing_more_in_a_runner_that_watches() {
    let first = Graph::new("first").task("work", &[], "true");
    let stage = Stage::with_graphs(QUICK, &[&first]);
    let mut runner = stage.start(&["--watch", "200ms"]);
    stage.wait_until("the first is done", || ended(&stage, "first"));
    stage.commit(".planspec.yaml", &format!("{QUICK}providers: {{allow: [human]}}\n"));
    let ran = stage.outside("ran");
    let second = Graph::new("second").task("work", &[], &format!("touch {}", ran.display()));
    let work = [second.plan(), execution("second", "second"), bindings(&[&first, &second])];
    stage.commit("second.yaml", &yaml(&work[..2]));
    stage.commit("work.yaml", &yaml(&[first.plan(), execution("first", "first"), work[2].clone()]));
    stage.wait_until("the second is taken up", || {
        record_in(&stage.environment.repo(), Kind::Execution, "second").is_some()
    });
    std::thread::sleep(std::time::Duration::from_secs(2));
    runner.signal(rustix::process::Signal::INT);
    runner.ends();
    let node = stage.node("second", "work");
    assert!(!ran.exists() && node.phase == NodePhase::Blocked, "{node:?}");
}

fn ended(stage: &Stage, execution: &str) -> bool {
    let record = record_in(&stage.environment.repo(), Kind::Execution, execution);
    record.is_some_and(|record| record.execution().unwrap().phase.is_terminal())
}
