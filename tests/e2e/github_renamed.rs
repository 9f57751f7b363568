//! A repository that was renamed: clones and jobs that know it by its old name are sent on by the host, and work.

use serde_json::json;

use crate::github_ci::{CONFIG, GATE, World};

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
