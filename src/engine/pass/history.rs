//! Bringing in the part of history that it takes to know whether a pin was merged.

use tracing::{info_span, warn};

use super::driver::Driver;
use crate::engine::EngineError;
use crate::event::Event;

impl Driver<'_> {
    /// Fetches what an Execution waits for, and plans it again. Attempts go on meanwhile.
    pub(super) async fn bring_in_history(&mut self) -> Result<(), EngineError> {
        let Some((fetch, remote, store)) = self.snapshot.merged.take_wanted() else { return Ok(()) };
        let repo = self.snapshot.repo.reopen()?;
        let span = info_span!("history", ?fetch);
        let mut fetching = tokio::task::spawn_blocking(move || {
            let _entered = span.entered();
            fetch.run(&remote, &repo, &store)
        });
        let fetched = loop {
            tokio::select! {
                biased;
                joined = &mut fetching => break joined.map_err(|_| EngineError::WorkerLost)?,
                Some(message) = self.messages.recv() => {
                    self.take(message);
                    self.attempts.pump();
                }
            }
        };
        match fetched {
            Ok(()) => {
                let waiting = self.snapshot.merged.refresh();
                self.queue.add(waiting);
            }
            // Whoever needed it is parked, and asks again later: what cannot be known is neither yes nor no.
            Err(error) => {
                warn!(%error, "history could not be fetched");
                self.snapshot.merged.forget(fetch);
                let message = format!("history that a pin is checked against could not be fetched: {error}");
                self.emit(Event::Note { message });
            }
        }
        Ok(())
    }
}
