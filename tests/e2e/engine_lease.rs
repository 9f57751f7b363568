//! Leases: taken over when they have expired and not before, given back at the end; what becomes of the attempts of a
//! runner that is gone.

use std::time::Duration;

use planspec::model::{ExecutionPhase, Kind, NodePhase, NodeReason};
use serde_json::json;

use crate::engine_rig::{Graph, QUICK, Stage, bindings, check_history, essence, execution, record_in, yaml};

/// A stage with a task that, at its first attempt, lasts longer than any test.
fn stage(config: &str, fields: &serde_json::Value) -> Stage {
    let stage = Stage::new(config, &[]);
    let key = Stage::leaves_its_key(&stage.outside("trace"));
    let script = format!(
        "{key}; if test $PLANSPEC_ATTEMPT = 1; then echo $$ > '{}'; exec sleep 60; fi; \
                 echo \"token=$PLANSPEC_FENCING_TOKEN\" >> \"$PLANSPEC_OUTPUT\"",
        stage.outside("pid").display()
    );
    let graph = Graph::new("long").task_with("only", &[], &script, fields);
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("long", "long"), bindings(&[&graph])]));
    stage
}

/// Ends what a killed runner left behind; only the system could have done it for the runner.
fn end_orphan(stage: &Stage) {
    let Some(pid) = stage.trace("pid").first().and_then(|text| text.parse().ok()) else { return };
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

fn begin_and_kill(stage: &Stage) {
    let mut runner = stage.start(&[]);
    stage.wait_until("the attempt runs", || !stage.trace("pid").is_empty());
    runner.kill();
    end_orphan(stage);
}

#[test]
fn an_expired_lease_is_taken_over_and_the_lost_attempt_does_not_count() {
    let stage = stage(QUICK, &json!({ "retries": 0, "outputs": ["token"] }));
    begin_and_kill(&stage);
    let token = stage.status("long").extensions.lease.expect("the dead runner's").token;
    stage.reconcile_to_the_end(&stage.environment.repo());
    let status = stage.status("long");
    assert_eq!(status.phase, ExecutionPhase::Succeeded);
    assert_eq!(status.extensions.lease, None);
    assert_eq!(status.extensions.last_token, token + 1);
    let node = stage.node("long", "only");
    assert_eq!((node.attempt, node.extensions.failures), (2, 0));
    assert_eq!(node.outputs["token"], json!((token + 1).to_string()), "what the task was told");
    check_history(&stage.environment.repo());
}

#[test]
fn a_lease_that_somebody_frees_is_taken_over_at_once_and_its_token_stays_used_up() {
    let stage = stage("lease: {duration: 1h}\n", &json!({ "outputs": ["token"] }));
    begin_and_kill(&stage);
    let waiting = stage.reconcile(&[]).succeeds();
    assert!(waiting.stdout.contains("drives it"), "{}", waiting.stdout);
    let holder = stage.status("long").extensions.lease.unwrap().holder;
    let unlock = || stage.environment.planspec(&["unlock", "long", "-m", "its machine is gone"]).succeeds();
    let said = unlock().stdout;
    assert!(said.contains(&format!("unlocked; runner {holder} held token 1")), "{said}");
    let request = stage.status("long").extensions.unlocked.unwrap();
    assert_eq!(request.comment.as_deref(), Some("its machine is gone"));
    for command in ["history", "describe"] {
        let shown = stage.environment.planspec(&[command, "execution/long"]).succeeds().stdout;
        assert!(shown.contains("its machine is gone"), "{shown}");
    }
    let again = unlock().stdout;
    assert!(again.contains("execution/long is not locked"), "{again}");
    stage.reconcile(&[]).succeeds();
    let node = stage.node("long", "only");
    assert_eq!((node.phase, node.attempt), (NodePhase::Succeeded, 2));
    assert_eq!(node.outputs["token"], json!("2"));
    check_history(&stage.environment.repo());
}

#[test]
fn a_live_lease_is_left_alone_and_renewed_while_work_lasts() {
    let config = "lease: {duration: 2s, skew: 100ms}\n";
    let stage = stage(config, &json!({}));
    let mut holder = stage.start(&[]);
    stage.wait_until("the attempt runs", || !stage.trace("pid").is_empty());
    let first = stage.status("long").extensions.lease.unwrap();
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(800));
        let outcome = stage.reconcile(&[]).succeeds();
        assert!(outcome.stdout.contains("drives it"), "{}", outcome.stdout);
    }
    let lease = stage.status("long").extensions.lease.unwrap();
    assert_eq!((&lease.holder, lease.token, lease.acquire_time), (&first.holder, 1, first.acquire_time));
    assert!(lease.renew_time > first.renew_time, "{lease:?}");
    assert_eq!(stage.trace("trace").len(), 1);
    holder.signal(rustix::process::Signal::TERM);
    holder.succeeds();
    assert_eq!(stage.status("long").extensions.lease, None);
}

#[test]
fn a_node_that_is_not_repeatable_is_not_run_again_after_its_runner_was_lost() {
    let annotations = json!({ "annotations": { "planspec.io/repeatable": "false" }, "retries": 3 });
    let stage = stage(QUICK, &annotations);
    begin_and_kill(&stage);
    let outcome = stage.reconcile_to_the_end(&stage.environment.repo());
    assert!(outcome.stdout.contains("planspec retry long --from only"), "{}", outcome.stdout);
    let node = stage.node("long", "only");
    assert_eq!((node.phase, node.extensions.reason), (NodePhase::Blocked, Some(NodeReason::RunnerLost)));
    let before = essence(&stage.status("long"));
    let tip = stage.status_tip();
    stage.reconcile(&[]).succeeds();
    assert_eq!((stage.status_tip(), essence(&stage.status("long"))), (tip, before));
    assert_eq!(stage.trace("trace").len(), 1);
}

#[test]
fn a_runner_that_lost_its_lease_ends_its_attempt_and_records_nothing_of_it() {
    let stage = stage(QUICK, &json!({ "outputs": ["token"] }));
    let mut frozen = stage.start(&[]);
    stage.wait_until("the attempt runs", || !stage.trace("pid").is_empty());
    frozen.signal(rustix::process::Signal::STOP);
    stage.reconcile_to_the_end(&stage.environment.repo());
    let done = stage.status("long");
    assert_eq!((done.phase, stage.node("long", "only").attempt), (ExecutionPhase::Succeeded, 2));
    frozen.signal(rustix::process::Signal::CONT);
    frozen.succeeds();
    assert_eq!(stage.status("long"), done);
    let pid: i32 = stage.trace("pid")[0].parse().unwrap();
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "the old attempt still runs");
    check_history(&stage.environment.repo());
}

/// Executions with this annotation exclude each other.
fn exclusive(name: &str) -> serde_json::Value {
    let mut execution = execution(name, "work");
    execution["metadata"]["annotations"] = json!({ "planspec.io/mutex": "production" });
    execution
}

#[test]
fn executions_with_the_same_mutex_run_one_after_the_other_on_any_number_of_runners() {
    let stage = Stage::new(QUICK, &[]);
    let trace = stage.outside("trace");
    let script = format!(
        "echo \"in $PLANSPEC_EXECUTION\" >> '{0}'; sleep 0.3; echo \"out $PLANSPEC_EXECUTION\" >> '{0}'",
        trace.display()
    );
    let graph = Graph::new("work").task("first", &[], &script).task("second", &["first"], &script).task(
        "side",
        &[],
        "true",
    );
    let names = ["a", "b", "c"];
    let mut documents = vec![graph.plan(), bindings(&[&graph]), execution("free", "work")];
    documents.extend(names.map(exclusive));
    stage.commit("work.yaml", &yaml(&documents));
    let mut runners = [stage.start(&["--watch", "100ms"]), stage.start(&["--watch", "100ms"])];
    let status = |name: &str| {
        let record = record_in(&stage.environment.repo(), Kind::Execution, name);
        record.and_then(|record| record.execution().cloned()).unwrap_or_default()
    };
    stage.wait_until("one waits for another", || {
        names.iter().any(|name| {
            let message = status(name).message.unwrap_or_default();
            message.ends_with(", which holds the mutex `production`")
        })
    });
    stage.wait_until("all are over", || {
        names.iter().chain(&["free"]).all(|name| status(name).phase == ExecutionPhase::Succeeded)
    });
    for runner in &mut runners {
        runner.signal(rustix::process::Signal::TERM);
        runner.ends();
    }
    let lines: Vec<String> =
        stage.trace("trace").into_iter().filter(|line| !line.ends_with("free")).collect();
    assert_eq!(lines.len(), 12, "{lines:?}");
    // Each one's four lines stand together.
    let owners: Vec<&str> = lines.iter().map(|line| line.split_once(' ').unwrap().1).collect();
    assert!(owners.chunks(4).all(|four| four.iter().all(|owner| *owner == four[0])), "{lines:?}");
    check_history(&stage.environment.repo());
}

#[test]
fn an_execution_that_waits_for_a_mutex_can_be_cancelled_and_one_that_is_retried_waits_again() {
    let stage = Stage::new(QUICK, &[]);
    let flag = stage.outside("flag");
    let graph = Graph::new("work")
        .node(json!({ "id": "ok", "kind": "Gate", "dependsOn": ["a"], "gateRef": { "name": "g" } }))
        .task("a", &[], &format!("test -e '{}' || {{ touch '{0}'; exit 1; }}", flag.display()));
    stage.commit("work.yaml", &yaml(&[graph.plan(), bindings(&[&graph]), exclusive("one")]));
    stage.reconcile(&[]);
    assert_eq!(stage.status("one").phase, ExecutionPhase::Failed);
    stage.commit("more.yaml", &yaml(&[exclusive("two"), exclusive("zero")]));
    stage.reconcile(&[]);
    // The one that came first waits at its gate, and still holds the mutex.
    assert_eq!(stage.status("two").phase, ExecutionPhase::Blocked);
    let waits = |name: &str| stage.status(name).message.unwrap_or_default();
    assert_eq!(waits("zero"), "waits for two, which holds the mutex `production`");
    stage.environment.planspec(&["retry", "one", "-n", "team"]).succeeds();
    stage.reconcile(&[]);
    assert_eq!(waits("one"), "waits for two, which holds the mutex `production`");
    stage.environment.planspec(&["cancel", "zero", "-n", "team"]).succeeds();
    stage.reconcile(&[]);
    assert_eq!(stage.status("zero").phase, ExecutionPhase::Cancelled);
    stage.environment.planspec(&["cancel", "two", "-n", "team"]).succeeds();
    stage.reconcile(&[]);
    assert_eq!(stage.node("one", "a").phase, NodePhase::Succeeded);
}

#[test]
fn a_one_shot_pass_waits_for_a_lease_that_ends_soon_and_says_so() {
    let config = "lease: {duration: 2s, skew: 100ms}\n";
    let stage = stage(config, &json!({}));
    begin_and_kill(&stage);
    end_orphan(&stage);
    // The runner is gone: nobody renews its lease, and one pass is enough.
    let outcome = stage.reconcile(&[]).succeeds();
    assert!(outcome.stdout.contains("s for its lease"), "{}", outcome.stdout);
    assert!(!outcome.stdout.contains("waiting: team/execution/long"), "{}", outcome.stdout);
    assert_eq!(stage.trace("trace").len(), 2, "{}", outcome.stdout);
    check_history(&stage.environment.repo());
}
