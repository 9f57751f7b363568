//! The log of one attempt: redacted, written to a capped file while it comes in, its lines passed on, its
//! end kept. Memory is bounded whatever is printed; no output, no file.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::plain_text::{last_lines, plain_line};
use super::redact::{Redactor, Stream};
use crate::model::{Digest, LogSummary};

/// How many bytes the file takes; what comes after is counted only.
pub(in crate::provider) const CAP: u64 = 64 << 20;

/// How many bytes of the end are kept as text.
const TAIL: usize = 4 << 10;

/// The longest line that is passed on; the rest of a longer one is not shown.
const LINE: usize = 4 << 10;

/// The log of one attempt.
pub(in crate::provider) struct AttemptLog {
    path: PathBuf,
    cap: u64,
    redactor: Arc<Redactor>,
    stream: Stream,
    lines: mpsc::Sender<String>,
    line: Vec<u8>,
    file: Option<File>,
    /// How many bytes the file has.
    written: u64,
    times: LineTimes,
    failure: Option<io::Error>,
    hasher: Sha256,
    size: u64,
    tail: Vec<u8>,
}

impl AttemptLog {
    /// A log that is written to `path` as soon as there is something to write.
    pub(in crate::provider) fn new(
        path: PathBuf,
        redactor: Arc<Redactor>,
        lines: mpsc::Sender<String>,
    ) -> Self {
        Self {
            times: LineTimes::beside(&path),
            written: 0,
            path,
            cap: CAP,
            redactor,
            stream: Stream::default(),
            lines,
            line: Vec::new(),
            file: None,
            failure: None,
            hasher: Sha256::new(),
            size: 0,
            tail: Vec::new(),
        }
    }

    /// Takes what a process printed.
    pub(in crate::provider) fn write(&mut self, piece: &[u8]) {
        self.take(piece, false);
    }

    /// Ends a part of the log: what was held back is written, and a line is ended that has no end.
    pub(in crate::provider) fn end_part(&mut self) {
        self.take(b"", true);
        // Parts come from different processes, and the first line of one must not continue the last line of another.
        if self.tail.last().is_some_and(|byte| *byte != b'\n') {
            self.put(b"\n");
        }
    }

    /// Why the file could not be written, if it could not.
    pub(in crate::provider) fn failure(&self) -> Option<&io::Error> {
        self.failure.as_ref()
    }

    /// Ends the log; nothing if nothing was printed.
    pub(in crate::provider) fn finish(mut self) -> Option<LogSummary> {
        self.take(b"", true);
        if !self.line.is_empty() {
            self.pass_on();
        }
        if self.size == 0 {
            return None;
        }
        let mut tail = last_lines(&self.tail, TAIL, self.size > self.tail.len() as u64);
        if let Some(failure) = self.failure {
            tail.push_str(&format!("\n[planspec: the log file could not be written: {failure}]"));
        }
        Some(LogSummary { tail, size: self.size, checksum: Digest::finish(self.hasher) })
    }

    fn take(&mut self, piece: &[u8], last: bool) {
        let mut clean = Vec::with_capacity(piece.len());
        self.stream.push(&self.redactor, piece, last, &mut clean);
        self.put(&clean);
    }

    /// Takes bytes that hold no secret.
    fn put(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let room = usize::try_from(self.cap.saturating_sub(self.size)).unwrap_or(usize::MAX);
        self.keep(bytes.get(..room.min(bytes.len())).unwrap_or_default());
        // Only once: from then on the size is beyond the cap.
        if bytes.len() > room && self.size <= self.cap {
            let marker = format!("\n[planspec: the log is cut here, at {} bytes]\n", self.cap);
            self.keep(marker.as_bytes());
        }
        self.size += bytes.len() as u64;
        self.remember(bytes);
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE.saturating_sub(self.line.len());
            self.line.extend_from_slice(part.get(..room.min(part.len())).unwrap_or_default());
            if part.ends_with(b"\n") {
                self.pass_on();
            }
        }
    }

    /// Writes to the file, which is made now if there is none; after a failure nothing more is tried.
    fn keep(&mut self, bytes: &[u8]) {
        // A full disk costs the log and not the attempt; the end of the text that is kept says so.
        if bytes.is_empty() || self.failure.is_some() {
            return;
        }
        let file = match self.file.take() {
            Some(file) => Ok(file),
            None => self.create(),
        };
        let written = file.and_then(|mut file| {
            file.write_all(bytes)?;
            self.times.note(&file, self.written);
            self.written += bytes.len() as u64;
            self.file = Some(file);
            Ok(())
        });
        match written {
            // The checksum is that of the file. The size is that of everything that was printed, so that a cut shows.
            Ok(()) => self.hasher.update(bytes),
            Err(error) => self.failure = Some(error),
        }
    }

    /// Makes the file, and the attempt's own folder with it.
    fn create(&self) -> io::Result<File> {
        if let Some(folder) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        // Only a new file, which follows no link: what stands there already was put there by a process.
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path)
    }

    /// Keeps the end; twice as much as needed, so that bytes are moved seldom.
    fn remember(&mut self, bytes: &[u8]) {
        let bytes = bytes.get(bytes.len().saturating_sub(TAIL * 2)..).unwrap_or_default();
        self.tail.extend_from_slice(bytes);
        if self.tail.len() > TAIL * 4 {
            let surplus = self.tail.len() - TAIL * 2;
            self.tail.drain(..surplus);
        }
    }

    fn pass_on(&mut self) {
        // It never waits for room: this thread empties the pipe of the process, and a slow reader would hold up the
        // work.
        if let Ok(room) = self.lines.try_reserve() {
            room.send(plain_line(&self.line));
        }
        self.line.clear();
    }
}

/// When the log was written, in a file beside it: a line `OFFSET SECOND` for each second in which something came. For
/// `planspec logs --since` and `--timestamps`; the log itself stays what the process printed.
struct LineTimes {
    path: PathBuf,
    file: Option<File>,
    last: Option<u64>,
}

impl LineTimes {
    fn beside(log: &std::path::Path) -> Self {
        Self { path: log.with_extension("times"), file: None, last: None }
    }

    /// Notes that what is in the log from `offset` on was written now. A failure costs a time, and nothing else.
    fn note(&mut self, log: &File, offset: u64) {
        // The file's own time, because only the engine reads the clock.
        let modified = log.metadata().and_then(|found| found.modified()).ok();
        let second = modified.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let Some(second) = second.map(|span| span.as_secs()).filter(|second| self.last != Some(*second))
        else {
            return;
        };
        self.last = Some(second);
        if self.file.is_none() {
            self.file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path).ok();
        }
        if let Some(file) = &mut self.file {
            let _ = writeln!(file, "{offset} {second}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        log: AttemptLog,
        lines: mpsc::Receiver<String>,
        folder: tempfile::TempDir,
    }

    fn case(secrets: &[&str], room: usize) -> Case {
        let folder = tempfile::tempdir().unwrap();
        let (sender, lines) = mpsc::channel(room);
        let redactor = Redactor::new(secrets.iter().map(|secret| secret.as_bytes()));
        Case { log: AttemptLog::new(folder.path().join("log"), Arc::new(redactor), sender), lines, folder }
    }

    impl Case {
        fn file(&self) -> Option<Vec<u8>> {
            std::fs::read(self.folder.path().join("log")).ok()
        }
    }

    #[test]
    fn no_output_makes_no_file() {
        let mut case = case(&[], 8);
        case.log.write(b"");
        let file = case.folder.path().join("log");
        assert_eq!(case.log.finish(), None);
        assert!(!file.exists());
    }

    #[test]
    fn the_summary_describes_the_file() {
        let mut case = case(&["hunter22"], 8);
        case.log.write(b"one hunt");
        case.log.write(b"er22\ntwo");
        let expected = b"one ***\ntwo";
        let file = case.folder.path().join("log");
        let summary = case.log.finish().unwrap();
        assert_eq!(std::fs::read(file).unwrap(), expected);
        assert_eq!(summary.size, expected.len() as u64);
        assert_eq!(summary.checksum, Digest::of_bytes(expected));
        assert_eq!(summary.tail, "one ***\ntwo");
        assert_eq!(case.lines.try_recv().unwrap(), "one ***");
        assert_eq!(case.lines.try_recv().unwrap(), "two");
    }

    #[test]
    fn lines_without_room_are_dropped_and_the_log_has_them() {
        let mut case = case(&[], 1);
        case.log.write(b"1\n2\n3\n");
        assert_eq!(case.lines.try_recv().unwrap(), "1");
        assert!(case.lines.try_recv().is_err());
        assert_eq!(case.file().unwrap(), b"1\n2\n3\n");
    }

    #[test]
    fn a_full_log_is_marked_and_counted_on() {
        let mut case = case(&[], 1);
        case.log.cap = 10;
        for _ in 0..10 {
            case.log.write(b"12345\n");
        }
        let file = case.file().unwrap();
        assert_eq!(
            String::from_utf8(file.clone()).unwrap(),
            "12345\n1234\n[planspec: the log is cut here, at 10 bytes]\n"
        );
        let summary = case.log.finish().unwrap();
        assert_eq!(summary.size, 60);
        assert_eq!(summary.checksum, Digest::of_bytes(&file));
        assert_eq!(summary.tail, ["12345"; 10].join("\n"));
    }

    #[test]
    fn a_log_that_just_fits_is_not_marked() {
        let mut case = case(&[], 1);
        case.log.cap = 12;
        case.log.write(b"12345\n12345\n");
        case.log.write(b"");
        assert_eq!(case.file().unwrap(), b"12345\n12345\n");
        case.log.write(b"z");
        assert!(case.file().unwrap().ends_with(b"at 12 bytes]\n"));
    }

    #[test]
    fn memory_stays_small_whatever_is_printed() {
        let mut case = case(&[], 1);
        case.log.cap = 0;
        for _ in 0..1_000 {
            case.log.write(&[b'x'; 10_000]);
            assert!(case.log.tail.len() <= TAIL * 4 && case.log.line.len() <= LINE);
        }
        assert_eq!(case.log.finish().unwrap().size, 10_000_000);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_said_in_the_tail() {
        let mut case = case(&[], 1);
        case.log.path = case.folder.path().join("file/log");
        std::fs::write(case.folder.path().join("file"), "").unwrap();
        case.log.write(b"hello\n");
        let tail = case.log.finish().unwrap().tail;
        assert!(tail.starts_with("hello\n[planspec: the log file could not be written:"), "{tail}");
    }
}
