//! What becomes of manifests: broken, moved, renamed, created again, removed one by one or all at once; branches that
//! are rewritten, late runs, records that somebody broke by hand.

use planspec::model::{
    ExecutionPhase, GoalPhase, Kind, NodePhase, ResourceStatus, StatusMetadata, StatusRecord,
};
use serde_json::{Value, json};

use crate::engine_rig::{
    Graph, QUICK, STATUS, Stage, bindings, check_history, document, execution, record_in, yaml,
};
use crate::environment::Outcome;

fn goal(name: &str, description: &str) -> Value {
    document("Goal", name, &json!({ "description": description }))
}

fn record(stage: &Stage, kind: Kind, name: &str) -> Option<StatusRecord> {
    record_in(&stage.environment.repo(), kind, name)
}

#[track_caller]
fn metadata(stage: &Stage, kind: Kind, name: &str) -> StatusMetadata {
    record(stage, kind, name).unwrap_or_else(|| panic!("no record of {name}")).metadata
}

#[track_caller]
fn check_quiet(stage: &Stage) {
    let tip = stage.status_tip();
    stage.reconcile(&[]);
    assert_eq!(stage.status_tip(), tip, "{}", stage.environment.git_output(&["show", STATUS]));
}

#[test]
fn a_changed_moved_removed_or_recreated_manifest() {
    let stage = Stage::new(QUICK, &[("goal.yaml", &yaml(&[goal("g", "first")]))]);
    stage.reconcile(&[]).succeeds();
    let first = metadata(&stage, Kind::Goal, "g");
    assert_eq!(first.generation, 1);

    // A label is no change of the spec.
    let mut labelled = goal("g", "first");
    labelled["metadata"]["labels"] = json!({ "planspec.io/team": "web" });
    stage.commit("goal.yaml", &yaml(&[labelled]));
    stage.reconcile(&[]).succeeds();
    assert_eq!(metadata(&stage, Kind::Goal, "g"), first);

    stage.commit("goal.yaml", &yaml(&[goal("g", "second")]));
    stage.reconcile(&[]).succeeds();
    let second = metadata(&stage, Kind::Goal, "g");
    assert_eq!((second.generation, &second.uid), (2, &first.uid));

    stage.environment.git(&["mv", "goal.yaml", "moved.yaml"]).succeeds();
    stage.environment.commit_files(&[], "Move");
    stage.reconcile(&[]).succeeds();
    let moved = metadata(&stage, Kind::Goal, "g");
    assert_eq!((moved.generation, &moved.uid), (2, &first.uid));
    assert_eq!(moved.annotations["planspec.io/source"], "moved.yaml");
    check_quiet(&stage);

    stage.remove("moved.yaml");
    stage.reconcile(&["--allow-mass-delete"]).succeeds();
    assert!(record(&stage, Kind::Goal, "g").is_none());

    stage.commit("goal.yaml", &yaml(&[goal("g", "second")]));
    stage.reconcile(&[]).succeeds();
    let again = metadata(&stage, Kind::Goal, "g");
    assert_eq!(again.generation, 1);
    assert_ne!(again.uid, first.uid);
    check_quiet(&stage);
}

/// A Binding that is broken by `text` while an execution needs it, seen by the same repository, by a clone that was made
/// before, and by one that was made after.
#[track_caller]
fn check_quarantined(text: &str) {
    let stage = Stage::new(QUICK, &[]);
    let trace = stage.outside("trace");
    let graph = Graph::new("work").task("a", &[], &Stage::leaves_its_key(&trace));
    let binding = yaml(&[bindings(&[&graph])]);
    stage.commit("binding.yaml", &binding);
    stage.commit("plan.yaml", &yaml(&[graph.plan(), goal("other", "stays")]));
    stage.reconcile(&[]).succeeds();
    let before = metadata(&stage, Kind::Binding, "default");

    // The first to see the broken file is a clone that knows nothing of before.
    stage.commit("binding.yaml", text);
    let url = format!("file://{}", stage.environment.repo().display());
    let clone = stage.clone_to(&url, "clone");
    let outcome = stage.reconcile_in(&clone, &[]).exits(1);
    assert!(outcome.stdout.contains("binding.yaml"), "{}", outcome.stdout);
    let held = metadata(&stage, Kind::Binding, "default");
    assert_eq!((&held.uid, held.generation), (&before.uid, before.generation));
    assert!(held.annotations.contains_key("planspec.io/quarantined"), "{held:?}");

    // Even one with no history at all finds the last good version.
    stage.commit("run.yaml", &yaml(&[execution("run", "work")]));
    let shallow = stage.outside("shallow");
    let arguments = ["clone", "--quiet", "--depth=1", "--no-single-branch", &url, shallow.to_str().unwrap()];
    stage.environment.git_in(stage.environment.root(), &arguments).succeeds();
    stage.reconcile_in(&shallow, &[]).exits(1);
    assert_eq!(stage.status("run").phase, ExecutionPhase::Succeeded);
    check_quiet(&stage);
    assert_eq!(metadata(&stage, Kind::Binding, "default"), held);

    // Repaired, it is as before; removed while it is broken, it is gone.
    stage.commit("binding.yaml", &binding);
    stage.reconcile(&[]).succeeds();
    assert_eq!(metadata(&stage, Kind::Binding, "default"), before);
    let tree = stage.environment.git_output(&["ls-tree", "-r", "--name-only", STATUS]);
    assert!(!tree.contains("default.pinned"), "{tree}");
    stage.commit("binding.yaml", text);
    stage.reconcile(&[]).exits(1);
    stage.commit("binding.yaml", &format!("{text}\n# still broken\n"));
    stage.reconcile(&[]).exits(1);
    assert!(record(&stage, Kind::Binding, "default").is_some());
    stage.remove("binding.yaml");
    stage.reconcile(&[]).succeeds();
    assert!(record(&stage, Kind::Binding, "default").is_none());
}

#[test]
fn a_manifest_that_is_no_yaml_any_more_leaves_the_last_good_version_in_force() {
    check_quarantined("apiVersion: planspec.io/v1alpha1\nkind: Binding\n  bad: [\n");
}

#[test]
fn a_manifest_that_breaks_its_schema_leaves_the_last_good_version_in_force() {
    check_quarantined(&yaml(&[document("Binding", "default", &json!({ "rulez": [] }))]));
}

#[test]
fn a_document_removed_from_a_file_with_a_warning_is_gone() {
    let mut warned = goal("warned", "has a status, which is ignored with a warning");
    warned["status"] = json!({ "phase": "Ready" });
    let stage = Stage::new(QUICK, &[("goals.yaml", &yaml(&[warned.clone(), goal("gone", "soon")]))]);
    stage.reconcile(&[]).succeeds();
    assert!(record(&stage, Kind::Goal, "gone").is_some());
    stage.commit("goals.yaml", &yaml(&[warned]));
    stage.reconcile(&[]).succeeds();
    assert!(record(&stage, Kind::Goal, "gone").is_none());
    assert!(record(&stage, Kind::Goal, "warned").is_some());
}

#[test]
fn removing_the_manifest_of_a_running_execution_cancels_it_then_removes_its_record() {
    let stage = Stage::new(QUICK, &[]);
    let script = format!("echo $$ >> '{}'; exec sleep 60", stage.outside("pid").display());
    let graph = Graph::new("long").task("a", &[], &script).task("b", &["a"], "true");
    stage.commit("work.yaml", &yaml(&[graph.plan(), bindings(&[&graph])]));
    stage.commit("run.yaml", &yaml(&[execution("run", "long")]));
    let mut runner = stage.start(&[]);
    stage.wait_until("it runs", || !stage.trace("pid").is_empty());
    stage.remove("run.yaml");
    let output = runner.succeeds();
    assert!(output.contains("team/run a Cancelled"), "{output}");
    assert!(record(&stage, Kind::Execution, "run").is_none());
    let log = stage.environment.git_output(&["log", "--format=%s%n%b", STATUS]);
    assert!(log.contains("Cancelled") && log.contains("Deleted"), "{log}");
    let pid = &stage.trace("pid")[0];
    assert!(!std::path::Path::new("/proc").join(pid).exists(), "the task still runs");
    check_quiet(&stage);
}

#[test]
fn deleting_an_owner_deletes_what_it_owns() {
    let graph = Graph::new("work").task("a", &[], "true");
    let mut owned = execution("run", "work");
    owned["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "planspec.io/v1alpha1", "kind": "Goal", "name": "g", "uid": "1b4e28ba-2fa1-11d2-883f-0016d3cca427",
    }]);
    let stage = Stage::new(QUICK, &[]);
    stage.commit("goal.yaml", &yaml(&[goal("g", "owns")]));
    stage.commit("work.yaml", &yaml(&[graph.plan(), bindings(&[&graph]), owned]));
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("run").phase, ExecutionPhase::Succeeded);
    stage.remove("goal.yaml");
    stage.reconcile(&[]).succeeds();
    assert!(record(&stage, Kind::Goal, "g").is_none());
    assert!(record(&stage, Kind::Execution, "run").is_none());
    assert!(record(&stage, Kind::Plan, "work").is_some(), "plans survive");
    check_quiet(&stage);
}

#[test]
fn a_mass_deletion_is_refused_until_it_is_allowed() {
    let goals = |range: std::ops::Range<u32>| {
        yaml(&range.map(|number| goal(&format!("g{number}"), "one of many")).collect::<Vec<_>>())
    };
    let stage = Stage::new(QUICK, &[("goals.yaml", &goals(0..20))]);
    stage.reconcile(&[]).succeeds();
    stage.commit("goals.yaml", &goals(0..5));
    let outcome = stage.reconcile(&[]).exits(1);
    assert!(outcome.stdout.contains("--allow-mass-delete"), "{}", outcome.stdout);
    assert!(record(&stage, Kind::Goal, "g19").is_some());
    // Other work goes on meanwhile.
    stage.commit("more.yaml", &yaml(&[goal("more", "new")]));
    stage.reconcile(&[]).exits(1);
    assert!(record(&stage, Kind::Goal, "more").is_some());
    stage.reconcile(&["--allow-mass-delete"]).succeeds();
    assert!(record(&stage, Kind::Goal, "g19").is_none());
    assert!(record(&stage, Kind::Goal, "g4").is_some());
    // Nothing at all is never taken for granted.
    stage.environment.git(&["rm", "--quiet", "goals.yaml", "more.yaml"]).succeeds();
    stage.environment.commit_files(&[], "Empty");
    stage.reconcile(&[]).exits(1);
    assert!(record(&stage, Kind::Goal, "g4").is_some());
}

#[test]
fn an_execution_whose_commit_the_branch_lost_is_not_removed_without_being_asked_for() {
    let graph = Graph::new("work").task("a", &[], "true");
    let stage = Stage::new(QUICK, &[("work.yaml", &yaml(&[graph.plan(), bindings(&[&graph])]))]);
    stage.commit("run.yaml", &yaml(&[execution("run", "work")]));
    stage.reconcile(&[]).succeeds();
    stage.environment.git(&["reset", "--quiet", "--hard", "HEAD~1"]).succeeds();
    for _ in 0..2 {
        let outcome = stage.reconcile(&[]).exits(1);
        assert!(
            outcome.stdout.contains("the desired branch lost the commits that brought them"),
            "{outcome:?}"
        );
        assert!(record(&stage, Kind::Execution, "run").is_some());
        // Also after other work has recorded the new commit.
        stage.commit("more.yaml", &yaml(&[goal("more", "new")]));
    }
    stage.reconcile(&["--allow-mass-delete"]).succeeds();
    assert!(record(&stage, Kind::Execution, "run").is_none());
}

#[test]
fn a_mass_deletion_that_is_refused_leaves_running_work_alone() {
    let stage = Stage::new(QUICK, &[]);
    let go_on = stage.outside("go-on");
    let script = format!(
        "echo begun >> '{}'; until test -e '{}'; do sleep 0.02; done",
        stage.outside("trace").display(),
        go_on.display()
    );
    let graph = Graph::new("long").task("a", &[], &script).task("b", &["a"], "true");
    let mut documents: Vec<Value> =
        (0..20).map(|number| goal(&format!("g{number}"), "one of many")).collect();
    documents.extend([graph.plan(), bindings(&[&graph]), execution("run", "long")]);
    stage.commit("work.yaml", &yaml(&documents));
    let mut runner = stage.start(&[]);
    stage.wait_until("it runs", || !stage.trace("trace").is_empty());
    stage.remove("work.yaml");
    // Long enough for the commit to be seen and the lease to be renewed.
    std::thread::sleep(std::time::Duration::from_millis(900));
    std::fs::write(go_on, "").unwrap();
    assert_eq!(runner.ends().code(), Some(1));
    assert_eq!(stage.node("run", "a").phase, NodePhase::Succeeded);
    assert!(record(&stage, Kind::Goal, "g19").is_some());
}

#[test]
fn a_pass_does_not_wait_for_what_is_due_and_held_back() {
    let graph = Graph::new("work").task_with("a", &[], "exit 1", &json!({ "retries": 5 }));
    let documents = yaml(&[graph.plan(), bindings(&[&graph]), execution("run", "work")]);
    let stage = Stage::new(QUICK, &[("work.yaml", &documents)]);
    let due = || {
        let record = record(&stage, Kind::Execution, "run")?;
        let (_, node) = record.execution()?.node_statuses.iter().next()?;
        node.extensions.retry_at
    };
    let mut runner = stage.start(&[]);
    stage.wait_until("its next attempt waits", || due().is_some());
    runner.signal(rustix::process::Signal::INT);
    runner.ends();
    // Without a time it is due at once: the next attempt began meanwhile, and was given back.
    let due = due().unwrap_or_default();
    stage.remove("work.yaml");
    stage.wait_until("that is due", || jiff::Timestamp::now() > due);
    let mut runner = stage.start(&[]);
    assert_eq!(runner.ends().code(), Some(1));
    assert!(runner.output().contains("--allow-mass-delete"), "{}", runner.output());
    assert_eq!(stage.node("run", "a").phase, NodePhase::Pending);
}

#[test]
fn an_unbound_node_starts_by_itself_when_its_binding_is_committed() {
    let graph = Graph::new("work").task("a", &[], "true");
    let stage = Stage::new(QUICK, &[("work.yaml", &yaml(&[graph.plan(), execution("run", "work")]))]);
    let outcome = stage.reconcile(&[]).succeeds();
    assert!(outcome.stdout.contains("planspec complete run/a"), "{}", outcome.stdout);
    assert_eq!(stage.status("run").phase, ExecutionPhase::Blocked);
    assert_eq!(stage.status("run").extensions.lease, None);
    check_quiet(&stage);
    stage.commit("binding.yaml", &yaml(&[bindings(&[&graph])]));
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("run").phase, ExecutionPhase::Succeeded);
    assert_eq!(stage.node("run", "a").attempt, 1);
}

/// How often a reconcile with `PLANSPEC_LOG` has planned this resource.
fn plans(outcome: &Outcome, resource: &str) -> usize {
    let planned = |line: &&str| line.contains("plan resource") || line.contains("plan execution");
    outcome.stderr.lines().filter(planned).filter(|line| line.ends_with(resource)).count()
}

#[test]
fn nothing_is_planned_again_for_a_record_that_it_does_not_read_or_has_read_in_the_making() {
    let graph = Graph::new("work").task("a", &[], "true");
    let mut run = execution("run", "work");
    run["spec"]["goalRef"] = json!({ "name": "goal" });
    let documents = [goal("goal", "as it should be"), graph.plan(), run];
    let mut stage = Stage::new(QUICK, &[("work.yaml", &yaml(&documents))]);
    stage.environment.set("PLANSPEC_LOG", "planspec::engine::pass=trace");
    let first = stage.reconcile(&[]).succeeds();
    assert_eq!(plans(&first, "=team/execution/run"), 1, "{}", first.stderr);
    // The Goal went into the commit of its Execution.
    assert_eq!(plans(&first, "=team/goal/goal"), 1, "{}", first.stderr);
    // The node waits for any Binding: for the manifest, not for what is recorded of it.
    let mut other = bindings(&[&Graph::new("other").task("b", &[], "true")]);
    other["metadata"]["name"] = json!("other");
    stage.commit("other.yaml", &yaml(&[other]));
    let second = stage.reconcile(&[]).succeeds();
    assert!(record(&stage, Kind::Binding, "other").is_some());
    assert_eq!(plans(&second, "=team/execution/run"), 1, "{}", second.stderr);
    stage.commit("binding.yaml", &yaml(&[bindings(&[&graph])]));
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("run").phase, ExecutionPhase::Succeeded);
    let Some(ResourceStatus::Goal(status)) = record(&stage, Kind::Goal, "goal").map(|record| record.status)
    else {
        panic!("no record of the goal");
    };
    assert_eq!(status.phase, GoalPhase::Succeeded);
    check_quiet(&stage);
}

#[test]
fn an_execution_waits_for_its_plan_and_keeps_the_one_it_began_with() {
    let trace = |stage: &Stage, word: &str| format!("echo {word} >> '{}'", stage.outside("trace").display());
    let stage = Stage::new(QUICK, &[("run.yaml", &yaml(&[execution("run", "work")]))]);
    let outcome = stage.reconcile(&[]).succeeds();
    assert!(outcome.stdout.contains("there is no team/plan/work"), "{}", outcome.stdout);
    check_quiet(&stage);
    let gate = json!({ "id": "gate", "kind": "Gate", "gateRef": { "name": "ok" }, "dependsOn": ["a"] });
    let graph = Graph::new("work").task("a", &[], &trace(&stage, "a")).node(gate).task(
        "b",
        &["gate"],
        &trace(&stage, "b"),
    );
    stage.commit("work.yaml", &yaml(&[graph.plan(), bindings(&[&graph])]));
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.node("run", "gate").phase, NodePhase::Blocked);
    // Another plan of the same name, and another spec of the execution: neither is what was approved.
    let other = Graph::new("work").task("c", &[], &trace(&stage, "c"));
    let mut changed = execution("run", "work");
    changed["spec"]["parameters"] = json!({ "changed": true });
    stage.commit("work.yaml", &yaml(&[other.plan(), bindings(&[&graph])]));
    stage.commit("run.yaml", &yaml(&[changed]));
    let told = stage.reconcile(&[]).succeeds();
    assert!(
        told.stdout.contains("run was edited in run.yaml: the spec of an execution is immutable"),
        "{}",
        told.stdout
    );
    assert!(!stage.reconcile(&[]).succeeds().stdout.contains("was edited"), "it is said once");
    let status = stage.status("run");
    assert!(status.conditions.iter().any(|condition| condition.kind == "SpecChanged"), "{status:?}");
    stage.environment.planspec(&["approve", "gate/ok", "-n", "team"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("run").phase, ExecutionPhase::Succeeded);
    assert_eq!(stage.trace("trace"), ["a", "b"]);
    check_history(&stage.environment.repo());
}

#[test]
fn a_rewritten_branch_is_compared_by_its_files() {
    let stage = Stage::new(QUICK, &[("a.yaml", &yaml(&[goal("a", "first"), goal("kept", "as it is")]))]);
    stage.commit("b.yaml", &yaml(&[goal("b", "soon rewritten")]));
    stage.reconcile(&[]).succeeds();
    let kept = metadata(&stage, Kind::Goal, "kept");
    stage.environment.git(&["checkout", "--quiet", "--orphan", "new"]).succeeds();
    stage.environment.git(&["rm", "--quiet", "-rf", "--cached", "."]).succeeds();
    std::fs::remove_file(stage.environment.repo().join("b.yaml")).unwrap();
    let text = yaml(&[goal("a", "second"), goal("kept", "as it is")]);
    stage.environment.commit_files(&[("a.yaml", &text)], "Begin again");
    stage.environment.git(&["branch", "--quiet", "-M", "main"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert!(record(&stage, Kind::Goal, "b").is_none());
    assert_eq!(metadata(&stage, Kind::Goal, "a").generation, 2);
    assert_eq!(metadata(&stage, Kind::Goal, "kept"), kept);
    check_quiet(&stage);
}

#[test]
fn a_late_run_of_an_older_commit_yields() {
    let stage = Stage::new(QUICK, &[("a.yaml", &yaml(&[goal("a", "first")]))]);
    let older = stage.environment.git_output(&["rev-parse", "HEAD"]);
    stage.commit("a.yaml", &yaml(&[goal("a", "second"), goal("b", "new")]));
    stage.reconcile(&[]).succeeds();
    let tip = stage.status_tip();
    for round in ["with what it knows", "without a cache"] {
        let outcome = stage.reconcile(&["--ref", &older]).succeeds();
        assert!(outcome.stdout.contains("is already recorded"), "{round}: {}", outcome.stdout);
        assert_eq!(stage.status_tip(), tip, "{round}");
        let _ = std::fs::remove_dir_all(stage.environment.repo().join(".git/planspec"));
    }
    // The branch itself may be set back by those who own it.
    stage.environment.git(&["reset", "--quiet", "--hard", &older]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert!(record(&stage, Kind::Goal, "b").is_none());
    assert_eq!(metadata(&stage, Kind::Goal, "a").generation, 2);
}

/// An Execution `run` that has ended, whose two tasks left their keys in `trace`, and a Goal `g`.
#[track_caller]
fn stage_of_ended_work() -> Stage {
    let stage = Stage::new(QUICK, &[]);
    let key = Stage::leaves_its_key(&stage.outside("trace"));
    let graph = Graph::new("work").task("a", &[], &key).task("b", &["a"], &key);
    let documents = [graph.plan(), bindings(&[&graph]), execution("run", "work"), goal("g", "unharmed")];
    stage.commit("work.yaml", &yaml(&documents));
    stage.reconcile(&[]).succeeds();
    stage
}

#[test]
fn a_record_that_somebody_broke_heals_and_nothing_runs_again() {
    let stage = stage_of_ended_work();
    let before = [(Kind::Execution, "run"), (Kind::Goal, "g"), (Kind::Plan, "work")]
        .map(|(kind, name)| (kind, name, record(&stage, kind, name)));
    let work = stage.outside("by-hand");
    stage.environment.git(&["worktree", "add", "--quiet", work.to_str().unwrap(), STATUS]).succeeds();
    let goal_text = std::fs::read_to_string(work.join("team/goals/g.yaml")).unwrap();
    std::fs::write(work.join("team/executions/run.yaml"), "what: is this?\n").unwrap();
    std::fs::write(work.join("team/goals/g.yaml"), goal_text.replace("name: g", "name: h")).unwrap();
    std::fs::write(work.join("team/plans/work.yaml"), "\u{0}").unwrap();
    stage.environment.git_in(&work, &["commit", "--quiet", "-am", "Break it"]).succeeds();
    stage.environment.git(&["worktree", "remove", "--force", work.to_str().unwrap()]).succeeds();
    stage.reconcile(&[]).succeeds();
    for (kind, name, before) in before {
        assert_eq!(record(&stage, kind, name), before, "{name}");
    }
    assert_eq!(stage.trace("trace").len(), 2);
    check_quiet(&stage);
}

#[test]
fn what_stands_in_the_place_of_a_record_is_healed_and_nothing_runs_again() {
    let stage = stage_of_ended_work();
    let before = record(&stage, Kind::Execution, "run");
    let work = stage.outside("by-hand");
    for cached in [true, false] {
        for place in ["run.yaml/x.yaml", "run.yaml/deeper/run.yaml", "link"] {
            let git = |arguments: &[&str]| stage.environment.git_in(&work, arguments).succeeds();
            stage.environment.git(&["worktree", "add", "--quiet", work.to_str().unwrap(), STATUS]).succeeds();
            let executions = work.join("team/executions");
            let text = std::fs::read_to_string(executions.join("run.yaml")).unwrap();
            std::fs::remove_file(executions.join("run.yaml")).unwrap();
            if place == "link" {
                std::os::unix::fs::symlink("/etc/hostname", executions.join("run.yaml")).unwrap();
            } else {
                let planted = executions.join(place);
                std::fs::create_dir_all(planted.parent().unwrap()).unwrap();
                std::fs::write(planted, text).unwrap();
            }
            git(&["add", "--all"]);
            git(&["commit", "--quiet", "-m", "Put something else there"]);
            stage.environment.git(&["worktree", "remove", "--force", work.to_str().unwrap()]).succeeds();
            if !cached {
                std::fs::remove_dir_all(stage.environment.repo().join(".git/planspec")).unwrap();
            }
            stage.reconcile(&[]).succeeds();
            assert_eq!(stage.trace("trace").len(), 2, "{place} {cached}");
            assert_eq!(record(&stage, Kind::Execution, "run"), before, "{place} {cached}");
            check_quiet(&stage);
        }
    }
}

#[test]
fn a_limit_that_is_lowered_ends_nothing_that_began_before() {
    let gate = json!({ "id": "look", "kind": "Gate", "gateRef": { "name": "look" } });
    let graph = Graph::new("work").node(gate).task("after", &["look"], "true");
    let work = yaml(&[graph.plan(), execution("work", "work"), bindings(&[&graph])]);
    let padded = format!("# {}\n{work}", "x".repeat(2_000));
    let stage = Stage::new(QUICK, &[("work.yaml", &padded)]);
    stage.reconcile(&[]).succeeds();
    // What is pinned has the comment, too, and is over the limit from now on.
    stage.commit("work.yaml", &work);
    stage.commit(".planspec.yaml", &format!("{QUICK}limits: {{fileBytes: 1500}}\n"));
    stage.reconcile(&[]).succeeds();
    stage.environment.planspec(&["approve", "look", "-n", "team"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status("work").phase, ExecutionPhase::Succeeded);
    check_history(&stage.environment.repo());
}

/// An Execution that ended, whose commit the branch then lost, and got back as it was.
fn lost_and_back() -> Stage {
    let stage = Stage::new(QUICK, &[]);
    let graph = Graph::new("work").task("a", &[], &Stage::leaves_its_key(&stage.outside("trace")));
    stage.commit("work.yaml", &yaml(&[graph.plan(), bindings(&[&graph])]));
    stage.commit("run.yaml", &yaml(&[execution("run", "work")]));
    let git = |arguments: &[&str]| stage.environment.git(arguments).succeeds();
    git(&["branch", "--quiet", "whole"]);
    stage.reconcile(&[]).succeeds();
    git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    stage.reconcile(&["--allow-mass-delete"]).succeeds();
    assert!(record(&stage, Kind::Execution, "run").is_none());
    stage
}

/// The manifest comes back in `repository`: it is the same Execution, and has ended.
#[track_caller]
fn check_ended(stage: &Stage, uid: &str) {
    stage.environment.git(&["reset", "--quiet", "--hard", "whole"]).succeeds();
    let outcome = stage.reconcile(&[]).succeeds();
    assert_eq!(stage.trace("trace").len(), 1, "{outcome:?}");
    assert_eq!(metadata(stage, Kind::Execution, "run").uid, uid);
    let status = stage.status("run");
    assert_eq!(status.phase, ExecutionPhase::Succeeded);
    assert_eq!(stage.node("run", "a").phase, NodePhase::Succeeded);
    let said = stage.environment.planspec(&["describe", "execution/run", "-n", "team"]).succeeds().stdout;
    assert!(said.contains("came back with the uid of an Execution that has ended"), "{said}");
    check_quiet(stage);
}

fn uid_in(stage: &Stage) -> String {
    let log = stage.environment.git_output(&["log", "--format=%H", "--reverse", STATUS]);
    let first = log.lines().next().unwrap();
    let text = stage.environment.git_output(&["show", &format!("{first}:team/executions/run.yaml")]);
    text.lines().find_map(|line| line.trim().strip_prefix("uid: ")).unwrap().to_owned()
}

#[test]
fn a_manifest_that_comes_back_with_the_same_uid_has_ended() {
    let stage = lost_and_back();
    let uid = uid_in(&stage);
    check_ended(&stage, &uid);
    // A person runs it again, with what it was pinned to, and it is gone and back once more.
    stage.environment.planspec(&["retry", "run", "-n", "team", "--from", "a"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!((stage.status("run").phase, stage.trace("trace").len()), (ExecutionPhase::Succeeded, 2));
}

#[test]
fn a_manifest_that_comes_back_has_ended_also_where_neither_cache_nor_history_is_left() {
    let stage = lost_and_back();
    let uid = uid_in(&stage);
    stage.environment.planspec(&["gc", "--older-than", "0"]).succeeds();
    std::fs::remove_dir_all(stage.environment.repo().join(".git/planspec")).unwrap();
    check_ended(&stage, &uid);
}

#[test]
fn what_was_kept_of_a_removed_execution_and_cannot_be_read_lets_nothing_run_again() {
    for spoilt in ["", "a: [", "apiVersion: planspec.io/v1alpha1"] {
        let stage = lost_and_back();
        crate::pins::forge(&stage, |tree| {
            let kept = std::fs::read_dir(tree.join("team/removed")).unwrap().next().unwrap().unwrap().path();
            let kept = std::fs::read_dir(kept).unwrap().next().unwrap().unwrap().path();
            std::fs::write(kept.join("record.yaml"), spoilt).unwrap();
        });
        stage.environment.git(&["reset", "--quiet", "--hard", "whole"]).succeeds();
        stage.reconcile(&[]).succeeds();
        assert_eq!(stage.trace("trace").len(), 1);
        assert_eq!(stage.status("run").phase, ExecutionPhase::Cancelled);
    }
}
