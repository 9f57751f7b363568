//! The binary `planspec`: reads the environment once, runs the command line, and turns its answer into the
//! exit code of the process. Everything else is in the library.

use std::process::ExitCode;

use planspec::cli;
use planspec::config::Environment;

fn main() -> ExitCode {
    let environment = Environment::read();
    let run = || cli::main(std::env::args_os(), environment);
    // The panic hook has already said so; only the exit code is left to set.
    let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    ExitCode::from(code.unwrap_or_else(|_| cli::bug_exit_code()))
}
