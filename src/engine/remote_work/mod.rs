//! Work that a provider does on a service of its own: polled and cancelled without a claim and without a commit.

pub(crate) mod poll_times;
pub(crate) mod polls;
