//! Local processes: the command line that names one, the sandbox around it, its run from start to exit, and the pipe that
//! interrupts it.

mod child;
mod command_line;
mod interrupt;
mod sandbox;

pub(super) use self::child::{OutputStream, ProcessEnd, ProcessInput, kill_all, run};
pub(super) use self::command_line::{CommandLine, EnvVars, StartError, is_machine_fault};
pub(super) use self::interrupt::{Interrupt, interrupt};
pub(super) use self::sandbox::{Sandbox, SandboxCommand};
