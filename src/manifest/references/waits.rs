//! Executions that wait for each other, directly or around: none of them can ever continue.

use std::collections::HashMap;

use super::{DeclaredResource, ResourceSet, location};
use crate::diagnostic::Diagnostic;
use crate::graph::cycles;
use crate::manifest::codes;
use crate::manifest::facts::{FactRef, KindFacts};
use crate::model::{Kind, ResourceKey, SourceLocation};

/// Where an External node names the resource that it waits for.
const POINTER: &str = "/externalRef/resourceRef/name";

/// Reports each cycle once, at the node that closes it. A warning, since an Execution that ended before its plan was changed
/// waits for nothing any more, and manifests do not show that.
pub(super) fn check<'a>(
    universe: &ResourceSet<'a>,
    all: &[DeclaredResource<'a>],
    found: &mut Vec<Diagnostic>,
) {
    let starts: Vec<&ResourceKey> = all
        .iter()
        .map(|(facts, _)| &facts.key)
        .filter(|key| key.kind == Kind::Execution && awaited(universe, key).next().is_some())
        .collect();
    // Most repositories have no such Execution, and a table over all of them costs as much as the rest of the check.
    if starts.is_empty() {
        return;
    }
    let mut serving: HashMap<&ResourceKey, Vec<&ResourceKey>> = HashMap::new();
    for (facts, _) in all.iter().filter(|(facts, _)| facts.key.kind == Kind::Execution) {
        for goal in facts.references.iter().filter(|reference| reference.target.kind == Kind::Goal) {
            serving.entry(&goal.target).or_default().push(&facts.key);
        }
    }
    let next = |key: &&'a ResourceKey| match key.kind {
        // A goal succeeds by an Execution that serves it.
        Kind::Goal => serving.get(*key).cloned().unwrap_or_default(),
        _ => awaited(universe, key).map(|(reference, _)| &reference.target).collect(),
    };
    for cycle in cycles(starts, next) {
        found.extend(diagnostic(universe, &cycle));
    }
}

/// What the External nodes of an Execution's plan wait for, and where the plan was read.
fn awaited<'a>(
    universe: &ResourceSet<'a>,
    execution: &ResourceKey,
) -> impl Iterator<Item = (&'a FactRef, &'a SourceLocation)> {
    let plan = universe.get(execution).and_then(|(facts, _)| match &facts.detail {
        KindFacts::Execution { plan, .. } => universe.get(plan),
        _ => None,
    });
    plan.into_iter().flat_map(|(facts, source)| {
        let references = facts.references.iter().filter(|reference| reference.pointer.ends_with(POINTER));
        references.map(move |reference| (reference, source))
    })
}

fn diagnostic(universe: &ResourceSet<'_>, cycle: &[&ResourceKey]) -> Option<Diagnostic> {
    // A goal waits by no word of its own manifest, so the step that closes the cycle is the last one of an Execution.
    let (from, to) = cycle.windows(2).rev().find_map(|pair| match pair {
        [from, to] if from.kind == Kind::Execution => Some((*from, *to)),
        _ => None,
    })?;
    let (reference, source) = awaited(universe, from).find(|(reference, _)| reference.target == *to)?;
    let names: Vec<String> = cycle
        .iter()
        .map(|key| match key.kind {
            Kind::Execution => key.name.to_string(),
            kind => format!("{}/{}", kind.singular(), key.name),
        })
        .collect();
    let message = format!("executions wait for each other: {}", names.join(" → "));
    Some(Diagnostic::warning(codes::WAIT_CYCLE, location(source, &reference.pointer), message).about(from))
}
