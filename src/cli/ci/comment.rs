//! A comment that may be a command: read anew from the host, understood, allowed or not, carried out, and answered with a
//! reaction; where it is refused, with one line.

use super::authorise::{Wish, authorise, refuse_author};
use super::command::{Command, HELP, Mistake, parse};
use super::event::CommentPlace;
use super::host::Host;
use super::record::{people, record};
use super::standing::Standing;
use super::{Choices, pass};
use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::objects::Inventory;
use crate::cli::target::{ExecutionTarget, Target};
use crate::config::Actions;
use crate::engine::Decision;
use crate::github::{Account, Reaction};
use crate::markup::markdown;
use crate::model::{GateSpec, Kind, ResourceKey, ReviewAction, Spec};
use crate::report::text;

/// Does what a comment says.
pub(super) fn run(
    place: &CommentPlace,
    choices: &Choices,
    actions: &Actions,
    context: &mut Context,
) -> Result<Exit, CliError> {
    pass::follow(place.branch.clone(), context);
    let host = Host::open(actions)?;
    let comment = host.ask(|github, repo| github.comment(repo, place.id))?;
    let Some(author) = comment.user.clone().filter(|user| !user.is_bot()) else {
        context.out.note("the comment is a program's")?;
        return Ok(Exit::Done);
    };
    if comment.is_edited() || comment.issue_number() != Some(place.number) {
        context.out.note("the comment was changed since, so it is no command")?;
        return Ok(Exit::Done);
    }
    let Some(command) = parse(comment.body.as_deref().unwrap_or_default()) else {
        context.out.note("the comment is no command")?;
        return Ok(Exit::Done);
    };
    let answer = match command {
        Ok(command) => carry_out(&command, &author, &host, context),
        Err(Mistake::Unknown) => Ok(Answer::Confused(format!("That is no command.\n\n{HELP}"))),
        Err(Mistake::Wrong(why)) => Ok(Answer::Confused(markdown(&why, 300))),
    };
    let answer = match answer {
        Ok(answer) => answer,
        // A clear no is for the one who asked; anything else is for whoever looks after the job.
        Err(error) if error.exit() == Exit::No || error.exit() == Exit::Usage => {
            Answer::No(markdown(&error.to_string(), 300))
        }
        Err(error) => return Err(error),
    };
    tell(&host, place, &answer)?;
    match answer {
        Answer::Done(lines) => {
            for line in &lines {
                context.out.line(text::line(line))?;
            }
            // What was decided goes on at once; others may be under way at the same time.
            pass::drive_and_report(Some(&host), choices, actions, context).map(|_| Exit::Done)
        }
        Answer::Said(_) => Ok(Exit::Done),
        Answer::No(why) | Answer::Confused(why) => {
            context.out.note(format!("refused: {}", text::line(why.lines().next().unwrap_or_default())))?;
            Ok(Exit::Done)
        }
    }
}

/// What became of a command. Texts are Markdown, and safe.
enum Answer {
    /// It is recorded.
    Done(Vec<String>),
    /// Something was asked, and this is the answer.
    Said(String),
    /// It is refused.
    No(String),
    /// It cannot be understood.
    Confused(String),
}

fn tell(host: &Host, place: &CommentPlace, answer: &Answer) -> Result<(), CliError> {
    let reaction = match answer {
        Answer::Done(_) | Answer::Said(_) => Reaction::Yes,
        Answer::No(_) => Reaction::No,
        Answer::Confused(_) => Reaction::Confused,
    };
    host.ask(|github, repo| github.react(repo, place.id, reaction))?;
    if let Answer::Said(text) | Answer::No(text) | Answer::Confused(text) = answer {
        // The marker names the command, so that a job that runs twice answers once.
        let marker = format!("<!-- planspec:answer {} -->", place.id);
        host.keep_comment(place.number, &marker, &format!("{marker}\n{text}\n"))?;
    }
    Ok(())
}

fn carry_out(
    command: &Command,
    author: &Account,
    host: &Host,
    context: &mut Context,
) -> Result<Answer, CliError> {
    let standing = Standing::open(context)?;
    let people = people(&standing.tips().config);
    let inventory = Inventory::load(standing.workspace(), standing.tips())?;
    let execution = |target: &ExecutionTarget, context: &Context| {
        let ExecutionTarget { namespace, name, .. } = target;
        let target =
            Target { namespace: namespace.clone(), kind: Some(Kind::Execution), name: Some(name.clone()) };
        Ok::<ResourceKey, CliError>(inventory.one(&target, context)?.key)
    };
    let allowed = |wish: Wish<'_>| host.ask(|github, repo| authorise(github, repo, author, wish, &people));
    let decision = match command {
        Command::Approve { gate, words } | Command::Reject { gate, words } => {
            let (gate, spec) = gate_of(&inventory, gate, context)?;
            let permit = match allowed(Wish::Decide(spec.as_ref()))? {
                Ok(permit) => permit,
                Err(why) => return Ok(Answer::No(markdown(&why, 300))),
            };
            let approves = matches!(command, Command::Approve { .. });
            if approves && let Some(why) = refuse_author(host, &standing, &gate, &permit.login)? {
                return Ok(Answer::No(markdown(&why, 300)));
            }
            let action = if approves { ReviewAction::Approve } else { ReviewAction::Reject };
            let decision = Decision::Review { gate, action, execution: None, comment: words.clone() };
            return record(&decision, &permit, context).map(Answer::Done);
        }
        Command::Help => return Ok(Answer::Said(HELP.to_owned())),
        Command::Status => {
            let keys = standing.executions()?.into_iter().collect();
            let page = standing.page(&keys, None)?.comment;
            return Ok(match allowed(Wish::Change)? {
                Ok(_) => Answer::Said(page),
                Err(why) => Answer::No(markdown(&why, 300)),
            });
        }
        Command::Retry { execution: target, node } => {
            Decision::Retry { execution: execution(target, context)?, from: node.clone(), comment: None }
        }
        Command::Cancel { execution: target } => {
            Decision::Cancel { target: execution(target, context)?, comment: None }
        }
        Command::Complete { execution: target, node, outputs } => Decision::Complete {
            execution: execution(target, context)?,
            node: node.clone(),
            outputs: outputs.clone(),
            failed: false,
            comment: None,
        },
    };
    match allowed(Wish::Change)? {
        Ok(permit) => record(&decision, &permit, context).map(Answer::Done),
        Err(why) => Ok(Answer::No(markdown(&why, 300))),
    }
}

/// The gate that somebody means, which needs no manifest, and its spec where it has one.
fn gate_of(
    inventory: &Inventory<'_>,
    target: &Target,
    context: &Context,
) -> Result<(ResourceKey, Option<GateSpec>), CliError> {
    let object = inventory.one(target, context)?;
    let spec = object.resource.and_then(|resource| match resource.spec {
        Spec::Gate(spec) => Some(spec),
        _ => None,
    });
    Ok((object.key, spec))
}
