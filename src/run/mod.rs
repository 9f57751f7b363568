//! The state of a run: transitions of nodes and executions, the fold of changes into a status, phases.
//! Pure: no I/O, no clock; what should happen next is `plan`'s business.

mod attempt;
mod change;
mod compiled;
pub(crate) mod cron;
mod decided;
pub(crate) mod expression;
mod fold;
pub(crate) mod gate;
pub(crate) mod json;
pub(crate) mod parameter;
mod phase;
mod reads;
mod reused;
pub(crate) mod shell_line;
mod transition;
mod unfinished;

pub(crate) use attempt::{AttemptName, DISK_FULL, cause_first};
pub use attempt::{AttemptOutcome, AttemptReport, Evidence, RunnerFault, Stop, UnfinishedChanges};
pub(crate) use change::{Change, ExecutionChange, NodeChange};
pub(crate) use compiled::{CompileError, CompiledPlan, PlanSources, expanded};
pub(crate) use decided::beyond_decisions;
pub(crate) use fold::apply;
pub(crate) use phase::{derive_phase, group_phase, joined_phase};
pub(crate) use reads::reads;
pub(crate) use transition::{IllegalTransition, next_phase};
