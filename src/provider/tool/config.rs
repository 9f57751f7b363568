//! The settings of a local command.

use std::time::Duration;

use crate::model::JsonMap;
use crate::provider::ConfigError;
use crate::provider::check::{Settings, has_expression};
use crate::provider::command_line::CommandLine;
use crate::provider::relative_path::is_inside;

const KEYS: [&str; 7] = ["command", "args", "env", "shell", "workingDirectory", "grace", "checkout"];

const GRACE: Duration = Duration::from_secs(5);

/// The settings of a local command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ToolConfig {
    /// The program, or the shell line.
    pub(super) command: String,
    /// Arguments; positional parameters of a shell line.
    pub(super) args: Vec<String>,
    /// Environment variables.
    pub(super) env: Vec<(String, String)>,
    /// Whether `command` is a shell line.
    pub(super) shell: bool,
    /// Where in the checkout the command runs.
    pub(super) working_directory: Option<String>,
    /// From TERM to KILL.
    pub(super) grace: Duration,
    /// Whether the command runs in a checkout; else in an empty folder.
    pub(super) checkout: bool,
}

impl ToolConfig {
    /// Reads the settings of an attempt, in which every expression has been replaced.
    pub(super) fn read(provider: &str, config: &JsonMap) -> Result<Self, ConfigError> {
        let settings = Settings::new(config, &KEYS)?;
        let command = settings.text("command")?.ok_or_else(|| ConfigError::Missing {
            provider: provider.to_owned(),
            key: "command",
            why: "the program to run, or a shell line",
        })?;
        let args = settings.texts("args")?;
        let read = Self {
            shell: settings.flag("shell")?.unwrap_or_else(|| CommandLine::guess(&command, &args).shell),
            command,
            args,
            env: settings.pairs("env")?,
            working_directory: settings.text("workingDirectory")?,
            grace: settings.duration("grace")?.unwrap_or(GRACE),
            checkout: settings.flag("checkout")?.unwrap_or(true),
        };
        read.validate()?;
        Ok(read)
    }

    /// Checks settings in which expressions may stand for values that are not known yet.
    pub(super) fn check(provider: &str, config: &JsonMap) -> Result<(), ConfigError> {
        Settings::new(config, &KEYS)?;
        let mut known = config.clone();
        known.retain(|key, value| key == "command" || !has_expression(value));
        Self::read(provider, &known).map(|_| ())
    }

    /// The command to run.
    pub(super) fn command_line(&self) -> CommandLine<'_> {
        CommandLine { command: &self.command, args: &self.args, shell: self.shell }
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let invalid =
            |key: &str, why: &str| ConfigError::Invalid { key: key.to_owned(), why: why.to_owned() };
        if self.command.trim().is_empty() {
            return Err(invalid("command", "must not be empty"));
        }
        if self.command.contains('\0') {
            return Err(invalid("command", "must not hold a NUL character"));
        }
        if self.args.iter().any(|arg| arg.contains('\0')) {
            return Err(invalid("args", "must not hold a NUL character"));
        }
        for (name, value) in &self.env {
            let key = format!("env.{name}");
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(invalid(&key, "is not an environment variable"));
            }
            if name.starts_with("PLANSPEC_") {
                return Err(invalid(&key, "is reserved: planspec sets the variables named PLANSPEC_…"));
            }
        }
        if self.working_directory.as_deref().is_some_and(|path| !is_inside(path)) {
            return Err(invalid("workingDirectory", "must be a relative path without `..`"));
        }
        Ok(())
    }
}
