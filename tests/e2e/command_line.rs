//! The command line itself: help, mistakes, exit codes, streams.

use std::process::Stdio;

use crate::environment::TestEnvironment;

#[test]
fn help_and_version_are_answers() {
    let environment = TestEnvironment::new();
    let help = environment.planspec(&["--help"]).succeeds();
    assert!(help.stdout.contains("Exit codes:") && help.stderr.is_empty());
    let version = environment.planspec(&["--version"]).succeeds();
    assert_eq!(version.stdout, format!("planspec {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_command_explains_itself() {
    let environment = TestEnvironment::new();
    let help = environment.planspec(&["--help"]).succeeds().stdout;
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.len() > 2, "{help}");
    for command in commands {
        let text = environment.planspec(&[command, "--help"]).succeeds().stdout;
        assert!(text.contains("Usage: planspec"), "{command}: {text}");
    }
}

#[test]
fn a_wrong_command_line_exits_with_2_and_suggests() {
    let environment = TestEnvironment::new();
    let outcome = environment.planspec(&["completons", "bash"]).exits(2);
    assert!(outcome.stdout.is_empty() && outcome.stderr.contains("completions"), "{}", outcome.stderr);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let environment = TestEnvironment::new();
    let mut command = environment.planspec_command(&environment.repo());
    let mut child =
        command.args(["completion", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn completions_and_manual_pages_are_made() {
    let environment = TestEnvironment::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(environment.planspec(&["completions", shell]).succeeds().stdout.contains("planspec"));
    }
    assert!(environment.planspec(&["man"]).succeeds().stdout.contains(".TH planspec"));
    let pages = environment.root().join("man");
    std::fs::create_dir(&pages).unwrap();
    environment.planspec(&["man", "--dir", pages.to_str().unwrap()]).succeeds();
    assert!(pages.join("planspec-completions.1").exists());
}

#[test]
fn a_wrong_environment_variable_is_named() {
    let mut environment = TestEnvironment::new();
    environment.set("PLANSPEC_NAMESPACE", "Not A Name");
    let outcome = environment.planspec(&["man"]).exits(2);
    assert!(outcome.stderr.contains("PLANSPEC_NAMESPACE"), "{}", outcome.stderr);
}

#[test]
fn a_trace_is_for_those_who_ask_for_it() {
    let mut environment = TestEnvironment::new();
    environment.set("PLANSPEC_LOG", "no such=level=x");
    assert!(environment.planspec(&["man"]).exits(2).stderr.contains("PLANSPEC_LOG"));
    environment.set("PLANSPEC_LOG", "planspec=trace");
    assert!(environment.planspec(&["man"]).succeeds().stdout.contains(".TH planspec"));
}

/// A task may call planspec: the variables that say to it where its files are mean nothing to that.
#[test]
fn the_variables_of_a_task_are_no_defaults_of_flags() {
    let mut environment = TestEnvironment::with_files(&[]);
    environment.set("PLANSPEC_OUTPUT", "/tmp/outputs");
    let refused = environment.planspec(&["get", "executions"]).exits(2);
    assert!(refused.stderr.contains("PLANSPEC_OUTPUT"), "{refused:?}");
    environment.set("PLANSPEC_IDEMPOTENCY_KEY", "uid/node/1.1");
    environment.planspec(&["get", "executions"]).succeeds();
}
