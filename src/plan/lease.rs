//! Leases: who may drive an Execution, for how long, and when somebody else may take over.
//!
//! `plan/lease_model` checks these functions, and the protocol around them, in every order of events for three runners: a
//! rule that changes here, or in what the engine does under a lease, changes there first.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{ExecutionExtensions, Lease, after};

/// How leases are handled, from the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaseTerms {
    /// How long a lease is valid without renewal.
    pub duration: Duration,
    /// How far the clocks of two runners may be apart.
    pub skew: Duration,
    /// The longest duration that a lease of another runner is granted, whatever its record says.
    pub longest: Duration,
}

/// Whose lease it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseState {
    /// This runner's, with this token.
    Mine(u64),
    /// Nobody's; or it expired, beyond the allowance for clock skew.
    Free,
    /// Another runner's, until this time.
    Held(Timestamp),
}

/// Whose lease it is, from the point of view of `runner` at `now`; `first_seen` is when this machine first saw the renewal
/// that is recorded.
///
/// Another runner's lease ends at the earlier of two moments: the recorded renewal, or its first sight, each plus the
/// duration and the skew. A clock that is a year ahead would else lock everybody out for that year (Invariant 16); the
/// duration is recorded too, so it is bounded as well.
#[must_use]
pub(crate) fn lease_state(
    lease: Option<&Lease>,
    runner: &str,
    terms: LeaseTerms,
    first_seen: Timestamp,
    now: Timestamp,
) -> LeaseState {
    let Some(lease) = lease else { return LeaseState::Free };
    // The time is not asked: the token is still the highest, so nobody took over. Whether there is time left to work in
    // is for the fence to say (`src/engine/attempt/fence.rs`), by clocks that this function does not have.
    if lease.holder == runner {
        return LeaseState::Mine(lease.token);
    }
    // The holder's own duration counts, not ours: the two may run with different configurations.
    let duration = Duration::from_millis(lease.duration_millis).min(terms.longest);
    let until = after(after(lease.renew_time.min(first_seen), duration), terms.skew);
    // Over at that very moment, for which whoever waits is woken: a runner that found it held then would be due again at
    // once, and plan without a pause until the clock moves on.
    let expired = now >= until;
    tracing::trace!(holder = lease.holder, token = lease.token, %until, expired, "lease of another runner");
    if expired { LeaseState::Free } else { LeaseState::Held(until) }
}

/// When renewals whose recorded time lies in the future were first seen, by the uid of the Execution. Others need no
/// memory: their own time is the earlier one. Losing it costs at most one more duration of waiting (Invariant 1).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LeaseSightings {
    seen: BTreeMap<String, LeaseSighting>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LeaseSighting {
    token: u64,
    renewed: Timestamp,
    first_seen: Timestamp,
}

impl LeaseSightings {
    /// When the renewal that `lease` records was first seen: now, unless it is remembered.
    pub(crate) fn first_seen(&mut self, uid: &str, lease: &Lease, now: Timestamp) -> Timestamp {
        // The sighting goes as soon as the time has come, so that the memory holds only leases of clocks that are
        // ahead, and cannot grow with the number of Executions.
        if lease.renew_time <= now {
            self.seen.remove(uid);
            return now;
        }
        let fresh = LeaseSighting { token: lease.token, renewed: lease.renew_time, first_seen: now };
        // By uid and not by name: an Execution that was deleted and made again under the same name has a lease that
        // nobody has seen yet.
        let known = self.seen.entry(uid.to_owned()).or_insert_with(|| fresh.clone());
        // A renewal since then is a sign of life. A sighting from a future of our own clock, which was set back, is none.
        if known.token != fresh.token || known.renewed != fresh.renewed || known.first_seen > now {
            *known = fresh;
        }
        known.first_seen
    }
}

/// A new lease for `runner`, with a token higher than every one before.
#[must_use]
pub(crate) fn next_lease(
    extensions: &ExecutionExtensions,
    runner: &str,
    terms: LeaseTerms,
    now: Timestamp,
) -> Lease {
    Lease {
        holder: runner.to_owned(),
        // The own duration is written into the lease: whoever waits for its end may have another configuration, and has
        // to count with the holder's.
        acquire_time: now,
        renew_time: now,
        duration_millis: u64::try_from(terms.duration.as_millis()).unwrap_or(u64::MAX),
        // From `last_token`, which outlives a released lease, and not from the lease before: a token that starts again
        // would give two attempts one name, and let a late result of the first count for the second.
        token: extensions.last_token.saturating_add(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    const TERMS: LeaseTerms = LeaseTerms {
        duration: Duration::from_secs(60),
        skew: Duration::from_secs(10),
        longest: Duration::from_secs(600),
    };

    fn lease_at(second: i64) -> Lease {
        next_lease(&ExecutionExtensions::default(), "a", TERMS, at(second))
    }

    #[test]
    fn a_lease_is_taken_over_only_beyond_expiry_and_skew() {
        let lease = lease_at(100);
        let state = |runner, now| lease_state(Some(&lease), runner, TERMS, at(now), at(now));
        assert_eq!(state("a", 500), LeaseState::Mine(1));
        assert_eq!(state("b", 101), LeaseState::Held(at(170)));
        assert_eq!(state("b", 169), LeaseState::Held(at(170)));
        assert_eq!(state("b", 170), LeaseState::Free, "whoever is woken for this moment finds it free");
        assert_eq!(lease_state(None, "b", TERMS, at(0), at(0)), LeaseState::Free);
    }

    #[test]
    fn a_clock_that_is_ahead_locks_nobody_out_for_longer_than_the_lease_lasts() {
        let year = 31_536_000;
        let lease = lease_at(year);
        let state = |now| lease_state(Some(&lease), "b", TERMS, at(100), at(now));
        assert_eq!([state(100), state(171)], [LeaseState::Held(at(170)), LeaseState::Free]);
    }

    #[test]
    fn a_recorded_duration_is_bounded_by_the_longest_that_is_granted() {
        let lease = Lease { duration_millis: u64::MAX, ..lease_at(100) };
        let state = |now| lease_state(Some(&lease), "b", TERMS, at(now), at(now));
        assert_eq!([state(101), state(711)], [LeaseState::Held(at(710)), LeaseState::Free]);
    }

    #[test]
    fn a_renewal_is_a_sign_of_life_and_its_first_sight_is_remembered() {
        let mut sightings = LeaseSightings::default();
        let mut lease = lease_at(1_000);
        assert_eq!(sightings.first_seen("u", &lease, at(10)), at(10));
        assert_eq!(sightings.first_seen("u", &lease, at(50)), at(10));
        lease.renew_time = at(1_020);
        assert_eq!(sightings.first_seen("u", &lease, at(60)), at(60), "it was renewed");
        assert_eq!(sightings.first_seen("u", &lease, at(20)), at(20), "our own clock was set back");
        assert_eq!(sightings.first_seen("u", &lease, at(1_020)), at(1_020));
        assert_eq!(sightings, LeaseSightings::default(), "a time that has come needs no memory");
    }
}
