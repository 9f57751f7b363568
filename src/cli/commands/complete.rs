//! `planspec complete`: a person did the work of a node.

use clap::Args;
use serde_json::Value;

use crate::cli::decisions::{execution_of, record};
use crate::cli::error::{CliError, Exit};
use crate::cli::{Context, selector};
use crate::engine::Decision;
use crate::model::JsonMap;

/// Record that a person did the work of a node, or that it cannot be done
///
/// Outputs have to be those that the node declares, and what its capabilities promise. Where the work goes on elsewhere, such
/// as a remote job, the next reconcile calls that off first; then this counts.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec complete sso-exec-001/research findings='see the wiki' count:=3
  planspec complete sso-exec-001/research --failed -m 'no access to the tenant'")]
pub(crate) struct CompleteArguments {
    /// The node, as EXECUTION/NODE
    node: String,
    /// Outputs: NAME=TEXT, or NAME:=JSON for anything but text
    #[arg(value_name = "NAME=TEXT", value_parser = parse_output)]
    outputs: Vec<(String, Value)>,
    /// The work failed
    #[arg(long)]
    failed: bool,
    /// Why, for the record
    #[arg(long, short, value_name = "TEXT")]
    message: Option<String>,
}

fn parse_output(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=TEXT or NAME:=JSON")?;
    match name.strip_suffix(':') {
        Some(name) => {
            let value = serde_json::from_str(value).map_err(|error| format!("not JSON: {error}"))?;
            Ok((name.to_owned(), value))
        }
        None => Ok((name.to_owned(), Value::String(value.to_owned()))),
    }
}

pub(crate) fn run(arguments: &CompleteArguments, context: &mut Context) -> Result<Exit, CliError> {
    let wanted = selector::execution(&arguments.node)?;
    let Some(node) = wanted.node.clone() else {
        return Err(CliError::usage("which node? Write EXECUTION/NODE"));
    };
    let execution = execution_of(&wanted, context)?;
    let outputs: JsonMap = arguments.outputs.iter().cloned().collect();
    let (failed, comment) = (arguments.failed, arguments.message.clone());
    record(&Decision::Complete { execution, node, outputs, failed, comment }, context)
}
