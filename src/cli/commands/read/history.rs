//! `planspec history`: what happened when, and who did it.

use clap::Args;

use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output_format::OutputFormat;
use crate::cli::repo_context::RepoContext;
use crate::cli::view::inventory::Inventory;
use crate::cli::view::selector;
use crate::cli::view::timeline::{self, HistoryFilter};
use crate::model::{Kind, NodeId, ResourceKey};
use crate::report::history;

/// Show what happened, when, who or what did it, and from which desired commit
///
/// The entries come from the commits of the status branch.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec history
  planspec history execution/sso-exec-001
  planspec history sso-exec-001 --node review -o json")]
pub(crate) struct HistoryArguments {
    /// The resources, as KIND/NAME; a bare name is an execution (default: all)
    #[arg(value_name = "KIND/NAME")]
    targets: Vec<String>,
    /// Only this node
    #[arg(long, value_name = "NODE")]
    node: Option<NodeId>,
    /// Show at most this many of the newest entries
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
}

pub(crate) fn run(arguments: &HistoryArguments, context: &mut Context) -> Result<Exit, CliError> {
    let format = context.options.format()?;
    let workspace = RepoContext::open(context)?;
    let tips = workspace.tips(context)?;
    let mut keys: Vec<ResourceKey> = Vec::new();
    if !arguments.targets.is_empty() {
        let inventory = Inventory::load(&workspace, &tips)?;
        for argument in &arguments.targets {
            let target = selector::one(argument, Some(Kind::Execution))?;
            keys.push(inventory.one(&target, context)?.key);
        }
    }
    // Resources that are named were resolved within `-n` already.
    let namespace = context.options.namespace.clone().filter(|_| keys.is_empty());
    // Within the filter and not afterwards: `--limit` counts what is shown.
    let filter = HistoryFilter {
        keys,
        namespace,
        node: arguments.node.clone(),
        limit: arguments.limit,
        folded: false,
    };
    let entries = timeline::entries(&workspace, &tips, &filter, context)?;
    match format {
        OutputFormat::Json => context.out.json(&entries)?,
        OutputFormat::Yaml => context.out.yaml(&entries)?,
        OutputFormat::Name => {
            for entry in &entries {
                context.out.line(&entry.commit)?;
            }
        }
        _ if tips.status.is_none() => {
            context.out.note("nothing is recorded yet; run `planspec reconcile`")?;
        }
        _ if entries.is_empty() => context.out.note("no entries found")?,
        format => {
            // For a single resource, the column would repeat its name.
            let table = history::table(&entries, filter.keys.len() != 1, format == OutputFormat::Wide);
            // Who looks at a narrow window wants what happened; `-o wide` and a pipe have everything.
            let table = match context.out.width() {
                Some(width) if format != OutputFormat::Wide => table.without(&["desired", "by"], width),
                _ => table,
            };
            for line in table.lines() {
                context.out.line(line)?;
            }
        }
    }
    Ok(Exit::Done)
}
