//! `planspec ci` with a host that fails, limits and forgets, as it documents: what can be waited for is waited for, and
//! the work is recorded in any case.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::environment::TestEnvironment;
use crate::github_ci::{CONFIG, GATE, WORK, World, pull};
use crate::github_host::Fault;

fn fault(method: &'static str, path: &'static str, status: u16, headers: &[(&'static str, &str)]) -> Fault {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Fault { method, path, times: 1, status, headers }
}

#[test]
fn failures_and_limits_are_waited_out_as_the_host_says() {
    let world = World::new(CONFIG, GATE);
    world.host.with(|state| {
        // Otherwise that is what there is to warn of.
        state.restricted.push("planspec%2Fstatus");
        state.faults = vec![
            fault("GET", "/pulls", 502, &[]),
            fault("GET", "/comments", 503, &[]),
            fault("POST", "/comments", 403, &[("retry-after", "1")]),
        ];
    });
    let begun = Instant::now();
    let outcome = world.pass().succeeds();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert!(!outcome.stderr.contains("warning"), "{outcome:?}");
    assert_eq!(world.host.own_comments().len(), 1);
    // A comment that a command stands in, and that the host does not know yet.
    world.host.with(|state| {
        state.writers.push("rosa".to_owned());
        let id = 1000 + state.comments.len();
        let path: &'static str = format!("/comments/{id}").leak();
        state.faults = vec![Fault { times: 2, ..fault("GET", path, 404, &[]) }];
    });
    let (id, outcome) = world.says("rosa", "/planspec approve look");
    assert_eq!(world.reaction(id).as_deref(), Some("+1"), "{outcome:?}");
    assert!(world.host.with(|state| state.faults.iter().all(|fault| fault.times == 0)));
}

#[test]
fn a_limit_that_outlasts_the_job_costs_the_comment_and_not_the_work() {
    let world = World::new(CONFIG, GATE);
    let soon = jiff::Timestamp::now().as_second() + 3000;
    world.host.with(|state| {
        let headers = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &soon.to_string())];
        // The host's own clock counts, not ours.
        let date = ("date", jiff::fmt::rfc2822::to_string(&jiff::Zoned::now()).unwrap());
        let mut limited = fault("POST", "/comments", 403, &headers);
        limited.headers.push(date);
        state.faults = vec![limited];
    });
    let begun = Instant::now();
    let outcome = world.pass().succeeds();
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert!(outcome.stderr.contains("rate limit is reached"), "{outcome:?}");
    assert_eq!((world.phase(), world.host.own_comments().len()), (json!("Blocked"), 0));
    assert!(world.left("output").contains("waiting") && world.left("summary").contains("Blocked"));
    // The next pass tells it, though nothing happens in it.
    world.pass().succeeds();
    assert_eq!(world.host.own_comments().len(), 1);
}

#[test]
fn without_a_token_everything_but_the_comments_is_done() {
    let world = World::new(CONFIG, GATE);
    let place = world.environment.repo();
    let event = json!({ "ref": "refs/heads/main", "repository": { "default_branch": "main" } }).to_string();
    let mut command = world.ci_command(&place, "push", &event);
    let outcome = world.finish(command.env_remove("GITHUB_TOKEN")).succeeds();
    assert!(outcome.stderr.contains("there is no usable token: set GITHUB_TOKEN"), "{outcome:?}");
    assert_eq!(world.phase(), "Blocked");
    assert!(world.left("summary").contains("Blocked"));
    // A comment cannot be read without one, and that is an error.
    let event = json!({ "action": "created", "issue": { "number": 7 }, "comment": { "id": 1 } }).to_string();
    let mut command = world.ci_command(&place, "issue_comment", &event);
    let outcome = world.finish(command.env_remove("GITHUB_TOKEN")).exits(3);
    assert!(outcome.stderr.contains("there is no usable token"), "{outcome:?}");
    assert!(world.host.with(|state| state.seen.is_empty()));
}

/// The heaviest pass: more pull requests than one pass tells. The host itself looks that no minute holds too much.
#[test]
fn many_pull_requests_are_told_by_several_passes_within_the_host_s_limits() {
    let world = World::around(TestEnvironment::with_files(&[(".planspec.yaml", ""), ("gate.yaml", GATE)]));
    let (before, execution) = WORK.rsplit_once("---").unwrap();
    let plan = before.replace("{id: build, kind: Task}", "{id: look, kind: Gate, gateRef: {name: look}}");
    let plan: String =
        plan.lines().filter(|line| !line.contains("dependsOn")).map(|line| format!("{line}\n")).collect();
    world.environment.commit_files(&[("work.yaml", &plan)], "Work");
    for number in 1..=45_u64 {
        let own = execution.replace("name: e,", &format!("name: e{number},"));
        world.environment.commit_files(&[(&format!("e{number}.yaml"), &own)], "Merge");
        let merge = world.environment.git_output(&["rev-parse", "HEAD"]);
        world.host.with(|state| state.pulls.push(pull(number, "wendy", &merge, Some(&merge))));
    }
    world.pass().succeeds();
    assert_eq!(world.host.own_comments().len(), 30);
    world.pass().succeeds();
    assert_eq!(world.host.own_comments().len(), 45);
    let before = world.host.changes();
    world.pass().succeeds();
    assert_eq!(world.host.changes(), before);
    // One look at a pass costs two requests for each pull request, and nothing in the square of them.
    assert!(world.host.with(|state| state.seen.len()) < 3 * (45 * 2 + 1) + 45 + 1);
}
