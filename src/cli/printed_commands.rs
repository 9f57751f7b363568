//! Every command that the program prints is one that its own parser takes.

use std::path::Path;

use clap::Parser as _;
use clap::error::ErrorKind;
use strum::IntoEnumIterator as _;

use super::Cli;
use crate::model::{
    Kind, NextStep, NodeId, NodePhase, NodeReason, NodeSituation, ResourceKey, next_steps, required_step,
};

fn key(kind: Kind, namespace: &str, name: &str) -> ResourceKey {
    ResourceKey::new(kind, namespace.parse().unwrap(), name.parse().unwrap())
}

fn check_parses(step: &NextStep) {
    let line = step.to_string();
    let words = shell_words::split(&line).unwrap();
    if let Err(error) = Cli::try_parse_from(&words) {
        panic!("{line}: {error}");
    }
    assert_eq!(words.get(1..).unwrap(), step.arguments(), "{line}");
}

#[test]
fn every_next_step_is_a_command_of_this_program() {
    let execution = key(Kind::Execution, "team", "run-1");
    let node = NodeId::new("write_up").unwrap();
    let gates = [None, Some(key(Kind::Gate, "team", "review")), Some(key(Kind::Gate, "legal", "review"))];
    let mut count = 0;
    for phase in NodePhase::iter() {
        for reason in NodeReason::iter().map(Some).chain([None]) {
            for gate in &gates {
                let situation =
                    NodeSituation { execution: &execution, node: &node, phase, reason, gate: gate.as_ref() };
                for step in next_steps(&situation).iter().chain(&required_step(&situation)) {
                    check_parses(step);
                    count += 1;
                }
            }
        }
    }
    assert!(count > 200, "{count}");
    check_parses(&NextStep::resume(&execution));
    check_parses(&NextStep::logs(&execution));
    check_parses(&NextStep::complete(&execution, &node));
    check_parses(&NextStep::answer(&execution, &node));
    check_parses(&NextStep::retry(&execution, &node));
}

/// Commands in backquotes within the strings of a source file; comments and tests are left out.
fn quoted(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
    // A string literal may continue in the next line.
    let code = lines.collect::<Vec<_>>().join("\n").replace("\\\n", "");
    let parts = code.split('`').map(str::to_owned);
    parts.filter(|part| part.starts_with("planspec ") && !part.contains('\n')).collect()
}

/// The words of a quoted command, with an example in place of each `{…}` and of what `…` leaves out.
fn words(line: &str) -> Vec<String> {
    let mut filled = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        filled.push('x');
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    filled.push_str(rest);
    let words = shell_words::split(&filled.replace('…', "")).unwrap();
    // A word in capitals stands for a name, and names are in small letters.
    let is_placeholder = |word: &str| word.chars().all(|letter| letter.is_ascii_uppercase());
    words.into_iter().map(|word| if is_placeholder(&word) { word.to_lowercase() } else { word }).collect()
}

/// Parses what a message quotes. One that ends with an option may leave the option's value to the reader.
fn parse_quoted(line: &str) -> Result<Cli, clap::Error> {
    let words = words(line);
    let parsed = Cli::try_parse_from(&words);
    match parsed {
        Err(_) if words.last().is_some_and(|word| word.starts_with('-')) => {
            Cli::try_parse_from(words.into_iter().chain(["x".to_owned()]))
        }
        parsed => parsed,
    }
}

fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.extend(quoted(&std::fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn every_command_that_a_message_quotes_is_a_command_of_this_program() {
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 20, "{found:?}");
    for line in found {
        match parse_quoted(&line) {
            Ok(_) => {}
            // A message may name a command without its arguments; the answer to `--version` is an error to the parser.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::MissingRequiredArgument
                        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                        | ErrorKind::DisplayVersion
                ) => {}
            Err(error) => panic!("`{line}`: {error}"),
        }
    }
}
