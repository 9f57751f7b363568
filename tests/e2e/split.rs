//! `providers.commands.workflow`: the pass holds the token and starts a workflow; a job without a token that can write does the work,
//! from the claim on the status branch, and the pass takes in what it left.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use planspec::model::{ExecutionPhase, Kind, NodePhase, NodeReason, NodeStatus};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::engine_rig::{Graph, Stage, check_history, record_in, status_in};
use crate::environment::Outcome;
use crate::github_host::GitHubHost;
use crate::overdue::{LONG, wait_within};
use crate::zip_file::{Entry, zip};

/// With a lease that a runner on a busy machine keeps.
const SPLIT: &str = "jobs: 8\nlease: {duration: 1m, skew: 100ms}\npublish: {burst: 1000, perMinute: 6000}\n\
    providers: {commands: {workflow: planspec-work.yml, pollInterval: 50ms}}\n";

/// A remote, the clone of the pass, and a host whose runs go on until a test ends them.
struct Split {
    stage: Stage,
    bare: PathBuf,
    clone: PathBuf,
    host: GitHubHost,
}

impl Split {
    fn new(graph: &Graph) -> Self {
        Self::configured(SPLIT, graph)
    }

    fn configured(config: &str, graph: &Graph) -> Self {
        let stage = Stage::with_graphs(config, &[graph]);
        let bare = stage.bare();
        let clone = stage.clone_to(bare.to_str().unwrap(), "clone");
        let host = GitHubHost::start();
        host.with(|state| state.runs.slow = true);
        Self { stage, bare, clone, host }
    }

    fn pass(&self) -> Command {
        let mut command = self.stage.environment.planspec_command(&self.clone);
        command.arg("reconcile").stdout(Stdio::null());
        command.env("GITHUB_TOKEN", "ghs_0123456789abcdef").env("GITHUB_API_URL", self.host.url());
        command.env("GITHUB_REPOSITORY", "acme/app");
        command
    }

    /// Passes until something becomes true: one is asked to end then, and one that ends by itself is followed by another.
    #[track_caller]
    fn pass_until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let pass = RefCell::new(self.pass().spawn().unwrap());
        wait_within(LONG, what, || {
            let mut pass = pass.borrow_mut();
            if let Some(ended) = pass.try_wait().unwrap() {
                assert!(ended.success(), "{ended} before {what}");
                *pass = self.pass().spawn().unwrap();
            }
            condition(self)
        });
        let _ = kill_process(Pid::from_child(&pass.borrow()), Signal::INT);
        wait_within(LONG, "the pass ends", || pass.borrow_mut().try_wait().unwrap().is_some());
    }

    /// Passes until another run was started; its number.
    #[track_caller]
    fn started(&self, count: usize) -> u64 {
        self.pass_until("a run was started", |split| {
            split.host.with(|state| state.runs.started.len() >= count)
        });
        self.host.with(|state| state.runs.all[count - 1]["id"].as_u64().unwrap())
    }

    /// What a job of the workflow does: with a fresh clone of a remote that takes no push, and without any token. The folder.
    fn job(&self, run: u64) -> (PathBuf, Outcome) {
        let read_only = self.stage.outside(&format!("read-only-{run}.git"));
        let (from, to) = (self.bare.to_str().unwrap(), read_only.to_str().unwrap());
        let root = self.stage.environment.root();
        // A copy, so that even a push that were possible would reach nobody.
        self.stage.environment.git_in(root, &["clone", "--quiet", "--mirror", from, to]).succeeds();
        let refuse = read_only.join("hooks/pre-receive");
        fs::write(&refuse, "#!/bin/sh\ntouch pushed\nexit 1\n").unwrap();
        fs::set_permissions(&refuse, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let clone = self.stage.clone_to(&format!("file://{to}"), &format!("job-{run}"));
        let inputs = self.host.with(|state| state.runs.inputs_of(run));
        let event = self.stage.outside(&format!("event-{run}.json"));
        fs::write(&event, json!({ "inputs": inputs }).to_string()).unwrap();
        let out = self.stage.outside(&format!("out-{run}"));
        let mut command = self.stage.environment.planspec_command(&clone);
        command.args(["ci", "work", "--out", out.to_str().unwrap()]);
        command.env("GITHUB_EVENT_NAME", "workflow_dispatch").env("GITHUB_EVENT_PATH", &event);
        command.env("GITHUB_REPOSITORY", "acme/app");
        let done = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let outcome = Outcome {
            code: done.status.code().unwrap_or(128),
            stdout: text(&done.stdout),
            stderr: text(&done.stderr),
        };
        assert!(!read_only.join("pushed").exists(), "{outcome:?}");
        (out, outcome)
    }

    /// The job of a run, to its end.
    #[track_caller]
    fn works(&self, run: u64) {
        let (out, outcome) = self.job(run);
        let outcome = outcome.succeeds();
        assert!(out.join("report.json").exists(), "{outcome:?}");
        self.host.with(|state| state.runs.end(run, "success", Some(zip_of(&out))));
    }

    fn node(&self, node: &str) -> NodeStatus {
        let status = status_in(&self.bare, "build");
        status.node_statuses.iter().find(|(id, _)| id.as_str() == node).unwrap().1.clone()
    }

    fn is_over(&self) -> bool {
        let record = record_in(&self.bare, Kind::Execution, "build");
        record.is_some_and(|record| record.execution().unwrap().phase.is_terminal())
    }

    /// A file of a commit.
    fn show(&self, commit: &str, path: &str) -> String {
        self.stage.environment.git_in(&self.bare, &["show", &format!("{commit}:{path}")]).succeeds().stdout
    }
}

#[test]
fn work_is_done_without_a_token_and_the_next_task_builds_on_it() {
    let first = "echo one > made && ln -s made link && printf x > run && chmod +x run && rm gone && \
        echo \"made=$PLANSPEC_NODE\" >> \"$PLANSPEC_OUTPUT\" && echo said && echo kept > \"$PLANSPEC_ARTIFACTS/note.txt\"";
    let second = "cat \"$PLANSPEC_UPSTREAM/first/note.txt\" > seen && cat made >> seen";
    let graph = Graph::new("build").editor("first", &[], first).editor("second", &["first"], second);
    let split = Split::new(&graph);
    split.stage.commit("gone", "here\n");
    let main = split.bare.to_str().unwrap();
    split.stage.environment.git(&["push", "--quiet", main, "HEAD:main"]).succeeds();
    let run = split.started(1);
    split.works(run);
    let run = split.started(2);
    let first = split.node("first");
    assert_eq!((first.phase, &first.outputs["made"]), (NodePhase::Succeeded, &json!("first")), "{first:?}");
    assert!(first.extensions.log.as_ref().unwrap().tail.contains("said"), "{first:?}");
    split.works(run);
    split.pass_until("it is over", Split::is_over);
    assert_eq!(status_in(&split.bare, "build").phase, ExecutionPhase::Succeeded);
    let result = split.node("second").extensions.result.clone().unwrap();
    assert_eq!(split.show(&result.commit, "seen"), "kept\none\n");
    let listed = ["ls-tree", "-r", &result.commit, "--", "made", "link", "run", "gone"];
    let listed = split.stage.environment.git_in(&split.bare, &listed).succeeds().stdout;
    let modes: Vec<(&str, &str)> =
        listed.lines().map(|line| (&line[..6], line.rsplit('\t').next().unwrap())).collect();
    assert_eq!(modes, [("120000", "link"), ("100644", "made"), ("100755", "run")]);
    // As every result: by the provider's name, with the words of the plan and the trailers of the pass.
    let shown = ["log", "-1", "--format=%an|%s|%(trailers:key=Planspec-Node,valueonly)", &result.commit];
    let shown = split.stage.environment.git_in(&split.bare, &shown).succeeds().stdout;
    assert_eq!(shown.trim(), "tool://sh|Do second|second");
    let parent = split.node("first").extensions.result.clone().unwrap().commit.clone();
    assert_eq!(result.base, parent);
    check_history(&split.bare);
    assert_eq!(split.host.with(|state| state.runs.started.len()), 2, "each attempt is one run");
}

/// The files of a folder.
fn zip_of(folder: &Path) -> Vec<u8> {
    let names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let entries: Vec<Entry<'_>> =
        names.iter().map(|name| Entry::deflated(name, &fs::read(folder.join(name)).unwrap())).collect();
    zip(&entries)
}

/// The archive of a report that says that these files changed, all to the same content.
fn forged(attempt: &str, changes: &Value, content: &[u8]) -> Vec<u8> {
    let report = json!({
        "apiVersion": "planspec.work/v1", "attempt": attempt, "changes": changes,
        "outcome": { "type": "succeeded", "outputs": {} },
    })
    .to_string();
    let names: Vec<String> =
        (0..changes.as_array().unwrap().len()).map(|at| format!("change-{at}")).collect();
    let mut entries = vec![Entry::deflated("report.json", report.as_bytes())];
    entries.extend(names.iter().map(|name| Entry::deflated(name, content)));
    zip(&entries)
}

/// What a job must not hand in: its changes, their content, and the words of the refusal.
fn refused() -> Vec<(&'static str, Value, &'static [u8], &'static str)> {
    let plain = |path: &str| json!([{ "path": path, "kind": "plain" }]);
    vec![
        ("workflow", plain(".github/workflows/evil.yml"), b"on: push", "`.github/workflows/evil.yml`"),
        ("config", plain(".planspec.yaml"), b"providers: {}", "`.planspec.yaml`"),
        ("up", plain("../out"), b"x", "cannot be the name of a file"),
        ("git", plain(".git/hooks/post-checkout"), b"x", "cannot be the name of a file"),
        ("ntfs", plain("git~1/config"), b"x", "cannot be the name of a file"),
        ("link", json!([{ "path": "out", "kind": "link" }]), b"/etc/passwd", "out"),
        ("secret", plain("leak"), b"ghp_0123456789abcdefghijklmnopqrstuvwxyz", "leak"),
        ("large", plain("big"), &[0; 5_000], "`limits.results.fileBytes`"),
    ]
}

#[test]
fn what_a_job_says_is_judged_like_everything_that_changes_here() {
    let graph = refused().iter().fold(Graph::new("build"), |graph, (id, ..)| graph.editor(id, &[], "true"));
    let split = Split::configured(&format!("{SPLIT}limits: {{results: {{fileBytes: 4000}}}}\n"), &graph);
    split.pass_until("every run was started", |split| {
        split.host.with(|state| state.runs.all.len()) == refused().len()
    });
    split.host.with(|state| {
        let runs: Vec<u64> = state.runs.all.iter().map(|run| run["id"].as_u64().unwrap()).collect();
        for run in runs {
            let attempt = state.runs.inputs_of(run)["planspec_key"].as_str().unwrap().to_owned();
            let node = attempt.split('/').nth(1).unwrap();
            let (_, changes, content, _) = refused().into_iter().find(|(id, ..)| *id == node).unwrap();
            state.runs.end(run, "success", Some(forged(&attempt, &changes, content)));
        }
    });
    split.pass_until("it is over", Split::is_over);
    for (id, _, _, words) in refused() {
        let node = split.node(id);
        assert_eq!(node.extensions.reason, Some(NodeReason::ChangeRefused), "{id}: {node:?}");
        assert!(node.message.contains(words), "{id}: {}", node.message);
        assert!(node.extensions.result.is_none(), "{id}");
    }
}

#[test]
fn a_run_that_leaves_nothing_is_lost_or_failed_and_a_cancelled_execution_takes_its_run_along() {
    let graph =
        Graph::new("build").editor("a", &[], "true").editor("b", &[], "true").editor("c", &[], "true");
    let split = Split::new(&graph);
    split.pass_until("every run was started", |split| split.host.with(|state| state.runs.all.len()) == 3);
    let run_of = |split: &Split, node: &str| {
        split.host.with(|state| {
            let runs = state.runs.all.iter().map(|run| run["id"].as_u64().unwrap());
            let found = runs.filter(|run| {
                let key = state.runs.inputs_of(*run)["planspec_key"].as_str().unwrap().to_owned();
                key.split('/').nth(1) == Some(node)
            });
            found.max().unwrap()
        })
    };
    let (lost, failed) = (run_of(&split, "a"), run_of(&split, "b"));
    split.host.with(|state| {
        state.runs.end(lost, "cancelled", None);
        state.runs.end(failed, "failure", None);
    });
    // What is lost is begun again, as another attempt with a run of its own; what failed has no retries.
    split.pass_until("another run was started", |split| run_of(split, "a") != lost);
    split.pass_until("the other failed", |split| split.node("b").phase == NodePhase::Failed);
    let message = split.node("b").message;
    assert!(message.contains("ended with failure and without a report"), "{message}");
    let cancel = ["cancel", "build", "-n", "team"];
    split.stage.environment.planspec_in(&split.clone, &cancel).succeeds();
    split.pass_until("it is over", Split::is_over);
    let conclusion = |run: u64| {
        split
            .host
            .with(|state| state.runs.all.iter().find(|one| one["id"] == run).unwrap()["conclusion"].clone())
    };
    for node in ["a", "c"] {
        assert_eq!(conclusion(run_of(&split, node)), "cancelled", "{node}");
    }
}

#[test]
fn a_job_works_on_no_claim_but_the_current_one() {
    let graph = Graph::new("build").editor("first", &[], "touch \"$PLANSPEC_ARTIFACTS/ran\"");
    let split = Split::new(&graph);
    let run = split.started(1);
    split.works(run);
    split.pass_until("it is over", Split::is_over);
    // The same job once more: what it is to do is done.
    let folder = split.stage.outside("out-700");
    fs::remove_dir_all(&folder).unwrap();
    for made in ["read-only-700.git", "job-700"] {
        fs::remove_dir_all(split.stage.outside(made)).unwrap();
    }
    let (out, outcome) = split.job(run);
    assert!(outcome.code != 0 && outcome.stderr.contains("is not under way"), "{outcome:?}");
    assert!(!out.join("report.json").exists());
    // A key that somebody made up.
    split.host.with(|state| state.runs.started[0]["inputs"]["planspec_key"] = json!("uid/first/9.9"));
    for made in ["out-700", "read-only-700.git", "job-700"] {
        fs::remove_dir_all(split.stage.outside(made)).unwrap();
    }
    let (_, outcome) = split.job(run);
    assert!(outcome.code != 0 && outcome.stderr.contains("is no current attempt"), "{outcome:?}");
}

#[test]
fn a_question_of_the_work_is_asked_and_the_answer_reaches_the_next_job() {
    let script = "if [ -z \"$PLANSPEC_ANSWER\" ]; then echo half > part; echo '{\"question\": \"Which?\"}' > \"$PLANSPEC_RESULT\"; \
        else cat part > answer; echo \"$PLANSPEC_ANSWER\" >> answer; fi";
    let split = Split::new(&Graph::new("build").editor("ask", &[], script));
    let run = split.started(1);
    split.works(run);
    split.pass_until("it asks", |split| {
        split.node("ask").extensions.reason == Some(NodeReason::InputRequired)
    });
    assert!(split.node("ask").message.contains("asks: Which?"), "{:?}", split.node("ask"));
    split
        .stage
        .environment
        .planspec_in(&split.clone, &["answer", "build/ask", "-n", "team", "this one"])
        .succeeds();
    let run = split.started(2);
    split.works(run);
    split.pass_until("it is over", Split::is_over);
    let result = split.node("ask").extensions.result.clone().unwrap();
    // What the first job had changed until it asked is there as well.
    assert_eq!(split.show(&result.commit, "answer"), "half\nthis one\n");
}

#[test]
fn commands_that_judge_work_elsewhere_do_not_run_beside_the_token() {
    let criteria = json!([{ "type": "test_passes", "name": "tests", "command": "touch planted" }]);
    let graph = Graph::new("build")
        .provided("ask", &[], "human://wendy", &json!({}))
        .field("acceptanceCriteria", criteria);
    let split = Split::new(&graph);
    split.pass_until("it is over", Split::is_over);
    let message = split.node("ask").message;
    assert!(message.contains("keeps commands out of this job"), "{message}");
}
