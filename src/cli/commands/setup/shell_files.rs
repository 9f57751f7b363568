//! `planspec completions` and `planspec man`: what a package installs beside the program.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

use crate::cli::commands::setup::candidates;
use crate::cli::error::{CliError, Exit};
use crate::cli::{Context, command};

/// Print the completion script for a shell
///
/// In bash, zsh and fish it also completes names: resources, nodes of an execution, namespaces and parameters. For bash:
/// `planspec completions bash > ~/.local/share/bash-completion/completions/planspec`; for zsh: `planspec completions zsh > DIR/_planspec`, where `fpath` has DIR
#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

pub(crate) fn completions(arguments: &CompletionsArguments, context: &mut Context) -> Result<Exit, CliError> {
    let mut file = Vec::new();
    clap_complete::generate(arguments.shell, &mut command(), "planspec", &mut file);
    let generated = String::from_utf8_lossy(&file);
    let script = match arguments.shell {
        Shell::Bash => format!("{generated}{BASH_NAMES}"),
        Shell::Zsh => with_zsh_names(&generated),
        Shell::Fish => format!("{generated}{}", fish_names()),
        // The others complete commands and flags.
        _ => generated.into_owned(),
    };
    // Past the stream that removes escape sequences: the script has to arrive as it is.
    context.out.raw(script.as_bytes())?;
    Ok(Exit::Done)
}

/// Names, after the generated script. By hand, because the dynamic completion of clap is still unstable. bash counts `=` as
/// the end of a word, and a name that goes on (`EXECUTION/`, `PARAMETER=`) gets no space.
const BASH_NAMES: &str = r#"
_planspec_names() {
    COMPREPLY=()
    local word="${COMP_WORDS[COMP_CWORD]}"
    if [[ $COMP_CWORD -gt 1 ]]; then
        mapfile -t COMPREPLY < <(planspec candidates -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    fi
    if [[ ${#COMPREPLY[@]} -eq 0 ]]; then
        _planspec "$@"
    elif [[ ${COMPREPLY[0]} == *[/=] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -F _planspec_names -o bashdefault -o default planspec
"#;

/// The same for zsh. The file is loaded in two ways: by `source`, and from a directory of `fpath`, where the whole file is the body
/// of `_planspec` at first. For both, `_planspec` itself has to know the names, so the generated function gets another name.
fn with_zsh_names(generated: &str) -> String {
    let renamed = generated.replacen("\n_planspec() {", "\n_planspec_flags() {", 1);
    match renamed.rfind("\nif [ \"$funcstack[1]\"") {
        Some(end) => {
            let (functions, start) = renamed.split_at(end);
            format!("{functions}{ZSH_NAMES}{start}")
        }
        None => renamed,
    }
}

const ZSH_NAMES: &str = r#"
_planspec() {
    local -a names
    if (( CURRENT > 2 )); then
        names=(${(f)"$(planspec candidates -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)"})
    fi
    if (( ! $#names )); then
        _planspec_flags "$@"
    elif [[ $names[1] == *[/=] ]]; then
        compadd -S '' -- $names
    else
        compadd -- $names
    fi
}
"#;

/// The same for fish, which asks for the values of each option apart.
fn fish_names() -> String {
    let mut script = FISH_NAMES.replace("COMMANDS", &candidates::commands().collect::<Vec<_>>().join(" "));
    let definition = command();
    for (name, option) in candidates::options() {
        let at = definition.find_subcommand(name).unwrap_or(&definition);
        let short = at.get_arguments().find(|argument| argument.get_long() == Some(option));
        let short = short.and_then(clap::Arg::get_short).map(|short| format!(" -s {short}"));
        let place =
            if name.is_empty() { String::new() } else { format!(" -n '__fish_seen_subcommand_from {name}'") };
        let short = short.unwrap_or_default();
        script.push_str(&format!(
            "complete -c planspec{place}{short} -l {option} -x -a '(__planspec_candidates)'\n"
        ));
    }
    script
}

const FISH_NAMES: &str = r#"
function __planspec_candidates
    set -l before (commandline -opc)
    set -l word (commandline -ct)
    planspec candidates -- $before[2..-1] "$word" 2>/dev/null
end
complete -c planspec -n '__fish_seen_subcommand_from COMMANDS' -f -a '(__planspec_candidates)'
"#;

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
