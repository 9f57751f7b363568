//! What the host remembers of the status branch, for a clone that has never seen it: without that, a branch that was rewound would
//! be taken as it is, and ended work would run again.

use std::time::Duration;

use tracing::debug;

use crate::cli::Context;
use crate::cli::ci::host::Host;
use crate::cli::error::CliError;
use crate::cli::repo_context::RepoContext;
use crate::git::ObjectId;
use crate::host::ReplacedTip;
use crate::report::text;

/// How long the host has to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many replaced tips are looked at, as each may have to be fetched: half of them the newest, half the oldest.
const MOST_TIPS: usize = 20;

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
    debug!(branch = name, replaced = found.len(), "asked the host for replaced tips");
    // Nearly always none, and then nothing is read a second time.
    let (tips, left_out) = looked_at(&found);
    if tips.is_empty() {
        return Ok(());
    }
    if left_out > 0 {
        // Whoever moved it back can push as often as it takes to hide that.
        let warning = format!(
            "`{name}` was replaced {} times lately, and only {MOST_TIPS} of them are looked at, the newest and the oldest; compare the others with `git log` before you trust what it holds",
            found.len()
        );
        context.out.warning(text::line(&warning))?;
    }
    for missing in branches.heed(&tips)? {
        let event = found.iter().find(|tip| tip.before == missing.to_string());
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

/// The tips that are looked at, newest first, and how many are left out.
fn looked_at(found: &[ReplacedTip]) -> (Vec<ObjectId>, usize) {
    let mut tips: Vec<ObjectId> = found.iter().filter_map(|tip| tip.before.parse().ok()).collect();
    // The oldest, too: whoever moved the branch back and then pushed to hide it replaced the true tip before all those of
    // their own.
    let left_out = tips.len().saturating_sub(MOST_TIPS);
    if left_out > 0 {
        tips.drain(MOST_TIPS / 2..MOST_TIPS / 2 + left_out);
    }
    (tips, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tips_that_are_not_looked_at_are_counted() {
        let tip =
            |n: usize| ReplacedTip { before: format!("{n:040x}"), timestamp: String::new(), actor: None };
        let (few, none) = looked_at(&(1..=MOST_TIPS).map(tip).collect::<Vec<_>>());
        assert_eq!((few.len(), none), (MOST_TIPS, 0));
        let (both, left_out) = looked_at(&(1..=MOST_TIPS + 3).map(tip).collect::<Vec<_>>());
        assert_eq!((both.len(), left_out), (MOST_TIPS, 3));
        assert_eq!(both[..MOST_TIPS / 2], few[..MOST_TIPS / 2], "the newest");
        assert_eq!(both.last().unwrap().to_string(), tip(MOST_TIPS + 3).before, "the oldest");
    }
}
