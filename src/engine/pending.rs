//! What has to be planned, by the order in which kinds are.

use std::collections::BTreeSet;

use crate::model::{Kind, ResourceKey};

/// What has to be planned, in the order in which kinds depend on each other.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Bindings, capabilities, plans and gates.
    pub(super) simple: BTreeSet<ResourceKey>,
    /// Executions.
    pub(super) executions: BTreeSet<ResourceKey>,
    /// Goals, whose phase follows from their executions.
    pub(super) goals: BTreeSet<ResourceKey>,
}

impl Pending {
    pub(super) fn add(&mut self, key: ResourceKey) {
        match key.kind {
            Kind::Execution => self.executions.insert(key),
            Kind::Goal => self.goals.insert(key),
            _ => self.simple.insert(key),
        };
    }

    pub(super) fn is_empty(&self) -> bool {
        self.simple.is_empty() && self.executions.is_empty() && self.goals.is_empty()
    }
}
