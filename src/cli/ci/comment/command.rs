//! Commands in comments: a closed grammar. One command per comment, in its first line; every word after it is data.

use crate::cli::view::selector::{self, ExecutionTarget, ResourceSelector};
use crate::model::{JsonMap, Kind, NodeId};
use crate::run::parameter::assignment;

/// What begins a command.
const PREFIX: &str = "/planspec";

/// The longest line that is read, in bytes.
const LONGEST: usize = 1000;

/// What a comment may say, for people.
pub(crate) const HELP: &str = "\
| Command | What it does |
| --- | --- |
| `/planspec approve [EXECUTION/]GATE [--expect DIGEST] [words]` | approves a gate that an Execution is waiting at |
| `/planspec approve --all [words]` | approves every gate at which what this pull request introduced waits, and which you may approve |
| `/planspec reject [EXECUTION/]GATE [words]` | rejects it |
| `/planspec retry EXECUTION [NODE]` | reruns what did not succeed, or a node and everything after it |
| `/planspec cancel EXECUTION` | cancels an Execution |
| `/planspec suspend EXECUTION` | starts no further nodes; `/planspec resume EXECUTION` resumes it |
| `/planspec complete [EXECUTION/]NODE key=value…` | records that a person did the work of a node |
| `/planspec fail [EXECUTION/]NODE [words]` | records that it could not be done |
| `/planspec answer EXECUTION/NODE TEXT` | answers the question of an agent that waits for input |
| `/planspec unlock EXECUTION [words]` | releases the lease of a runner that will not come back |
| `/planspec allow-mass-delete` | applies the deletions that the last pass held back |
| `/planspec status` | shows the progress of the Executions |
| `/planspec help` | shows this help |

One command per comment, in its first line. Name the EXECUTION if several are waiting. Whoever may read may ask for help and status, reviewers may decide at their gates, and everything else needs write permission.
";

/// A gate, as it is named.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum GateSelector {
    /// By its own name.
    Named(ResourceSelector),
    /// By an Execution, and the name or the node of one of its gates.
    Of(ExecutionTarget, NodeId),
    /// An Execution alone, which is none: the answer says which of its gates wait.
    Execution(ExecutionTarget),
}

/// A command, with everything in it that can be checked without the repository checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CommentCommand {
    /// A gate is approved.
    Approve { gate: GateSelector, expect: Option<String>, words: Option<String> },
    /// Every gate is approved at which what the pull request introduced waits.
    ApproveAll { words: Option<String> },
    /// A gate is rejected.
    Reject { gate: GateSelector, words: Option<String> },
    /// Nodes run again.
    Retry { execution: ExecutionTarget, node: Option<NodeId> },
    /// An execution is cancelled.
    Cancel { execution: ExecutionTarget },
    /// Nothing further of it starts.
    Suspend { execution: ExecutionTarget },
    /// It continues.
    Resume { execution: ExecutionTarget },
    /// The lease of a runner that will not come back is freed.
    Unlock { execution: ExecutionTarget, words: Option<String> },
    /// A person did the work of a node; of the only Execution that waits there, where none is named.
    Complete { execution: Option<ExecutionTarget>, node: NodeId, outputs: JsonMap },
    /// A person could not do it.
    Fail { execution: Option<ExecutionTarget>, node: NodeId, words: Option<String> },
    /// The deletions that a pass held back are carried out.
    AllowMassDelete,
    /// The question that a node asks is answered.
    Answer { execution: ExecutionTarget, node: NodeId, text: String },
    /// The progress of the Executions.
    Status,
    /// What can be said.
    Help,
}

/// Why a comment is no command that can be carried out; a line for whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CommandError {
    /// It is not known; the help says what is.
    Unknown,
    /// It is known and wrong.
    Wrong(String),
}

/// Reads a comment: none where it is no command at all.
pub(crate) fn parse(comment: &str) -> Option<Result<CommentCommand, CommandError>> {
    // A command further down may be an example, or a quotation of somebody else.
    let line = comment.lines().next().unwrap_or_default();
    // Telephones begin a line with a capital letter. The workflow's own filter, `startsWith`, does not tell them apart either.
    let (prefix, rest) = line.split_at_checked(PREFIX.len())?;
    if !prefix.eq_ignore_ascii_case(PREFIX) {
        return None;
    }
    // `/planspecs` and `/planspec-x` are meant for other programs.
    if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
        return None;
    }
    Some(if line.len() > LONGEST {
        Err(CommandError::Wrong(format!("a command has at most {LONGEST} bytes")))
    } else {
        command(rest.trim())
    })
}

fn command(rest: &str) -> Result<CommentCommand, CommandError> {
    let (verb, rest) = split(rest);
    match verb.to_ascii_lowercase().as_str() {
        "approve" if split(rest).0 == "--all" => {
            Ok(CommentCommand::ApproveAll { words: said(split(rest).1) })
        }
        verb @ ("approve" | "reject") => {
            let (name, words) = split(rest);
            let gate = gate(name)?;
            Ok(match verb {
                "approve" => {
                    let (expect, words) = expected(words)?;
                    CommentCommand::Approve { gate, expect, words: said(words) }
                }
                _ => CommentCommand::Reject { gate, words: said(words) },
            })
        }
        "retry" => {
            let (name, rest) = split(rest);
            let execution = execution(name)?;
            let (node, rest) = split(rest);
            nothing_more(rest)?;
            let node = match (node, &execution.node) {
                ("", node) => node.clone(),
                (id, None) => {
                    Some(NodeId::new(id).map_err(|error| wrong(format!("node id `{id}` {error}")))?)
                }
                (_, Some(_)) => return Err(wrong("the node is named twice".to_owned())),
            };
            Ok(CommentCommand::Retry { execution, node })
        }
        verb @ ("cancel" | "suspend" | "resume" | "unlock") => whole(verb, rest),
        "complete" => complete(rest),
        "fail" => {
            let (name, words) = split(rest);
            let (execution, node) = waiting_node(name)?;
            Ok(CommentCommand::Fail { execution, node, words: said(words) })
        }
        "allow-mass-delete" => nothing_more(rest).map(|()| CommentCommand::AllowMassDelete),
        "answer" => {
            let (name, text) = split(rest);
            let execution = execution(name)?;
            let Some(node) = execution.node.clone() else {
                return Err(wrong("which node? Write EXECUTION/NODE".to_owned()));
            };
            let text = required(text, "which answer?")?.to_owned();
            Ok(CommentCommand::Answer { execution, node, text })
        }
        "status" => nothing_more(rest).map(|()| CommentCommand::Status),
        "help" => nothing_more(rest).map(|()| CommentCommand::Help),
        _ => Err(CommandError::Unknown),
    }
}

/// A command about an Execution as a whole.
fn whole(verb: &str, rest: &str) -> Result<CommentCommand, CommandError> {
    let (name, rest) = split(rest);
    let execution = execution(name)?;
    // Otherwise `cancel EXECUTION/NODE` would end more than was asked for.
    if execution.node.is_some() {
        return Err(wrong(format!("`{verb}` applies to a whole Execution; do not name a node")));
    }
    if verb == "unlock" {
        return Ok(CommentCommand::Unlock { execution, words: said(rest) });
    }
    nothing_more(rest)?;
    Ok(match verb {
        "suspend" => CommentCommand::Suspend { execution },
        "resume" => CommentCommand::Resume { execution },
        _ => CommentCommand::Cancel { execution },
    })
}

/// A node that waits for a person, with or without its Execution.
fn waiting_node(name: &str) -> Result<(Option<ExecutionTarget>, NodeId), CommandError> {
    let name = unquoted(name);
    if name.contains('/') {
        let execution = execution(&name)?;
        let Some(node) = execution.node.clone() else {
            return Err(wrong("name a node, as EXECUTION/NODE".to_owned()));
        };
        return Ok((Some(execution), node));
    }
    let id = required(&name, "name a node")?;
    Ok((None, NodeId::new(id).map_err(|error| wrong(format!("node id `{id}` {error}")))?))
}

fn complete(rest: &str) -> Result<CommentCommand, CommandError> {
    let (name, rest) = split(rest);
    let (execution, node) = waiting_node(name)?;
    // Quotes only hold words together; nothing is expanded.
    let words = shell_words::split(rest).map_err(|_| wrong("unclosed quote".to_owned()))?;
    let mut outputs = JsonMap::new();
    for word in words {
        let (key, value) = assignment(&word).map_err(wrong)?;
        if !is_output(&key) {
            return Err(wrong(
                "an output name has only lower-case letters, digits and underscores".to_owned(),
            ));
        }
        if outputs.contains_key(&key) {
            return Err(wrong(format!("{key} is given twice")));
        }
        outputs.insert(key, value);
    }
    Ok(CommentCommand::Complete { execution, node, outputs })
}

fn gate(name: &str) -> Result<GateSelector, CommandError> {
    let name = unquoted(name);
    let name = required(&name, "name a gate")?;
    let parts: Vec<&str> = name.split('/').collect();
    let kind = |word: &str| word.parse::<Kind>().ok();
    let by_execution = match parts.as_slice() {
        // `gate/NAME` is a gate, `NAME/GATE` one of an Execution; whether the first word is a kind decides.
        [first, _] => kind(first).is_none(),
        [_, second, _] => kind(second).is_none(),
        parts => parts.len() > 3,
    };
    if by_execution {
        let target = execution(name)?;
        return match target.node.clone() {
            Some(id) => Ok(GateSelector::Of(target, id)),
            None => Ok(GateSelector::Execution(target)),
        };
    }
    match selector::one(name, Some(Kind::Gate)) {
        Ok(target) if target.kind == Some(Kind::Gate) => Ok(GateSelector::Named(target)),
        Ok(target) if target.kind == Some(Kind::Execution) => execution(name).map(GateSelector::Execution),
        Ok(_) => Err(wrong("only gates are approved or rejected".to_owned())),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn execution(name: &str) -> Result<ExecutionTarget, CommandError> {
    let name = unquoted(name);
    let name = required(&name, "name an Execution")?;
    let is_kind = |word: &str| word.parse::<Kind>().is_ok();
    // Three names without a kind between them can only mean this, and people write it, because our own pages show
    // NAMESPACE/NAME.
    let full = match name.split('/').collect::<Vec<_>>().as_slice() {
        [namespace, name, node] if !is_kind(namespace) && !is_kind(name) => {
            Some(format!("{namespace}/execution/{name}/{node}"))
        }
        _ => None,
    };
    selector::execution(full.as_deref().unwrap_or(name)).map_err(|error| wrong(error.to_string()))
}

/// A name without the backticks of Markdown, in which people copy it from our own comments, and without capital letters, which a
/// telephone adds and no name has.
fn unquoted(name: &str) -> String {
    name.trim_matches('`').to_ascii_lowercase()
}

/// The digest that an approval is for, where it begins with one; the rest are words.
fn expected(words: &str) -> Result<(Option<String>, &str), CommandError> {
    let (first, rest) = split(words);
    if first != "--expect" {
        return Ok((None, words));
    }
    let (digest, rest) = split(rest);
    let digest = unquoted(digest);
    let digest = required(&digest, "which digest?")?;
    // Nothing else of a comment may get into a message as a digest.
    if digest.len() > 71 || !digest.chars().all(|c| c.is_ascii_hexdigit() || "sha256:".contains(c)) {
        return Err(wrong("a digest has only hexadecimal digits".to_owned()));
    }
    Ok((Some(digest.to_owned()), rest))
}

/// What somebody adds in their own words.
fn said(words: &str) -> Option<String> {
    (!words.is_empty()).then(|| words.to_owned())
}

fn required<'a>(word: &'a str, question: &str) -> Result<&'a str, CommandError> {
    if word.is_empty() { Err(wrong(question.to_owned())) } else { Ok(word) }
}

fn nothing_more(rest: &str) -> Result<(), CommandError> {
    if rest.is_empty() { Ok(()) } else { Err(wrong("too many words".to_owned())) }
}

fn wrong(why: String) -> CommandError {
    CommandError::Wrong(why)
}

fn is_output(name: &str) -> bool {
    // The contract's form of the name of an output. Nothing else from a comment gets into records as a key.
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// The first word, and the rest without the space between.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    match text.split_once([' ', '\t']) {
        Some((word, rest)) => (word, rest.trim()),
        None => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use strum::IntoEnumIterator as _;

    use super::*;
    use crate::model::{NextStep, NodePhase, NodeReason, NodeSituation, ResourceKey, next_steps};

    fn parsed(text: &str) -> Result<CommentCommand, CommandError> {
        parse(text).unwrap_or_else(|| panic!("{text} is no command"))
    }

    #[test]
    fn commands_are_read_with_their_words_as_data() {
        let Ok(CommentCommand::Approve { gate, words, .. }) =
            parsed("/planspec approve sso-review  looks `good` $(rm)\nmore")
        else {
            panic!()
        };
        let GateSelector::Named(gate) = gate else { panic!() };
        assert_eq!(gate.name.unwrap().as_str(), "sso-review");
        assert_eq!(words.as_deref(), Some("looks `good` $(rm)"));
        let Ok(CommentCommand::Complete { node, outputs, .. }) =
            parsed("/planspec complete exec-1/research findings='see the wiki' count:=3")
        else {
            panic!()
        };
        assert_eq!(node.as_str(), "research");
        assert_eq!(serde_json::to_string(&outputs).unwrap(), r#"{"findings":"see the wiki","count":3}"#);
        assert!(matches!(
            parsed("/planspec retry exec-1 build"),
            Ok(CommentCommand::Retry { node: Some(_), .. })
        ));
        assert!(matches!(
            parsed("/planspec retry team/execution/exec-1"),
            Ok(CommentCommand::Retry { node: None, .. })
        ));
        let Ok(CommentCommand::Answer { execution, node, text }) =
            parsed("/planspec answer leaflet-1/write  for `nurses`; and $(rm)")
        else {
            panic!()
        };
        assert_eq!((execution.name.as_str(), node.as_str()), ("leaflet-1", "write"));
        assert_eq!(text, "for `nurses`; and $(rm)");
        assert!(matches!(
            parsed("/planspec unlock exec-1 the machine is gone"),
            Ok(CommentCommand::Unlock { words: Some(_), .. })
        ));
        assert!(matches!(
            parsed("/planspec fail research no access"),
            Ok(CommentCommand::Fail { execution: None, words: Some(_), .. })
        ));
        assert!(matches!(parsed("/planspec suspend exec-1"), Ok(CommentCommand::Suspend { .. })));
        assert!(matches!(parsed("/planspec resume exec-1"), Ok(CommentCommand::Resume { .. })));
        assert_eq!(parsed("/planspec allow-mass-delete"), Ok(CommentCommand::AllowMassDelete));
        assert_eq!(
            parsed("/planspec approve --all fine by me"),
            Ok(CommentCommand::ApproveAll { words: Some("fine by me".to_owned()) })
        );
        assert!(parsed("/planspec reject --all").is_err());
        // As a telephone writes it, and as it is copied from a comment.
        assert_eq!(parsed("/Planspec Approve `ship-1/look`"), parsed("/planspec approve ship-1/look"));
        assert_eq!(parsed("/planspec retry `ship-1`"), parsed("/planspec retry ship-1"));
        assert_eq!(parsed("/planspec status"), Ok(CommentCommand::Status));
        assert_eq!(parsed("/planspec help\r\nthanks"), Ok(CommentCommand::Help));
    }

    #[test]
    fn gates_and_nodes_are_named_alone_or_with_their_execution() {
        let gate = |name: &str| match parsed(&format!("/planspec approve {name} yes")) {
            Ok(CommentCommand::Approve { gate: GateSelector::Named(gate), .. }) => {
                format!("{:?} {}", gate.namespace.map(|it| it.to_string()), gate.name.unwrap())
            }
            Ok(CommentCommand::Approve { gate: GateSelector::Of(of, id), .. }) => {
                format!("{:?} {} / {id}", of.namespace.map(|it| it.to_string()), of.name)
            }
            Ok(CommentCommand::Approve { gate: GateSelector::Execution(of), .. }) => {
                format!("{:?} {}", of.namespace.map(|it| it.to_string()), of.name)
            }
            other => format!("{other:?}"),
        };
        assert_eq!(gate("look"), "None look");
        assert_eq!(gate("gate/look"), "None look");
        assert_eq!(gate("team/gate/look"), "Some(\"team\") look");
        assert_eq!(gate("ship-1/look"), "None ship-1 / look");
        assert_eq!(gate("execution/ship-1/look"), "None ship-1 / look");
        assert_eq!(gate("team/ship-1/look"), "Some(\"team\") ship-1 / look");
        assert_eq!(gate("`Team/Ship-1/Look`"), "Some(\"team\") ship-1 / look");
        assert_eq!(gate("team/execution/ship-1/look"), "Some(\"team\") ship-1 / look");
        assert_eq!(gate("execution/ship-1"), "None ship-1");
        assert_eq!(gate("team/execution/ship-1"), "Some(\"team\") ship-1");
        let complete = |name: &str| match parsed(&format!("/planspec complete {name} a=1")) {
            Ok(CommentCommand::Complete { execution, node, .. }) => {
                format!("{:?} / {node}", execution.map(|it| it.name.to_string()))
            }
            other => format!("{other:?}"),
        };
        assert_eq!(complete("research"), "None / research");
        assert_eq!(complete("exec-1/research"), "Some(\"exec-1\") / research");
    }

    #[test]
    fn an_approval_may_name_the_digest_that_it_is_for() {
        let Ok(CommentCommand::Approve { expect, words, .. }) =
            parsed("/planspec approve look --expect `3f9a0c41d7e2` --expect that it works")
        else {
            panic!()
        };
        assert_eq!(expect.as_deref(), Some("3f9a0c41d7e2"));
        assert_eq!(words.as_deref(), Some("--expect that it works"));
        for bad in ["--expect", "--expect `$(rm)`", "--expect 3f9a0c41d7e2zz"] {
            assert!(matches!(parsed(&format!("/planspec approve look {bad}")), Err(CommandError::Wrong(_))));
        }
    }

    #[test]
    fn what_is_no_command_is_left_alone() {
        for text in
            ["", "hello", " /planspec help", "see /planspec help", "/planspecs", "x\n/planspec approve g"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_grammar_lets_nothing_else_through() {
        assert_eq!(parsed("/planspec"), Err(CommandError::Unknown));
        assert_eq!(parsed("/planspec apply -f x"), Err(CommandError::Unknown));
        for bad in [
            "approve",
            "approve --everything",
            "approve ../../etc",
            "approve plan/x",
            "approve plan/b/c",
            "approve a/b/c/d/e",
            "approve e/",
            "approve e/../g",
            "retry",
            "retry e a b",
            "retry e/a b",
            "cancel e --force",
            "cancel e/n",
            "suspend e/n",
            "resume e now",
            "unlock",
            "fail",
            "fail e/",
            "allow-mass-delete 5",
            "complete",
            "complete execution/e",
            "complete e/n Key=1",
            "complete e/n --failed",
            "complete e/n a=1 a=2",
            "complete e/n a='",
            "answer",
            "answer e",
            "answer e/n",
            "status --all",
            "help me",
        ] {
            assert!(matches!(parsed(&format!("/planspec {bad}")), Err(CommandError::Wrong(_))), "{bad}");
        }
        let long = format!("/planspec approve g {}", "x".repeat(2000));
        assert!(matches!(parsed(&long), Err(CommandError::Wrong(_))));
    }

    #[test]
    fn every_next_step_that_a_comment_shows_is_a_command() {
        let name = |kind, name: &str| ResourceKey::new(kind, "team".parse().unwrap(), name.parse().unwrap());
        let execution = name(Kind::Execution, "run-1");
        let gate = name(Kind::Gate, "review");
        let node = NodeId::new("write_up").unwrap();
        let mut comments = BTreeSet::new();
        for phase in NodePhase::iter() {
            for reason in NodeReason::iter().map(Some).chain([None]) {
                let gate = Some(&gate);
                let situation = NodeSituation { execution: &execution, node: &node, phase, reason, gate };
                comments.extend(next_steps(&situation).iter().filter_map(NextStep::comment));
            }
        }
        assert_eq!(comments.len(), 6, "{comments:?}");
        for comment in comments {
            assert!(parsed(&comment).is_ok(), "{comment}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_comment_makes_the_parser_panic(text in "(/planspec )?(approve|complete|retry)?.{0,80}") {
            let _ = parse(&text);
        }
    }
}
