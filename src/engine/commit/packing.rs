//! Packing what a runner that stays has written, while it runs: each status commit leaves a dozen loose objects, and a watch
//! that goes on for months would leave millions.

use tokio::task::JoinHandle;
use tracing::{debug, warn};

use crate::git::Repo;

/// After so many commits Git is asked whether to pack, when nothing is to do; packing is up to `gc.auto`.
const WHEN_IDLE: u32 = 20;
/// After so many, also while work goes on.
const WHEN_BUSY: u32 = 500;

/// How much was written since Git was last asked to pack.
#[derive(Debug, Default)]
pub(crate) struct Packing {
    commits: u32,
    under_way: Option<JoinHandle<()>>,
}

impl Packing {
    /// A commit was published.
    pub(crate) fn count(&mut self) {
        self.commits = self.commits.saturating_add(1);
    }

    /// Whether enough was written. One packing at a time.
    pub(crate) fn is_due(&self, idle: bool) -> bool {
        let free = self.under_way.as_ref().is_none_or(JoinHandle::is_finished);
        free && self.commits >= if idle { WHEN_IDLE } else { WHEN_BUSY }
    }

    /// Has Git pack beside the loop, if it finds that worth it.
    pub(crate) fn start(&mut self, repo: Repo) {
        debug!(commits = self.commits, "ask git whether to pack");
        self.commits = 0;
        self.under_way = Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = repo.pack_when_grown() {
                warn!(%error, "the repository was not packed");
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_runner_packs_sooner_than_a_busy_one() {
        let mut packing = Packing::default();
        (1..WHEN_IDLE).for_each(|_| packing.count());
        assert!(!packing.is_due(true));
        packing.count();
        assert!(packing.is_due(true) && !packing.is_due(false));
        (WHEN_IDLE..WHEN_BUSY).for_each(|_| packing.count());
        assert!(packing.is_due(false));
    }
}
