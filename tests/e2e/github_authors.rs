//! `gates.authorMayApprove: false` on a host: whose work counts as whose, over all pull requests that an Execution runs.

use serde_json::json;

use crate::environment::TestEnvironment;
use crate::github_ci::{GATE, WORK, World, pull};

const FOUR_EYES: &str = "gates: {authorMayApprove: false}\n";

const OUTER: &str = "
apiVersion: planspec.io/v1alpha1
kind: Plan
metadata: {name: outer, namespace: team}
spec:
  description: Let another plan do it
  graph:
    nodes:
      - {id: inner, kind: Task}
";

const YEARLY: &str = "
apiVersion: planspec.io/v1alpha1
kind: Schedule
metadata: {name: yearly, namespace: team}
spec: {cron: '0 0 1 1 *', planRef: {name: outer}, concurrencyPolicy: Forbid}
";

/// Everybody may decide, so that only authorship can stand in the way.
fn world() -> World {
    let all = "author, rosa, wendy, merger, pusher, helper";
    World::new(FOUR_EYES, &GATE.replace("'user:rosa'", all))
}

fn check_refused(world: &World, login: &str, why: &str) {
    check_refused_at(world, login, "/planspec approve e/look", why);
}

fn check_refused_at(world: &World, login: &str, approve: &str, why: &str) {
    let (id, outcome) = world.says(login, approve);
    let answers = world.host.own_comments();
    // As it is read: the number of a pull request would else become a link to it.
    let answer = answers.last().unwrap().replace("&#35;&#8203;", "#");
    assert_eq!(world.reaction(id).as_deref(), Some("-1"), "{login}: {outcome:?}");
    assert!(answer.contains(why), "{login}: {answer}");
}

fn check_counts(world: &World, login: &str) {
    let (id, outcome) = world.says(login, "/planspec approve e/look");
    assert_eq!(
        world.reaction(id).as_deref(),
        Some("+1"),
        "{login}: {outcome:?} {:?}",
        world.host.own_comments()
    );
    assert_eq!(world.phase(), "Succeeded");
}

#[test]
fn whoever_wrote_a_commit_of_a_squashed_pull_request_or_merged_it_does_not_approve_it() {
    let world = world();
    let merge = world.environment.git_output(&["rev-parse", "HEAD"]);
    world.host.with(|state| {
        state.pull_commits.push((7, "a".repeat(40), Some("author")));
        state.pull_commits.push((7, "b".repeat(40), Some("wendy")));
        let both = "Do it (#7)\n\nCo-authored-by: Helper <1+helper@users.noreply.github.com>";
        state.messages.push((merge, both));
    });
    world.pass().succeeds();
    // Whoever moves the file afterwards is not its author, and its author stays it.
    world.environment.git(&["mv", "work.yaml", "moved.yaml"]).succeeds();
    world.environment.commit_files(&[], "Move it");
    check_refused(&world, "author", "is the author of #7");
    check_refused(&world, "wendy", "is an author of commit bbbbbbbb");
    check_refused(&world, "Merger", "merged #7");
    check_refused(&world, "helper", "is an author of commit");
    check_counts(&world, "rosa");
}

#[test]
fn the_authors_of_all_pull_requests_between_introduction_and_first_pass_count() {
    let world = world();
    let another = WORK.replace("Build, have it looked at, ship it", "Build and ship it");
    world.environment.commit_files(&[("work.yaml", &another)], "Merge #9");
    let merge = world.environment.git_output(&["rev-parse", "HEAD"]);
    world.host.with(|state| state.pulls.push(pull(9, "wendy", &merge, Some(&merge))));
    world.environment.commit_files(&[("notes.txt", "x")], "Pushed by hand");
    let pushed = world.environment.git_output(&["rev-parse", "HEAD"]);
    world.host.with(|state| state.written.push((pushed, [Some("pusher"), Some("helper")])));
    world.pass().succeeds();
    check_refused(&world, "author", "is the author of #7");
    check_refused(&world, "wendy", "is the author of #9");
    check_refused(&world, "pusher", "is an author of commit");
    check_refused(&world, "helper", "is an author of commit");
    check_counts(&world, "rosa");
}

#[test]
fn where_an_author_cannot_be_known_nobody_approves_until_the_configuration_says_who_it_is() {
    let world = world();
    world.host.with(|state| {
        state.pull_commits.push((7, "a".repeat(40), Some("author")));
        state.pull_commits.push((7, "b".repeat(40), None));
    });
    world.pass().succeeds();
    check_refused(&world, "rosa", "the author of commit bbbbbbbb is unknown");
    // A commit that is missing from the list could be anybody's.
    let config =
        format!("{FOUR_EYES}identities: {{wen: {{login: wendy, emails: [somebody@example.com]}}}}\n");
    world.environment.commit_files(&[(".planspec.yaml", &config)], "Who that is");
    let more = |count: u64| world.host.with(|state| state.pulls[0]["commits"] = json!(count));
    more(300);
    check_refused(&world, "rosa", "all commits of #7 is unknown");
    more(2);
    check_refused(&world, "wendy", "is an author of commit bbbbbbbb");
    check_counts(&world, "rosa");
}

#[test]
fn what_was_merged_and_pushed_without_a_pull_request_counts_with_all_its_commits() {
    let world = world();
    let environment = &world.environment;
    environment.git(&["switch", "--quiet", "-c", "side"]).succeeds();
    environment.commit_files(&[("notes.txt", "x")], "On the side");
    let side = environment.git_output(&["rev-parse", "HEAD"]);
    environment.git(&["switch", "--quiet", "main"]).succeeds();
    environment.git(&["merge", "--quiet", "--no-ff", "-m", "Merge by hand", "side"]).succeeds();
    let merge = environment.git_output(&["rev-parse", "HEAD"]);
    world.host.with(|state| {
        state.written.push((side, [Some("helper"), Some("helper")]));
        state.written.push((merge, [Some("pusher"), Some("pusher")]));
    });
    world.pass().succeeds();
    check_refused(&world, "helper", "is an author of commit");
    check_refused(&world, "pusher", "is an author of commit");
    check_counts(&world, "rosa");
}

/// Right after a merge the host lists no pull request for its commit.
#[test]
fn a_pull_request_that_only_the_subject_of_its_commit_names_counts() {
    let world = world();
    let merge = world.environment.git_output(&["rev-parse", "HEAD"]);
    world.environment.git(&["commit", "--quiet", "--allow-empty", "-m", "Late"]).succeeds();
    let late = world.environment.git_output(&["rev-parse", "HEAD"]);
    world.host.with(|state| {
        let mut pull = pull(9, "wendy", &merge, Some(&late));
        pull["hidden"] = json!(true);
        state.pulls.push(pull);
        state.messages.push((late.clone(), "Late (#9)"));
        state.written.push((late, [Some("pusher"), Some("web-flow")]));
    });
    world.pass().succeeds();
    check_refused(&world, "wendy", "is the author of #9");
    check_refused(&world, "merger", "merged #");
    check_counts(&world, "rosa");
}

/// When a Schedule is due, the newest commit is anybody's: who began it, and who changed it and its Plans last, are the authors of
/// what it starts, with those who merged that.
#[test]
fn whoever_changed_a_schedule_or_one_of_its_plans_last_does_not_approve_what_it_starts() {
    let all = "sam, tina, olive, nora, last, merger, rosa";
    let environment = TestEnvironment::with_files(&[(".planspec.yaml", FOUR_EYES)]);
    let world = World::around(environment);
    world.host.with(|state| state.writers.push("rosa".to_owned()));
    // Long ago, so that the Schedule has been due since.
    let merges = |number: u64, author: &'static str, file: &str, content: &str| {
        let environment = &world.environment;
        environment.write(file, content);
        environment.git(&["add", "--all"]).succeeds();
        let commit = format!(
            "alias.dated=!GIT_COMMITTER_DATE='2024-01-01T12:00:00Z' git commit --quiet -m 'Merge {number}'"
        );
        environment.git(&["-c", &commit, "dated"]).succeeds();
        let merge = environment.git_output(&["rev-parse", "HEAD"]);
        world.host.with(|state| state.pulls.push(pull(number, author, &merge, Some(&merge))));
    };
    let inner = WORK.rsplit_once("---").unwrap().0;
    let rules = "rules:\n    - {selector: {planRef: {name: outer}}, target: {provider: 'plan://p'}}";
    let inner = inner.replace("rules:", rules);
    merges(7, "rosa", "gate.yaml", &GATE.replace("'user:rosa'", all));
    merges(8, "paula", "inner.yaml", &inner);
    merges(9, "olive", "outer.yaml", OUTER);
    merges(10, "sam", "schedule.yaml", YEARLY);
    merges(11, "tina", "schedule.yaml", &YEARLY.replace("Forbid", "Replace"));
    merges(12, "nora", "inner.yaml", &inner.replace("Build, have it looked at, ship it", "Ship it"));
    merges(13, "last", "notes.txt", "x");
    world.pass().succeeds();
    let listed = world.environment.planspec(&["get", "executions", "-o", "name", "-A"]).succeeds().stdout;
    let run = listed.lines().filter_map(|line| line.rsplit('/').next()).find(|name| name.ends_with("-inner"));
    let run = run.unwrap_or_else(|| panic!("{listed}"));
    let approve = format!("/planspec approve {run}/look");
    let refusals = [
        ("sam", "is the author of #10"),
        ("tina", "is the author of #11"),
        ("olive", "is the author of #9"),
        ("nora", "is the author of #12"),
        ("last", "is the author of #13"),
        ("merger", "merged #"),
    ];
    for (login, why) in refusals {
        check_refused_at(&world, login, &approve, why);
    }
    let (id, outcome) = world.says("rosa", &approve);
    let answers = world.host.own_comments();
    assert_eq!(world.reaction(id).as_deref(), Some("+1"), "{outcome:?} {answers:?}");
    assert_eq!(world.phase_of(run), "Succeeded");
}
