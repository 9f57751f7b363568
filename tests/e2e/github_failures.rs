//! What a job says of itself where something is wrong: annotations of its run and the top of its summary, whatever the host does
//! with comments.

use crate::environment::Outcome;
use crate::git_server::GitServer;
use crate::github_ci::{CONFIG, GATE, WORK, World, change, obeyed, opened};

#[test]
fn what_is_invalid_or_failed_is_an_annotation_and_in_the_summary_of_every_pass() {
    let world = World::new(CONFIG, GATE);
    let environment = &world.environment;
    let broken = GATE.replace("look,", "other,").replace("gateType: review", "gateType: revue");
    let failing = WORK.replace("command: 'true'", "command: 'false'");
    environment.commit_files(&[("work.yaml", &failing), ("other.yaml", &broken)], "Break both");
    let outcome = world.pass().exits(1);
    let lines = obeyed(&outcome);
    assert!(lines[0].starts_with("::error title=team/e failed at build::"), "{lines:?}");
    assert!(lines[1].starts_with("::error file=other.yaml,line=6,"), "{lines:?}");
    assert_eq!(lines.len(), 2, "{lines:?}");
    let summary = world.left("summary");
    assert!(summary.starts_with("## ⚠️ planspec cannot apply all of the desired branch\n"), "{summary}");
    assert!(summary.contains("[`other.yaml:6`](https://github.com/acme/app/blob/"), "{summary}");
    assert!(summary.contains("## ❌ `e` failed at `build`\n"), "{summary}");
    assert!(summary.contains("The execution that changed in this pass, or waits."), "{summary}");
    // What failed is told when it fails; what is wrong stays wrong.
    let outcome = world.pass().exits(1);
    assert_eq!(obeyed(&outcome).len(), 1, "{outcome:?}");
    assert!(world.left("summary").starts_with("## ⚠️ planspec cannot apply all"));
}

#[test]
fn many_failures_leave_room_for_what_is_invalid_and_are_counted() {
    let world = World::new(CONFIG, GATE);
    let failing = WORK.replace("command: 'true'", "command: 'false'");
    let (start, one) = failing.rsplit_once("---").unwrap();
    let many: Vec<String> = (0..8).map(|at| one.replace("name: e,", &format!("name: e{at},"))).collect();
    let broken: Vec<String> = (0..14)
        .map(|at| GATE.replace("look,", &format!("g{at},")).replace("gateType: review", "gateType: revue"))
        .collect();
    let work = format!("{start}---{}", many.join("---"));
    world
        .environment
        .commit_files(&[("work.yaml", work.as_str()), ("gates.yaml", broken.join("---").as_str())], "Break");
    let lines = obeyed(&world.pass().exits(1));
    // The runner takes ten of a step, and drops the others in silence.
    assert_eq!(lines.len(), 10, "{lines:?}");
    let counted = |line: &str| lines.iter().any(|other| other == line);
    assert!(counted("::error title=planspec::… and 4 more failed: see the summary of this job"), "{lines:?}");
    assert!(counted("::error title=planspec::… and 10 more: see the summary of this job"), "{lines:?}");
}

/// Somebody protected the status branch: the decision cannot be recorded, and whoever made it has to know, with the way to the log.
#[test]
fn a_command_whose_record_the_remote_refuses_is_answered_with_why_and_the_log() {
    let (world, server) = (World::new(CONFIG, GATE), GitServer::new());
    world.environment.git(&["remote", "add", "origin", &server.file_url()]).succeeds();
    world.environment.git(&["push", "--quiet", "origin", "main"]).succeeds();
    world.pass().succeeds();
    server.hook(
        "pre-receive",
        "echo 'error: GH006: Protected branch update failed for refs/heads/planspec/status.' >&2; exit 1",
    );
    let (id, outcome) = world.says("rosa", "/planspec approve look");
    assert_ne!(outcome.code, 0, "{outcome:?}");
    assert_eq!(world.reaction(id).as_deref(), Some("confused"), "{outcome:?}");
    let answer = world.host.own_comments().pop().unwrap();
    assert!(answer.contains("The command was not carried out: ") && answer.contains("GH006"), "{answer}");
    assert!(answer.contains("([log](https://github.com/acme/app/actions/runs/77))"), "{answer}");
    assert!(obeyed(&outcome)[0].starts_with("::error title=planspec::"), "{outcome:?}");
}

/// What is wrong with the base is no fault of a change: one that has nothing to do with it passes, and the one that repairs it, too.
#[test]
fn an_invalid_base_fails_no_change_that_did_not_break_it() {
    let check = |config: &str, gate: &str, path: &str, content: &str| -> (World, Outcome) {
        let world = World::new(CONFIG, GATE);
        world.environment.commit_files(&[(".planspec.yaml", config), ("gate.yaml", gate)], "Break");
        let head = change(&world, path, content);
        let outcome = world.ci("pull_request", &opened(8, &head), &[]);
        (world, outcome)
    };
    let broken = GATE.replace("gateType: review", "gateType: revue");
    let title = |world: &World| world.host.own_comments().pop().unwrap_or_default();
    for (config, gate, path, content) in [
        (CONFIG, broken.as_str(), "other.yaml", &*GATE.replace("look,", "other,")),
        (CONFIG, broken.as_str(), "gate.yaml", GATE),
        ("identitees: {}\n", GATE, ".planspec.yaml", CONFIG),
    ] {
        let (world, outcome) = check(config, gate, path, content);
        outcome.succeeds();
        assert!(title(&world).contains("## ✅ planspec: "), "{path}: {}", title(&world));
        let own = title(&world).contains("Those of its base are not valid, so that it is read by its own.");
        assert_eq!(own, path == ".planspec.yaml", "{}", title(&world));
    }
    // One that repairs nothing is told what is wrong with the base.
    let (_, outcome) = check("identitees: {}\n", GATE, "other.yaml", GATE);
    assert!(obeyed(&outcome.exits(1))[0].contains(".planspec.yaml:1:1: unknown field `identitees`"));
}
