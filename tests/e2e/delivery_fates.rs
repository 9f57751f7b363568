//! `merge://` × cancellation, timeout and a clean stop, each in the middle of the merge: what was not merged stays so, and is
//! merged once when somebody takes it up again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use planspec::model::{ExecutionPhase, NodePhase, NodeReason};
use serde_json::json;

use crate::deliveries::{approve, config, git, land, of, with_remote};
use crate::engine_rig::{Graph, Runner, Stage, check_history, status_in};

/// Somebody else who is faster at each push to the branch, as long as the file `racing` is there. Outside of the quarantine of
/// the push, in which Git moves no reference.
const FASTER: &str = r#"#!/bin/sh
[ "$1" = refs/heads/main ] && [ -e racing ] || exit 0
touch begun
sleep 3
unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES
new=$(git -c user.name=other -c user.email=other@localhost commit-tree -p "$2" -m Faster "$2^{tree}")
git update-ref refs/heads/main "$new"
"#;

struct Landing {
    stage: Stage,
    bare: PathBuf,
    clone: PathBuf,
}

impl Landing {
    /// An approved delivery, and a runner in the middle of it.
    fn in_the_middle(graph: &Graph) -> (Self, Runner) {
        let (stage, bare, clone) = with_remote(&config("[main]"), graph);
        stage.reconcile_in(&clone, &[]).succeeds();
        approve(&stage, &clone);
        let hook = bare.join("hooks/update");
        std::fs::write(&hook, FASTER).unwrap();
        std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::write(bare.join("racing"), "").unwrap();
        let runner = stage.start_in(&clone, &[]);
        let begun = bare.join("begun");
        stage.wait_within(Duration::from_secs(60), "the merge has begun", || begun.exists());
        (Self { stage, bare, clone }, runner)
    }

    fn merges(&self) -> usize {
        let listed =
            git(&self.stage, &self.bare, &["log", "--grep", "Planspec-Node: land", "--format=%H", "main"]);
        listed.lines().count()
    }

    #[track_caller]
    fn check_not_merged(&self, phase: NodePhase, reason: NodeReason, whole: ExecutionPhase) {
        let status = status_in(&self.bare, "ship");
        let land = of(&status, "land");
        assert_eq!(
            (land.phase, land.extensions.reason, status.phase),
            (phase, Some(reason), whole),
            "{land:#?}"
        );
        assert_eq!(self.merges(), 0);
        check_history(&self.bare);
    }

    fn again(&self, directory: &Path) {
        std::fs::remove_file(self.bare.join("racing")).unwrap();
        self.stage.reconcile_to_the_end(directory);
    }
}

#[test]
fn a_merge_that_is_cancelled_leaves_the_branch_as_it_was() {
    let (landing, mut runner) = Landing::in_the_middle(&land("merge://main"));
    let cancel = ["cancel", "ship", "-n", "team"];
    landing.stage.environment.planspec_in(&landing.clone, &cancel).succeeds();
    runner.ends();
    landing.again(&landing.clone);
    landing.check_not_merged(NodePhase::Cancelled, NodeReason::CancelRequested, ExecutionPhase::Cancelled);
}

#[test]
fn a_merge_that_takes_too_long_fails_and_leaves_the_branch_as_it_was() {
    let graph = land("merge://main").field("timeout", json!("2s"));
    let (landing, mut runner) = Landing::in_the_middle(&graph);
    runner.ends();
    landing.check_not_merged(NodePhase::Failed, NodeReason::Timeout, ExecutionPhase::Failed);
    let message = of(&status_in(&landing.bare, "ship"), "land").message;
    assert!(message.contains("took longer than 2s; the branch is as it was"), "{message}");
}

#[test]
fn a_merge_whose_runner_was_asked_to_leave_is_made_by_the_next_and_once() {
    let (landing, mut runner) = Landing::in_the_middle(&land("merge://main"));
    runner.signal(rustix::process::Signal::TERM);
    runner.ends();
    assert_eq!(landing.merges(), 0);
    let status = status_in(&landing.bare, "ship");
    assert!(status.extensions.lease.is_none(), "given back, so that the next runner waits for nothing");
    landing.again(&landing.clone);
    let status = status_in(&landing.bare, "ship");
    assert_eq!((status.phase, landing.merges()), (ExecutionPhase::Succeeded, 1), "{status:#?}");
    check_history(&landing.bare);
}
