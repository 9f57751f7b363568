//! `planspec watch`: objects as they change.

use std::collections::BTreeMap;

use clap::Args;

use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output_format::{OutputChoice, OutputFormat};
use crate::cli::repo_context::RepoContext;
use crate::cli::view::filter::ObjectFilter;
use crate::cli::view::inventory::{Inventory, SelectedObjects};
use crate::cli::view::pinned_plan::note_summaries;
use crate::cli::view::polling::Polling;
use crate::cli::view::print;
use crate::cli::view::selector::{self, ResourceSelector};
use crate::model::{Duration, ResourceKey};
use crate::report::object::{LiveObject, short_name};
use crate::report::text;

/// Show objects, and show them again whenever they change
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec watch executions
  planspec watch goals,executions -n team-platform -o json")]
pub(crate) struct WatchArguments {
    /// Kinds (`goals`, `goals,plans`, `all`), a kind and names, or KIND/NAME
    #[arg(required = true, value_name = "KIND|KIND/NAME")]
    targets: Vec<String>,
    #[command(flatten)]
    filter: ObjectFilter,
    /// Stop after this long
    #[arg(long, value_name = "DURATION")]
    timeout: Option<Duration>,
}

pub(crate) fn run(arguments: &WatchArguments, context: &mut Context) -> Result<Exit, CliError> {
    let targets = selector::many(&arguments.targets)?;
    follow(&targets, &arguments.filter, arguments.timeout.as_ref(), true, context)
}

/// Shows objects, and then each change of them.
pub(crate) fn follow(
    targets: &[ResourceSelector],
    filter: &ObjectFilter,
    timeout: Option<&Duration>,
    headers: bool,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let form = print::objects_form(context)?;
    let workspace = RepoContext::open(context)?;
    let mut polling = Polling::new(&workspace, timeout.map(Duration::span));
    let mut tips = workspace.tips(context)?;
    let mut begun = false;
    let mut shown: BTreeMap<ResourceKey, String> = BTreeMap::new();
    loop {
        let inventory = Inventory::load(&workspace, &tips)?;
        let selection = inventory.look(targets, context)?;
        // What has to be there at the beginning may be deleted later, which is a change like any other.
        if !std::mem::replace(&mut begun, true) {
            inventory.check_complete(&selection, context.options.namespace.as_ref())?;
        }
        let mut changed = changes(&selection.objects, &mut shown);
        // After the comparison: what the filter stops letting through has not been deleted.
        changed.retain(|object| filter.lets_through(object));
        if form.counts_nodes() {
            note_summaries(&mut changed, &workspace.repo, &tips.config, inventory.status())?;
        }
        print(&changed, &form, headers, context)?;
        for gone in vanished(&selection, &mut shown) {
            context.out.line(format!("{} deleted", short_name(&gone)))?;
        }
        // A reader in a pipe waits for each change, not for a full buffer.
        context.out.flush()?;
        // Of a kind, more may come; what was named and is gone does not change any more.
        let named = targets.iter().all(|target| target.name.is_some());
        if named && selection.objects.is_empty() && selection.unreadable.is_empty() {
            return Ok(Exit::Done);
        }
        match polling.next(&workspace, &tips, context)? {
            Some(next) => tips = next,
            None => return Ok(Exit::Done),
        }
    }
}

/// The objects that are not as they were last shown.
fn changes(objects: &[LiveObject], shown: &mut BTreeMap<ResourceKey, String>) -> Vec<LiveObject> {
    let mut changed = Vec::new();
    for object in objects {
        // Compared by what is printed, so that the same is never printed twice.
        let state = object.to_value().to_string();
        if shown.insert(object.key.clone(), state.clone()).is_none_or(|old| old != state) {
            changed.push(object.clone());
        }
    }
    changed
}

fn vanished(selection: &SelectedObjects, shown: &mut BTreeMap<ResourceKey, String>) -> Vec<ResourceKey> {
    let here = |key: &ResourceKey| {
        selection.unreadable.contains(key) || selection.objects.iter().any(|object| object.key == *key)
    };
    let gone: Vec<ResourceKey> = shown.keys().filter(|key| !here(key)).cloned().collect();
    for key in &gone {
        shown.remove(key);
    }
    gone
}

fn print(
    objects: &[LiveObject],
    form: &OutputChoice,
    headers: bool,
    context: &mut Context,
) -> Result<(), CliError> {
    match form {
        // One object a line: a list that never ends cannot be parsed.
        OutputChoice::Plain(OutputFormat::Json) => {
            for object in objects {
                context.out.line(object.to_value())?;
            }
        }
        OutputChoice::Plain(OutputFormat::Yaml) => {
            for object in objects {
                context.out.line("---")?;
                context.out.yaml(&object.to_value())?;
            }
        }
        OutputChoice::Template(template) => {
            for object in objects {
                context.out.line(text::block(&template.render(&object.to_value())))?;
            }
        }
        form => print::print_rows(objects, form, headers, context)?,
    }
    Ok(())
}
