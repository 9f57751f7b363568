//! Commands that show what is declared and recorded, and change nothing.

pub(crate) mod artifacts;
pub(crate) mod checkout;
pub(crate) mod describe;
pub(crate) mod explain;
mod explain_binding;
pub(crate) mod get;
pub(crate) mod graph;
pub(crate) mod history;
pub(crate) mod logs;
pub(crate) mod status;
pub(crate) mod verify;
pub(crate) mod wait;
pub(crate) mod watch;

mod online;
