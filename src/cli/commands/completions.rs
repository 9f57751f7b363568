//! `planspec completions`: completion files for shells.

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

pub(crate) fn run(arguments: &CompletionsArguments, context: &mut Context) -> Result<Exit, CliError> {
    let mut file = Vec::new();
    clap_complete::generate(arguments.shell, &mut command(), "planspec", &mut file);
    context.out.raw(&file)?;
    Ok(Exit::Done)
}
