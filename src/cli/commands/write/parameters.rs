//! The parameters of a run: typed on the command line, read from a file, or asked for on a terminal.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use crate::cli::error::CliError;
use crate::cli::repo_context::here;
use crate::cli::{Context, question};
use crate::config::Limits;
use crate::manifest;
use crate::model::{CapabilityParameter, JsonMap};
use crate::report::text;
use crate::run::parameter::{assignment, hint, misfit, read_texts};

/// Where parameters come from.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ParameterArguments {
    /// A parameter: NAME=TEXT, or NAME:=JSON for anything but text
    ///
    /// A text is read as a number, a boolean, a list or a mapping only where the plan declares the parameter so.
    #[arg(short, long = "parameter", value_name = "NAME=TEXT", value_parser = given)]
    parameter: Vec<GivenParameter>,
    /// Parameters from a file that holds a mapping in YAML or JSON; `-p` overrides it
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,
}

/// A parameter as it is typed.
#[derive(Debug, Clone)]
struct GivenParameter {
    name: String,
    value: Value,
    /// Whether it was given as text, whose type the plan may say.
    is_text: bool,
}

fn given(typed: &str) -> Result<GivenParameter, String> {
    let (name, value) = assignment(typed)?;
    // `NAME:=JSON` says its type itself.
    let is_text = typed.split_once('=').is_some_and(|(name, _)| !name.ends_with(':'));
    Ok(GivenParameter { name, value, is_text })
}

impl ParameterArguments {
    /// All parameters of a run of a plan that declares these, on top of those that an earlier run had.
    pub(crate) fn collect(
        &self,
        inherited: JsonMap,
        declared: &[CapabilityParameter],
        context: &mut Context,
    ) -> Result<JsonMap, CliError> {
        let mut all = inherited;
        if let Some(file) = &self.params {
            all.extend(from_file(file, context)?);
        }
        let mut given = BTreeSet::new();
        for GivenParameter { name, value, is_text } in &self.parameter {
            if !given.insert(name) {
                return Err(CliError::usage(format!("{name} is given twice")));
            }
            let mut one = JsonMap::from_iter([(name.clone(), value.clone())]);
            if *is_text {
                read_texts(&mut one, declared);
            }
            all.extend(one);
        }
        // Only people are asked: a script that forgot one gets the error of the check, which names it.
        if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
            let open = |one: &&CapabilityParameter| one.required && one.default.is_none();
            for parameter in declared.iter().filter(open) {
                if !all.contains_key(&parameter.name)
                    && let Some(value) = ask(parameter, context)?
                {
                    all.insert(parameter.name.clone(), value);
                }
            }
        }
        Ok(all)
    }
}

fn from_file(file: &Path, context: &Context) -> Result<JsonMap, CliError> {
    let name = file.display();
    let bytes = std::fs::read(here(context)?.join(file))
        .map_err(|error| CliError::caused(&format!("cannot read {name}"), &error))?;
    manifest::load_values(&file.to_string_lossy(), &bytes, &Limits::default()).map_err(|found| {
        let line =
            found.location.span.map(|span| format!(":{}:{}", span.line, span.column)).unwrap_or_default();
        let error = CliError::no(format!("{name}{line}: {}", found.message));
        found.hint.iter().fold(error, |error, hint| error.hint(hint.clone()))
    })
}

/// Asks until the answer fits. No answer, and the end of input, leave the parameter out.
fn ask(parameter: &CapabilityParameter, context: &mut Context) -> Result<Option<Value>, CliError> {
    let name = &parameter.name;
    loop {
        let question = format!("{name} ({}): ", hint(parameter));
        let line = question::ask(&text::line(&question), context)?.unwrap_or_default();
        let answer = line.trim_end_matches(['\r', '\n']);
        if answer.is_empty() {
            return Ok(None);
        }
        let mut one = JsonMap::from_iter([(name.clone(), Value::from(answer))]);
        read_texts(&mut one, std::slice::from_ref(parameter));
        let Some(value) = one.remove(name) else { return Ok(None) };
        match misfit(parameter, &value) {
            None => return Ok(Some(value)),
            Some(why) => context.out.note(text::line(&format!("`{name}` {why}")))?,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_text_is_read_as_the_type_that_a_plan_declares() {
        let declared: Vec<CapabilityParameter> = serde_json::from_value(json!([
            { "name": "count", "type": "number" }, { "name": "tag", "type": "string" },
            { "name": "hosts", "type": "array" },
        ]))
        .unwrap();
        let typed = ["count=7", "tag=1.10", "hosts=[\"a\"]", "other=007"].map(|typed| given(typed).unwrap());
        let mut read = JsonMap::new();
        for GivenParameter { name, value, .. } in typed {
            read.insert(name, value);
        }
        read_texts(&mut read, &declared);
        assert_eq!(Value::Object(read), json!({ "count": 7, "tag": "1.10", "hosts": ["a"], "other": "007" }));
        assert!(!given("count:=\"7\"").unwrap().is_text, "JSON says its type itself");
    }
}
