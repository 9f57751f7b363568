//! `planspec ci`: what a job of the Git host does about the event that started it. The event only says where to look;
//! what counts is read from Git and from the host's API.

mod approvals;
mod authorise;
mod choose;
mod command;
mod comment;
mod event;
mod host;
mod meanwhile;
mod origin;
mod pass;
mod passed;
mod progress;
mod pull_request;
mod record;
mod review;
mod standing;
mod step;
mod trusted;

use std::path::PathBuf;

use super::Context;
use super::drive::Bounds;
use super::error::{CliError, Exit};

/// What the user may choose.
#[derive(Debug, Clone, Default)]
pub(crate) struct Choices {
    /// What bounds a pass.
    pub(crate) bounds: Bounds,
    /// The file that one job leaves and another reads.
    pub(crate) report: Option<PathBuf>,
}

/// Reads the event and does what it asks for.
pub(crate) fn run(choices: &Choices, context: &mut Context) -> Result<Exit, CliError> {
    let actions = context.environment.actions();
    let muted = step::Muted::begin(&mut context.out)?;
    match event::read(&actions)? {
        event::Event::PullRequest(pull) => pull_request::run(&pull, choices, &actions, &muted, context),
        event::Event::Pass(branch) => pass::run(branch, choices, &actions, context),
        event::Event::Answer(branch) => {
            pass::look_at_once(context)?;
            pass::run(branch, choices, &actions, context)
        }
        event::Event::Comment(place) => comment::run(&place, choices, &actions, context),
        event::Event::Review(place) => review::run(&place, choices, &actions, context),
        event::Event::Report(run) => trusted::run(&run, choices, &actions, context),
        event::Event::Nothing(why) => {
            context.out.note(format!("nothing to do: {}", crate::report::text::line(&why)))?;
            Ok(Exit::Done)
        }
    }
}
