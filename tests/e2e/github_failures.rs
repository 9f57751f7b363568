//! What a job says of itself where something is wrong: annotations of its run and the top of its summary, whatever the host does
//! with comments.

use crate::github_ci::{CONFIG, GATE, WORK, World, obeyed};

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
