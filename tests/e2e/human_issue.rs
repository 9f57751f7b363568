//! `human://` on a Git host: an issue that is opened once, answered by whose word counts, reminded of, and called off.

use std::process::Command;

use serde_json::{Value, json};

use crate::environment::{Outcome, TestEnvironment};
use crate::github_host::GitHubHost;
use crate::overdue::{LONG, wait_within};
use crate::pins::{edit_record, forge_in};

const TOKEN: &str = "ghs_sEcReT0123456789";

const WORK: &str = r#"
apiVersion: planspec.io/v1alpha1
kind: Plan
metadata: {name: p, namespace: team}
spec:
  description: Measure the hall
  graph:
    nodes:
      - id: measure
        kind: Task
        name: "Measure @acme/everyone"
        description: "Go there.\n# <img src=x> ping @octocat and close #1\n"
        capabilityRefs: [{name: measuring}]
        inputs: {place: "hall ``` @team"}
        outputs: [width]
        FIELDS
      - {id: order, kind: Task, dependsOn: [measure], inputs: {text: "${{ nodes.measure.outputs.width }}"}}
---
apiVersion: planspec.io/v1alpha1
kind: Capability
metadata: {name: measuring, namespace: team}
spec:
  description: Takes measures
  outputs: [{name: width, type: number, required: true}]
---
apiVersion: planspec.io/v1alpha1
kind: Binding
metadata: {name: default, namespace: team}
spec:
  rules:
    - {selector: {planRef: {name: p}, nodeId: measure}, target: {provider: "human://PERSON"}}
    - {selector: {planRef: {name: p}, nodeId: order}, target: {provider: "tool://true", config: {command: "true"}}}
---
apiVersion: planspec.io/v1alpha1
kind: Execution
metadata: {name: e, namespace: team}
spec: {planRef: {name: p}}
"#;

struct World {
    environment: TestEnvironment,
    host: GitHubHost,
}

impl World {
    fn new(person: &str, fields: &str) -> Self {
        let work = WORK.replace("PERSON", person).replace("FIELDS", fields);
        let environment = TestEnvironment::with_files(&[("work.yaml", &work)]);
        let host = GitHubHost::start();
        host.with(|state| state.writers.push("wendy".to_owned()));
        Self { environment, host }
    }

    fn command(&self, name: &str, event: &Value) -> Command {
        let place = self.environment.root().join("event.json");
        std::fs::write(&place, event.to_string()).unwrap();
        let mut command = self.environment.planspec_command(&self.environment.repo());
        command.arg("ci").env("GITHUB_ACTIONS", "true").env("GITHUB_EVENT_NAME", name);
        command
            .env("GITHUB_EVENT_PATH", place)
            .env("GITHUB_REPOSITORY", "acme/app")
            .env("GITHUB_TOKEN", TOKEN);
        command.env("GITHUB_API_URL", self.host.url()).env("GITHUB_SERVER_URL", "https://github.com");
        command
    }

    fn ci(&self, name: &str, event: &Value) -> Outcome {
        let output = self.command(name, event).output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let outcome = Outcome {
            code: output.status.code().unwrap(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        };
        assert!(!format!("{outcome:?}").contains(TOKEN), "{outcome:?}");
        outcome
    }

    fn pass(&self) -> Outcome {
        self.ci("push", &json!({ "ref": "refs/heads/main", "repository": { "default_branch": "main" } }))
            .succeeds()
    }

    /// Somebody closes the issue, and the job runs that it starts.
    fn closes(&self, number: u64, login: &str, reason: &str) -> Outcome {
        self.host.with(|state| state.issues.turn(number, "closed", Some(reason), login));
        let issue = self.issue(number);
        self.ci("issues", &json!({ "action": "closed", "issue": issue })).succeeds()
    }

    fn issue(&self, number: u64) -> Value {
        self.host
            .with(|state| state.issues.all.iter().find(|issue| issue["number"] == number).cloned().unwrap())
    }

    fn node(&self) -> Value {
        let found = self.environment.planspec(&["get", "execution/e", "-n", "team", "-o", "json"]);
        found.succeeds().json()["status"]["nodeStatuses"]["measure"].clone()
    }

    fn tip(&self) -> String {
        self.environment.git_output(&["rev-parse", "planspec/status"])
    }
}

#[test]
fn a_task_is_one_issue_that_is_answered_when_it_is_closed() {
    let world = World::new("mia", "");
    world.pass();
    let issue = world.issue(40);
    assert_eq!(issue["assignees"][0]["login"], "mia");
    assert_eq!(issue["labels"][0]["name"], "planspec");
    let body = issue["body"].as_str().unwrap();
    assert!(body.contains("](https://github.com/acme/app/tree/planspec/status)"), "{body}");
    assert!(body.ends_with("\n```yaml\nwidth: # a number\n```\n"), "{body}");
    for hostile in ["@octocat", "@acme", "<img", "\n# ", "#1"] {
        assert!(!body.contains(hostile), "{hostile}: {body}");
    }
    // Inside of a fence that it cannot close, it may stand as it is.
    assert!(body.contains("````json\n") && !issue["title"].as_str().unwrap().contains("@acme"), "{body}");
    let node = world.node();
    assert_eq!(node["extensions"]["reason"], "AwaitingPerson");
    assert_eq!(
        node["message"],
        "waits for mia to close https://github.com/acme/app/issues/40 with the outputs width"
    );
    // Nothing happened: nothing is recorded, and nothing is asked for a second time.
    let (tip, changes) = (world.tip(), world.host.changes());
    world.pass();
    assert_eq!((world.tip(), world.host.changes()), (tip, changes));

    world.host.comment(40, "mia", "Here you are:\r\n```yaml\r\nwidth: 3.5 # metres\r\n```\r\n");
    world.host.comment(40, "eve", "```yaml\nwidth: 9999\n```");
    world.closes(40, "mia", "completed");
    let node = world.node();
    assert_eq!((&node["phase"], &node["outputs"]), (&json!("Succeeded"), &json!({"width": 3.5})));
    assert!(world.issue(40)["body"].as_str().unwrap().starts_with("<!-- planspec:ended "));
    // Running it again asks again.
    world.environment.planspec(&["retry", "e", "--from", "measure", "-n", "team"]).succeeds();
    world.pass();
    assert_eq!(world.issue(41)["state"], "open");
}

#[test]
fn only_whose_word_counts_may_close_or_answer() {
    let world = World::new("mia", "");
    world.pass();
    world.host.comment(40, "eve", "```yaml\nwidth: 9999\n```");
    world.closes(40, "eve", "completed");
    assert_eq!(world.issue(40)["state"], "open");
    let said = world.host.own_comments();
    assert!(said.len() == 1 && said[0].contains("eve closed it but may not answer"), "{said:?}");
    // Neither does a program, such as one that closes what is old.
    world.closes(40, "stale[bot]", "not_planned");
    assert_eq!((&world.issue(40)["state"], &world.node()["phase"]), (&json!("open"), &json!("Blocked")));
    // Of a stranger's words and mine, mine count; that somebody who may write closes it is enough.
    world.closes(40, "wendy", "completed");
    let said = world.host.own_comments();
    assert!(
        said[2].contains("\nThe answer does not count: ") && said[2].contains("`width` is missing"),
        "{said:?}"
    );
    world.host.comment(40, "wendy", "```json\n{\"width\": 4}\n```");
    world.host.comment(40, "github-actions[bot]", "```yaml\nwidth: 8888\n```");
    world.closes(40, "wendy", "completed");
    assert_eq!(world.node()["outputs"], json!({"width": 4}));
}

/// What closes an issue is asked what `complete` is asked: nothing counts for an Execution that is not what was merged, and nothing
/// is said on the host about it.
#[test]
fn closing_an_issue_decides_nothing_of_what_was_not_merged() {
    let world = World::new("mia", "");
    world.pass();
    let (tip, git) = (world.tip(), |arguments: &[&str]| world.environment.git(arguments).succeeds());
    // A commit that was never merged, such as one of a fork, which the host keeps under such a reference.
    git(&["checkout", "--quiet", "--detach"]);
    world.environment.commit_files(&[("more", "")], "Not merged");
    let evil = world.environment.git_output(&["rev-parse", "HEAD"]);
    git(&["update-ref", "refs/pull/9/head", &evil]);
    git(&["checkout", "--quiet", "main"]);
    let forgeries: [&dyn Fn(&mut Value); 2] =
        [&|record| record["status"]["extensions"]["pinned"]["commit"] = json!(evil), &|record| {
            record["status"]["nodeStatuses"].as_object_mut().unwrap().remove("order");
        }];
    world.host.comment(40, "mia", "```yaml\nwidth: 3\n```");
    for forgery in forgeries {
        forge_in(&world.environment, |tree| edit_record(&tree.join("team/executions/e.yaml"), forgery));
        let changes = world.host.changes();
        world.closes(40, "mia", "completed");
        assert_eq!(world.node()["phase"], "Blocked");
        assert_eq!(world.host.changes(), changes, "the host was told something");
        let completed = world.environment.planspec(&["complete", "e/measure", "width:=3", "-n", "team"]);
        assert!(completed.stderr.contains("is not what was merged"), "{completed:?}");
        git(&["update-ref", "refs/heads/planspec/status", &tip]);
        let _ = std::fs::remove_dir_all(world.environment.repo().join(".git/planspec"));
        world.host.with(|state| state.issues.turn(40, "open", None, "mia"));
    }
    world.closes(40, "mia", "completed");
    assert_eq!(world.node()["outputs"], json!({ "width": 3 }));
}

/// The number of the issue stands in the record, which anybody who can push the status branch may have written.
#[test]
fn no_other_issue_is_touched_or_answers_whatever_number_a_record_names() {
    let world = World::new("mia", "");
    world.pass();
    world.host.with(|state| {
        let mut other = state.issues.all.iter().find(|issue| issue["number"] == 40).cloned().unwrap();
        other["number"] = json!(39);
        other["body"] = json!("Something else\n");
        other["user"]["login"] = json!("eve");
        state.issues.all.push(other);
        state.issues.turn(39, "closed", Some("completed"), "mia");
    });
    world.host.comment(39, "mia", "```yaml\nwidth: 9999\n```");
    forge_in(&world.environment, |tree| {
        let path = tree.join("team/executions/e.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let forged = text.replace("\"issue\":40", "\"issue\":39");
        assert_ne!(text, forged, "{text}");
        std::fs::write(&path, forged).unwrap();
    });
    let changes = world.host.changes();
    world.pass();
    let node = world.node();
    assert_eq!(node["phase"], "Blocked");
    assert!(
        node["message"].as_str().unwrap().contains("does not begin with the mark of this task"),
        "{node}"
    );
    world.host.with(|state| state.issues.turn(39, "open", None, "eve"));
    world.environment.planspec(&["cancel", "e", "-n", "team"]).succeeds();
    world.pass();
    assert_eq!(world.host.changes(), changes, "the host was told something");
    assert_eq!(world.issue(39)["state"], "open");
}

#[test]
fn a_wrong_answer_is_told_once_and_the_issue_is_open_again() {
    let world = World::new("mia", "");
    world.pass();
    for (answer, why) in [
        ("```yaml\nwidth: broad\n```", "must be a number"),
        ("```json\n{\"width\": \n```", "not a JSON object"),
        ("```yaml\nwidth: 1\nheight: 2\n```", "not declared"),
        ("```yaml\nwidth:\n```\n", "is missing"),
    ] {
        let before = world.host.own_comments().len();
        world.host.comment(40, "mia", answer);
        world.closes(40, "mia", "completed");
        let said = world.host.own_comments();
        assert_eq!(said.len(), before + 1, "{answer}");
        // Names are code spans, and no signs that stand for backticks.
        assert!(said[before].contains(why) && !said[before].contains("&#96;"), "{said:?}");
        assert_eq!((&world.issue(40)["state"], &world.node()["phase"]), (&json!("open"), &json!("Blocked")));
        let message = world.node()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("the last answer does not count") && message.contains(why), "{message}");
        let tip = world.tip();
        world.pass();
        assert_eq!((world.tip(), world.host.own_comments().len()), (tip, before + 1));
        // Only the newest comment is to count in the next round.
        world.host.with(|state| state.comments.retain(|comment| comment["user"]["login"] != "mia"));
    }
    // What is filled in in the text of the issue counts as well.
    world.host.with(|state| {
        let body = state.issues.all[0]["body"]
            .as_str()
            .unwrap()
            .replace("\nwidth: # a number\n", "\r\nwidth: \"6\"\r\n");
        state.issues.all[0]["body"] = json!(body);
    });
    world.closes(40, "mia", "completed");
    assert_eq!(world.node()["outputs"], json!({"width": 6}));
}

#[test]
fn what_is_closed_as_not_planned_fails_with_the_words_of_whoever_may_say_so() {
    let world = World::new("team:security", "retries: 2");
    world.pass();
    let issue = world.issue(40);
    assert_eq!(issue["assignees"], json!([]));
    assert!(issue["body"].as_str().unwrap().contains("For `team security`"), "{issue}");
    world.host.with(|state| state.members.push("security/octocat".to_owned()));
    world.host.comment(40, "octocat", "The hall is \u{1b}[31mgone.\r\nSorry.");
    world.host.comment(40, "eve", "it is not");
    world.closes(40, "octocat", "not_planned");
    let node = world.node();
    assert_eq!(node["phase"], "Failed");
    let message =
        "octocat closed https://github.com/acme/app/issues/40 as not planned: The hall is gone. Sorry.";
    assert_eq!(node["message"], message);
    assert_eq!(world.host.with(|state| state.issues.all.len()), 1, "a person's no is not asked again");
}

#[test]
fn somebody_who_cannot_be_assigned_is_asked_all_the_same() {
    let world = World::new("mia", "");
    world.host.with(|state| state.issues.strangers.push("mia".to_owned()));
    world.pass();
    assert_eq!(world.issue(40)["assignees"], json!([]));
    assert!(world.issue(40)["body"].as_str().unwrap().contains("For `mia`"));
}

#[test]
fn an_answer_that_gets_lost_or_a_list_that_is_late_opens_no_second_issue() {
    let world = World::new("mia", "");
    world.host.with(|state| {
        state.issues.lost = 1;
        state.issues.late = 2;
    });
    world.pass();
    assert_eq!(world.host.with(|state| state.issues.all.len()), 1);
    assert!(world.node()["message"].as_str().unwrap().contains("issues/40"));
}

#[test]
fn a_runner_that_is_killed_while_it_opens_the_issue_leaves_it_to_the_next() {
    let world = World::new("mia", "");
    world.environment.commit_files(&[(".planspec.yaml", "lease: {duration: 3s, skew: 100ms}\n")], "Quick");
    world.host.with(|state| state.slow = Some("POST /repos/acme/app/issues"));
    let mut runner = world.command("push", &json!({ "ref": "refs/heads/main" })).spawn().unwrap();
    wait_within(LONG, "the issue is opened", || world.host.with(|state| !state.issues.all.is_empty()));
    runner.kill().unwrap();
    runner.wait().unwrap();
    world.host.with(|state| state.slow = None);
    // It waits for the lease of the other one, which is long enough that this one keeps its own on a busy machine.
    world.pass();
    let node = world.node();
    assert_eq!((&node["phase"], &node["attempt"]), (&json!("Blocked"), &json!(2)));
    assert_eq!(world.host.with(|state| state.issues.all.len()), 1);
}

#[test]
fn the_end_of_the_time_closes_the_issue() {
    let world = World::new("mia", "timeout: 1s");
    world.pass();
    std::thread::sleep(std::time::Duration::from_secs(1));
    world.pass();
    let node = world.node();
    assert_eq!((&node["phase"], &node["message"]), (&json!("Failed"), &json!("took longer than 1s")));
    let issue = world.issue(40);
    assert_eq!((&issue["state"], &issue["state_reason"]), (&json!("closed"), &json!("not_planned")));
    assert!(world.host.own_comments().last().unwrap().contains("Nothing remains to be done"));
}

#[test]
fn an_execution_that_is_cancelled_closes_its_issues() {
    let world = World::new("mia", "");
    world.pass();
    world.environment.planspec(&["cancel", "e", "-n", "team"]).succeeds();
    world.pass();
    assert_eq!(world.node()["phase"], "Cancelled");
    assert_eq!(world.issue(40)["state"], "closed");
}

#[test]
fn a_task_that_is_settled_by_a_command_closes_its_issue() {
    let world = World::new("mia", "");
    world.pass();
    world.environment.planspec(&["complete", "e/measure", "-n", "team", "width:=3"]).succeeds();
    world.pass();
    assert_eq!(
        (&world.node()["phase"], &world.node()["outputs"]),
        (&json!("Succeeded"), &json!({"width": 3}))
    );
    assert_eq!(world.issue(40)["state"], "closed");
    assert!(world.host.own_comments()[0].contains("settled in another way"));
}

#[test]
fn a_runner_without_a_host_leaves_the_task_as_it_is() {
    let world = World::new("mia", "");
    world.pass();
    let (tip, node) = (world.tip(), world.node());
    world.host.with(|state| state.issues.turn(40, "closed", None, "mia"));
    world.environment.planspec(&["reconcile"]).succeeds();
    assert_eq!((world.tip(), world.node()), (tip, node));
}

#[test]
fn criteria_are_checked_when_the_answer_is_there() {
    let criterion = r#"acceptanceCriteria: [{name: "a file <b>", type: artifact_exists, path: PATH}]"#;
    for (path, phase) in [("work.yaml", "Succeeded"), ("gone.yaml", "Failed")] {
        let world = World::new("mia", &criterion.replace("PATH", path));
        world.pass();
        let body = world.issue(40)["body"].as_str().unwrap().to_owned();
        assert!(body.contains("\n- [ ] a file &#60;b&#62;"), "{body}");
        world.host.comment(40, "mia", "```yaml\nwidth: 2\n```");
        world.closes(40, "mia", "completed");
        assert_eq!(world.node()["phase"], phase);
    }
}

#[test]
fn a_token_that_is_too_weak_fails_the_task_and_says_which_permission_it_lacks() {
    let world = World::new("mia", "");
    world.host.with(|state| state.refused = vec!["/issues"]);
    world.pass();
    let node = world.node();
    assert_eq!(node["phase"], "Failed");
    assert!(node["message"].as_str().unwrap().contains("`issues: "), "{node}");
}
