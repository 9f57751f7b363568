//! What a shell completes, by the shells themselves: names after their kind, nodes, namespaces and parameters.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::environment::TestEnvironment;
use crate::skip;

const FILES: &str = "\
apiVersion: planspec.io/v1alpha1
kind: Goal
metadata: { name: enable-login, namespace: team }
spec: { description: People sign in }
---
apiVersion: planspec.io/v1alpha1
kind: Plan
metadata: { name: fan, namespace: team }
spec:
  description: Three at once
  parameters: [{ name: version, type: string }, { name: dryRun, type: boolean, default: false }]
  graph:
    nodes:
      - { id: load, kind: Task, forEach: { items: [a, b, c], as: item }, run: 'true' }
";

/// A line, and everything that may stand in place of its last word.
const OFFERED: &[(&str, &[&str])] = &[
    ("planspec get plans ", &["fan"]),
    ("planspec describe goal/en", &["goal/enable-login"]),
    ("planspec delete goal/enable-login pl", &["plan/fan"]),
    ("planspec run fa", &["fan"]),
    ("planspec run plan/f", &["plan/fan"]),
    ("planspec run plan/fan -p ", &["dryRun=", "version="]),
    ("planspec get goals -n t", &["team"]),
    ("planspec logs r", &["run-1"]),
    ("planspec complete r", &["run-1/"]),
    ("planspec complete run-1/load-", &["run-1/load-0", "run-1/load-1", "run-1/load-2"]),
    ("planspec retry run-1 --from load-", &["load-0", "load-1", "load-2"]),
    ("planspec run --from-execution r", &["run-1"]),
    ("planspec get --no-head", &["--no-headers"]),
];

/// An environment in which `planspec` is found by name, with a run and the script of a shell.
fn environment_for(shell: &str, file: &str) -> (TestEnvironment, PathBuf) {
    let mut environment = TestEnvironment::with_files(&[("all.yaml", FILES)]);
    environment.planspec(&["run", "plan/fan", "-q", "--name", "run-1", "-p", "version=1"]).succeeds();
    environment.planspec(&["reconcile", "-q"]).succeeds();
    let program = Path::new(env!("CARGO_BIN_EXE_planspec")).parent().unwrap().to_path_buf();
    let path = std::env::var_os("PATH").unwrap().into_string().unwrap();
    environment.set("PATH", &format!("{}:{path}", program.display()));
    let script = environment.root().join(file);
    std::fs::write(&script, environment.planspec(&["completions", shell]).succeeds().stdout).unwrap();
    (environment, script)
}

fn run(environment: &TestEnvironment, program: &str, arguments: &[&str]) -> String {
    let output = environment.command(program, &environment.repo()).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{program}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn bash_completes_names() {
    let (environment, script) = environment_for("bash", "planspec.bash");
    for (line, offered) in OFFERED {
        // bash itself calls the function with these variables, and breaks words at `=` as here.
        let call = format!(
            ". '{}'; COMP_WORDS=({line}); [[ '{line}' == *' ' ]] && COMP_WORDS+=(''); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _planspec_names planspec \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script.display()
        );
        let shown = run(&environment, "bash", &["-c", &call]);
        assert_eq!(shown.lines().collect::<Vec<_>>(), *offered, "{line}");
    }
}

#[test]
fn fish_completes_names() {
    let found = skip::program(Command::new("fish").arg("--version"), "fish");
    let Some(()) = skip::unless_found(found) else { return };
    let (environment, script) = environment_for("fish", "planspec.fish");
    for (line, offered) in OFFERED {
        let call = format!("source '{}'; complete -C '{line}'", script.display());
        let shown = run(&environment, "fish", &["--no-config", "-c", &call]);
        // With a description behind a tab; a flag has one.
        let words: Vec<&str> = shown.lines().map(|line| line.split('\t').next().unwrap()).collect();
        assert_eq!(words, *offered, "{line}");
    }
}

#[test]
fn zsh_completes_names_from_fpath_and_where_the_script_is_sourced() {
    let found = skip::program(Command::new("zsh").arg("--version"), "zsh");
    let Some(()) = skip::unless_found(found) else { return };
    let (environment, script) = environment_for("zsh", "_planspec");
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rig/complete.zsh");
    let out = environment.root().join("out");
    // Tab completes what all that is offered have in common.
    let begins = |words: &[&str]| {
        let mut common = words[0].to_owned();
        while !words.iter().all(|word| word.starts_with(&common)) {
            common.pop();
        }
        common
    };
    let lines: Vec<&str> =
        OFFERED.iter().filter(|(_, words)| !begins(words).is_empty()).map(|(line, _)| *line).collect();
    let init = "autoload -Uz compinit; compinit -u -D";
    for setup in [
        format!("fpath=('{}' $fpath); {init}", environment.root().display()),
        format!("{init}; source '{}'", script.display()),
    ] {
        let driven = [driver.to_str().unwrap(), out.to_str().unwrap(), &setup];
        run(&environment, "zsh", &[&["-f"], driven.as_slice(), &lines].concat());
        let shown = std::fs::read_to_string(&out).unwrap();
        let shown: Vec<&str> = shown.lines().skip(1).collect();
        assert_eq!(shown.len(), lines.len(), "{shown:?}");
        for (line, shown) in lines.iter().zip(shown) {
            let (_, offered) = OFFERED.iter().find(|(known, _)| known == line).unwrap();
            let start = line.rsplit_once(' ').unwrap().0;
            let end = if offered.len() > 1 || offered[0].ends_with('/') { "" } else { " " };
            assert_eq!(shown, format!("{start} {}{end}|", begins(offered)), "{setup}: {line}");
        }
    }
}
