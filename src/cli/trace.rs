//! The trace of what happens inside, on standard error: for `-vv` and `PLANSPEC_LOG`.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::cli::error::CliError;
use crate::cli::options::GlobalOptions;
use crate::config::Environment;

/// Starts the trace where it is wanted. `PLANSPEC_LOG` takes directives such as `planspec::git=debug`.
pub(crate) fn start(options: &GlobalOptions, environment: &Environment) -> Result<(), CliError> {
    let directives = match (environment.override_for("LOG"), options.verbose) {
        (Some(directives), _) => directives,
        (None, 0 | 1) => return Ok(()),
        (None, 2) => "planspec=debug",
        (None, _) => "planspec=trace",
    };
    let filter = EnvFilter::try_new(directives)
        .map_err(|error| CliError::usage(format!("PLANSPEC_LOG cannot be read: {error}")))?;
    // A second start in one process changes nothing, which is as good.
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false).try_init();
    Ok(())
}
