//! The state of a run: transitions of nodes and executions, the fold of changes into a status, phases.
//! Pure: no I/O, no clock; what should happen next is `plan`'s business.

mod change;
pub mod expression;
mod fold;
pub mod gate;
pub mod parameter;
mod phase;
mod program;
mod reads;
mod transition;

pub use change::{Change, Evidence, ExecutionChange, NodeChange};
pub use fold::{IllegalChange, apply};
pub use phase::{allows_failure, derive_phase, group_phase};
pub use program::{Program, ProgramError, Sources};
pub use reads::reads;
pub use transition::{IllegalTransition, next_phase};
