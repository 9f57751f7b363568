//! How this process left what it planned, until the index takes it in: by resource, and by what each one waits for.

use std::collections::{BTreeSet, HashMap};

use crate::index::{Topic, WaitSet};
use crate::model::ResourceKey;

/// How resources were left.
#[derive(Debug, Default)]
pub(in crate::engine::pass) struct UnsavedWaits {
    left: HashMap<ResourceKey, Option<WaitSet>>,
    waiters: HashMap<String, BTreeSet<ResourceKey>>,
}

impl UnsavedWaits {
    /// Takes in how a resource was left; `None` when it is gone or over.
    pub(in crate::engine::pass) fn insert(&mut self, key: ResourceKey, waits: Option<WaitSet>) {
        // First: topics of the wait before would wake it for what it does not wait for any more.
        self.remove(&key);
        for topic in waits.iter().flat_map(|waits| &waits.on) {
            self.waiters.entry(topic.clone()).or_default().insert(key.clone());
        }
        self.left.insert(key, waits);
    }

    /// Forgets a resource.
    pub(in crate::engine::pass) fn remove(&mut self, key: &ResourceKey) {
        let old = self.left.remove(key).flatten();
        for topic in old.iter().flat_map(|old| &old.on) {
            if let Some(keys) = self.waiters.get_mut(topic) {
                keys.remove(key);
            }
        }
    }

    /// The resources that wait for `topic`.
    pub(in crate::engine::pass) fn waiters(&self, topic: &Topic) -> impl Iterator<Item = &ResourceKey> {
        self.waiters.get(&topic.to_string()).into_iter().flatten()
    }

    /// Everything, which is then forgotten.
    pub(in crate::engine::pass) fn take(&mut self) -> Vec<(ResourceKey, Option<WaitSet>)> {
        // From here on the index answers for these topics.
        self.waiters.clear();
        std::mem::take(&mut self.left).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> ResourceKey {
        text.parse().unwrap()
    }

    fn waits_for(topic: &Topic) -> Option<WaitSet> {
        let mut waits = WaitSet::default();
        waits.on(topic);
        Some(waits)
    }

    #[test]
    fn a_resource_waits_only_for_what_it_last_waited_for() {
        let a = Topic::Resource(key("n/goal/a"));
        let b = Topic::Resource(key("n/goal/b"));
        let mut unsaved = UnsavedWaits::default();
        unsaved.insert(key("n/execution/x"), waits_for(&a));
        unsaved.insert(key("n/execution/y"), waits_for(&a));
        unsaved.insert(key("n/execution/x"), waits_for(&b));
        assert_eq!(unsaved.waiters(&a).collect::<Vec<_>>(), [&key("n/execution/y")]);
        assert_eq!(unsaved.waiters(&b).collect::<Vec<_>>(), [&key("n/execution/x")]);
        unsaved.remove(&key("n/execution/y"));
        assert_eq!(unsaved.waiters(&a).count(), 0);
        assert_eq!(unsaved.take(), [(key("n/execution/x"), waits_for(&b))]);
        assert_eq!(unsaved.waiters(&b).count(), 0);
    }
}
