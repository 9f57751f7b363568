//! Leases: who may drive an Execution, for how long, and when somebody else may take over.
//!
//! `plan/lease_model` checks these functions, and the protocol around them, in every order of events for three runners: a
//! rule that changes here, or in what the engine does under a lease, changes there first.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::{ExecutionExtensions, Lease, after};

/// How leases are handled, from the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaseTerms {
    /// How long a lease is valid without renewal.
    pub duration: Duration,
    /// How far the clocks of two runners may be apart.
    pub skew: Duration,
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

/// Whose lease it is, from the point of view of `runner` at `now`.
#[must_use]
pub(crate) fn lease_state(
    lease: Option<&Lease>,
    runner: &str,
    terms: LeaseTerms,
    now: Timestamp,
) -> LeaseState {
    let Some(lease) = lease else { return LeaseState::Free };
    if lease.holder == runner {
        return LeaseState::Mine(lease.token);
    }
    // The holder's own duration counts, not ours: the two may run with different configurations.
    let until = after(after(lease.renew_time, Duration::from_millis(lease.duration_millis)), terms.skew);
    if now > until { LeaseState::Free } else { LeaseState::Held(until) }
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
        acquire_time: now,
        renew_time: now,
        duration_millis: u64::try_from(terms.duration.as_millis()).unwrap_or(u64::MAX),
        token: extensions.last_token.saturating_add(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_lease_is_taken_over_only_beyond_expiry_and_skew() {
        let terms = LeaseTerms { duration: Duration::from_secs(60), skew: Duration::from_secs(10) };
        let lease = next_lease(&ExecutionExtensions::default(), "a", terms, at(100));
        let state = |runner, now| lease_state(Some(&lease), runner, terms, at(now));
        assert_eq!(state("a", 500), LeaseState::Mine(1));
        assert_eq!(state("b", 101), LeaseState::Held(at(170)));
        assert_eq!(state("b", 170), LeaseState::Held(at(170)));
        assert_eq!(state("b", 171), LeaseState::Free);
        assert_eq!(lease_state(None, "b", terms, at(0)), LeaseState::Free);
    }
}
