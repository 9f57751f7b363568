//! Many reconcilers on one bare remote: every attempt of every node starts exactly once, all of them finish, and none
//! complains. And a push whose acknowledgement is lost.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use planspec::model::{ExecutionPhase, Kind};
use serde_json::Value;

use crate::engine_rig::{
    Graph, STATUS, Stage, bindings, check_history, check_trace, execution, record_in, status_in, yaml,
};
use crate::git_server::GitServer;
use crate::skip;

/// Leases far longer than the test, so that nobody is taken over however slow the machine is.
const MANY: &str = "lease: {duration: 5m}\npublish: {burst: 10000, perMinute: 60000}\njobs: 2\n";

/// Four tasks, each of which leaves its key.
fn diamond(stage: &Stage) -> Graph {
    let key = Stage::leaves_its_key(&stage.outside("trace"));
    let graph = Graph::new("work").task("a", &[], &key).task("b", &["a"], &key).task("c", &["a"], &key);
    graph.task("d", &["b", "c"], &key)
}

/// Executions of one plan, pushed to the remote. Their names come back.
fn publish_work(stage: &Stage, url: &str, graph: &Graph, count: usize) -> Vec<String> {
    let names: Vec<String> = (0..count).map(|number| format!("work-{number}")).collect();
    let mut documents: Vec<Value> = vec![graph.plan(), bindings(&[graph])];
    documents.extend(names.iter().map(|name| execution(name, "work")));
    stage.commit("work.yaml", &yaml(&documents));
    stage.environment.git(&["push", "--quiet", url, "main"]).succeeds();
    names
}

/// A clone for each of so many runners.
fn clones(stage: &Stage, url: &str, count: usize) -> Vec<PathBuf> {
    (0..count).map(|number| stage.clone_to(url, &format!("clone-{number}"))).collect()
}

#[track_caller]
fn check_all_done(stage: &Stage, server: &GitServer, names: &[String], runs: usize) {
    let bare = server.bare();
    for name in names {
        let status = status_in(&bare, name);
        assert_eq!(status.phase, ExecutionPhase::Succeeded, "{name}: {status:?}");
        assert!(status.extensions.lease.is_none(), "{name} is still leased");
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let trace = stage.trace("trace");
    assert_eq!(trace.len(), runs, "{trace:?}");
    check_history(&bare);
    check_trace(&bare, &names, &trace);
}

#[track_caller]
fn check_eight(server: &GitServer, url: &str) {
    let stage = Stage::new(MANY, &[]);
    let names = publish_work(&stage, url, &diamond(&stage), 6);
    let clones = clones(&stage, url, 8);
    let mut runners: Vec<_> = clones.iter().map(|clone| stage.start_in(clone, &[])).collect();
    for runner in &mut runners {
        runner.succeeds();
    }
    // Those that found everything leased are done early; whoever holds a lease finishes what it holds.
    stage.reconcile_to_the_end(&clones[0]);
    check_all_done(&stage, server, &names, 24);
}

#[test]
fn eight_reconcilers_share_the_work_of_a_bare_repository() {
    let server = GitServer::new();
    check_eight(&server, &server.file_url());
}

#[test]
fn eight_reconcilers_share_the_work_over_http() {
    let server = GitServer::over_http();
    check_eight(&server, &server.http_url(Some("tok-write")));
}

#[test]
fn reconcilers_in_one_repository_share_the_work() {
    let stage = Stage::new(MANY, &[]);
    let server = GitServer::new();
    let names = publish_work(&stage, &server.file_url(), &diamond(&stage), 6);
    let mut runners: Vec<_> = (0..4).map(|_| stage.start(&[])).collect();
    for runner in &mut runners {
        runner.succeeds();
    }
    stage.environment.git(&["push", "--quiet", &server.file_url(), STATUS]).succeeds();
    check_all_done(&stage, &server, &names, 24);
}

/// The library that has a program see another time of day.
fn faketime() -> Result<PathBuf, String> {
    let places = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut libraries = places.map(|place| place.path().join("faketime/libfaketimeMT.so.1"));
    libraries
        .find(|library| library.exists())
        .ok_or_else(|| "libfaketime is not installed; install the package libfaketime".to_owned())
}

#[test]
fn runners_whose_clocks_differ_by_less_than_is_allowed_for_start_nothing_twice() {
    let Some(library) = skip::unless_found(faketime()) else { return };
    let server = GitServer::new();
    // A lease looks over to the runner that is ahead some seconds before it is renewed, and its holder has time to be late.
    let config = "lease: {duration: 60s, skew: 50s}\npublish: {burst: 10000, perMinute: 60000}\njobs: 1\n";
    let mut stage = Stage::new(config, &[]);
    let key = format!("{}; sleep 12", Stage::leaves_its_key(&stage.outside("trace")));
    let graph = Graph::new("work").task("a", &[], &key).task("b", &["a"], &key);
    let names = publish_work(&stage, &server.file_url(), &graph, 3);
    let mut runners = Vec::new();
    for (number, ahead) in ["+24s", "+0s", "-24s"].into_iter().enumerate() {
        let clone = stage.clone_to(&server.file_url(), &format!("clone-{number}"));
        stage.environment.set("LD_PRELOAD", library.to_str().unwrap());
        stage.environment.set("FAKETIME", ahead);
        // Time that only counts how long something takes is the same for all machines.
        stage.environment.set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        runners.push(stage.start_in(&clone, &["--watch", "500ms"]));
        for name in ["LD_PRELOAD", "FAKETIME", "FAKETIME_DONT_FAKE_MONOTONIC"] {
            stage.environment.set(name, "");
        }
    }
    let bare = server.bare();
    stage.wait_until("every Execution has ended", || {
        names.iter().all(|name| {
            let record = record_in(&bare, Kind::Execution, name);
            record.is_some_and(|record| record.execution().unwrap().phase.is_terminal())
        })
    });
    for runner in &mut runners {
        runner.signal(rustix::process::Signal::TERM);
        runner.succeeds();
    }
    check_all_done(&stage, &server, &names, names.len() * 2);
}

/// A budget of 8 pushes and then one each second, for all runners together: too little for each of them to publish every claim.
// The work lasts 48 s for one runner, which is longer than any other takes to begin on a busy machine: with 0.2 s a node,
// the first one was done before the last was up.
#[test]
fn runners_on_one_remote_take_turns_with_the_budget_of_pushes() {
    const RUNNERS: usize = 4;
    const BURST: u64 = 8;
    let server = GitServer::new();
    let config = format!("lease: {{duration: 5m}}\npublish: {{burst: {BURST}, perMinute: 60}}\njobs: 1\n");
    let stage = Stage::new(&config, &[]);
    let key = format!("{}; sleep 0.5", Stage::leaves_its_key(&stage.outside("trace")));
    let graph = Graph::new("work").task("a", &[], &key).task("b", &["a"], &key).task("c", &["b"], &key);
    let names = publish_work(&stage, &server.file_url(), &graph, 32);
    let clones = clones(&stage, &server.file_url(), RUNNERS);
    let begun = Instant::now();
    let mut runners: Vec<_> = clones.iter().map(|clone| stage.start_in(clone, &["--watch", "1s"])).collect();
    let bare = server.bare();
    let is_over = |name: &String| {
        let record = record_in(&bare, Kind::Execution, name);
        record.is_some_and(|record| record.execution().unwrap().phase.is_terminal())
    };
    // The budget alone makes this take half a minute, and a busy machine more.
    stage.wait_within(Duration::from_secs(180), "every Execution has ended", || names.iter().all(is_over));
    let seconds = begun.elapsed().as_secs() + 1;
    let count = ["rev-list", "--count", STATUS];
    let pushes: u64 = stage.environment.git_in(&bare, &count).succeeds().stdout.trim().parse().unwrap();
    for runner in &mut runners {
        runner.signal(rustix::process::Signal::TERM);
        runner.succeeds();
    }
    // Each may have pushed once before it had read what the others did.
    assert!(pushes <= BURST + seconds + RUNNERS as u64, "{pushes} pushes in {seconds} s");
    let mut done: BTreeMap<String, usize> = BTreeMap::new();
    for name in &names {
        for node in status_in(&bare, name).node_statuses.values() {
            *done.entry(node.extensions.runner.clone().unwrap()).or_default() += 1;
        }
    }
    // Not how fair the shares are: whoever begins first while tokens are left does more, by an amount that is up to the machine.
    assert!(done.len() > 1, "{done:?}");
    check_all_done(&stage, &server, &names, names.len() * 3);
}

/// As many pushes as there are runners, and then one a minute: who spends one for nothing, or takes too much, keeps others from all
/// work.
#[test]
fn runners_that_begin_together_each_get_a_share_with_their_first_push() {
    const RUNNERS: usize = 8;
    const EXECUTIONS: usize = 64;
    let server = GitServer::new();
    let config = format!("lease: {{duration: 9m}}\npublish: {{burst: {RUNNERS}, perMinute: 1}}\njobs: 1\n");
    let stage = Stage::new(&config, &[]);
    // Nothing ends meanwhile, so that nobody has a reason to push again.
    let graph = Graph::new("work").task("a", &[], "sleep 600").task("b", &["a"], "true");
    let names = publish_work(&stage, &server.file_url(), &graph, EXECUTIONS);
    let clones = clones(&stage, &server.file_url(), RUNNERS);
    let mut runners: Vec<_> = clones.iter().map(|clone| stage.start_in(clone, &["--watch", "1s"])).collect();
    let bare = server.bare();
    let held = || {
        let mut held: BTreeMap<String, usize> = BTreeMap::new();
        for record in names.iter().filter_map(|name| record_in(&bare, Kind::Execution, name)) {
            if let Some(lease) = &record.execution().unwrap().extensions.lease {
                *held.entry(lease.holder.clone()).or_default() += 1;
            }
        }
        held
    };
    stage.wait_until("every runner has a share", || held().len() == RUNNERS);
    let count = stage.environment.git_in(&bare, &["rev-list", "--count", STATUS]).succeeds().stdout;
    let held = held();
    for runner in &mut runners {
        runner.signal(rustix::process::Signal::TERM);
        runner.succeeds();
    }
    assert_eq!(count.trim(), RUNNERS.to_string(), "somebody pushed more than once: {held:?}");
    // The first one sees nobody else, and takes what it can begin; each of the others at most a quarter of what is left.
    assert!(held.values().all(|&held| held <= EXECUTIONS / 4), "{held:?}");
    assert!(held.values().filter(|&&held| held > 1).count() >= RUNNERS - 1, "{held:?}");
}

#[test]
fn a_push_whose_acknowledgement_is_lost_counts_as_done() {
    let server = GitServer::over_http();
    let url = server.http_url(Some("tok-write"));
    let stage = Stage::new(MANY, &[]);
    let names = publish_work(&stage, &url, &diamond(&stage), 1);
    let clone = stage.clone_to(&url, "clone");
    // The first push of all, and one in the middle of the work.
    server.steer("drop-acknowledgement", "");
    let mut runner = stage.start_in(&clone, &[]);
    stage.wait_until("the first task runs", || !stage.trace("trace").is_empty());
    server.steer("drop-acknowledgement", "");
    runner.succeeds();
    assert!(!server.bare().join("drop-acknowledgement").exists(), "nothing was dropped");
    check_all_done(&stage, &server, &names, 4);
}

#[test]
fn a_shallow_clone_goes_on() {
    let server = GitServer::new();
    let stage = Stage::new(MANY, &[]);
    let names = publish_work(&stage, &server.file_url(), &diamond(&stage), 1);
    let clone = stage.clone_to(&server.file_url(), "clone");
    let mut runner = stage.start_in(&clone, &[]);
    stage.wait_until("a task runs", || !stage.trace("trace").is_empty());
    runner.signal(rustix::process::Signal::TERM);
    runner.succeeds();
    // The desired branch has moved on and its past is cut off: what is pinned must still be there.
    stage.commit("other.txt", "");
    stage.commit("other.txt", "more");
    stage.environment.git(&["push", "--quiet", &server.file_url(), "main"]).succeeds();
    let shallow = stage.outside("shallow");
    let arguments = ["clone", "--quiet", "--depth=1", "--no-single-branch", &server.file_url()];
    let target = [shallow.to_str().unwrap()];
    stage.environment.git_in(stage.environment.root(), &[&arguments[..], &target].concat()).succeeds();
    stage.reconcile_to_the_end(&shallow);
    let status = status_in(&server.bare(), &names[0]);
    assert_eq!(status.phase, ExecutionPhase::Succeeded);
    check_history(&server.bare());
}

#[test]
fn a_remote_that_takes_nothing_any_more_ends_the_runner_and_its_tasks() {
    let server = GitServer::new();
    let stage = Stage::new("lease: {duration: 1s}\npublish: {burst: 1000, perMinute: 6000}\n", &[]);
    let script = format!("echo $$ >> '{}'; exec sleep 60", stage.outside("pid").display());
    let graph = Graph::new("long").task("a", &[], &script);
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("long", "long"), bindings(&[&graph])]));
    stage.environment.git(&["push", "--quiet", &server.file_url(), "main"]).succeeds();
    let clone = stage.clone_to(&server.file_url(), "clone");
    let mut runner = stage.start_in(&clone, &[]);
    stage.wait_until("the task runs", || !stage.trace("pid").is_empty());
    server.steer("protected.list", "refs/heads/planspec/status\n");
    assert_eq!(runner.ends().code(), Some(3), "{}", runner.output());
    let pid = &stage.trace("pid")[0];
    assert!(!std::path::Path::new("/proc").join(pid).exists(), "the task outlived its runner");
}
