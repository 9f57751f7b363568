//! What an approval covers: not only the gate and the graph, but also what was there to be reviewed and what would do the work
//! after it (Invariant 11). A change of any of that voids it, visibly, and the gate is asked again.

use serde_json::{Value, json};

use crate::decisions::{CONFIG, WORK, by, check_phases, check_refused, environment, object};
use crate::environment::TestEnvironment;

const WAITS: [&str; 4] = ["Succeeded", "Blocked", "Pending", "Pending"];
const OPEN: [&str; 4] = ["Succeeded", "Succeeded", "Succeeded", "Blocked"];

/// The rule that all tasks without one of their own have.
const RULE: &str = "target: {provider: 'tool://true', config: {command: 'true'}}";

fn approve_by_both(environment: &TestEnvironment) {
    for who in ["wendy", "rosa"] {
        by(environment, who, &["approve", "look"]).succeeds();
    }
}

fn swap(environment: &TestEnvironment, target: &str) {
    let changed = WORK.replace(RULE, target);
    assert_ne!(changed, WORK);
    environment.commit_files(&[("work.yaml", &changed)], "Run something else");
}

fn node(environment: &TestEnvironment, id: &str) -> Value {
    object(environment, "execution/e")["status"]["nodeStatuses"][id].clone()
}

fn digest(environment: &TestEnvironment) -> String {
    let page = environment.planspec(&["describe", "gate/look", "-n", "team"]).succeeds().stdout;
    let line = page.lines().find_map(|line| line.strip_prefix("Digest:"));
    line.unwrap_or_else(|| panic!("{page}")).trim().to_owned()
}

#[test]
fn a_binding_that_is_swapped_after_the_approval_asks_again() {
    for (target, why) in [
        (
            "target: {provider: 'tool://true', config: {command: 'false'}}",
            "the settings of tool://true for node `ship` have changed",
        ),
        (
            "target: {provider: 'tool://other', config: {command: 'true'}}",
            "node `ship` would now run tool://other instead of tool://true",
        ),
    ] {
        let environment = environment(true);
        environment.planspec(&["reconcile"]).succeeds();
        approve_by_both(&environment);
        swap(&environment, target);
        environment.planspec(&["reconcile"]);
        check_phases(&environment, WAITS);
        let message = node(&environment, "look")["message"].to_string();
        assert!(message.contains("0 of 2 approvals") && message.contains(why), "{message}");
        let gate = object(&environment, "gate/look")["status"].to_string();
        assert!(gate.contains("ReviewsVoid") && gate.contains(why), "{gate}");
    }
}

#[test]
fn a_binding_that_is_swapped_before_a_retry_asks_again() {
    let environment = environment(true);
    environment.planspec(&["reconcile"]).succeeds();
    approve_by_both(&environment);
    environment.planspec(&["reconcile"]).succeeds();
    check_phases(&environment, OPEN);
    swap(&environment, "target: {provider: 'tool://true', config: {command: 'touch', args: ['x']}}");
    by(&environment, "rosa", &["retry", "e", "--from", "ship"]).succeeds();
    let outcome = environment.planspec(&["reconcile"]).succeeds();
    // Nothing that has ended is undone; the node that would run something else waits for the reviewers.
    check_phases(&environment, ["Succeeded", "Succeeded", "Blocked", "Pending"]);
    let ship = node(&environment, "ship");
    assert_eq!(ship["extensions"]["reason"], "ApprovalVoid");
    assert!(ship["message"].to_string().contains("the settings of tool://true for node `ship` have changed"));
    assert!(outcome.stdout.contains("planspec approve gate/look --execution e -n team"), "{outcome:?}");
    let tip = environment.git_output(&["rev-parse", "planspec/status"]);
    environment.planspec(&["reconcile"]).succeeds();
    assert_eq!(environment.git_output(&["rev-parse", "planspec/status"]), tip, "reconciled twice");
    approve_by_both(&environment);
    environment.planspec(&["reconcile"]).succeeds();
    check_phases(&environment, OPEN);
}

/// Whoever calls work done lets what comes after go on, so it takes the same approval as a start, whatever else the node waits for.
#[test]
fn nobody_completes_by_hand_what_lacks_a_valid_approval() {
    const GONE: &str = "target: {provider: 'agent://nobody'}";
    let complete = |environment: &TestEnvironment| by(environment, "mallory", &["complete", "e/ship"]);
    let at_ship = |target: &str| {
        let work = WORK.replace(RULE, target);
        let environment =
            TestEnvironment::with_files(&[(".planspec.yaml", CONFIG), ("work.yaml", &work), ("fixed", "")]);
        environment.planspec(&["reconcile"]).succeeds();
        approve_by_both(&environment);
        environment.planspec(&["reconcile"]).succeeds();
        environment
    };

    // Another target, found by a pass to be out of reach before it comes to its approval.
    let environment = at_ship(RULE);
    swap(&environment, GONE);
    by(&environment, "rosa", &["retry", "e", "--from", "ship"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    assert_eq!(node(&environment, "ship")["extensions"]["reason"], "ProviderUnavailable");
    check_refused(&complete(&environment), "node `ship` would now run agent://nobody instead of tool://true");
    check_refused(&complete(&environment), "planspec approve gate/look --execution e -n team");
    // What the refusal names works, and so does saying that nothing came of it.
    for who in ["wendy", "rosa"] {
        by(&environment, who, &["approve", "look", "--execution", "e"]).succeeds();
    }
    complete(&environment).succeeds();

    // The approval was for what the node waits for, so a person may step in; not after a merge that no pass has seen.
    let environment = at_ship(GONE);
    let work = WORK.replace(RULE, GONE);
    let asked_again = work.replace("gateType: review", "gateType: sign-off");
    for changed in [WORK, &asked_again] {
        environment.commit_files(&[("work.yaml", changed)], "Change what was approved");
        check_refused(&complete(&environment), "an approval that is valid now");
    }
    environment.commit_files(&[("work.yaml", &work)], "Take it back");
    complete(&environment).succeeds();
    let environment = at_ship(GONE);
    environment.commit_files(&[("work.yaml", WORK)], "Change what was approved");
    by(&environment, "mallory", &["fail", "e/ship"]).succeeds();

    // What has begun was compared when it did, as all work that goes on.
    let environment = at_ship(RULE);
    environment.commit_files(&[("work.yaml", &WORK.replace("human://wendy", "human://rosa"))], "Ask another");
    by(&environment, "rosa", &["complete", "e/tell", "whom=all"]).succeeds();
}

#[test]
fn a_binding_that_comes_back_to_what_was_approved_needs_no_other_approval() {
    let environment = environment(true);
    environment.planspec(&["reconcile"]).succeeds();
    approve_by_both(&environment);
    swap(&environment, "target: {provider: 'tool://true', config: {command: 'false'}}");
    environment.planspec(&["reconcile"]);
    check_phases(&environment, WAITS);
    environment.commit_files(&[("work.yaml", WORK)], "Take it back");
    environment.planspec(&["reconcile"]).succeeds();
    check_phases(&environment, OPEN);
}

/// The work of `ship` was approved with one configuration, and another one is merged: the gate asks again, and says why.
#[track_caller]
fn check_settings_are_approved(provider: &str, old: &str, new: &str) {
    let work = WORK.replace(RULE, &format!("target: {{provider: '{provider}'}}"));
    let environment =
        TestEnvironment::with_files(&[(".planspec.yaml", old), ("work.yaml", &work), ("fixed", "")]);
    environment.planspec(&["reconcile"]).succeeds();
    approve_by_both(&environment);
    environment.commit_files(&[(".planspec.yaml", new)], "Other settings");
    environment.planspec(&["reconcile"]).succeeds();
    check_phases(&environment, WAITS);
    let message = node(&environment, "look")["message"].to_string();
    let why = format!("the settings of {provider} for node `ship` have changed");
    assert!(message.contains(&why), "{message}");
}

#[test]
fn what_a_target_names_in_the_configuration_is_approved_with_it() {
    for (provider, section) in [
        ("service://deployer", "services: {deployer: 'https://one.example.com'}"),
        ("agent://deployer", "agents: {deployer: {url: 'https://one.example.com'}}"),
        ("mcp://deployer/ship", "mcp: {deployer: {url: 'https://one.example.com'}}"),
    ] {
        let config = |section: &str| format!("{CONFIG}providers: {{{section}}}\n");
        check_settings_are_approved(provider, &config(section), &config(&section.replace("one", "two")));
    }
}

/// An agent whose settings name another one, as those who verify its work are named.
#[test]
fn what_the_configuration_names_in_turn_is_approved_with_it() {
    let config = |command: &str| {
        format!(
            "{CONFIG}providers:\n  agents:\n    coder: {{command: 'true', verify: 'agent://critic'}}\n    \
             critic: {{command: '{command}'}}\n"
        )
    };
    check_settings_are_approved("agent://coder", &config("true"), &config("/bin/true"));
}

/// The plan that does a node, and what does the tasks of it, also further down.
#[test]
fn a_plan_that_is_swapped_after_the_approval_asks_again() {
    let plan = |name: &str, task: &str| {
        format!(
            "---\napiVersion: planspec.io/v1alpha1\nkind: Plan\nmetadata: {{name: {name}, namespace: team}}\nspec:\n  \
             description: Ship\n  graph: {{nodes: [{task}]}}\n"
        )
    };
    let bound = |inner: &str| {
        let rule = format!("{{selector: {{planRef: {{name: inner}}}}, target: {{provider: '{inner}'}}}}");
        WORK.replace(RULE, "target: {provider: 'plan://inner'}")
            .replace("  rules:\n", &format!("  rules:\n    - {rule}\n"))
    };
    let open = plan("inner", "{id: a, kind: Task}");
    let last = plan("last", "{id: b, kind: Task, run: 'true'}");
    let work = [bound("plan://last"), open.clone(), last.clone()].concat();
    for changed in [
        [bound("plan://last"), plan("inner", "{id: a, kind: Task, run: 'echo evil > evil'}"), last.clone()],
        [bound("plan://last"), open.clone(), plan("last", "{id: b, kind: Task, run: 'echo evil > evil'}")],
        [bound("tool://evil"), open, last],
    ] {
        let environment =
            TestEnvironment::with_files(&[(".planspec.yaml", CONFIG), ("work.yaml", &work), ("fixed", "")]);
        environment.planspec(&["reconcile"]).succeeds();
        approve_by_both(&environment);
        environment.commit_files(&[("work.yaml", &changed.concat())], "Another plan");
        environment.planspec(&["reconcile"]).succeeds();
        check_phases(&environment, WAITS);
        let message = node(&environment, "look")["message"].to_string();
        assert!(message.contains("the settings of plan://inner for node `ship` have changed"), "{message}");
        approve_by_both(&environment);
        environment.planspec(&["reconcile"]).succeeds();
        assert_eq!(node(&environment, "look")["phase"], "Succeeded");
    }
}

#[test]
fn what_is_asked_is_shown_and_an_approval_may_say_what_it_expects() {
    let environment = environment(true);
    environment.planspec(&["reconcile"]).succeeds();
    let before = digest(&environment);
    assert_eq!(before.len(), 12);
    swap(&environment, "target: {provider: 'tool://other', config: {command: 'true'}}");
    let expecting = |digest: &str| by(&environment, "wendy", &["approve", "look", "--expect", digest]);
    // Also before anybody has reconciled: what is compared is what is so now.
    check_refused(&expecting(&before), "is not what you expect: its digest is ");
    environment.planspec(&["reconcile"]).succeeds();
    let now = digest(&environment);
    assert_ne!(before, now);
    let page = environment.planspec(&["describe", "gate/look", "-n", "team"]).succeeds().stdout;
    assert!(page.contains("Asked by team/e, node look") && page.contains("ship by tool://other"), "{page}");
    check_refused(&expecting(&before), &format!("its digest is {now}"));
    check_refused(&expecting("3f"), "a digest has at least 12 digits");
    let outcome = expecting(&now).succeeds();
    let commit = environment.git_output(&["rev-parse", "--short=8", "HEAD~1"]);
    assert_eq!(
        outcome.stdout,
        format!(
            "gate/look has 1 of 2 approvals for execution/e\napproved: commit {commit}, digest {now}\n  \
             human://wendy for tell\n  tool://other for ship\n"
        )
    );
    // By the whole digest, as it is recorded.
    let gate = object(&environment, "gate/look");
    let whole = gate["status"]["reviewHistory"][0]["extensions"]["digest"].as_str().unwrap().to_owned();
    by(&environment, "rosa", &["approve", "look", "--expect", &whole]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    check_phases(&environment, OPEN);
    assert_eq!(object(&environment, "gate/look")["status"]["extensions"], json!(null));
}

#[test]
fn two_nodes_that_ask_for_one_gate_are_approved_one_by_one() {
    let work = WORK.replace(
        "      - {id: tell, kind: Task, dependsOn: [ship], outputs: [whom]}",
        "      - {id: again, kind: Gate, gateRef: {name: look}, dependsOn: [ship]}\n      \
         - {id: tell, kind: Task, dependsOn: [again], outputs: [whom]}",
    );
    assert_ne!(work, WORK);
    let environment =
        TestEnvironment::with_files(&[(".planspec.yaml", CONFIG), ("work.yaml", &work), ("fixed", "")]);
    environment.planspec(&["reconcile"]).succeeds();
    approve_by_both(&environment);
    environment.planspec(&["reconcile"]).succeeds();
    check_phases(&environment, ["Succeeded", "Succeeded", "Succeeded", "Pending"]);
    assert_eq!(node(&environment, "again")["phase"], "Blocked");
    approve_by_both(&environment);
    environment.planspec(&["reconcile"]).succeeds();
    check_phases(&environment, OPEN);
}
