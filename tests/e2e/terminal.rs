//! What `planspec` asks for on a terminal, answered like a person would.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use crate::environment::TestEnvironment;

/// A program on a terminal of its own, without a shell in between: that one would be interrupted too, and what it does then
/// differs from one shell to the next. It ends by itself where a question is not the one that is waited for.
pub(crate) const TERMINAL: &str = "import os, pty, signal, sys; signal.alarm(120); sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

const PLAN: &str = "\
apiVersion: planspec.io/v1alpha1
kind: Plan
metadata: { name: ship, namespace: team }
spec:
  description: Ship it
  parameters:
    - { name: version, type: string, required: true, description: what is shipped, pattern: '^v[0-9]+$' }
    - { name: count, type: number, required: true }
    - { name: where, type: string, required: true, default: everywhere }
  graph:
    nodes:
      - { id: a, kind: Task, run: 'true' }
";

/// Runs planspec on a terminal; each answer is typed once its question is seen. The exit code, and all that was shown.
fn on_terminal(
    environment: &TestEnvironment,
    arguments: &[&str],
    answers: &[(&str, &str)],
) -> (Option<i32>, String) {
    let mut command = Command::new("python3");
    command.args(["-c", TERMINAL, env!("CARGO_BIN_EXE_planspec")]).args(arguments);
    // As every other command of these tests: with their identity, and nobody's configuration.
    for (name, value) in environment.planspec_command(&environment.repo()).get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("TERM", "xterm").current_dir(environment.repo());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut seen = Vec::new();
    let mut left = answers.iter();
    let mut next = left.next();
    let mut read_until = 0;
    loop {
        let mut piece = [0_u8; 4096];
        match out.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(read) => seen.extend_from_slice(&piece[..read]),
        }
        // Only what came since the last answer: the same question may be asked twice.
        while let Some((question, answer)) = next
            && let Some(at) = String::from_utf8_lossy(&seen[read_until..]).find(question)
        {
            read_until += at + question.len();
            input.write_all(answer.as_bytes()).unwrap();
            input.flush().unwrap();
            next = left.next();
        }
    }
    (child.wait().unwrap().code(), String::from_utf8_lossy(&seen).into_owned())
}

#[test]
fn a_run_asks_for_the_parameters_that_are_missing_until_they_fit() {
    let environment = TestEnvironment::with_files(&[("plan.yaml", PLAN)]);
    let answers = [
        ("version (", "1.10\n"),
        ("must match", ""),
        ("version (", "v7\n"),
        ("count (", "many\n"),
        ("count (", "3\n"),
    ];
    let (code, seen) =
        on_terminal(&environment, &["run", "plan/ship", "--name", "now", "-n", "team"], &answers);
    assert_eq!(code, Some(0), "{seen}");
    // With what the plan says of it, and nothing that has a default.
    assert!(seen.contains("what is shipped") && !seen.contains("where ("), "{seen}");
    let written = environment.read("planspec/team/executions/now.yaml");
    assert!(written.contains("version: v7") && written.contains("count: 3"), "{written}");
    // Given on the command line, it is not asked for.
    let given = ["run", "plan/ship", "--name", "two", "-n", "team", "-p", "version=v8", "-p", "count=1"];
    let (code, seen) = on_terminal(&environment, &given, &[]);
    assert!(code == Some(0) && !seen.contains("version ("), "{seen}");
}

#[test]
fn a_parameter_that_nobody_answers_is_the_error_that_a_script_gets() {
    let environment = TestEnvironment::with_files(&[("plan.yaml", PLAN)]);
    let (code, seen) = on_terminal(
        &environment,
        &["run", "plan/ship", "-n", "team"],
        &[("version (", "\u{4}"), ("count (", "\u{4}")],
    );
    assert!(code != Some(0) && seen.contains("version"), "{seen}");
    let script = environment.planspec(&["run", "plan/ship", "-n", "team"]);
    assert!(script.code != 0 && !script.stderr.contains("version ("), "{script:?}");
    assert_eq!(environment.git_output(&["log", "--oneline"]).lines().count(), 1, "nothing was committed");
}
