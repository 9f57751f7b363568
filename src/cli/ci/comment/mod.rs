//! A comment that may be a command: reread from the host, understood, allowed or not, carried out, and answered with a
//! reaction; where it is refused, with one line.

mod approve_all;
mod command;
mod resolve;

pub(crate) use self::command::parse;
use self::resolve::ResolvedGate;
use crate::cli::Context;
use crate::cli::ci::authority::authorize::{AuthorizedActor, Permission, authorise, waiting_at};
use crate::cli::ci::authority::authors::refuse_author;
use crate::cli::ci::authority::{DecisionSource, record};
use crate::cli::ci::comment::command::{CommandError, CommentCommand, HELP};
use crate::cli::ci::event::CommentRef;
use crate::cli::ci::host::Host;
use crate::cli::ci::pass_view::PassView;
use crate::cli::ci::{CiJob, CiOptions, pass, step, witness};
use crate::cli::error::{CliError, Exit};
use crate::cli::view::inventory::Inventory;
use crate::cli::view::selector::ExecutionTarget;
use crate::config::Actions;
use crate::engine::{Decision, people_of};
use crate::git::Commit;
use crate::host::{Account, Comment, HostError, Reaction, RepoPermission};
use crate::markup::{code, sentence};
use crate::model::{JsonMap, NodeId, ResourceKey, ReviewAction};
use crate::report::progress_comment::PageSubject;
use crate::report::text;

/// Does what a comment says.
pub(crate) fn run(place: &CommentRef, job: CiJob<'_>, context: &mut Context) -> Result<Exit, CliError> {
    let CiJob { choices, actions, .. } = job;
    pass::follow(place.branch.clone(), context);
    let host = Host::open(actions)?.within(choices);
    // The event only says which comment; what it says and who wrote it is asked of the host.
    let comment = host.ask(|github, repo| github.comment(repo, place.id))?;
    let Some(author) = comment.user.clone().filter(|user| !user.is_bot) else {
        context.out.note("the comment was written by a bot")?;
        return Ok(Exit::Done);
    };
    if comment.is_edited() || comment.issue != Some(place.number) {
        context.out.note("the comment was edited, so it is not a command")?;
        return Ok(Exit::Done);
    }
    let Some(command) = parse(comment.body.as_deref().unwrap_or_default()) else {
        context.out.note("the comment is not a command")?;
        return Ok(Exit::Done);
    };
    // A job takes a while to start and to work: whoever asked sees that it was taken up.
    react(&host, place, Reaction::Seen, context)?;
    witness::ask(&host, context)?;
    let answer = match command {
        Ok(CommentCommand::ApproveAll { words }) => {
            approve_all::run((&author, &comment), words.as_deref(), &host, context)
        }
        Ok(command) => carry_out(&command, &author, &comment, &host, choices, context),
        Err(CommandError::Unknown) => {
            Ok(CommandAnswer::Confused(format!("That is not a command.\n\n{HELP}")))
        }
        Err(CommandError::Wrong(why)) => Ok(CommandAnswer::Confused(sentence(&why, 300))),
    };
    let answer = match answer {
        Ok(answer) => answer,
        // A clear no is for the one who asked.
        Err(error) if error.exit() == Exit::No || error.exit() == Exit::Usage => {
            CommandAnswer::No(refusal(&error))
        }
        // Anything else is for whoever looks after the job; but the one who asked has to know that nothing came of it.
        Err(error) => {
            let answer = failed("The command was not carried out", &error, actions);
            tell(&host, place, &answer, context)?;
            return Err(error);
        }
    };
    // Before the pass, which may take all the time that the job has.
    tell(&host, place, &answer, context)?;
    match answer {
        CommandAnswer::Done(lines) | CommandAnswer::Partly(lines, _) => {
            for line in &lines {
                context.out.line(text::line(line))?;
            }
            go_on(&host, place, job, context)
        }
        CommandAnswer::Pass(choices) => go_on(&host, place, CiJob { choices: &choices, ..job }, context),
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
    /// Some of what was asked for is recorded, and why the rest is not.
    Partly(Vec<String>, String),
    /// Nothing is to be recorded: it asks for a pass of this kind.
    Pass(CiOptions),
    /// Something was asked, and this is the answer.
    Said(String),
    /// It is refused.
    No(String),
    /// It cannot be understood.
    Confused(String),
}

/// What was decided goes on at once; others may be under way at the same time.
fn go_on(host: &Host, place: &CommentRef, job: CiJob<'_>, context: &mut Context) -> Result<Exit, CliError> {
    match pass::drive_and_report(Some(host), job, context) {
        Ok(_) => Ok(Exit::Done),
        Err(error) => {
            let answer = failed("It was recorded, but the pass that followed failed", &error, job.actions);
            tell(host, place, &answer, context)?;
            Err(error)
        }
    }
}

/// A clear no as Markdown, with the name that was probably meant. Other hints are about the command line.
fn refusal(error: &CliError) -> String {
    let meant = error.hints().iter().filter(|hint| hint.starts_with("did you mean"));
    let meant: String = meant.map(|hint| format!("; {}", sentence(hint, 300))).collect();
    sentence(&error.to_string(), 300) + &meant
}

/// The line for whoever gave a command when the job fails, with the way to its log.
fn failed(what: &str, error: &CliError, actions: &Actions) -> CommandAnswer {
    let why = sentence(&error.to_string(), 300);
    let run = step::summary_address(actions).map(|address| format!(" ([log]({address}))"));
    CommandAnswer::Confused(format!("{what}: {why}{}", run.unwrap_or_default()))
}

/// Says what came of a command, as far as the host lets us: what was recorded is recorded all the same, so a refusal to take a
/// reaction or a comment is a warning and never the end of the work.
fn tell(
    host: &Host,
    place: &CommentRef,
    answer: &CommandAnswer,
    context: &mut Context,
) -> Result<(), CliError> {
    let reaction = match answer {
        CommandAnswer::Done(_)
        | CommandAnswer::Partly(..)
        | CommandAnswer::Pass(_)
        | CommandAnswer::Said(_) => Reaction::Yes,
        CommandAnswer::No(_) => Reaction::No,
        CommandAnswer::Confused(_) => Reaction::Confused,
    };
    react(host, place, reaction, context)?;
    if let CommandAnswer::Said(text)
    | CommandAnswer::Partly(_, text)
    | CommandAnswer::No(text)
    | CommandAnswer::Confused(text) = answer
    {
        // The marker names the command, so that a job that runs twice answers once.
        let marker = format!("<!-- planspec:answer {} -->", place.id);
        if let Err(error) =
            host.keep_comment(place.number, (marker.as_str(), None), &format!("{marker}\n{text}\n"))
        {
            untold(&error, context)?;
        }
    }
    Ok(())
}

fn react(host: &Host, place: &CommentRef, reaction: Reaction, context: &mut Context) -> Result<(), CliError> {
    match host.ask(|github, repo| github.react(repo, place.id, reaction)) {
        Ok(()) => Ok(()),
        Err(error) => untold(&error, context),
    }
}

fn untold(error: &HostError, context: &mut Context) -> Result<(), CliError> {
    let why = error.to_string();
    context.out.warning(format!("cannot reply on the host: {}", text::line(&why)))
}

/// The comment as the source of a decision; none where the host does not say when it was written.
fn source_of(comment: &Comment) -> Option<DecisionSource> {
    let at = comment.created_at.parse().ok()?;
    Some(DecisionSource { name: format!("comment {}", comment.id), at, in_advance: false })
}

fn undated() -> CommandAnswer {
    CommandAnswer::No("The host does not say when the comment was written.".to_owned())
}

fn carry_out(
    command: &CommentCommand,
    author: &Account,
    comment: &Comment,
    host: &Host,
    choices: &CiOptions,
    context: &mut Context,
) -> Result<CommandAnswer, CliError> {
    // A decision answers one wait, and without a time nobody knows which (Invariant 11).
    let Some(source) = source_of(comment) else { return Ok(undated()) };
    let view = PassView::open(context)?;
    let people = people_of(&view.tips().config);
    let inventory = Inventory::load(view.workspace(), view.tips())?;
    let allowed =
        |wish: Permission<'_>| host.ask(|github, repo| authorise(github, repo, author, wish, &people));
    // Who may approve is asked before whether the approval can be given: the answer to the second says who wrote what.
    let reviewed = match command {
        CommentCommand::Approve { gate, expect, words } => Some((gate, (words, expect.as_deref()))),
        CommentCommand::Reject { gate, words } => Some((gate, (words, None))),
        _ => None,
    };
    if let Some((gate, (words, expect))) = reviewed {
        let approves = matches!(command, CommentCommand::Approve { .. });
        let verb = if approves { "approve" } else { "reject" };
        let chosen = resolve::gate(verb, gate, &view, &inventory, context)?;
        let permit = match allowed(chosen.wish())? {
            Ok(permit) => permit,
            Err(why) => return Ok(CommandAnswer::No(sentence(&why, 600))),
        };
        return match review(chosen, approves, (words.as_deref(), expect), &permit, host, &view)? {
            Ok(decision) => record(&decision, &permit, &source, context).map(CommandAnswer::Done),
            Err(why) => Ok(CommandAnswer::No(why)),
        };
    }
    match command {
        CommentCommand::Help => return Ok(CommandAnswer::Said(HELP.to_owned())),
        CommentCommand::Status => return status(author, host, &view),
        _ => {}
    }
    let decision = match command {
        CommentCommand::AllowMassDelete => None,
        command => match decision(command, &view, &inventory, context)? {
            Ok(decision) => Some(decision),
            Err(answer) => return Ok(answer),
        },
    };
    let permit = match allowed(Permission::Change)? {
        Ok(permit) => permit,
        Err(why) => return Ok(CommandAnswer::No(sentence(&why, 300))),
    };
    match decision {
        Some(decision) => record(&decision, &permit, &source, context).map(CommandAnswer::Done),
        None => deletions(&source, &view, choices),
    }
}

/// A pass that carries out the deletions that were held back when somebody allowed that. What was merged since may delete more,
/// which nobody has seen: the job of an old comment may run again (Invariant 11).
fn deletions(
    source: &DecisionSource,
    view: &PassView,
    choices: &CiOptions,
) -> Result<CommandAnswer, CliError> {
    let desired = view.tips().desired.map(|tip| view.workspace().repo.commit(tip)).transpose()?;
    // GitHub gives times in whole seconds.
    let is_newer = |made: &Commit| made.committer_time.as_second() > source.at.as_second();
    if let Some(newer) = desired.filter(is_newer) {
        let commit = newer.id.short();
        return Ok(CommandAnswer::No(format!(
            "The desired branch is at {} now, which is newer than the comment. Look at what the last pass held back, and allow it again.",
            code(&commit.to_string(), 63)
        )));
    }
    Ok(CommandAnswer::Pass(choices.with_mass_delete()))
}

/// The progress of everything, for whoever may read the repository: the status branch shows them the same.
fn status(author: &Account, host: &Host, view: &PassView) -> Result<CommandAnswer, CliError> {
    let login = &author.login;
    if host.ask(|github, repo| github.permission(repo, login))? < RepoPermission::Read {
        let why = format!("{login} may not read this repository, so its status is not shown");
        return Ok(CommandAnswer::No(sentence(&why, 300)));
    }
    let keys = view.executions()?.into_iter().collect();
    Ok(CommandAnswer::Said(view.page(&keys, PageSubject::Repository)?.comment))
}

/// What a command about an Execution or a node asks to be recorded; the inner error is the answer where that is not clear.
fn decision(
    command: &CommentCommand,
    view: &PassView,
    inventory: &Inventory<'_>,
    context: &Context,
) -> Result<Result<Decision, CommandAnswer>, CliError> {
    let found = |target: &ExecutionTarget| resolve::execution(target, inventory, context);
    Ok(Ok(match command {
        CommentCommand::Retry { execution, node } => {
            Decision::Retry { execution: found(execution)?, from: node.clone(), comment: None }
        }
        CommentCommand::Cancel { execution } => Decision::Cancel { target: found(execution)?, comment: None },
        CommentCommand::Suspend { execution } => {
            Decision::Suspend { execution: found(execution)?, comment: None }
        }
        CommentCommand::Resume { execution } => Decision::Resume { execution: found(execution)? },
        CommentCommand::Unlock { execution, words } => {
            Decision::Unlock { execution: found(execution)?, comment: words.clone() }
        }
        CommentCommand::Answer { execution, node, text } => {
            Decision::Answer { execution: found(execution)?, node: node.clone(), text: text.clone() }
        }
        CommentCommand::Complete { execution, node, .. } | CommentCommand::Fail { execution, node, .. } => {
            let waiting = match execution {
                Some(target) => vec![found(target)?],
                None => resolve::waiting_at_node(view, node)?,
            };
            match waiting.as_slice() {
                [execution] => ending(command, execution, node),
                // Never a guess between several, since completing a node cannot be taken back.
                _ => return Ok(Err(which_execution(command, &waiting, node))),
            }
        }
        // The caller answers these itself.
        CommentCommand::Approve { .. }
        | CommentCommand::ApproveAll { .. }
        | CommentCommand::Reject { .. }
        | CommentCommand::Status
        | CommentCommand::AllowMassDelete
        | CommentCommand::Help => return Ok(Err(CommandAnswer::Said(HELP.to_owned()))),
    }))
}

/// What a person says of the work of a node that waited for them.
fn ending(command: &CommentCommand, execution: &ResourceKey, node: &NodeId) -> Decision {
    let (outputs, failed, comment) = match command {
        CommentCommand::Complete { outputs, .. } => (outputs.clone(), false, None),
        CommentCommand::Fail { words, .. } => (JsonMap::new(), true, words.clone()),
        _ => (JsonMap::new(), false, None),
    };
    Decision::Complete { execution: execution.clone(), node: node.clone(), outputs, failed, comment }
}

/// What is said when not exactly one Execution waits at a node.
fn which_execution(command: &CommentCommand, waiting: &[ResourceKey], node: &NodeId) -> CommandAnswer {
    let verb = if matches!(command, CommentCommand::Fail { .. }) { "fail" } else { "complete" };
    CommandAnswer::No(match waiting {
        [] => format!("No Execution waits at {}.", code(node.as_str(), 63)),
        several => resolve::choices(verb, several, node.as_str()),
    })
}

/// What is recorded for a gate; the inner error is a line of Markdown for the one who asked.
fn review(
    chosen: ResolvedGate,
    approves: bool,
    (words, expect): (Option<&str>, Option<&str>),
    permit: &AuthorizedActor,
    host: &Host,
    view: &PassView,
) -> Result<Result<Decision, String>, CliError> {
    let ResolvedGate { gate, execution, .. } = chosen;
    // An author may reject: that only stops work.
    if approves && let Some(why) = refuse_author(host, view, &gate, execution.as_ref(), &permit.login)? {
        return Ok(Err(sentence(&why, 300)));
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
    let [comment, expect] = [words, expect].map(|text| text.map(ToOwned::to_owned));
    Ok(Ok(Decision::Review { gate, action, execution, comment, expect }))
}
