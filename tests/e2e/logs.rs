//! Following what the work of a node prints while it runs.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use planspec::model::{Kind, NodePhase};
use serde_json::json;

use crate::engine_rig::{Graph, QUICK, Stage, bindings, execution, record_in, yaml};

/// A `planspec logs -f` that runs, and what it has printed. Killed when it is dropped.
struct Follower {
    child: Child,
    output: std::path::PathBuf,
    notes: std::path::PathBuf,
}

impl Follower {
    fn start(stage: &Stage, name: &str, arguments: &[&str]) -> Self {
        let output = stage.outside(name);
        let mut command = stage.environment.planspec_command(&stage.environment.repo());
        command.args(["logs", "-n", "team"]).args(arguments);
        let notes = stage.outside(&format!("{name}-notes"));
        command.stdin(Stdio::null()).stderr(fs::File::create(&notes).unwrap());
        command.stdout(fs::File::create(&output).unwrap());
        Self { child: command.spawn().unwrap(), output, notes }
    }

    fn printed(&self) -> String {
        fs::read_to_string(&self.output).unwrap()
    }

    /// What it has said beside the log.
    fn noted(&self) -> String {
        fs::read_to_string(&self.notes).unwrap()
    }

    /// Waits for its end, which is a success.
    #[track_caller]
    fn ends(mut self) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status}: {}", self.printed());
                return self.printed();
            }
            assert!(Instant::now() < deadline, "it does not end: {}", self.printed());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits in a shell until a file is there.
fn until(stage: &Stage, name: &str) -> String {
    format!("until test -e '{}'; do sleep 0.02; done", stage.outside(name).display())
}

#[test]
fn what_runs_is_followed_from_before_its_start_over_its_attempts_to_its_end() {
    let stage = Stage::new(QUICK, &[]);
    let script = format!(
        "echo \"attempt $PLANSPEC_ATTEMPT begins\"; {}; printf 'no line end'; {}; echo; test $PLANSPEC_ATTEMPT -ge 2",
        until(&stage, "go-$PLANSPEC_ATTEMPT").replace("$PLANSPEC_ATTEMPT'", "'$PLANSPEC_ATTEMPT"),
        until(&stage, "end")
    );
    let graph = Graph::new("work").task("first", &[], &until(&stage, "begin")).task_with(
        "work",
        &["first"],
        &script,
        &json!({ "retries": 3 }),
    );
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("work", "work"), bindings(&[&graph])]));
    let mut runner = stage.start(&[]);
    stage.wait_until("it is recorded", || {
        record_in(&stage.environment.repo(), Kind::Execution, "work").is_some()
    });
    let follower = Follower::start(&stage, "followed", &["work/work", "-f"]);
    let second = Follower::start(&stage, "second", &["work/work", "-f", "--attempt", "2"]);
    stage.wait_until("what is waited for is said", || follower.noted().contains("work is Pending"));
    assert_eq!(follower.printed(), "", "it has not begun");
    fs::write(stage.outside("begin"), "").unwrap();
    stage.wait_until("its first line is shown", || follower.printed() == "attempt 1 begins\n");
    assert_eq!(stage.node("work", "work").phase, NodePhase::Running);
    let first = Follower::start(&stage, "first", &["work/work", "-f", "--attempt", "1"]);
    fs::write(stage.outside("go-1"), "").unwrap();
    stage.wait_until("what has no line end is shown", || follower.printed().ends_with("no line end"));
    fs::write(stage.outside("end"), "").unwrap();
    assert_eq!(first.ends(), "attempt 1 begins\nno line end\n");
    stage.wait_until("the next attempt is shown", || follower.printed().ends_with("attempt 2 begins\n"));
    fs::write(stage.outside("go-2"), "").unwrap();
    runner.succeeds();
    let both = "attempt 1 begins\nno line end\nattempt 2 begins\nno line end\n";
    assert_eq!(follower.ends(), both);
    assert_eq!(second.ends(), "attempt 2 begins\nno line end\n");
    // Of what is over, all is shown at once.
    let over = Follower::start(&stage, "over", &["work/work", "-f"]);
    assert_eq!(over.ends(), "attempt 2 begins\nno line end\n");
    let logs = |arguments: &[&str]| {
        let all: Vec<&str> = ["logs", "work/work"].iter().chain(arguments).copied().collect();
        stage.environment.planspec(&all)
    };
    assert_eq!(logs(&["--attempt", "1"]).succeeds().stdout, "attempt 1 begins\nno line end\n");
    let missing = logs(&["--attempt", "3"]).exits(1);
    assert!(missing.stderr.contains("has no attempt 3"), "{}", missing.stderr);
    logs(&["--attempt", "0"]).exits(2);
}

#[test]
fn where_the_log_is_not_at_hand_the_recorded_end_of_it_is_shown() {
    let stage = Stage::new(QUICK, &[]);
    let graph = Graph::new("work").task("only", &[], &format!("echo said; {}", until(&stage, "end")));
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("work", "work"), bindings(&[&graph])]));
    let mut runner = stage.start(&[]);
    let runs = stage.environment.repo().join(".git/planspec/runs");
    stage.wait_until("it has said something", || {
        let record = record_in(&stage.environment.repo(), Kind::Execution, "work");
        record.is_some_and(|record| runs.join(record.metadata.uid).join("only/1.1/log").exists())
    });
    // As on another machine: the runs are somewhere else.
    let moved = stage.outside("runs");
    fs::rename(&runs, &moved).unwrap();
    let follower = Follower::start(&stage, "followed", &["work/only", "-f"]);
    stage.wait_until("the missing log is explained", || {
        follower.noted().contains("is not on this machine so far")
    });
    assert_eq!(follower.printed(), "");
    fs::write(stage.outside("end"), "").unwrap();
    runner.ends();
    assert_eq!(follower.ends(), "said\n");
}
