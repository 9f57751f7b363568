//! Values of secrets are nowhere to be seen.

use serde_json::json;

use super::{Bench, shell};
use crate::model::NodeReason;
use crate::provider::AttemptReport;

const SECRET: &str = "hunter22-s3cr3t";

fn bench_with_secret(line: &str) -> Bench {
    let mut bench = shell(line);
    bench.settings.secrets.insert("TOKEN".to_owned(), SECRET.into());
    bench
}

/// Everything that came out of a run, files and all, holds no secret.
fn check_clean(bench: &Bench, report: &AttemptReport) {
    let seen = format!("{report:?}\n{:?}", bench.lines);
    assert!(!seen.contains(SECRET), "{seen}");
    assert!(seen.contains("***"), "{seen}");
    if let Ok(log) = std::fs::read_to_string(bench.run_dir().join("log")) {
        assert!(!log.contains(SECRET) && log.contains("***"), "{log}");
    }
}

#[test]
fn the_log_its_tail_and_its_lines_are_redacted_also_across_writes() {
    let mut bench =
        bench_with_secret("printf 'token: hunter22'; sleep 0.2; echo '-s3cr3t.'; echo \"$TOKEN\" >&2");
    let (report, _) = bench.succeed();
    check_clean(&bench, &report);
    assert_eq!(report.evidence.log.unwrap().tail, "token: ***.\n***");
    assert_eq!(bench.lines, ["token: ***.", "***"]);
}

#[test]
fn outputs_are_redacted() {
    let mut bench = bench_with_secret("echo \"url=https://x:$TOKEN@host/\" > \"$PLANSPEC_OUTPUT\"");
    let (report, outputs) = bench.succeed();
    check_clean(&bench, &report);
    assert_eq!(outputs["url"], json!("https://x:***@host/"));
    assert!(!bench.run_dir().join("output").exists(), "the file would hold the secret");
}

#[test]
fn messages_and_evidence_are_redacted() {
    let mut bench = bench_with_secret("true");
    bench.attempt.criteria = serde_json::from_value(json!([
        {"name": "says", "type": "command_succeeds", "command": "echo \"<$TOKEN>\"", "outputMatch": "<.*>"},
        {"name": "part", "type": "command_succeeds", "command": "echo \"<$TOKEN>\"", "outputMatch": "hunt"},
    ]))
    .unwrap();
    let (report, message) = bench.fail(NodeReason::CriterionFailed);
    check_clean(&bench, &report);
    assert_eq!(report.evidence.criteria[0].evidence, "the output matches: <***>");
    assert_eq!(message, "acceptance criterion `part`: the output does not match");

    let mut bench = bench_with_secret("true");
    bench.attempt.config = super::map(json!({"command": format!("/nowhere/{SECRET}")}));
    let (report, message) = bench.fail(NodeReason::ProviderFailed);
    check_clean(&bench, &report);
    assert_eq!(message, "cannot start `/nowhere/***`: there is no such file");
}
