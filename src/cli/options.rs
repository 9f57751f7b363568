//! The flags that every command takes, how the environment fills those that are not given, and the log that some of them
//! ask for.

use std::io;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::uptime;

use crate::cli::error::CliError;
use crate::cli::output_format::{OutputChoice, OutputFormat, OutputParser};
use crate::config::Environment;
use crate::model::Name;

const HEADING: &str = "Global options";

/// The flags that every command takes.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct GlobalOptions {
    /// Run as if planspec had been started in DIR
    #[arg(short = 'C', long = "directory", value_name = "DIR", global = true, help_heading = HEADING)]
    pub(crate) directory: Option<PathBuf>,
    /// The repository to use; a URL is cloned into the cache
    #[arg(long, value_name = "PATH|URL", global = true, help_heading = HEADING)]
    pub(crate) repo: Option<String>,
    /// Read this branch or commit instead of the desired branch, for one command
    #[arg(long = "ref", value_name = "REV", global = true, help_heading = HEADING)]
    pub(crate) reference: Option<String>,
    /// The default branch as the Git host names it in an event.
    #[arg(skip)]
    pub(crate) host_default: Option<String>,
    /// The remote whose branches to use; `.` for this repository's own branches
    #[arg(long, value_name = "NAME|URL", global = true, help_heading = HEADING)]
    pub(crate) remote: Option<String>,
    /// Use only this namespace
    #[arg(short, long, value_name = "NAMESPACE", global = true, help_heading = HEADING)]
    pub(crate) namespace: Option<Name>,
    /// Use all namespaces, even if PLANSPEC_NAMESPACE is set
    #[arg(short = 'A', long, global = true, conflicts_with = "namespace", help_heading = HEADING)]
    pub(crate) all_namespaces: bool,
    /// Output format
    #[arg(short, long, value_parser = OutputParser, value_name = "FORMAT", global = true, help_heading = HEADING)]
    pub(crate) output: Option<OutputChoice>,
    /// When to use colours
    #[arg(long, value_enum, value_name = "WHEN", global = true, help_heading = HEADING)]
    pub(crate) color: Option<ColorWhen>,
    /// Log waits and their reasons to standard error; -vv logs every step
    #[arg(short, long, action = clap::ArgAction::Count, global = true, help_heading = HEADING)]
    pub(crate) verbose: u8,
    /// Print only errors and results
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = HEADING)]
    pub(crate) quiet: bool,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorWhen {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl GlobalOptions {
    /// Fills what was not given from `PLANSPEC_REPO`, `_REF`, `_REMOTE`, `_NAMESPACE`, `_OUTPUT` and `_COLOR`.
    pub(crate) fn fill_from(mut self, environment: &Environment) -> Result<Self, CliError> {
        let text = |name: &str| environment.override_for(name).map(str::to_owned);
        // A flag wins over its variable, as with git and kubectl.
        self.repo = self.repo.or_else(|| text("REPO"));
        self.reference = self.reference.or_else(|| text("REF"));
        self.remote = self.remote.or_else(|| text("REMOTE"));
        if self.namespace.is_none()
            && !self.all_namespaces
            && let Some(name) = environment.override_for("NAMESPACE")
        {
            let parsed = name.parse();
            self.namespace =
                Some(parsed.map_err(|error| CliError::usage(format!("PLANSPEC_NAMESPACE {error}")))?);
        }
        let output = environment.override_for("OUTPUT").filter(|_| !environment.is_inside_task());
        if let (None, Some(text)) = (&self.output, output) {
            let read = text.parse().map_err(|error| CliError::usage(format!("PLANSPEC_OUTPUT: {error}")));
            self.output = Some(read?);
        }
        self.color = fill(self.color, environment, "COLOR")?;
        Ok(self)
    }

    /// Output format for a command that has no diagnostics to print, and no objects to choose fields of.
    pub(crate) fn format(&self) -> Result<OutputFormat, CliError> {
        match &self.output {
            // The flag is global, so that the parser cannot refuse these for a single command.
            Some(OutputChoice::Plain(OutputFormat::Sarif | OutputFormat::Github)) => {
                Err(CliError::usage("`-o sarif` and `-o github` are for `planspec validate`"))
            }
            Some(OutputChoice::Plain(format)) => Ok(*format),
            Some(OutputChoice::Template(_) | OutputChoice::Columns(_)) => Err(CliError::usage(
                "`-o jsonpath` and `-o custom-columns` are for `planspec get` and `planspec watch`",
            )
            .hint("`-o json` works everywhere; a program such as `jq` chooses from it")),
            None => Ok(OutputFormat::default()),
        }
    }

    /// The plain format, for what is printed in any case.
    pub(crate) fn plain_format(&self) -> OutputFormat {
        match self.output {
            Some(OutputChoice::Plain(format)) => format,
            _ => OutputFormat::default(),
        }
    }

    /// Whether errors are printed as JSON.
    pub(crate) fn errors_as_json(&self) -> bool {
        self.output == Some(OutputChoice::Plain(OutputFormat::Json))
    }
}

fn fill<T: ValueEnum>(
    given: Option<T>,
    environment: &Environment,
    name: &str,
) -> Result<Option<T>, CliError> {
    // The parser checks flags only; a variable gets the same check here, with an error that names it.
    match (given, environment.override_for(name)) {
        (None, Some(text)) => match T::from_str(text, true) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(CliError::usage(format!("invalid value `{text}` for PLANSPEC_{name}"))),
        },
        (given, _) => Ok(given),
    }
}

/// Starts the log of what happens inside, on standard error, where `-v`, `-vv` or `PLANSPEC_LOG` asks for it. `PLANSPEC_LOG` takes directives such as `planspec::git=debug`.
pub(crate) fn start_log(options: &GlobalOptions, environment: &Environment) -> Result<(), CliError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_goes_before_the_environment() {
        let environment = Environment::from_pairs([("PLANSPEC_REF", "main"), ("PLANSPEC_NAMESPACE", "team")]);
        let given = GlobalOptions { reference: Some("topic".to_owned()), ..GlobalOptions::default() };
        let options = given.fill_from(&environment).unwrap();
        assert_eq!(options.reference.as_deref(), Some("topic"));
        assert_eq!(options.namespace.unwrap().as_str(), "team");
    }

    #[test]
    fn all_namespaces_goes_before_the_environment() {
        let environment = Environment::from_pairs([("PLANSPEC_NAMESPACE", "team")]);
        let given = GlobalOptions { all_namespaces: true, ..GlobalOptions::default() };
        assert_eq!(given.fill_from(&environment).unwrap().namespace, None);
    }

    #[test]
    fn a_wrong_value_in_the_environment_is_a_usage_error() {
        let environment = Environment::from_pairs([("PLANSPEC_OUTPUT", "xml")]);
        assert_eq!(GlobalOptions::default().fill_from(&environment).unwrap_err().exit().code(), 2);
    }
}
