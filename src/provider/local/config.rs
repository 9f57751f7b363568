//! The settings of a local command.

use std::time::Duration;

use super::changes::{ChangeSettings, check_globs};
use super::verify_settings::VerifySettings;
use super::workspace_settings::read_form;
use crate::config::{SandboxConfig, SandboxPolicy};
use crate::model::JsonMap;
use crate::provider::process::{CommandLine, Sandbox};
use crate::provider::settings::{Settings, has_expression, is_inside};
use crate::provider::{ConfigError, WorkspaceForm};
use crate::run::shell_line::{HOW_TO_PASS_A_VALUE, has_expression_in_shell_line};

const KEYS: [&str; 15] = [
    "command",
    "args",
    "env",
    "shell",
    "workingDirectory",
    "grace",
    "checkout",
    "sandbox",
    "changes",
    "paths",
    "protect",
    "needs",
    "onConflict",
    "verify",
    "workspace",
];

const GRACE: Duration = Duration::from_secs(5);

/// The settings of a local command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::provider) struct ToolConfig {
    /// The program, or the shell line.
    pub(super) command: String,
    /// Arguments; positional parameters of a shell line.
    pub(super) args: Vec<String>,
    /// Environment variables.
    pub(in crate::provider) env: Vec<(String, String)>,
    /// Whether `command` is a shell line.
    pub(super) shell: bool,
    /// Where in the checkout the command runs.
    pub(super) working_directory: Option<String>,
    /// From TERM to KILL.
    pub(in crate::provider) grace: Duration,
    /// Whether the command runs in a checkout; else in an empty folder.
    pub(in crate::provider) checkout: bool,
    /// What the command is kept from; nothing when absent. The configuration has the last word.
    sandbox: Option<Sandbox>,
    /// Whether the settings say that there is to be no sandbox.
    unsandboxed: bool,
    /// What becomes of the files that the command changes.
    pub(super) changes: ChangeSettings,
    /// Globs of `NODE/NAME`: the artifacts of nodes before it without which the command does not begin.
    pub(super) needs: Vec<String>,
    /// What the checkout is like.
    pub(super) workspace: WorkspaceForm,
    /// Who verifies what the command changed.
    pub(super) verify: Option<VerifySettings>,
}

impl ToolConfig {
    /// The settings of a program that a name of its own stands for.
    pub(in crate::provider) fn of_program(command: String) -> Self {
        Self {
            command,
            args: Vec::new(),
            env: Vec::new(),
            shell: false,
            working_directory: None,
            grace: GRACE,
            checkout: true,
            sandbox: None,
            unsandboxed: false,
            changes: ChangeSettings::default(),
            needs: Vec::new(),
            verify: None,
            workspace: WorkspaceForm::default(),
        }
    }

    /// What the command is kept from, by the word of the configuration, else by its own.
    pub(super) fn sandbox(&self, word: Option<&SandboxConfig>) -> Option<Sandbox> {
        let own = self.sandbox.clone();
        match word.map(|word| word.mode) {
            None => own,
            Some(SandboxPolicy::Off) => None,
            Some(SandboxPolicy::Default) if self.unsandboxed => None,
            // With what the settings let through: the network, or a folder, may be part of the work.
            Some(SandboxPolicy::Default | SandboxPolicy::Required) => Some(own.unwrap_or_default()),
        }
    }

    /// Reads the settings of an attempt, in which every expression has been replaced.
    pub(in crate::provider) fn read(provider: &str, config: &JsonMap) -> Result<Self, ConfigError> {
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
            sandbox: settings.value("sandbox").map(Sandbox::read).transpose()?.flatten(),
            unsandboxed: settings.value("sandbox").is_some_and(|value| *value == false),
            changes: ChangeSettings::read(provider, &settings)?,
            needs: settings.texts("needs")?,
            verify: VerifySettings::read(&settings)?,
            workspace: read_form(&settings)?,
        };
        read.validate()?;
        Ok(read)
    }

    /// Checks settings in which expressions may stand for values that are not known yet. Who verifies is left to those who know
    /// what a provider is.
    pub(in crate::provider) fn check(
        provider: &str,
        config: &JsonMap,
        word: Option<&SandboxConfig>,
    ) -> Result<Option<VerifySettings>, ConfigError> {
        Settings::new(config, &KEYS)?;
        if has_expression_in_shell_line(config) {
            return Err(ConfigError::Invalid {
                key: "command".to_owned(),
                why: format!("is a shell line, and cannot hold an expression; {HOW_TO_PASS_A_VALUE}"),
            });
        }
        let mut known = config.clone();
        // A command that holds an expression is still a command, so it is not missing.
        known.retain(|key, value| key == "command" || !has_expression(value));
        let read = Self::read(provider, &known)?;
        if let (Some(word), Some(sandbox)) = (word, &read.sandbox) {
            sandbox.check_required(provider, word)?;
        }
        Ok(read.verify)
    }

    /// Whether changes to files become a commit.
    pub(in crate::provider) fn keeps_changes(&self) -> bool {
        self.changes.keeps()
    }

    /// The command to run.
    pub(in crate::provider) fn command_line(&self) -> CommandLine<'_> {
        CommandLine { command: &self.command, args: &self.args, shell: self.shell }
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let invalid =
            |key: &str, why: &str| ConfigError::Invalid { key: key.to_owned(), why: why.to_owned() };
        if self.command.trim().is_empty() {
            return Err(invalid("command", "must not be empty"));
        }
        if self.verify.is_some() && !self.keeps_changes() {
            return Err(invalid("verify", "needs `changes: commit`: what is not kept is not verified"));
        }
        // Starting the process would fail, too, but only in an attempt; here `validate` says it.
        if self.command.contains('\0') {
            return Err(invalid("command", "must not contain a NUL character"));
        }
        if self.args.iter().any(|arg| arg.contains('\0')) {
            return Err(invalid("args", "must not contain a NUL character"));
        }
        for (name, value) in &self.env {
            let key = format!("env.{name}");
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(invalid(&key, "is not an environment variable"));
            }
            // The variable would reach `bwrap` itself, before there is a sandbox: a library of the checkout would be
            // loaded outside of it.
            if self.sandbox.is_some() && name.starts_with("LD_") {
                return Err(invalid(&key, "cannot be set for a command in a sandbox"));
            }
            if name.starts_with("PLANSPEC_") {
                return Err(invalid(&key, "is reserved: planspec sets the variables named PLANSPEC_…"));
            }
        }
        check_globs("needs", &self.needs)?;
        // Only the form can be judged without a checkout; where links lead is checked when the attempt has one.
        if self.working_directory.as_deref().is_some_and(|path| !is_inside(path)) {
            return Err(invalid("workingDirectory", "must be a relative path without `..`"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(config: &Value) -> Result<(), String> {
        check_with(None, config)
    }

    fn check_with(policy: Option<SandboxPolicy>, config: &Value) -> Result<(), String> {
        check_word(policy.map(SandboxConfig::from).as_ref(), config)
    }

    fn check_word(word: Option<&SandboxConfig>, config: &Value) -> Result<(), String> {
        ToolConfig::check("tool://lint", config.as_object().unwrap(), word)
            .map(drop)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_sandbox_that_is_required_is_not_opened_as_a_whole() {
        let required = Some(SandboxPolicy::Required);
        for key in ["read", "write"] {
            for path in ["/", "/proc/1", "~/", "~/.ssh/id", "/run"] {
                let config = json!({ "command": "x", "sandbox": { key: ["/data", path] } });
                let refused = check_with(required, &config).unwrap_err();
                let expected = format!("`config.sandbox.{key}` contains `{path}`, which would show ");
                assert!(refused.starts_with(&expected), "{refused}");
                assert_eq!(check_with(Some(SandboxPolicy::Default), &config), Ok(()));
            }
            let config = json!({ "command": "x", "sandbox": { key: ["/data", "~/.cache/x"] } });
            assert_eq!(check_with(required, &config), Ok(()));
        }
    }

    #[test]
    fn a_sandbox_that_is_required_has_the_network_and_sockets_only_where_the_configuration_says_so() {
        let required = SandboxConfig::from(SandboxPolicy::Required);
        let listed = |glob: &str| SandboxConfig {
            network: vec!["service://x".to_owned(), glob.to_owned()],
            unix_sockets: vec![glob.to_owned()],
            ..required.clone()
        };
        for key in ["network", "unixSockets"] {
            let config = json!({ "command": "x", "sandbox": { key: true } });
            let refused = check_word(Some(&required), &config).unwrap_err();
            assert!(
                refused.starts_with(&format!("`config.sandbox.{key}` cannot be set for `tool://lint`")),
                "{refused}"
            );
            assert!(refused.contains(&format!("{{mode: required, {key}: [\"tool://lint\"]}}")), "{refused}");
            assert!(check_word(Some(&listed("tool://other")), &config).is_err());
            for glob in ["tool://lint", "tool://l*", "*"] {
                assert_eq!(check_word(Some(&listed(glob)), &config), Ok(()));
            }
            for mode in [SandboxPolicy::Default, SandboxPolicy::Off] {
                assert_eq!(check_with(Some(mode), &config), Ok(()));
            }
            let closed = json!({ "command": "x", "sandbox": { key: false } });
            assert_eq!(check_word(Some(&required), &closed), Ok(()));
        }
    }

    fn check_refused(config: &Value, expected: &str) {
        assert_eq!(check(config).unwrap_err(), expected);
    }

    #[test]
    fn settings_are_read_with_their_defaults() {
        let config = json!({"command": "npm test"});
        let expected = ToolConfig {
            command: "npm test".to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            shell: true,
            working_directory: None,
            grace: Duration::from_secs(5),
            checkout: true,
            sandbox: None,
            unsandboxed: false,
            changes: ChangeSettings::default(),
            needs: Vec::new(),
            verify: None,
            workspace: WorkspaceForm::default(),
        };
        assert_eq!(ToolConfig::read("x", config.as_object().unwrap()), Ok(expected));
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        check_refused(
            &json!({}),
            "`tool://lint` needs `config.command`: the program to run, or a shell line",
        );
        check_refused(&json!({"comand": "x"}), "unknown setting `config.comand`; did you mean `command`?");
        check_refused(
            &json!({"command": "x", "timeout": "1s"}),
            "unknown setting `config.timeout`; known are command, args, env, shell, workingDirectory, grace, checkout, sandbox, changes, paths, protect, needs, onConflict, verify, workspace",
        );
        check_refused(&json!({"command": ["x"]}), "`config.command` must be a string");
        check_refused(&json!({"command": " "}), "`config.command` must not be empty");
        check_refused(&json!({"command": "x", "args": "y"}), "`config.args` must be a list of strings");
        check_refused(&json!({"command": "x", "args": [{}]}), "`config.args` must be a list of strings");
        check_refused(
            &json!({"command": "x", "args": ["\0"]}),
            "`config.args` must not contain a NUL character",
        );
        check_refused(&json!({"command": "x", "shell": "yes"}), "`config.shell` must be true or false");
        check_refused(&json!({"command": "x", "grace": 5}), "`config.grace` must be a duration such as `5s`");
        check_refused(
            &json!({"command": "x", "env": {"PLANSPEC_NODE": "y"}}),
            "`config.env.PLANSPEC_NODE` is reserved: planspec sets the variables named PLANSPEC_…",
        );
        check_refused(
            &json!({"command": "x", "env": {"A=B": "y"}}),
            "`config.env.A=B` is not an environment variable",
        );
        for path in ["/etc", "../x", "a/../../x", ""] {
            check_refused(
                &json!({"command": "x", "workingDirectory": path}),
                "`config.workingDirectory` must be a relative path without `..`",
            );
        }
    }

    #[test]
    fn expressions_pass_the_check_and_their_values_do_not_pass_unseen() {
        let expression =
            json!({"command": "x", "grace": "${{ parameters.grace }}", "args": ["${{ inputs.n }}"]});
        assert_eq!(check(&expression), Ok(()));
        let value = json!({"command": "x", "grace": "long"});
        assert!(ToolConfig::read("x", value.as_object().unwrap()).is_err());
    }
}
