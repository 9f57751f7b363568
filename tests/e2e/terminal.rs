//! What `planspec` asks for on a terminal, answered like a person would.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use crate::environment::TestEnvironment;
use crate::fixtures::goal;

/// A program on a terminal of its own, without a shell in between: that one would be interrupted too, and what it does then
/// differs from one shell to the next. It ends by itself where a question is not the one that is waited for.
pub(crate) const TERMINAL: &str = "import os, pty, signal, sys; signal.alarm(120); sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

/// The same, on a terminal of sixty columns.
const NARROW: &str = "import fcntl, os, pty, signal, struct, sys, termios
signal.alarm(120)
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 60, 0, 0))
    os.execv(sys.argv[1], sys.argv[1:])
try:
    while piece := os.read(terminal, 4096):
        os.write(1, piece)
except OSError:
    pass
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))";

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

/// planspec with these arguments on a terminal that a script of Python makes.
fn in_terminal(environment: &TestEnvironment, script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.args(["-c", script, env!("CARGO_BIN_EXE_planspec")]).args(arguments);
    // As every other command of these tests: with their identity, and nobody's configuration.
    for (name, value) in environment.planspec_command(&environment.repo()).get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.env("TERM", "xterm").current_dir(environment.repo());
    command
}

/// Runs planspec on a terminal; each answer is typed once its question is seen. The exit code, and all that was shown.
fn on_terminal(
    environment: &TestEnvironment,
    arguments: &[&str],
    answers: &[(&str, &str)],
) -> (Option<i32>, String) {
    let mut command = in_terminal(environment, TERMINAL, arguments);
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

#[test]
fn a_page_on_a_narrow_terminal_leaves_out_columns_and_breaks_lines_between_words() {
    let text = "apiVersion: planspec.io/v1alpha1\nkind: Plan\nmetadata: {name: p, namespace: team}\nspec:\n  description: Ship\n  graph:\n    \
                nodes:\n      - {id: build, kind: Task}\n      - {id: said, kind: Task, run: 'true'}\n---\n\
                apiVersion: planspec.io/v1alpha1\nkind: Execution\nmetadata: {name: e, namespace: team}\nspec: {planRef: {name: p}}\n";
    let environment = TestEnvironment::with_files(&[("plan.yaml", text)]);
    environment.planspec(&["reconcile", "-q"]).succeeds();
    let outcome = in_terminal(&environment, NARROW, &["describe", "execution/e"]).output().unwrap();
    let seen = anstream::adapter::strip_str(&String::from_utf8_lossy(&outcome.stdout)).to_string();
    // A terminal turns the end of a line into two characters.
    let seen = seen.replace('\r', "");
    for line in seen.lines() {
        // What can be pasted stays whole.
        assert!(line.chars().count() <= 60 || line.contains("run: planspec "), "`{line}` in\n{seen}");
    }
    assert!(seen.contains("\n  NODE    PHASE       MESSAGE\n"), "{seen}");
    // Where the columns take all the room, the message goes below.
    assert!(seen.contains("\n  TIME                   NODE    TRANSITION\n"), "{seen}");
    assert!(seen.contains("\n      Unbound: the execution names no binding, and there is\n"), "{seen}");
    assert!(!seen.contains("PROVIDER") && !seen.contains("DESIRED"), "{seen}");
    let words: Vec<&str> = seen.split_whitespace().collect();
    assert!(words.join(" ").contains("write `run:` on the task, or a Binding of that name"), "{seen}");
    // A pipe gets everything, on one line each.
    let piped = environment.planspec(&["describe", "execution/e"]).succeeds().stdout;
    assert!(piped.contains("PROVIDER") && piped.lines().any(|line| line.chars().count() > 150), "{piped}");
}

#[test]
fn what_is_not_found_may_only_be_uncommitted() {
    let environment = TestEnvironment::with_files(&[("goal.yaml", &goal("sell", "Sell"))]);
    environment.planspec(&["reconcile", "-q"]).succeeds();
    environment.write("plan.yaml", PLAN);
    let said = ["not committed: plan.yaml", "planspec apply -f plan.yaml"];
    for (line, code) in
        [(&["get", "plans"] as &[&str], 0), (&["get", "plan/ship"], 1), (&["run", "plan/ship"], 1)]
    {
        let outcome = environment.planspec(line).exits(code);
        assert!(said.iter().all(|words| outcome.stderr.contains(words)), "{line:?}: {outcome:?}");
    }
    // For a person who looks, a pass that has nothing to do says it as well.
    let idle = || {
        let outcome = in_terminal(&environment, NARROW, &["reconcile"]).output().unwrap();
        assert!(outcome.status.success(), "{outcome:?}");
        String::from_utf8_lossy(&outcome.stdout).into_owned()
    };
    let seen = idle();
    assert!(said.iter().all(|words| seen.contains(words)), "{seen}");
    environment.planspec(&["apply", "-q", "-f", "plan.yaml"]).succeeds();
    let seen = idle();
    assert!(!seen.contains("not committed"), "{seen}");
    let found = environment.planspec(&["get", "executions"]).succeeds();
    assert!(!found.stderr.contains("not committed"), "{found:?}");
}
