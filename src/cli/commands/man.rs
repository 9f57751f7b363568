//! `planspec man`: the manual pages.

use std::path::PathBuf;

use clap::Args;

use crate::cli::error::{CliError, Exit};
use crate::cli::{Context, command};

/// Print the manual page, or write the pages of all commands into a directory
///
/// Read it with: `planspec man | man -l -`
#[derive(Debug, Args)]
pub(crate) struct ManArguments {
    /// Write one page per command into this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(arguments: &ManArguments, context: &mut Context) -> Result<Exit, CliError> {
    match &arguments.dir {
        Some(dir) => clap_mangen::generate_to(command(), dir)
            .map_err(|error| CliError::caused(&format!("cannot write to {}", dir.display()), &error))?,
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command()).render(&mut page)?;
            context.out.raw(&page)?;
        }
    }
    Ok(Exit::Done)
}
