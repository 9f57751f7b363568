//! Tasks for an agent that is made with the official SDK of A2A for Python (`tests/rig/a2a_agent.py`). `.ci/run` installs it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use planspec::model::{ExecutionPhase, NodePhase, NodeReason};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::engine_rig::{QUICK, Stage, check_history, document, execution, yaml};
use crate::environment::TestEnvironment;
use crate::github_ci::{World, pull};
use crate::mcp::python;

const KEY: &str = "sesame-of-the-clerk";

/// An Execution `e` whose task `t` an agent does. The agent ends with it.
struct Desk {
    stage: Stage,
    agent: Child,
    python: PathBuf,
    url: String,
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

impl Desk {
    /// The agent does what `inputs` say.
    fn new(inputs: &Value, fields: &Value) -> Option<Self> {
        let python = python("a2a")?;
        let mut node = json!({ "id": "t", "kind": "Task", "description": "Do it", "inputs": inputs });
        for (name, value) in fields.as_object().unwrap() {
            node[name] = value.clone();
        }
        let rule = json!({
            "selector": { "planRef": { "name": "p" }, "nodeId": "t" },
            "target": { "provider": "agent://clerk", "config": { "pollInterval": "1s" } },
        });
        let documents = [
            document("Plan", "p", &json!({ "description": "what to do", "graph": { "nodes": [node] } })),
            document("Binding", "default", &json!({ "rules": [rule] })),
            execution("e", "p"),
        ];
        let mut stage = Stage::new(QUICK, &[("work.yaml", &yaml(&documents))]);
        stage.environment.set("CLERK_KEY", KEY);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rig/a2a_agent.py");
        let mut agent = Command::new(&python)
            .args([script.as_os_str(), stage.outside("trace").as_os_str(), KEY.as_ref()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(agent.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let url = format!("http://127.0.0.1:{}", port.trim());
        let config = format!(
            "{QUICK}providers: {{secrets: [CLERK_KEY], network: {{allowPrivate: [127.0.0.1]}}, \
             agents: {{clerk: {{card: \"{url}\", secretHeaders: {{X-Key: CLERK_KEY}}}}}}}}\n"
        );
        stage.commit(".planspec.yaml", &config);
        Some(Self { stage, agent, python, url })
    }

    /// How often the agent did this.
    fn count(&self, what: &str) -> usize {
        self.stage.trace("trace").iter().filter(|line| line.starts_with(what)).count()
    }

    /// Answers a question, as a person does where the agent is.
    fn answer(&self, task: &str, words: &str) {
        let script = r#"
import json, sys, urllib.request
url, key, task, words = sys.argv[1:]
message = {"messageId": "a", "role": "ROLE_USER", "taskId": task, "parts": [{"text": words}]}
body = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
headers = {"Content-Type": "application/json", "A2A-Version": "1.0", "X-Key": key}
said = json.load(urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)))
assert said["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED", said
"#;
        let rpc = format!("{}/rpc", self.url);
        let done = Command::new(&self.python).args(["-c", script, &rpc, KEY, task, words]).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn check_no_secret(&self) {
        let found =
            Command::new("grep").args(["-rlF", KEY]).arg(self.stage.environment.root()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "", "files hold the secret");
    }
}

#[test]
fn an_agent_of_the_official_sdk_does_a_task_and_its_data_become_outputs() {
    let criteria = json!({ "outputs": ["sum"], "acceptanceCriteria": [
        { "name": "kept", "type": "artifact_exists", "path": "work.yaml" },
    ] });
    let Some(desk) = Desk::new(&json!({ "do": "work", "numbers": [2, 3] }), &criteria) else { return };
    desk.stage.environment.planspec(&["validate"]).succeeds();
    let outcome = desk.stage.environment.planspec(&["reconcile"]).succeeds();
    let node = desk.stage.node("e", "t");
    assert_eq!(node.phase, NodePhase::Succeeded, "{node:?}\n{}", outcome.stdout);
    assert_eq!(node.outputs["sum"], 5);
    assert!(node.extensions.criteria[0].passed);
    assert_eq!(node.extensions.log.unwrap().tail, "added");
    desk.check_no_secret();
}

#[test]
fn what_an_agent_refuses_is_not_tried_again_and_what_breaks_is() {
    let retries = json!({ "retries": 1 });
    let Some(desk) = Desk::new(&json!({ "do": "refuse" }), &retries) else { return };
    desk.stage.environment.planspec(&["reconcile"]);
    let node = desk.stage.node("e", "t");
    assert_eq!((node.phase, desk.count("begun")), (NodePhase::Failed, 1), "{node:?}");
    assert!(node.message.ends_with("rejected the task: not my trade"), "{}", node.message);

    let Some(desk) = Desk::new(&json!({ "do": "break" }), &retries) else { return };
    desk.stage.environment.planspec(&["reconcile"]);
    let node = desk.stage.node("e", "t");
    assert_eq!((node.phase, node.attempt, desk.count("begun")), (NodePhase::Failed, 2, 2), "{node:?}");
}

#[test]
fn a_question_of_an_agent_blocks_the_node_until_it_is_answered_where_the_agent_is() {
    let Some(desk) = Desk::new(&json!({ "do": "ask" }), &json!({ "outputs": ["answer"] })) else { return };
    let environment = &desk.stage.environment;
    environment.planspec(&["reconcile"]).succeeds();
    let node = desk.stage.node("e", "t");
    assert_eq!((node.phase, node.extensions.reason), (NodePhase::Blocked, Some(NodeReason::InputRequired)));
    for arguments in [
        ["describe", "execution/e", "-n", "team"],
        ["explain", "e/t", "-n", "team"],
        ["get", "execution/e", "-n", "team"],
    ] {
        let shown = environment.planspec(&arguments).succeeds().stdout;
        let expected = if arguments[0] == "get" { "Blocked" } else { "Which colour?" };
        assert!(shown.contains(expected), "{shown}");
    }
    let tip = desk.stage.status_tip();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    environment.planspec(&["reconcile"]).succeeds();
    assert_eq!(desk.stage.status_tip(), tip, "a look that finds the same question is no commit");

    let handle: Value = serde_json::from_str(&node.extensions.handle.unwrap()).unwrap();
    desk.answer(handle["task"].as_str().unwrap(), "blue");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    environment.planspec(&["reconcile"]).succeeds();
    let node = desk.stage.node("e", "t");
    assert_eq!((node.phase, &node.outputs["answer"]), (NodePhase::Succeeded, &json!("blue")), "{node:?}");
    assert_eq!((node.attempt, desk.count("begun")), (1, 1));
}

#[test]
fn a_question_of_an_agent_is_answered_from_here() {
    let Some(desk) = Desk::new(&json!({ "do": "ask" }), &json!({ "outputs": ["answer"] })) else { return };
    let environment = &desk.stage.environment;
    let answer = |words: &str| environment.planspec(&["answer", "e/t", "-n", "team", words]);
    environment.planspec(&["reconcile"]).succeeds();
    let node = desk.stage.node("e", "t");
    assert!(node.message.contains("planspec answer e/t -n team TEXT"), "{}", node.message);
    answer(" ").exits(1);
    let done = answer("blue & 'green'").succeeds();
    assert_eq!(done.lines()[0], "execution/e node t answered");
    assert!(answer("red").exits(1).stderr.contains("already answered"));
    environment.planspec(&["reconcile"]).succeeds();
    let node = desk.stage.node("e", "t");
    assert_eq!(
        (node.phase, &node.outputs["answer"]),
        (NodePhase::Succeeded, &json!("blue & 'green'")),
        "{node:?}"
    );
    assert_eq!((node.attempt, node.extensions.failures, desk.count("begun")), (2, 0, 1));
    assert!(answer("late").exits(1).stderr.contains("node `t` has no open question; it is Succeeded"));
    check_history(&environment.repo());
}

#[test]
fn a_question_of_an_agent_is_answered_by_a_comment() {
    let Some(desk) = Desk::new(&json!({ "do": "ask" }), &json!({ "outputs": ["answer"] })) else { return };
    let files = [".planspec.yaml", "work.yaml"].map(|path| (path, desk.stage.environment.read(path)));
    let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
    let mut environment = TestEnvironment::with_files(&files);
    environment.set("CLERK_KEY", KEY);
    let merge = environment.git_output(&["rev-parse", "HEAD"]);
    let world = World::around(environment);
    world.host.with(|state| {
        state.writers.push("wendy".to_owned());
        state.pulls.push(pull(7, "author", &merge, Some(&merge)));
    });
    world.pass().succeeds();
    // What the comment shows is what is accepted, with words of one's own.
    let [progress] = &world.host.own_comments()[..] else { panic!("one comment tells the progress") };
    assert!(
        progress.contains("Which colour?") && progress.contains("/planspec answer e/t TEXT"),
        "{progress}"
    );
    let (id, outcome) = world.says("eve", "/planspec answer e/t red");
    assert_eq!(world.reaction(id).as_deref(), Some("-1"), "{outcome:?}");
    let (id, outcome) = world.says("wendy", "/planspec answer E/T blue & 'green' --expect `x`");
    assert_eq!(world.reaction(id).as_deref(), Some("+1"), "{outcome:?}");
    let found = world.environment.planspec(&["get", "execution/e", "-n", "team", "-o", "json"]);
    let node = found.succeeds().json()["status"]["nodeStatuses"]["t"].clone();
    assert_eq!((&node["phase"], desk.count("begun")), (&json!("Succeeded"), 1), "{node}");
    assert_eq!(node["outputs"]["answer"], "blue & 'green' --expect `x`");
    let (id, outcome) = world.says("wendy", "/planspec answer e/t late");
    assert_eq!(world.reaction(id).as_deref(), Some("-1"), "{outcome:?}");
    let said = world.host.own_comments().pop().unwrap();
    assert!(said.contains("no open question"), "{said}");
}

#[test]
fn a_question_can_be_settled_without_the_agent() {
    let Some(desk) = Desk::new(&json!({ "do": "ask" }), &json!({ "outputs": ["answer"] })) else { return };
    let environment = &desk.stage.environment;
    environment.planspec(&["reconcile"]).succeeds();
    let early = environment.planspec(&["retry", "e", "--from", "t", "-n", "team"]).exits(1);
    let said = "the question of node `t` is still open; answer it first (`planspec answer ";
    assert!(early.stderr.contains(said), "{}", early.stderr);
    environment.planspec(&["complete", "e/t", "-n", "team", "--failed", "-m", "nobody knows"]).succeeds();
    environment.planspec(&["reconcile"]);
    assert_eq!(desk.count("cancelled"), 1, "what a person decided ends the work elsewhere");
    environment.planspec(&["retry", "e", "--from", "t", "-n", "team"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    assert_eq!(desk.count("begun"), 2, "a retry asks for another task");
    environment.planspec(&["complete", "e/t", "-n", "team", "answer=green"]).succeeds();
    environment.planspec(&["reconcile"]).succeeds();
    assert_eq!(desk.stage.status("e").phase, ExecutionPhase::Succeeded);
}

#[test]
fn a_task_is_cancelled_at_the_agent_with_its_node_and_at_its_timeout() {
    let Some(desk) = Desk::new(&json!({ "do": "wait" }), &json!({})) else { return };
    let environment = &desk.stage.environment;
    environment.planspec(&["reconcile", "--max-duration", "6s"]).succeeds();
    let node = desk.stage.node("e", "t");
    assert_eq!(node.extensions.reason, Some(NodeReason::AwaitingProvider), "{node:?}");
    environment.planspec(&["cancel", "e", "-n", "team"]).succeeds();
    environment.planspec(&["reconcile"]);
    assert_eq!(desk.stage.node("e", "t").phase, NodePhase::Cancelled);
    assert_eq!(desk.count("cancelled"), 1);

    let Some(desk) = Desk::new(&json!({ "do": "wait" }), &json!({ "timeout": "5s" })) else { return };
    desk.stage.environment.planspec(&["reconcile"]);
    let node = desk.stage.node("e", "t");
    assert_eq!((node.phase, node.extensions.reason), (NodePhase::Failed, Some(NodeReason::Timeout)));
    assert_eq!(desk.count("cancelled"), 1);
}

#[test]
fn a_runner_that_is_killed_while_it_hands_in_leaves_one_task_that_the_next_one_goes_on_with() {
    let Some(desk) = Desk::new(&json!({ "do": "wait" }), &json!({ "outputs": ["result"] })) else { return };
    let mut runner = desk.stage.start(&[]);
    desk.stage.wait_until("the agent has the task", || desk.count("begun") == 1);
    runner.kill();
    let node = desk.stage.node("e", "t");
    assert_eq!(
        (node.phase, node.extensions.handle),
        (NodePhase::Running, None),
        "nothing names the task yet"
    );
    std::fs::write(desk.stage.outside("trace.go"), "").unwrap();
    desk.stage.reconcile_to_the_end(&desk.stage.environment.repo());
    let node = desk.stage.node("e", "t");
    assert_eq!((node.phase, &node.outputs["result"]), (NodePhase::Succeeded, &json!("waited")), "{node:?}");
    assert_eq!((node.attempt, desk.count("begun")), (2, 1), "one task for two attempts");
    check_history(&desk.stage.environment.repo());
}

#[test]
fn a_runner_that_is_asked_to_leave_while_it_hands_in_leaves_the_task_to_the_next_one() {
    let Some(desk) = Desk::new(&json!({ "do": "wait" }), &json!({})) else { return };
    let mut runner = desk.stage.start(&[]);
    desk.stage.wait_until("the agent has the task", || desk.count("begun") == 1);
    runner.signal(Signal::TERM);
    runner.ends();
    let node = desk.stage.node("e", "t");
    assert!(node.phase == NodePhase::Blocked && node.extensions.handle.is_some(), "{node:?}");
    std::fs::write(desk.stage.outside("trace.go"), "").unwrap();
    desk.stage.reconcile_to_the_end(&desk.stage.environment.repo());
    let node = desk.stage.node("e", "t");
    assert_eq!((node.phase, node.attempt), (NodePhase::Succeeded, 1));
    assert_eq!((desk.count("begun"), desk.count("cancelled")), (1, 0));
}
