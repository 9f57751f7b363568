//! Gate decisions: who may review, whose reviews count, and their combined result (Invariant 11).
//! Returns data; who writes it where is not decided here.

mod decision;
mod people;
mod subject;
mod void;

pub(crate) use decision::{GateDecision, GateEvaluation, ReviewRequirements, decide, eligible, void_message};
pub(crate) use people::{KnownPerson, People};
pub(crate) use subject::{approved_target, review_digest, review_subject};
