//! Reports of strangers: what cannot be used is said, nothing is written where it should not be, and what can be found out is not
//! believed.

use std::path::Path;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::archive::{Archive, ArchiveError};
use super::job::WorkerHandle;
use super::take_in::TakeIn;
use super::*;
use crate::provider::sample;

#[path = "../../../../tests/e2e/zip_file.rs"]
mod zip_file;

use zip_file::{Entry, zip};

const NAME: &str = "uid/a/2";

/// A report of the attempt that succeeded, with other fields.
fn report(more: &Value) -> Value {
    let mut report = json!({
        "apiVersion": "planspec.work/v1", "attempt": NAME, "outcome": { "type": "succeeded", "outputs": {} },
    });
    report.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    report
}

/// What comes of an archive, and of the folder of the run.
fn taken(entries: &[Entry<'_>], change: impl FnOnce(&mut Attempt)) -> (AttemptReport, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut attempt = Attempt { run_dir: folder.path().join("runs/a"), ..sample::attempt("a") };
    change(&mut attempt);
    let settings = ProviderSettings { runs: folder.path().join("runs"), ..ProviderSettings::default() };
    let context = ProviderContext::new(settings);
    let rules = ChangeRules::discarding();
    let output = mpsc::channel(1).0;
    let archive = zip(entries);
    let taken =
        TakeIn { context: &context, attempt: &attempt, rules: &rules, output }.report(archive.as_slice());
    (taken, folder)
}

fn of_report(report: &Value) -> AttemptReport {
    taken(&[Entry::deflated("report.json", report.to_string().as_bytes())], |_| {}).0
}

#[track_caller]
fn check_refused(report: &AttemptReport, why: &str) {
    let AttemptOutcome::Failed { message, .. } = &report.outcome else { panic!("{report:?}") };
    assert!(message.contains(why), "{message}");
}

#[test]
fn a_report_of_another_attempt_or_form_counts_for_nothing() {
    check_refused(&of_report(&report(&json!({ "attempt": "uid/a/1" }))), "it is about another attempt");
    check_refused(&of_report(&report(&json!({ "apiVersion": "planspec.work/v2" }))), "of another form");
    check_refused(&of_report(&report(&json!({ "believe": "me" }))), "unknown field `believe`");
    check_refused(&of_report(&json!([NAME])), "cannot be used");
    check_refused(&taken(&[], |_| {}).0, "`report.json` is not in it");
}

#[test]
fn no_artifact_is_written_where_it_should_not_be() {
    for name in ["../out", "/etc/planspec-test", "a/../../out", "", "a\nb", "x/./../../y"] {
        let report = report(&json!({ "artifacts": [{ "name": name }] })).to_string();
        let entries =
            [Entry::deflated("report.json", report.as_bytes()), Entry::deflated("artifact-0", b"planted")];
        let (taken, folder) = taken(&entries, |_| {});
        check_refused(&taken, "an artifact has a name that no file may have");
        assert!(!Path::new("/etc/planspec-test").exists() && !folder.path().join("out").exists());
    }
    let report = report(&json!({ "artifacts": [{ "name": "a" }, { "name": "a/b" }] })).to_string();
    let file = |name| Entry::deflated(name, b"x");
    let entries = [Entry::deflated("report.json", report.as_bytes()), file("artifact-0"), file("artifact-1")];
    check_refused(&taken(&entries, |_| {}).0, "names that exclude each other");
}

#[test]
fn more_is_unpacked_from_no_archive_than_it_says_and_no_more_than_is_allowed() {
    let zeros = vec![0; 4 << 20];
    let bomb = |size| Entry { size, ..Entry::deflated("x", &zeros) };
    let read = |entry: Entry<'_>, most| Archive::open(zip(&[entry]).as_slice()).unwrap().read("x", most);
    assert!(matches!(read(bomb(10), 1 << 20), Err(ArchiveError::Malformed(_))), "it says that it is small");
    assert!(matches!(read(bomb(4 << 20), 1 << 20), Err(ArchiveError::TooLarge { .. })));
    assert!(matches!(read(bomb(u32::MAX - 1), 1 << 20), Err(ArchiveError::TooLarge { .. })));
    assert_eq!(read(bomb(4 << 20), 4 << 20).unwrap(), zeros);
    let stored = Entry { name: "x", method: 0, packed: b"abc".to_vec(), size: 3 };
    assert_eq!(read(stored, 3).unwrap(), b"abc");
    let unknown = Entry { name: "x", method: 12, packed: b"abc".to_vec(), size: 3 };
    assert!(matches!(read(unknown, 3), Err(ArchiveError::Malformed(_))));
    let twice = zip(&[Entry::deflated("x", b"1"), Entry::deflated("x", b"2")]);
    assert!(matches!(Archive::open(twice.as_slice()), Err(ArchiveError::Malformed(_))));
    let whole = zip(&[Entry::deflated("x", b"1")]);
    for end in 0..whole.len() {
        assert!(Archive::open(&whole[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn what_can_be_found_out_is_not_believed() {
    let criteria = json!([{ "type": "test_passes", "name": "tests", "command": "make test" }]);
    let with_criteria = |said: Value| {
        let report = report(&json!({ "criteria": said })).to_string();
        let criteria = criteria.clone();
        taken(&[Entry::deflated("report.json", report.as_bytes())], move |attempt| {
            attempt.criteria = serde_json::from_value(criteria).unwrap();
        })
        .0
    };
    check_refused(&with_criteria(json!([])), "`tests` was not checked by the job");
    let said = |passed, required| json!([{ "name": "tests", "passed": passed, "required": required, "durationMillis": 1 }]);
    check_refused(&with_criteria(said(false, false)), "acceptance criterion `tests`");
    let outputs = report(&json!({ "outcome": { "type": "succeeded", "outputs": { "other": 1 } } }));
    let entries = [Entry::deflated("report.json", outputs.to_string().as_bytes())];
    let declared = |attempt: &mut Attempt| attempt.declared_outputs = vec!["url".to_owned()];
    check_refused(&taken(&entries, declared).0, "output `other` is not declared");
    let usage = of_report(&report(&json!({
        "outcome": { "type": "broken", "message": "\u{1b}[31mred\nline" }, "usage": { "cost": -5.0 },
    })));
    assert_eq!(usage.evidence.usage, None, "a negative sum would hide what others spent");
    let AttemptOutcome::Lost { message } = &usage.outcome else { panic!("{usage:?}") };
    assert!(!message.contains(char::is_control), "{message}");
    let asks = of_report(&report(&json!({ "outcome": { "type": "asks", "question": "Which?" } })));
    let AttemptOutcome::Blocked { reason, handle, poll_after, .. } = asks.outcome else { panic!() };
    assert_eq!((reason, handle.as_deref(), poll_after), (NodeReason::InputRequired, Some("Which?"), None));
}

#[test]
fn a_handle_is_told_from_a_question() {
    let handle = WorkerHandle { run: Some(7), ..WorkerHandle::default() };
    let written = serde_json::to_string(&handle).unwrap();
    assert_eq!(written, r#"{"run":7}"#);
    assert_eq!(WorkerHandle::read(Some(&written)), Some(handle));
    for other in ["Which one?", "[1]", "{}x", r#"{"run":7,"more":1}"#] {
        assert_eq!(WorkerHandle::read(Some(other)), None, "{other}");
    }
}
