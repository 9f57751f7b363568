//! `planspec schema`: the JSON Schemas, for editors.

use std::path::PathBuf;

use clap::Args;

use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::view::selector::nearest;
use crate::manifest::schemas;

/// Print a JSON Schema, or write all of them into a directory
///
/// `manifest` is the schema of every kind together; `config` is that of .planspec.yaml.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec schema > planspec.schema.json
  planspec schema goal
  planspec schema --dir .vscode/schemas")]
pub(crate) struct SchemaArguments {
    /// A kind, `manifest` or `config`
    #[arg(value_name = "KIND", default_value = "manifest")]
    name: String,
    /// Write all schemas into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "name")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(arguments: &SchemaArguments, context: &mut Context) -> Result<Exit, CliError> {
    if let Some(dir) = &arguments.dir {
        let failed =
            |error: std::io::Error| CliError::caused(&format!("cannot write to {}", dir.display()), &error);
        std::fs::create_dir_all(dir).map_err(failed)?;
        for (name, schema) in schemas() {
            std::fs::write(dir.join(format!("{name}.schema.json")), schema).map_err(failed)?;
        }
        return Ok(Exit::Done);
    }
    // `goals` and `Goal` name a kind here as they do for every other command.
    let wanted = match arguments.name.parse::<crate::model::Kind>() {
        Ok(kind) => kind.singular().to_owned(),
        Err(_) => arguments.name.to_ascii_lowercase(),
    };
    let Some((_, schema)) = schemas().iter().find(|(name, _)| *name == wanted) else {
        let names: Vec<&str> = schemas().iter().map(|(name, _)| *name).collect();
        let error = CliError::usage(format!("there is no schema `{wanted}`; there are {}", names.join(", ")));
        return Err(match nearest(&wanted, names) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        });
    };
    context.out.text(schema)?;
    Ok(Exit::Done)
}
