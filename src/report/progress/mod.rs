//! A reconcile as it happens: the event stream as plain lines, as a live tree on a terminal, or as JSON.
//! Each form has its own file; all but JSON share the wording of `lines`.

mod lines;
mod live;
mod plain;
mod skips;
mod tree;

use std::io;

pub(crate) use live::LiveProgress;
pub(crate) use plain::{JsonProgress, PlainProgress};

use crate::event::Event;

/// Something that shows events as they come.
pub(crate) trait ProgressReporter: Send {
    /// Shows one event.
    ///
    /// # Errors
    /// When the output cannot be written; a closed pipe among them.
    fn show(&mut self, event: &Event) -> io::Result<()>;
}

/// How much is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DetailLevel {
    /// Failures and what waits.
    Quiet,
    /// Every transition.
    #[default]
    Normal,
    /// Also what providers print, status commits and passes.
    Verbose,
}
