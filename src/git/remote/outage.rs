//! Waiting for a remote that cannot be reached: which failures pass by themselves, how long they are waited for, and how far
//! apart attempts are.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Remote;
use super::failure::{is_transient, may_be_an_outage};
use crate::git::GitError;

/// The most that is waited for a remote that has never answered: its address or the credentials may simply be wrong.
const FIRST_CONTACT: Duration = Duration::from_secs(30);

/// The longest pause between two attempts: an hour's outage costs 240 of them, and its end is noticed soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// The longest `Retry-After` that is obeyed; hosts name seconds to a few minutes, and a wrong one must not stop this runner.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(600);

/// From a pause of this length on, people are told of an outage: hosts fail for a moment all the time.
const TOLD_FROM: Duration = Duration::from_secs(1);

/// What people are told of an outage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutageNotice {
    /// It goes on.
    Begun {
        /// What does not work, with the name of the remote.
        what: String,
        /// What was answered last.
        error: String,
        /// For how long it has gone on.
        lasted: Duration,
        /// When the next attempt is.
        next: Duration,
    },
    /// It is over.
    Over {
        /// What works again, with the name of the remote.
        what: String,
        /// How long it lasted.
        lasted: Duration,
    },
}

/// Whoever is told of outages: once when one begins, once when it is over.
#[derive(Clone, Default)]
pub struct OutageListener(Option<Arc<dyn Fn(OutageNotice) + Send + Sync>>);

impl OutageListener {
    /// Calls this function, from whatever thread waits.
    pub fn new(told: impl Fn(OutageNotice) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(told)))
    }

    fn tell(&self, notice: OutageNotice) {
        if let Some(told) = &self.0 {
            told(notice);
        }
    }
}

impl fmt::Debug for OutageListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OutageListener").field(&self.0.is_some()).finish()
    }
}

/// How long an outage of a remote is waited for. Not at all by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutagePatience {
    longest: Duration,
    until: Option<Instant>,
}

impl OutagePatience {
    /// At most `longest` for each outage, and never beyond `until`.
    #[must_use]
    pub fn new(longest: Duration, until: Option<Instant>) -> Self {
        Self { longest, until }
    }

    /// How long it is until the end beyond which nothing is waited for.
    pub(super) fn until_end(self) -> Duration {
        self.until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()))
    }

    fn left(self, began: Instant, most: Duration) -> Duration {
        // From the first failure of this operation on: an outage that ends gives the next one its full time again.
        let longest = self.longest.min(most).saturating_sub(began.elapsed());
        // `until` is the end of `--max-duration`: waiting beyond it would take the time in which leases are given back.
        longest.min(self.until_end())
    }
}

/// What is wanted of the remote. Many tokens may read and not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum RemoteAccess {
    Read,
    Write,
}

impl RemoteAccess {
    fn of(self, remote: &str) -> String {
        match self {
            Self::Read => format!("reading from {remote}"),
            Self::Write => format!("pushing to {remote}"),
        }
    }
}

/// An outage that goes on.
#[derive(Debug, Clone, Copy)]
struct Outage {
    began: Instant,
    is_told: bool,
}

/// What is known of the connection; shared by the clones of a remote.
#[derive(Debug, Default)]
pub(super) struct Connection {
    has_read: AtomicBool,
    has_written: AtomicBool,
    not_before: Mutex<Option<Instant>>,
    // Reading and writing apart: a remote that is read well may take no push for an hour.
    outages: Mutex<BTreeMap<RemoteAccess, Outage>>,
}

impl Connection {
    pub(super) fn succeeded(&self, access: RemoteAccess) {
        match access {
            RemoteAccess::Read => self.has_read.store(true, Ordering::Relaxed),
            RemoteAccess::Write => self.has_written.store(true, Ordering::Relaxed),
        }
    }

    /// The host asked, by `Retry-After`, not to be contacted for a while.
    pub(super) fn retry_after(&self, pause: Option<Duration>) {
        let Some(pause) = pause else { return };
        // A monotonic clock: the pause must not end early or late because the wall clock is set.
        let until = Instant::now() + pause.min(LONGEST_RETRY_AFTER);
        // A poisoned lock still holds a usable time, and a panic in another thread is no reason to hammer the host.
        *self.not_before.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// An attempt failed, and the next one follows after this pause. For how long that has gone on, where it is to be told now:
    /// several threads may wait for one outage, and one of them says so.
    fn failed(&self, access: RemoteAccess, pause: Duration) -> Option<Duration> {
        let mut outages = self.outages.lock().unwrap_or_else(PoisonError::into_inner);
        let outage =
            outages.entry(access).or_insert_with(|| Outage { began: Instant::now(), is_told: false });
        if outage.is_told || pause < TOLD_FROM {
            return None;
        }
        outage.is_told = true;
        Some(outage.began.elapsed())
    }

    /// An attempt succeeded: how long the outage lasted, where it was told.
    fn recovered(&self, access: RemoteAccess) -> Option<Duration> {
        let mut outages = self.outages.lock().unwrap_or_else(PoisonError::into_inner);
        outages.remove(&access).filter(|outage| outage.is_told).map(|outage| outage.began.elapsed())
    }

    fn succeeded_before(&self, access: RemoteAccess) -> bool {
        match access {
            RemoteAccess::Read => self.has_read.load(Ordering::Relaxed),
            RemoteAccess::Write => self.has_written.load(Ordering::Relaxed),
        }
    }

    fn asked_pause(&self) -> Duration {
        let until = *self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }
}

/// The waits of one operation.
pub(super) struct OutageWait<'r> {
    remote: &'r Remote,
    access: RemoteAccess,
    began: Option<Instant>,
    pause: Duration,
}

impl<'r> OutageWait<'r> {
    pub(super) fn new(remote: &'r Remote, access: RemoteAccess) -> Self {
        Self { remote, access, began: None, pause: remote.options.backoff }
    }

    /// Waits for the next attempt after this failure; returns the failure when it does not pass by itself, or was waited for
    /// long enough.
    pub(super) fn wait(&mut self, error: GitError) -> Result<(), GitError> {
        let Remote { connection, options, shown, .. } = self.remote;
        // Reading and writing apart: a token that may only read succeeds at each fetch, and its refused push is no
        // outage.
        let before = connection.succeeded_before(self.access);
        // A token that worked a moment ago and is refused now, or a repository that is gone: hosts answer so while they fail
        // over. Before the first success, it is what it says.
        let passes = is_transient(&error) || (before && may_be_an_outage(&error));
        if !passes {
            return Err(error);
        }
        let began = *self.began.get_or_insert_with(Instant::now);
        // A wrong address looks the same as a host that is down. Only one that answered before is known to be right.
        let left = options.patience.left(began, if before { Duration::MAX } else { FIRST_CONTACT });
        let asked = connection.asked_pause();
        // When the host asks for more than is left, trying earlier would be refused again, so the failure is reported
        // at once.
        if left.is_zero() || asked > left {
            return Err(error);
        }
        // The last attempt comes at the end of the patience, not after it.
        let pause = jittered(self.pause).max(asked).min(left);
        tracing::warn!(remote = shown, %error, pause_ms = pause.as_millis(), "cannot reach the remote; trying again");
        if let Some(lasted) = connection.failed(self.access, pause) {
            let (what, error) = (self.access.of(shown), error.to_string());
            options.listener.tell(OutageNotice::Begun { what, error, lasted, next: pause });
        }
        // A person who interrupts during an outage must not wait for the pause to end.
        if !options.stop.sleep(pause) {
            return Err(GitError::Interrupted);
        }
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }

    /// The operation succeeded.
    pub(super) fn over(self) {
        self.remote.connection.succeeded(self.access);
        self.answered();
    }

    /// The remote answers, which need not be what was asked for.
    pub(super) fn answered(self) {
        let Remote { connection, options, shown, .. } = self.remote;
        if let Some(began) = self.began {
            let outage_ms = began.elapsed().as_millis();
            tracing::info!(remote = shown, outage_ms, "the remote can be reached again");
        }
        // Also where the operation that told of it gave up: the next one that succeeds says that it is over.
        if let Some(lasted) = connection.recovered(self.access) {
            options.listener.tell(OutageNotice::Over { what: self.access.of(shown), lasted });
        }
    }
}

impl Remote {
    /// The same remote, which tells somebody of its outages.
    #[must_use]
    pub fn telling(mut self, listener: OutageListener) -> Self {
        self.options.listener = listener;
        self
    }

    /// Repeats `attempt` through an outage.
    pub(super) fn patiently<T>(
        &self,
        access: RemoteAccess,
        mut attempt: impl FnMut() -> Result<T, GitError>,
    ) -> Result<T, GitError> {
        let mut outage = OutageWait::new(self, access);
        loop {
            match attempt() {
                Ok(value) => {
                    outage.over();
                    return Ok(value);
                }
                Err(error) => outage.wait(error)?,
            }
        }
    }
}

/// Between three quarters and five quarters of a pause: runners that lost the same host at the same moment do not all come
/// back at the same moment.
fn jittered(pause: Duration) -> Duration {
    // The seeds of hash maps are random for each process, which is all that is needed here; no crate of random numbers
    // for it.
    let random = RandomState::new().build_hasher().finish() % 512;
    pause * u32::try_from(768 + random).unwrap_or(1_024) / 1_024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_after_its_time_and_at_its_moment() {
        let now = Instant::now();
        assert_eq!(OutagePatience::default().left(now, Duration::MAX), Duration::ZERO);
        let minutes = OutagePatience::new(Duration::from_secs(300), None);
        assert!(minutes.left(now, Duration::MAX) > Duration::from_secs(200));
        assert!(minutes.left(now, FIRST_CONTACT) <= FIRST_CONTACT);
        assert_eq!(OutagePatience::new(Duration::MAX, Some(now)).left(now, Duration::MAX), Duration::ZERO);
        let endless = OutagePatience::new(Duration::MAX, None);
        assert!(endless.left(now, Duration::MAX) > Duration::from_secs(1 << 40));
    }

    #[test]
    fn pauses_differ_a_little() {
        let pauses: Vec<Duration> = (0..64).map(|_| jittered(Duration::from_secs(4))).collect();
        assert!(pauses.iter().all(|pause| (3..=5).contains(&pause.as_secs())));
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }

    #[test]
    fn an_outage_is_told_once_when_it_lasts_and_once_when_it_is_over() {
        let connection = Connection::default();
        let long = Duration::from_secs(2);
        assert_eq!(connection.failed(RemoteAccess::Read, Duration::from_millis(500)), None);
        assert_eq!(connection.recovered(RemoteAccess::Read), None, "nobody heard of it");
        assert!(connection.failed(RemoteAccess::Read, long).is_some());
        assert_eq!(connection.failed(RemoteAccess::Read, long), None);
        assert_eq!(connection.recovered(RemoteAccess::Write), None);
        assert!(connection.failed(RemoteAccess::Write, long).is_some());
        assert!(connection.recovered(RemoteAccess::Read).is_some());
        assert_eq!(connection.recovered(RemoteAccess::Read), None);
        assert!(connection.failed(RemoteAccess::Read, long).is_some(), "another one");
    }

    #[test]
    fn a_host_that_asks_for_a_pause_gets_it_within_reason() {
        let connection = Connection::default();
        assert_eq!(connection.asked_pause(), Duration::ZERO);
        connection.retry_after(Some(Duration::from_secs(30)));
        assert!(connection.asked_pause() > Duration::from_secs(20));
        connection.retry_after(None);
        assert!(connection.asked_pause() > Duration::from_secs(20));
        connection.retry_after(Some(Duration::from_secs(1 << 40)));
        assert!(connection.asked_pause() <= LONGEST_RETRY_AFTER);
    }
}
