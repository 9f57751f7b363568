//! `planspec get`: live objects.

use clap::Args;

use crate::cli::Context;
use crate::cli::commands::read::watch;
use crate::cli::error::{CliError, Exit};
use crate::cli::output_format::{OutputChoice, OutputFormat};
use crate::cli::repo_context::RepoContext;
use crate::cli::view::filter::ObjectFilter;
use crate::cli::view::inventory::Inventory;
use crate::cli::view::local_changes::LocalChanges;
use crate::cli::view::pinned_plan::note_summaries;
use crate::cli::view::selector::ResourceSelector;
use crate::cli::view::{print, selector, signatures};
use crate::diagnostic::Diagnostic;
use crate::report::jsonpath::JsonPath;
use crate::report::object::{list_value, short_name};
use crate::report::text;

/// How many broken manifests are named.
const BROKEN: usize = 5;

/// Show objects: their manifests and status
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec get executions
  planspec get goals,plans -n team-platform -o wide
  planspec get execution/sso-exec-001 -o yaml
  planspec get ex -l planspec.io/team=platform --no-headers
  planspec get executions --field-selector status.phase=Failed --sort-by .status.completionTime
  planspec get executions -w
  planspec get ex -o custom-columns=NAME:.metadata.name,PHASE:.status.phase
  planspec get ex -o jsonpath='{range .items[*]}{.metadata.name}{\"\\n\"}{end}'
  planspec get all -o name")]
pub(crate) struct GetArguments {
    /// Kinds (`goals`, `goals,plans`, `all`), a kind and names, or KIND/NAME
    #[arg(value_name = "KIND|KIND/NAME", default_value = "all")]
    targets: Vec<String>,
    #[command(flatten)]
    filter: ObjectFilter,
    /// Sort by what this path finds, as in `.metadata.creationTimestamp`
    #[arg(long, value_name = "PATH", value_parser = sort_key)]
    sort_by: Option<JsonPath>,
    /// Leave out the line of column names
    #[arg(long)]
    no_headers: bool,
    /// Then show them again whenever they change, as `planspec watch` does
    #[arg(short, long, conflicts_with = "sort_by")]
    watch: bool,
}

pub(crate) fn run(arguments: &GetArguments, context: &mut Context) -> Result<Exit, CliError> {
    let targets = selector::many(&arguments.targets)?;
    if arguments.watch {
        return watch::follow(&targets, &arguments.filter, None, !arguments.no_headers, context);
    }
    let form = print::objects_form(context)?;
    // As with kubectl: one object that is named is a value, everything else is a list, however many are
    // found.
    let single = matches!(targets.as_slice(), [only] if only.name.is_some());
    let workspace = RepoContext::open(context)?;
    let tips = workspace.tips(context)?;
    let inventory = Inventory::load(&workspace, &tips)?;
    let selected = inventory.select(&targets, context);
    let mut objects = LocalChanges::hinted(selected, &workspace, &tips.config)?;
    objects.retain(|object| arguments.filter.lets_through(object));
    // Tables do not show it.
    if !matches!(form, OutputChoice::Plain(OutputFormat::Table | OutputFormat::Wide | OutputFormat::Name)) {
        signatures::add(&mut objects, &tips, context)?;
    }
    if form.counts_nodes() {
        note_summaries(&mut objects, &workspace.repo, &tips.config, inventory.status())?;
    }
    if let Some(path) = &arguments.sort_by {
        let mut keyed: Vec<_> = objects.into_iter().map(|object| (object.to_value(), object)).collect();
        keyed.sort_by(|(left, _), (right, _)| path.compare(left, right));
        objects = keyed.into_iter().map(|(_, object)| object).collect();
    }
    let whole = || match objects.as_slice() {
        [only] if single => only.to_value(),
        all => list_value(all),
    };
    match &form {
        OutputChoice::Plain(OutputFormat::Json) => context.out.json(&whole())?,
        OutputChoice::Plain(OutputFormat::Yaml) => context.out.yaml(&whole())?,
        // Without a line end of its own, so that `$(…)` and files get what the template says and nothing else.
        OutputChoice::Template(template) => context.out.text(&text::block(&template.render(&whole())))?,
        _ if objects.is_empty() && form != OutputChoice::Plain(OutputFormat::Name) => {
            context.out.note("no resources found")?;
            LocalChanges::of(&workspace, &tips.config)?.note(&mut context.out)?;
        }
        _ => print::print_rows(&objects, &form, !arguments.no_headers, context)?,
    }
    if form.counts_nodes() {
        warn_of_broken(&inventory, &targets, context)?;
        let refused = objects.iter().filter_map(|object| Some((&object.key, object.refused.as_ref()?)));
        for (key, why) in refused.take(BROKEN) {
            context.out.warning(text::line(&format!("{}: {why}", short_name(key))))?;
        }
    }
    Ok(Exit::Done)
}

/// Says which manifests were left out, with their places: otherwise a plan with a typing error would be missing without a word,
/// or shown as it was before.
fn warn_of_broken(
    inventory: &Inventory<'_>,
    targets: &[ResourceSelector],
    context: &mut Context,
) -> Result<(), CliError> {
    let broken: Vec<&Diagnostic> = inventory.broken(targets).collect();
    for found in broken.iter().take(BROKEN) {
        let place = &found.location;
        let line = place.span.map(|span| format!(":{}:{}", span.line, span.column)).unwrap_or_default();
        let what = found.resource.as_ref().map(|key| format!("{} is broken: ", short_name(key)));
        let what = what.unwrap_or_default();
        context.out.warning(text::line(&format!("{}{line}: {what}{}", place.path, found.message)))?;
    }
    if broken.len() > BROKEN {
        context
            .out
            .warning(format!("… and {} more; `planspec validate` lists them", broken.len() - BROKEN))?;
    }
    Ok(())
}

fn sort_key(text: &str) -> Result<JsonPath, String> {
    // `--sort-by='{.metadata.name}'` is what the manual of kubectl shows.
    let path = text.strip_prefix('{').and_then(|path| path.strip_suffix('}')).unwrap_or(text);
    path.parse::<JsonPath>().map_err(|error| error.to_string())
}
