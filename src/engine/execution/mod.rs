//! One Execution that this runner drives: its state between passes, and how its next step is prepared.

pub(crate) mod active;
pub(crate) mod conflict;
pub(crate) mod manifest_change;
pub(crate) mod pinned;
pub(crate) mod prepare;
pub(crate) mod quota;
pub(crate) mod reuse;
pub(crate) mod step;
pub(crate) mod waiting;
