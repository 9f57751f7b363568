//! Calls of a small server that is written by hand; `tests/e2e/mcp.rs` calls one that is made with the official SDK.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::model::NodeReason;
use crate::provider::local::tests::{Bench, bench, map};
use crate::provider::{AttemptOutcome, Registry, Stop};

/// A server for standard input and output; `WORK` in it is what the tool does with `say` and `arguments`.
const SERVER: &str = r#"
import json, os, sys, time
def say(id, result): print(json.dumps({"jsonrpc": "2.0", "id": id, "result": result}), flush=True)
def text(words, **more): return {"content": [{"type": "text", "text": words}], **more}
print("hello", os.environ.get("WORD"), file=sys.stderr, flush=True)
for line in sys.stdin:
    m = json.loads(line)
    if m.get("method") == "initialize":
        say(m["id"], {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "s", "version": "1"}})
    elif m.get("method") == "tools/list":
        say(m["id"], {"tools": [{"name": n, "inputSchema": {"type": "object"}} for n in ("work", "rest")]})
    elif m.get("method") == "tools/call":
        arguments = m["params"].get("arguments", {})
        WORK
"#;

fn server(work: &str) -> Bench {
    let mut bench = bench(json!({}));
    let file = bench.home.path().join("server.py");
    std::fs::write(&file, SERVER.replace("WORK", work)).unwrap();
    let python =
        std::process::Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
    let python = String::from_utf8(python.unwrap().stdout).unwrap();
    let settings =
        json!({"command": python.trim(), "args": [file], "env": {"WORD": "world"}, "grace": "200ms"});
    bench.configure("mcp", "desk", settings);
    bench.attempt.provider = "mcp://desk/work".to_owned();
    bench
}

#[test]
fn structured_content_becomes_outputs_and_standard_error_the_log() {
    let mut bench = server(r#"say(m["id"], text("", structuredContent={"n": arguments["a"] + 1}))"#);
    bench.attempt.inputs.insert("a".to_owned(), json!(2));
    let (report, outputs) = bench.succeed();
    assert_eq!(serde_json::Value::Object(outputs), json!({"n": 3}));
    assert_eq!(report.evidence.log.unwrap().tail, "hello world");
}

#[test]
fn a_text_is_an_output_or_an_object_where_outputs_are_declared() {
    let mut bench = server(r#"say(m["id"], text('{"n": 4}'))"#);
    assert_eq!(bench.succeed().1["text"], "{\"n\": 4}");
    bench.attempt.declared_outputs = vec!["n".to_owned()];
    assert_eq!(bench.succeed().1["n"], 4);
    bench.attempt.declared_outputs = vec!["m".to_owned()];
    bench.fail(NodeReason::OutputInvalid);
}

#[track_caller]
fn check_failure(work: &str, expected: &str, expected_retryable: bool) {
    let report = server(work).run();
    let AttemptOutcome::Failed { message, retryable, .. } = report.outcome else { panic!("{report:?}") };
    assert_eq!((message.as_str(), retryable), (expected, expected_retryable));
}

#[test]
fn failures_are_told_apart() {
    check_failure(r#"say(m["id"], text("no ink", isError=True))"#, "the tool failed: no ink", true);
    let gone = "; os._exit(4)";
    check_failure(
        &format!(r#"say(m["id"], text("no ink", isError=True)){gone}"#),
        "the tool failed: no ink",
        true,
    );
    check_failure("sys.exit(3)", "the server exited before it responded: exit status: 3", true);
    check_failure(
        r#"print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "error": {"code": -32602, "message": "no such argument"}}), flush=True)"#,
        "the server refuses the call: no such argument",
        false,
    );
    check_failure(
        r#"say(m["id"], text("x" * 2000000))"#,
        "the tool result has more than 1048576 bytes",
        false,
    );
    let mut bench = server("pass");
    bench.attempt.provider = "mcp://desk/wrok".to_owned();
    let (_, message) = bench.fail(NodeReason::ProviderFailed);
    assert_eq!(message, "the server has no tool `wrok`; it has work, rest");
}

#[test]
fn criteria_are_checked_where_the_server_worked() {
    let check = |expected: &str| {
        let mut bench = server(r#"open("made", "w").write("by the tool"); say(m["id"], text("done"))"#);
        let criterion =
            json!({"name": "made", "type": "artifact_exists", "path": "made", "contentMatch": expected});
        let command = json!({"name": "run", "type": "command_succeeds", "command": "cat made"});
        bench.attempt.criteria = serde_json::from_value(json!([criterion, command])).unwrap();
        bench.run()
    };
    let report = check("^by the tool$");
    assert!(matches!(report.outcome, AttemptOutcome::Succeeded { .. }), "{report:?}");
    assert!(
        report.evidence.criteria.len() == 2 && report.evidence.criteria.iter().all(|result| result.passed),
        "{report:?}"
    );
    let tail = report.evidence.log.unwrap().tail;
    assert!(tail.starts_with("hello world") && tail.ends_with("by the tool"), "{tail}");
    let report = check("nothing");
    assert!(
        matches!(report.outcome, AttemptOutcome::Failed { reason: NodeReason::CriterionFailed, .. }),
        "{report:?}"
    );
    let mut bench = server("sys.exit(1)");
    bench.attempt.criteria =
        serde_json::from_value(json!([{"name": "x", "type": "command_succeeds", "command": "true"}]))
            .unwrap();
    assert!(bench.run().evidence.criteria.is_empty(), "what failed is not checked");
}

#[test]
fn a_call_that_hangs_ends_at_its_deadline_and_on_request_with_the_server() {
    let mut bench = server("time.sleep(600)");
    bench.attempt.timeout = Some(Duration::from_secs(1));
    let started = Instant::now();
    bench.fail(NodeReason::Timeout);
    assert!(started.elapsed() < Duration::from_secs(20));
    let mut bench = server("time.sleep(600)");
    let sender = bench.stop.clone();
    let asker = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        sender.send_replace(Some(Stop::Cancel));
    });
    assert_eq!(bench.run().outcome, AttemptOutcome::Stopped(Stop::Cancel));
    asker.join().unwrap();
}

#[test]
fn what_is_not_configured_is_refused_with_what_to_write() {
    let bench = server("pass");
    let registry = Registry::standard(bench.settings.clone());
    let refused = |provider: &str, config| {
        let found = registry.find(provider).unwrap();
        found.check(provider, &map(config)).map_err(|error| error.to_string()).unwrap_err()
    };
    assert_eq!(
        refused("mcp://other/x", json!({})),
        "`mcp://other/x` names a server that is not configured: write `command` or `url` below `providers.mcp.SERVER` in .planspec.yaml"
    );
    assert_eq!(refused("mcp://desk", json!({})), "`mcp://desk` must be `mcp://SERVER/TOOL`");
    assert!(
        refused("mcp://desk/work", json!({"command": "x"})).starts_with("unknown setting `config.command`")
    );
}

#[test]
fn secrets_stay_secret() {
    let mut bench = server(
        r#"print("key", os.environ["KEY"], file=sys.stderr); say(m["id"], text("is " + os.environ["KEY"]))"#,
    );
    bench.settings.secrets.insert("KEY".to_owned(), "hunter22".into());
    let (report, outputs) = bench.succeed();
    assert_eq!(outputs["text"], "is ***");
    assert!(report.evidence.log.unwrap().tail.ends_with("key ***"));
}
