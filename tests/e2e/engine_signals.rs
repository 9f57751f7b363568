//! Stopping: by a signal, by a second one, and because the time is up; whoever comes next finds everything in order.
//! And going on: `--watch`.

use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use planspec::model::{ExecutionPhase, NodePhase};
use rustix::process::Signal;

use crate::engine_rig::{Graph, QUICK, Stage, bindings, check_history, check_trace, execution, yaml};

/// Two parallel tasks with a child each, long at their first attempt, and one after them.
fn stage() -> Stage {
    let stage = Stage::new(&format!("{QUICK}jobs: 2\n"), &[]);
    let key = Stage::leaves_its_key(&stage.outside("trace"));
    let script = format!(
        "{key}; test $PLANSPEC_ATTEMPT -gt 1 || {{ sleep 60 & echo $! >> '{}'; wait; }}",
        stage.outside("children").display()
    );
    let graph =
        Graph::new("long").task("a", &[], &script).task("b", &[], &script).task("c", &["a", "b"], &key);
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("long", "long"), bindings(&[&graph])]));
    stage
}

fn lives(pid: &str) -> bool {
    // A zombie that nobody reaps, as in a container without init, is dead all the same.
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[track_caller]
fn check_stopped(stage: &Stage) {
    let children = stage.trace("children");
    assert_eq!(children.len(), 2);
    stage.wait_until("the children are gone", || !children.iter().any(|pid| lives(pid)));
}

#[track_caller]
fn check_resumes(stage: &Stage) {
    let status = stage.status("long");
    assert_eq!(status.extensions.lease, None);
    for id in ["a", "b"] {
        let node = stage.node("long", id);
        assert_eq!((node.phase, node.attempt, node.extensions.failures), (NodePhase::Pending, 1, 0), "{id}");
    }
    stage.reconcile(&[]).succeeds();
    let status = stage.status("long");
    assert_eq!(status.phase, ExecutionPhase::Succeeded);
    assert_eq!(status.extensions.last_token, 2);
    assert_eq!(stage.trace("trace").len(), 5);
    check_history(&stage.environment.repo());
    check_trace(&stage.environment.repo(), &["long"], &stage.trace("trace"));
}

#[track_caller]
fn check_signal(signal: Signal) {
    let stage = stage();
    let mut runner = stage.start(&[]);
    stage.wait_until("both run", || stage.trace("children").len() == 2);
    runner.signal(signal);
    runner.succeeds();
    check_stopped(&stage);
    check_resumes(&stage);
}

#[test]
fn an_interrupt_leaves_a_clean_state() {
    check_signal(Signal::INT);
}

#[test]
fn a_termination_leaves_a_clean_state() {
    check_signal(Signal::TERM);
}

#[test]
fn a_hangup_leaves_a_clean_state() {
    check_signal(Signal::HUP);
}

#[test]
fn the_end_of_the_allowed_time_leaves_a_clean_state() {
    let stage = stage();
    let begun = Instant::now();
    let mut runner = stage.start(&["--max-duration", "2s"]);
    runner.succeeds();
    assert!(begun.elapsed() < Duration::from_secs(20));
    check_stopped(&stage);
    check_resumes(&stage);
}

#[test]
fn nothing_is_started_when_the_allowed_time_is_nearly_over() {
    let stage = Stage::new(&format!("{QUICK}jobs: 1\n"), &[]);
    let key = Stage::leaves_its_key(&stage.outside("trace"));
    let mut graph = Graph::new("many");
    for number in 0..40 {
        graph = graph.task(&format!("n{number}"), &[], &format!("{key}; sleep 0.1"));
    }
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("many", "many"), bindings(&[&graph])]));
    stage.start(&["--max-duration", "2s"]).succeeds();
    let status = stage.status("many");
    assert_eq!(status.extensions.lease, None, "{:?}", status.phase);
    assert!(!status.phase.is_terminal());
    assert!(status.node_statuses.values().all(|node| node.phase != NodePhase::Running));
    check_trace(&stage.environment.repo(), &["many"], &stage.trace("trace"));
}

#[test]
fn a_second_signal_kills() {
    let stage = Stage::new(QUICK, &[]);
    let script = format!(
        "trap '' TERM; echo $$ >> '{}'; sleep 60 & wait; sleep 60",
        stage.outside("children").display()
    );
    let graph = Graph::new("stubborn").task("a", &[], &script);
    let text = yaml(&[graph.plan(), execution("stubborn", "stubborn"), bindings(&[&graph])]);
    stage.commit("work.yaml", &text.replace("500ms", "30s"));
    let mut runner = stage.start(&[]);
    stage.wait_until("it runs", || stage.trace("children").len() == 1);
    runner.signal(Signal::INT);
    std::thread::sleep(Duration::from_millis(300));
    assert!(runner.child.try_wait().unwrap().is_none(), "it waits for the task");
    runner.signal(Signal::INT);
    assert_eq!(runner.ends().code(), Some(130));
    let pid = stage.trace("children")[0].clone();
    stage.wait_until("the task is gone", || !lives(&pid));
}

/// Starts a command on a remote that takes connections and never answers, and ends it by a signal.
#[track_caller]
fn check_ended_with_its_git(arguments: &[&str], signal: Signal) {
    let stage = Stage::new(QUICK, &[]);
    let hole = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/hole.git", hole.local_addr().unwrap());
    stage.environment.git(&["remote", "add", "origin", &url]).succeeds();
    let mut command = stage.environment.planspec_command(&stage.environment.repo());
    let mut child = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let (mut connection, _) = hole.accept().unwrap();
    let began = Instant::now();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(128 + signal.as_raw()), "{arguments:?}");
    // Git itself would hold the connection for two minutes.
    connection.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut request = Vec::new();
    connection.read_to_end(&mut request).expect("git is gone, and its connection with it");
    assert!(began.elapsed() < Duration::from_secs(30), "{arguments:?}");
}

#[test]
fn before_anything_runs_a_signal_ends_the_process_and_its_git_at_once() {
    check_ended_with_its_git(&["reconcile"], Signal::TERM);
    check_ended_with_its_git(&["reconcile", "--watch", "1s"], Signal::INT);
    check_ended_with_its_git(&["status"], Signal::HUP);
    check_ended_with_its_git(&["retry", "execution/x"], Signal::TERM);
}

#[test]
fn watching_picks_up_new_commits() {
    let stage = Stage::new(QUICK, &[]);
    let key = Stage::leaves_its_key(&stage.outside("trace"));
    let graph = Graph::new("work").task("a", &[], &key);
    stage.commit("work.yaml", &yaml(&[graph.plan(), bindings(&[&graph])]));
    let mut runner = stage.start(&["--watch", "100ms"]);
    for name in ["one", "two"] {
        stage.commit(&format!("{name}.yaml"), &yaml(&[execution(name, "work")]));
        stage.wait_until("it is over", || {
            crate::engine_rig::record_in(&stage.environment.repo(), planspec::model::Kind::Execution, name)
                .is_some_and(|record| record.execution().unwrap().phase == ExecutionPhase::Succeeded)
        });
    }
    assert!(runner.child.try_wait().unwrap().is_none(), "it goes on");
    runner.signal(Signal::TERM);
    runner.succeeds();
    assert_eq!(stage.trace("trace").len(), 2);
}

#[test]
fn a_runner_that_stays_packs_what_it_wrote() {
    let stage = Stage::new(QUICK, &[]);
    let mut graph = Graph::new("chain").task("n00", &[], "true");
    for number in 1..30 {
        graph = graph.task(&format!("n{number:02}"), &[&format!("n{:02}", number - 1)], "true");
    }
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("chain", "chain"), bindings(&[&graph])]));
    let repo = stage.environment.repo();
    // Git estimates the number of loose objects from one of its 256 folders.
    std::fs::create_dir(stage.outside("loose")).unwrap();
    let paths: Vec<String> = (0..1500)
        .map(|number| {
            let path = stage.outside("loose").join(number.to_string());
            std::fs::write(&path, number.to_string()).unwrap();
            path.display().to_string()
        })
        .collect();
    for some in paths.chunks(500) {
        let mut arguments = vec!["hash-object", "-w"];
        arguments.extend(some.iter().map(String::as_str));
        stage.environment.git(&arguments).succeeds();
    }
    let packs = || {
        let entries = std::fs::read_dir(repo.join(".git/objects/pack")).unwrap();
        entries
            .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "pack"))
            .count()
    };
    assert_eq!(packs(), 0);
    stage.environment.git(&["config", "gc.auto", "1"]).succeeds();
    let mut runner = stage.start(&["--watch", "100ms"]);
    stage.wait_until("it packs", || packs() > 0);
    assert!(runner.child.try_wait().unwrap().is_none(), "it goes on");
    runner.signal(Signal::TERM);
    runner.ends();
    stage.reconcile_to_the_end(&repo);
    assert_eq!(stage.status("chain").phase, ExecutionPhase::Succeeded);
    check_history(&repo);
}

#[test]
fn no_more_than_the_allowed_jobs_run_at_once() {
    let stage = Stage::new(QUICK, &[]);
    let running = stage.outside("running");
    std::fs::create_dir(&running).unwrap();
    let script = format!(
        "touch '{0}'/$PLANSPEC_NODE; ls '{0}' | wc -l >> '{1}'; sleep 0.05; rm '{0}'/$PLANSPEC_NODE",
        running.display(),
        stage.outside("counts").display()
    );
    let mut graph = Graph::new("wide");
    for number in 0..12 {
        graph = graph.task(&format!("n{number}"), &[], &script);
    }
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("wide", "wide"), bindings(&[&graph])]));
    stage.reconcile(&["--jobs", "3"]).succeeds();
    let counts: Vec<u32> = stage.trace("counts").iter().map(|line| line.trim().parse().unwrap()).collect();
    assert_eq!(counts.len(), 12);
    assert_eq!(counts.iter().max(), Some(&3), "{counts:?}");
}
