//! Gate decisions: who may review, whose reviews count, and what they come to (design invariant 11).
//! Returns data; who writes it where is not decided here.

mod decision;
mod people;

pub use decision::{Asked, Decided, GateDecision, VoidReason, Voided, decide, eligible, void_message};
pub use people::{People, Refusal};
