//! Whatever reads bytes that strangers wrote, each behind one function of these bytes: for the fuzz targets in `fuzz/`, and for
//! the test that runs the same functions on every change. Not an API.

use crate::cli::ci::{comment, event};
use crate::config::Limits;
use crate::git::{Commit, ObjectId, Signature};
use crate::graph::Topology;
use crate::model::{ResourceStatus, Spec};
use crate::report::markdown::{COMMENT_LIMIT, PageLinks};
use crate::report::preview::{Preview, render};
use crate::{manifest, provider, record};

/// A parser by its name: that of its fuzz target and of its corpus. It may refuse what it gets, and must come back.
pub type ForeignParser = (&'static str, fn(&[u8]));

/// All of them.
pub const PARSERS: [ForeignParser; 13] = [
    ("answer", |bytes| provider::read_answer(bytes)),
    ("comment", |bytes| drop(comment::parse(&text(bytes)))),
    ("configuration", |bytes| drop(manifest::load_config(bytes))),
    ("event", |bytes| event::HANDLED.iter().for_each(|name| drop(event::understand(name, bytes)))),
    ("job", |bytes| provider::read_job(bytes)),
    ("manifest", manifest),
    ("message", message),
    ("outputs", |bytes| provider::read_task_outputs(bytes)),
    ("pinned", pinned),
    ("record", record),
    ("redactor", |bytes| provider::redact_pieces(bytes)),
    ("report", report),
    ("result", |bytes| provider::read_result(bytes)),
];

/// Runs the parser of this name; nothing where there is none.
pub fn parse(name: &str, bytes: &[u8]) {
    if let Some((_, parser)) = PARSERS.iter().find(|(known, _)| *known == name) {
        parser(bytes);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn manifest(bytes: &[u8]) {
    // Both forms, whatever it is: the name of a file is a stranger's choice as well.
    for path in ["a.yaml", "a.json"] {
        let parsed = manifest::parse(path, bytes, &Limits::default());
        let spans = parsed.diagnostics.iter().filter_map(|found| found.location.span);
        for span in spans {
            // A page shows the line of a finding, cut out of the file by these numbers.
            assert!(span.start <= span.end && span.end <= bytes.len(), "{span:?} of {} bytes", bytes.len());
        }
    }
}

fn pinned(bytes: &[u8]) {
    // As it is read from the status branch: of any size that is read at all, and what it declares is a graph at once.
    let limits = Limits { file_bytes: manifest::most_bytes(&Limits::default()), ..Limits::default() };
    for resource in manifest::parse("plan.yaml", bytes, &limits).resources {
        if let Spec::Plan(plan) = resource.spec {
            drop(Topology::build(&plan.graph));
        }
    }
}

fn record(bytes: &[u8]) {
    let Ok(file) = record::parse_record(bytes) else { return };
    let mut record = file.record;
    if let ResourceStatus::Execution(status) = &mut record.status {
        **status = record::shrink(status);
    }
    // What was read is written again by the next pass, and has to be readable then.
    if let Ok(written) = record::Renderer::new().render(&record, file.parts.as_ref()) {
        assert!(record::parse_record(written.as_bytes()).is_ok(), "written and unreadable: {written}");
    }
}

fn message(bytes: &[u8]) {
    let Ok(id) = "0".repeat(40).parse::<ObjectId>() else { return };
    let person = Signature { name: "x".to_owned(), email: "x@example.org".to_owned() };
    let time = jiff::Timestamp::UNIX_EPOCH;
    let commit = Commit {
        id,
        tree: id,
        parents: Vec::new(),
        author: person.clone(),
        author_time: time,
        committer: person,
        committer_time: time,
        message: text(bytes),
    };
    drop((record::parse_message(&commit), record::desired_branch(&commit), commit.trailers()));
}

fn report(bytes: &[u8]) {
    let Ok(preview) = Preview::parse(bytes) else { return };
    let page = render(&preview, COMMENT_LIMIT, PageLinks::default());
    // The host refuses a longer one, and then the change gets no answer at all.
    assert!(page.comment.len() <= COMMENT_LIMIT, "a comment of {} bytes", page.comment.len());
}
