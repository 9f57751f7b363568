//! How processes end: by themselves, at a deadline, on request, and with everything they started.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Bench, bench, shell};
use crate::model::NodeReason;
use crate::provider::{AttemptOutcome, Control, Heed, Registry, Stop};

/// Runs and says how long it took.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let result = work();
    (result, started.elapsed())
}

/// Whether a process is still there; zombies do not count.
fn is_alive(pid: &str) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn check_gone(pid: &str) {
    let until = Instant::now() + Duration::from_secs(5);
    while is_alive(pid) {
        assert!(Instant::now() < until, "process {pid} lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a command wrote to a file of the checkout.
fn noted(bench: &Bench, name: &str) -> String {
    std::fs::read_to_string(bench.checkout().join(name)).unwrap().trim().to_owned()
}

#[test]
fn a_process_that_hangs_is_ended_at_its_deadline() {
    let mut bench = bench(json!({"command": "sleep", "args": ["600"]}));
    bench.attempt.timeout = Some(Duration::from_millis(100));
    let ((report, message), took) = timed(|| bench.fail(NodeReason::Timeout));
    assert_eq!((message.as_str(), report.evidence.exit_code), ("took longer than 100ms", None));
    assert!(took < Duration::from_secs(5), "TERM was enough: {took:?}");
}

#[test]
fn term_comes_first_and_leaves_time_to_tidy_up() {
    let mut bench = shell("trap 'echo tidied; exit 0' TERM; echo $$ > pid; sleep 600 & wait");
    bench.attempt.config.insert("grace".to_owned(), json!("60s"));
    bench.attempt.timeout = Some(Duration::from_millis(300));
    let ((report, _), took) = timed(|| bench.fail(NodeReason::Timeout));
    assert_eq!(report.evidence.log.unwrap().tail, "tidied");
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn a_process_that_ignores_term_is_killed_with_its_children() {
    let mut bench =
        shell("trap '' TERM; sleep 600 & echo $! > child; echo $$ > pid; while :; do sleep 600; done");
    bench.attempt.timeout = Some(Duration::from_millis(300));
    let (_, took) = timed(|| bench.fail(NodeReason::Timeout));
    assert!(took >= Duration::from_millis(500) && took < Duration::from_secs(20), "{took:?}");
    check_gone(&noted(&bench, "pid"));
    check_gone(&noted(&bench, "child"));
}

#[test]
fn children_left_behind_are_killed_and_do_not_delay_the_result() {
    let mut bench = shell("sleep 600 & echo $! > child; echo done");
    let ((report, _), took) = timed(|| bench.succeed());
    assert_eq!(report.evidence.log.unwrap().tail, "done");
    assert!(took < Duration::from_secs(20), "{took:?}");
    check_gone(&noted(&bench, "child"));
}

#[test]
fn a_child_that_left_the_group_and_holds_the_output_open_does_not_hang_us() {
    let mut bench = shell(
        "python3 -c 'import os, time; os.setsid(); print(os.getpid(), file=open(\"child\", \"w\")); time.sleep(600)' & \
         while [ ! -s child ]; do sleep 0.01; done; echo done",
    );
    let ((report, _), took) = timed(|| bench.succeed());
    assert_eq!(report.evidence.log.unwrap().tail, "done");
    assert!(took < Duration::from_secs(20), "{took:?}");
    let child = noted(&bench, "child").parse().unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(child).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
}

#[test]
fn a_process_that_closes_its_output_is_still_waited_for() {
    let mut bench = shell("exec >&- 2>&-; sleep 0.2; echo 1 > finished");
    bench.succeed();
    assert_eq!(noted(&bench, "finished"), "1");
}

fn check_stop(stop: Stop) {
    let mut bench = bench(json!({"command": "sleep 600 & sleep 600", "grace": "200ms"}));
    bench.attempt.declared_outputs = vec!["never".to_owned()];
    let sender = bench.stop.clone();
    let asker = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        sender.send_replace(Some(stop));
    });
    let (report, took) = timed(|| bench.run());
    asker.join().unwrap();
    assert_eq!(report.outcome, AttemptOutcome::Stopped(stop));
    assert!(took >= Duration::from_millis(100) && took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn an_attempt_is_stopped_on_request() {
    check_stop(Stop::Cancel);
    check_stop(Stop::Shutdown);
}

#[test]
fn an_attempt_on_a_thread_of_its_own_asks_whether_to_stop() {
    let bench = shell("echo begun; sleep 600");
    let registry = Registry::standard(bench.settings.clone());
    let asked = bench.stop.subscribe();
    let heed: Heed = Arc::new(move || *asked.borrow());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (output, mut lines) = tokio::sync::mpsc::channel(1);
    let control = Control { stop: bench.stop.subscribe(), output, heed: Some(heed) };
    let running = registry.find("tool://test").unwrap().run(bench.attempt.clone(), control);
    let handle = runtime.handle().clone();
    let thread = runtime.spawn_blocking(move || handle.block_on(running));
    assert_eq!(lines.blocking_recv().as_deref(), Some("begun"));
    bench.stop.send_replace(Some(Stop::Cancel));
    let (report, took) = timed(|| runtime.block_on(thread).unwrap());
    assert_eq!(report.outcome, AttemptOutcome::Stopped(Stop::Cancel));
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn nothing_starts_after_a_request_to_stop() {
    let mut bench = shell("touch started");
    bench.stop.send_replace(Some(Stop::Cancel));
    assert_eq!(bench.run().outcome, AttemptOutcome::Stopped(Stop::Cancel));
    assert!(!bench.checkout().join("started").exists());
}

#[test]
fn dropping_the_future_ends_the_process() {
    let bench = shell("echo $$ > pid.new; mv pid.new pid; sleep 600");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let registry = Registry::standard(bench.settings.clone());
        let (output, _lines) = tokio::sync::mpsc::channel(1);
        let control = Control { stop: bench.stop.subscribe(), output, heed: None };
        let running = registry.find("tool://test").unwrap().run(bench.attempt.clone(), control);
        let pid = bench.checkout().join("pid");
        tokio::select! {
            _ = running => panic!("it ended by itself"),
            () = async { while !pid.exists() { tokio::time::sleep(Duration::from_millis(5)).await } } => {}
        }
    });
    let (_, took) = timed(|| drop(runtime));
    assert!(took < Duration::from_secs(20), "{took:?}");
    check_gone(&noted(&bench, "pid"));
}

#[test]
fn a_flood_is_cut_counted_and_does_no_harm() {
    // 80 MiB: beyond what the log takes.
    let mut bench = shell("yes 0123456789abcde | head -c 83886080; echo; echo the end");
    let (report, _) = bench.succeed();
    let log = report.evidence.log.unwrap();
    assert_eq!(log.size, 83_886_080 + 9);
    assert!(log.tail.ends_with("0123456789abcde\n\nthe end") && log.tail.len() <= 4096, "{}", log.tail.len());
    let file = std::fs::read(bench.run_dir().join("log")).unwrap();
    assert!(file.ends_with(b"\n[planspec: the log is cut here, at 67108864 bytes]\n"));
    assert!(file.len() < (64 << 20) + 100);
    assert_eq!(bench.lines.len(), 1_000, "no more than the channel has room for");
}

#[test]
fn a_program_that_is_still_open_for_writing_is_waited_for() {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut bench = bench(json!({"command": "./program"}));
    let mut file = std::fs::OpenOptions::new();
    let mut open = file.write(true).create(true).mode(0o755).open(bench.checkout().join("program")).unwrap();
    std::io::Write::write_all(&mut open, b"#!/bin/sh\ntrue\n").unwrap();
    let closing = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(150));
        drop(open);
    });
    bench.succeed();
    closing.join().unwrap();
}

#[test]
fn the_time_of_an_attempt_covers_reading_what_it_leaves() {
    // A terabyte that takes no room on the disk.
    let mut bench = shell("truncate -s 1T \"$PLANSPEC_ARTIFACTS/huge\"");
    bench.attempt.timeout = Some(Duration::from_millis(500));
    let ((report, message), took) = timed(|| bench.fail(NodeReason::Timeout));
    assert_eq!((message.as_str(), report.evidence.exit_code), ("took longer than 500ms", Some(0)));
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_pipe_among_the_artifacts_holds_nobody_up() {
    let mut bench = shell("mkfifo \"$PLANSPEC_ARTIFACTS/pipe\" pipe");
    bench.attempt.timeout = Some(Duration::from_secs(30));
    let criterion = json!([{ "name": "c", "type": "artifact_exists", "path": "pipe", "contentMatch": "x" }]);
    bench.attempt.criteria = serde_json::from_value(criterion).unwrap();
    let ((_, message), took) = timed(|| bench.fail(NodeReason::CriterionFailed));
    assert!(message.contains("not a regular file"), "{message}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}
