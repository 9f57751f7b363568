//! Messages tell the story in words, read back, and cannot be forged from inside.

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::git::{ObjectId, Signature};
use crate::model::{Kind, Name, NodeId};
use crate::record::transition::tests::{hostile, transition};

const EXECUTION: &str = "team-platform/execution/sso-exec-001";

fn batch(transitions: Vec<Transition>) -> Batch {
    Batch {
        desired: Some(ObjectId::from_bytes([0xab; 20])),
        runner: "ci-1".to_owned(),
        at: Timestamp::UNIX_EPOCH,
        changes: Vec::new(),
        transitions,
        dashboard: None,
    }
}

fn commit(message: String) -> Commit {
    let id = ObjectId::from_bytes([1; 20]);
    let person = Signature { name: "A".into(), email: "a@example.org".into() };
    let at = Timestamp::UNIX_EPOCH;
    Commit {
        id,
        tree: id,
        parents: Vec::new(),
        author: person.clone(),
        author_time: at,
        committer: person,
        committer_time: at,
        message,
    }
}

fn check_subject(transitions: Vec<Transition>, subject: &str) {
    let text = message(&batch(transitions));
    assert_eq!(text.lines().next(), Some(subject));
    assert!(subject.chars().count() <= 72, "{subject}");
}

#[test]
fn a_message_reads_in_words() {
    let text = message(&batch(vec![
        transition(EXECUTION, "research", "Running", "Succeeded"),
        transition(EXECUTION, "implement", "Pending", "Running"),
    ]));
    insta::assert_snapshot!(text, @r"
    team-platform/sso-exec-001: research Succeeded, implement Running

    team-platform/execution/sso-exec-001 research: Running -> Succeeded
    team-platform/execution/sso-exec-001 implement: Pending -> Running

    Planspec-Desired-Commit: abababababababababababababababababababab
    Planspec-Resource: team-platform/execution/sso-exec-001
    Planspec-Runner: ci-1
    ");
}

#[test]
fn the_subject_tells_the_end_first_and_every_node_once() {
    check_subject(
        vec![
            transition(EXECUTION, "review", "Pending", "Running"),
            transition(EXECUTION, "review", "Running", "Succeeded"),
            transition(EXECUTION, "", "Running", "Succeeded"),
        ],
        "team-platform/sso-exec-001: Succeeded, review Succeeded",
    );
    check_subject(
        vec![
            transition(EXECUTION, "", "Pending", "Running"),
            transition(EXECUTION, "research", "Pending", "Running"),
            transition("team-platform/execution/b", "x", "Pending", "Running"),
            transition("other/execution/c", "x", "Pending", "Running"),
        ],
        "team-platform/sso-exec-001: research Running (+2 more)",
    );
    check_subject(vec![transition(EXECUTION, "", "", "Pending")], "team-platform/sso-exec-001: Pending");
}

#[test]
fn many_nodes_are_counted_and_long_names_are_cut() {
    let nodes =
        |count: usize| (0..count).map(|i| transition(EXECUTION, &format!("n{i}"), "Running", "Succeeded"));
    let mut many: Vec<_> = nodes(1_200).collect();
    many.push(transition(EXECUTION, "last", "Pending", "Running"));
    check_subject(many, "team-platform/sso-exec-001: 1,200 nodes Succeeded, 1 node Running");
    let long = format!("{}/execution/{}", "n".repeat(63), "e".repeat(63));
    check_subject(
        vec![transition(&long, "a", "Running", "Failed"), transition(&long, "", "Running", "Failed")],
        "nnnnnnnnnnnnnnn…/eeeeeeeeeeeeeeeeeeeeeeeeeeeeeee…: Failed, 1 node Failed",
    );
}

#[test]
fn decisions_name_the_person() {
    let mut gate = transition("team-platform/gate/sso-security-review", "", "Waiting", "Approved");
    gate.by = Some("wendy".to_owned());
    let follows = transition(EXECUTION, "review", "Blocked", "Succeeded");
    check_subject(vec![gate, follows], "team-platform/sso-security-review: approved by wendy");
    let mut retry = transition(EXECUTION, "build", "Failed", "Pending");
    retry.by = Some("Wendy\n\nPlanspec-Runner: evil".to_owned());
    check_subject(vec![retry], "team-platform/sso-exec-001: build retried by Wendy Planspec-Runner: evil");
}

#[test]
fn other_resources_are_counted_by_kind() {
    let observed = |key: &str| transition(key, "", "", "Pending");
    let goals = ["a", "b", "c"].map(|name| observed(&format!("team-platform/goal/{name}")));
    let plans = ["d", "e"].map(|name| observed(&format!("team-platform/plan/{name}")));
    check_subject(goals.into_iter().chain(plans).collect(), "team-platform: 3 goals, 2 plans observed");
    check_subject(
        vec![transition("a/goal/x", "", "Ready", "Executing"), observed("b/goal/x")],
        "2 namespaces: 2 goals updated",
    );
    check_subject(vec![transition("a/goal/x", "", "Ready", "Executing")], "a/x: goal Executing");
    check_subject(Vec::new(), "dashboard updated");
    let key = ResourceKey::new(Kind::Plan, Name::new("a").unwrap(), Name::new("x").unwrap());
    let removal = Batch { changes: vec![RecordEdit::Remove(key)], ..batch(Vec::new()) };
    assert!(message(&removal).starts_with("a/x: plan removed\n\nPlanspec-Desired-Commit: "));
}

#[test]
fn a_long_body_and_many_resources_are_cut_and_counted() {
    let many = |i| transition(&format!("a/goal/g{i}"), "", "", "Pending");
    let text = message(&batch((0..10_000).map(many).collect()));
    assert!(text.contains("\na/goal/g499: Pending\n… and 9,500 more\n\nPlanspec-Desired-Commit"));
    let commit = commit(text);
    assert_eq!(parse_message(&commit).len(), 500);
    let trailers = commit.trailers();
    assert_eq!(trailers.iter().filter(|(key, _)| key == RESOURCE).count(), 20);
    assert!(trailers.contains(&(RESOURCE_COUNT.to_owned(), "10000".to_owned())));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_can_forge_a_line_or_a_trailer(
        message_text in hostile(), to in hostile(), by in prop::option::of(hostile()), runner in hostile(),
        node in any::<bool>(), from in prop::option::of(hostile()),
    ) {
        let mut told = transition(EXECUTION, "", "", "Running");
        told.node = node.then(|| NodeId::new("build").unwrap());
        told.message = message_text;
        told.to = to;
        told.from = from;
        told.by = by;
        let gate = transition("team-platform/gate/g", "", "Waiting", "Approved");
        let transitions = vec![told, gate];
        let batch = Batch { runner: runner.clone(), ..batch(transitions.clone()) };
        let text = message(&batch);
        prop_assert_eq!(text.lines().count(), 9, "{}", text);
        prop_assert!(text.lines().next().unwrap().chars().count() <= 72, "{}", text);
        let commit = commit(text);
        prop_assert_eq!(parse_message(&commit), transitions);
        let trailers = commit.trailers();
        let keys: Vec<&str> = trailers.iter().map(|(key, _)| key.as_str()).collect();
        prop_assert_eq!(keys, [DESIRED_COMMIT, RESOURCE, RESOURCE, RUNNER]);
        prop_assert_eq!(trailers[3].1.clone(), one_line(&runner, 200));
    }
}
