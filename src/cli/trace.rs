//! The log of what happens inside, on standard error: for `-v`, `-vv` and `PLANSPEC_LOG`.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::uptime;

use crate::cli::error::CliError;
use crate::cli::options::GlobalOptions;
use crate::config::Environment;

/// Starts the log where it is wanted. `PLANSPEC_LOG` takes directives such as `planspec::git=debug`.
pub(crate) fn start(options: &GlobalOptions, environment: &Environment) -> Result<(), CliError> {
    let directives = match (environment.override_for("LOG"), options.verbose) {
        (Some(directives), _) => directives,
        (None, 0) => return Ok(()),
        (None, 1) => "planspec=info",
        (None, 2) => "planspec=debug",
        (None, _) => "planspec=trace",
    };
    let filter = EnvFilter::try_new(directives)
        .map_err(|error| CliError::usage(format!("invalid PLANSPEC_LOG: {error}")))?;
    // Seconds since the start: a log is read for how long steps took, and tests compare it without the date. The module
    // is for maintainers, so `-v` leaves it out.
    let log = tracing_subscriber::fmt()
        .compact()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_timer(uptime())
        .with_target(options.verbose != 1);
    // The log lives as long as the process; a second start in one process leaves the first as it is.
    let _ = log.try_init();
    Ok(())
}
