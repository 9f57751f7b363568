//! Schedules from end to end: one run for each time whoever comes first, runs that no manifest declares and every command
//! shows, forged runs that run nothing, and what the end of a Schedule means for its runs.

use std::fs;
use std::path::PathBuf;

use planspec::model::{
    ExecutionPhase, Kind, NodePhase, NodeReason, ResourceStatus, ScheduleStatus, spec_digest,
};
use serde_json::{Value, json};

use crate::decisions::by;
use crate::engine_rig::{Graph, QUICK, Stage, bindings, document, record_in, status_in, yaml};
use crate::git_server::GitServer;
use crate::pins::forge;

/// A plan of one task that leaves its key, behind a gate or not.
fn plan(stage: &Stage, gated: bool) -> Graph {
    let key = Stage::leaves_its_key(&stage.outside("trace"));
    let gate = json!({ "id": "ok", "kind": "Gate", "gateRef": { "name": "ok" } });
    match gated {
        true => Graph::new("job").node(gate).task("a", &["ok"], &key),
        false => Graph::new("job").task("a", &[], &key),
    }
}

fn schedule(fields: &Value) -> Value {
    let mut schedule =
        document("Schedule", "yearly", &json!({ "cron": "0 0 1 1 *", "planRef": { "name": "job" } }));
    for (name, value) in fields.as_object().unwrap() {
        schedule["spec"][name] = value.clone();
    }
    schedule
}

/// Commits these manifests as if it had been done at the beginning of 2024.
#[track_caller]
fn commit_in_2024(stage: &Stage, documents: &[Value]) {
    stage.environment.write("work.yaml", &yaml(documents));
    stage.environment.git(&["add", "--all"]).succeeds();
    let commit = "alias.dated=!GIT_COMMITTER_DATE='2024-01-01T12:00:00Z' git commit --quiet -m Schedule";
    stage.environment.git(&["-c", commit, "dated"]).succeeds();
}

/// A Schedule that has existed for years.
fn begun(gated: bool, fields: &Value) -> Stage {
    let stage = Stage::new(QUICK, &[]);
    let graph = plan(&stage, gated);
    commit_in_2024(&stage, &[graph.plan(), bindings(&[&graph]), schedule(fields)]);
    stage
}

fn record(stage: &Stage) -> ScheduleStatus {
    match record_in(&stage.environment.repo(), Kind::Schedule, "yearly").unwrap().status {
        ResourceStatus::Schedule(status) => status,
        other => panic!("{other:?}"),
    }
}

/// The names of all Executions.
fn runs(stage: &Stage) -> Vec<String> {
    let listed = stage.environment.planspec(&["get", "executions", "-o", "name", "-A"]).succeeds().stdout;
    listed.lines().map(|line| line.rsplit('/').next().unwrap().to_owned()).collect()
}

/// The one run that a yearly Schedule has started.
#[track_caller]
fn only_run(stage: &Stage) -> String {
    let runs = runs(stage);
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert!(runs[0].starts_with("yearly-20") && runs[0].ends_with("01010000"), "{runs:?}");
    runs[0].clone()
}

#[test]
fn two_runners_start_one_run_for_the_last_of_the_missed_times() {
    let server = GitServer::new();
    let stage = begun(false, &json!({ "historyLimit": 3 }));
    let url = server.file_url();
    stage.environment.git(&["push", "--quiet", &url, "main"]).succeeds();
    let clones: Vec<PathBuf> =
        (0..2).map(|number| stage.clone_to(&url, &format!("clone-{number}"))).collect();
    let mut runners: Vec<_> = clones.iter().map(|clone| stage.start_in(clone, &[])).collect();
    for runner in &mut runners {
        runner.succeeds();
    }
    stage.reconcile_to_the_end(&clones[0]);
    assert_eq!(stage.trace("trace").len(), 1);
    let listed = stage.environment.planspec_in(&clones[1], &["get", "executions", "-A"]).succeeds().stdout;
    assert!(listed.contains("yearly-20") && listed.contains("Succeeded"), "{listed}");
    // A clone that has seen nothing comes to the same, and writes nothing (Invariants 1 and 17).
    let tip = stage.environment.git_in(&server.bare(), &["rev-parse", "planspec/status"]).stdout;
    let fresh = stage.clone_to(&url, "fresh");
    stage.reconcile_in(&fresh, &[]).succeeds();
    assert_eq!(stage.environment.git_in(&server.bare(), &["rev-parse", "planspec/status"]).stdout, tip);
    let name = listed.split_whitespace().find(|word| word.starts_with("yearly-20")).unwrap();
    assert_eq!(status_in(&server.bare(), name).phase, ExecutionPhase::Succeeded);
}

#[test]
fn a_schedule_that_waits_says_its_time_once() {
    let stage = begun(false, &json!({}));
    let said = stage.reconcile(&[]).succeeds().stdout;
    let line = said.lines().find(|line| line.starts_with("waiting: ")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.starts_with("waiting: team/yearly: no run is due, until 20"), "{line}");
    assert_eq!(line.matches("-01-01").count(), 1, "{line}");
}

/// Nobody looked at a manifest of the run, so that the gate of the configuration counts all the more.
#[test]
fn no_node_of_a_run_starts_without_the_gate_that_the_configuration_requires() {
    let stage =
        Stage::new(&format!("{QUICK}gates: {{require: [{{providers: ['tool://*'], gate: prod}}]}}\n"), &[]);
    let graph = plan(&stage, false);
    commit_in_2024(&stage, &[graph.plan(), bindings(&[&graph]), schedule(&json!({}))]);
    stage.reconcile(&[]).succeeds();
    let node = stage.node(&only_run(&stage), "a");
    assert_eq!((node.phase, node.extensions.reason), (NodePhase::Blocked, Some(NodeReason::GateRequired)));
    assert!(stage.trace("trace").is_empty());
}

/// The newest commit when a Schedule is due is anybody's: who wrote the Schedule and the Plan are the authors of its runs.
#[test]
fn whoever_wrote_the_schedule_or_its_plan_does_not_approve_a_run() {
    let stage = Stage::new(&format!("{QUICK}gates: {{authorMayApprove: false}}\n"), &[]);
    let graph = plan(&stage, true);
    let as_author = |name: &str, file: &str, documents: &[Value]| {
        stage.environment.write(file, &yaml(documents));
        stage.environment.git(&["add", "--all"]).succeeds();
        let commit = format!(
            "alias.dated=!GIT_COMMITTER_DATE='2024-01-01T12:00:00Z' GIT_AUTHOR_EMAIL={name}@example.com \
             GIT_COMMITTER_EMAIL={name}@example.com git commit --quiet -m Work"
        );
        stage.environment.git(&["-c", &commit, "dated"]).succeeds();
    };
    as_author("paula", "plan.yaml", &[graph.plan(), bindings(&[&graph])]);
    as_author("sam", "schedule.yaml", &[schedule(&json!({}))]);
    as_author("nora", "notes.yaml", &[]);
    stage.reconcile(&[]).succeeds();
    for author in ["paula", "sam", "nora"] {
        let refused = by(&stage.environment, author, &["approve", "ok", "-n", "team"]).exits(1);
        assert!(refused.stderr.contains("is the author"), "{author}: {refused:?}");
    }
    by(&stage.environment, "rosa", &["approve", "ok", "-n", "team"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.trace("trace").len(), 1);
}

#[test]
fn every_command_shows_a_run_that_no_manifest_declares() {
    let stage = begun(true, &json!({ "parameters": { "depth": 3 } }));
    let before = stage.environment.git_output(&["rev-parse", "main"]);
    stage.reconcile(&[]).succeeds();
    let run = only_run(&stage);
    assert_eq!(stage.status(&run).phase, ExecutionPhase::Blocked);
    let show = |arguments: &[&str]| stage.environment.planspec(arguments).succeeds().stdout;
    let page = show(&["describe", &format!("execution/{run}"), "-n", "team"]);
    assert!(page.contains("schedule/yearly") && page.contains("depth: 3"), "{page}");
    let object = show(&["get", "execution", &run, "-n", "team", "-o", "yaml"]);
    assert!(object.contains("ownerReferences") && object.contains("scheduled-at"), "{object}");
    let table = show(&["get", "schedules", "-n", "team"]);
    assert!(table.contains("0 0 1 1 *") && table.contains("ago") && table.contains("in "), "{table}");
    assert!(show(&["describe", "sched/yearly", "-n", "team"]).contains(&format!("execution/{run}")));
    assert!(show(&["status"]).contains(&run));
    show(&["approve", "gate/ok", "-n", "team"]);
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status(&run).phase, ExecutionPhase::Succeeded);
    assert_eq!((stage.trace("trace").len(), record(&stage).active.len()), (1, 0));
    assert!(show(&["get", "executions", "-n", "team"]).contains("Succeeded"));
    show(&["logs", &format!("{run}/a"), "-n", "team"]);
    // Invariant 2, and the cache may go at any time.
    assert_eq!(stage.environment.git_output(&["rev-parse", "main"]), before);
    let tip = stage.status_tip();
    fs::remove_dir_all(stage.environment.repo().join(".git/planspec")).unwrap();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status_tip(), tip);
}

#[test]
fn a_run_is_cancelled_and_retried_like_any_execution() {
    let stage = begun(true, &json!({}));
    stage.reconcile(&[]).succeeds();
    let run = only_run(&stage);
    stage.environment.planspec(&["cancel", &run, "-n", "team"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status(&run).phase, ExecutionPhase::Cancelled);
    stage.environment.planspec(&["retry", &run, "-n", "team"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status(&run).phase, ExecutionPhase::Blocked);
    stage.environment.planspec(&["approve", "gate/ok", "-n", "team"]).succeeds();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status(&run).phase, ExecutionPhase::Succeeded);
}

#[test]
fn the_end_of_a_schedule_ends_its_runs() {
    let stage = begun(true, &json!({}));
    stage.reconcile(&[]).succeeds();
    only_run(&stage);
    let graph = plan(&stage, true);
    stage.commit("work.yaml", &yaml(&[graph.plan(), bindings(&[&graph])]));
    stage.reconcile(&[]).succeeds();
    assert_eq!(runs(&stage), [""; 0]);
    assert!(record_in(&stage.environment.repo(), Kind::Schedule, "yearly").is_none());
    assert_eq!(stage.trace("trace"), [""; 0]);
}

/// It is the same Schedule, and the time that it started a run for does not come twice (Invariant 10).
#[test]
fn a_schedule_that_comes_back_with_the_same_uid_starts_no_run_again() {
    let stage = begun(false, &json!({}));
    let git = |arguments: &[&str]| stage.environment.git(arguments).succeeds();
    git(&["branch", "--quiet", "whole"]);
    stage.reconcile(&[]).succeeds();
    only_run(&stage);
    let uid = record_in(&stage.environment.repo(), Kind::Schedule, "yearly").unwrap().metadata.uid;
    git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    stage.reconcile(&["--allow-mass-delete"]).succeeds();
    assert!(record_in(&stage.environment.repo(), Kind::Schedule, "yearly").is_none());
    // Also where neither this clone nor the index remembers what there was.
    fs::remove_dir_all(stage.environment.repo().join(".git/planspec")).unwrap();
    git(&["reset", "--quiet", "--hard", "whole"]);
    stage.reconcile(&[]).succeeds();
    assert_eq!(record_in(&stage.environment.repo(), Kind::Schedule, "yearly").unwrap().metadata.uid, uid);
    assert_eq!(stage.trace("trace").len(), 1);
    assert_eq!(runs(&stage), [""; 0]);
}

#[test]
fn what_is_suspended_starts_nothing() {
    let stage = begun(false, &json!({ "suspend": true }));
    stage.reconcile(&[]).succeeds();
    assert_eq!((runs(&stage), record(&stage).word().to_owned()), (Vec::new(), "Suspended".to_owned()));
    let graph = plan(&stage, false);
    stage.commit("work.yaml", &yaml(&[graph.plan(), bindings(&[&graph]), schedule(&json!({}))]));
    stage.reconcile(&[]).succeeds();
    only_run(&stage);
    assert_eq!(stage.trace("trace").len(), 1);
}

#[test]
fn a_schedule_is_suspended_and_resumed_without_its_manifest() {
    let stage = begun(false, &json!({}));
    let say = |arguments: &[&str]| {
        let all: Vec<&str> = arguments.iter().chain(&["-n", "team"]).copied().collect();
        stage.environment.planspec(&all)
    };
    // Before any pass saw it, so that not even its first time comes.
    let said = say(&["suspend", "schedule/yearly", "-m", "the warehouse moves"]).succeeds().stdout;
    assert!(said.contains("schedule/yearly suspended"), "{said}");
    stage.reconcile(&[]).succeeds();
    assert_eq!((runs(&stage), record(&stage).word().to_owned()), (Vec::new(), "Suspended".to_owned()));
    let page = say(&["describe", "schedule/yearly"]).succeeds().stdout;
    assert!(page.contains("the warehouse moves") && page.contains("planspec resume"), "{page}");
    assert!(say(&["get", "schedules"]).succeeds().stdout.contains("Suspended"));
    let tip = stage.status_tip();
    assert!(say(&["suspend", "schedule/yearly"]).succeeds().stdout.contains("is already suspended"));
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status_tip(), tip);
    // In a clone without the cache as well: what somebody said is in the record.
    fs::remove_dir_all(stage.environment.repo().join(".git/planspec")).unwrap();
    stage.reconcile(&[]).succeeds();
    assert_eq!(runs(&stage), [""; 0]);
    say(&["resume", "schedule/yearly"]).succeeds();
    stage.reconcile(&[]).succeeds();
    only_run(&stage);
    assert!(say(&["resume", "schedule/yearly"]).succeeds().stdout.contains("is not suspended"));
    let log = stage.environment.git_output(&["log", "--format=%B", "planspec/status"]);
    assert!(log.contains("the warehouse moves"), "{log}");
    assert_eq!(say(&["suspend", "plan/job"]).code, 2);
}

#[test]
fn what_its_manifest_suspends_no_command_resumes() {
    let stage = begun(false, &json!({ "suspend": true }));
    stage.reconcile(&[]).succeeds();
    let refused = stage.environment.planspec(&["resume", "schedule/yearly", "-n", "team"]);
    assert!(refused.code != 0 && refused.stderr.contains("`suspend: true`"), "{refused:?}");
}

#[test]
fn a_schedule_runs_what_its_goal_has_chosen() {
    let stage = Stage::new(QUICK, &[]);
    let goal = document("Goal", "fresh", &json!({ "description": "the report is fresh" }));
    let mut schedule = schedule(&json!({ "goalRef": { "name": "fresh" } }));
    schedule["spec"].as_object_mut().unwrap().remove("planRef");
    let version = |number: u32| {
        let script = format!("echo {number} >> '{}'", stage.outside("trace").display());
        let graph = Graph::new(&format!("report-{number}")).task("a", &[], &script);
        let mut plan = graph.plan();
        for (name, value) in [("series", json!("report")), ("version", json!(number.to_string()))] {
            plan["spec"][name] = value;
        }
        plan["spec"]["goalRef"] = json!({ "name": "fresh" });
        (graph, plan)
    };
    commit_in_2024(&stage, &[goal.clone(), schedule.clone()]);
    stage.reconcile(&[]).succeeds();
    assert_eq!((runs(&stage), record(&stage).word().to_owned()), (Vec::new(), "NoPlan".to_owned()));
    // Two versions come: the newer one is the goal's active plan, and the missed time runs it.
    let (one, two) = (version(1), version(2));
    let binding = bindings(&[&one.0, &two.0]);
    stage.commit("plans.yaml", &yaml(&[one.1, two.1, binding]));
    stage.reconcile(&[]).succeeds();
    let run = stage.status(&only_run(&stage));
    assert_eq!(run.extensions.pinned.map(|pin| pin.plan.name.to_string()), Some("report-2".to_owned()));
    assert_eq!(stage.trace("trace"), ["2"]);
}

/// Changes the record of a run that waits at its gate, and approves that: nothing may run.
#[track_caller]
fn check_forged(why: &str, change: impl FnOnce(&mut Value)) {
    let stage = begun(true, &json!({}));
    stage.reconcile(&[]).succeeds();
    let run = only_run(&stage);
    forge(&stage, |tree| {
        let path = tree.join(format!("team/executions/{run}.yaml"));
        let mut record: Value = serde_yaml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        change(&mut record);
        fs::write(&path, record.to_string()).unwrap();
    });
    stage.reconcile(&[]);
    stage.environment.planspec(&["approve", "gate/ok", "-n", "team"]);
    stage.reconcile(&[]);
    assert_eq!(stage.trace("trace"), [""; 0], "it ran");
    let status = stage.status(&run);
    assert_eq!(status.reason.as_deref(), Some("PinMismatch"), "{status:?}");
    assert!(status.message.clone().unwrap_or_default().contains(why), "{status:?}");
}

#[test]
fn a_forged_run_runs_nothing() {
    check_forged("specHash", |record| {
        record["status"]["extensions"]["spec"]["parameters"] = json!({ "depth": 99 });
    });
    // With a digest that fits, too.
    check_forged("makes another spec", |record| {
        let spec = &mut record["status"]["extensions"]["spec"];
        spec["parameters"] = json!({ "depth": 99 });
        let digest = spec_digest(&serde_json::from_value(spec.clone()).unwrap());
        record["status"]["specHash"] = json!(digest);
    });
    check_forged("gives no execution this name", |record| {
        record["metadata"]["annotations"]["planspec.io/scheduled-at"] = json!("2025-05-05T05:05:00Z");
    });
    check_forged("its uid is not made of that of its owner", |record| {
        record["metadata"]["uid"] = json!("6f9619ff-8b86-5011-b42d-00cf4fc964ff");
    });
}

/// A whole record of an attacker's making, for a time that never came.
#[test]
fn a_planted_run_runs_nothing() {
    let stage = begun(false, &json!({ "suspend": true }));
    stage.reconcile(&[]).succeeds();
    forge(&stage, |tree| {
        let uid = json!("6f9619ff-8b86-5011-b42d-00cf4fc964ff");
        let owner = json!({ "apiVersion": "planspec.io/v1alpha1", "kind": "Schedule", "name": "yearly",
                            "uid": uid, "controller": true });
        let record = json!({
            "apiVersion": "planspec.io/v1alpha1", "kind": "Execution",
            "metadata": { "name": "yearly-202501010000", "namespace": "team", "uid": uid, "generation": 1,
                          "creationTimestamp": "2025-01-01T00:00:00Z", "ownerReferences": [owner],
                          "annotations": { "planspec.io/scheduled-at": "2025-01-01T00:00:00Z" } },
            "status": { "phase": "Pending", "extensions": { "spec": { "planRef": { "name": "job" } } } },
        });
        fs::create_dir_all(tree.join("team/executions")).unwrap();
        fs::write(tree.join("team/executions/yearly-202501010000.yaml"), record.to_string()).unwrap();
    });
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.trace("trace"), [""; 0]);
    let status = stage.status("yearly-202501010000");
    assert_eq!(status.reason.as_deref(), Some("PinMismatch"), "{status:?}");
}

#[test]
fn a_name_that_is_taken_is_said() {
    let stage = begun(true, &json!({}));
    stage.reconcile(&[]).succeeds();
    let run = only_run(&stage);
    let taken = Stage::new(QUICK, &[]);
    let graph = plan(&taken, true);
    let other = document("Execution", &run, &json!({ "planRef": { "name": "job" } }));
    commit_in_2024(&taken, &[graph.plan(), bindings(&[&graph]), schedule(&json!({})), other]);
    taken.reconcile(&[]).succeeds();
    assert_eq!(record(&taken).word(), "NameTaken");
    assert_eq!(only_run(&taken), run);
    let page = taken.environment.planspec(&["describe", "schedule/yearly", "-n", "team"]).succeeds().stdout;
    assert!(page.contains("is there already"), "{page}");
}

#[test]
fn a_schedule_is_run_now_as_an_execution_of_its_own() {
    let stage = begun(false, &json!({ "suspend": true, "parameters": { "depth": 3 } }));
    stage.environment.planspec(&["run", "schedule/yearly", "--name", "now", "-p", "more=1"]).succeeds();
    let text = stage.environment.read("planspec/team/executions/now.yaml");
    assert!(text.contains("depth: 3") && text.contains("more:") && text.contains("name: job"), "{text}");
    stage.reconcile(&[]).succeeds();
    assert_eq!((stage.status("now").phase, record(&stage).word()), (ExecutionPhase::Succeeded, "Suspended"));
}

/// A watching runner wakes for the next minute, and the run of that minute takes the place of the one before it.
#[test]
fn a_watching_runner_wakes_for_the_next_time_and_replaces_the_run_before() {
    let stage = Stage::new(QUICK, &[]);
    let graph = plan(&stage, true);
    let every = schedule(&json!({ "cron": "* * * * *", "concurrencyPolicy": "Replace" }));
    commit_in_2024(&stage, &[graph.plan(), bindings(&[&graph]), every]);
    let runner = stage.start(&["--watch", "10m"]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(90);
    loop {
        let phases: Vec<ExecutionPhase> = match stage.environment.git(&["rev-parse", "planspec/status"]).code
        {
            0 => runs(&stage).iter().map(|run| stage.status(run).phase).collect(),
            _ => Vec::new(),
        };
        if phases.contains(&ExecutionPhase::Cancelled) && phases.contains(&ExecutionPhase::Blocked) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{phases:?}\n{}", runner.output());
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    assert_eq!(stage.trace("trace"), [""; 0]);
}
