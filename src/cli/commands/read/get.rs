//! `planspec get`: live objects.

use clap::Args;

use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::options::OutputFormat;
use crate::cli::repo_context::RepoContext;
use crate::cli::view::inventory::Inventory;
use crate::cli::view::selector;
use crate::report::columns;
use crate::report::object::{LiveObject, kinds_of, list_value, short_name};

/// Show objects: what is declared, and its status
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec get executions
  planspec get goals,plans -n team-platform -o wide
  planspec get execution/sso-exec-001 -o yaml
  planspec get all -o name")]
pub(crate) struct GetArguments {
    /// Kinds (`goals`, `goals,plans`, `all`), a kind and names, or KIND/NAME
    #[arg(required = true, value_name = "KIND|KIND/NAME")]
    targets: Vec<String>,
    /// Only objects in these phases
    #[arg(long, value_name = "PHASE", value_delimiter = ',')]
    phase: Vec<String>,
}

pub(crate) fn run(arguments: &GetArguments, context: &mut Context) -> Result<Exit, CliError> {
    let format = context.options.format()?;
    let targets = selector::many(&arguments.targets)?;
    // As with kubectl: one object that is named is a value, everything else is a list, however many are
    // found.
    let single = matches!(targets.as_slice(), [only] if only.name.is_some());
    let workspace = RepoContext::open(context)?;
    let tips = workspace.tips(context)?;
    let inventory = Inventory::load(&workspace, &tips)?;
    let mut objects = inventory.select(&targets, context)?;
    if !arguments.phase.is_empty() {
        objects
            .retain(|object| arguments.phase.iter().any(|phase| phase.eq_ignore_ascii_case(&object.phase())));
    }
    match (format, objects.as_slice()) {
        (OutputFormat::Json, [only]) if single => context.out.json(&only.to_value())?,
        (OutputFormat::Json, all) => context.out.json(&list_value(all))?,
        (OutputFormat::Yaml, [only]) if single => context.out.yaml(&only.to_value())?,
        (OutputFormat::Yaml, all) => context.out.yaml(&list_value(all))?,
        (OutputFormat::Name, all) => {
            for object in all {
                context.out.line(short_name(&object.key))?;
            }
        }
        (_, []) => context.out.note("no resources found")?,
        (_, all) => print_tables(all, format == OutputFormat::Wide, context)?,
    }
    Ok(Exit::Done)
}

/// One table a kind, with an empty line between.
pub(crate) fn print_tables(
    objects: &[LiveObject],
    wide: bool,
    context: &mut Context,
) -> Result<(), CliError> {
    // With `-n`, the column would say the same in every row.
    let namespaces = context.options.namespace.is_none();
    let now = context.now();
    for (i, kind) in kinds_of(objects).into_iter().enumerate() {
        if i > 0 {
            context.out.line("")?;
        }
        let of_kind: Vec<&LiveObject> = objects.iter().filter(|object| object.key.kind == kind).collect();
        for line in columns::table(kind, &of_kind, namespaces, wide, now).lines() {
            context.out.line(line)?;
        }
    }
    Ok(())
}
