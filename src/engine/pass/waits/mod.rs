//! What is waited for: the leases of other runners, and what this process planned and the index does not hold yet.

pub(super) mod lease;
pub(super) mod unsaved;
