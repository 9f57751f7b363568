//! Scheduling: which of the ready nodes of all Executions take the free slots.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::Name;

/// A ready node, with what its order depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StartCandidate<'c, T> {
    /// The priority of its goal; higher goes first.
    pub priority: u16,
    /// The longest way onward; longer goes first.
    pub rank: u32,
    /// Since when its execution is queued; older goes first.
    pub queued: Timestamp,
    /// The provider.
    pub provider: &'c str,
    /// The namespace of its execution.
    pub namespace: &'c Name,
    /// Whatever the caller needs to recognise it; breaks ties.
    pub item: T,
}

/// What may run at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// Free slots.
    pub slots: usize,
    /// The most attempts of a provider, by provider; no limit where none is given.
    pub limits: BTreeMap<String, u32>,
    /// How many attempts of a provider run now.
    pub running: BTreeMap<String, u32>,
    /// How many more attempts may start, by namespace; no limit where none is given.
    pub room: BTreeMap<Name, u32>,
}

/// Picks candidates for the free slots, best first; those of providers and namespaces at their limit are passed over.
#[must_use]
pub(crate) fn schedule<T: Ord>(mut candidates: Vec<StartCandidate<'_, T>>, capacity: &Capacity) -> Vec<T> {
    // A total order down to the item: two equal candidates would otherwise start in the order in which a map gave them,
    // and two passes over the same state would differ (Invariant 5).
    candidates.sort_by(|a, b| {
        (b.priority, b.rank)
            .cmp(&(a.priority, a.rank))
            .then_with(|| a.queued.cmp(&b.queued))
            .then_with(|| a.item.cmp(&b.item))
    });
    // Counted on as candidates are picked: one pass may start many, and the limit holds for all of them together.
    let mut running = capacity.running.clone();
    let mut room = capacity.room.clone();
    let mut picked = Vec::new();
    for candidate in candidates {
        // The only limit that ends the choice. At the others a candidate is passed over, so that a busy provider or
        // namespace does not leave slots empty that somebody else could use.
        if picked.len() == capacity.slots {
            break;
        }
        let mut left = room.get_mut(candidate.namespace);
        // Asked before the provider's limit and taken after it: a candidate that its provider holds back must not use
        // up what its namespace may still start.
        if left.as_ref().is_some_and(|left| **left == 0) {
            continue;
        }
        // By the whole text of the provider, as the configuration names it, so that `tool://a` and `tool://b` have
        // limits of their own.
        if let Some(&limit) = capacity.limits.get(candidate.provider) {
            let count = running.entry(candidate.provider.to_owned()).or_default();
            if *count >= limit {
                continue;
            }
            *count += 1;
        }
        if let Some(left) = &mut left {
            **left = left.saturating_sub(1);
        }
        picked.push(candidate.item);
    }
    picked
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    static HOME: LazyLock<Name> = LazyLock::new(|| Name::new("n").unwrap());

    /// One of the provider of the same name.
    fn candidate(name: &str, priority: u16, rank: u32, queued: i64) -> StartCandidate<'_, &str> {
        let queued = Timestamp::from_second(queued).unwrap();
        StartCandidate { priority, rank, queued, provider: name, namespace: &HOME, item: name }
    }

    #[test]
    fn priority_goes_before_rank_before_age() {
        let all = vec![
            candidate("young", 0, 1, 9),
            candidate("old", 0, 1, 1),
            candidate("long", 0, 5, 9),
            candidate("urgent", 9, 1, 9),
        ];
        let capacity = Capacity { slots: 3, ..Capacity::default() };
        assert_eq!(schedule(all, &capacity), ["urgent", "long", "old"]);
    }

    #[test]
    fn a_provider_at_its_limit_is_passed_over() {
        let all = vec![candidate("a", 1, 1, 1), candidate("b", 0, 1, 1)];
        let limits = BTreeMap::from([("a".to_owned(), 1)]);
        let capacity = Capacity { slots: 2, running: limits.clone(), limits, ..Capacity::default() };
        assert_eq!(schedule(all, &capacity), ["b"]);
    }

    #[test]
    fn a_namespace_gives_its_room_to_the_most_urgent_and_leaves_the_slots_to_others() {
        let other = Name::new("m").unwrap();
        let mut all = vec![candidate("a", 1, 1, 1), candidate("b", 3, 1, 1), candidate("c", 2, 1, 1)];
        all.push(StartCandidate { namespace: &other, ..candidate("d", 0, 1, 1) });
        let room = BTreeMap::from([(HOME.clone(), 2)]);
        let capacity = Capacity { slots: 4, room: room.clone(), ..Capacity::default() };
        assert_eq!(schedule(all.clone(), &capacity), ["b", "c", "d"]);
        // One that its provider holds back takes no room.
        let limits = BTreeMap::from([("b".to_owned(), 1)]);
        let capacity = Capacity { slots: 4, room, running: limits.clone(), limits };
        assert_eq!(schedule(all, &capacity), ["c", "a", "d"]);
    }
}
