//! One JSON event per line, for programs.

use std::io::{self, Write};

use super::ProgressReporter;
use crate::event::Event;

/// Writes a JSON object per event.
pub(crate) struct JsonProgress<W> {
    out: W,
}

impl<W: Write> JsonProgress<W> {
    /// Writes to `out`.
    pub(crate) fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write + Send> ProgressReporter for JsonProgress<W> {
    fn show(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_string(event).map_err(io::Error::other)?;
        line.push('\n');
        self.out.write_all(line.as_bytes())?;
        self.out.flush()
    }
}
