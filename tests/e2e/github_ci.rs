//! `planspec ci` with the events of a Git host: pull requests, passes, commands in comments, reviews, reports of forks.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::environment::{Outcome, TestEnvironment};
use crate::github_host::{Fault, GitHubHost};

pub(crate) const TOKEN: &str = "ghs_sEcReT0123456789";

pub(crate) const CONFIG: &str = "
identities:
  rosa: {login: rosa, emails: [rosa@example.com]}
";

pub(crate) const GATE: &str = "
apiVersion: planspec.io/v1alpha1
kind: Gate
metadata: {name: look, namespace: team}
spec:
  gateType: review
  targetRef: {kind: Plan, name: p}
  reviewers: ['user:rosa', 'team:security']
";

pub(crate) const WORK: &str = "
apiVersion: planspec.io/v1alpha1
kind: Plan
metadata: {name: p, namespace: team}
spec:
  description: Build, have it looked at, ship it
  graph:
    nodes:
      - {id: build, kind: Task}
      - {id: look, kind: Gate, gateRef: {name: look}, dependsOn: [build]}
      - {id: ship, kind: Task, dependsOn: [look]}
---
apiVersion: planspec.io/v1alpha1
kind: Binding
metadata: {name: default, namespace: team}
spec:
  rules:
    - {selector: {planRef: {name: p}}, target: {provider: 'tool://true', config: {command: 'true'}}}
---
apiVersion: planspec.io/v1alpha1
kind: Execution
metadata: {name: e, namespace: team}
spec: {planRef: {name: p}}
";

/// A repository whose work came in with pull request 7, and a host that knows it.
pub(crate) struct World {
    pub(crate) environment: TestEnvironment,
    pub(crate) host: GitHubHost,
}

impl World {
    /// Any repository, and a host that knows nothing of it.
    pub(crate) fn around(environment: TestEnvironment) -> Self {
        Self { environment, host: GitHubHost::start() }
    }

    pub(crate) fn new(config: &str, gate: &str) -> Self {
        let environment = TestEnvironment::with_files(&[(".planspec.yaml", config)]);
        environment.commit_files(&[("gate.yaml", gate), ("work.yaml", WORK)], "Merge #7");
        let merge = environment.git_output(&["rev-parse", "HEAD"]);
        let host = GitHubHost::start();
        host.with(|state| {
            state.writers.push("wendy".to_owned());
            state.pulls.push(pull(7, "author", &merge, Some(&merge)));
        });
        Self { environment, host }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.environment.root().join(name)
    }

    pub(crate) fn left(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    pub(crate) fn ci(&self, name: &str, event: &Value, arguments: &[&str]) -> Outcome {
        self.ci_text(name, &event.to_string(), arguments)
    }

    fn ci_text(&self, name: &str, event: &str, arguments: &[&str]) -> Outcome {
        self.ci_in(&self.environment.repo(), name, event, arguments)
    }

    pub(crate) fn ci_in(&self, place: &Path, name: &str, event: &str, arguments: &[&str]) -> Outcome {
        let mut command = self.ci_command(place, name, event);
        self.finish(command.args(arguments))
    }

    pub(crate) fn ci_command(&self, place: &Path, name: &str, event: &str) -> Command {
        std::fs::write(self.file("event.json"), event).unwrap();
        for name in ["output", "summary"] {
            let _ = std::fs::remove_file(self.file(name));
        }
        let mut command = self.environment.planspec_command(place);
        command.arg("ci");
        command.env("GITHUB_ACTIONS", "true").env("GITHUB_EVENT_NAME", name);
        command.env("GITHUB_EVENT_PATH", self.file("event.json"));
        command.env("GITHUB_REPOSITORY", "acme/app").env("GITHUB_TOKEN", TOKEN);
        command.env("GITHUB_API_URL", self.host.url()).env("GITHUB_SERVER_URL", "https://github.com");
        command.env("GITHUB_RUN_ID", "77").env("GITHUB_OUTPUT", self.file("output"));
        command.env("GITHUB_STEP_SUMMARY", self.file("summary"));
        command
    }

    pub(crate) fn finish(&self, command: &mut Command) -> Outcome {
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let outcome = Outcome {
            code: output.status.code().unwrap(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        };
        let everything = format!("{outcome:?}{}{}", self.left("output"), self.left("summary"));
        assert!(!everything.contains(TOKEN), "the token is shown: {everything}");
        outcome
    }

    pub(crate) fn pass(&self) -> Outcome {
        self.ci("push", &json!({ "ref": "refs/heads/main", "repository": { "default_branch": "main" } }), &[])
    }

    /// Somebody writes a comment, and the job runs that it starts.
    pub(crate) fn says(&self, login: &str, text: &str) -> (u64, Outcome) {
        let id = self.host.comment(7, login, text);
        (id, self.runs_again(id))
    }

    /// The job of a comment runs, perhaps not for the first time.
    pub(crate) fn runs_again(&self, id: u64) -> Outcome {
        let event = json!({
            "action": "created", "issue": { "number": 7 }, "comment": { "id": id, "body": "forged" },
            "repository": { "default_branch": "main" },
        });
        self.ci("issue_comment", &event, &[])
    }

    pub(crate) fn reaction(&self, id: u64) -> Option<String> {
        self.host.with(|state| {
            state.reactions.iter().rfind(|(to, _)| *to == id).map(|(_, reaction)| reaction.clone())
        })
    }

    pub(crate) fn phase(&self) -> Value {
        self.phase_of("e")
    }

    pub(crate) fn phase_of(&self, name: &str) -> Value {
        let target = format!("execution/{name}");
        let found = self.environment.planspec(&["get", &target, "-n", "team", "-o", "json"]);
        found.succeeds().json()["status"]["phase"].clone()
    }
}

pub(crate) fn pull(number: u64, author: &str, head: &str, merge: Option<&str>) -> Value {
    let side = |branch: &str| json!({ "ref": branch, "sha": head, "repo": { "full_name": "acme/app" } });
    json!({
        "number": number, "state": if merge.is_some() { "closed" } else { "open" },
        "merged_at": merge.map(|_| "2026-01-01T00:00:00Z"), "merge_commit_sha": merge,
        "user": { "login": author, "type": "User" }, "head": side("feat"), "base": side("main"),
    })
}

pub(crate) fn opened(number: u64, head: &str) -> Value {
    json!({ "action": "opened", "pull_request": pull(number, "author", head, None) })
}

/// The lines that a runner takes for commands, as it documents `stop-commands`.
pub(crate) fn obeyed(outcome: &Outcome) -> Vec<String> {
    let mut stopped: Option<String> = None;
    let mut obeyed = Vec::new();
    for line in outcome.stdout.lines().chain(outcome.stderr.lines()) {
        match &stopped {
            Some(token) if line == format!("::{token}::") => stopped = None,
            Some(_) => {}
            None => match line.strip_prefix("::stop-commands::") {
                Some(token) => stopped = Some(token.to_owned()),
                None if line.trim_start().starts_with("::") || line.contains("##[") => {
                    obeyed.push(line.to_owned());
                }
                None => {}
            },
        }
    }
    obeyed
}

/// A branch with one more commit, and its id; `main` is checked out again.
pub(crate) fn change(world: &World, path: &str, content: &str) -> String {
    let environment = &world.environment;
    environment.git(&["switch", "--quiet", "-c", "feat"]).succeeds();
    environment.commit_files(&[(path, content)], "Change");
    let head = environment.git_output(&["rev-parse", "HEAD"]);
    environment.git(&["switch", "--quiet", "main"]).succeeds();
    head
}

#[test]
fn a_pull_request_gets_one_comment_and_no_edit_without_a_change() {
    let world = World::new(CONFIG, GATE);
    let second = WORK.replace("name: e,", "name: again,");
    let head = change(&world, "second.yaml", second.rsplit("---").next().unwrap());
    world.ci("pull_request", &opened(8, &head), &[]).succeeds();
    let comments = world.host.own_comments();
    assert_eq!(comments.len(), 1);
    assert!(comments[0].starts_with("<!-- planspec:preview -->"), "{}", comments[0]);
    assert!(comments[0].contains("again"), "{}", comments[0]);
    assert!(world.left("summary").contains("again"));
    assert!(world.left("output").contains("valid"));
    let before = world.host.changes();
    world.ci("pull_request", &opened(8, &head), &[]).succeeds();
    assert_eq!(world.host.changes(), before);
}

/// A pull request that touches no manifest is none of our business, unless it was before.
#[test]
fn a_change_without_manifests_gets_no_comment_and_an_older_comment_follows() {
    let world = World::new(CONFIG, GATE);
    let environment = &world.environment;
    let head = change(&world, "notes.txt", "nothing that we read");
    let outcome = world.ci("pull_request", &opened(8, &head), &[]).succeeds();
    assert!(outcome.stderr.contains("no manifest is touched"), "{outcome:?}");
    assert_eq!((world.host.own_comments(), world.host.changes()), (Vec::new(), 0));
    assert!(world.left("summary").contains("no resource changes") && world.left("output").contains("valid"));
    environment.git(&["switch", "--quiet", "feat"]).succeeds();
    environment
        .commit_files(&[("gate.yaml", &GATE.replace("gateType: review", "gateType: approval"))], "Touch it");
    let touched = environment.git_output(&["rev-parse", "HEAD"]);
    environment.commit_files(&[("gate.yaml", GATE)], "Take it back");
    let head = environment.git_output(&["rev-parse", "HEAD"]);
    environment.git(&["switch", "--quiet", "main"]).succeeds();
    world.ci("pull_request", &opened(8, &touched), &[]).succeeds();
    assert!(world.host.own_comments()[0].contains("gateType"));
    world.ci("pull_request", &opened(8, &head), &[]).succeeds();
    let [comment] = world.host.own_comments().try_into().unwrap();
    assert!(comment.contains("no resource changes"), "{comment}");
}

/// Only what is merged into the desired branch starts anything.
#[test]
fn a_change_for_another_branch_is_not_told_that_something_would_start() {
    let world = World::new(CONFIG, GATE);
    world.environment.git(&["branch", "release"]).succeeds();
    let second = WORK.replace("name: e,", "name: again,");
    let head = change(&world, "second.yaml", second.rsplit("---").next().unwrap());
    let mut event = opened(8, &head);
    event["repository"] = json!({ "default_branch": "main" });
    event["pull_request"]["base"]["ref"] = json!("release");
    world.ci("pull_request", &event, &[]).succeeds();
    let [comment] = world.host.own_comments().try_into().unwrap();
    assert!(comment.contains("the desired branch is main, and this goes into release"), "{comment}");
    assert!(comment.contains("1 created") && !comment.contains("would start"), "{comment}");
    event["pull_request"]["base"]["ref"] = json!("main");
    world.ci("pull_request", &event, &[]).succeeds();
    let [comment] = world.host.own_comments().try_into().unwrap();
    assert!(comment.contains("1 execution would start") && !comment.contains("Nothing starts"), "{comment}");
}

/// The queue puts changes together that were judged apart: each is fine, and both at once are not.
#[test]
fn the_merge_queue_is_answered_for_what_it_has_put_together() {
    let world = World::new(CONFIG, GATE);
    let environment = &world.environment;
    let group = |head: &str| {
        json!({ "action": "checks_requested", "repository": { "default_branch": "main" }, "merge_group": {
            "head_sha": head, "head_ref": "refs/heads/gh-readonly-queue/main/pr-8-b",
            "base_ref": "refs/heads/main", "base_sha": "b".repeat(40),
        } })
    };
    let head =
        change(&world, "second.yaml", WORK.replace("name: e,", "name: again,").rsplit("---").next().unwrap());
    world.ci("merge_group", &group(&head), &[]).succeeds();
    assert!(world.left("summary").contains("again") && world.left("output").contains("valid"));
    environment.git(&["switch", "--quiet", "feat"]).succeeds();
    environment
        .commit_files(&[("gate.yaml", &GATE.replace("gateType: review", "gateType: revue"))], "And another");
    let head = environment.git_output(&["rev-parse", "HEAD"]);
    environment.git(&["switch", "--quiet", "main"]).succeeds();
    let outcome = world.ci("merge_group", &group(&head), &[]).exits(1);
    assert!(obeyed(&outcome)[0].starts_with("::error file=gate.yaml,"), "{outcome:?}");
    // There is no one pull request to tell.
    assert_eq!((world.host.own_comments(), world.host.changes()), (Vec::new(), 0));
    let outcome = world.ci("star", &json!({}), &[]).exits(2);
    assert!(outcome.stderr.contains("unknown event `star`"), "{outcome:?}");
    assert!(world.left("summary").contains("unknown event"), "{}", world.left("summary"));
}

/// More findings than the runner takes: it would drop the others in silence.
#[test]
fn findings_beyond_what_the_runner_takes_are_counted() {
    let world = World::new(CONFIG, GATE);
    let broken: Vec<String> = (0..14)
        .map(|at| GATE.replace("look,", &format!("g{at},")).replace("gateType: review", "gateType: revue"))
        .collect();
    let head = change(&world, "gates.yaml", &broken.join("---"));
    let outcome = world.ci("pull_request", &opened(8, &head), &[]).exits(1);
    let obeyed = obeyed(&outcome);
    assert_eq!(obeyed.len(), 10, "{outcome:?}");
    assert!(
        obeyed.iter().any(|line| line == "::error title=planspec::… and 5 more: see the summary of this job"),
        "{outcome:?}"
    );
}

#[test]
fn what_a_change_breaks_is_told_on_its_lines_as_it_is_after_the_merge() {
    let world = World::new(CONFIG, GATE);
    let head = change(&world, "gate.yaml", &GATE.replace("gateType: review", "gateType: revue"));
    // The base goes on: what is compared is the merge result.
    world.environment.commit_files(&[("notes.txt", "later")], "Later");
    let outcome = world.ci("pull_request", &opened(8, &head), &[]).exits(1);
    let obeyed = obeyed(&outcome);
    assert_eq!(obeyed.len(), 1, "{outcome:?}");
    assert!(obeyed[0].starts_with("::error file=gate.yaml,line=6,"), "{outcome:?}");
    assert!(world.host.own_comments()[0].contains("The branch has moved since"));
    assert!(world.left("output").contains("invalid"));
}

#[test]
fn a_change_that_cannot_be_merged_is_told_so_and_fails() {
    let world = World::new(CONFIG, GATE);
    let head = change(&world, "gate.yaml", &GATE.replace("gateType: review", "gateType: approval"));
    world
        .environment
        .commit_files(&[("gate.yaml", &GATE.replace("gateType: review", "gateType: sign-off"))], "Later");
    let base = world.environment.git_output(&["rev-parse", "HEAD"]);
    world.ci("pull_request", &opened(8, &head), &[]).exits(1);
    let [comment] = world.host.own_comments().try_into().unwrap();
    assert!(comment.contains("## ❌ planspec: cannot be merged\n"), "{comment}");
    assert!(comment.contains("conflicts with its base"), "{comment}");
    assert!(comment.contains(&base[..12]) && comment.contains(&head[..12]), "{comment}");
    assert!(!comment.contains("approval"), "{comment}");
    assert!(world.left("summary").contains("conflicts with") && world.left("output").contains("invalid"));
    // Put right, the same comment says what it would do.
    world.environment.git(&["switch", "--quiet", "-C", "feat", "main"]).succeeds();
    world
        .environment
        .commit_files(&[("gate.yaml", &GATE.replace("gateType: review", "gateType: approval"))], "Again");
    let head = world.environment.git_output(&["rev-parse", "HEAD"]);
    world.environment.git(&["switch", "--quiet", "main"]).succeeds();
    world.ci("pull_request", &opened(8, &head), &[]).succeeds();
    let [comment] = world.host.own_comments().try_into().unwrap();
    assert!(comment.contains("gateType") && !comment.contains("conflicts"), "{comment}");
}

/// A clone of one commit, whose remote is the repository.
fn shallow_clone(world: &World, name: &str, reference: &str) -> PathBuf {
    let (place, from) = (world.file(name), world.environment.repo());
    let git = |arguments: &[&str]| {
        let place = place.to_str().unwrap();
        world.environment.git(&[&["-C", place], arguments].concat()).succeeds();
    };
    world.environment.git(&["init", "--quiet", place.to_str().unwrap()]).succeeds();
    git(&["remote", "add", "origin", from.to_str().unwrap()]);
    let url = format!("file://{}", from.display());
    git(&["fetch", "--quiet", "--depth=1", &url, &format!("+{reference}:refs/remotes/seen")]);
    git(&["checkout", "--quiet", "--detach", "refs/remotes/seen"]);
    place
}

/// Who brought something is not guessed from the last commit that a clone without history holds.
#[test]
fn a_pass_without_history_tells_the_right_pull_request_and_lets_no_author_approve() {
    let config = "gates: {authorMayApprove: false}\n";
    let world = World::new(config, &GATE.replace("'user:rosa'", "author, rosa"));
    let environment = &world.environment;
    world.pass().succeeds();
    assert!(world.host.own_comments()[0].contains("team/execution/e"));
    // Another pull request is merged; a clone that holds nothing else looks after all that waits.
    environment.commit_files(&[("notes.txt", "later")], "Merge #9");
    let merge = environment.git_output(&["rev-parse", "HEAD"]);
    world.host.with(|state| state.pulls.push(pull(9, "wendy", &merge, Some(&merge))));
    environment.git(&["switch", "--quiet", "--detach"]).succeeds();
    let place = shallow_clone(&world, "shallow", "refs/heads/main");
    let event = json!({ "repository": { "default_branch": "main" } });
    world.ci_in(&place, "schedule", &event.to_string(), &[]).succeeds();
    let told = world.host.with(|state| {
        let issue =
            |comment: &Value| comment["issue_url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        state.comments.iter().map(issue).collect::<Vec<_>>()
    });
    assert_eq!(told, ["7"]);
    let says = |login: &str, place: &Path| {
        let id = world.host.comment(7, login, "/planspec approve look");
        let event = json!({ "action": "created", "issue": { "number": 7 }, "comment": { "id": id, "body": "" },
            "repository": { "default_branch": "main" } });
        let outcome = world.ci_in(place, "issue_comment", &event.to_string(), &[]);
        (world.reaction(id), outcome)
    };
    let (reaction, outcome) = says("author", &place);
    assert_eq!(reaction.as_deref(), Some("-1"), "{outcome:?}");
    assert!(world.host.own_comments().last().unwrap().contains("the author of"));
}

/// A checkout without history, as the host's own action makes it where nothing else is asked for.
#[test]
fn a_checkout_without_history_is_compared_by_the_merge_that_the_host_made() {
    let world = World::new(CONFIG, GATE);
    let environment = &world.environment;
    environment.git(&["switch", "--quiet", "-c", "feat"]).succeeds();
    environment.git(&["rm", "--quiet", "gate.yaml"]).succeeds();
    environment.git(&["commit", "--quiet", "-m", "Without the gate"]).succeeds();
    let head = environment.git_output(&["rev-parse", "HEAD"]);
    environment.git(&["switch", "--quiet", "main"]).succeeds();
    environment.commit_files(&[("notes.txt", "later")], "Later");
    environment.git(&["switch", "--quiet", "--detach"]).succeeds();
    environment.git(&["merge", "--quiet", "--no-ff", "-m", "Merge", "feat"]).succeeds();
    environment.git(&["update-ref", "refs/pull/8/merge", "HEAD"]).succeeds();
    environment.git(&["update-ref", "refs/pull/8/head", &head]).succeeds();
    environment.git(&["switch", "--quiet", "main"]).succeeds();
    let clone = |name: &str, reference: &str| shallow_clone(&world, name, reference);
    let event = opened(8, &head).to_string();
    world.ci_in(&clone("shallow", "refs/pull/8/merge"), "pull_request", &event, &[]).succeeds();
    let [comment] = world.host.own_comments().try_into().unwrap();
    assert!(comment.contains("1 deleted") && comment.contains("gate/look"), "{comment}");
    // Where that is not what is checked out, nothing is guessed: a merge without a common ancestor would bring back what
    // the change deletes.
    let outcome = world.ci_in(&clone("other", "refs/heads/main"), "pull_request", &event, &[]).exits(3);
    assert!(outcome.stderr.contains("fetch-depth: 0"), "{outcome:?}");
    assert_eq!(world.host.own_comments(), [comment]);
}

#[test]
fn a_token_that_may_only_read_leaves_the_summary_and_says_which_permission_it_lacks() {
    let world = World::new(CONFIG, GATE);
    let head = change(&world, "gate.yaml", &GATE.replace("gateType: review", "gateType: approval"));
    world.host.with(|state| state.refused = vec!["/issues/"]);
    let outcome = world.ci("pull_request", &opened(8, &head), &[]).succeeds();
    assert!(outcome.stderr.contains("`issues: read`"), "{outcome:?}");
    assert!(!world.left("summary").is_empty());
}

#[test]
fn a_change_from_a_fork_writes_nothing_and_its_report_is_told_by_another_job() {
    let world = World::new(CONFIG, GATE);
    let head = change(&world, "gate.yaml", &GATE.replace("look,", "glance,"));
    let mut event = opened(8, &head);
    event["pull_request"]["head"]["repo"]["full_name"] = json!("eve/app");
    let report = world.file("preview.json");
    let report = report.to_str().unwrap();
    world.ci("pull_request", &event, &["--report", report]);
    assert_eq!(world.host.changes(), 0);

    // The author of the fork controls the file.
    let mut hostile: Value = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    hostile["warnings"] = json!(["@acme/everyone\n\n# <img src=x onerror=y> ::error::z"]);
    std::fs::write(report, hostile.to_string()).unwrap();
    let mut theirs = pull(8, "eve", &head, None);
    theirs["head"]["repo"]["full_name"] = json!("eve/app");
    // Somebody else's pull request has the same commit as its head.
    world.host.with(|state| state.pulls.extend([pull(6, "wendy", &head, None), theirs]));
    let done = json!({
        "action": "completed", "repository": { "full_name": "acme/app", "default_branch": "main" },
        "workflow_run": {
            "event": "pull_request", "head_sha": head, "head_branch": "feat",
            "head_repository": { "full_name": "eve/app", "owner": { "login": "eve" } },
        },
    });
    world.ci("workflow_run", &done, &["--report", report]).succeeds();
    assert!(world.host.with(|state| state.comments[0]["issue_url"].as_str().unwrap().ends_with("/8")));
    let comment = world.host.own_comments().remove(0);
    assert!(comment.contains("glance") && comment.contains("whose author controls it"), "{comment}");
    assert!(!comment.contains("@acme") && !comment.contains("<img"), "{comment}");

    // Fields that are none, what is no file, and what is too large: refused, and nothing of it is printed as it is.
    let before = world.host.changes();
    hostile["x\n::set-output name=y::z\u{1b}[2J"] = json!(1);
    std::fs::write(report, hostile.to_string()).unwrap();
    let refused = world.ci("workflow_run", &done, &["--report", report]).exits(1);
    assert!(refused.stderr.contains("is not a preview") && !refused.stderr.contains('\u{1b}'), "{refused:?}");
    // The one command is our own: what the file holds is text in it.
    let [command] = obeyed(&refused).try_into().unwrap();
    assert!(command.starts_with("::error title=planspec::the file is not a preview"), "{command}");
    hostile.as_object_mut().unwrap().retain(|key, _| !key.starts_with('x'));
    hostile["number"] = json!(7);
    std::fs::write(report, hostile.to_string()).unwrap();
    world.ci("workflow_run", &done, &["--report", report]).exits(1);
    hostile.as_object_mut().unwrap().remove("number");
    std::fs::remove_file(report).unwrap();
    std::os::unix::fs::symlink(world.file("event.json"), report).unwrap();
    let refused = world.ci("workflow_run", &done, &["--report", report]).exits(1);
    assert!(refused.stderr.contains("not a regular file"), "{refused:?}");
    std::fs::remove_file(report).unwrap();
    std::fs::write(report, " ".repeat(5 << 20)).unwrap();
    world.ci("workflow_run", &done, &["--report", report]).exits(1);
    assert_eq!(world.host.changes(), before);
    // A commit that no open pull request has as its head gets no comment anywhere.
    world.host.with(|state| state.pulls.clear());
    std::fs::write(report, hostile.to_string()).unwrap();
    let before = world.host.changes();
    world.ci("workflow_run", &done, &["--report", report]).succeeds();
    assert_eq!(world.host.changes(), before);
}

#[test]
fn a_pass_tells_the_pull_request_that_brought_the_work_and_only_when_something_changed() {
    let world = World::new(CONFIG, GATE);
    world.pass().succeeds();
    let comments = world.host.own_comments();
    assert_eq!(comments.len(), 1);
    assert!(comments[0].starts_with("<!-- planspec:progress -->"), "{}", comments[0]);
    assert!(comments[0].contains("Blocked") && comments[0].contains("/planspec approve"), "{}", comments[0]);
    let output = world.left("output");
    assert!(output.contains("waiting") && output.contains(r#"{"team/e":"Blocked"}"#), "{output}");
    let summary = world.left("summary");
    assert!(summary.contains("```mermaid") && summary.contains("## Timeline"), "{summary}");
    let before = world.host.changes();
    world.pass().succeeds();
    assert_eq!(world.host.changes(), before);
}

/// Right after a merge the host may not know yet which pull request a commit belongs to, or may refuse once.
#[test]
fn what_ended_while_the_host_was_late_is_reported_by_the_next_pass() {
    let world = World::new(CONFIG, GATE);
    let ends =
        WORK.replace("      - {id: look, kind: Gate, gateRef: {name: look}, dependsOn: [build]}\n", "");
    let ends = ends.replace("[look]", "[build]");
    world.environment.commit_files(&[("work.yaml", &ends)], "Without a gate");
    world.host.with(|state| state.late = 1);
    world.pass().succeeds();
    assert_eq!((world.phase(), world.host.own_comments()), (json!("Succeeded"), Vec::new()));
    assert_eq!(world.host.with(|state| state.late), 0);
    world.host.with(|state| state.refused = vec!["/comments"]);
    world.pass().succeeds();
    assert_eq!(world.host.own_comments(), Vec::<String>::new());
    world.host.with(|state| state.refused.clear());
    world.pass().succeeds();
    let [comment] = world.host.own_comments().try_into().unwrap();
    assert!(comment.contains("Succeeded"), "{comment}");
    let before = world.host.changes();
    world.pass().succeeds();
    assert_eq!(world.host.changes(), before);
}

/// Who brought an Execution is who wrote it, not who made the file that it stands in.
#[test]
fn an_execution_in_a_file_that_was_there_belongs_to_the_pull_request_that_added_it() {
    let config = "gates: {authorMayApprove: false}\n";
    let world = World::new(config, &GATE.replace("'user:rosa'", "author, wendy"));
    let more = format!("{WORK}---{}", WORK.rsplit("---").next().unwrap().replace("name: e,", "name: e2,"));
    // Otherwise it would run what the next pull request left, and be the work of both.
    world.pass().succeeds();
    world.environment.commit_files(&[("work.yaml", &more)], "Merge #9");
    let merge = world.environment.git_output(&["rev-parse", "HEAD"]);
    world.host.with(|state| state.pulls.push(pull(9, "wendy", &merge, Some(&merge))));
    world.environment.commit_files(&[("work.yaml", &format!("# Work\n{more}"))], "Past both");
    world.pass().succeeds();
    let told = world.host.with(|state| {
        let text = |comment: &Value| comment["body"].as_str().unwrap().to_owned();
        let end = |number: u64| {
            let own = format!("/issues/{number}");
            state.comments.iter().find(|one| one["issue_url"].as_str().unwrap().ends_with(&own)).map(text)
        };
        [end(7).unwrap(), end(9).unwrap()]
    });
    assert!(told[0].contains("approve e/look") && !told[0].contains("approve e2/look"), "{told:?}");
    assert!(told[1].contains("approve e2/look") && !told[1].contains("approve e/look"), "{told:?}");
    // It says whom it waits for, and where the record can be read.
    assert!(told[0].contains("`e` waits for `author`, `wendy`, team `security`"), "{told:?}");
    let address = "(https://github.com/acme/app/blob/planspec/status/team/executions/e.yaml)";
    assert!(told[0].contains(address), "{told:?}");
    let (id, outcome) = world.says("wendy", "/planspec approve e2/look");
    assert_eq!(world.reaction(id).as_deref(), Some("-1"), "{outcome:?}");
    let (id, outcome) = world.says("wendy", "/planspec approve e/look");
    assert_eq!(world.reaction(id).as_deref(), Some("+1"), "{outcome:?}");
}

/// A pull request that was rebased brings several commits; its comment is about all of them, whatever a pass touches.
#[test]
fn the_comment_on_a_rebased_pull_request_is_about_every_commit_of_it() {
    let world = World::new(CONFIG, GATE);
    let base = world.environment.git_output(&["rev-parse", "HEAD"]);
    let execution = WORK.rsplit("---").next().unwrap();
    let commits = ["e2", "e3"].map(|name| {
        let own = execution.replace("name: e,", &format!("name: {name},"));
        world.environment.commit_files(&[(&format!("{name}.yaml"), &own)], name);
        world.environment.git_output(&["rev-parse", "HEAD"])
    });
    world.host.with(|state| {
        let mut rebased = pull(9, "wendy", &commits[1], Some(&commits[1]));
        rebased["base"]["sha"] = json!(base);
        state.pulls.push(rebased);
        state.brought.push((commits[0].clone(), 9));
    });
    world.pass().succeeds();
    let comment = || {
        let found = world.host.own_comments().into_iter().find(|text| text.contains("execution/e3"));
        found.unwrap()
    };
    assert!(comment().contains("execution/e2") && !comment().contains("execution/e`"), "{}", comment());
    let (id, outcome) = world.says("rosa", "/planspec approve e2/look");
    assert_eq!(world.reaction(id).as_deref(), Some("+1"), "{outcome:?}");
    assert!(
        comment().contains("execution/e2") && comment().contains("1 waits, 1 succeeded"),
        "{}",
        comment()
    );
    // The next pass has nothing to do with `e2`, which is over; it stays in the comment.
    let (id, outcome) = world.says("rosa", "/planspec approve e3/look");
    assert_eq!(world.reaction(id).as_deref(), Some("+1"), "{outcome:?}");
    assert!(
        comment().contains("execution/e2") && comment().contains("planspec: 2 succeeded"),
        "{}",
        comment()
    );
}

/// A pass that takes long says how far it is, not more often than the configuration says, and never twice the same.
#[test]
fn a_long_pass_tells_in_between_what_changed() {
    let slow = WORK.replace("{command: 'true'}", "{command: sh, args: [-c, 'sleep 3']}");
    let world = World::new("publish: {progressInterval: 500ms}\n", GATE);
    world.environment.commit_files(&[("work.yaml", &slow)], "Slowly");
    world.pass().succeeds();
    let texts = world.host.with(|state| state.texts.clone());
    assert_eq!(texts.len(), 2, "{texts:#?}");
    assert!(texts[0].contains("1 Running") && texts[0].contains("▶ build"), "{texts:#?}");
    assert!(texts[1].contains("1 Blocked") && texts[1].contains("✓ build"), "{texts:#?}");
    assert_eq!(world.host.own_comments(), [texts[1].clone()]);
    // In between the host was asked for one commit and one list of comments, whatever the number of looks,
    // and once who may push and what was moved back, which takes two requests each.
    let asked = world.host.with(|state| state.seen.iter().filter(|seen| seen.starts_with("GET")).count());
    assert!(asked <= 9, "{asked}");
}

#[test]
fn a_pass_that_is_short_tells_once() {
    let world = World::new(CONFIG, GATE);
    world.pass().succeeds();
    assert_eq!(world.host.with(|state| state.texts.len()), 1);
}

#[test]
fn a_gate_opens_for_the_right_person_by_a_verified_login_and_for_nobody_else() {
    let world = World::new(CONFIG, GATE);
    world.pass().succeeds();
    // May write, and is no reviewer.
    let (id, _) = world.says("wendy", "/planspec approve look");
    assert_eq!(world.reaction(id).as_deref(), Some("-1"));
    let answers = world.host.own_comments();
    assert!(answers.iter().any(|text| text.contains("wendy is not a reviewer")), "{answers:?}");
    let (id, _) = world.says("eve", "/planspec approve look as rosa");
    assert_eq!(world.reaction(id).as_deref(), Some("-1"));
    let (id, _) = world.says("rosa[bot]", "/planspec approve look");
    assert_eq!(world.reaction(id), None);
    assert_eq!(world.phase(), "Blocked");

    // A comment that was edited after it was written is no command.
    let id = world.host.comment(7, "rosa", "/planspec approve look");
    world.host.with(|state| {
        state.comments.last_mut().unwrap()["updated_at"] = json!("2026-01-02T00:00:00Z");
    });
    let event = json!({ "action": "created", "issue": { "number": 7 }, "comment": { "id": id } });
    world.ci("issue_comment", &event, &[]).succeeds();
    assert_eq!(world.reaction(id), None);

    let (id, outcome) = world.says("Rosa", "/planspec approve look fine by me; $(touch /tmp/x) `id`");
    assert_eq!(world.reaction(id).as_deref(), Some("+1"), "{outcome:?}");
    assert_eq!(world.phase(), "Succeeded");
    let comments = world.host.own_comments();
    assert!(comments[0].contains("Succeeded"), "{comments:?}");
}

#[test]
fn a_member_of_a_reviewing_team_may_decide_and_the_record_says_by_which_team() {
    let world = World::new(CONFIG, GATE);
    world.pass().succeeds();
    world.host.with(|state| state.members.push("security/octocat".to_owned()));
    let (id, outcome) = world.says("octocat", "/planspec approve look");
    assert_eq!(world.reaction(id).as_deref(), Some("+1"), "{outcome:?}");
    assert_eq!(world.phase(), "Succeeded");
    let gate =
        world.environment.planspec(&["get", "gate/look", "-n", "team", "-o", "json"]).succeeds().json();
    let review = &gate["status"]["reviewHistory"][0];
    assert_eq!(review["reviewer"], "octocat");
    assert_eq!(review["extensions"]["teams"], json!(["security"]));
}

#[test]
fn the_author_of_a_pull_request_does_not_approve_it_where_the_configuration_says_so() {
    let config = "gates: {authorMayApprove: false}\n";
    let world = World::new(config, &GATE.replace("'user:rosa'", "author, rosa"));
    world.pass().succeeds();
    for text in ["/planspec approve look", "/planspec approve e/look"] {
        let (id, outcome) = world.says("author", text);
        assert_eq!(world.reaction(id).as_deref(), Some("-1"), "{outcome:?}");
    }
    let answers = world.host.own_comments();
    assert!(answers.iter().any(|text| text.contains("is the author of")), "{answers:?}");
    let (id, outcome) = world.says("rosa", "/planspec approve look");
    assert_eq!(world.reaction(id).as_deref(), Some("+1"), "{outcome:?}");
}

#[test]
fn commands_need_write_permission_and_what_is_no_command_gets_the_help() {
    let world = World::new(CONFIG, GATE);
    world.pass().succeeds();
    let (id, _) = world.says("eve", "/planspec cancel e");
    assert_eq!(world.reaction(id).as_deref(), Some("-1"));
    assert_eq!(world.phase(), "Blocked");
    let (id, _) = world.says("wendy", "/planspec destroy everything");
    assert_eq!(world.reaction(id).as_deref(), Some("confused"));
    assert!(world.host.own_comments().last().unwrap().contains("/planspec retry EXECUTION [NODE]"));
    let (id, _) = world.says("wendy", "just talking about /planspec cancel e");
    assert_eq!(world.reaction(id), None);
    let (id, _) = world.says("wendy", "/planspec cancel nothing");
    assert_eq!(world.reaction(id).as_deref(), Some("-1"));
    let (id, outcome) = world.says("wendy", "/planspec cancel e");
    assert_eq!(world.reaction(id).as_deref(), Some("+1"), "{outcome:?}");
    assert_eq!(world.phase(), "Cancelled");
}

/// The status branch shows it to whoever may read, so that a question is no change.
#[test]
fn whoever_may_read_may_ask_for_the_status() {
    let world = World::new(CONFIG, GATE);
    world.pass().succeeds();
    let (id, outcome) = world.says("eve", "/planspec status");
    let answer = world.host.own_comments().pop().unwrap();
    assert_eq!(world.reaction(id).as_deref(), Some("+1"), "{outcome:?} {answer}");
    assert!(answer.contains("## ⏳ `e` waits for `@rosa`, team `security` (0 of 1)\n"), "{answer}");
    assert!(answer.contains("All executions of this repository."), "{answer}");
    let fault = Fault {
        method: "GET",
        path: "/repos/acme/app/collaborators/eve/permission",
        times: 1,
        status: 404,
        headers: Vec::new(),
    };
    world.host.with(|state| state.faults.push(fault));
    let (id, _) = world.says("eve", "/planspec status");
    assert_eq!(world.reaction(id).as_deref(), Some("-1"));
    let answer = world.host.own_comments().pop().unwrap();
    assert!(answer.contains("eve may not read this repository, so its status is not shown"), "{answer}");
}

#[test]
fn whoever_names_an_execution_for_a_gate_is_told_which_gate_waits() {
    let world = World::new(CONFIG, GATE);
    world.pass().succeeds();
    for (said, meant) in [
        ("approve e", "approve"),
        ("approve execution/e fine by me", "approve"),
        ("reject team/execution/e", "reject"),
    ] {
        let (id, _) = world.says("rosa", &format!("/planspec {said}"));
        assert_eq!(world.reaction(id).as_deref(), Some("-1"));
        let answer = world.host.own_comments().pop().unwrap();
        let expected = format!("`e` is an Execution, not a gate; did you mean `/planspec {meant} e/look`?");
        assert!(answer.contains(&expected), "{said}: {answer}");
    }
    let (_, outcome) = world.says("rosa", "/planspec approve e/look");
    assert_eq!(world.phase(), "Succeeded", "{outcome:?}");
    world.says("rosa", "/planspec approve e").1.succeeds();
    let answer = world.host.own_comments().pop().unwrap();
    assert!(answer.contains("`e` is an Execution, and waits at no gate"), "{answer}");
}

#[test]
fn where_several_executions_wait_one_is_named() {
    let world = World::new(CONFIG, GATE);
    let again = WORK.rsplit("---").next().unwrap();
    world.environment.commit_files(&[("more.yaml", &again.replace("name: e,", "name: e2,"))], "Once more");
    world.pass().succeeds();
    // What the comment on the pull request proposes is what can be written.
    assert!(world.host.own_comments()[0].contains("```text\n/planspec approve e/look\n```"));
    let answer = |text: &str, who: &str, reaction: &str| {
        let (id, outcome) = world.says(who, text);
        assert_eq!(world.reaction(id).as_deref(), Some(reaction), "{text}: {outcome:?}");
        world.host.own_comments().last().unwrap().clone()
    };
    let line = answer("/planspec approve look", "rosa", "-1");
    assert_eq!(line.trim().lines().count(), 2, "{line}");
    assert!(line.contains("`/planspec approve e/look`, `/planspec approve e2/look`"), "{line}");
    // Who may not is told that, and nothing else.
    let line = answer("/planspec approve look", "wendy", "-1");
    assert!(line.contains("not a reviewer") && !line.contains("e2"), "{line}");
    answer("/planspec approve e2/look", "wendy", "-1");
    let line = answer("/planspec approve e3/look", "rosa", "-1");
    assert!(line.contains("there is no execution"), "{line}");
    let line = answer("/planspec approve e2/build", "rosa", "-1");
    assert!(line.contains("has no gate"), "{line}");
    answer("/planspec reject e2/look not like this", "rosa", "+1");
    assert_eq!((world.phase(), world.phase_of("e2")), (json!("Blocked"), json!("Failed")));
    answer("/planspec approve team/execution/e/look", "rosa", "+1");
    assert_eq!(world.phase(), "Succeeded");
}

/// One comment for all that one pull request brought, and for nothing else.
#[test]
fn all_gates_of_a_pull_request_are_approved_by_one_comment_of_somebody_who_may() {
    let world = World::new(CONFIG, GATE);
    let again = WORK.rsplit("---").next().unwrap();
    let another =
        format!("{}---{}", again.replace("name: e,", "name: e2,"), again.replace("name: e,", "name: other,"));
    let (second, other) = another.split_once("---").unwrap();
    world.environment.commit_files(&[("more.yaml", second)], "Once more");
    let brought = world.environment.git_output(&["rev-parse", "HEAD"]);
    world.host.with(|state| state.brought.push((brought, 7)));
    world.environment.commit_files(&[("other.yaml", other)], "Of another pull request");
    world.pass().succeeds();
    let (id, _) = world.says("wendy", "/planspec approve --all");
    assert_eq!(world.reaction(id).as_deref(), Some("-1"));
    let answer = world.host.own_comments().last().unwrap().clone();
    assert!(answer.contains("No gate was approved.") && answer.contains("not a reviewer"), "{answer}");
    let (id, outcome) = world.says("rosa", "/planspec Approve --all both are fine");
    assert_eq!(world.reaction(id).as_deref(), Some("+1"), "{outcome:?}");
    let phases = ["e", "e2", "other"].map(|name| world.phase_of(name));
    assert_eq!(phases, [json!("Succeeded"), json!("Succeeded"), json!("Blocked")]);
    // The same job once more finds nothing to do.
    world.runs_again(id);
    assert_eq!(world.phase_of("other"), "Blocked");
}

/// With the token of a job nobody is in a team as far as the host says, which is said before the merge and afterwards.
#[test]
fn teams_that_the_token_may_not_read_are_named_before_the_merge_and_in_the_refusal() {
    let world = World::new(CONFIG, GATE);
    let second = WORK.replace("name: e,", "name: again,");
    let head = change(&world, "second.yaml", second.rsplit("---").next().unwrap());
    world.ci("pull_request", &opened(8, &head), &[]).succeeds();
    let [comment] = world.host.own_comments().try_into().unwrap();
    assert!(comment.contains("teams could not be read with this token&#58; security"), "{comment}");
    assert!(
        comment.contains("  * waits at `look` for 1 approval by `user:rosa`, `team:security`"),
        "{comment}"
    );
    assert!(comment.contains("What <code>team/execution/again</code> would run"), "{comment}");
    assert!(comment.contains("`team/plan/p`: unchanged") && comment.contains("```mermaid"), "{comment}");
    world.pass().succeeds();
    let (id, _) = world.says("octocat", "/planspec approve look");
    assert_eq!(world.reaction(id).as_deref(), Some("-1"));
    let answer = world.host.own_comments().last().unwrap().clone();
    assert!(answer.contains("teams could not be read with this token&#58; security"), "{answer}");
    // With a token that reads teams, neither is said.
    world.host.with(|state| state.members.push("security/octocat".to_owned()));
    world.ci("pull_request", &opened(8, &head), &[]).succeeds();
    assert!(!world.host.own_comments()[0].contains("could not be read"));
    let (id, _) = world.says("wendy", "/planspec approve look");
    assert_eq!(world.reaction(id).as_deref(), Some("-1"));
    assert!(!world.host.own_comments().last().unwrap().contains("could not be read"));
}

#[test]
fn work_of_a_person_is_completed_by_its_node_and_by_its_execution_where_several_wait() {
    let world = World::new(CONFIG, GATE);
    let own = WORK
        .replace("{id: build, kind: Task}", "{id: ask, kind: Task, outputs: [found]}")
        .replace("dependsOn: [build]", "dependsOn: [ask]")
        .replace("{planRef: {name: p}}, target", "{planRef: {name: p}, nodeId: ship}, target");
    world.environment.commit_files(&[("work.yaml", &own)], "Ask somebody");
    world.pass().succeeds();
    let (id, outcome) = world.says("wendy", "/planspec complete nothing found=x");
    assert_eq!(world.reaction(id).as_deref(), Some("-1"), "{outcome:?}");
    assert!(world.host.own_comments().last().unwrap().contains("No Execution waits at `nothing`."));
    let again = own.rsplit("---").next().unwrap().replace("name: e,", "name: e2,");
    world.environment.commit_files(&[("more.yaml", &again)], "Once more");
    world.pass().succeeds();
    let (id, _) = world.says("wendy", "/planspec complete ask found=x");
    assert_eq!(world.reaction(id).as_deref(), Some("-1"));
    let line = world.host.own_comments().last().unwrap().clone();
    assert!(line.contains("`/planspec complete e/ask`, `/planspec complete e2/ask`"), "{line}");
    let (id, outcome) = world.says("wendy", "/planspec complete e2/ask found=x");
    assert_eq!(world.reaction(id).as_deref(), Some("+1"), "{outcome:?}");
    // Now only one waits.
    let (id, outcome) = world.says("wendy", "/planspec complete ask found='two words'");
    assert_eq!(world.reaction(id).as_deref(), Some("+1"), "{outcome:?}");
    let shown =
        world.environment.planspec(&["get", "execution/e", "-n", "team", "-o", "json"]).succeeds().json();
    assert_eq!(shown["status"]["nodeStatuses"]["ask"]["outputs"]["found"], "two words");
}

#[test]
fn an_approving_review_counts_where_the_gate_says_so_and_for_the_reviewed_commit_only() {
    let counts = "annotations: {planspec.io/approve-by-review: 'true'}, name: look,";
    let world = World::new(CONFIG, &GATE.replace("name: look,", counts));
    let head = world.host.with(|state| state.pulls[0]["head"]["sha"].clone());
    let review = |login: &str, commit: &Value| {
        json!({
            "id": 1, "state": "APPROVED", "commit_id": commit, "submitted_at": "2026-01-01T00:00:00Z",
            "user": { "login": login, "type": "User" },
        })
    };
    // By somebody who is no reviewer, and of an older commit.
    world.host.with(|state| {
        state.reviews = vec![review("wendy", &head), review("rosa", &json!("b".repeat(40)))];
    });
    world.pass().succeeds();
    assert_eq!(world.phase(), "Blocked");
    world.host.with(|state| state.reviews.push(review("rosa", &head)));
    let event = json!({
        "action": "submitted", "review": { "state": "approved" }, "pull_request": { "number": 7 },
        "repository": { "default_branch": "main" },
    });
    world.ci("pull_request_review", &event, &[]).succeeds();
    assert_eq!(world.phase(), "Succeeded");
}

/// What was reviewed is what runs, or the review does not count.
#[test]
fn an_approving_review_does_not_count_for_another_graph_than_the_merge_brought() {
    let counts = "annotations: {planspec.io/approve-by-review: 'true'}, name: look,";
    let world = World::new(CONFIG, &GATE.replace("name: look,", counts));
    let (head, merge) = world
        .host
        .with(|state| (state.pulls[0]["head"]["sha"].clone(), state.pulls[0]["merge_commit_sha"].clone()));
    // Before the first pass, the plan becomes another one, past the pull request.
    let other =
        WORK.replace("{id: ship, kind: Task,", "{id: sneak, kind: Task}\n      - {id: ship, kind: Task,");
    world.environment.commit_files(&[("work.yaml", &other)], "Past the review");
    assert_ne!(json!(world.environment.git_output(&["rev-parse", "HEAD"])), merge);
    world.host.with(|state| {
        let user = json!({ "login": "rosa", "type": "User" });
        state.reviews = vec![json!({
            "id": 1, "state": "APPROVED", "commit_id": head, "submitted_at": "2026-01-01T00:00:00Z", "user": user,
        })];
    });
    let outcome = world.pass().succeeds();
    assert!(outcome.stderr.contains("it runs a different graph than the merge introduced"), "{outcome:?}");
    assert_eq!(world.phase(), "Blocked");
}

/// Whoever may merge after a review does not choose what it approved: the reviewer saw what the Bindings said then.
#[test]
fn an_approving_review_does_not_count_for_another_target_than_the_merge_brought() {
    let counts = "annotations: {planspec.io/approve-by-review: 'true'}, name: look,";
    let world = World::new(CONFIG, &GATE.replace("name: look,", counts));
    let head = world.host.with(|state| state.pulls[0]["head"]["sha"].clone());
    let swapped = WORK.replace("tool://true", "tool://swapped");
    world.environment.commit_files(&[("work.yaml", &swapped)], "Past the review");
    world.host.with(|state| {
        let user = json!({ "login": "rosa", "type": "User" });
        state.reviews = vec![json!({
            "id": 1, "state": "APPROVED", "commit_id": head, "submitted_at": "2026-01-01T00:00:00Z", "user": user,
        })];
    });
    let outcome = world.pass().succeeds();
    assert_eq!(world.phase(), "Blocked", "{outcome:?}");
    assert!(outcome.stderr.contains("another target than the merge introduced"), "{outcome:?}");
}

/// What a task prints is shown, and the runner takes none of it for a command.
#[test]
fn what_strangers_wrote_is_never_obeyed_by_the_runner() {
    let world = World::new(CONFIG, GATE);
    let shout = "{command: sh, args: [-c, 'echo ::add-path::/tmp/evil; echo \"##[add-mask]a\"; exit 1']}";
    let work = WORK.replace("{command: 'true'}", shout);
    world.environment.commit_files(&[("work.yaml", &work)], "Shout");
    let outcome = world.ci("schedule", &json!({}), &["-v"]).succeeds();
    assert!(outcome.stdout.contains("::add-path::"), "{outcome:?}");
    assert_eq!(obeyed(&outcome), ["::error title=team/e failed at build::exited with code 1"]);
    assert!(!world.left("output").contains("::add-path"));
}

#[test]
fn a_malformed_event_is_a_clear_error_and_never_a_panic() {
    let world = World::new(CONFIG, GATE);
    for name in ["pull_request", "push", "issue_comment", "pull_request_review", "workflow_run"] {
        for text in ["", "{", "[1]", "{\"action\": [], \"ref\": {}}", "\u{1b}[2J"] {
            let outcome = world.ci_text(name, text, &[]).exits(3);
            assert!(outcome.stderr.contains("cannot read the event"), "{outcome:?}");
        }
    }
    let outcome = world.ci_text("watch", "{}", &[]).exits(2);
    assert!(outcome.stderr.contains("unknown event `watch`"), "{outcome:?}");
    let mut bare = world.environment.planspec_command(&world.environment.repo());
    let output = bare.arg("ci").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
}

/// Whoever gives a command sees that it was taken up, and what came of it, whatever fails.
#[test]
fn a_command_is_answered_when_it_is_taken_up_and_when_the_job_fails() {
    let world = World::new(CONFIG, GATE);
    world.pass().succeeds();
    let reactions = |id: u64| {
        world.host.with(|state| {
            let of = state.reactions.iter().filter(|(to, _)| *to == id);
            of.map(|(_, reaction)| reaction.clone()).collect::<Vec<_>>()
        })
    };
    // A host that takes no reaction does not keep the decision from being recorded.
    world.host.with(|state| state.refused = vec!["/reactions"]);
    let (_, outcome) = world.says("wendy", "/planspec suspend e");
    outcome.succeeds();
    assert_eq!(world.phase(), "Blocked");
    world.host.with(|state| state.refused.clear());
    let (id, outcome) = world.says("wendy", "/Planspec resume `e`");
    outcome.succeeds();
    assert_eq!(reactions(id), ["eyes", "+1"]);
    // A status branch that cannot be read is no fault of the one who asks, but they have to know.
    let repo = world.environment.repo();
    let status = repo.join(".git/refs/heads/planspec/status");
    std::fs::write(&status, format!("{}\n", "d".repeat(40))).unwrap();
    let (id, outcome) = world.says("rosa", "/planspec approve look");
    assert_ne!(outcome.code, 0, "{outcome:?}");
    assert_eq!(reactions(id), ["eyes", "confused"], "{outcome:?}");
    let answer = world.host.own_comments().pop().unwrap();
    assert!(answer.contains("The command was not carried out: "), "{answer}");
    assert!(answer.contains("([log](https://github.com/acme/app/actions/runs/77))"), "{answer}");
    assert!(obeyed(&outcome)[0].starts_with("::error title=planspec::"), "{outcome:?}");
    assert!(world.left("summary").contains("## ❌ planspec: "), "{}", world.left("summary"));
}

/// The way on from the host for deletions that a pass held back.
#[test]
fn held_back_deletions_are_allowed_by_a_comment_of_somebody_who_may_write() {
    let many: Vec<String> =
        (0..30).map(|at| GATE.replace("look,", &format!("g{at},"))).chain([GATE.to_owned()]).collect();
    let world = World::new(CONFIG, &many.join("---"));
    world.pass().succeeds();
    let head = change(&world, "gate.yaml", GATE);
    world.ci("pull_request", &opened(8, &head), &[]).succeeds();
    let comment = world.host.own_comments().pop().unwrap();
    assert!(
        comment.contains("## ⚠️ planspec: ") && comment.contains("`/planspec allow-mass-delete`"),
        "{comment}"
    );
    world.environment.commit_files(&[("gate.yaml", GATE)], "Merge #8");
    let outcome = world.pass();
    assert!(outcome.stdout.contains("removed with --allow-mass-delete"), "{outcome:?}");
    let gates = || {
        let found = world.environment.planspec(&["get", "gates", "-n", "team", "-o", "json"]).succeeds();
        found.json()["items"].as_array().unwrap().len()
    };
    let (id, outcome) = world.says("eve", "/planspec allow-mass-delete");
    assert_eq!(world.reaction(id).as_deref(), Some("-1"), "{outcome:?}");
    let (id, outcome) = world.says("wendy", "/planspec allow-mass-delete");
    assert_eq!(world.reaction(id).as_deref(), Some("+1"), "{outcome:?}");
    assert!(!outcome.stdout.contains("removed with"), "{outcome:?}");
    assert_eq!(gates(), 1);
}
