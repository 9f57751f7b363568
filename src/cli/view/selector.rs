//! How the user names resources: `goals`, `goal NAME…`, `goal/NAME`, `NAMESPACE/goal/NAME`, a bare `NAME`
//! where the command says which kind it means, and `EXECUTION/NODE`.

use crate::cli::error::CliError;
use crate::model::{Kind, LabelSelector, Name, NodeId, SelectorOperator, SelectorRequirement};

/// What one argument selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResourceSelector {
    /// The namespace, when it was spelled out.
    pub(crate) namespace: Option<Name>,
    /// The kind; every one when absent.
    pub(crate) kind: Option<Kind>,
    /// The name; every one when absent.
    pub(crate) name: Option<Name>,
}

impl ResourceSelector {
    fn kind(kind: Kind) -> Self {
        Self { namespace: None, kind: Some(kind), name: None }
    }
}

/// An execution, and perhaps one of its nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExecutionTarget {
    /// The namespace, when it was spelled out.
    pub(crate) namespace: Option<Name>,
    /// The execution's name.
    pub(crate) name: Name,
    /// The node; whether there is one of that id is checked against the pinned graph.
    pub(crate) node: Option<NodeId>,
}

/// Reads the arguments of a command that takes many resources: kinds (`goals`, `goals,plans`, `all`), a kind
/// followed by names, and `KIND/NAME`.
pub(crate) fn many(arguments: &[String]) -> Result<Vec<ResourceSelector>, CliError> {
    let mut targets = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        // Neither a kind nor a name holds a slash, so that this form is recognised anywhere.
        if word.contains('/') {
            targets.push(full(word)?);
            continue;
        }
        if word == "all" {
            targets.push(ResourceSelector { namespace: None, kind: None, name: None });
            continue;
        }
        let kinds = word.split(',').map(kind).collect::<Result<Vec<Kind>, CliError>>()?;
        // As with kubectl, everything after a kind is a name of it.
        let names: Vec<&String> = words.by_ref().collect();
        if names.iter().any(|name| name.contains('/')) {
            let mixed = CliError::usage("KIND NAME… and KIND/NAME cannot be mixed");
            return Err(mixed.hint(format!("write `{word}/NAME` for each")));
        }
        if names.is_empty() {
            targets.extend(kinds.into_iter().map(ResourceSelector::kind));
        } else if let [kind] = kinds.as_slice() {
            for name in names {
                targets.push(ResourceSelector {
                    name: Some(resource_name(name)?),
                    ..ResourceSelector::kind(*kind)
                });
            }
        } else {
            return Err(CliError::usage("names can follow a single kind only"));
        }
    }
    Ok(targets)
}

/// Reads a label selector as `kubectl` does: `a=b`, `a==b`, `a!=b`, `a`, `!a`, separated by commas.
pub(crate) fn labels(text: &str) -> Result<LabelSelector, String> {
    let mut selector = LabelSelector::default();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let requirement = |key: &str, operator, values: Vec<String>| {
            let key = key.trim().to_owned();
            if key.is_empty() {
                return Err(format!("`{part}` names no label"));
            }
            Ok(SelectorRequirement { key, operator, values })
        };
        let one = |value: &str| vec![value.trim_start_matches('=').trim().to_owned()];
        let read = if let Some((key, value)) = part.split_once("!=") {
            requirement(key, SelectorOperator::NotIn, one(value))?
        } else if let Some((key, value)) = part.split_once('=') {
            requirement(key, SelectorOperator::In, one(value))?
        } else if let Some(key) = part.strip_prefix('!') {
            requirement(key, SelectorOperator::DoesNotExist, Vec::new())?
        } else {
            requirement(part, SelectorOperator::Exists, Vec::new())?
        };
        selector.match_expressions.push(read);
    }
    if selector.match_expressions.is_empty() {
        return Err("write a label, as in `planspec.io/team=platform`".to_owned());
    }
    Ok(selector)
}

/// Reads one resource. A bare name is of the kind `default_kind`, where the command has one.
pub(crate) fn one(argument: &str, default_kind: Option<Kind>) -> Result<ResourceSelector, CliError> {
    if argument.contains('/') {
        return full(argument);
    }
    match default_kind {
        Some(kind) => {
            Ok(ResourceSelector { name: Some(resource_name(argument)?), ..ResourceSelector::kind(kind) })
        }
        // A command that takes every kind would have to choose between resources that share a name.
        None => Err(CliError::usage(format!("`{argument}` has no kind"))
            .hint(format!("write KIND/NAME, as in `goal/{argument}`"))),
    }
}

impl From<ExecutionTarget> for ResourceSelector {
    fn from(target: ExecutionTarget) -> Self {
        Self { namespace: target.namespace, kind: Some(Kind::Execution), name: Some(target.name) }
    }
}

/// Reads a node of an execution, as EXECUTION/NODE.
pub(crate) fn node(argument: &str) -> Result<(ExecutionTarget, NodeId), CliError> {
    let target = execution(argument)?;
    match target.node.clone() {
        Some(node) => Ok((target, node)),
        None => {
            Err(CliError::usage(format!("`{argument}` does not name a node")).hint("write EXECUTION/NODE"))
        }
    }
}

/// Reads an execution or one of its nodes: `NAME`, `execution/NAME`, `NAME/NODE`, `execution/NAME/NODE`,
/// `NAMESPACE/execution/NAME[/NODE]`.
pub(crate) fn execution(argument: &str) -> Result<ExecutionTarget, CliError> {
    let parts: Vec<&str> = argument.split('/').collect();
    let is_kind = |word: &str| word.parse::<Kind>() == Ok(Kind::Execution);
    let (namespace, name, node) = match parts.as_slice() {
        [name] => (None, *name, None),
        // The kind wins over an Execution that is itself called `execution`; that one is named in the longer
        // form.
        [kind, name] if is_kind(kind) => (None, *name, None),
        // An Execution may be called `plan`, but whoever writes `plan/NAME` means the kind.
        [other, name] if spelled_kind(other).is_some() => return Err(no_execution(argument, other, name)),
        [name, node] => (None, *name, Some(*node)),
        [kind, name, node] if is_kind(kind) => (None, *name, Some(*node)),
        [namespace, kind, name] if is_kind(kind) => (Some(*namespace), *name, None),
        [namespace, kind, name, node] if is_kind(kind) => (Some(*namespace), *name, Some(*node)),
        _ => {
            return Err(CliError::usage(format!("`{argument}` is not an execution"))
                .hint("write EXECUTION or EXECUTION/NODE"));
        }
    };
    let node = match node {
        Some(id) => {
            Some(NodeId::new(id).map_err(|error| CliError::usage(format!("node id `{id}` {error}")))?)
        }
        None => None,
    };
    Ok(ExecutionTarget {
        namespace: namespace.map(resource_name).transpose()?,
        name: resource_name(name)?,
        node,
    })
}

/// The kind that a word spells out; an abbreviation may as well be the name of an execution.
fn spelled_kind(word: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.singular() == word || kind.plural() == word)
}

fn no_execution(argument: &str, other: &str, name: &str) -> CliError {
    let kind = spelled_kind(other).map_or("resource", Kind::singular);
    let error = CliError::usage(format!("`{argument}` is a {kind}, and an execution is expected"));
    let error = match kind {
        "plan" | "goal" => error
            .hint(format!("`planspec get executions` lists what ran; `planspec run {kind}/{name}` runs it")),
        _ => error.hint("`planspec get executions` lists them"),
    };
    error.hint(format!(
        "the node `{name}` of an execution that is called `{other}` is execution/{other}/{name}"
    ))
}

fn full(argument: &str) -> Result<ResourceSelector, CliError> {
    let parts: Vec<&str> = argument.split('/').collect();
    match parts.as_slice() {
        [kind_word, name] => Ok(ResourceSelector {
            name: Some(resource_name(name)?),
            ..ResourceSelector::kind(kind(kind_word)?)
        }),
        [namespace, kind_word, name] => Ok(ResourceSelector {
            namespace: Some(resource_name(namespace)?),
            kind: Some(kind(kind_word)?),
            name: Some(resource_name(name)?),
        }),
        _ => Err(CliError::usage(format!("`{argument}` is not KIND/NAME"))),
    }
}

/// Reads a kind, and suggests the nearest one where the word is none.
pub(crate) fn kind(word: &str) -> Result<Kind, CliError> {
    word.parse::<Kind>().map_err(|unknown| {
        let error = CliError::usage(unknown.to_string());
        // Both forms, so that a slip in a plural is answered with the plural.
        let words = Kind::ALL.into_iter().flat_map(|kind| [kind.singular(), kind.plural()]);
        match nearest(&word.to_ascii_lowercase(), words) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("a resource is named with its kind, as in `plan/NAME` or `plan NAME`"),
        }
    })
}

/// The candidate that is most like `word`, when one is like it at all.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

fn resource_name(text: &str) -> Result<Name, CliError> {
    Name::new(text).map_err(|error| CliError::usage(format!("name `{text}` {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    fn shown(text: &str) -> String {
        let part = |name: &Option<Name>| name.as_ref().map_or("*".to_owned(), ToString::to_string);
        match many(&words(text)) {
            Ok(targets) => targets
                .iter()
                .map(|t| {
                    let kind = t.kind.map_or("*", Kind::singular);
                    format!("{}/{kind}/{}", part(&t.namespace), part(&t.name))
                })
                .collect::<Vec<_>>()
                .join(" "),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn all_the_usual_forms_are_read() {
        for (text, expected) in [
            ("goals", "*/goal/*"),
            ("Goal,plan", "*/goal/* */plan/*"),
            ("all", "*/*/*"),
            ("goal a b", "*/goal/a */goal/b"),
            ("goal/a plans/b", "*/goal/a */plan/b"),
            ("team/gate/g", "team/gate/g"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for text in ["goal a/b", "goal,plan a", "a/b/c/d", "goal/../x", "goal -x"] {
            assert!(shown(text).starts_with("error:"), "{text}: {}", shown(text));
        }
    }

    #[test]
    fn a_misspelt_kind_brings_a_suggestion() {
        let error = kind("exection").unwrap_err().render(false);
        assert!(error.contains("did you mean `execution`?"), "{error}");
        let other = kind("pod").unwrap_err().render(false);
        assert!(!other.contains("did you mean") && other.contains("plan/NAME"), "{other}");
    }

    #[test]
    fn executions_and_their_nodes_are_told_apart() {
        let node = |text: &str| execution(text).unwrap().node.map(|node| node.to_string());
        assert_eq!(node("run-1"), None);
        assert_eq!(node("execution/run-1"), None);
        assert_eq!(node("run-1/build"), Some("build".to_owned()));
        assert_eq!(node("team/execution/run-1/build"), Some("build".to_owned()));
        assert!(execution("goal/run-1/build").is_err());
        assert_eq!(node("execution/plan/build"), Some("build".to_owned()));
        let other = execution("plan/build").unwrap_err().render(false);
        assert!(other.contains("is a plan, and an execution is expected"), "{other}");
        assert!(other.contains("planspec run plan/build"), "{other}");
    }

    #[test]
    fn a_bare_name_needs_a_default_kind() {
        assert_eq!(one("x", Some(Kind::Plan)).unwrap().kind, Some(Kind::Plan));
        assert!(one("x", None).unwrap_err().render(false).contains("goal/x"));
    }
}
