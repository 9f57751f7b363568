//! `planspec ci`: what a job of the Git host does about the event that started it. The event only says what it is about;
//! what counts is read from Git and from the host's API.

mod authority;
pub(super) mod comment;
pub(super) mod event;
mod fork_report;
pub(super) mod host;
mod pass;
mod pass_view;
mod pull_request;
mod step;
mod witness;
pub(super) mod work;

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use crate::cli::Context;
use crate::cli::drive::PassBounds;
use crate::cli::error::{CliError, Exit};
use crate::config::Actions;
use crate::markup::sentence;
use crate::report::diagnostics::failure;
use crate::report::text;

/// The largest event that is read; the host sends at most 25 MB.
const MAX_EVENT: u64 = 26 << 20;

/// What the user may choose.
#[derive(Debug, Clone, Default)]
pub(crate) struct CiOptions {
    /// What bounds a pass.
    pub(crate) bounds: PassBounds,
    /// The file that one job leaves and another reads.
    pub(crate) report: Option<PathBuf>,
    /// The file name of the workflow whose schedule is on only while something is due.
    pub(crate) schedule_workflow: Option<String>,
}

/// What every part of a job needs.
#[derive(Clone, Copy)]
pub(crate) struct CiJob<'a> {
    /// What the user chose.
    pub(crate) choices: &'a CiOptions,
    /// What the host says about the job.
    pub(crate) actions: &'a Actions,
    /// Prints the job's annotations.
    pub(crate) muted: &'a step::MutedRunner,
}

impl CiOptions {
    /// The same, for a pass that carries out held-back deletions.
    fn with_mass_delete(&self) -> Self {
        Self { bounds: self.bounds.with_mass_delete(), ..self.clone() }
    }
}

/// Reads the event and does what it asks for. A failure is also an annotation of the run and a line in the summary: nobody
/// opens the log of a job that they do not know to have failed.
pub(crate) fn run(choices: &CiOptions, context: &mut Context) -> Result<Exit, CliError> {
    let actions = context.environment.actions();
    // Before the event is read: even the error about a malformed one may repeat what a stranger wrote.
    let muted = step::MutedRunner::begin(&mut context.out)?;
    let job = CiJob { choices, actions: &actions, muted: &muted };
    let done = event::read(&actions).and_then(|event| handle(event, job, context));
    if let Err(error) = &done {
        let why = error.to_string();
        muted.commands(&failure(&why, error.hints()), &mut context.out)?;
        step::summary(&actions, &format!("## ❌ planspec: {}", sentence(&why, 300)))?;
    }
    done
}

/// What the event says, as it is; nothing where there is no file.
fn event_bytes(actions: &Actions) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let Some(path) = &actions.event_path else { return Ok(bytes) };
    let file = File::open(path).map_err(|error| CliError::caused("cannot open the event file", &error))?;
    // One byte over the limit shows that there is more, without reading it.
    file.take(MAX_EVENT + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| CliError::caused("cannot read the event file", &error))?;
    if bytes.len() as u64 > MAX_EVENT {
        return Err(CliError::environment(format!("the event has more than {MAX_EVENT} bytes")));
    }
    Ok(bytes)
}

fn handle(event: event::HostEvent, job: CiJob<'_>, context: &mut Context) -> Result<Exit, CliError> {
    let CiJob { choices, actions, muted } = job;
    match event {
        event::HostEvent::PullRequest(pull) => pull_request::run(&pull, choices, actions, muted, context),
        event::HostEvent::MergeGroup(group) => {
            pull_request::run_group(&group, choices, actions, muted, context)
        }
        event::HostEvent::Pass(branch) => pass::run(branch, job, context),
        event::HostEvent::Push { pushed, default } => pass::after_push(&pushed, default, job, context),
        event::HostEvent::Answer(branch) => {
            // A person has just answered, while the cached time of the next poll may lie hours ahead.
            pass::poll_at_once(context)?;
            pass::run(branch, job, context)
        }
        event::HostEvent::Comment(place) => comment::run(&place, job, context),
        event::HostEvent::Review(place) => pass::after_review(&place, job, context),
        event::HostEvent::Report(run) => fork_report::run(&run, choices, actions, context),
        event::HostEvent::Nothing(why) => {
            context.out.note(format!("nothing to do: {}", text::line(&why)))?;
            Ok(Exit::Done)
        }
    }
}
