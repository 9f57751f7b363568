//! The job that comments for a fork: it runs with the rights of the base, and reads a file that a job without rights left.
//! That file is hostile until shown otherwise: it is bounded, read strictly, and its text is made again from its data.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::cli::Context;
use crate::cli::ci::event::TriggeringRun;
use crate::cli::ci::host::Host;
use crate::cli::ci::{CiOptions, step};
use crate::cli::error::{CliError, Exit};
use crate::config::Actions;
use crate::host::{HostError, PullRequest};
use crate::report::markdown::COMMENT_LIMIT;
use crate::report::preview::{MARKER, PageLinks, Preview, render};

/// The largest file that is read.
const MAX_BYTES: u64 = 4 << 20;

/// Comments on the pull request that a run was about.
pub(crate) fn run(
    run: &TriggeringRun,
    choices: &CiOptions,
    actions: &Actions,
    context: &mut Context,
) -> Result<Exit, CliError> {
    let path = choices
        .report
        .as_ref()
        .ok_or_else(|| CliError::usage("name the report of the other run with `--report FILE`"))?;
    let bytes = read(path)?;
    let mut preview = Preview::parse(&bytes).map_err(|error| CliError::no(error.to_string()))?;
    // What the file says of commits is not believed: the event and the host say which they are.
    preview.head = Some(run.head.clone());
    preview.base = None;
    preview.warnings.insert(
        0,
        "This report was made by a job of the fork, whose author controls it. Check it before you rely on it."
            .to_owned(),
    );
    let host = Host::open(actions)?.within(choices);
    let Some(number) = pull_of(run, &host)? else {
        context.out.note("no open pull request has that commit as its head")?;
        return Ok(Exit::Done);
    };
    let full = step::summary_address(actions);
    let home = step::repository_address(actions);
    let foot = step::foot(full.as_deref(), Some(&run.head));
    // The commits of a fork can be read in the repository that its pull request goes to.
    let links = PageLinks { full: full.as_deref(), repository: home.as_deref(), foot: &foot };
    let rendered = render(&preview, COMMENT_LIMIT, links);
    step::summary(actions, &rendered.summary)?;
    host.keep_comment(number, (MARKER, None), &rendered.comment)?;
    context.out.note(format!("commented on #{number}"))?;
    Ok(Exit::Done)
}

/// The file, which may be anything that can be in an archive.
fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let failed = |error: std::io::Error| CliError::caused("cannot read the report", &error);
    // An archive can hold a link to a file of this runner, whose content would end up in a public comment.
    if !path.symlink_metadata().map_err(failed)?.is_file() {
        return Err(CliError::no("the report is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(CliError::no(format!("the report has more than {MAX_BYTES} bytes")));
    }
    Ok(bytes)
}

/// The open pull request whose head is the commit of the run, as the host says: by the commit, else by the branch.
fn pull_of(run: &TriggeringRun, host: &Host) -> Result<Option<u64>, CliError> {
    let found = host.ask(|github, repo| github.pulls_of(repo, &run.head));
    let mut pulls = match found {
        Ok(pulls) => pulls,
        Err(error) if error.is_not_found() => Vec::new(),
        Err(HostError::Refused { status: 422, .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    if let (true, Some(origin)) = (pulls.is_empty(), &run.origin) {
        pulls = host.ask(|github, repo| github.open_pulls_from(repo, origin))?;
    }
    // Another pull request may have the same commit as its head.
    let from = |pull: &PullRequest| match (&pull.head.repo, &run.repository) {
        (Some(repo), Some(own)) => repo.eq_ignore_ascii_case(own),
        _ => true,
    };
    // A newer push makes this an answer about an older commit, which nobody needs any more.
    let is_head = |pull: &PullRequest| pull.head.sha.eq_ignore_ascii_case(&run.head);
    let same = pulls.iter().find(|pull| pull.is_open && is_head(pull) && from(pull));
    Ok(same.map(|pull| pull.number))
}
