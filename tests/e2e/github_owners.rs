//! CODEOWNERS as reviewers of a gate: whose files the work touches, by the file of the desired branch, decides who answers.

use serde_json::{Value, json};

use crate::environment::TestEnvironment;
use crate::github_ci::{CONFIG, World, opened, pull};

const OWNERS: &str = "*       @nobody-else\n/src/   @rosa\n/docs/  @acme/security\n";

const GATE: &str = "
apiVersion: planspec.io/v1alpha1
kind: Gate
metadata: {name: look, namespace: team}
spec:
  gateType: review
  targetRef: {kind: Plan, name: p}
  reviewers: ['codeowners:']
";

/// A task that changes the files of two owners, and puts itself into its own CODEOWNERS where it may.
const WORK: &str = "
apiVersion: planspec.io/v1alpha1
kind: Plan
metadata: {name: p, namespace: team}
spec:
  description: Change two files, have them looked at
  graph:
    nodes:
      - id: build
        kind: Task
        run: {command: 'mkdir -p src docs; echo x >src/a.rs; echo x >docs/a.md', changes: commit}
      - {id: look, kind: Gate, gateRef: {name: look}, dependsOn: [build]}
---
apiVersion: planspec.io/v1alpha1
kind: Execution
metadata: {name: e, namespace: team}
spec: {planRef: {name: p}}
";

fn world(files: &[(&str, &str)], work: &str) -> World {
    let environment = TestEnvironment::with_files(&[(".planspec.yaml", CONFIG)]);
    let all = [&[("gate.yaml", GATE), ("work.yaml", work)], files].concat();
    environment.commit_files(&all, "Merge #7");
    let merge = environment.git_output(&["rev-parse", "HEAD"]);
    let world = World::around(environment);
    world.host.with(|state| {
        state.writers.extend(["rosa".to_owned(), "octocat".to_owned()]);
        state.members.push("security/octocat".to_owned());
        state.pulls.push(pull(7, "author", &merge, Some(&merge)));
    });
    world.pass().succeeds();
    world
}

impl World {
    #[track_caller]
    fn answers(&self, login: &str, reaction: &str, said: &str) {
        let (id, outcome) = self.says(login, "/planspec approve e/look");
        assert_eq!(self.reaction(id).as_deref(), Some(reaction), "{login}: {outcome:?}");
        // What is done is in the log of the job; what is refused, and what then waits, in comments, where nothing of it mentions
        // anybody.
        let comments = self.host.own_comments().join("\n");
        let entities = [("&#8203;", ""), ("&#64;", "@"), ("&#58;", ":"), ("&#96;", "`"), ("&#95;", "_")];
        let plain = entities.iter().fold(comments, |text, (entity, sign)| text.replace(entity, sign));
        assert!(outcome.stdout.contains(said) || plain.contains(said), "{said}: {outcome:?}\n{plain}");
    }

    fn waits_for(&self) -> Value {
        let found =
            self.environment.planspec(&["get", "execution/e", "-n", "team", "-o", "json"]).succeeds().json();
        found["status"]["nodeStatuses"]["look"].clone()
    }
}

#[test]
fn the_owners_of_the_files_that_the_work_touches_answer_and_each_file_needs_one() {
    let world = world(&[("CODEOWNERS", OWNERS)], WORK);
    let node = world.waits_for();
    assert_eq!(
        node["extensions"]["owners"]["groups"],
        json!([
            { "owners": ["@acme/security"], "path": "docs/a.md", "files": 1 },
            { "owners": ["@rosa"], "path": "src/a.rs", "files": 1 },
        ])
    );
    // Whoever reads the comment sees whom it waits for, and who that is for which file.
    let comment = world.host.own_comments().remove(0);
    assert!(comment.contains("waits for `@acme/security`, `@rosa`"), "{comment}");
    let page = world.environment.planspec(&["describe", "gate/look", "-n", "team"]).succeeds().stdout;
    assert!(page.contains("src/a.rs: @rosa"), "{page}");
    // An owner of other files, and somebody who may write and owns nothing.
    world.host.with(|state| state.writers.extend(["nobody-else".to_owned(), "wendy".to_owned()]));
    for login in ["nobody-else", "wendy"] {
        world.answers(login, "-1", "not a reviewer of this gate; reviewers: @acme/security, @rosa");
    }
    // One approval is required, and still the other team's file is not approved by it.
    world.answers(
        "rosa",
        "+1",
        "has 1 of 1 approvals; `docs/a.md`: no approval by an owner (@acme/security)",
    );
    assert_eq!(world.phase(), "Blocked");
    assert!(world.waits_for()["message"].as_str().unwrap().contains("`docs/a.md`: no approval by an owner"));
    world.answers("octocat", "+1", "approved by rosa, octocat");
    assert_eq!(world.phase(), "Succeeded");
}

#[test]
fn an_owner_who_may_not_write_any_more_does_not_answer() {
    let world = world(&[(".github/CODEOWNERS", "* @rosa @gone\n"), ("CODEOWNERS", "* @wendy\n")], WORK);
    world.answers("gone", "-1", "gone is a code owner, but may not write to this repository");
    // Of the three places the first counts, as on the host.
    world.host.with(|state| state.writers.push("wendy".to_owned()));
    world.answers("wendy", "-1", "not a reviewer of this gate");
    world.answers("rosa", "+1", "approved by rosa");
    assert_eq!(world.phase(), "Succeeded");
}

#[test]
fn the_work_does_not_choose_its_own_owners() {
    let allowed = "changes: commit, paths: {allow: [CODEOWNERS, 'src/**']}";
    let itself = WORK.replace(
        "mkdir -p src docs; echo x >src/a.rs; echo x >docs/a.md",
        "mkdir src; echo x >src/a.rs; echo \"* @wendy\" >CODEOWNERS",
    );
    let world = world(&[("CODEOWNERS", OWNERS)], &itself.replace("changes: commit", allowed));
    world.host.with(|state| state.writers.extend(["wendy".to_owned(), "nobody-else".to_owned()]));
    world.answers("wendy", "-1", "wendy is not a reviewer of this gate; reviewers: @nobody-else, @rosa");
    world.answers("rosa", "+1", "`CODEOWNERS`: no approval by an owner (@nobody-else)");
    world.answers("nobody-else", "+1", "approved by rosa, nobody-else");
}

#[test]
fn without_owners_the_gate_stays_shut_and_says_why() {
    let without = world(&[], WORK);
    without.answers(
        "rosa",
        "-1",
        "rosa is not a reviewer of this gate: there is no CODEOWNERS file at commit ",
    );
    assert!(without.waits_for()["message"].as_str().unwrap().contains("there is no CODEOWNERS file"));
    let unowned = world(&[("CODEOWNERS", "/src/ @rosa\n/docs/\n")], WORK);
    unowned.answers("rosa", "+1", "`docs/a.md`: no code owner");
    assert_eq!(unowned.phase(), "Blocked");
    let unchanged = world(&[("CODEOWNERS", OWNERS)], &WORK.replace("changes: commit", "changes: discard"));
    unchanged.answers("rosa", "-1", "no task before the gate has changed a file");
}

#[test]
fn teams_of_owners_that_the_token_may_not_read_are_named_before_the_merge_and_in_the_refusal() {
    let world = world(&[("CODEOWNERS", OWNERS)], WORK);
    world.host.with(|state| state.members.clear());
    world.answers("octocat", "-1", "teams could not be read with this token: acme/security");
    let change = |files: &[(&str, &str)]| {
        world.environment.git(&["switch", "--quiet", "--create", "change"]).succeeds();
        let again = WORK.rsplit("---").next().unwrap().replace("name: e,", "name: e2,");
        world.environment.commit_files(&[&[("more.yaml", again.as_str())], files].concat(), "More");
        let head = world.environment.git_output(&["rev-parse", "HEAD"]);
        world.host.with(|state| state.pulls.push(pull(8, "author", &head, None)));
        world.ci("pull_request", &opened(8, &head), &[]).succeeds();
        world.environment.git(&["switch", "--quiet", "main"]).succeeds();
        world.environment.git(&["branch", "--quiet", "-D", "change"]).succeeds();
        world.host.own_comments().pop().unwrap()
    };
    let comment = change(&[]);
    assert!(comment.contains("for 1 approval by the code owners of what the work changes"), "{comment}");
    assert!(comment.contains("teams could not be read with this token"), "{comment}");
    let comment = change(&[("CODEOWNERS", "# nobody\n"), ("docs/CODEOWNERS", "* @rosa\n")]);
    assert!(!comment.contains("teams could not be read"), "{comment}");
}

#[test]
fn a_gate_that_asks_owners_where_nobody_is_one_is_said_before_the_merge() {
    let world = World::new(CONFIG, &GATE.replace("codeowners:", "user:rosa"));
    let environment = &world.environment;
    let warned = |arguments: &[&str], why: &str| {
        let outcome = environment.planspec(arguments);
        // Differences are exit code 1, as for `diff`.
        let outcome = outcome.exits(i32::from(arguments[0] == "diff"));
        let said = outcome.stdout.matches("warning[PS3021]").count();
        assert_eq!(said, usize::from(!why.is_empty()), "{arguments:?}: {outcome:?}");
        assert!(outcome.stdout.contains(why), "{arguments:?}: {outcome:?}");
    };
    let none = "the gate asks the code owners, but there is no CODEOWNERS file, so nobody is one";
    environment.commit_files(&[("gate.yaml", GATE)], "Ask the owners");
    let ways: [&[&str]; 4] = [
        &["validate"],
        &["validate", "-f", "gate.yaml"],
        &["validate", "--ref", "HEAD"],
        &["diff", "HEAD~1", "HEAD"],
    ];
    for way in ways {
        warned(way, none);
    }
    environment.planspec(&["validate", "--deny-warnings"]).exits(1);
    // A line for files that are not there; then one for all. The manifests stay as they are.
    environment.commit_files(&[("CODEOWNERS", "/nowhere/ @rosa\n")], "Own nothing");
    warned(&["validate"], "CODEOWNERS gives no file of the repository an owner");
    warned(&["validate", "--ref", "HEAD"], "CODEOWNERS gives no file of the repository an owner");
    environment.commit_files(&[("CODEOWNERS", "* @rosa\n")], "Own everything");
    for way in &ways[..3] {
        warned(way, "");
    }
    // Whoever takes the file away is told, and nobody else.
    let base = environment.git_output(&["rev-parse", "HEAD"]);
    environment.git(&["switch", "--quiet", "--create", "change"]).succeeds();
    environment.git(&["rm", "--quiet", "CODEOWNERS"]).succeeds();
    warned(&["validate"], none);
    environment.git(&["commit", "--quiet", "--message", "Own nothing"]).succeeds();
    warned(&["diff", &base, "HEAD"], none);
    let again = WORK.rsplit("---").next().unwrap().replace("name: e,", "name: e2,");
    environment.commit_files(&[("more.yaml", again.as_str())], "More");
    warned(&["diff", "HEAD~1", "HEAD"], "");
    let head = environment.git_output(&["rev-parse", "HEAD"]);
    environment.git(&["switch", "--quiet", "main"]).succeeds();
    world.host.with(|state| state.pulls.push(pull(8, "author", &head, None)));
    world.ci("pull_request", &opened(8, &head), &[]).succeeds();
    let comment = world.host.own_comments().pop().unwrap();
    assert_eq!(comment.matches("asks the code owners").count(), 1, "{comment}");
    assert!(comment.contains("there is no CODEOWNERS file"), "{comment}");
}
