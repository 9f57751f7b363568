//! Publishing on a remote: what may go ahead of its publication while the budget of pushes is spent, and what may not; and
//! a runner that was stopped for longer than its lease.

use std::time::{Duration, Instant};

use planspec::model::{ExecutionPhase, NodePhase, NodeReason};
use rustix::process::Signal;
use serde_json::json;

use crate::engine_rig::{Graph, Stage, bindings, check_history, execution, status_in, yaml};
use crate::git_server::GitServer;

/// A budget that is spent at once, and refilled every 4 s.
const SPENT: &str = "lease: {duration: 5m}\npublish: {burst: 1, perMinute: 15}\n";

/// A stage with a chain of `length` tasks that each leave their key.
fn chain(config: &str, length: usize, fields: &serde_json::Value) -> Stage {
    let stage = Stage::new(config, &[]);
    let key = Stage::leaves_its_key(&stage.outside("trace"));
    let mut graph = Graph::new("chain");
    for number in 0..length {
        let before = number.checked_sub(1).map(|before| format!("n{before}"));
        let after: Vec<&str> = before.iter().map(String::as_str).collect();
        graph = graph.task_with(&format!("n{number}"), &after, &key, fields);
    }
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("chain", "chain"), bindings(&[&graph])]));
    stage
}

/// Reconciles in a clone, so that every commit is a push; how many there were.
fn pushes(stage: &Stage) -> usize {
    let clone = stage.clone_to(stage.environment.repo().to_str().unwrap(), "clone");
    stage.reconcile_in(&clone, &[]).succeeds();
    assert_eq!(stage.status("chain").phase, ExecutionPhase::Succeeded);
    assert_eq!(stage.status("chain").extensions.lease, None);
    check_history(&stage.environment.repo());
    let count = ["rev-list", "--count", "planspec/status"];
    stage.environment.git_in(&stage.environment.repo(), &count).succeeds().stdout.trim().parse().unwrap()
}

#[test]
fn a_chain_goes_on_while_the_budget_of_pushes_is_spent() {
    let stage = chain(SPENT, 12, &json!({}));
    let pushes = pushes(&stage);
    assert!(pushes <= 6, "{pushes} pushes for 12 nodes");
    assert_eq!(stage.trace("trace").len(), 12, "every node ran once");
}

#[test]
fn what_may_not_be_repeated_waits_for_its_publication() {
    let stage = chain(SPENT, 3, &json!({ "annotations": { "planspec.io/repeatable": "false" } }));
    let pushes = pushes(&stage);
    assert!(pushes >= 4, "{pushes} pushes: each start has to be published");
}

#[test]
fn a_task_that_may_read_a_secret_waits_for_its_publication() {
    let stage = chain(&format!("{SPENT}providers: {{secrets: [DEPLOY_KEY]}}\n"), 3, &json!({}));
    let pushes = pushes(&stage);
    assert!(pushes >= 4, "{pushes} pushes: each start has to be published");
}

#[test]
fn strict_publishing_publishes_every_start() {
    let stage = chain(&SPENT.replace("burst: 1", "mode: strict, burst: 1"), 3, &json!({}));
    let pushes = pushes(&stage);
    assert!(pushes >= 4, "{pushes} pushes: each start has to be published");
}

/// How many commits are on the status branch of a stage.
fn commits(stage: &Stage) -> u32 {
    stage.environment.git_output(&["rev-list", "--count", "planspec/status"]).parse().unwrap()
}

#[test]
fn a_chain_of_short_tasks_in_a_local_repository_makes_no_commit_for_each() {
    let stage = chain("", 120, &json!({}));
    let begun = Instant::now();
    stage.reconcile(&[]).succeeds();
    // One commit each would take less than 1 s on a fast machine; a slow one makes more commits, and takes longer.
    let most = 31.0 + 20.0 * begun.elapsed().as_secs_f64();
    assert!(f64::from(commits(&stage)) <= most, "{} commits, {most} are enough", commits(&stage));
    assert_eq!(stage.status("chain").phase, ExecutionPhase::Succeeded);
    assert_eq!(stage.trace("trace").len(), 120, "every node ran once");
    check_history(&stage.environment.repo());
}

#[test]
fn strict_publishing_makes_a_commit_for_each_task_of_a_local_chain() {
    let stage = chain("publish: {mode: strict}\n", 40, &json!({}));
    stage.reconcile(&[]).succeeds();
    assert_eq!(commits(&stage), 41);
    assert_eq!(stage.trace("trace").len(), 40);
}

#[test]
fn a_runner_that_was_stopped_beyond_its_lease_starts_nothing_more() {
    let stage = Stage::new("lease: {duration: 2s, skew: 100ms}\n", &[]);
    let key = Stage::leaves_its_key(&stage.outside("trace"));
    let script = format!("{key}; sleep 1");
    let graph = Graph::new("two").task("first", &[], &script).task("second", &["first"], &script);
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("two", "two"), bindings(&[&graph])]));
    let mut stopped = stage.start(&[]);
    stage.wait_until("the first attempt runs", || !stage.trace("trace").is_empty());
    stopped.signal(Signal::STOP);
    std::thread::sleep(Duration::from_millis(2500));
    stage.reconcile_to_the_end(&stage.environment.repo());
    let ended = stage.trace("trace");
    assert_eq!(stage.status("two").phase, ExecutionPhase::Succeeded);
    stopped.signal(Signal::CONT);
    let output = stopped.succeeds();
    assert_eq!(stage.trace("trace"), ended, "it started work under a lease that was over:\n{output}");
    check_history(&stage.environment.repo());
}

/// A runner with a chain of which the first task is done and not published as such, and the second is under way; then
/// `planspec suspend` changes the record. What was done stays done.
#[test]
fn what_ended_ahead_of_publication_has_ended_although_somebody_else_changes_the_record() {
    let stage = Stage::new("lease: {duration: 5m}\npublish: {burst: 1, perMinute: 1}\n", &[]);
    let key = Stage::leaves_its_key(&stage.outside("trace"));
    let waits = format!("{key}; sleep 60");
    let graph = Graph::new("chain").task("first", &[], &key).task("second", &["first"], &waits);
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("chain", "chain"), bindings(&[&graph])]));
    let clone = stage.clone_to(stage.environment.repo().to_str().unwrap(), "clone");
    let mut runner = stage.start_in(&clone, &[]);
    stage.wait_until("the second runs ahead", || stage.trace("trace").len() == 2);
    assert_eq!(stage.node("chain", "first").phase, NodePhase::Running, "its end is not published");
    stage.environment.planspec(&["suspend", "chain", "-n", "team"]).succeeds();
    runner.signal(Signal::INT);
    runner.ends();
    let first = stage.node("chain", "first");
    assert_eq!((first.phase, first.attempt), (NodePhase::Succeeded, 1), "{first:?}");
    check_history(&stage.environment.repo());
}

/// A remote that refuses whatever holds the output of one task, which ran ahead of its publication.
#[test]
fn content_that_went_ahead_and_is_refused_holds_up_nobody_else() {
    let server = GitServer::new();
    let stage = Stage::new(&SPENT.replace("15", "60"), &[]);
    // Put together when it runs: the manifest itself is recorded, too.
    let says = |word: &str| format!("printf 'word=looks%s\\n' {word} >> \"$PLANSPEC_OUTPUT\"");
    let plan = |name: &str, word: &str| {
        let outputs = json!({ "outputs": ["word"] });
        let graph = Graph::new(name).task("a", &[], "true").task_with("b", &["a"], &says(word), &outputs);
        graph.task("c", &["b"], "true")
    };
    let graphs = [plan("good", "-fine"), plan("bad", "-like-a-key"), plan("other", "-fine")];
    let mut documents: Vec<_> = graphs.iter().map(Graph::plan).collect();
    documents.extend(["good", "bad", "other"].map(|name| execution(name, name)));
    documents.push(bindings(&graphs.iter().collect::<Vec<_>>()));
    stage.commit("work.yaml", &yaml(&documents));
    stage.environment.git(&["push", "--quiet", &server.file_url(), "main"]).succeeds();
    let clone = stage.clone_to(&server.file_url(), "clone");
    server.hook(
        "pre-receive",
        "while read old new ref; do git grep -q looks-like-a-key $new && { echo no keys here >&2; exit 1; }; done; exit 0",
    );
    stage.start_in(&clone, &[]).succeeds();
    for name in ["good", "other"] {
        assert_eq!(status_in(&server.bare(), name).phase, ExecutionPhase::Succeeded, "{name}");
    }
    let bad = status_in(&server.bare(), "bad");
    let nodes: Vec<_> = bad.node_statuses.values().map(|node| (node.phase, node.extensions.reason)).collect();
    let refused = (NodePhase::Blocked, Some(NodeReason::ContentRefused));
    assert_eq!((nodes[0].0, nodes[1], nodes[2].0), (NodePhase::Succeeded, refused, NodePhase::Pending));
    check_history(&server.bare());
}
