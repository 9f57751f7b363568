//! What is claimed and waits for a slot: a queue that knows its attempts by name, and takes none twice.

use std::collections::{HashSet, VecDeque};

use super::factory::Claim;
use crate::model::ResourceKey;
use crate::run::AttemptName;

/// Claims in the order in which they were published.
#[derive(Debug, Default)]
pub(super) struct ClaimQueue {
    // Each with its name, which is looked up in the record: hundreds of claims may wait here, and each new one is compared with
    // all of them.
    claims: VecDeque<(AttemptName, Claim)>,
    names: HashSet<AttemptName>,
}

impl ClaimQueue {
    /// Takes a claim in, unless it waits here already. Says whether it did.
    pub(super) fn push(&mut self, name: AttemptName, claim: Claim) -> bool {
        let is_new = self.names.insert(name.clone());
        if is_new {
            self.claims.push_back((name, claim));
        }
        is_new
    }

    /// The claim that has waited longest.
    pub(super) fn pop(&mut self) -> Option<Claim> {
        let (name, claim) = self.claims.pop_front()?;
        self.names.remove(&name);
        Some(claim)
    }

    /// Drops the claims of an Execution that `keep` does not want.
    pub(super) fn retain_of(&mut self, key: &ResourceKey, keep: impl Fn(&AttemptName) -> bool) {
        let names = &mut self.names;
        self.claims.retain(|(name, claim)| {
            let kept = claim.key != *key || keep(name);
            if !kept {
                names.remove(name);
            }
            kept
        });
    }

    /// All claims, which wait no longer.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Claim> + use<> {
        std::mem::take(self).claims.into_iter().map(|(_, claim)| claim)
    }

    /// The claims, each with the name of its attempt.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&AttemptName, &Claim)> {
        self.claims.iter().map(|(name, claim)| (name, claim))
    }

    pub(super) fn len(&self) -> usize {
        self.claims.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }
}
