//! Tells a blocked thread to stop: a word that it can look up at any time, and a pipe that it can wait on together with a
//! process's output; or somebody whom it has to ask.

use std::io::{self, PipeReader, PipeWriter, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::provider::Stop;

/// How often whoever does not ring is asked: a request to stop is heeded within a second, and a process that runs for hours costs
/// nothing that could be measured.
const HEED_EVERY: Duration = Duration::from_millis(100);

/// Pipes that nobody has written to, for the next attempts: making one costs as much as all looks for a request together.
static SPARE_BELLS: Mutex<Vec<(PipeReader, PipeWriter)>> = Mutex::new(Vec::new());

/// Says whether an attempt shall end early.
pub type Heed = Arc<dyn Fn() -> Option<Stop> + Send + Sync>;

/// The end that asks. Dropping it without a word asks for [`Stop::Shutdown`].
pub(in crate::provider) struct Interrupter(Arc<Mutex<StopRequest>>);

/// The end that listens.
pub(in crate::provider) struct Interrupt(Source);

/// Where a request comes from.
enum Source {
    /// From somebody who asks, and rings.
    Asker(Bell),
    /// From somebody who has to be asked.
    Heed(Heed),
}

/// What an asker rings.
struct Bell {
    request: Arc<Mutex<StopRequest>>,
    /// Readable once something was asked; there until this is dropped.
    reader: Option<PipeReader>,
}

/// What was asked.
struct StopRequest {
    word: Option<Stop>,
    /// Wakes the listener; gone with it, so that a late word never rings for whoever has the pipe next.
    bell: Option<PipeWriter>,
}

/// Makes both ends.
pub(in crate::provider) fn interrupt() -> io::Result<(Interrupter, Interrupt)> {
    let spare = lock(&SPARE_BELLS).pop();
    let (reader, writer) = spare.map_or_else(io::pipe, Ok)?;
    let request = Arc::new(Mutex::new(StopRequest { word: None, bell: Some(writer) }));
    let bell = Bell { request: Arc::clone(&request), reader: Some(reader) };
    Ok((Interrupter(request), Interrupt(Source::Asker(bell))))
}

impl Interrupter {
    /// Asks to stop. The first word counts.
    pub(in crate::provider) fn ask(&mut self, stop: Stop) {
        let mut request = lock(&self.0);
        if request.word.is_none() {
            request.word = Some(stop);
            // Nobody listens any more when the work is over, and that is fine.
            let _ = request.bell.as_mut().map(|bell| bell.write_all(b"!"));
        }
    }
}

impl Drop for Interrupter {
    fn drop(&mut self) {
        // The other side is gone: that is a shutdown, and nobody cancelled.
        self.ask(Stop::Shutdown);
    }
}

impl Interrupt {
    /// One that has to be asked.
    pub(in crate::provider) fn by(heed: Heed) -> Self {
        Self(Source::Heed(heed))
    }

    /// What was asked, if anything was. Does not wait.
    pub(in crate::provider) fn heard(&self) -> Option<Stop> {
        match &self.0 {
            Source::Asker(bell) => lock(&bell.request).word,
            Source::Heed(heed) => heed(),
        }
    }

    /// What to wait on for [`Self::heard`] to change; nothing once it has, and where nobody rings.
    pub(in crate::provider) fn waitable(&self) -> Option<BorrowedFd<'_>> {
        let Source::Asker(bell) = &self.0 else { return None };
        let reader = bell.reader.as_ref().map(AsFd::as_fd);
        reader.filter(|_| self.heard().is_none())
    }

    /// How long to wait at most before [`Self::heard`] is asked again; as long as one likes where somebody rings.
    pub(in crate::provider) fn patience(&self) -> Option<Duration> {
        matches!(self.0, Source::Heed(_)).then_some(HEED_EVERY)
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        let mut request = lock(&self.request);
        // One that rang goes: what is in it would wake the next listener for nothing, again and again.
        if let (Some(reader), Some(writer), None) = (self.reader.take(), request.bell.take(), request.word) {
            lock(&SPARE_BELLS).push((reader, writer));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A poisoned lock only means that another thread panicked; what is in it is sound.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn rings(interrupt: &Interrupt) -> bool {
        let Source::Asker(bell) = &interrupt.0 else { panic!("nobody rings") };
        let mut polled = [PollFd::new(bell.reader.as_ref().unwrap(), PollFlags::IN)];
        poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
    }

    #[test]
    fn the_first_word_counts_and_rings() {
        let (mut asker, interrupt) = interrupt().unwrap();
        assert!(interrupt.heard().is_none() && interrupt.waitable().is_some() && !rings(&interrupt));
        asker.ask(Stop::Cancel);
        asker.ask(Stop::Shutdown);
        assert!(rings(&interrupt));
        assert_eq!(interrupt.heard(), Some(Stop::Cancel));
        drop(asker);
        assert_eq!(interrupt.heard(), Some(Stop::Cancel));
        assert!(interrupt.waitable().is_none());
    }

    #[test]
    fn who_does_not_ring_is_asked() {
        let word = Arc::new(Mutex::new(None));
        let asked = Arc::clone(&word);
        let interrupt = Interrupt::by(Arc::new(move || *lock(&asked)));
        assert!(
            interrupt.heard().is_none() && interrupt.waitable().is_none() && interrupt.patience().is_some()
        );
        *lock(&word) = Some(Stop::Cancel);
        assert_eq!(interrupt.heard(), Some(Stop::Cancel));
    }

    #[test]
    fn an_asker_that_is_gone_means_a_shutdown() {
        let (asker, interrupt) = interrupt().unwrap();
        drop(asker);
        assert!(rings(&interrupt));
        assert_eq!(interrupt.heard(), Some(Stop::Shutdown));
    }

    #[test]
    fn what_is_asked_too_late_does_not_ring_for_the_next() {
        let mut askers = Vec::new();
        for _ in 0..8 {
            let (asker, listener) = interrupt().unwrap();
            drop(listener);
            askers.push(asker);
        }
        let (_asker, next) = interrupt().unwrap();
        askers.iter_mut().for_each(|asker| asker.ask(Stop::Cancel));
        drop(askers);
        assert!(next.heard().is_none() && !rings(&next));
    }
}
