//! Requests that create content are spaced, so that the host's secondary limits are never reached: at most 80 a
//! minute and 500 an hour.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Windows and how many requests each may hold; a little below what the host allows.
// Below the limits, for others may use the same token: a workflow's own steps, or a second runner.
const WINDOWS: [(Duration, usize); 2] = [(Duration::from_secs(60), 75), (Duration::from_secs(3600), 480)];

/// A pace that several clients keep.
pub(super) type SharedPacer = Arc<Mutex<RequestPacer>>;

/// The paces by host and token, as the host counts. The comments of a job and its tasks count together there, whichever
/// client they go through.
static PACES: Mutex<BTreeMap<(String, String), SharedPacer>> = Mutex::new(BTreeMap::new());

/// The pace that everything in this process keeps with a host and a token.
pub(super) fn pace_of(api: &str, token: &str) -> SharedPacer {
    let mut paces = PACES.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(paces.entry((api.to_owned(), token.to_owned())).or_default())
}

/// When content was created in the last hour.
#[derive(Debug, Default)]
pub(super) struct RequestPacer {
    made: VecDeque<Instant>,
}

impl RequestPacer {
    /// Takes the next place, and says when it is. One after `end` is not taken, and is the error.
    pub(super) fn next(&mut self, now: Instant, end: Instant) -> Result<Instant, Instant> {
        // Never before the place that was given last, so that those who wait keep their order.
        let mut at = self.made.back().map_or(now, |last| (*last).max(now));
        for (window, most) in WINDOWS {
            if let Some(earlier) = self.made.len().checked_sub(most).and_then(|index| self.made.get(index)) {
                at = at.max(*earlier + window);
            }
        }
        // A place that nobody uses would delay everybody after it.
        if at > end {
            return Err(at);
        }
        self.made.push_back(at);
        // What lies further back than the largest number cannot limit anything any more.
        while self.made.len() > WINDOWS.iter().map(|(_, most)| *most).max().unwrap_or_default() {
            self.made.pop_front();
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_window_ever_holds_more_than_the_host_allows() {
        let start = Instant::now();
        let mut pace = RequestPacer::default();
        let end = start + Duration::from_secs(100_000);
        let times: Vec<Duration> = (0..1200).map(|_| pace.next(start, end).unwrap() - start).collect();
        for (window, most) in [(60, 80), (3600, 500)] {
            for pair in times.windows(most + 1) {
                assert!(pair[most] - pair[0] >= Duration::from_secs(window), "{pair:?}");
            }
        }
        assert_eq!(times[74], Duration::ZERO);
        let late = pace.next(start, start).unwrap_err();
        assert_eq!(pace.next(start, start), Err(late), "what is not taken costs nobody a place");
    }
}
