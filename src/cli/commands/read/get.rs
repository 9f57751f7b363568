//! `planspec get`: live objects.

use clap::Args;

use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::options::OutputFormat;
use crate::cli::repo_context::RepoContext;
use crate::cli::view::inventory::Inventory;
use crate::cli::view::selector;
use crate::model::LabelSelector;
use crate::report::columns;
use crate::report::object::{LiveObject, kinds_of, list_value, short_name};

/// Show objects: their manifests and status
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec get executions
  planspec get goals,plans -n team-platform -o wide
  planspec get execution/sso-exec-001 -o yaml
  planspec get ex -l planspec.io/team=platform --no-headers
  planspec get all -o name")]
pub(crate) struct GetArguments {
    /// Kinds (`goals`, `goals,plans`, `all`), a kind and names, or KIND/NAME
    #[arg(required = true, value_name = "KIND|KIND/NAME")]
    targets: Vec<String>,
    /// Only objects in these phases
    #[arg(long, value_name = "PHASE", value_delimiter = ',')]
    phase: Vec<String>,
    /// Only objects with these labels: `a=b`, `a!=b`, `a`, `!a`, separated by commas
    #[arg(short = 'l', long, value_name = "LABELS", value_parser = selector::labels)]
    selector: Option<LabelSelector>,
    /// Leave out the line of column names
    #[arg(long)]
    no_headers: bool,
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
    if let Some(wanted) = &arguments.selector {
        // What has no manifest any more has no labels either.
        objects.retain(|object| {
            object.resource.as_ref().is_some_and(|resource| wanted.matches(&resource.metadata.labels))
        });
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
        (_, all) => print_tables(all, format == OutputFormat::Wide, !arguments.no_headers, context)?,
    }
    Ok(Exit::Done)
}

/// One table per kind, with an empty line between.
pub(crate) fn print_tables(
    objects: &[LiveObject],
    wide: bool,
    headers: bool,
    context: &mut Context,
) -> Result<(), CliError> {
    // With `-n`, the column would say the same in every row.
    let namespaces = context.options.namespace.is_none();
    let now = context.now();
    for (i, kind) in kinds_of(objects).into_iter().enumerate() {
        if i > 0 && headers {
            context.out.line("")?;
        }
        let of_kind: Vec<&LiveObject> = objects.iter().filter(|object| object.key.kind == kind).collect();
        for line in columns::table(kind, &of_kind, namespaces, wide, now)
            .lines()
            .into_iter()
            .skip(usize::from(!headers))
        {
            context.out.line(line)?;
        }
    }
    Ok(())
}
