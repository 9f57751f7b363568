//! Planning: what should happen next, as a pure function of the desired state, the recorded status and a
//! clock reading (Invariant 5). No I/O, no async, no clock of its own.

#[cfg(test)]
mod against_rules;
pub(crate) mod binding;
pub(crate) mod capability;
mod draft;
mod execution;
pub(crate) mod explain;
mod fingerprint;
pub(crate) mod goal;
mod lease;
mod node;
mod outcome;
#[cfg(test)]
mod properties;
mod remote_work;
mod reuse;
mod schedule;
pub(crate) mod simple;
mod view;

pub(crate) use draft::{CancelResult, Dependency, Draft, GateRequest, RemoteWork};
pub(crate) use execution::{finish, hold, plan_execution, sum_groups};
pub(crate) use fingerprint::{basis, settings};
pub(crate) use lease::{LeaseState, LeaseTerms, lease_state, next_lease};
pub(crate) use node::inputs;
pub(crate) use outcome::{after_attempt, after_poll};
pub(crate) use remote_work::is_looked_at;
pub(crate) use schedule::{Capacity, StartCandidate, schedule};
pub(crate) use view::{
    ExecutionView, GateVerdict, PlanLookup, ProviderResolution, ResourceProgress, ReuseSource,
};
