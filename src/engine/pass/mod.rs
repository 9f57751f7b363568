//! The loop: takes in what changed, plans it, publishes it, and starts what was claimed.

mod ahead;
mod assemble;
mod choose;
pub(crate) mod driver;
mod history;
mod idle;
mod intake;
mod lease_waits;
mod publish;
mod remote_polls;
mod shutdown;
mod tips;
mod unsaved_waits;
mod work_queue;
