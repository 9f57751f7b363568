//! What `-o` takes: a word, or an expression that chooses from objects.

use std::str::FromStr;

use clap::ValueEnum;
use clap::builder::{PossibleValue, TypedValueParser};

use crate::report::custom_columns::CustomColumns;
use crate::report::jsonpath::JsonTemplate;

/// The form of the output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// Columns for people
    #[default]
    Table,
    /// More columns
    Wide,
    /// KIND/NAME, one per line
    Name,
    /// JSON
    Json,
    /// YAML
    Yaml,
    /// Static Analysis Results Interchange Format (validate only)
    Sarif,
    /// Workflow commands of GitHub Actions (validate only)
    Github,
}

/// What the user asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OutputChoice {
    /// One of the words.
    Plain(OutputFormat),
    /// `jsonpath=TEMPLATE`.
    Template(JsonTemplate),
    /// `custom-columns=NAME:PATH,…`.
    Columns(CustomColumns),
}

impl OutputChoice {
    /// Whether it is a table of ours, which counts what an Execution consists of.
    pub(crate) fn counts_nodes(&self) -> bool {
        matches!(self, Self::Plain(OutputFormat::Table | OutputFormat::Wide))
    }
}

impl FromStr for OutputChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some(("jsonpath", template)) => {
                template.parse().map(Self::Template).map_err(|error| error.to_string())
            }
            Some(("custom-columns", columns)) => columns.parse().map(Self::Columns),
            // The old form of kubectl, which its users still type.
            _ if text.starts_with("jsonpath") || text.starts_with("custom-columns") => Err(
                "write `-o jsonpath='{.items[*].metadata.name}'` or `-o custom-columns=NAME:.metadata.name`"
                    .to_owned(),
            ),
            _ if ["svg", "dot", "mermaid", "text"].contains(&text) => {
                Err("`-o` is for objects; `planspec graph NAME -f svg` draws, and so do `-f dot` and `-f mermaid`".to_owned())
            }
            _ if text.starts_with("go-template") || text.starts_with("template") => {
                Err("write `-o jsonpath='{range .items[*]}{.metadata.name}{\"\\n\"}{end}'`, or `-o json`"
                    .to_owned())
            }
            _ => OutputFormat::from_str(text, true).map(Self::Plain).map_err(|_| {
                let known = OutputFormat::value_variants().iter().filter_map(ValueEnum::to_possible_value);
                let known: Vec<String> = known.map(|value| value.get_name().to_owned()).collect();
                format!(
                    "`{text}` is no output format; known are {}, jsonpath=… and custom-columns=…",
                    known.join(", ")
                )
            }),
        }
    }
}

/// Reads `-o`; help and completion list the words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutputParser;

impl TypedValueParser for OutputParser {
    type Value = OutputChoice;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<OutputChoice, clap::Error> {
        // The parser of functions makes the usual error of an invalid value.
        let read = |text: &str| text.parse::<OutputChoice>();
        TypedValueParser::parse_ref(&read, command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let words = OutputFormat::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        let expressions = [
            PossibleValue::new("jsonpath=TEMPLATE")
                .help("What a template, as kubectl has them, selects (get and watch only)"),
            PossibleValue::new("custom-columns=NAME:PATH,…").help("Columns of your own (get and watch only)"),
        ];
        Some(Box::new(words.chain(expressions)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_expressions_are_read_and_anything_else_is_explained() {
        assert_eq!("JSON".parse(), Ok(OutputChoice::Plain(OutputFormat::Json)));
        assert!(matches!("jsonpath={.kind}".parse(), Ok(OutputChoice::Template(_))));
        assert!(matches!("custom-columns=N:.metadata.name".parse(), Ok(OutputChoice::Columns(_))));
        let wrong = |text: &str| text.parse::<OutputChoice>().unwrap_err();
        assert!(wrong("xml").contains("known are table, wide"));
        assert!(wrong("svg").contains("planspec graph NAME -f svg"));
        assert!(wrong("go-template={{.kind}}").contains("-o jsonpath="));
        assert!(wrong("jsonpath").contains("-o jsonpath='{"));
        assert!(wrong("jsonpath={.a").contains("`}` is missing"));
    }
}
