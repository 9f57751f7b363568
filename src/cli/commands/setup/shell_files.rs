//! `planspec completions` and `planspec man`: what a package installs beside the program.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use crate::cli::error::{CliError, Exit};
use crate::cli::{Context, command};

/// Print the completion script for a shell
///
/// In bash, zsh and fish it completes the names of resources too. For bash: `planspec completions bash > ~/.local/share/bash-completion/completions/planspec`
#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

pub(crate) fn completions(arguments: &CompletionsArguments, context: &mut Context) -> Result<Exit, CliError> {
    let mut file = Vec::new();
    clap_complete::generate(arguments.shell, &mut command(), "planspec", &mut file);
    file.extend_from_slice(names_script(arguments.shell).as_bytes());
    // Past the stream that removes escape sequences: the script has to arrive as it is.
    context.out.raw(&file)?;
    Ok(Exit::Done)
}

/// What completes names of resources, after the generated script. By hand, because the dynamic completion of clap is still
/// unstable. With `--remote .`, so that pressing a key never waits for the network.
fn names_script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => {
            r#"
_planspec_names() {
    _planspec "$@"
    local word="${COMP_WORDS[COMP_CWORD]}"
    if [[ $COMP_CWORD -gt 1 && $word != -* ]]; then
        COMPREPLY+=($(compgen -W "$(planspec get all -o name --remote . 2>/dev/null)" -- "$word"))
    fi
}
complete -F _planspec_names -o bashdefault -o default planspec
"#
        }
        Shell::Zsh => {
            r#"
_planspec_names() {
    _planspec "$@"
    if (( CURRENT > 2 )) && [[ $words[CURRENT] != -* ]]; then
        compadd -- ${(f)"$(planspec get all -o name --remote . 2>/dev/null)"}
    fi
}
if [ "$funcstack[1]" != "_planspec" ]; then
    compdef _planspec_names planspec
fi
"#
        }
        Shell::Fish => {
            r#"
complete -c planspec -n "not __fish_use_subcommand" -f -a "(planspec get all -o name --remote . 2>/dev/null)"
"#
        }
        // The others complete commands and flags.
        _ => "",
    }
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
