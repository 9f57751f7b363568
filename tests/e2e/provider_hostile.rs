//! Local processes of every kind that hang, flood their output, write nonsense and leave children behind, while the work
//! of others goes on: through the real program, with its memory measured.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use planspec::model::{ExecutionPhase, ExecutionStatus, NodePhase, NodeReason, NodeStatus};
use serde_json::{Value, json};

use crate::engine_rig::{Graph, QUICK, Runner, Stage, bindings, check_history, document, execution, yaml};

/// The providers whose work is a process.
const KINDS: [&str; 3] = ["tool", "agent", "robot"];

/// Several times what may be kept of it, which is 64 MiB and the line that says so.
const FLOOD: u64 = 250_000_000;
const KEPT: u64 = (64 << 20) + 100;

/// More than this is not needed whatever a process prints, in kilobytes; measured are 47,000.
const MEMORY: u64 = 100_000;

/// What a process does to others, as a shell line.
fn misdeed(name: &str, pid: &Path) -> String {
    let pid = pid.display();
    match name {
        "hangs" => format!("trap '' TERM; sleep 600 & echo $! > '{pid}'; while :; do sleep 600; done"),
        "floods" => format!("head -c {FLOOD} /dev/zero | tr '\\0' x >&2; exit 1"),
        "babbles" => "printf 'no pair\\n\\377' > \"$PLANSPEC_OUTPUT\"".to_owned(),
        "links" => "ln -sf /etc/passwd \"$PLANSPEC_OUTPUT\"".to_owned(),
        "litters" => format!("sleep 600 & echo $! > '{pid}'"),
        other => panic!("{other}"),
    }
}

/// A stage with the executable of `robot://`, an Execution `bad` with these nodes, and one `good` beside it.
fn stage(misdeeds: &[&str], kinds: &[&str], fields: &Value) -> Stage {
    let config = format!("{QUICK}jobs: 4\nproviders: {{plugins: [robot]}}\n");
    let mut stage = Stage::new(&config, &[]);
    let (mut nodes, mut rules, mut cases) = (Vec::new(), Vec::new(), String::new());
    for name in misdeeds {
        for kind in kinds {
            let id = format!("{kind}-{name}");
            let mut node = json!({ "id": id, "kind": "Task" });
            node.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            nodes.push(node);
            let script = misdeed(name, &stage.outside(&id));
            let config = json!({ "command": script, "shell": true, "grace": "200ms" });
            let config = if *kind == "robot" { json!({}) } else { config };
            rules.push(json!({
                "selector": { "planRef": { "name": "bad" }, "nodeId": id },
                "target": { "provider": format!("{kind}://{name}"), "config": config },
            }));
            if *kind == "robot" {
                // The answer of such a provider is its standard output; nonsense goes there.
                let script = match *name {
                    "babbles" => "printf 'no json\\n\\377'".to_owned(),
                    "links" => "ln -sf /etc/passwd answer; cat answer".to_owned(),
                    "litters" => format!("{script}; echo '{{\"status\": \"succeeded\"}}'"),
                    _ => script,
                };
                cases.push_str(&format!("*'\"robot://{name}\"'*) {script} ;;\n"));
            }
        }
    }
    let bin = stage.outside("bin");
    std::fs::create_dir(&bin).unwrap();
    let robot = bin.join("planspec-provider-robot");
    std::fs::write(&robot, format!("#!/bin/sh\nrequest=$(cat)\ncase \"$request\" in\n{cases}esac\n"))
        .unwrap();
    std::fs::set_permissions(&robot, std::fs::Permissions::from_mode(0o755)).unwrap();
    stage.environment.set("PATH", &format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()));

    let good =
        Graph::new("good").task("a", &[], "echo x=1 >> \"$PLANSPEC_OUTPUT\"").task("b", &["a"], "sleep 0.2");
    let mut binding = bindings(&[&good]);
    binding["spec"]["rules"].as_array_mut().unwrap().extend(rules);
    let bad = document("Plan", "bad", &json!({ "description": "harm", "graph": { "nodes": nodes } }));
    let documents = [bad, good.plan(), binding, execution("bad", "bad"), execution("good", "good")];
    stage.commit("work.yaml", &yaml(&documents));
    stage
}

fn node<'s>(status: &'s ExecutionStatus, id: &str) -> &'s NodeStatus {
    status.node_statuses.iter().find(|(known, _)| known.as_str() == id).unwrap().1
}

/// Waits for the end of a runner, and gives the most memory that it had, in kilobytes.
fn most_memory(runner: &mut Runner) -> u64 {
    let status = format!("/proc/{}/status", runner.child.id());
    let (mut most, deadline) = (0, Instant::now() + Duration::from_secs(300));
    while runner.child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        most = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(most);
        assert!(Instant::now() < deadline, "it does not end:\n{}", runner.output());
        std::thread::sleep(Duration::from_millis(20));
    }
    most
}

/// Whether a process is still there; zombies do not count.
pub(crate) fn is_alive(pid: &str) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn processes_that_hang_write_nonsense_or_leave_children_disturb_no_other_execution() {
    let stage = stage(&["hangs", "babbles", "links", "litters"], &KINDS, &json!({ "timeout": "3s" }));
    let mut runner = stage.start(&[]);
    runner.ends();
    let (bad, good) = (stage.status("bad"), stage.status("good"));
    assert_eq!((bad.phase, good.phase), (ExecutionPhase::Failed, ExecutionPhase::Succeeded));
    assert!(good.completion_time < bad.completion_time, "the good one had to wait");
    for kind in KINDS {
        let hung = node(&bad, &format!("{kind}-hangs"));
        assert_eq!(
            (hung.phase, hung.extensions.reason),
            (NodePhase::Failed, Some(NodeReason::Timeout)),
            "{kind}"
        );
        for name in ["babbles", "links"] {
            let wrong = node(&bad, &format!("{kind}-{name}"));
            let expected =
                if kind == "robot" { NodeReason::ProviderFailed } else { NodeReason::OutputInvalid };
            assert_eq!(
                (wrong.phase, wrong.extensions.reason),
                (NodePhase::Failed, Some(expected)),
                "{wrong:?}"
            );
            assert!(wrong.outputs.is_empty() && !format!("{wrong:?}").contains("root:"), "{wrong:?}");
        }
        let litters = node(&bad, &format!("{kind}-litters"));
        assert_eq!(litters.phase, NodePhase::Succeeded, "{litters:?}");
        for name in ["hangs", "litters"] {
            let child = std::fs::read_to_string(stage.outside(&format!("{kind}-{name}"))).unwrap();
            stage.wait_until("the child is gone", || !is_alive(&child));
        }
    }
    check_history(&stage.environment.repo());
}

#[test]
fn a_flood_from_each_of_three_processes_takes_little_memory_and_holds_up_nobody() {
    let stage = stage(&["floods"], &KINDS, &json!({}));
    let mut runner = stage.start(&[]);
    let memory = most_memory(&mut runner);
    assert!((1_000..MEMORY).contains(&memory), "{memory} kB");
    let (bad, good) = (stage.status("bad"), stage.status("good"));
    assert_eq!((bad.phase, good.phase), (ExecutionPhase::Failed, ExecutionPhase::Succeeded));
    assert!(good.completion_time < bad.completion_time, "the good one had to wait");
    let runs = stage.environment.repo().join(".git/planspec/runs");
    for kind in KINDS {
        let id = format!("{kind}-floods");
        let log = node(&bad, &id).extensions.log.clone().unwrap();
        assert!(log.size >= FLOOD && log.tail.len() <= 4 << 10, "{kind} {}", log.size);
        let kept = std::fs::read_dir(&runs).unwrap().find_map(|run| {
            let attempts = std::fs::read_dir(run.unwrap().path().join(&id)).ok()?;
            let path = attempts.filter_map(Result::ok).next()?.path().join("log");
            path.metadata().ok().map(|found| found.len())
        });
        assert!(kept.is_some_and(|kept| kept <= KEPT), "{kind} {kept:?}");
    }
}
