//! The inputs of a task against what its capabilities declare.

use super::{DeclaredResource, location};
use crate::diagnostic::Diagnostic;
use crate::manifest::facts::{Facts, InputDeclaration, InputFacts, KindFacts, NodeFacts};
use crate::manifest::{codes, suggest};
use crate::model::ResourceKey;
use crate::run::json::pointer;
use crate::run::parameter::{has_format, in_words};

/// Checks one node against one of its capabilities. Where an expression gives a value, its type is known only when the
/// task starts.
pub(super) fn check(
    declared: &DeclaredResource<'_>,
    index: usize,
    node: &NodeFacts,
    capability: &Facts,
    found: &mut Vec<Diagnostic>,
) {
    let KindFacts::Capability { inputs, .. } = &capability.detail else { return };
    let key = &capability.key;
    // Inputs that this capability does not declare are left alone: a task may name several capabilities, each
    // with its own.
    for declaration in inputs {
        let given = node.inputs.iter().find(|input| input.name == declaration.name);
        let diagnostic = match given {
            Some(input) => wrong(declared, index, input, declaration, key),
            None => declaration.required.then(|| missing(declared, index, node, declaration, key)),
        };
        found.extend(diagnostic.map(|diagnostic| diagnostic.about(&declared.0.key)));
    }
}

fn missing(
    declared: &DeclaredResource<'_>,
    index: usize,
    node: &NodeFacts,
    declaration: &InputDeclaration,
    capability: &ResourceKey,
) -> Diagnostic {
    let name = &declaration.name;
    // At the id: what is missing has no place, and the node may have no `inputs` at all.
    let at = location(declared.1, &format!("/spec/graph/nodes/{index}/id"));
    let message = format!(
        "the task `{}` lacks the input `{name}`, which the capability `{}` requires",
        node.id, capability.name
    );
    let mut diagnostic = Diagnostic::error(codes::MISSING_INPUT, at, message);
    let near = suggest::nearest(name, node.inputs.iter().map(|input| input.name.as_str()));
    diagnostic.hint = Some(near.map_or_else(
        || format!("add `{name}: …` to its inputs"),
        |near| format!("is `{near}` meant to be `{name}`?"),
    ));
    diagnostic
}

fn wrong(
    declared: &DeclaredResource<'_>,
    index: usize,
    input: &InputFacts,
    declaration: &InputDeclaration,
    capability: &ResourceKey,
) -> Option<Diagnostic> {
    let name = &input.name;
    // An expression leaves the type open, and the value is checked when the task starts.
    let kind = input.kind?;
    let at = || location(declared.1, &pointer::join(&format!("/spec/graph/nodes/{index}/inputs"), name));
    if kind != declaration.kind {
        let message = format!(
            "the input `{name}` is {}, the capability `{}` expects {}",
            in_words(kind),
            capability.name,
            in_words(declaration.kind)
        );
        return Some(Diagnostic::error(codes::BAD_INPUT, at(), message));
    }
    let scalar = input.scalar.as_ref()?;
    if let (false, Ok(text)) = (declaration.format.is_empty(), serde_json::from_str::<String>(scalar))
        && !has_format(&declaration.format, &text)
    {
        let format = &declaration.format;
        let of = &capability.name;
        let message =
            format!("the input `{name}` is {scalar}, the capability `{of}` expects the format {format}");
        return Some(Diagnostic::error(codes::BAD_INPUT, at(), message));
    }
    // As JSON texts, which is all that facts keep of a value.
    if declaration.values.is_empty() || declaration.values.contains(scalar) {
        return None;
    }
    let known = || declaration.values.iter().map(|value| value.trim_matches('"'));
    let message = format!(
        "the input `{name}` is {scalar}, the capability `{}` takes {}",
        capability.name,
        suggest::one_of(known())
    );
    let mut diagnostic = Diagnostic::error(codes::BAD_INPUT, at(), message);
    diagnostic.hint = suggest::did_you_mean(scalar.trim_matches('"'), known());
    Some(diagnostic)
}
