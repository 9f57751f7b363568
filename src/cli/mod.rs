//! The command line: arguments, one small file per command, and the only exit point. The only module that talks
//! to the user.

mod ci;
mod commands;
mod decisions;
mod desired;
mod drive;
mod error;
mod findings;
#[doc(hidden)]
pub mod foreign;
mod git_host;
mod habits;
mod options;
mod output;
mod output_format;
mod question;
mod repo_context;
mod signals;
mod view;

use std::any::Any;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{CommandFactory as _, Parser};
use jiff::Timestamp;

use self::commands::CliCommand;
use self::error::{CliError, Exit};
use self::options::{ColorWhen, GlobalOptions, start_log};
use self::output::Output;
use crate::config::Environment;
use crate::engine::{Clock as _, SystemClock};
use crate::{git, provider};

/// Drive work from Git: goals, plans and executions as YAML, status as commits.
#[derive(Debug, Parser)]
#[command(name = "planspec", version, propagate_version = true, max_term_width = 100)]
#[command(after_long_help = "\
Kinds are goal, plan, capability, binding, gate, execution and schedule; `goals`, `Goal`,
`goal/NAME` and the short names go, pl, cap, bi, ga, ex and sched are accepted too.

Exit codes: 0 success or yes; 1 a clear no; 2 usage error; 3 the environment (Git, network, permission);
4 lost a race after all retries; 70 a bug in planspec; 130 interrupted (143 by
SIGTERM, 129 by SIGHUP).

Environment: PLANSPEC_REPO, PLANSPEC_REF, PLANSPEC_REMOTE, PLANSPEC_NAMESPACE, PLANSPEC_OUTPUT and
PLANSPEC_COLOR set defaults for the global options of the same names; PLANSPEC_SIGNING_KEY is the SSH key (text or file) that a runner signs
status commits with; NO_COLOR, TERM, COLUMNS, VISUAL, EDITOR and the GIT_* variables have their usual meaning.")]
struct Cli {
    #[command(flatten)]
    options: GlobalOptions,
    #[command(subcommand)]
    command: CliCommand,
}

/// Everything that a command gets besides its own arguments.
pub(crate) struct Context {
    /// The flags that every command takes.
    pub(crate) options: GlobalOptions,
    /// The environment of the process.
    pub(crate) environment: Environment,
    /// Standard output and standard error.
    pub(crate) out: Output,
}

/// The definition of the whole command line, for completions, the manual and the generated reference.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Takes the credentials of the environment out of what the system shows of this process; on Linux it starts the program again
/// for that, and does not return.
#[must_use]
pub fn out_of_sight(
    environment: Environment,
    program: io::Result<PathBuf>,
    arguments: &[OsString],
) -> Environment {
    let environment = provider::out_of_sight(environment, program, arguments);
    if environment.is_cleared() {
        git::pass_on(environment.credentials());
    }
    environment
}

/// Runs the program and returns the exit code of the process.
pub fn main(arguments: impl IntoIterator<Item = OsString>, environment: Environment) -> u8 {
    report_panics();
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        // clap prints help and version on standard output, and mistakes on standard error.
        Err(answer) => {
            let answer = habits::explain(answer, &arguments);
            let printed = answer.print();
            return match (answer.use_stderr(), printed) {
                (true, _) => Exit::Usage.code(),
                (false, _) => Exit::Done.code(),
            };
        }
    };
    // Of the flags alone: where a variable is wrong, its own error is printed with this.
    let colour = cli.options.color.unwrap_or_default();
    let as_json = cli.options.errors_as_json();
    match cli.options.fill_from(&environment) {
        Ok(options) => run(&cli.command, options, environment),
        Err(error) => {
            Output::new(colour, false, &environment).error(&error.render(as_json));
            error.exit().code()
        }
    }
}

fn run(command: &CliCommand, options: GlobalOptions, environment: Environment) -> u8 {
    let colour: ColorWhen = options.color.unwrap_or_default();
    let out = Output::new(colour, options.quiet, &environment);
    let as_json = options.errors_as_json();
    let mut context = Context { options, environment, out };
    signals::heed();
    let started = start_log(&context.options, &context.environment);
    let result = started
        .and_then(|()| commands::run(command, &mut context))
        // An answer that did not reach its reader is no success, so flushing is a part of the command.
        .and_then(|exit| context.out.flush().map(|()| exit));
    match result {
        Ok(exit) => exit.code(),
        Err(error) => {
            context.out.error(&error.render(as_json));
            error.exit().code()
        }
    }
}

/// Runs another command of planspec, as if its words had been typed, with the global options as they are.
pub(crate) fn run_line(words: &[&str], context: &mut Context) -> Result<Exit, CliError> {
    let line = std::iter::once("planspec").chain(words.iter().copied());
    // Only lines that the program itself wrote come here.
    let cli = Cli::try_parse_from(line).map_err(|error| CliError::bug(error.to_string()))?;
    commands::run(&cli.command, context)
}

/// A panic gets a short message in place of a back trace. The process then ends with its exit code, which `main.rs` sees to.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|at| format!(" at {}:{}", at.file(), at.line())).unwrap_or_default();
        let error = CliError::of_panic(panic.payload(), &place);
        // In no colour: whether there may be any is not known here.
        let text = anstream::adapter::strip_str(&error.render(false)).to_string();
        // Not `eprint!`, which panics where standard error is closed: a panic within this hook aborts the
        // process.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }));
}

/// The exit code of a panic, for the one place that outlives it.
#[must_use]
pub fn panic_exit_code(payload: &(dyn Any + Send)) -> u8 {
    CliError::of_panic(payload, "").exit().code()
}

impl Context {
    /// The time, for ages and for commits.
    pub(crate) fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    /// Whether the user wants to see more.
    pub(crate) fn is_verbose(&self) -> bool {
        self.options.verbose > 0
    }
}

#[cfg(test)]
mod printed_commands;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_defined() {
        command().debug_assert();
    }
}
