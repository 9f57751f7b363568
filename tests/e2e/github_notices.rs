//! What a team is told without looking into jobs: one issue for what cannot be applied of the desired branch, comments with
//! where they come from and who said what, and no preview beside what has happened.

use serde_json::{Value, json};

use crate::environment::Outcome;
use crate::github_ci::{CONFIG, GATE, World};
use crate::github_host::Fault;

const BROKEN: &str = "
apiVersion: planspec.io/v1alpha1
kind: Plan
metadata: {name: NAME, namespace: team}
spec: {graph: 7}
";

const WHOLE: &str = "
apiVersion: planspec.io/v1alpha1
kind: Goal
metadata: {name: NAME, namespace: team}
spec: {description: Be sound}
";

fn scheduled(world: &World) -> Outcome {
    world.ci("schedule", &json!({ "repository": { "default_branch": "main" } }), &[])
}

fn issues(world: &World) -> Vec<Value> {
    world.host.with(|state| state.issues.all.clone())
}

fn commit(world: &World, name: &str, text: &str) {
    let text = text.replace("NAME", name);
    world.environment.commit_files(&[(format!("{name}.yaml").as_str(), text.as_str())], "Change it");
}

#[test]
fn what_is_invalid_on_the_desired_branch_is_one_issue_until_it_is_repaired() {
    let world = World::new(CONFIG, GATE);
    world.pass().succeeds();
    assert_eq!(issues(&world), Vec::<Value>::new());
    // Somebody else copies our mark: that issue is theirs.
    world.host.with(|state| {
        state.issues.all.push(json!({
            "number": 39, "state": "open", "title": "x", "body": "<!-- planspec:desired-branch -->\n",
            "labels": [{ "name": "planspec-invalid" }], "assignees": [], "user": { "login": "eve", "type": "User" },
        }));
    });
    commit(&world, "q", BROKEN);
    world.pass().exits(1);
    let head = world.environment.git_output(&["rev-parse", "HEAD"]);
    let opened = issues(&world).pop().unwrap();
    assert_eq!((issues(&world).len(), opened["labels"][0]["name"].as_str()), (2, Some("planspec-invalid")));
    let body = opened["body"].as_str().unwrap();
    assert!(body.contains("## ⚠️ planspec cannot apply all of `main`"), "{body}");
    assert!(body.contains(&format!("(https://github.com/acme/app/blob/{head}/q.yaml#L")), "{body}");
    assert!(body.contains("[run 77](https://github.com/acme/app/actions/runs/77)"), "{body}");

    // Known: neither red nor told again, though the commit is another one. A push is red all the same.
    let before = world.host.changes();
    commit(&world, "fine", WHOLE);
    let outcome = scheduled(&world).succeeds();
    assert!(outcome.stderr.contains("in an issue already"), "{outcome:?}");
    assert_eq!(world.host.changes(), before);
    world.pass().exits(1);

    // New: red, and in the same issue.
    commit(&world, "r", BROKEN);
    scheduled(&world).exits(1);
    assert!(issues(&world)[1]["body"].as_str().unwrap().contains("r.yaml"), "{:?}", issues(&world));
    assert_eq!(issues(&world).len(), 2);
    scheduled(&world).succeeds();

    // Repaired.
    commit(&world, "q", WHOLE);
    commit(&world, "r", WHOLE);
    world.pass().succeeds();
    let closed = &issues(&world)[1];
    assert_eq!(
        (closed["state"].as_str(), closed["state_reason"].as_str()),
        (Some("closed"), Some("completed"))
    );
    assert!(
        closed["body"].as_str().unwrap().contains("planspec applies all of the desired branch"),
        "{closed}"
    );
    assert_eq!(issues(&world)[0]["state"], "open");
}

#[test]
fn where_no_issue_can_be_opened_every_pass_stays_red() {
    let world = World::new(CONFIG, GATE);
    commit(&world, "q", BROKEN);
    let fault = || Fault {
        method: "POST",
        path: "/repos/acme/app/issues",
        times: 1,
        status: 410,
        headers: Vec::new(),
    };
    for _ in 0..2 {
        world.host.with(|state| state.faults.push(fault()));
        let outcome = scheduled(&world).exits(1);
        assert!(outcome.stderr.contains("cannot report on the host"), "{outcome:?}");
    }
    // Without a token, too: what nobody was told must not pass for known.
    let event = json!({ "repository": { "default_branch": "main" } }).to_string();
    let mut command = world.ci_command(&world.environment.repo(), "schedule", &event);
    world.finish(command.env_remove("GITHUB_TOKEN")).exits(1);
    scheduled(&world).exits(1);
    scheduled(&world).succeeds();
}

#[test]
fn the_preview_is_hidden_when_the_progress_is_told_and_reviews_are_shown_with_their_words() {
    let world = World::new(CONFIG, GATE);
    let preview =
        world.host.comment(7, "github-actions[bot]", "<!-- planspec:preview -->\nWhat would happen");
    world.host.comment(7, "eve", "<!-- planspec:preview -->\nMine");
    world.pass().succeeds();
    assert_eq!(world.host.with(|state| state.minimized.clone()), [format!("IC_{preview}")]);
    world.host.with(|state| state.writers.push("rosa".to_owned()));
    world.says("rosa", "/planspec approve e/look fine *by* me").1.succeeds();
    let told = world.host.own_comments().pop().unwrap();
    let pinned = &world.environment.git_output(&["rev-parse", "HEAD"])[..8];
    assert!(told.contains("### Reviews"), "{told}");
    assert!(told.contains("| `team/look` for `e` | `rosa` | ✅ approved | 20"), "{told}");
    assert!(told.contains(&format!("| `{pinned}` | fine &#42;by&#42; me |")), "{told}");
    assert!(told.contains("<sub>[run 77](https://github.com/acme/app/actions/runs/77) · commit `"), "{told}");
    // Hidden once, and a foot of another run alone is no edit.
    let before = world.host.changes();
    let event = json!({ "repository": { "default_branch": "main" } }).to_string();
    let mut command = world.ci_command(&world.environment.repo(), "schedule", &event);
    world.finish(command.env("GITHUB_RUN_ID", "78")).succeeds();
    assert_eq!(world.host.changes(), before);
}

#[test]
fn reviewers_are_mentioned_once_when_a_gate_begins_to_wait_where_that_is_wanted() {
    let mentions = |world: &World| {
        let own = world.host.own_comments();
        own.into_iter().filter(|text| text.contains("planspec:mention")).collect::<Vec<_>>()
    };
    let quiet = World::new(CONFIG, GATE);
    quiet.pass().succeeds();
    assert_eq!(mentions(&quiet), Vec::<String>::new());
    let world = World::new(&format!("{CONFIG}publish: {{mentionReviewers: true}}\n"), GATE);
    // Somebody copies the mark of ours, or what they take for it: nobody is kept from being told by that.
    world.host.comment(7, "eve", "<!-- planspec:mention sha256:0 -->");
    world.pass().succeeds();
    let told = mentions(&world);
    assert_eq!(told.len(), 1, "{told:?}");
    let text = "@acme/security, @rosa: `e/look` waits for your approval.\n\n```text\n/planspec approve e/look\n```\n";
    assert!(told[0].ends_with(text), "{told:?}");
    world.pass().succeeds();
    scheduled(&world).succeeds();
    assert_eq!(mentions(&world).len(), 1);
}
