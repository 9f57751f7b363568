//! What the host remembers of the status branch, for a clone that has never seen it: without that, a branch that was rewound would
//! be taken as it is, and ended work would run again.

use std::time::{Duration, Instant};

use tracing::debug;

use crate::cli::Context;
use crate::cli::ci::host::Host;
use crate::cli::error::CliError;
use crate::cli::repo_context::RepoContext;
use crate::git::ObjectId;
use crate::report::text;

/// How long the host has to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the replaced tips are looked at, as each may have to be fetched. Ten times what a thousand of them take.
const LOOKING: Duration = Duration::from_secs(120);

/// Asks the host, where this clone remembers no tip itself. Before anything is recorded: what is recorded on a branch that went
/// back is remembered as the newest.
pub(super) fn ask(host: &Host, context: &mut Context) -> Result<(), CliError> {
    let workspace = RepoContext::open(context)?;
    let config = workspace.config_at(workspace.local_desired()?)?;
    let branches = workspace.branches_beside()?;
    if branches.remembers_status(&config)? {
        return Ok(());
    }
    let name = config.status_branch.as_str();
    let found = host.ask(|github, repo| {
        let quick = github.patient(PATIENCE);
        async move { quick.replaced_tips(repo, name).await }
    });
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            debug!(%error, "no witness");
            let note = format!(
                "the host does not say whether `{name}` was ever moved back, and this clone has not seen it before"
            );
            context.out.note(text::line(&note))?;
            return Ok(());
        }
    };
    debug!(branch = name, replaced = found.tips.len(), "asked the host for replaced tips");
    // Nearly always none, and then nothing is read a second time.
    let tips: Vec<ObjectId> = found.tips.iter().filter_map(|tip| tip.before.parse().ok()).collect();
    if tips.is_empty() {
        return Ok(());
    }
    let heeded = branches.heed(&tips, Instant::now() + LOOKING)?;
    if heeded.left_out > 0 || !found.complete {
        // Whoever moved it back can push as often as it takes to hide that.
        let warning = format!(
            "`{name}` was replaced {} times or more lately, and {} of them could not be looked at; compare these with `git log` before you trust what it holds",
            found.tips.len(),
            match found.complete {
                true => heeded.left_out.to_string(),
                false => "some".to_owned(),
            }
        );
        context.out.warning(text::line(&warning))?;
    }
    for missing in heeded.unreadable {
        let event = found.tips.iter().find(|tip| tip.before == missing.to_string());
        let who =
            event.and_then(|event| event.actor.as_ref()).map_or("somebody", |actor| actor.login.as_str());
        let at = event.map_or("", |event| event.timestamp.as_str());
        let warning = format!(
            "{who} moved `{name}` away from {} ({at}), which cannot be read any more: what it held cannot be compared",
            missing.short()
        );
        context.out.warning(text::line(&warning))?;
    }
    Ok(())
}
