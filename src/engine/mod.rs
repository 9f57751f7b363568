//! The engine: drives Executions from the desired state and writes what happens to the status branch. The only place
//! where planning, providers, Git and the clock meet; what outputs see of it is `event`.

mod attempt;
mod branches;
mod claimed;
mod clock;
mod commit;
mod decide;
mod desired_branch;
mod desired_trust;
mod error;
mod execution;
mod gc;
mod inputs;
mod lost_records;
mod merged;
mod message;
mod pass;
mod publication;
mod remote_work;
mod signed;
#[cfg(test)]
mod simulation;
mod snapshot;
mod status_history;
mod status_log;
mod witness;

pub(crate) use attempt::base::{NodeBase, ResultConflict};
pub(crate) use attempt::collect::ResultTerms;
pub(crate) use attempt::files::beneath::is_plain;
pub(crate) use attempt::files::sources::{ArtifactSources, StoredFileError, references};
pub(crate) use attempt::files::upstream::folder_of;
pub(crate) use attempt::owners::code_owners;
pub(crate) use attempt::workspace::{WorkPlace, Workspaces};
pub use branches::{BranchTips, Branches};
pub(crate) use claimed::{ClaimedAttempt, ClaimedInputs, WorkFolders, claimed_attempt};
pub use clock::{Clock, SystemClock};
pub use decide::{Decider, Decision, HostDecision, RecordedDecision, decide};
pub use desired_branch::{BranchChoice, redirect, starting_branch};
pub use error::{BranchError, EngineError};
pub(crate) use execution::waiting::RECORD_REFUSED;
pub use gc::{GcReport, collect};
pub use inputs::{EventSink, ReconcileInputs, ReconcileOptions, ReconcileSummary};
pub use pass::driver::reconcile;
pub(crate) use remote_work::poll_times::forget_poll_times;
pub use signed::{SignedBy, VerifiedCommit};
pub(crate) use snapshot::approved_target::{approvable, effective_settings};
pub(crate) use snapshot::child::{MergeResults, not_brought};
pub(crate) use snapshot::gates::people_of;
pub use status_log::status_ref;
pub(crate) use status_log::{StatusLog, newest_of};
