//! Every way in by which people decide, against everything that must not be decided: one that asks less than the others is a way
//! around them. What only stops work, or lets it run again, may be said of a record that somebody forged: nothing starts before the
//! pin is checked.

use planspec::model::NodePhase;
use serde_json::{Value, json};

use crate::engine_rig::{Graph, QUICK, Stage, bindings, execution, yaml};
use crate::environment::Outcome;
use crate::pins::{edit, forge};

const IDENTITIES: &str = "
identities:
  rosa: {emails: [rosa@example.com]}
  mallory: {emails: [mallory@example.com]}
";

/// A command about the Execution `run`, and what is expected of it.
struct EntryPoint {
    command: &'static [&'static str],
    /// Where the record is pinned to what was not merged.
    unmerged: Expected,
    /// Where the Execution has ended.
    ended: Expected,
    /// Of somebody who is no reviewer.
    other: Expected,
}

/// What comes of a command.
enum Expected {
    /// It is refused, with these words.
    Refused(&'static str),
    /// It is recorded; it lets nothing pass.
    Recorded,
    /// It changes nothing, with these words.
    Nothing(&'static str),
}

use Expected::{Nothing, Recorded, Refused};

const NOT_MERGED: Expected = Refused("is not what was merged: ");

fn entry_points() -> Vec<EntryPoint> {
    let gate = |command| EntryPoint {
        command,
        unmerged: NOT_MERGED,
        ended: Refused("is not running, or has no gate `ok` ahead"),
        other: Refused("mallory is not a reviewer"),
    };
    let node =
        |command, ended| EntryPoint { command, unmerged: NOT_MERGED, ended: Refused(ended), other: Recorded };
    let whole = |command, ended, other| EntryPoint { command, unmerged: Recorded, ended, other };
    vec![
        gate(&["approve", "gate/ok", "--execution", "run"]),
        // It stops work, whatever was shown.
        EntryPoint { unmerged: Recorded, ..gate(&["reject", "gate/ok", "--execution", "run"]) },
        node(&["complete", "run/tell"], "node `tell` is already Succeeded"),
        node(&["fail", "run/tell"], "node `tell` is already Succeeded"),
        EntryPoint {
            other: Refused("has no open question"),
            ..node(&["answer", "run/tell", "yes"], "has no open question")
        },
        whole(&["suspend", "run"], Refused("is already Succeeded"), Recorded),
        whole(&["cancel", "run"], Refused("is already Succeeded"), Recorded),
        whole(&["retry", "run", "--from", "tell"], Recorded, Recorded),
        EntryPoint {
            unmerged: Nothing("is not suspended"),
            ..whole(&["resume", "run"], Nothing("is not suspended"), Nothing("is not suspended"))
        },
        EntryPoint {
            unmerged: Nothing("is not locked"),
            ..whole(&["unlock", "run"], Nothing("is not locked"), Nothing("is not locked"))
        },
        EntryPoint {
            // It takes what was merged in place of what was not.
            unmerged: Recorded,
            ..whole(&["accept-pin", "run"], Refused("is already Succeeded"), Nothing("nothing to accept"))
        },
    ]
}

/// A person's task and a gate side by side, and behind the gate a task that leaves a trace.
fn stage() -> Stage {
    let stage = Stage::new(&format!("{QUICK}{IDENTITIES}"), &[]);
    let key = Stage::leaves_its_key(&stage.outside("trace"));
    let graph = Graph::new("work")
        .provided("tell", &[], "human://rosa", &json!({}))
        .node(json!({ "id": "look", "kind": "Gate", "gateRef": { "name": "ok" } }))
        .task("ship", &["look"], &key);
    let gate = crate::engine_rig::document(
        "Gate",
        "ok",
        &json!({ "gateType": "approval", "targetRef": { "kind": "Plan", "name": "work" }, "reviewers": ["rosa"] }),
    );
    stage.commit("work.yaml", &yaml(&[graph.plan(), gate, execution("run", "work"), bindings(&[&graph])]));
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.node("run", "look").phase, NodePhase::Blocked);
    stage
}

fn by(stage: &Stage, who: &str, command: &[&str]) -> Outcome {
    let all: Vec<&str> = command.iter().chain(&["-n", "team"]).copied().collect();
    let mut process = stage.environment.planspec_command(&stage.environment.repo());
    process.args(all);
    for name in ["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"] {
        process.env(name, format!("{who}@example.com"));
    }
    let output = process.output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Outcome {
        code: output.status.code().unwrap(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// Tries each of them on the same state, which is put back in between; `after` looks at what became of it.
#[track_caller]
fn check(
    stage: &Stage,
    who: &str,
    which: impl Fn(&EntryPoint) -> &Expected,
    after: impl Fn(&Stage, &[&str]),
) {
    let tip = stage.status_tip();
    for entry in entry_points() {
        let outcome = by(stage, who, entry.command);
        let said = format!("{:?} by {who}: {outcome:?}", entry.command);
        let moved = stage.status_tip() != tip;
        match which(&entry) {
            Refused(why) => {
                assert!(outcome.code == 1 && outcome.stderr.contains(why) && !moved, "{said}");
            }
            Recorded => assert!(outcome.code == 0 && moved, "{said}"),
            Nothing(why) => {
                assert!(outcome.code == 0 && outcome.stdout.contains(why) && !moved, "{said}");
            }
        }
        if moved {
            after(stage, entry.command);
            // As a clone that has never seen what came of it: going back is refused otherwise.
            stage.environment.git(&["update-ref", "refs/heads/planspec/status", &tip]).succeeds();
            let _ = std::fs::remove_dir_all(stage.environment.repo().join(".git/planspec"));
        }
    }
}

/// Nothing behind the gate runs, whatever was recorded.
fn nothing_runs(stage: &Stage, command: &[&str]) {
    stage.reconcile(&[]);
    assert_eq!(stage.trace("trace"), [""; 0], "{command:?} let it run");
}

#[test]
fn nobody_decides_for_good_about_what_was_not_merged() {
    // A commit of a branch, and one of a fork, which a host keeps under such a reference.
    for reference in ["refs/heads/evil", "refs/pull/9/head"] {
        let stage = stage();
        let git = |arguments: &[&str]| stage.environment.git(arguments).succeeds();
        git(&["checkout", "--quiet", "--detach"]);
        stage.commit("job.sh", "echo evil\n");
        let evil = stage.environment.git_output(&["rev-parse", "HEAD"]);
        git(&["update-ref", reference, &evil]);
        git(&["checkout", "--quiet", "main"]);
        forge(&stage, |tree| {
            edit(tree, |record| record["status"]["extensions"]["pinned"]["commit"] = json!(evil));
        });
        check(&stage, "rosa", |entry| &entry.unmerged, nothing_runs);
    }
}

#[test]
fn nobody_decides_about_what_has_ended() {
    let stage = stage();
    by(&stage, "rosa", &["complete", "run/tell"]).succeeds();
    by(&stage, "rosa", &["approve", "gate/ok"]).succeeds();
    stage.reconcile(&[]).succeeds();
    let trace = stage.trace("trace");
    assert_eq!(trace.len(), 1);
    check(
        &stage,
        "rosa",
        |entry| &entry.ended,
        |stage, command| {
            stage.reconcile(&[]).succeeds();
            // A retry asks the person again, and nothing else: the gate was not before that node.
            assert_eq!(stage.trace("trace"), trace, "{command:?}");
        },
    );
}

/// Whoever may push the status branch ends work and does what a person was asked for: nobody verifies names there. A Gate with
/// reviewers asks for these.
#[test]
fn somebody_who_is_no_reviewer_lets_nothing_pass() {
    let stage = stage();
    check(&stage, "mallory", |entry| &entry.other, nothing_runs);
}

/// A gate that is not passed holds back what is behind it also from whoever says that it is done.
#[test]
fn nothing_behind_a_gate_is_done_by_hand() {
    let stage = stage();
    for command in [&["complete", "run/ship"][..], &["complete", "run/look"]] {
        let outcome = by(&stage, "rosa", command).exits(1);
        assert!(
            outcome.stderr.contains("waits for other nodes") || outcome.stderr.contains("is a gate"),
            "{outcome:?}"
        );
    }
    // A record that says that it waits for something else.
    forge(&stage, |tree| {
        edit(tree, |record: &mut Value| {
            record["status"]["nodeStatuses"]["ship"] =
                json!({ "phase": "Blocked", "extensions": { "reason": "Unbound" } });
        });
    });
    let outcome = by(&stage, "rosa", &["complete", "run/ship"]).exits(1);
    assert!(outcome.stderr.contains("needs an approval that is valid now"), "{outcome:?}");
    stage.reconcile(&[]);
    assert_eq!(stage.trace("trace"), [""; 0]);
}
