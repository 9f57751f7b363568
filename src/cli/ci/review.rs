//! An approving review: once its pull request is merged, it may open gates.

use super::event::ReviewRef;
use super::host::Host;
use super::{CiOptions, pass};
use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::config::Actions;

/// A pull request was approved: once it is merged, that may open gates.
pub(super) fn run(
    place: &ReviewRef,
    choices: &CiOptions,
    actions: &Actions,
    context: &mut Context,
) -> Result<Exit, CliError> {
    pass::follow(place.branch.clone(), context);
    let host = Host::open(actions)?.within(choices);
    let pull = host.ask(|github, repo| github.pull(repo, place.number))?;
    if pull.merged_at.is_none() {
        context.out.note("the pull request is not merged; its reviews are read when it is")?;
        return Ok(Exit::Done);
    }
    pass::drive_and_report(Some(&host), choices, actions, context)
}
