//! What is waited for: a place in the window, the leases of other runners, and what this process planned and the index does not
//! hold yet.

pub(super) mod lease;
pub(super) mod places;
pub(super) mod unsaved;
