//! What is asked about all nodes of an Execution after each of its changes, and is true of few of them.

use super::{NodePhase, NodeStatus};

/// Something that may be true of a node. A map of nodes remembers where there are such ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeTrait {
    /// It is in this phase.
    InPhase(NodePhase),
    /// An attempt is under way.
    UnderWay,
    /// It is no longer as it was when the Execution was pinned. A node that waits for its next attempt is Pending again, and has
    /// begun all the same.
    Begun,
    /// It changed files.
    HasResult,
    /// It names a commit that has to be kept: its result, its base, what is unfinished, or what somebody handed in.
    NamesCommit,
    /// Files of its attempt are stored beside the status branch.
    StoresFiles,
    /// A branch shows people its work.
    ShowsWork,
    /// A reviewer asked for something else than what it delivers.
    AsksChange,
}

impl NodeTrait {
    /// All of them but for the phases.
    const OTHERS: [Self; 7] = [
        Self::UnderWay,
        Self::Begun,
        Self::HasResult,
        Self::NamesCommit,
        Self::StoresFiles,
        Self::ShowsWork,
        Self::AsksChange,
    ];

    /// Whether it is true of this node.
    pub(crate) fn is_of(self, node: &NodeStatus) -> bool {
        let more = &node.extensions;
        match self {
            Self::InPhase(phase) => node.phase == phase,
            Self::UnderWay => node.is_under_way(),
            Self::Begun => node.phase != NodePhase::Pending || node.attempt > 0,
            Self::HasResult => more.result.is_some(),
            Self::NamesCommit => {
                let handed_in = || more.decided.as_ref().is_some_and(|decided| decided.result.is_some());
                more.result.is_some() || more.base.is_some() || more.unfinished.is_some() || handed_in()
            }
            Self::StoresFiles => more.stored.is_some(),
            Self::ShowsWork => more.work_branch.is_some(),
            Self::AsksChange => more.requested.is_some(),
        }
    }

    fn bit(self) -> u16 {
        let place = match self {
            Self::InPhase(phase) => phase as u16,
            Self::UnderWay => 7,
            Self::Begun => 8,
            Self::HasResult => 9,
            Self::NamesCommit => 10,
            Self::StoresFiles => 11,
            Self::ShowsWork => 12,
            Self::AsksChange => 13,
        };
        1 << place
    }
}

/// What is true of at least one of some nodes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct NodeTraits(u16);

impl NodeTraits {
    /// Adds what is true of this node.
    pub(super) fn add(&mut self, node: &NodeStatus) {
        let others = NodeTrait::OTHERS.into_iter().filter(|known| known.is_of(node));
        let all = std::iter::once(NodeTrait::InPhase(node.phase)).chain(others);
        self.0 |= all.fold(0, |bits, known| bits | known.bit());
    }

    /// Whether this is true of one of them.
    pub(super) fn contains(self, wanted: NodeTrait) -> bool {
        self.0 & wanted.bit() != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_traits_share_a_bit() {
        let phases = NodePhase::ALL.into_iter().map(NodeTrait::InPhase);
        let all: Vec<u16> = phases.chain(NodeTrait::OTHERS).map(NodeTrait::bit).collect();
        let union = all.iter().fold(0, |union, bit| union | bit);
        assert_eq!(union.count_ones() as usize, all.len());
    }
}
