//! `planspec completions` and `planspec man`: what a package installs beside the program.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use crate::cli::error::{CliError, Exit};
use crate::cli::{Context, command};

/// Print the completion file of a shell
///
/// For bash: `planspec completions bash > ~/.local/share/bash-completion/completions/planspec`
#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

pub(crate) fn completions(arguments: &CompletionsArguments, context: &mut Context) -> Result<Exit, CliError> {
    let mut file = Vec::new();
    clap_complete::generate(arguments.shell, &mut command(), "planspec", &mut file);
    // Past the stream that removes escape sequences: the script has to arrive as it is.
    context.out.raw(&file)?;
    Ok(Exit::Done)
}

/// Print the manual page, or write the pages of all commands into a directory
///
/// Read it with: `planspec man | man -l -`
#[derive(Debug, Args)]
pub(crate) struct ManArguments {
    /// Write one page per command into this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn man(arguments: &ManArguments, context: &mut Context) -> Result<Exit, CliError> {
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
