//! `planspec wait`: until something is true of an object.

use clap::Args;

use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::repo_context::RepoContext;
use crate::cli::view::inventory::Inventory;
use crate::cli::view::polling::Polling;
use crate::cli::view::selector::{self, ResourceSelector};
use crate::model::{Condition, Duration, Kind};
use crate::report::jsonpath::{JsonPath, shown};
use crate::report::object::{LiveObject, short_name};
use crate::report::style::Tone;

/// Wait until objects meet a condition
///
/// Exits with 1 when the timeout expires, or when an execution ends in a different phase.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec wait execution/sso-exec-001 --for=phase=Succeeded --timeout 10m
  planspec wait goal/enable-google-sso --for=condition=Accepted
  planspec wait execution/sso-exec-001 --for=jsonpath='{.status.nodeStatuses.research.phase}'=Succeeded
  planspec wait execution/sso-exec-001 --for=delete")]
pub(crate) struct WaitArguments {
    /// The objects, as KIND/NAME or a kind and names
    #[arg(required = true, value_name = "KIND/NAME")]
    targets: Vec<String>,
    /// phase=PHASE[,PHASE…], condition=TYPE[=STATUS], jsonpath=PATH[=VALUE], or delete
    #[arg(long = "for", value_name = "WHAT", value_parser = parse_goal, default_value = "phase=Succeeded")]
    goal: WaitCondition,
    /// How long to wait, as in `30s`, `10m`, `2h`
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    timeout: Duration,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum WaitCondition {
    /// One of these phases.
    Phase(Vec<String>),
    /// A condition of this type with this status.
    Condition(String, String),
    /// Something is found there; with a value, exactly that.
    Found(JsonPath, Option<String>),
    /// That it is gone.
    Delete,
}

/// What is known so far.
#[derive(Debug, PartialEq, Eq)]
enum WaitState {
    Yes,
    NotYet,
    /// It cannot become true any more without a retry.
    Never(String),
}

fn parse_goal(text: &str) -> Result<WaitCondition, String> {
    if text == "delete" {
        return Ok(WaitCondition::Delete);
    }
    match text.split_once('=') {
        Some(("phase", phases)) if !phases.is_empty() => {
            Ok(WaitCondition::Phase(phases.split(',').map(str::to_owned).collect()))
        }
        Some(("condition", rest)) if !rest.is_empty() => {
            // As with kubectl, a condition without a status has to be true.
            let (kind, status) = rest.split_once('=').unwrap_or((rest, "True"));
            Ok(WaitCondition::Condition(kind.to_owned(), status.to_owned()))
        }
        Some(("jsonpath", rest)) if !rest.is_empty() => parse_path(rest),
        _ => Err("write phase=PHASE, condition=TYPE[=STATUS], jsonpath=PATH[=VALUE] or delete".to_owned()),
    }
}

/// `{PATH}=VALUE`, `PATH=VALUE` or a path alone.
fn parse_path(text: &str) -> Result<WaitCondition, String> {
    // Within braces or brackets a `=` belongs to a filter.
    let end = match text.strip_prefix('{') {
        Some(inner) => inner.rfind('}').map_or(text.len(), |end| end + 2),
        None => {
            let brackets = text.rfind(']').map_or(0, |end| end + 1);
            let after = text.get(brackets..).and_then(|rest| rest.find('='));
            after.map_or(text.len(), |at| brackets + at)
        }
    };
    let (path, rest) = text.split_at(end.min(text.len()));
    let path = path.strip_prefix('{').and_then(|path| path.strip_suffix('}')).unwrap_or(path);
    let wanted = match rest.strip_prefix('=') {
        Some(value) => Some(value.trim_start_matches('=').trim_matches(['"', '\'']).to_owned()),
        None if rest.is_empty() => None,
        None => return Err(format!("write jsonpath={{PATH}}=VALUE; `{rest}` is not expected")),
    };
    let path = path.parse::<JsonPath>().map_err(|error| error.to_string())?;
    Ok(WaitCondition::Found(path, wanted))
}

pub(crate) fn run(arguments: &WaitArguments, context: &mut Context) -> Result<Exit, CliError> {
    let targets = selector::many(&arguments.targets)?;
    // A kind alone would be met by what happens to be there at this moment.
    if targets.iter().any(|target| target.name.is_none()) {
        return Err(CliError::usage("name what to wait for, as in KIND/NAME"));
    }
    let workspace = RepoContext::open(context)?;
    wait(&workspace, &targets, &arguments.goal, Some(&arguments.timeout), context)
}

/// Waits for all targets.
pub(crate) fn wait(
    workspace: &RepoContext,
    targets: &[ResourceSelector],
    goal: &WaitCondition,
    timeout: Option<&Duration>,
    context: &mut Context,
) -> Result<Exit, CliError> {
    // The time begins before the first read, which on a remote is a fetch.
    let mut polling = Polling::new(workspace, timeout.map(Duration::span));
    let mut tips = workspace.tips(context)?;
    let mut pending: Vec<ResourceSelector> = targets.to_vec();
    loop {
        let inventory = Inventory::load(workspace, &tips)?;
        let mut still = Vec::new();
        for target in pending {
            // Only what is not there was deleted: a record that cannot be read, or a name that two resources have, is an
            // error here as everywhere.
            let object = match *goal {
                WaitCondition::Delete => inventory.find(&target, context)?,
                _ => Some(inventory.one(&target, context)?),
            };
            match answer(object.as_ref(), goal) {
                WaitState::Yes => context.out.line(met(&target, object.as_ref()))?,
                WaitState::NotYet => still.push(target),
                WaitState::Never(why) => return Err(CliError::no(why)),
            }
        }
        if still.is_empty() {
            return Ok(Exit::Done);
        }
        // What was met once counts, even if it changes again before the others are met.
        pending = still;
        match polling.next(workspace, &tips, context)? {
            Some(next) => tips = next,
            None => return Err(timed_out(&pending, timeout)),
        }
    }
}

fn timed_out(pending: &[ResourceSelector], timeout: Option<&Duration>) -> CliError {
    let names: Vec<String> = pending.iter().map(named).collect();
    let after = timeout.map(|timeout| format!(" after {timeout}")).unwrap_or_default();
    CliError::no(format!("still waiting for {}{after}", names.join(", ")))
        .hint("`planspec describe` shows what it waits for; `planspec reconcile` drives it")
}

fn met(target: &ResourceSelector, object: Option<&LiveObject>) -> String {
    match object {
        Some(object) => {
            let phase = object.phase();
            format!("{} {}", short_name(&object.key), Tone::of_phase(&phase).paint(&phase))
        }
        None => format!("{} deleted", named(target)),
    }
}

fn named(target: &ResourceSelector) -> String {
    let kind = target.kind.map_or("resource", Kind::singular);
    format!("{kind}/{}", target.name.as_ref().map_or("", |name| name.as_str()))
}

fn answer(object: Option<&LiveObject>, goal: &WaitCondition) -> WaitState {
    let Some(object) = object else {
        return if *goal == WaitCondition::Delete { WaitState::Yes } else { WaitState::NotYet };
    };
    match goal {
        WaitCondition::Delete => WaitState::NotYet,
        WaitCondition::Phase(wanted) => {
            let phase = object.phase();
            if wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(&phase)) {
                return WaitState::Yes;
            }
            not_met(object)
        }
        WaitCondition::Found(path, wanted) => {
            let value = object.to_value();
            let found = path.find(&value);
            let holds = match wanted {
                Some(wanted) => found.iter().any(|found| shown(found) == *wanted),
                None => !found.is_empty(),
            };
            if holds { WaitState::Yes } else { WaitState::NotYet }
        }
        WaitCondition::Condition(kind, status) => {
            let holds = match Condition::find(conditions(object), kind) {
                Some(found) => format!("{:?}", found.status).eq_ignore_ascii_case(status),
                // `condition=Failed` is typed where objects of other tools have such a condition; here it is the phase.
                None => status.eq_ignore_ascii_case("True") && kind.eq_ignore_ascii_case(&object.phase()),
            };
            if holds { WaitState::Yes } else { not_met(object) }
        }
    }
}

/// That it is not so yet, or never will be.
fn not_met(object: &LiveObject) -> WaitState {
    match object.record.as_ref().and_then(|record| record.execution()) {
        // Only a retry changes what has ended (Invariant 10), so that waiting would use up the time for nothing.
        Some(status) if status.phase.is_terminal() => {
            let why = status.message.as_deref().map(|message| format!(": {message}"));
            let why = why.unwrap_or_default();
            WaitState::Never(format!("{} is {}{why}", short_name(&object.key), object.phase()))
        }
        _ => WaitState::NotYet,
    }
}

fn conditions(object: &LiveObject) -> &[Condition] {
    object.record.as_ref().map(|record| record.status.conditions()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_has_four_forms() {
        assert_eq!(parse_goal("delete"), Ok(WaitCondition::Delete));
        assert_eq!(
            parse_goal("phase=Failed,Succeeded"),
            Ok(WaitCondition::Phase(vec!["Failed".into(), "Succeeded".into()]))
        );
        assert_eq!(
            parse_goal("condition=Valid"),
            Ok(WaitCondition::Condition("Valid".into(), "True".into()))
        );
        assert_eq!(
            parse_goal("condition=Valid=False"),
            Ok(WaitCondition::Condition("Valid".into(), "False".into()))
        );
        for text in ["jsonpath={.status.phase}=Failed", "jsonpath=.status.phase=Failed"] {
            let path = ".status.phase".parse().unwrap();
            assert_eq!(parse_goal(text), Ok(WaitCondition::Found(path, Some("Failed".into()))), "{text}");
        }
        let filtered = ".status.conditions[?(@.type=='Valid')].status";
        for (text, wanted) in
            [(format!("jsonpath={{{filtered}}}=True"), Some("True")), (format!("jsonpath={filtered}"), None)]
        {
            let expected = WaitCondition::Found(filtered.parse().unwrap(), wanted.map(str::to_owned));
            assert_eq!(parse_goal(&text), Ok(expected), "{text}");
        }
        assert!(parse_goal("jsonpath={.a}x").is_err() && parse_goal("jsonpath=").is_err());
        assert!(parse_goal("phase=").is_err() && parse_goal("ready").is_err());
    }
}
