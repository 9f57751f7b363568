//! What a process says of itself beside its outputs: that it has to be begun again later, that it has to ask a person, and
//! what it used up. None of it is a failure.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::Deserialize;
use serde_json::Value;

use crate::model::{self, JsonMap, Usage};
use crate::provider::output::{Redactor, plain_line};
use crate::provider::{Attempt, AttemptOutcome};

/// `EX_TEMPFAIL` of `sysexits.h`: "temporary failure; the user is invited to retry".
const TRY_LATER: i32 = 75;

/// The most bytes of the file, and the most characters of a question: it goes into the record, which everybody fetches.
const LONGEST: u64 = 64 << 10;
const LONGEST_QUESTION: usize = 2000;

/// The file that `PLANSPEC_RESULT` names.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct ProcessReport {
    retry_after: Option<RetryAfter>,
    question: Option<String>,
    /// What the process used up.
    pub(super) usage: Option<Usage>,
}

/// A number of seconds, as HTTP has it, or a duration, as manifests have it.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum RetryAfter {
    Seconds(u64),
    Text(model::Duration),
}

impl ProcessReport {
    /// Reads the file; nothing was said where there is none.
    ///
    /// # Errors
    /// What is wrong with it, as text.
    pub(super) fn read(path: &Path, redactor: &Redactor) -> Result<Self, String> {
        // The process may have put anything there, and one that it left behind may still do so: a link is not followed, and a
        // pipe is not waited for. Judged once it is open, when it cannot be replaced any more.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::open(path, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(Self::default()),
            Err(Errno::LOOP) => return Err(wrong("it is not a regular file")),
            opened => File::from(opened.map_err(|error| wrong(&error.to_string()))?),
        };
        if !file.metadata().is_ok_and(|found| found.is_file()) {
            return Err(wrong("it is not a regular file"));
        }
        let mut text = String::new();
        let read = file.take(LONGEST + 1).read_to_string(&mut text);
        read.map_err(|error| wrong(&error.to_string()))?;
        if text.len() as u64 > LONGEST {
            return Err(wrong(&format!("it has more than {LONGEST} bytes")));
        }
        Self::parse(&text, redactor)
    }

    fn parse(text: &str, redactor: &Redactor) -> Result<Self, String> {
        // As an object first: serde takes a list for a struct, too, and an empty one would say nothing.
        let object: JsonMap = serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
        let report = serde_json::from_value(Value::Object(object));
        let mut report: Self = report.map_err(|error| wrong(&error.to_string()))?;
        // A negative sum would hide what others spent.
        if report.usage.and_then(|usage| usage.cost).is_some_and(|cost| !cost.is_finite() || cost < 0.0) {
            return Err(wrong("`usage.cost` must not be negative"));
        }
        let question = report.question.map(|question| plain_line(redactor.text(&question).as_bytes()));
        report.question = question.filter(|question| !question.is_empty());
        Ok(report)
    }

    /// How the attempt ends by what was said; `None` when the exit status alone decides.
    pub(super) fn outcome(self, status: ExitStatus, attempt: &Attempt) -> Option<AttemptOutcome> {
        // First: a person can answer now, and then it may go on before its time.
        if let Some(question) = self.question {
            let question: String = question.chars().take(LONGEST_QUESTION).collect();
            return Some(attempt.asks(question, ""));
        }
        let retry_after = self.retry_after.map(|after| match after {
            RetryAfter::Seconds(seconds) => Duration::from_secs(seconds),
            RetryAfter::Text(text) => text.span(),
        });
        if retry_after.is_none() && status.code() != Some(TRY_LATER) {
            return None;
        }
        let message = format!("{} asks to be run again later; this is not a failure", attempt.provider);
        Some(AttemptOutcome::Postponed { message, retry_after })
    }
}

/// Reads what is about no process.
pub(in crate::provider) fn read_result(text: &str, redactor: &Redactor) {
    drop(ProcessReport::parse(text, redactor));
}

fn wrong(why: &str) -> String {
    format!("the file that `PLANSPEC_RESULT` names cannot be used: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(text: &str) -> Result<ProcessReport, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        ProcessReport::read(file.path(), &Redactor::default())
    }

    #[test]
    fn a_time_is_seconds_or_a_duration() {
        let after = |text: &str| read(text).unwrap().retry_after.unwrap();
        assert_eq!(after(r#"{"retryAfter": 90}"#), RetryAfter::Seconds(90));
        assert!(matches!(after(r#"{"retryAfter": "2h"}"#), RetryAfter::Text(_)));
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_the_reason() {
        for text in ["", "[]", r#"{"retyAfter": 1}"#, r#"{"retryAfter": -1}"#, r#"{"usage": {"cost": -1}}"#] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with("the file that `PLANSPEC_RESULT` names cannot be used: "), "{error}");
        }
        assert!(
            ProcessReport::read(Path::new("/dev/null"), &Redactor::default()).is_err(),
            "no regular file"
        );
        let folder = tempfile::tempdir().unwrap();
        let in_folder = |name: &str| ProcessReport::read(&folder.path().join(name), &Redactor::default());
        assert_eq!(in_folder("missing"), Ok(ProcessReport::default()));
        std::fs::write(folder.path().join("file"), "{}").unwrap();
        std::os::unix::fs::symlink("file", folder.path().join("link")).unwrap();
        assert!(in_folder("file").is_ok() && in_folder("link").is_err(), "a link is not followed");
    }

    #[test]
    fn what_was_used_up_is_added_and_what_nobody_says_stays_unsaid() {
        let usage = |text: &str| read(text).unwrap().usage.unwrap();
        let sum =
            usage(r#"{"usage": {"tokens": 5, "cost": 0.5}}"#).plus(usage(r#"{"usage": {"tokens": 7}}"#));
        assert_eq!(sum, Usage { tokens: Some(12), cost: Some(0.5), turns: None });
    }
}
