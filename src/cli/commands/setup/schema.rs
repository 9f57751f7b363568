//! `planspec schema`: the JSON Schemas, for editors.

use std::borrow::Cow;
use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::view::selector::nearest;
use crate::manifest::schemas;
use crate::model::Kind;

/// Print a JSON Schema, or write all of them into a directory
///
/// `manifest` is the combined schema of all kinds; `config` is that of .planspec.yaml.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec schema > planspec.schema.json
  planspec schema goal
  planspec schema plan --published
  planspec schema --dir .vscode/schemas")]
pub(crate) struct SchemaArguments {
    /// A kind, `manifest` or `config`
    #[arg(value_name = "KIND", default_value = "manifest")]
    name: String,
    /// Write all schemas into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "name")]
    dir: Option<PathBuf>,
    /// Leave out the fields that the published contract does not know
    #[arg(long)]
    published: bool,
}

pub(crate) fn run(arguments: &SchemaArguments, context: &mut Context) -> Result<Exit, CliError> {
    if let Some(dir) = &arguments.dir {
        let failed =
            |error: std::io::Error| CliError::caused(&format!("cannot write to {}", dir.display()), &error);
        std::fs::create_dir_all(dir).map_err(failed)?;
        for (name, schema) in schemas() {
            if arguments.published && *name == Kind::Schedule.singular() {
                continue;
            }
            let schema = arguments.shown(schema)?;
            std::fs::write(dir.join(format!("{name}.schema.json")), schema.as_ref()).map_err(failed)?;
        }
        return Ok(Exit::Done);
    }
    // `goals` and `Goal` name a kind here as they do for every other command.
    let wanted = match arguments.name.parse::<Kind>() {
        Ok(kind) => kind.singular().to_owned(),
        Err(_) => arguments.name.to_ascii_lowercase(),
    };
    if arguments.published && wanted == Kind::Schedule.singular() {
        return Err(CliError::no("the published contract has no kind Schedule"));
    }
    let Some((_, schema)) = schemas().iter().find(|(name, _)| *name == wanted) else {
        let names: Vec<&str> = schemas().iter().map(|(name, _)| *name).collect();
        let error = CliError::usage(format!("there is no schema `{wanted}`; there are {}", names.join(", ")));
        return Err(match nearest(&wanted, names) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        });
    };
    context.out.text(&arguments.shown(schema)?)?;
    Ok(Exit::Done)
}

/// The comment that marks a field of ours in a schema.
const EXTENSION: &str = "extension";

/// The words of ours: a kind, and types of External nodes.
const WORDS: [&str; 3] = ["Schedule", "pull-request", "issue"];

impl SchemaArguments {
    fn shown<'s>(&self, schema: &'s str) -> Result<Cow<'s, str>, CliError> {
        if !self.published {
            return Ok(Cow::Borrowed(schema));
        }
        let mut document: Value = serde_json::from_str(schema)?;
        drop_extensions(&mut document);
        // Another document than the one with our fields, and so another name.
        if let Some(Value::String(id)) = document.get_mut("$id") {
            id.push_str(":published");
        }
        // Definitions may lean on each other, so one that is dropped may leave another one unused.
        while let Some(unused) = unused_definition(&document) {
            if let Some(definitions) = document.get_mut("$defs").and_then(Value::as_object_mut) {
                definitions.shift_remove(&unused);
            }
        }
        Ok(Cow::Owned(serde_json::to_string_pretty(&document)? + "\n"))
    }
}

fn drop_extensions(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, inner| !is_extension(inner));
            map.values_mut().for_each(drop_extensions);
        }
        Value::Array(items) => {
            // Lists of words hold no comments that could mark one of them.
            items.retain(|item| !is_extension(item) && !WORDS.iter().any(|word| item == word));
            items.iter_mut().for_each(drop_extensions);
        }
        _ => {}
    }
}

fn is_extension(value: &Value) -> bool {
    value.get("$comment").is_some_and(|comment| comment == EXTENSION)
}

fn unused_definition(document: &Value) -> Option<String> {
    let text = document.to_string();
    let definitions = document.get("$defs")?.as_object()?;
    definitions.keys().find(|name| !text.contains(&format!("\"#/$defs/{name}\""))).cloned()
}
