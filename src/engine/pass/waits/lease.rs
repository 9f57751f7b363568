//! The leases of other runners that a one-shot pass waits for.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::model::ResourceKey;

/// The leases of other runners that a one-shot pass waits for: those that end within its patience, and that nobody renews.
#[derive(Debug, Default)]
pub(in crate::engine::pass) struct LeaseWaits {
    /// When each of them ended, as it was first seen.
    ends: HashMap<ResourceKey, Timestamp>,
}

impl LeaseWaits {
    pub(in crate::engine::pass) fn is_new(&self, key: &ResourceKey) -> bool {
        !self.ends.contains_key(key)
    }

    /// Whether a lease that ends at `until` is waited for.
    pub(in crate::engine::pass) fn waits_for(
        &mut self,
        key: &ResourceKey,
        until: Timestamp,
        patient_until: Timestamp,
    ) -> bool {
        if until > patient_until {
            return false;
        }
        // A lease that was renewed has a runner that lives: waiting for its end would be waiting for its work.
        *self.ends.entry(key.clone()).or_insert(until) == until
    }

    pub(in crate::engine::pass) fn is_waiting(&self, now: Timestamp) -> bool {
        self.ends.values().any(|&until| until >= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_waited_for_unless_it_lasts_longer_or_is_renewed() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let key = |name: &str| format!("team/execution/{name}").parse().unwrap();
        let mut waits = LeaseWaits::default();
        assert!(!waits.waits_for(&key("far"), at(90), at(60)));
        assert!(waits.waits_for(&key("near"), at(40), at(60)) && waits.is_waiting(at(39)));
        assert!(waits.waits_for(&key("near"), at(40), at(60)));
        assert!(!waits.waits_for(&key("near"), at(50), at(60)), "it was renewed");
        assert!(!waits.is_waiting(at(41)));
    }
}
