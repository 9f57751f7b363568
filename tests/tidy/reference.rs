//! The reference of the command line, `docs/cli.md`: rendered from what clap knows, and compared with the file.
//! `UPDATE_DOCS=1 cargo test --test tidy` writes it anew.

use std::fmt::Write as _;

use clap::{Arg, Command};
use planspec::cli;

use crate::project::root;

const FILE: &str = "docs/cli.md";

const INTRODUCTION: &str = "\
# The command line

Generated from the program's own help by `UPDATE_DOCS=1 cargo test --test tidy`; a test compares the two.
`planspec COMMAND --help` says the same in a terminal.
";

#[test]
fn the_reference_of_the_command_line_is_up_to_date() {
    let expected = render();
    let file = root().join(FILE);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = found.lines().zip(expected.lines()).position(|(found, expected)| found != expected);
    assert!(
        found == expected,
        "{FILE} is out of date from line {}: run `UPDATE_DOCS=1 cargo test --test tidy`",
        differs.unwrap_or(found.lines().count().min(expected.lines().count())) + 1
    );
}

fn render() -> String {
    let mut root = cli::command();
    root.build();
    let mut page = INTRODUCTION.to_owned();
    write!(page, "\n## Global options\n\n").unwrap();
    page += &table(root.get_arguments().filter(|argument| argument.is_global_set()));
    if let Some(more) = root.get_after_long_help() {
        write!(page, "\n{}\n", escape(&more.to_string())).unwrap();
    }
    for command in
        root.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
    {
        section(&mut page, command, "##");
    }
    page
}

fn section(page: &mut String, command: &Command, level: &str) {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    write!(page, "\n{level} {name}\n").unwrap();
    let about = command.get_long_about().or(command.get_about());
    if let Some(about) = about {
        write!(page, "\n{}\n", escape(&about.to_string())).unwrap();
    }
    let usage = command.clone().render_usage().to_string();
    write!(page, "\n```text\n{}\n```\n", usage.trim_start_matches("Usage: ").trim()).unwrap();
    let own = || {
        command.get_arguments().filter(|argument| {
            !argument.is_global_set() && !["help", "version"].contains(&argument.get_id().as_str())
        })
    };
    if own().next().is_some() {
        page.push('\n');
        *page += &table(own());
    }
    if let Some(more) = command.get_after_long_help().or(command.get_after_help()) {
        *page += &ending(&more.to_string());
    }
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help")
    {
        section(page, inner, &format!("{level}#"));
    }
}

fn table<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let mut table = "| Argument | Meaning |\n|---|---|\n".to_owned();
    for argument in arguments.filter(|argument| !argument.is_hide_set()) {
        let help =
            argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
        let mut meaning = escape(&help).split_whitespace().collect::<Vec<_>>().join(" ");
        let values: Vec<String> = argument
            .get_possible_values()
            .iter()
            .filter(|value| !value.is_hide_set() && takes_value(argument))
            .map(|value| format!("`{}`", value.get_name()))
            .collect();
        if !values.is_empty() {
            write!(meaning, "; one of {}", values.join(", ")).unwrap();
        }
        let default = argument.get_default_values().iter().map(|value| value.to_string_lossy());
        let default: Vec<_> = default.collect();
        if !default.is_empty() && takes_value(argument) {
            write!(meaning, "; default `{}`", default.join(" ")).unwrap();
        }
        writeln!(table, "| {} | {} |", written(argument), meaning.replace('|', "\\|")).unwrap();
    }
    table
}

/// The argument as it is typed.
fn written(argument: &Arg) -> String {
    let names: Vec<String> =
        argument.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
    let value = if takes_value(argument) { names.join(" ") } else { String::new() };
    let dots =
        if argument.is_positional() && argument.get_num_args().is_some_and(|count| count.max_values() > 1) {
            "…"
        } else {
            ""
        };
    let short = argument.get_short().map(|letter| format!("-{letter}"));
    let long = argument.get_long().map(|word| format!("--{word}"));
    let flags: Vec<String> = short.into_iter().chain(long).collect();
    let typed =
        [flags.join(", "), value].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    format!("`{typed}{dots}`").replace('|', "\\|")
}

fn takes_value(argument: &Arg) -> bool {
    argument.get_action().takes_values()
}

/// What stands below the options: examples are for copying, everything else is text.
fn ending(text: &str) -> String {
    let mut page = String::new();
    for paragraph in text.trim().split("\n\n") {
        match paragraph.strip_prefix("Examples:\n") {
            Some(examples) => {
                let lines: Vec<&str> = examples.lines().map(str::trim).collect();
                write!(page, "\n```sh\n{}\n```\n", lines.join("\n")).unwrap();
            }
            None => write!(page, "\n{}\n", escape(paragraph)).unwrap(),
        }
    }
    page
}

/// Help as Markdown: it is plain text that must not be taken for HTML.
fn escape(text: &str) -> String {
    text.trim().replace('<', "&lt;")
}
