//! The parameters of an Execution against what its plan declares.

use super::{DeclaredResource, location};
use crate::diagnostic::Diagnostic;
use crate::manifest::facts::{InputDeclaration, InputFacts};
use crate::manifest::{codes, suggest};
use crate::model::ResourceKey;
use crate::run::json::pointer;
use crate::run::parameter::{has_format, in_words, matches_pattern};

/// Checks what an Execution gives. A plan that declares nothing takes anything.
pub(super) fn check(
    declared: &DeclaredResource<'_>,
    given: &[InputFacts],
    plan: &ResourceKey,
    wanted: &[InputDeclaration],
    found: &mut Vec<Diagnostic>,
) {
    if wanted.is_empty() {
        return;
    }
    let at = |name: &str| location(declared.1, &pointer::join("/spec/parameters", name));
    let mut add = |diagnostic: Diagnostic| found.push(diagnostic.about(&declared.0.key));
    let mut misspelt = Vec::new();
    for parameter in given {
        let name = &parameter.name;
        let Some(declaration) = wanted.iter().find(|one| one.name == *name) else {
            let message = format!("the plan `{}` has no parameter `{name}`", plan.name);
            let mut unknown = Diagnostic::error(codes::BAD_PARAMETER, at(name), message).at_key();
            let near = suggest::nearest(name, wanted.iter().map(|one| one.name.as_str()));
            unknown.hint = near.map(|near| format!("did you mean `{near}`?"));
            misspelt.extend(near);
            add(unknown);
            continue;
        };
        if let Some(why) = misfit(parameter, declaration) {
            let message = format!("the parameter `{name}` {why}");
            let mut wrong = Diagnostic::error(codes::BAD_PARAMETER, at(name), message);
            // Without their quotes, which would make any two letters alike.
            let text = |scalar: &String| serde_json::from_str::<String>(scalar).ok();
            let words: Vec<String> = declaration.values.iter().filter_map(text).collect();
            let given = parameter.scalar.as_ref().and_then(text).unwrap_or_default();
            wrong.hint = suggest::did_you_mean(&given, words.iter().map(String::as_str));
            add(wrong);
        }
    }
    // What is only misspelt is not missing besides: one mistake, one error.
    let is_given = |name: &str| misspelt.contains(&name) || given.iter().any(|given| given.name == name);
    let missing = |one: &&InputDeclaration| one.required && !is_given(&one.name);
    for declaration in wanted.iter().filter(missing) {
        let name = &declaration.name;
        let message = format!("the parameter `{name}` is missing, which the plan `{}` requires", plan.name);
        // There may be no `parameters` to point at; the reference says who requires it.
        let place = location(declared.1, "/spec/planRef");
        let hint = format!(
            "add `{name}: …` to `parameters`, {}; in a command: `-p {name}=…`",
            in_words(declaration.kind)
        );
        add(Diagnostic::error(codes::BAD_PARAMETER, place, message).with_hint(hint));
    }
}

/// Why a value does not fit, as what follows its name. The engine asks the same of the whole value before anything runs;
/// facts hold no more of it than this.
fn misfit(given: &InputFacts, wanted: &InputDeclaration) -> Option<String> {
    let kind = given.kind?;
    if kind != wanted.kind {
        return Some(format!("is {}, and must be {}", in_words(kind), in_words(wanted.kind)));
    }
    let scalar = given.scalar.as_ref()?;
    if !wanted.values.is_empty() && !wanted.values.contains(scalar) {
        return Some(format!("is {scalar}, and must be one of {}", wanted.values.join(", ")));
    }
    let text: String = serde_json::from_str(scalar).ok()?;
    if !wanted.format.is_empty() && !has_format(&wanted.format, &text) {
        return Some(format!("is {scalar}, and must have the format {}", wanted.format));
    }
    if !wanted.pattern.is_empty() && !matches_pattern(&wanted.pattern, &text) {
        return Some(format!("is {scalar}, and must match {}", wanted.pattern));
    }
    None
}
