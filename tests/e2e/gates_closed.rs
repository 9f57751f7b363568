//! Gates fail closed: whatever happens to a Gate's manifest, it never gets weaker than its last valid version was, on the machine
//! that saw that version and in a fresh clone alike.

use crate::decisions::{CONFIG, WORK, by, check_phases, check_refused, object};
use crate::environment::TestEnvironment;

const WAITS: [&str; 4] = ["Succeeded", "Blocked", "Pending", "Pending"];
const OPEN: [&str; 4] = ["Succeeded", "Succeeded", "Succeeded", "Blocked"];

/// The gate, which wants two of the security team, and everything else.
fn parts() -> (&'static str, &'static str) {
    WORK.split_once("---").unwrap()
}

/// An execution waits at the gate, and one of the two approvals is there.
fn half_approved() -> TestEnvironment {
    let (gate, rest) = parts();
    let files = [(".planspec.yaml", CONFIG), ("gate.yaml", gate), ("work.yaml", rest), ("fixed", "")];
    let environment = TestEnvironment::with_files(&files);
    environment.planspec(&["reconcile"]).succeeds();
    by(&environment, "wendy", &["approve", "look"]).succeeds();
    check_phases(&environment, WAITS);
    environment
}

/// The caches are as old as the repository is for a fresh clone.
fn forget(environment: &TestEnvironment) {
    let _ = std::fs::remove_dir_all(environment.repo().join(".git/planspec"));
}

/// One approval is not enough, somebody who is no reviewer is refused, and the second reviewer opens the gate.
#[track_caller]
fn check_as_strong_as_before(environment: &TestEnvironment, why: &str) {
    for fresh in [false, true] {
        if fresh {
            forget(environment);
        }
        let outcome = environment.planspec(&["reconcile"]);
        assert!(outcome.stdout.contains(why) || fresh, "{outcome:?}");
        check_phases(environment, WAITS);
        check_refused(&by(environment, "mallory", &["approve", "look"]), "mallory is not a reviewer");
    }
    by(environment, "rosa", &["approve", "look"]).succeeds();
    environment.planspec(&["reconcile"]);
    check_phases(environment, OPEN);
}

fn remove(environment: &TestEnvironment, path: &str) {
    environment.git(&["rm", "--quiet", path]).succeeds();
    environment.git(&["commit", "--quiet", "-m", "Remove it"]).succeeds();
}

#[test]
fn a_deleted_gate_is_decided_by_its_last_reviewers() {
    let environment = half_approved();
    remove(&environment, "gate.yaml");
    check_as_strong_as_before(&environment, "its manifest is gone; its last valid version decides");
    let page = environment.planspec(&["describe", "gate/look", "-n", "team"]).succeeds();
    assert!(page.stdout.contains("its manifest is gone"), "{page:?}");
    assert!(!page.stdout.contains("because it has no manifest"), "{page:?}");
}

#[test]
fn an_excluded_gate_is_decided_by_its_last_reviewers() {
    let environment = half_approved();
    let config = format!("{CONFIG}exclude: [gate.yaml]\n");
    environment.commit_files(&[(".planspec.yaml", &config)], "Look away");
    check_as_strong_as_before(&environment, "its manifest is gone");
}

#[test]
fn a_broken_gate_is_decided_by_its_last_reviewers() {
    let environment = half_approved();
    let broken = parts().0.replace("requiredApprovers: 2", "requiredApprovers: none");
    environment.commit_files(&[("gate.yaml", &broken)], "Break it");
    check_as_strong_as_before(&environment, "gate `look` has 1 of 2 approvals");
}

#[test]
fn a_gate_that_is_declared_twice_is_decided_by_its_last_reviewers() {
    let weak = parts().0.replace("reviewers: ['team:security']\n  requiredApprovers: 2", "description: weak");
    // Before and after the other one in the order of paths, and in one file with it.
    for (path, text) in
        [("a.yaml", weak.clone()), ("z.yaml", weak.clone()), ("gate.yaml", format!("{}---{weak}", parts().0))]
    {
        let environment = half_approved();
        environment.commit_files(&[(path, &text)], "Once more, and weaker");
        check_as_strong_as_before(&environment, "it is declared 2 times");
    }
}

#[test]
fn a_gate_that_never_was_valid_is_decided_by_nobody_until_it_is() {
    let (gate, rest) = parts();
    let weak = gate.replace("requiredApprovers: 2", "requiredApprovers: 1");
    let broken = gate.replace("requiredApprovers: 2", "requiredApprovers: none");
    for files in [vec![("a.yaml", gate), ("b.yaml", &*weak)], vec![("a.yaml", &*broken)]] {
        let mut all = vec![(".planspec.yaml", CONFIG), ("work.yaml", rest), ("fixed", "")];
        all.extend(files);
        let environment = TestEnvironment::with_files(&all);
        let outcome = environment.planspec(&["reconcile"]);
        assert!(outcome.stdout.contains("gate `look` is closed: "), "{outcome:?}");
        check_refused(&by(&environment, "wendy", &["approve", "look"]), "is closed: ");
        // Nobody is led to that.
        for page in [&["describe", "execution/e"][..], &["status"], &["explain", "e/look"]] {
            let shown = environment.planspec(&[page, &["-n", "team"]].concat()).stdout;
            assert!(shown.contains("fix the manifest") && !shown.contains("planspec approve"), "{shown}");
        }
        environment.git(&["rm", "--quiet", "-f", "--ignore-unmatch", "b.yaml"]).succeeds();
        environment.commit_files(&[("a.yaml", gate)], "Fix it");
        environment.planspec(&["reconcile"]);
        check_phases(&environment, WAITS);
        for who in ["wendy", "rosa"] {
            by(&environment, who, &["approve", "look"]).succeeds();
        }
        environment.planspec(&["reconcile"]);
        check_phases(&environment, OPEN);
    }
}

/// A gate without a manifest takes the approval of anybody. A broken one that is merged after that leaves nobody to ask: what is
/// behind it waits for the manifest, and no command is offered that is refused.
#[test]
fn a_task_behind_a_gate_that_was_closed_since_waits_for_its_manifest() {
    let (gate, rest) = parts();
    let rest = rest.replace("{command: 'true'}", "{command: 'test -e shipped', shell: true, checkout: true}");
    let broken = gate.replace("requiredApprovers: 2", "requiredApprovers: none");
    let files = [(".planspec.yaml", CONFIG), ("work.yaml", &rest), ("fixed", ""), ("shipped", "")];
    let environment = TestEnvironment::with_files(&files);
    environment.planspec(&["reconcile"]).succeeds();
    by(&environment, "mallory", &["approve", "look"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    check_phases(&environment, OPEN);
    environment.commit_files(&[("gate.yaml", &broken)], "A gate, and a mistake in it");
    environment.planspec(&["retry", "e", "--from", "ship", "-n", "team"]).succeeds();
    environment.planspec(&["reconcile"]);
    check_phases(&environment, ["Succeeded", "Succeeded", "Blocked", "Pending"]);
    let ship = object(&environment, "execution/e")["status"]["nodeStatuses"]["ship"].clone();
    assert_eq!(ship["extensions"]["reason"], "GateClosed", "{ship}");
    for page in [&["describe", "execution/e"][..], &["status"], &["explain", "e/ship"]] {
        let shown = environment.planspec(&[page, &["-n", "team"]].concat()).stdout;
        assert!(shown.contains("fix the manifest") && !shown.contains("planspec approve"), "{shown}");
    }
    let refused = environment.planspec(&["complete", "e/ship", "-n", "team"]);
    check_refused(&refused, "needs an approval, which nobody can give now: gate `look` is closed: ");
    // Once it can be read, its reviewers are asked.
    environment.commit_files(&[("gate.yaml", gate)], "Fix it");
    environment.planspec(&["reconcile"]).succeeds();
    let ship = object(&environment, "execution/e")["status"]["nodeStatuses"]["ship"].clone();
    assert_eq!(ship["extensions"]["reason"], "ApprovalVoid", "{ship}");
    for who in ["wendy", "rosa"] {
        by(&environment, who, &["approve", "look", "--execution", "e"]).succeeds();
    }
    environment.planspec(&["reconcile"]).succeeds();
    check_phases(&environment, OPEN);
}

#[test]
fn a_gate_that_moves_to_another_file_keeps_its_approvals() {
    let environment = half_approved();
    environment.git(&["mv", "gate.yaml", "moved.yaml"]).succeeds();
    environment.git(&["commit", "--quiet", "-m", "Move it"]).succeeds();
    environment.planspec(&["reconcile"]);
    check_phases(&environment, WAITS);
    by(&environment, "rosa", &["approve", "look"]).succeeds();
    environment.planspec(&["reconcile"]);
    check_phases(&environment, OPEN);
}

#[test]
fn reviewers_who_are_removed_do_not_count_any_more() {
    let environment = half_approved();
    let config =
        CONFIG.replace("emails: [wendy@example.com], teams: [security]", "emails: [wendy@example.com]");
    environment.commit_files(&[(".planspec.yaml", &config)], "Wendy leaves the team");
    by(&environment, "rosa", &["approve", "look"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    check_phases(&environment, WAITS);
}

#[test]
fn a_merged_change_of_a_deleted_gate_decides_again() {
    let environment = half_approved();
    remove(&environment, "gate.yaml");
    environment.planspec(&["reconcile"]);
    let weak =
        parts().0.replace("reviewers: ['team:security']\n  requiredApprovers: 2", "reviewers: [mallory]");
    environment.commit_files(&[("gate.yaml", &weak)], "Let mallory decide");
    environment.planspec(&["reconcile"]);
    // The old approval was for the old gate.
    check_phases(&environment, WAITS);
    by(&environment, "mallory", &["approve", "look"]).succeeds();
    environment.planspec(&["reconcile"]);
    check_phases(&environment, OPEN);
}

#[test]
fn the_record_of_a_deleted_gate_goes_when_nothing_names_it() {
    let environment = half_approved();
    remove(&environment, "gate.yaml");
    environment.planspec(&["reconcile"]);
    assert_eq!(object(&environment, "gate/look")["status"]["phase"], "Waiting");
    remove(&environment, "work.yaml");
    environment.planspec(&["reconcile", "--allow-mass-delete"]).succeeds();
    environment.planspec(&["reconcile", "--allow-mass-delete"]).succeeds();
    environment.planspec(&["get", "gate/look", "-n", "team"]).exits(1);
}
