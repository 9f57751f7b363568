//! Planning: what should happen next, as a pure function of the desired state, the recorded status and a
//! clock reading (design invariant 5). No I/O, no async, no clock of its own.

#[cfg(test)]
mod against_rules;
mod basis;
pub mod binding;
pub mod capability;
mod draft;
mod elsewhere;
mod execution;
pub mod explain;
pub mod goal;
mod lease;
mod node;
mod outcome;
#[cfg(test)]
mod properties;
mod reuse;
mod schedule;
pub mod simple;
mod view;

pub use basis::{basis, settings};
pub use draft::{CalledOff, Dependency, Draft, Elsewhere, GateDemand, Move, Ready};
pub use elsewhere::is_looked_at;
pub use execution::{finish, hold, plan_execution, sum_groups};
pub use lease::{LeaseState, LeaseTerms, lease_state, next_lease};
pub use node::inputs;
pub use outcome::{AttemptResult, after_attempt, after_look};
pub use schedule::{Candidate, Capacity, schedule};
pub use view::{ExecutionView, Past, Progress, Resolved, Surroundings, Verdict};
