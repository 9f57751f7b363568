//! Pins are checked, not believed: an attacker who may push the status branch, and merge nothing, never makes anything run that
//! was not merged.

use std::fs;
use std::path::{Path, PathBuf};

use planspec::git::Repo;
use planspec::model::{ExecutionPhase, Kind};
use serde_json::{Value, json};

use crate::engine_rig::{
    Graph, QUICK, STATUS, Stage, bindings, document, execution, record_in, status_in, yaml,
};
use crate::environment::TestEnvironment;
use crate::git_server::GitServer;

/// A gate, and behind it a task that runs what the checkout holds.
fn gated(stage_root: &Path) -> Graph {
    Graph::new("work").node(json!({ "id": "ok", "kind": "Gate", "gateRef": { "name": "ok" } })).task(
        "b",
        &["ok"],
        &format!("sh job.sh '{}'", stage_root.join("trace").display()),
    )
}

/// An Execution that waits at its gate, and another one that nobody touches.
fn waiting() -> Stage {
    let stage = Stage::new(QUICK, &[("job.sh", "echo merged >> \"$1\"\n")]);
    let graph = gated(stage.environment.root());
    let key = Stage::leaves_its_key(&stage.outside("others"));
    let other = Graph::new("other").task("a", &[], &key);
    let work = [graph.plan(), other.plan(), execution("run", "work"), bindings(&[&graph, &other])];
    stage.commit("work.yaml", &yaml(&work));
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("run").phase, ExecutionPhase::Blocked);
    stage
}

/// Pushes a change of the status branch past every rule. The paths are those of the status tree.
#[track_caller]
pub(crate) fn forge(stage: &Stage, change: impl FnOnce(&Path)) {
    forge_in(&stage.environment, change);
}

/// The same in any repository.
#[track_caller]
pub(crate) fn forge_in(environment: &TestEnvironment, change: impl FnOnce(&Path)) {
    let work = environment.root().join("forger");
    environment.git(&["worktree", "add", "--quiet", work.to_str().unwrap(), STATUS]).succeeds();
    change(&work);
    environment.git_in(&work, &["add", "--all"]).succeeds();
    environment.git_in(&work, &["commit", "--quiet", "--allow-empty", "-m", "Forge"]).succeeds();
    environment.git(&["worktree", "remove", "--force", work.to_str().unwrap()]).succeeds();
}

/// Changes the record of the Execution.
pub(crate) fn edit(tree: &Path, change: impl FnOnce(&mut Value)) {
    edit_record(&tree.join("team/executions/run.yaml"), change);
}

/// Changes any record.
pub(crate) fn edit_record(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut record: Value = serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    change(&mut record);
    fs::write(path, record.to_string()).unwrap();
}

fn pinned(record: &mut Value) -> &mut Value {
    &mut record["status"]["extensions"]["pinned"]
}

/// What a repository of the attacker's own records for an Execution of the same name, as it would be if this were merged.
fn honest_record_of(graph: &Graph, run: &Value) -> (Value, PathBuf, Stage) {
    let evil = Stage::new(QUICK, &[("job.sh", "echo evil >> \"$1\"\n")]);
    evil.commit("work.yaml", &yaml(&[graph.plan(), run.clone()]));
    evil.reconcile(&[]).succeeds();
    let tree = evil.outside("tree");
    evil.environment.git(&["worktree", "add", "--quiet", tree.to_str().unwrap(), STATUS]).succeeds();
    let text = fs::read_to_string(tree.join("team/executions/run.yaml")).unwrap();
    (serde_yaml::from_str(&text).unwrap(), tree.join("team/executions/run.pinned"), evil)
}

/// Puts such a record in place of the true one, under the true commit and uid.
fn replace(tree: &Path, (record, pins, _evil): &(Value, PathBuf, Stage)) {
    edit(tree, |old| {
        let commit = pinned(old)["commit"].clone();
        let metadata = old["metadata"].clone();
        *old = record.clone();
        old["metadata"] = metadata;
        pinned(old)["commit"] = commit;
    });
    for file in ["execution.yaml", "plan.yaml"] {
        fs::copy(pins.join(file), tree.join("team/executions/run.pinned").join(file)).unwrap();
    }
}

/// Nothing of the Execution runs, everybody is told, and everything else goes on.
#[track_caller]
fn check_blocked(stage: &Stage, why: &str) {
    stage.commit("other.yaml", &yaml(&[execution("other", "other")]));
    // Also for an execution that has not been checked by a reconcile yet.
    let approve = stage.environment.planspec(&["approve", "gate/ok", "--execution", "run", "-n", "team"]);
    assert_eq!(approve.code, 1, "{approve:?}");
    let outcome = stage.reconcile(&[]).succeeds();
    assert_eq!(stage.trace("trace"), [""; 0], "it ran");
    assert!(outcome.stdout.contains("PinMismatch") || outcome.stdout.contains(why), "{outcome:?}");
    assert!(outcome.stdout.contains("planspec accept-pin execution/run"), "{outcome:?}");
    let status = stage.status("run");
    assert_eq!((status.phase, status.reason.as_deref()), (ExecutionPhase::Blocked, Some("PinMismatch")));
    let message = status.message.unwrap();
    assert!(message.contains(why), "{message}");
    assert!(status.extensions.lease.is_none());
    let page = stage.environment.planspec(&["describe", "execution/run", "-n", "team"]).succeeds().stdout;
    assert!(page.contains("PinMismatch") && page.contains("accept-pin"), "{page}");
    assert_eq!(stage.status("other").phase, ExecutionPhase::Succeeded);
    let tip = stage.status_tip();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status_tip(), tip, "reconciled twice");
}

/// A commit that is on a branch of its own, with another job.
fn unmerged(stage: &Stage) -> String {
    let git = |arguments: &[&str]| stage.environment.git(arguments).succeeds();
    git(&["checkout", "--quiet", "-b", "evil"]);
    stage.commit("job.sh", "echo evil >> \"$1\"\n");
    let commit = stage.environment.git_output(&["rev-parse", "HEAD"]);
    git(&["checkout", "--quiet", "main"]);
    commit
}

#[test]
fn a_commit_that_was_not_merged_never_runs() {
    let stage = waiting();
    let evil = unmerged(&stage);
    forge(&stage, |tree| edit(tree, |record| pinned(record)["commit"] = json!(evil)));
    check_blocked(&stage, "is not on the first-parent line of the desired branch");
}

#[test]
fn an_early_commit_of_a_merged_pull_request_never_runs() {
    let stage = waiting();
    let early = unmerged(&stage);
    let git = |arguments: &[&str]| stage.environment.git(arguments).succeeds();
    git(&["checkout", "--quiet", "evil"]);
    stage.commit("job.sh", "echo merged >> \"$1\"\n");
    git(&["checkout", "--quiet", "main"]);
    git(&["merge", "--quiet", "--no-ff", "-m", "Merge", "evil"]);
    forge(&stage, |tree| edit(tree, |record| pinned(record)["commit"] = json!(early)));
    check_blocked(&stage, "is not on the first-parent line of the desired branch");
}

#[test]
fn a_plan_without_its_gate_never_runs() {
    let stage = waiting();
    let line = format!("sh job.sh '{}'", stage.outside("trace").display());
    let open = honest_record_of(&Graph::new("work").task("b", &[], &line), &execution("run", "work"));
    forge(&stage, |tree| {
        let execution = tree.join("team/executions/run.pinned/execution.yaml");
        let merged = fs::read(&execution).unwrap();
        replace(tree, &open);
        fs::write(execution, merged).unwrap();
    });
    check_blocked(&stage, "does not hold this version of team/plan/work");
}

#[test]
fn an_execution_with_other_parameters_never_runs() {
    let stage = waiting();
    let spec = json!({ "planRef": { "name": "work" }, "parameters": { "target": "production" } });
    let other = honest_record_of(&gated(stage.environment.root()), &document("Execution", "run", &spec));
    forge(&stage, |tree| {
        replace(tree, &other);
        // The very plan that was merged.
        let plan = stage.environment.git_output(&["show", "main:work.yaml"]);
        fs::write(tree.join("team/executions/run.pinned/plan.yaml"), format!("{plan}\n")).unwrap();
    });
    check_blocked(&stage, "does not hold this version of team/execution/run");
}

#[test]
fn digests_are_computed_anew() {
    let stage = waiting();
    let digest = format!("sha256:{}", "0".repeat(64));
    forge(&stage, |tree| edit(tree, |record| pinned(record)["graphDigest"] = json!(digest)));
    check_blocked(&stage, "graphDigest is not that of the pinned Plan");
    let stage = waiting();
    forge(&stage, |tree| edit(tree, |record| record["status"]["specHash"] = json!(digest)));
    check_blocked(&stage, "specHash is not that of the pinned Execution");
}

#[test]
fn a_uid_comes_from_a_commit_of_the_branch_that_is_not_after_the_pin() {
    let later = waiting();
    let record = record_in(&later.environment.repo(), Kind::Execution, "run").unwrap();
    let old = later.environment.git_output(&["rev-parse", "main~1"]);
    // The Execution was not there yet.
    forge(&later, |tree| edit(tree, |record| pinned(record)["commit"] = json!(old)));
    check_blocked(&later, "its uid names no commit of the desired branch up to the pinned one");
    let any = waiting();
    let uid = record.metadata.uid.to_string().replace(['a', '1'], "0");
    forge(&any, |tree| edit(tree, |record| record["metadata"]["uid"] = json!(uid)));
    check_blocked(&any, "its uid names no commit of the desired branch up to the pinned one");
}

#[test]
fn a_node_that_is_left_out_or_renamed_is_seen() {
    let stage = waiting();
    forge(&stage, |tree| {
        edit(tree, |record| {
            record["status"]["nodeStatuses"].as_object_mut().unwrap().remove("b");
        });
    });
    check_blocked(&stage, "the record has no node `b`, which the pinned Plan has");
    let stage = waiting();
    forge(&stage, |tree| {
        edit(tree, |record| record["status"]["nodeStatuses"]["c"] = json!({ "phase": "Succeeded" }));
    });
    check_blocked(&stage, "the record has a node `c`, which the pinned Plan lacks");
}

#[test]
fn a_last_valid_binding_that_was_not_merged_binds_nothing() {
    let stage = waiting();
    stage.environment.planspec(&["approve", "gate/ok", "-n", "team"]).succeeds();
    let graph = gated(stage.environment.root());
    let evil =
        Graph::new("work").task("b", &[], &format!("echo evil >> '{}'", stage.outside("trace").display()));
    let others = yaml(&[graph.plan(), execution("run", "work")]);
    // The Binding moves to a file of its own, which then is broken.
    stage.commit("work.yaml", &others);
    stage.commit(
        "bindings.yaml",
        &yaml(&[bindings(&[])]).replace("\"rules\":[]", "\"rules\":[],\"strategy\":7"),
    );
    stage.reconcile(&[]);
    let forged = yaml(&[bindings(&[&evil])]);
    forge(&stage, |tree| {
        let pins = tree.join("team/bindings/default.pinned");
        fs::create_dir_all(&pins).unwrap();
        fs::write(pins.join("manifest.yaml"), &forged).unwrap();
    });
    let _ = fs::remove_dir_all(stage.environment.repo().join(".git/planspec"));
    stage.reconcile(&[]);
    assert_eq!(stage.trace("trace"), [""; 0], "it ran");
}

/// What a person says for good would count for the merged plan as soon as somebody puts the record right.
#[test]
fn nobody_completes_or_fails_a_node_of_what_was_not_merged() {
    let stage = Stage::new(QUICK, &[]);
    let graph =
        Graph::new("work").provided("tell", &[], "human://wendy", &json!({})).task("b", &["tell"], "true");
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("run", "work"), bindings(&[&graph])]));
    stage.reconcile(&[]).succeeds();
    let tip = stage.status_tip();
    // A forged pin, a node too many, and a node that is gone.
    let evil = unmerged(&stage);
    let forgeries: [&dyn Fn(&mut Value); 3] = [
        &|record| pinned(record)["commit"] = json!(evil),
        &|record| record["status"]["nodeStatuses"]["c"] = json!({ "phase": "Succeeded" }),
        &|record| {
            record["status"]["nodeStatuses"].as_object_mut().unwrap().remove("b");
        },
    ];
    for forgery in forgeries {
        forge(&stage, |tree| edit(tree, forgery));
        let forged = stage.status_tip();
        for said in ["complete", "fail"] {
            let outcome = stage.environment.planspec(&[said, "run/tell", "-n", "team"]).exits(1);
            let why = "execution/run is not what was merged: ";
            assert!(outcome.stderr.contains(why) && outcome.stderr.contains("accept-pin"), "{outcome:?}");
        }
        assert_eq!(stage.status_tip(), forged);
        stage.environment.git(&["update-ref", &format!("refs/heads/{STATUS}"), &tip]).succeeds();
        let _ = fs::remove_dir_all(stage.environment.repo().join(".git/planspec"));
    }
    stage.environment.planspec(&["complete", "run/tell", "-n", "team"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("run").phase, ExecutionPhase::Succeeded);
}

#[test]
fn after_a_rewritten_branch_a_person_accepts_what_it_holds_now() {
    let stage = waiting();
    let before = record_in(&stage.environment.repo(), Kind::Execution, "run").unwrap();
    let refused = stage.environment.planspec(&["accept-pin", "run", "-n", "team"]).succeeds();
    assert!(refused.stdout.contains("there is nothing to accept"), "{refused:?}");
    stage.environment.git(&["commit", "--quiet", "--amend", "-m", "Say it better"]).succeeds();
    check_blocked(&stage, "is not on the first-parent line of the desired branch");
    let outcome =
        stage.environment.planspec(&["accept-pin", "run", "-n", "team", "-m", "amended"]).succeeds();
    assert!(outcome.stdout.contains("execution/run pinned to commit "), "{outcome:?}");
    let after = record_in(&stage.environment.repo(), Kind::Execution, "run").unwrap();
    let accepted = after.execution().unwrap().extensions.pin_accepted.clone().unwrap();
    assert_eq!((accepted.by.as_str(), accepted.comment.as_deref()), ("wendy@example.com", Some("amended")));
    assert_ne!(after.metadata.uid, before.metadata.uid);
    stage.reconcile(&[]).succeeds();
    // The approval was for the old commit.
    assert_eq!(stage.trace("trace"), [""; 0]);
    stage.environment.planspec(&["approve", "gate/ok", "-n", "team"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("run").phase, ExecutionPhase::Succeeded);
    assert_eq!(stage.trace("trace"), ["merged"]);
    let done = stage.environment.planspec(&["accept-pin", "run", "-n", "team"]).exits(1);
    assert!(done.stderr.contains("is already Succeeded"), "{done:?}");
}

#[test]
fn another_plan_is_not_accepted() {
    let stage = waiting();
    let open = Graph::new("work").task("b", &[], "true");
    stage.commit("work.yaml", &yaml(&[open.plan(), execution("run", "work"), bindings(&[&open])]));
    stage.environment.git(&["reset", "--quiet", "--soft", "HEAD~2"]).succeeds();
    stage.environment.git(&["commit", "--quiet", "-m", "Rewritten"]).succeeds();
    stage.reconcile(&[]).succeeds();
    let refused = stage.environment.planspec(&["accept-pin", "run", "-n", "team"]).exits(1);
    assert!(refused.stderr.contains("plan/work is another one on the desired branch now"), "{refused:?}");
    stage.environment.planspec(&["cancel", "run", "-n", "team"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("run").phase, ExecutionPhase::Cancelled);
}

/// A clone that lacks the history between the desired branch and the pin, of an Execution that was merged, and one of the forged.
fn check_clone(url: &str, server: &GitServer, how: &[&str]) {
    let stage = waiting();
    for number in 0..3 {
        stage.commit("later.txt", &number.to_string());
    }
    let evil = unmerged(&stage);
    for branch in ["main", STATUS, "evil:refs/pull/1/head"] {
        stage.environment.git(&["push", "--quiet", "--force", url, branch]).succeeds();
    }
    let clone = stage.outside("clone");
    let arguments = [&["clone", "--quiet"], how, &[url, clone.to_str().unwrap()]].concat();
    stage.environment.git_in(stage.environment.root(), &arguments).succeeds();
    stage.environment.planspec_in(&clone, &["approve", "gate/ok", "-n", "team"]).succeeds();
    let outcome = stage.reconcile_in(&clone, &[]).succeeds();
    assert_eq!(status_in(&server.bare(), "run").phase, ExecutionPhase::Succeeded, "{outcome:?}");
    assert_eq!(stage.trace("trace"), ["merged"]);
    // The same with a commit that only a fork has: it is not even fetched.
    forge(&stage, |tree| edit(tree, |record| pinned(record)["commit"] = json!(evil)));
    stage.environment.git(&["push", "--quiet", "--force", url, STATUS]).succeeds();
    let second = stage.outside("second");
    let arguments = [&["clone", "--quiet"], how, &[url, second.to_str().unwrap()]].concat();
    stage.environment.git_in(stage.environment.root(), &arguments).succeeds();
    stage.environment.planspec_in(&second, &["approve", "gate/ok", "-n", "team"]);
    stage.reconcile_in(&second, &[]).succeeds();
    assert_eq!(status_in(&server.bare(), "run").reason.as_deref(), Some("PinMismatch"));
    assert_eq!(stage.trace("trace"), ["merged"]);
    // Not by `git`, which would fetch it into a partial clone just because it is asked for.
    let known = Repo::open(&second).unwrap().commit(evil.parse().unwrap());
    assert!(known.is_err(), "the forged commit was fetched");
}

#[test]
fn a_shallow_clone_brings_in_what_it_takes_to_know() {
    let server = GitServer::new();
    check_clone(&server.file_url(), &server, &["--depth=1", "--no-single-branch"]);
    let server = GitServer::over_http();
    check_clone(&server.http_url(Some("tok-write")), &server, &["--depth=1"]);
}

#[test]
fn a_partial_clone_brings_in_what_it_takes_to_know() {
    let server = GitServer::over_http();
    for (key, value) in [("uploadpack.allowFilter", "true"), ("uploadpack.allowAnySHA1InWant", "true")] {
        let stage = Stage::new(QUICK, &[]);
        stage.environment.git_in(&server.bare(), &["config", key, value]).succeeds();
    }
    check_clone(&server.http_url(Some("tok-write")), &server, &["--depth=1", "--filter=blob:limit=1m"]);
}

/// The Binding is broken now, and that its last valid version was merged takes history that is fetched in the same pass.
#[test]
fn no_node_is_unbound_while_the_history_of_its_binding_is_fetched() {
    let server = GitServer::new();
    let stage = Stage::new(QUICK, &[]);
    let graph = Graph::new("work").task("a", &[], "true");
    stage.commit("bindings.yaml", &yaml(&[bindings(&[&graph])]));
    stage.commit("plan.yaml", &yaml(&[graph.plan()]));
    stage.reconcile(&[]).succeeds();
    stage.commit("bindings.yaml", "apiVersion: planspec.io/v1alpha1\nkind: Binding\n  bad: [\n");
    // Keeps the last valid version on the status branch.
    stage.reconcile(&[]).exits(1);
    stage.commit("run.yaml", &yaml(&[execution("run", "work")]));
    for branch in ["main", STATUS] {
        stage.environment.git(&["push", "--quiet", &server.file_url(), branch]).succeeds();
    }
    let clone = stage.outside("clone");
    let arguments =
        ["clone", "--quiet", "--depth=1", "--no-single-branch", &server.file_url(), clone.to_str().unwrap()];
    stage.environment.git_in(stage.environment.root(), &arguments).succeeds();
    let outcome = stage.reconcile_in(&clone, &[]);
    assert_eq!(status_in(&server.bare(), "run").phase, ExecutionPhase::Succeeded, "{outcome:?}");
    let history = stage.environment.git_in(&server.bare(), &["log", "-p", STATUS]).succeeds().stdout;
    assert!(!history.contains("Unbound"), "{history}");
}

#[test]
fn what_cannot_be_known_waits() {
    let server = GitServer::new();
    let stage = waiting();
    stage.commit("later.txt", "");
    for branch in ["main", STATUS] {
        stage.environment.git(&["push", "--quiet", &server.file_url(), branch]).succeeds();
    }
    let clone = stage.outside("clone");
    let arguments =
        ["clone", "--quiet", "--depth=1", "--no-single-branch", &server.file_url(), clone.to_str().unwrap()];
    stage.environment.git_in(stage.environment.root(), &arguments).succeeds();
    // Without a remote there is nobody to ask for the rest of history.
    stage.environment.git_in(&clone, &["branch", "--quiet", STATUS, "origin/planspec/status"]).succeeds();
    stage.environment.git_in(&clone, &["remote", "remove", "origin"]).succeeds();
    stage.environment.planspec_in(&clone, &["approve", "gate/ok", "-n", "team"]).succeeds();
    let outcome = stage.reconcile_in(&clone, &[]).succeeds();
    assert!(outcome.stdout.contains("shallow clone"), "{outcome:?}");
    assert_eq!(stage.trace("trace"), [""; 0], "it ran");
    assert_ne!(status_in(&clone, "run").reason.as_deref(), Some("PinMismatch"));
}

#[test]
fn a_branch_that_is_put_back_lets_go_on_at_once_what_is_pinned_to_it() {
    let stage = waiting();
    let good = stage.environment.git_output(&["rev-parse", "HEAD"]);
    stage
        .environment
        .git(&["commit", "--quiet", "--amend", "-m", "Rewritten, with the same files"])
        .succeeds();
    stage.reconcile(&["--allow-mass-delete"]).succeeds();
    assert_eq!(stage.status("run").reason.as_deref(), Some("PinMismatch"));
    stage.environment.git(&["reset", "--quiet", "--hard", &good]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_ne!(stage.status("run").reason.as_deref(), Some("PinMismatch"));
    stage.environment.planspec(&["approve", "gate/ok", "-n", "team"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.trace("trace"), ["merged"]);
}

#[test]
fn what_ended_is_not_checked_any_more() {
    let stage = waiting();
    stage.environment.planspec(&["approve", "gate/ok", "-n", "team"]).succeeds();
    stage.reconcile(&[]).succeeds();
    let evil = unmerged(&stage);
    forge(&stage, |tree| edit(tree, |record| pinned(record)["commit"] = json!(evil)));
    let tip = stage.status_tip();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status_tip(), tip);
    // A retry makes it run again, and then it is.
    stage.environment.planspec(&["retry", "run", "-n", "team", "--from", "b"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("run").reason.as_deref(), Some("PinMismatch"));
    assert_eq!(stage.trace("trace"), ["merged"]);
}

/// What is done to the status tree, in words and in deed.
type Forgery<'a> = (&'a str, &'a dyn Fn(&Stage, &Path));

#[test]
fn one_record_that_cannot_be_is_healed_and_holds_up_nobody() {
    let outside = |stage: &Stage| stage.outside("victim");
    let link = |tree: &Path, path: &str| {
        let place = tree.join(path);
        let _ = fs::remove_file(&place);
        std::os::unix::fs::symlink("/etc/passwd", place).unwrap();
    };
    let forgeries: [Forgery<'_>; 6] = [
        ("a link", &|_, tree| link(tree, "team/executions/run.yaml")),
        ("a directory", &|_, tree| {
            fs::remove_file(tree.join("team/executions/run.yaml")).unwrap();
            fs::create_dir(tree.join("team/executions/run.yaml")).unwrap();
            fs::write(tree.join("team/executions/run.yaml/x"), "").unwrap();
        }),
        ("a dashboard that is a link", &|_, tree| link(tree, "README.md")),
        ("pins that are a link", &|_, tree| {
            fs::remove_dir_all(tree.join("team/gates/ok.pinned")).unwrap_or_default();
            link(tree, "team/gates/ok.pinned");
        }),
        ("a uid with a path in it", &|stage, tree| {
            let path = format!("../../../{}", outside(stage).display());
            edit(tree, |record| record["metadata"]["uid"] = json!(path));
        }),
        ("an endless record", &|_, tree| {
            fs::write(tree.join("team/executions/run.yaml"), "a: &a [*a, *a]\n".repeat(50)).unwrap();
        }),
    ];
    for (what, forgery) in forgeries {
        let stage = waiting();
        forge(&stage, |tree| forgery(&stage, tree));
        let page = stage.environment.planspec(&["get", "executions", "-n", "team"]);
        assert_eq!(page.code, 0, "{what}: {page:?}");
        stage.commit("other.yaml", &yaml(&[execution("other", "other")]));
        stage.reconcile(&[]).succeeds();
        assert_eq!(stage.status("other").phase, ExecutionPhase::Succeeded, "{what}");
        assert_eq!(stage.trace("trace"), [""; 0], "{what}");
        assert!(!outside(&stage).exists(), "{what}");
        stage.environment.planspec(&["approve", "gate/ok", "-n", "team"]).succeeds();
        stage.reconcile(&[]).succeeds();
        assert_eq!(stage.status("run").phase, ExecutionPhase::Succeeded, "{what}");
        assert_eq!(stage.trace("trace"), ["merged"], "{what}");
    }
}
