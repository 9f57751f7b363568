//! Cycles between resources: capabilities that require each other, plans that supersede each other.

use std::collections::HashMap;

use super::{DeclaredResource, ResourceSet, location};
use crate::diagnostic::{Code, Diagnostic};
use crate::manifest::codes;
use crate::manifest::facts::KindFacts;
use crate::model::ResourceKey;

/// Reports each cycle once, at the resource whose reference closes it.
pub(super) fn check(universe: &ResourceSet<'_>, all: &[DeclaredResource<'_>], found: &mut Vec<Diagnostic>) {
    // Most repositories have no such reference, and then this costs one pass and no allocation.
    let mut marks: HashMap<&ResourceKey, VisitState> = HashMap::new();
    for (facts, _) in all.iter().filter(|(facts, _)| step(&facts.detail, 0).is_some()) {
        if !marks.contains_key(&facts.key) {
            walk(universe, &facts.key, &mut marks, found);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum VisitState {
    /// On the way from the start.
    Open,
    /// All that it leads to is known.
    Done,
}

/// Where a resource's step number `index` leads.
fn step(detail: &KindFacts, index: usize) -> Option<&ResourceKey> {
    match detail {
        KindFacts::Capability { requires, .. } => requires.get(index).map(|requirement| &requirement.target),
        KindFacts::Plan { supersedes, .. } if index == 0 => supersedes.as_ref(),
        _ => None,
    }
}

struct Frame<'a> {
    declared: DeclaredResource<'a>,
    next: usize,
}

/// Depth first without recursion: a chain may be as long as the repository is large.
fn walk<'a>(
    universe: &ResourceSet<'a>,
    start: &ResourceKey,
    marks: &mut HashMap<&'a ResourceKey, VisitState>,
    found: &mut Vec<Diagnostic>,
) {
    let mut way: Vec<Frame<'a>> =
        universe.get(start).map(|declared| Frame { declared, next: 0 }).into_iter().collect();
    while let Some(top) = way.last_mut() {
        let (facts, source) = top.declared;
        marks.entry(&facts.key).or_insert(VisitState::Open);
        let index = top.next;
        let Some(target) = step(&facts.detail, index) else {
            marks.insert(&facts.key, VisitState::Done);
            way.pop();
            continue;
        };
        top.next += 1;
        match marks.get(target) {
            // Seen from another start: its cycles have been reported.
            Some(VisitState::Done) => {}
            Some(VisitState::Open) => {
                let mut path: Vec<&str> = way
                    .iter()
                    .map(|frame| &frame.declared.0.key)
                    .skip_while(|key| *key != target)
                    .map(|key| key.name.as_str())
                    .collect();
                path.push(target.name.as_str());
                let (code, what, list) = words(&facts.detail);
                let message = format!("{what}: {}", path.join(" → "));
                let at = location(source, &format!("/spec/{list}/{index}/name"));
                found.push(Diagnostic::error(code, at, message).about(&facts.key));
            }
            // A target that is not declared ends the chain; it is reported as a reference.
            None => way.extend(universe.get(target).map(|declared| Frame { declared, next: 0 })),
        }
    }
}

fn words(detail: &KindFacts) -> (Code, &'static str, &'static str) {
    match detail {
        KindFacts::Plan { .. } => (codes::SUPERSEDES_CYCLE, "cycle of superseded plans", "supersedes"),
        _ => (codes::REQUIREMENT_CYCLE, "cycle of required capabilities", "requirements"),
    }
}
