//! A status branch that goes back is refused by every clone that saw the newer tip, until somebody takes it as it is.

use std::fs;
use std::process::Command;

use planspec::model::ExecutionPhase;

use crate::engine_rig::{Graph, QUICK, STATUS, Stage, bindings, execution, yaml};
use crate::git_server::GitServer;

/// Two Executions that ended one after the other, each in commits of its own.
fn done() -> Stage {
    let stage = Stage::new(QUICK, &[]);
    let graph = Graph::new("work").task("a", &[], &Stage::leaves_its_key(&stage.outside("trace")));
    stage.commit("work.yaml", &yaml(&[graph.plan(), bindings(&[&graph]), execution("first", "work")]));
    stage.reconcile(&[]).succeeds();
    stage.environment.git(&["branch", "--quiet", "before", STATUS]).succeeds();
    stage.commit("second.yaml", &yaml(&[execution("second", "work")]));
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.trace("trace").len(), 2);
    stage
}

/// The branch is refused with what would run again, and taken when somebody says so; no attempt has the name of an earlier one.
#[track_caller]
fn check_refused(stage: &Stage, again: &str, lost: usize) {
    let tip = stage.environment.git(&["rev-parse", "--verify", "--quiet", STATUS]).stdout;
    for command in [&["reconcile"][..], &["suspend", "first", "-n", "team"][..]] {
        let refused = stage.environment.planspec(command).exits(3);
        assert!(refused.stderr.contains("the status branch `planspec/status` went back"), "{refused:?}");
        assert!(!refused.stderr.contains("nothing does not follow"), "{refused:?}");
        assert!(refused.stderr.contains(again), "{refused:?}");
        assert!(refused.stderr.contains("--accept-status-history"), "{refused:?}");
        assert!(refused.stderr.contains("in a workflow: merge `accept-status-history: true`"), "{refused:?}");
    }
    assert_eq!(stage.environment.git(&["rev-parse", "--verify", "--quiet", STATUS]).stdout, tip);
    assert_eq!(stage.trace("trace").len(), 2);
    stage.reconcile(&["--accept-status-history"]).succeeds();
    let log = stage.environment.git_output(&["log", "--format=%B", STATUS]);
    assert!(log.contains("HistoryAccepted") && log.contains("wendy@example.com"), "{log}");
    stage.reconcile(&[]).succeeds();
    for name in ["first", "second"] {
        assert_eq!(stage.status(name).phase, ExecutionPhase::Succeeded, "{name}");
    }
    let mut trace = stage.trace("trace");
    assert_eq!(trace.len(), 2 + lost, "{trace:?}");
    trace.sort();
    trace.dedup();
    assert_eq!(trace.len(), 2 + lost, "an attempt has the name of an earlier one");
}

#[test]
fn a_status_branch_that_was_rewound_is_refused() {
    let stage = done();
    stage.environment.git(&["update-ref", "refs/heads/planspec/status", "before"]).succeeds();
    check_refused(&stage, "would run again: team/second", 1);
}

#[test]
fn a_status_branch_that_was_deleted_is_refused() {
    let stage = done();
    stage.environment.git(&["update-ref", "-d", "refs/heads/planspec/status"]).succeeds();
    check_refused(&stage, "would run again: team/first, team/second", 2);
}

#[test]
fn a_status_branch_that_was_forked_is_refused() {
    let stage = done();
    let tree = stage.environment.git_output(&["rev-parse", "before^{tree}"]);
    let fork = stage.environment.git_output(&["commit-tree", &tree, "-p", "before", "-m", "Fork"]);
    stage.environment.git(&["update-ref", "refs/heads/planspec/status", &fork]).succeeds();
    check_refused(&stage, "would run again: team/second", 1);
}

/// Makes a commit on top of another one whose tree cannot be read to its end, as one that unfolds to millions of paths cannot.
fn unreadable(stage: &Stage, below: &[&str]) -> String {
    let git = |arguments: &[&str]| stage.environment.git_output(arguments);
    let file = stage.outside("broken");
    fs::write(&file, b"40000 x\0short").unwrap();
    let broken = git(&["hash-object", "-t", "tree", "-w", "--literally", file.to_str().unwrap()]);
    let listing = stage.outside("listing");
    fs::write(&listing, format!("{}\n040000 tree {broken}\tevil\n", git(&["ls-tree", below[0]]))).unwrap();
    let script = format!("git mktree --missing < '{}'", listing.display());
    let made =
        Command::new("sh").args(["-c", &script]).current_dir(stage.environment.repo()).output().unwrap();
    let tree = String::from_utf8(made.stdout).unwrap();
    let parents = below.iter().flat_map(|parent| ["-p", *parent]);
    let arguments: Vec<&str> =
        ["commit-tree", tree.trim(), "-m", "Break"].into_iter().chain(parents).collect();
    git(&arguments)
}

#[test]
fn a_tip_that_nobody_can_read_is_in_the_way_only_while_it_is_there_and_hides_nothing() {
    let stage = done();
    let point =
        |to: &str| stage.environment.git(&["update-ref", "refs/heads/planspec/status", to]).succeeds();
    let good = stage.environment.git_output(&["rev-parse", STATUS]);
    let bad = unreadable(&stage, &[&good]);
    point(&bad);
    let refused = stage.environment.planspec(&["reconcile"]).exits(3);
    assert!(refused.stderr.contains("is broken"), "{refused:?}");
    assert!(refused.stderr.contains("put that branch back to the commit before"), "{refused:?}");
    point(&good);
    stage.reconcile(&[]).succeeds();
    // Once more, and then further back than what stood below it.
    point(&bad);
    stage.environment.planspec(&["reconcile"]).exits(3);
    point("before");
    let refused = |why: &str| {
        let refused = stage.environment.planspec(&["reconcile"]).exits(3);
        assert!(refused.stderr.contains(why), "{refused:?}");
    };
    refused("would run again: team/second");
    // Nor does another parent hide it.
    point(&good);
    stage.reconcile(&[]).succeeds();
    point(&unreadable(&stage, &["before", &good]));
    refused("is broken");
    point("before");
    refused("what it held cannot be read any more");
    point(&good);
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.trace("trace").len(), 2);
}

#[test]
fn what_gc_made_is_recognised_by_its_content() {
    let server = GitServer::new();
    let stage = done();
    for branch in ["main", STATUS] {
        stage.environment.git(&["push", "--quiet", &server.file_url(), branch]).succeeds();
    }
    let [seen, other] = ["seen", "other"].map(|name| stage.clone_to(&server.file_url(), name));
    stage.reconcile_in(&seen, &[]).succeeds();
    // Times of commits are whole seconds. The commit in which the first `gc` shrinks the records may fall into the second after
    // its cutoff, and is then left for the next.
    for _ in 0..2 {
        stage.environment.planspec_in(&other, &["gc", "--older-than", "0s"]).succeeds();
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
    let count = stage.environment.git_in(&server.bare(), &["rev-list", "--count", STATUS]).succeeds().stdout;
    assert_eq!(count.trim(), "1", "it was not squashed");
    stage.reconcile_in(&seen, &[]).succeeds();
    // Deleted on the remote, it is refused by the one that saw it, and taken by one that saw nothing.
    stage.environment.git_in(&server.bare(), &["update-ref", "-d", "refs/heads/planspec/status"]).succeeds();
    let refused = stage.reconcile_in(&seen, &[]).exits(3);
    assert!(refused.stderr.contains("would run again: team/first, team/second"), "{refused:?}");
    assert_eq!(stage.trace("trace").len(), 2);
}
