//! The parsers of what providers and tasks say, behind one function of bytes each: see `cli::foreign`.

use serde_json::Value;

use super::github_actions::worker;
use super::output::{OUTPUT_LIMIT, RedactedStream, Redactor, parse_outputs, plain_line};
use super::{human, local, plugin};

/// What redaction is tried with, beside the shapes of known tokens.
const SECRET: &[u8] = b"hunter2hunter2";

/// The answer of a person in an issue, and that of a provider of one's own.
pub(crate) fn read_answer(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for asked in [false, true] {
        drop(human::read_outputs(&text, asked));
    }
    plugin::read_any(bytes);
}

/// The file with the outputs of a task.
pub(crate) fn read_task_outputs(bytes: &[u8]) {
    if bytes.len() as u64 <= OUTPUT_LIMIT
        && let Ok(outputs) = parse_outputs(bytes)
    {
        let redacted = Redactor::new([SECRET]).map(outputs);
        let written = Value::Object(redacted).to_string();
        assert!(!written.as_bytes().windows(SECRET.len()).any(|part| part == SECRET), "{written}");
    }
}

/// The file that `PLANSPEC_RESULT` names.
pub(crate) fn read_result(bytes: &[u8]) {
    local::read_result(&String::from_utf8_lossy(bytes), &Redactor::new([SECRET]));
}

/// What a job of the workflow for commands left.
pub(crate) fn read_job(bytes: &[u8]) {
    worker::read_foreign(bytes);
}

/// The output of a task, in two pieces: where it is cut changes nothing, and the secret is in none.
pub(crate) fn redact_pieces(bytes: &[u8]) {
    let redactor = Redactor::new([SECRET]);
    let whole = redactor.bytes(bytes);
    assert!(!whole.windows(SECRET.len()).any(|part| part == SECRET));
    // Where it is cut follows from the bytes, so that what was found once is found again.
    let at = bytes.first().map_or(0, |&byte| usize::from(byte)).min(bytes.len());
    let (first, second) = bytes.split_at(at);
    let mut stream = RedactedStream::default();
    let mut out = Vec::new();
    stream.push(&redactor, first, false, &mut out);
    stream.push(&redactor, second, true, &mut out);
    assert_eq!(out, *whole, "cut at {at}");
    for line in whole.split(|byte| *byte == b'\n') {
        drop(plain_line(line));
    }
}
