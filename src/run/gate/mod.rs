//! Gate decisions: who may review, whose reviews count, and their combined result (Invariant 11).
//! Returns data; who writes it where is not decided here.

mod code_owners;
mod decision;
mod owners;
mod people;
mod subject;
mod void;

pub(crate) use code_owners::{
    CODE_OWNERS_BYTES, CodeOwnersPlace, code_owners_text, file_owners, owning_team, owning_teams, owns_any,
};
pub(crate) use decision::{GateDecision, GateEvaluation, ReviewRequirements, decide, void_message};
pub(crate) use owners::{eligible, is_named, named_teams, teams_asked};
pub(crate) use people::{KnownPerson, People};
pub(crate) use subject::{approved_target, review_digest, review_subject};
