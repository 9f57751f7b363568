//! Local processes: the command line that names one, the sandbox around it, its run from start to exit, and the pipe that
//! interrupts it; and the restart that takes credentials out of sight.

mod child;
mod closed_places;
mod command_line;
mod groups;
mod interrupt;
mod restart;
mod sandbox;
mod socket_filter;
mod visible_paths;

pub(super) use self::child::{OutputStream, ProcessEnd, ProcessInput, run};
pub(super) use self::closed_places::ClosedPlaces;
pub(super) use self::command_line::{CommandLine, EnvVars, StartError, is_machine_fault};
pub(super) use self::groups::kill_all;
pub use self::interrupt::Heed;
pub(super) use self::interrupt::{Interrupt, interrupt};
pub use self::restart::out_of_sight;
pub(super) use self::sandbox::{OwnPaths, Sandbox, SandboxCommand};
