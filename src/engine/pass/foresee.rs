//! A dry run: what a reconcile would begin with. Nothing is recorded, started, asked or shown to anybody.

use tracing::info;

use super::driver::Driver;
use crate::engine::EngineError;
use crate::event::Event;

/// How often history is fetched that a pin is checked against: what was just fetched answers it, or nothing does.
const FETCHES: usize = 3;

impl Driver<'_> {
    /// Plans the first commit of this reconcile by the same code as every other, says what it would record and start, and
    /// drops it. What follows depends on what the attempts come to.
    pub(super) async fn foresee(&mut self) -> Result<(), EngineError> {
        self.take_work()?;
        let mut planned = None;
        for _ in 0..=FETCHES {
            self.bring_in_history().await?;
            planned = self.assemble()?;
            if planned.is_some() || !self.snapshot.merged.is_wanted() {
                break;
            }
        }
        let (mut records, mut starts) = (0, 0);
        if let Some(planned) = planned {
            records = planned.assembly.len();
            starts = planned.claims.len();
            let at = planned.reading.wall;
            let (_, effects) = planned.assembly.split(self.snapshot.desired.id, &self.options.runner, at);
            for event in effects.events {
                self.emit(event);
            }
        }
        let more = self.queue.has_work();
        info!(records, starts, more, "end dry run");
        self.emit(Event::DryRunEnded { at: self.clock.now(), records, starts, more });
        Ok(())
    }
}
