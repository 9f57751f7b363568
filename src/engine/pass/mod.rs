//! The loop: takes in what changed, plans it, publishes it, and starts what was claimed.

mod ahead;
mod assemble;
mod choose;
pub(crate) mod driver;
mod foresee;
mod history;
mod idle;
mod intake;
mod publish;
mod remote_polls;
mod shutdown;
mod tips;
mod waits;
mod work_queue;
