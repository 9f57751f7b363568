//! What commands show: declarations joined with records, found by what the user named, as they are now and over time.

pub(crate) mod execution_files;
pub(crate) mod execution_progress;
pub(crate) mod filter;
pub(crate) mod inventory;
pub(crate) mod local_changes;
pub(crate) mod log_window;
pub(crate) mod pinned_plan;
pub(crate) mod polling;
pub(crate) mod print;
pub(crate) mod resolve;
pub(crate) mod selector;
pub(crate) mod signatures;
pub(crate) mod timeline;
pub(crate) mod work;
