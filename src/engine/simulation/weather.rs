//! How much goes wrong in a simulation, and what an engine could do wrong.

use std::time::Duration;

use super::dice::Dice;

/// Something that an engine could do wrong, done here in its surroundings, so that the product has no switch for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::EnumIter)]
pub(super) enum Planted {
    /// A process that stood still does not notice: it goes on under a lease that is over.
    LeaseKept,
    /// What is not on the branch counts as published, and is acted on.
    ActBeforePublish,
    /// What ended is shown before it is published.
    ShownBeforePublish,
    /// The name of an attempt does not hold the token of its lease.
    KeyWithoutToken,
    /// The branch is moved whatever it was before.
    NoCompare,
    /// What a person decided is written over.
    DecisionOverwritten,
    /// Another runner's lease is taken over before it ends.
    EarlyTakeover,
    /// A status branch that went back is gone on from.
    RewindAccepted,
    /// The fault of a machine counts as one of the work.
    FaultOfTheWork,
    /// What leans on a result is published without it.
    PrefixDropped,
    /// The status moves without the references that go with it.
    StatusAlone,
    /// One runner always wins the race.
    OneIsFavoured,
    /// The leases of Executions are taken and kept for which no slot is free.
    HungryLease,
}

impl Planted {
    /// A seed that found it when this was written: with it the search begins, which saves the runs that are known to find nothing.
    /// After a change of the engine another seed may be the first.
    pub(super) fn first_seed(self) -> u64 {
        match self {
            Self::LeaseKept => 33,
            Self::ActBeforePublish => 2,
            Self::KeyWithoutToken => 20,
            Self::NoCompare => 4,
            Self::DecisionOverwritten => 6,
            Self::FaultOfTheWork | Self::StatusAlone | Self::OneIsFavoured => 1,
            _ => 0,
        }
    }
}

/// How much goes wrong, and for how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    /// Nothing goes wrong after this time.
    pub(super) until: Duration,
    /// Of a hundred pushes, how many meet a fault.
    pub(super) pushes: u64,
    /// Of a hundred readings of the branches.
    pub(super) readings: u64,
    /// Of a hundred starts of attempts.
    pub(super) starts: u64,
    /// Whether clocks are set by hours.
    pub(super) wild: bool,
    /// Whether somebody sets the status branch back now and then.
    pub(super) rewinds: bool,
    /// Whether processes stay until all has ended.
    pub(super) stays: bool,
}

impl Weather {
    pub(super) const CALM: Self = Self {
        until: Duration::ZERO,
        pushes: 0,
        readings: 0,
        starts: 0,
        wild: false,
        rewinds: false,
        stays: false,
    };

    pub(super) fn new(seed: u64, is_short: bool) -> Self {
        let mut dice = Dice::new(seed, 2);
        Self {
            until: if is_short { dice.seconds(20, 90) } else { dice.seconds(60, 200) },
            pushes: 5 + dice.below(40),
            readings: dice.below(12),
            starts: dice.below(25),
            wild: dice.chance(25),
            rewinds: dice.chance(50),
            stays: false,
        }
    }
}
