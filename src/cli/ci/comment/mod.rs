//! A comment that may be a command: read anew from the host, understood, allowed or not, carried out, and answered with a
//! reaction; where it is refused, with one line.

mod command;
mod resolve;

use self::resolve::ResolvedGate;
use crate::cli::Context;
use crate::cli::ci::authority::authorize::{
    AuthorizedActor, Permission, authorise, refuse_author, waiting_at,
};
use crate::cli::ci::authority::{DecisionSource, record};
use crate::cli::ci::comment::command::{CommandError, CommentCommand, HELP, parse};
use crate::cli::ci::event::CommentRef;
use crate::cli::ci::host::Host;
use crate::cli::ci::pass_view::PassView;
use crate::cli::ci::{CiOptions, pass};
use crate::cli::error::{CliError, Exit};
use crate::cli::view::inventory::Inventory;
use crate::config::Actions;
use crate::engine::{Decision, people_of};
use crate::github::{Account, Reaction};
use crate::markup::{code, markdown};
use crate::model::{NodeId, ResourceKey, ReviewAction};
use crate::report::text;

/// Does what a comment says.
pub(crate) fn run(
    place: &CommentRef,
    choices: &CiOptions,
    actions: &Actions,
    context: &mut Context,
) -> Result<Exit, CliError> {
    pass::follow(place.branch.clone(), context);
    let host = Host::open(actions)?.within(choices);
    // The event only says which comment; what it says and who wrote it is asked of the host.
    let comment = host.ask(|github, repo| github.comment(repo, place.id))?;
    let Some(author) = comment.user.clone().filter(|user| !user.is_bot()) else {
        context.out.note("the comment was written by a bot")?;
        return Ok(Exit::Done);
    };
    if comment.is_edited() || comment.issue_number() != Some(place.number) {
        context.out.note("the comment was edited, so it is not a command")?;
        return Ok(Exit::Done);
    }
    let Some(command) = parse(comment.body.as_deref().unwrap_or_default()) else {
        context.out.note("the comment is not a command")?;
        return Ok(Exit::Done);
    };
    let answer = match command {
        Ok(command) => match comment.created_at.parse() {
            Ok(at) => {
                let source =
                    DecisionSource { name: format!("comment {}", comment.id), at, in_advance: false };
                carry_out(&command, &author, &source, &host, context)
            }
            // A decision answers one wait, and without a time nobody knows which (Invariant 11).
            Err(_) => Ok(CommandAnswer::No("The host does not say when the comment was written.".to_owned())),
        },
        Err(CommandError::Unknown) => {
            Ok(CommandAnswer::Confused(format!("That is not a command.\n\n{HELP}")))
        }
        Err(CommandError::Wrong(why)) => Ok(CommandAnswer::Confused(markdown(&why, 300))),
    };
    let answer = match answer {
        Ok(answer) => answer,
        // A clear no is for the one who asked; anything else is for whoever runs the job.
        Err(error) if error.exit() == Exit::No || error.exit() == Exit::Usage => {
            CommandAnswer::No(markdown(&error.to_string(), 300))
        }
        Err(error) => return Err(error),
    };
    // Before the pass, which may take all the time that the job has.
    tell(&host, place, &answer)?;
    match answer {
        CommandAnswer::Done(lines) => {
            for line in &lines {
                context.out.line(text::line(line))?;
            }
            // What was decided goes on at once; others may be under way at the same time.
            pass::drive_and_report(Some(&host), choices, actions, context).map(|_| Exit::Done)
        }
        CommandAnswer::Said(_) => Ok(Exit::Done),
        CommandAnswer::No(why) | CommandAnswer::Confused(why) => {
            context.out.note(format!("refused: {}", text::line(why.lines().next().unwrap_or_default())))?;
            Ok(Exit::Done)
        }
    }
}

/// The outcome of a command. Texts are Markdown, and safe.
enum CommandAnswer {
    /// It is recorded.
    Done(Vec<String>),
    /// Something was asked, and this is the answer.
    Said(String),
    /// It is refused.
    No(String),
    /// It cannot be understood.
    Confused(String),
}

fn tell(host: &Host, place: &CommentRef, answer: &CommandAnswer) -> Result<(), CliError> {
    let reaction = match answer {
        CommandAnswer::Done(_) | CommandAnswer::Said(_) => Reaction::Yes,
        CommandAnswer::No(_) => Reaction::No,
        CommandAnswer::Confused(_) => Reaction::Confused,
    };
    host.ask(|github, repo| github.react(repo, place.id, reaction))?;
    if let CommandAnswer::Said(text) | CommandAnswer::No(text) | CommandAnswer::Confused(text) = answer {
        // The marker names the command, so that a job that runs twice answers once.
        let marker = format!("<!-- planspec:answer {} -->", place.id);
        host.keep_comment(place.number, &marker, &format!("{marker}\n{text}\n"))?;
    }
    Ok(())
}

fn carry_out(
    command: &CommentCommand,
    author: &Account,
    source: &DecisionSource,
    host: &Host,
    context: &mut Context,
) -> Result<CommandAnswer, CliError> {
    let view = PassView::open(context)?;
    let people = people_of(&view.tips().config);
    let inventory = Inventory::load(view.workspace(), view.tips())?;
    let allowed =
        |wish: Permission<'_>| host.ask(|github, repo| authorise(github, repo, author, wish, &people));
    let decision = match command {
        CommentCommand::Approve { gate, words } | CommentCommand::Reject { gate, words } => {
            let chosen = resolve::gate(gate, &view, &inventory, context)?;
            let permit = match allowed(Permission::Decide(chosen.spec.as_ref()))? {
                Ok(permit) => permit,
                Err(why) => return Ok(CommandAnswer::No(markdown(&why, 300))),
            };
            let approves = matches!(command, CommentCommand::Approve { .. });
            return match review(chosen, approves, words.as_deref(), &permit, host, &view)? {
                Ok(decision) => record(&decision, &permit, source, context).map(CommandAnswer::Done),
                Err(why) => Ok(CommandAnswer::No(why)),
            };
        }
        CommentCommand::Help => return Ok(CommandAnswer::Said(HELP.to_owned())),
        CommentCommand::Status => {
            let keys = view.executions()?.into_iter().collect();
            let page = view.page(&keys, None)?.comment;
            return Ok(match allowed(Permission::Change)? {
                Ok(_) => CommandAnswer::Said(page),
                Err(why) => CommandAnswer::No(markdown(&why, 300)),
            });
        }
        CommentCommand::Retry { execution, node } => {
            let execution = resolve::execution(execution, &inventory, context)?;
            Decision::Retry { execution, from: node.clone(), comment: None }
        }
        CommentCommand::Cancel { execution } => {
            Decision::Cancel { target: resolve::execution(execution, &inventory, context)?, comment: None }
        }
        CommentCommand::Answer { execution, node, text } => {
            let execution = resolve::execution(execution, &inventory, context)?;
            Decision::Answer { execution, node: node.clone(), text: text.clone() }
        }
        CommentCommand::Complete { execution, node, outputs } => {
            let waiting = match execution {
                Some(target) => vec![resolve::execution(target, &inventory, context)?],
                None => resolve::waiting_at_node(&view, node)?,
            };
            // Never a guess between several, since completing a node cannot be taken back.
            let [execution] = waiting.as_slice() else { return Ok(which_execution(&waiting, node)) };
            let (execution, node, outputs) = (execution.clone(), node.clone(), outputs.clone());
            Decision::Complete { execution, node, outputs, failed: false, comment: None }
        }
    };
    match allowed(Permission::Change)? {
        Ok(permit) => record(&decision, &permit, source, context).map(CommandAnswer::Done),
        Err(why) => Ok(CommandAnswer::No(markdown(&why, 300))),
    }
}

/// What is said when not exactly one Execution waits at a node.
fn which_execution(waiting: &[ResourceKey], node: &NodeId) -> CommandAnswer {
    CommandAnswer::No(match waiting {
        [] => format!("No Execution waits at {}.", code(node.as_str(), 63)),
        several => resolve::choices("complete", several, node.as_str()),
    })
}

/// What is recorded for a gate; the inner error is a line of Markdown for the one who asked.
fn review(
    chosen: ResolvedGate,
    approves: bool,
    words: Option<&str>,
    permit: &AuthorizedActor,
    host: &Host,
    view: &PassView,
) -> Result<Result<Decision, String>, CliError> {
    let ResolvedGate { gate, execution, .. } = chosen;
    // An author may reject: that only stops work.
    if approves && let Some(why) = refuse_author(host, view, &gate, execution.as_ref(), &permit.login)? {
        return Ok(Err(markdown(&why, 300)));
    }
    if execution.is_none() {
        let waiting = waiting_at(view, &gate)?;
        // A review is bound to one Execution (Invariant 11), so that somebody has to say which.
        if waiting.len() > 1 {
            let verb = if approves { "approve" } else { "reject" };
            return Ok(Err(resolve::choices(verb, &waiting, gate.name.as_str())));
        }
    }
    let action = if approves { ReviewAction::Approve } else { ReviewAction::Reject };
    Ok(Ok(Decision::Review { gate, action, execution, comment: words.map(ToOwned::to_owned) }))
}
