//! The binary `planspec`: reads the environment once, takes credentials out of sight, runs the command line, and turns its
//! answer into the exit code of the process. Everything else is in the library.

use std::ffi::OsString;
use std::process::ExitCode;

use planspec::cli;
use planspec::config::Environment;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    // Before anything else is started, which would inherit them or could look for them.
    let environment = cli::out_of_sight(Environment::read(), std::env::current_exe(), &arguments);
    let run = || cli::main(arguments, environment);
    // The panic hook has already said what it is; only the exit code is left to set.
    let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    ExitCode::from(code.unwrap_or_else(|panic| cli::panic_exit_code(&*panic)))
}
