//! Planning: what should happen next, as a pure function of the desired state, the recorded status and a
//! clock reading (Invariant 5). No I/O, no async, no clock of its own.

#[cfg(test)]
mod against_rules;
pub(crate) mod binding;
pub(crate) mod derived_status;
mod execution;
pub(crate) mod goal;
mod lease;
#[cfg(test)]
mod lease_model;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod proportion;
pub(crate) mod recurrence;
pub(crate) mod required_gates;
mod schedule;
mod share;
mod work;

pub(crate) use binding::capability;
pub(crate) use execution::{
    ApprovalAbove, ApprovalCase, ApprovalLookup, CancelResult, ChildProgress, Dependency, Draft, EarlierWork,
    ExecutionView, GateProposal, GateRequest, GateVerdict, HeldBack, MADE_ELSEWHERE, PULL_REQUEST,
    PlanLookup, ProviderResolution, RemoteWork, ResourceProgress, ReuseSource, SettledNodes, VoidApproval,
    after_attempt, after_poll, attempt_at_work, child_spec, dynamic_assignee, explain, fingerprint, finish,
    has_begun, hold, inputs, is_delivery, plan_changed, plan_execution, plan_named, poll_applies, provider,
    settings, spec_below, sum_groups, with_conflict,
};
pub(crate) use lease::{LeaseSightings, LeaseState, LeaseTerms, lease_state, next_lease};
pub(crate) use schedule::{Capacity, StartCandidate, schedule};
pub(crate) use share::SharedWork;
pub(crate) use work::{
    ChangedFile, PathRules, among, built_on, changed_nodes, new_work, protected, refusals, results_among,
    results_before, shown_branch, unapproved,
};
