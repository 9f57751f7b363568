//! `planspec candidates`: what a shell offers for the word that is being typed. Hidden, because the scripts of
//! `planspec completions` call it: which word names what is known here once, and not once in each shell's language.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{ArgAction, Args, Command};

use crate::cli::error::{CliError, Exit};
use crate::cli::repo_context::{RepoContext, SelectedCommits};
use crate::cli::view::inventory::Inventory;
use crate::cli::view::selector::{self, ResourceSelector};
use crate::cli::{Context, command};
use crate::model::{Kind, Resource, ResourceKey, Spec};
use crate::report::object::{LiveObject, short_name};

/// Print what can stand in place of the last word
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct CandidatesArguments {
    /// The words after `planspec`, up to the one that is being typed, which may be empty
    #[arg(value_name = "WORD", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// What a word names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WordMeaning {
    /// KIND, KIND/NAME, or a name after its kind.
    Resource {
        kinds_alone: bool,
    },
    /// KIND/NAME of these; a bare name is of the first, where it is the command's own.
    OneOf {
        bare: &'static [Kind],
        spelled: &'static [Kind],
    },
    /// EXECUTION, and EXECUTION/NODE once there is a slash.
    ExecutionOrNode,
    /// EXECUTION/NODE only.
    Node,
    /// A node of the execution that is named before.
    NodeOfTarget,
    /// A parameter of the plan that is named before, as `NAME=`.
    Parameter,
    Namespace,
    Kind,
}

/// What `run` takes, also by a bare name where only one of them has it.
const RUN: &[Kind] = &[Kind::Plan, Kind::Goal, Kind::Schedule];

/// The first words of these commands, or all words where the command takes several.
const POSITIONALS: &[(&str, WordMeaning)] = &[
    ("get", WordMeaning::Resource { kinds_alone: true }),
    ("list", WordMeaning::Resource { kinds_alone: true }),
    ("describe", WordMeaning::Resource { kinds_alone: true }),
    ("watch", WordMeaning::Resource { kinds_alone: true }),
    ("delete", WordMeaning::Resource { kinds_alone: false }),
    ("edit", WordMeaning::Resource { kinds_alone: false }),
    ("wait", WordMeaning::Resource { kinds_alone: false }),
    ("history", WordMeaning::OneOf { bare: &[Kind::Execution], spelled: &Kind::ALL }),
    ("run", WordMeaning::OneOf { bare: RUN, spelled: RUN }),
    ("graph", WordMeaning::OneOf { bare: &[Kind::Execution, Kind::Plan], spelled: &[] }),
    ("diff", WordMeaning::OneOf { bare: &[], spelled: &[Kind::Execution] }),
    ("approve", WordMeaning::OneOf { bare: &[Kind::Gate], spelled: &[] }),
    ("reject", WordMeaning::OneOf { bare: &[Kind::Gate], spelled: &[] }),
    ("cancel", WordMeaning::OneOf { bare: &[Kind::Execution], spelled: &[Kind::Goal] }),
    ("suspend", WordMeaning::OneOf { bare: &[Kind::Execution], spelled: &[Kind::Schedule] }),
    ("resume", WordMeaning::OneOf { bare: &[Kind::Execution], spelled: &[Kind::Schedule] }),
    ("retry", WordMeaning::OneOf { bare: &[Kind::Execution], spelled: &[] }),
    ("unlock", WordMeaning::OneOf { bare: &[Kind::Execution], spelled: &[] }),
    ("accept-pin", WordMeaning::OneOf { bare: &[Kind::Execution], spelled: &[] }),
    ("logs", WordMeaning::ExecutionOrNode),
    ("checkout", WordMeaning::ExecutionOrNode),
    ("artifacts", WordMeaning::ExecutionOrNode),
    ("explain", WordMeaning::Node),
    ("complete", WordMeaning::Node),
    ("fail", WordMeaning::Node),
    ("answer", WordMeaning::Node),
    ("schema", WordMeaning::Kind),
];

/// The options whose values are names of something: command (any where empty), option, what it names.
const OPTIONS: &[(&str, &str, WordMeaning)] = &[
    ("", "namespace", WordMeaning::Namespace),
    ("run", "parameter", WordMeaning::Parameter),
    ("run", "binding", WordMeaning::OneOf { bare: &[Kind::Binding], spelled: &[] }),
    ("run", "from-execution", WordMeaning::OneOf { bare: &[Kind::Execution], spelled: &[] }),
    ("approve", "execution", WordMeaning::OneOf { bare: &[Kind::Execution], spelled: &[] }),
    ("reject", "execution", WordMeaning::OneOf { bare: &[Kind::Execution], spelled: &[] }),
    ("retry", "from", WordMeaning::NodeOfTarget),
    ("diff", "node", WordMeaning::NodeOfTarget),
    ("history", "node", WordMeaning::NodeOfTarget),
    ("logs", "node", WordMeaning::NodeOfTarget),
    ("graph", "open", WordMeaning::NodeOfTarget),
];

/// The commands whose words this module completes.
pub(super) fn commands() -> impl Iterator<Item = &'static str> {
    POSITIONALS.iter().map(|(name, _)| *name)
}

/// The options whose values this module completes, with the command that has them; empty where every command does.
pub(super) fn options() -> impl Iterator<Item = (&'static str, &'static str)> {
    OPTIONS.iter().map(|(command, option, _)| (*command, *option))
}

pub(crate) fn candidates(arguments: &CandidatesArguments, context: &mut Context) -> Result<Exit, CliError> {
    let line = TypedLine::read(&arguments.words);
    let Some(named) = line.named() else { return Ok(Exit::Done) };
    line.apply(context);
    // Where nothing can be read, a shell has nothing to offer; an error in the midst of a line helps nobody.
    let found = offers(named, &line, context).unwrap_or_default();
    for word in found.iter().filter(|word| word.starts_with(&line.word)) {
        context.out.line(format!("{}{word}", line.lead))?;
    }
    Ok(Exit::Done)
}

/// The command line as far as it is typed.
#[derive(Debug, Default)]
struct TypedLine {
    command: String,
    positionals: Vec<String>,
    options: Vec<(String, String)>,
    /// The option whose value is being typed.
    awaited: Option<String>,
    /// What the word begins with and what stays as it is: `--from=`.
    lead: String,
    /// What is being completed.
    word: String,
}

impl TypedLine {
    /// Reads it with the definitions of the real command line, so that nobody has to list flags twice.
    fn read(words: &[String]) -> Self {
        let mut line = Self::default();
        let mut definition = command();
        definition.build();
        let mut at: &Command = &definition;
        let Some((last, before)) = words.split_last() else { return line };
        let mut awaited: Option<String> = None;
        for word in before {
            // bash breaks `--from=x` into three words.
            if word == "=" && awaited.is_some() {
                continue;
            }
            if let Some(option) = awaited.take() {
                line.options.push((option, word.clone()));
            } else if word.starts_with('-') && word.len() > 1 {
                let (option, value) = option_of(at, word);
                match (option, value) {
                    (Some(option), Some(value)) => line.options.push((option, value)),
                    (option, _) => awaited = option,
                }
            } else if let Some(sub) = at.find_subcommand(word) {
                at = sub;
                // `artifacts get`: the words of both are of one kind.
                if line.command.is_empty() {
                    sub.get_name().clone_into(&mut line.command);
                }
            } else {
                line.positionals.push(word.clone());
            }
        }
        if awaited.is_none() && last.starts_with('-') {
            if let (Some(option), Some(value)) = option_of(at, last) {
                last.strip_suffix(&value).unwrap_or_default().clone_into(&mut line.lead);
                line.word = value;
                awaited = Some(option);
            } else {
                // The name of a flag: the shell knows them.
                line.command.clear();
            }
        } else if last != "=" {
            line.word.clone_from(last);
        }
        // Between `artifacts` and its own command, only that can stand.
        if at.has_subcommands() && awaited.is_none() {
            line.command.clear();
        }
        line.awaited = awaited;
        line
    }

    fn named(&self) -> Option<WordMeaning> {
        if let Some(option) = &self.awaited {
            let fits = |(command, name, _): &&(&str, &str, WordMeaning)| {
                (command.is_empty() || *command == self.command) && name == option
            };
            return OPTIONS.iter().find(fits).map(|(_, _, named)| *named);
        }
        let (_, named) = POSITIONALS.iter().find(|(name, _)| *name == self.command)?;
        let takes_many = matches!(named, WordMeaning::Resource { .. })
            || matches!(self.command.as_str(), "history" | "diff");
        (takes_many || self.positionals.is_empty()).then_some(*named)
    }

    /// The options that choose the repository and the namespace hold for the answer too.
    fn apply(&self, context: &mut Context) {
        let value = |name: &str| {
            self.options.iter().rev().find(|(option, _)| option == name).map(|(_, value)| value.clone())
        };
        let options = &mut context.options;
        options.quiet = true;
        options.directory = value("directory").map(PathBuf::from).or(options.directory.take());
        options.repo = value("repo").or(options.repo.take());
        options.reference = value("ref").or(options.reference.take());
        options.namespace =
            value("namespace").and_then(|name| name.parse().ok()).or(options.namespace.take());
        // Pressing a key never waits for the network.
        options.remote = Some(".".to_owned());
    }
}

/// The option that a word begins with, by its long name, where it takes a value; and the value, where the word holds it.
fn option_of(command: &Command, word: &str) -> (Option<String>, Option<String>) {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (word, None),
    };
    let found = command.get_arguments().find(|argument| {
        let short = argument.get_short().is_some_and(|short| name == format!("-{short}"));
        short || argument.get_long().is_some_and(|long| name == format!("--{long}"))
    });
    let takes_value = found.filter(|found| matches!(found.get_action(), ArgAction::Set | ArgAction::Append));
    let long = takes_value.and_then(|found| found.get_long().map(str::to_owned));
    (long, value)
}

/// Everything that can stand there.
fn offers(named: WordMeaning, line: &TypedLine, context: &mut Context) -> Result<BTreeSet<String>, CliError> {
    let kinds = || Kind::ALL.into_iter().map(|kind| kind.plural().to_owned());
    if named == WordMeaning::Kind {
        let others = ["manifest", "config"].map(str::to_owned);
        return Ok(Kind::ALL.map(|kind| kind.singular().to_owned()).into_iter().chain(others).collect());
    }
    let state = KnownState::load(context)?;
    let inventory = state.inventory()?;
    match named {
        WordMeaning::Kind => Ok(BTreeSet::new()),
        WordMeaning::Namespace => {
            context.options.namespace = None;
            let keys = keys(&inventory, None, context)?;
            Ok(keys.into_iter().map(|key| key.namespace.to_string()).collect())
        }
        WordMeaning::Resource { kinds_alone } => {
            let first = line.positionals.first().filter(|word| !word.contains('/') && *word != "all");
            if let Some(word) = first {
                // As in `get plans a b`: everything after a kind is a name of it.
                return names(&inventory, &[selector::kind(word)?], context);
            }
            let mut found: BTreeSet<String> =
                keys(&inventory, None, context)?.iter().map(short_name).collect();
            if kinds_alone && line.positionals.is_empty() {
                found.extend(kinds().chain(["all".to_owned()]));
            }
            Ok(found)
        }
        WordMeaning::OneOf { bare, spelled } => {
            let mut found = names(&inventory, bare, context)?;
            // Spelled out, a name of a kind that may stand alone is right too; offered only where the kind is being typed.
            let typed = line.word.contains('/');
            for kind in spelled.iter().chain(bare.iter().filter(|kind| typed && !spelled.contains(kind))) {
                found.extend(keys(&inventory, Some(*kind), context)?.iter().map(short_name));
            }
            Ok(found)
        }
        WordMeaning::ExecutionOrNode | WordMeaning::Node => match line.word.rsplit_once('/') {
            Some((execution, _)) => {
                let nodes = nodes_of(&inventory, execution, context)?;
                Ok(nodes.into_iter().map(|node| format!("{execution}/{node}")).collect())
            }
            None => {
                let end = if named == WordMeaning::Node { "/" } else { "" };
                let found = names(&inventory, &[Kind::Execution], context)?;
                Ok(found.into_iter().map(|name| format!("{name}{end}")).collect())
            }
        },
        WordMeaning::NodeOfTarget => match line.positionals.first() {
            Some(target) => nodes_of(&inventory, target, context),
            None => Ok(BTreeSet::new()),
        },
        WordMeaning::Parameter => match line.positionals.first() {
            Some(target) => parameters_of(&inventory, target, context),
            None => Ok(BTreeSet::new()),
        },
    }
}

/// What is known here of both branches.
struct KnownState {
    workspace: RepoContext,
    tips: SelectedCommits,
}

impl KnownState {
    fn load(context: &mut Context) -> Result<Self, CliError> {
        let workspace = RepoContext::open(context)?;
        let tips = workspace.tips(context)?;
        Ok(Self { workspace, tips })
    }

    fn inventory(&self) -> Result<Inventory<'_>, CliError> {
        Inventory::load(&self.workspace, &self.tips)
    }
}

fn keys(
    inventory: &Inventory<'_>,
    kind: Option<Kind>,
    context: &Context,
) -> Result<Vec<ResourceKey>, CliError> {
    let all = ResourceSelector { namespace: None, kind, name: None };
    inventory.keys(&all, context.options.namespace.as_ref())
}

fn names(inventory: &Inventory<'_>, kinds: &[Kind], context: &Context) -> Result<BTreeSet<String>, CliError> {
    let mut found = BTreeSet::new();
    for kind in kinds {
        found.extend(keys(inventory, Some(*kind), context)?.into_iter().map(|key| key.name.to_string()));
    }
    Ok(found)
}

/// The nodes of an execution with the instances of those that are repeated; of a plan, the nodes that it declares.
fn nodes_of(
    inventory: &Inventory<'_>,
    target: &str,
    context: &Context,
) -> Result<BTreeSet<String>, CliError> {
    let as_plan = || selector::one(target, Some(Kind::Plan)).map(|plan| inventory.find(&plan, context));
    let found = match selector::execution(target) {
        Ok(execution) => inventory.find(&execution.into(), context)?,
        Err(_) => None,
    };
    let Some(found) = found.map_or_else(|| as_plan()?, |found| Ok(Some(found)))? else {
        return Ok(BTreeSet::new());
    };
    let recorded = found.record.as_ref().and_then(|record| record.execution());
    let mut nodes: BTreeSet<String> = recorded
        .into_iter()
        .flat_map(|status| status.node_statuses.iter().map(|(node, _)| node.to_string()))
        .collect();
    if nodes.is_empty() {
        nodes.extend(plan_of(inventory, &found)?.into_iter().flat_map(|plan| match plan.spec {
            Spec::Plan(spec) => spec.graph.nodes.iter().map(|node| node.id.to_string()).collect(),
            _ => Vec::new(),
        }));
    }
    Ok(nodes)
}

/// The plan that an object is, or the one that it runs.
fn plan_of(inventory: &Inventory<'_>, object: &LiveObject) -> Result<Option<Resource>, CliError> {
    let Some(resource) = &object.resource else { return Ok(None) };
    let home = &object.key.namespace;
    let plan = match &resource.spec {
        Spec::Plan(_) => return Ok(Some(resource.clone())),
        Spec::Execution(spec) => Some(spec.plan_ref.key(Kind::Plan, home)),
        Spec::Schedule(spec) => spec.plan_ref.as_ref().map(|plan| plan.key(Kind::Plan, home)),
        _ => None,
    };
    match plan {
        Some(plan) => Ok(inventory.object(&plan)?.and_then(|object| object.resource)),
        None => Ok(None),
    }
}

fn parameters_of(
    inventory: &Inventory<'_>,
    target: &str,
    context: &Context,
) -> Result<BTreeSet<String>, CliError> {
    let target = selector::one(target, Some(Kind::Plan))?;
    let Some(object) = inventory.find(&target, context)? else { return Ok(BTreeSet::new()) };
    Ok(match plan_of(inventory, &object)?.map(|plan| plan.spec) {
        Some(Spec::Plan(spec)) => spec.parameters.iter().map(|one| format!("{}=", one.name)).collect(),
        _ => BTreeSet::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> (Option<WordMeaning>, String) {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let line = TypedLine::read(&words);
        (line.named(), format!("{}{}", line.lead, line.word))
    }

    #[test]
    fn every_table_names_what_the_command_line_has() {
        let mut root = command();
        root.build();
        for name in commands() {
            assert!(root.find_subcommand(name).is_some(), "{name}");
        }
        for (name, option, _) in OPTIONS {
            let at = if name.is_empty() { &root } else { root.find_subcommand(name).unwrap() };
            assert!(
                at.get_arguments().any(|argument| argument.get_long() == Some(option)),
                "{name} --{option}"
            );
        }
    }

    #[test]
    fn the_word_that_is_typed_is_found_behind_flags() {
        let executions = WordMeaning::OneOf { bare: &[Kind::Execution], spelled: &[] };
        for (line, named, word) in [
            ("get plans x", Some(WordMeaning::Resource { kinds_alone: true }), "x"),
            ("-C sub get -l a=b ", Some(WordMeaning::Resource { kinds_alone: true }), ""),
            ("get -n te", Some(WordMeaning::Namespace), "te"),
            ("get -o js", None, "js"),
            ("run plan/x -p ", Some(WordMeaning::Parameter), ""),
            ("run --from-execution = e", Some(executions), "e"),
            ("run --from-execution=e", Some(executions), "--from-execution=e"),
            ("retry e --from b", Some(WordMeaning::NodeOfTarget), "b"),
            ("complete e/n out", None, "out"),
            ("artifacts ", None, ""),
            ("artifacts get e/", Some(WordMeaning::ExecutionOrNode), "e/"),
            ("get --no-h", None, ""),
            ("va", None, "va"),
        ] {
            assert_eq!(read(line), (named, word.to_owned()), "{line}");
        }
    }
}
