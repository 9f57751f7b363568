//! Attempts of this runner: what was claimed, what a provider is given for it, and where it works.

pub(crate) mod base;
mod branch_merge;
#[cfg(test)]
mod by_hand;
pub(crate) mod carried;
mod claims;
pub(crate) mod collect;
pub(crate) mod factory;
pub(crate) mod fence;
pub(crate) mod files;
mod handed_over;
pub(crate) mod health;
pub(crate) mod owners;
pub(crate) mod running;
mod submodules;
pub(crate) mod workspace;
