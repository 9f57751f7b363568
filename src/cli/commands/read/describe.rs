//! `planspec describe`: everything about some objects, for people.

use clap::Args;

use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output_format::{OutputChoice, OutputFormat};
use crate::cli::repo_context::RepoContext;
use crate::cli::view::inventory::Inventory;
use crate::cli::view::pinned_plan::pinned_graph;
use crate::cli::view::print::print_rows;
use crate::cli::view::timeline::{self, HistoryFilter};
use crate::cli::view::{selector, signatures};
use crate::report::describe::describe;
use crate::report::history::newest;
use crate::report::object::list_value;

/// Describe objects in detail: spec, status, conditions, nodes, what they wait for, and their history
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec describe execution/sso-exec-001
  planspec describe gate sso-security-review -n team-platform")]
pub(crate) struct DescribeArguments {
    /// Kinds, a kind and names, or KIND/NAME
    #[arg(required = true, value_name = "KIND|KIND/NAME")]
    targets: Vec<String>,
    /// How many of the newest history entries to show for each
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    history: usize,
}

pub(crate) fn run(arguments: &DescribeArguments, context: &mut Context) -> Result<Exit, CliError> {
    // Before anything is fetched, since a wrong format is a mistake of the command line.
    let format = context.options.format()?;
    let targets = selector::many(&arguments.targets)?;
    let workspace = RepoContext::open(context)?;
    let tips = workspace.tips(context)?;
    let inventory = Inventory::load(&workspace, &tips)?;
    let mut objects = inventory.select(&targets, context)?;
    signatures::add(&mut objects, &tips, context)?;
    match format {
        OutputFormat::Json => context.out.json(&list_value(&objects))?,
        OutputFormat::Yaml => context.out.yaml(&list_value(&objects))?,
        OutputFormat::Name => print_rows(&objects, &OutputChoice::Plain(format), false, context)?,
        _ if objects.is_empty() => context.out.note("no resources found")?,
        _ => {
            for (i, object) in objects.iter().enumerate() {
                let filter = HistoryFilter {
                    keys: vec![object.key.clone()],
                    namespace: None,
                    node: None,
                    limit: Some(arguments.history),
                    folded: true,
                };
                let events = timeline::entries(&workspace, &tips, &filter, context)?;
                let events = newest(&events, arguments.history);
                if i > 0 {
                    context.out.line("\n---")?;
                }
                let execution = object.record.as_ref().and_then(|record| record.execution());
                // The graph that it is pinned to, not that of the plan as it is now (Invariant 9).
                let graph = match execution {
                    Some(execution) => {
                        let status = inventory.status();
                        pinned_graph(&workspace.repo, &tips.config, status, &object.key, execution)?
                    }
                    None => None,
                };
                let width = context.out.width();
                let page = describe(
                    object,
                    graph.as_ref(),
                    events,
                    (context.now(), tips.config.retention.span()),
                    width,
                );
                context.out.text(&page)?;
            }
        }
    }
    Ok(Exit::Done)
}
