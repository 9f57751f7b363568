//! What a task had changed when it asked to be run again later, or asked a person: the next attempt finds it, on any machine, and
//! nobody takes it for a result.

use std::os::unix::fs::PermissionsExt as _;

use planspec::model::{ExecutionPhase, NodePhase, NodeReason, NodeStatus};
use serde_json::json;

use crate::engine_rig::{Graph, QUICK, Runner, Stage, check_history, status_in};

const KEPT: &str = "refs/planspec/results/team/one";

/// A task behind one that leaves three files, and one more task that reads what came of it.
fn behind_files(script: &str) -> Graph {
    Graph::new("one")
        .editor("before", &[], "echo old > changed; echo old > gone; echo 'built/' > .gitignore")
        .editor("work", &["before"], script)
        .editor("after", &["work"], "cat changed > seen")
}

fn stage(script: &str) -> Stage {
    Stage::with_graphs(QUICK, &[&behind_files(script)])
}

/// A shell line that does this in the attempt with that number.
fn in_attempt(number: u32, line: &str) -> String {
    format!("if test $PLANSPEC_ATTEMPT = {number}; then {line}; fi")
}

/// A shell line that asks, and so holds the task where it is.
const ASKS: &str = r#"echo '{"question": "Go on?"}' > "$PLANSPEC_RESULT"; exit 0"#;

/// A shell line that leaves in a file what differs from what the task works on.
fn lists(stage: &Stage) -> String {
    format!("git status --porcelain --untracked-files=all > '{}'", stage.outside("listed").display())
}

fn listed(stage: &Stage) -> Vec<String> {
    let text = std::fs::read_to_string(stage.outside("listed")).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn work(stage: &Stage) -> NodeStatus {
    stage.node("one", "work")
}

#[track_caller]
fn check_asks(stage: &Stage) -> NodeStatus {
    let node = work(stage);
    let at = (node.phase, node.extensions.reason);
    assert_eq!(at, (NodePhase::Blocked, Some(NodeReason::InputRequired)), "{node:#?}");
    node
}

fn answer(stage: &Stage) {
    stage.environment.planspec(&["answer", "one/work", "-n", "team", "yes"]).succeeds();
}

#[test]
fn whoever_goes_on_elsewhere_finds_the_files_as_they_were_left_and_nobody_else_sees_them() {
    let stage = Stage::new(QUICK, &[]);
    let leaves = "echo half > changed; rm gone; echo new > new; chmod +x new; ln -s new link; mkdir built; \
                  echo x > built/x; git add --all; git commit --quiet -m Half; echo more > more";
    let script = format!(
        "{}; {}; echo done >> changed; test ! -e built",
        in_attempt(1, &format!("{leaves}; {ASKS}")),
        lists(&stage)
    );
    stage.commit("work.yaml", &crate::engine_rig::manifests(&[&behind_files(&script)]));
    stage.reconcile(&[]).succeeds();
    let node = check_asks(&stage);
    assert_eq!(node.extensions.result, None);
    let before = stage.node("one", "before").extensions.result.unwrap();
    let unfinished = node.extensions.unfinished.unwrap();
    assert_eq!((&unfinished.base, unfinished.files, unfinished.attempt), (&before.commit, 5, 1));
    let is_kept = ["merge-base", "--is-ancestor", &unfinished.commit, KEPT];
    stage.environment.git(&is_kept).succeeds();
    let described =
        stage.environment.planspec(&["describe", "execution/one", "-n", "team"]).succeeds().stdout;
    assert!(described.contains(&format!("unfinished {}", &unfinished.commit[..7])), "{described}");

    let _ = std::fs::remove_dir_all(stage.outside("home/.cache"));
    let url = format!("file://{}", stage.environment.repo().display());
    let other = stage.clone_to(&url, "other");
    stage.environment.planspec_in(&other, &["answer", "one/work", "yes", "-n", "team"]).succeeds();
    stage.reconcile_to_the_end(&other);
    assert_eq!(stage.status("one").phase, ExecutionPhase::Succeeded);
    assert_eq!(listed(&stage), [" M changed", " D gone", "?? link", "?? more", "?? new"]);
    let node = work(&stage);
    let result = node.extensions.result.unwrap();
    assert_eq!((&result.base, result.files), (&before.commit, 5));
    assert_eq!(node.extensions.unfinished, None, "it is part of the result");
    let show = |what: &str| stage.environment.git_output(&["show", &format!("{}:{what}", result.commit)]);
    assert_eq!(show("changed"), "half\ndone");
    let mode = stage.environment.git_output(&["ls-tree", &result.commit, "new"]);
    assert!(mode.starts_with("100755"), "{mode}");
    let seen = stage.node("one", "after").extensions.result.unwrap();
    assert_eq!(seen.base, result.commit, "and what comes after builds on that alone");
    check_history(&stage.environment.repo());
}

#[test]
fn files_add_up_over_attempts_that_were_put_off_and_those_of_one_that_fails_are_dropped() {
    let stage = Stage::new(QUICK, &[]);
    let script = format!(
        "{}; {}; {}; {}; {}",
        in_attempt(1, "echo 1 > one; exit 75"),
        in_attempt(2, "echo 2 > two; echo '{\"retryAfter\": 1}' > $PLANSPEC_RESULT; exit 1"),
        in_attempt(3, "echo 3 > three; rm one; exit 1"),
        lists(&stage),
        "grep -i attempt \"$PLANSPEC_BRIEF\" > brief"
    );
    let agent = json!({ "command": script, "shell": true, "stdin": "none" });
    let graph = Graph::new("one").provided("work", &[], "agent://any", &agent).field("retries", json!(1));
    stage.commit("work.yaml", &crate::engine_rig::manifests(&[&graph]));
    stage.reconcile(&[]);
    stage.reconcile_until("the task is done", || work(&stage).phase == NodePhase::Succeeded);
    let node = work(&stage);
    assert_eq!((node.attempt, node.extensions.failures), (4, 1), "{node:#?}");
    assert_eq!(listed(&stage), ["?? one", "?? two"]);
    let commit = node.extensions.result.unwrap().commit.clone();
    let brief = stage.environment.git_output(&["show", &format!("{commit}:brief")]);
    assert!(brief.contains("Attempt 2 at this task had to stop before it was done."), "{brief}");
}

#[test]
fn a_runner_that_is_lost_takes_nothing_with_it_that_was_left_before() {
    let stage = Stage::new(QUICK, &[]);
    let begun = stage.outside("begun");
    let script = format!(
        "{}; {}; {}",
        in_attempt(1, "echo 1 > one; exit 75"),
        in_attempt(2, &format!("echo 2 > two; echo > '{}'; sleep 600", begun.display())),
        lists(&stage)
    );
    let graph = Graph::new("one").editor("work", &[], &script);
    stage.commit("work.yaml", &crate::engine_rig::manifests(&[&graph]));
    let mut runner: Runner = stage.start(&[]);
    stage.wait_until("the second attempt has begun", || begun.exists());
    runner.kill();
    stage.reconcile_to_the_end(&stage.environment.repo());
    assert_eq!((work(&stage).phase, work(&stage).attempt), (NodePhase::Succeeded, 3));
    assert_eq!(listed(&stage), ["?? one"]);
    check_history(&stage.environment.repo());
}

#[test]
fn what_no_result_may_hold_is_not_kept_and_the_node_says_so() {
    let stage = Stage::new(QUICK, &[]);
    let script = format!(
        "{}; {}; {}; test ! -e .github",
        in_attempt(1, "echo 1 > one; exit 75"),
        in_attempt(2, &format!("mkdir .github; echo > .github/x; {ASKS}")),
        lists(&stage)
    );
    let graph = Graph::new("one").editor("work", &[], &script);
    stage.commit("work.yaml", &crate::engine_rig::manifests(&[&graph]));
    stage.reconcile(&[]);
    stage.reconcile_until("it asks", || work(&stage).phase == NodePhase::Blocked);
    let node = check_asks(&stage);
    let said = "; what it changed so far is not kept: ";
    assert!(node.message.contains(said) && node.message.contains("`.github/x`"), "{}", node.message);
    assert_eq!(node.extensions.unfinished.map(|work| work.attempt), Some(1), "that stays");
    answer(&stage);
    stage.reconcile(&[]).succeeds();
    assert_eq!(work(&stage).phase, NodePhase::Succeeded);
    assert_eq!(listed(&stage), ["?? one"]);
}

#[test]
fn a_remote_that_does_not_take_it_is_no_reason_to_end_the_work() {
    let stage = stage(&format!("echo half > changed; {ASKS}"));
    let bare = stage.outside("bare.git");
    stage.environment.git(&["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]).succeeds();
    let hook = bare.join("hooks/update");
    // What comes before is taken.
    let refuses = "#!/bin/sh\ncase $1 in refs/planspec/results/*) ;; *) exit 0;; esac\n\
                   git log --format=%s $3 | grep -q ^Unfinished || exit 0\necho no >&2\nexit 1\n";
    std::fs::write(&hook, refuses).unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let clone = stage.clone_to(bare.to_str().unwrap(), "clone");
    stage.reconcile_in(&clone, &[]).succeeds();
    let node = status_in(&bare, "one")
        .node_statuses
        .values()
        .find(|node| node.attempt > 0 && node.extensions.reason.is_some())
        .cloned()
        .unwrap();
    assert_eq!(node.extensions.reason, Some(NodeReason::InputRequired), "{node:#?}");
    assert!(node.message.contains("; what it changed so far is not kept: "), "{}", node.message);
    assert_eq!(node.extensions.unfinished, None);
}

#[test]
fn a_retry_begins_anew_and_says_what_it_drops() {
    let stage = Stage::new(QUICK, &[]);
    let later = "echo half > changed; echo '{\"retryAfter\": \"1h\"}' > \"$PLANSPEC_RESULT\"; exit 1";
    let script = format!("{}; {}", in_attempt(1, later), lists(&stage));
    stage.commit("work.yaml", &crate::engine_rig::manifests(&[&behind_files(&script)]));
    stage.reconcile(&[]).succeeds();
    assert!(work(&stage).extensions.unfinished.is_some(), "{:#?}", work(&stage));
    let retry = ["retry", "one", "--from", "work", "-n", "team", "-m", "another way"];
    stage.environment.planspec(&retry).succeeds();
    let node = work(&stage);
    let said = ": another way; what attempt 1 had left unfinished (1 file) is dropped";
    assert!(node.message.ends_with(said), "{}", node.message);
    assert_eq!(node.extensions.unfinished, None);
    stage.reconcile(&[]).succeeds();
    assert_eq!(work(&stage).phase, NodePhase::Succeeded);
    assert!(listed(&stage).is_empty());
}

#[test]
fn work_whose_judge_asks_for_more_time_is_not_done_once_more() {
    let judge = json!({ "command": "test $PLANSPEC_ATTEMPT = 2 || exit 75", "shell": true });
    let settings = json!({ "verify": { "provider": "tool://judge", "config": judge } });
    let graph = Graph::new("one").editor_with("work", &[], "test -e made || date +%N > made", &settings);
    let stage = Stage::with_graphs(QUICK, &[&graph]);
    stage.reconcile(&[]);
    stage.reconcile_until("it is judged", || work(&stage).phase == NodePhase::Succeeded);
    let node = work(&stage);
    assert_eq!(node.attempt, 2, "{node:#?}");
    let result = node.extensions.result.unwrap();
    let kept = stage.environment.git_output(&["log", "--format=%H", "--grep=^Planspec-Node: work$", KEPT]);
    let made = |commit: &str| stage.environment.git_output(&["show", &format!("{commit}:made")]);
    let all: Vec<String> = kept.lines().map(made).collect();
    assert!(all.len() >= 2 && all.iter().all(|one| *one == made(&result.commit)), "{all:?}");
}
