//! Acceptance criteria: which of them can be checked, and checking them after the work, where it was done or in a fresh
//! checkout.

mod checker;
mod endpoint;
mod remote;

pub use self::checker::check_criteria;
pub(super) use self::checker::{CheckedCommit, Checker, needs_checkout, runs_command};
pub(super) use self::remote::{check_elsewhere, check_there};
