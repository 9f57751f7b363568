//! Tells a blocked thread to stop: a pipe that it can wait on together with a process's output.

use std::cell::Cell;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::provider::Stop;

/// The end that asks. Dropping it without a word asks for [`Stop::Shutdown`].
pub(in crate::provider) struct Interrupter(PipeWriter);

/// The end that listens.
pub(in crate::provider) struct Interrupt {
    pipe: PipeReader,
    // The word can be read from the pipe only once; whoever asks later gets what it was.
    heard: Cell<Option<Stop>>,
}

/// Makes both ends.
pub(in crate::provider) fn interrupt() -> io::Result<(Interrupter, Interrupt)> {
    let (reader, writer) = io::pipe()?;
    Ok((Interrupter(writer), Interrupt { pipe: reader, heard: Cell::new(None) }))
}

impl Interrupter {
    /// Asks to stop.
    pub(in crate::provider) fn ask(&mut self, stop: Stop) {
        let word: &[u8] = match stop {
            Stop::Cancel => b"c",
            Stop::Shutdown => b"s",
        };
        // Nobody listens any more when the work is over, and that is fine.
        let _ = self.0.write_all(word);
    }
}

impl Interrupt {
    /// What was asked, if anything was. Does not wait.
    pub(in crate::provider) fn heard(&self) -> Option<Stop> {
        if self.heard.get().is_none() {
            let mut fds = [PollFd::new(&self.pipe, PollFlags::IN)];
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            if poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0) {
                let mut word = [0u8; 1];
                // The end of the pipe without a word means that the other side is gone: that is a shutdown, and nobody
                // cancelled.
                let cancel = (&self.pipe).read(&mut word).is_ok_and(|read| read == 1) && word == *b"c";
                self.heard.set(Some(if cancel { Stop::Cancel } else { Stop::Shutdown }));
            }
        }
        self.heard.get()
    }

    /// What to wait on for [`Self::heard`] to change; nothing once it has.
    pub(in crate::provider) fn waitable(&self) -> Option<BorrowedFd<'_>> {
        self.heard.get().is_none().then(|| self.pipe.as_fd())
    }
}
