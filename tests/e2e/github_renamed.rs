//! What was renamed: clones and jobs that know a repository by its old name are sent on by the host, and work; an account is
//! known by its number, where the configuration has that.

use serde_json::json;

use crate::github_ci::{CONFIG, GATE, World};
use crate::github_host::account_id;

#[test]
fn a_repository_that_was_renamed_is_told_and_answered_by_its_old_name() {
    let world = World::new(CONFIG, GATE);
    let repo = world.environment.repo();
    let by_the_old_name = |name: &str, event: serde_json::Value| {
        let mut command = world.ci_command(&repo, name, &event.to_string());
        world.finish(command.env("GITHUB_REPOSITORY", "acme/old")).succeeds()
    };
    let default = json!({ "default_branch": "main" });
    let outcome = by_the_old_name("push", json!({ "ref": "refs/heads/main", "repository": default }));
    assert!(!outcome.stderr.contains("cannot report"), "{outcome:?}");
    let [comment] = world.host.own_comments().try_into().unwrap();
    assert!(comment.contains("waits"), "{comment}");
    // A command needs who may what, by reading, and its reactions and the comment that changes, by writing.
    let id = world.host.comment(7, "rosa", "/planspec approve look");
    let event = json!({
        "action": "created", "issue": { "number": 7 }, "comment": { "id": id, "body": "forged" }, "repository": default,
    });
    by_the_old_name("issue_comment", event);
    assert_eq!(world.reaction(id).as_deref(), Some("+1"));
    assert_eq!(world.phase(), json!("Succeeded"));
    let [comment] = world.host.own_comments().try_into().unwrap();
    assert!(!comment.contains("waits"), "{comment}");
}

#[test]
fn a_login_that_was_given_up_approves_nothing_where_the_number_of_the_account_is_known() {
    let config = |login: &str, id: u64| {
        format!("identities:\n  rosa: {{login: {login}, id: {id}, emails: [rosa@example.com]}}\n")
    };
    let refused = |world: &World, login: &str, why: &str| {
        world.pass();
        let (id, outcome) = world.says(login, "/planspec approve look");
        outcome.succeeds();
        let answer = world.host.own_comments().pop().unwrap();
        assert!(answer.contains(why), "{answer}");
        assert_eq!(world.reaction(id).as_deref(), Some("-1"));
        assert_ne!(world.phase(), json!("Succeeded"));
    };
    let taken = World::new(&config("rosa", account_id("rosa") + 1), GATE);
    refused(&taken, "rosa", "whoever has the login now may be somebody else");
    // She has another login by now. Authors are known by their logins, so that one has to be merged first.
    let renamed = World::new(&config("rosa-before", account_id("rosa-after")), GATE);
    refused(&renamed, "rosa-after", "known by another login here");
    renamed
        .environment
        .commit_files(&[(".planspec.yaml", &config("rosa-after", account_id("rosa-after")))], "Rename");
    let (id, outcome) = renamed.says("rosa-after", "/planspec approve look");
    outcome.succeeds();
    assert_eq!(renamed.reaction(id).as_deref(), Some("+1"), "{:?}", renamed.host.own_comments());
    assert_eq!(renamed.phase(), json!("Succeeded"));
}
