//! References between resources: duplicates, missing targets, cycles, inputs against capabilities.
//! Works on facts; one hash table over borrowed keys, and one pass.

mod cycle;
mod inputs;
mod parameters;
mod waits;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};

use tracing::debug;

use super::facts::{FactRef, Facts, KindFacts, NodeFacts, Requirement};
use super::{codes, suggest};
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::{Kind, Name, NodeId, ResourceKey, SourceLocation};

/// A resource and where it was read.
pub type DeclaredResource<'a> = (&'a Facts, &'a SourceLocation);

/// All resources by key. Where a key is declared twice, the first in the order of paths counts.
#[derive(Debug)]
pub struct ResourceSet<'a> {
    by_key: HashMap<&'a ResourceKey, DeclaredResource<'a>>,
    /// Namespaces that declare capabilities: there, naming one that is not declared is probably a mistake. Elsewhere
    /// capabilities are but words that bindings match.
    with_capabilities: HashSet<&'a Name>,
}

impl<'a> ResourceSet<'a> {
    /// Indexes resources; gives back those that declare a key again, each with the one that counts.
    pub fn new(
        all: impl IntoIterator<Item = DeclaredResource<'a>>,
    ) -> (Self, Vec<(DeclaredResource<'a>, DeclaredResource<'a>)>) {
        let all = all.into_iter();
        let mut by_key = HashMap::with_capacity(all.size_hint().0);
        let mut again = Vec::new();
        for declared in all {
            match by_key.entry(&declared.0.key) {
                Entry::Vacant(slot) => {
                    slot.insert(declared);
                }
                Entry::Occupied(mut slot) => {
                    let other = *slot.get();
                    // By path, not by the order in which they are given: every runner has to let the same one
                    // count.
                    if place(&declared) < place(&other) {
                        slot.insert(declared);
                        again.push((other, declared));
                    } else {
                        again.push((declared, other));
                    }
                }
            }
        }
        let capabilities = by_key.keys().filter(|key| key.kind == Kind::Capability);
        let with_capabilities = capabilities.map(|key| &key.namespace).collect();
        (Self { by_key, with_capabilities }, again)
    }

    /// The facts of a resource.
    #[must_use]
    pub fn get(&self, key: &ResourceKey) -> Option<DeclaredResource<'a>> {
        self.by_key.get(key).copied()
    }

    /// The name nearest to a missing one, among resources of its kind and namespace; a walk over all keys.
    fn hint(&self, missing: &ResourceKey) -> Option<String> {
        // `namespace` defaults to that of the referrer, so the right name in another namespace is the better
        // guess.
        // The first of several in any case: the order of a hash map differs from one run to the next.
        let same = |key: &&&ResourceKey| key.kind == missing.kind && key.name == missing.name;
        let same_name = self.by_key.keys().filter(same).min();
        if let Some(other) = same_name {
            return Some(format!("there is one in the namespace `{}`; add `namespace`", other.namespace));
        }
        let here = |key: &&&ResourceKey| key.kind == missing.kind && key.namespace == missing.namespace;
        let names: BTreeSet<&str> = self.by_key.keys().filter(here).map(|key| key.name.as_str()).collect();
        suggest::did_you_mean(missing.name.as_str(), names)
    }
}

fn place<'a>(declared: &DeclaredResource<'a>) -> (&'a str, u32) {
    (declared.1.path.as_str(), declared.1.document)
}

/// How many hints are given: each one walks over all keys.
const HINTS: usize = 50;

/// Checks everything that one resource says of another.
#[must_use]
pub fn check_references<'a>(all: impl IntoIterator<Item = DeclaredResource<'a>>) -> Vec<Diagnostic> {
    let all: Vec<DeclaredResource<'a>> = all.into_iter().collect();
    let (universe, again) = ResourceSet::new(all.iter().copied());
    let mut check = ReferenceCheck { universe: &universe, hints: HINTS, found: Vec::new() };
    for (declared, first) in again {
        check.found.push(duplicate(&declared.0.key, declared.1, first.1));
    }
    for declared in &all {
        check.resource(declared);
    }
    cycle::check(&universe, &all, &mut check.found);
    waits::check(&universe, &all, &mut check.found);
    let mut found = check.found;
    // By place, whatever check it came from, so that the output is the same at each run.
    found.sort_by(|a, b| order(a).cmp(&order(b)));
    debug!(resources = all.len(), findings = found.len(), "checked references");
    found
}

fn order(found: &Diagnostic) -> (&str, u32, &str, &str) {
    let at = &found.location;
    (&at.path, at.document, &at.pointer, found.code.id)
}

/// Drops findings about references to a resource that exists and has an error of its own: fixing that one fixes them.
pub fn drop_consequences(found: &mut Vec<Diagnostic>) {
    // A finding keeps no target. Its message is made by one function from the kind, the name and the
    // namespace, and serves as the key.
    let broken = found.iter().filter(|found| found.severity == Severity::Error);
    let said: HashSet<String> =
        broken.filter_map(|found| found.resource.as_ref()).map(missing_message).collect();
    let before = found.len();
    found.retain(|found| found.code != codes::MISSING_RESOURCE || !said.contains(&found.message));
    debug!(dropped = before - found.len(), "dropped findings that follow from others");
}

fn missing_message(target: &ResourceKey) -> String {
    format!("there is no {} `{}` in the namespace `{}`", target.kind, target.name, target.namespace)
}

/// That a resource is declared again.
#[must_use]
pub fn duplicate(key: &ResourceKey, again: &SourceLocation, first: &SourceLocation) -> Diagnostic {
    let message =
        format!("{} `{}` is declared twice in the namespace `{}`", key.kind, key.name, key.namespace);
    Diagnostic::error(codes::DUPLICATE_RESOURCE, location(again, "/metadata/name"), message)
        .with_related(location(first, "/metadata/name"), "first here")
        .with_hint("remove one, or give it another name")
        .about(key)
}

/// A place in a manifest; its span is found later, with the text at hand.
fn location(source: &SourceLocation, pointer: &str) -> Location {
    Location { path: source.path.clone(), span: None, document: source.document, pointer: pointer.to_owned() }
}

/// The capabilities that a plan has named so far: its nodes name few different ones, again and again.
#[derive(Default)]
struct CapabilityCache<'a> {
    recent: Vec<(&'a ResourceKey, Option<&'a Facts>)>,
    missing: HashSet<&'a ResourceKey>,
}

enum CachedCapability<'a> {
    Known(&'a Facts),
    Missing { first: bool },
}

impl<'a> CapabilityCache<'a> {
    /// Beyond so many, a linear search would take longer than the hash table.
    const LONGEST: usize = 16;

    fn get(&mut self, universe: &ResourceSet<'a>, key: &'a ResourceKey) -> CachedCapability<'a> {
        let found = match self.recent.iter().find(|(known, _)| *known == key) {
            Some((_, found)) => *found,
            None => {
                let found = universe.get(key).map(|(facts, _)| facts);
                if self.recent.len() < Self::LONGEST {
                    self.recent.push((key, found));
                }
                found
            }
        };
        match found {
            Some(facts) => CachedCapability::Known(facts),
            None => CachedCapability::Missing { first: self.missing.insert(key) },
        }
    }
}

struct ReferenceCheck<'u, 'a> {
    universe: &'u ResourceSet<'a>,
    hints: usize,
    found: Vec<Diagnostic>,
}

impl<'a> ReferenceCheck<'_, 'a> {
    fn resource(&mut self, declared: &DeclaredResource<'a>) {
        let (facts, source) = *declared;
        let count = self.found.len();
        for (index, owner) in facts.owners.iter().enumerate() {
            if self.universe.get(owner).is_none() {
                let pointer = format!("/metadata/ownerReferences/{index}/name");
                self.missing(declared, &FactRef { target: owner.clone(), pointer, required: false });
            }
        }
        if self.found.len() > count {
            // It is removed together with its owner, so that its other references cannot matter.
            return;
        }
        for reference in &facts.references {
            let target = &reference.target;
            let expected = target.kind != Kind::Capability
                || self.universe.with_capabilities.contains(&target.namespace);
            if expected && self.universe.get(target).is_none() {
                self.missing(declared, reference);
            }
        }
        match &facts.detail {
            KindFacts::Plan { nodes, .. } => self.capabilities(declared, nodes),
            KindFacts::Capability { requires, .. } => self.requirements(declared, requires),
            KindFacts::Execution { plan, bound, parameters } => {
                if let Some(KindFacts::Plan { nodes, parameters: wanted, .. }) =
                    self.universe.get(plan).map(|declared| &declared.0.detail)
                {
                    self.bound_nodes(facts, source, nodes, bound);
                    parameters::check(declared, parameters, plan, wanted, &mut self.found);
                }
            }
            KindFacts::OwnersGate | KindFacts::None => {}
        }
    }

    fn missing(&mut self, declared: &DeclaredResource<'a>, reference: &FactRef) {
        let (facts, source) = *declared;
        let target = &reference.target;
        let message = missing_message(target);
        let at = location(source, &reference.pointer);
        let code = match target.kind {
            Kind::Capability => codes::MISSING_CAPABILITY,
            _ => codes::MISSING_RESOURCE,
        };
        let mut diagnostic = match reference.required {
            true => Diagnostic::error(code, at, message),
            false => Diagnostic::warning(code, at, message),
        };
        if self.hints > 0 {
            self.hints -= 1;
            diagnostic.hint = self.universe.hint(target);
        }
        self.found.push(diagnostic.about(&facts.key));
    }

    /// Checks what the nodes of a plan ask of capabilities; one that is missing is reported once a plan.
    fn capabilities(&mut self, declared: &DeclaredResource<'a>, nodes: &'a [NodeFacts]) {
        let mut cache = CapabilityCache::default();
        for (index, node) in nodes.iter().enumerate() {
            for (at, capability) in node.capabilities.iter().enumerate() {
                match cache.get(self.universe, capability) {
                    CachedCapability::Known(facts) => {
                        inputs::check(declared, index, node, facts, &mut self.found);
                        let pointer = format!("/spec/graph/nodes/{index}/capabilityRefs/{at}/name");
                        self.found.extend(deprecated(declared, facts, &node.id, &pointer));
                    }
                    CachedCapability::Missing { first: true } => {
                        let pointer = format!("/spec/graph/nodes/{index}/capabilityRefs/{at}/name");
                        self.missing(
                            declared,
                            &FactRef { target: capability.clone(), pointer, required: false },
                        );
                    }
                    CachedCapability::Missing { first: false } => {}
                }
            }
        }
    }

    fn requirements(&mut self, declared: &DeclaredResource<'a>, requires: &[Requirement]) {
        for (index, requirement) in requires.iter().enumerate() {
            if !requirement.optional && self.universe.get(&requirement.target).is_none() {
                let pointer = format!("/spec/requirements/{index}/name");
                self.missing(
                    declared,
                    &FactRef { target: requirement.target.clone(), pointer, required: false },
                );
            }
        }
    }

    fn bound_nodes(&mut self, facts: &Facts, source: &SourceLocation, nodes: &[NodeFacts], bound: &[NodeId]) {
        let known: HashSet<&NodeId> = nodes.iter().map(|node| &node.id).collect();
        for id in bound.iter().filter(|id| !known.contains(id)) {
            let at = location(source, &format!("/spec/nodeBindings/{id}"));
            let mut diagnostic =
                Diagnostic::error(codes::UNKNOWN_NODE, at, format!("the plan has no node `{id}`"));
            diagnostic.hint = suggest::did_you_mean(id.as_str(), nodes.iter().map(|node| node.id.as_str()));
            self.found.push(diagnostic.about(&facts.key));
        }
    }
}

/// The warning that a task needs a capability which should no longer be used.
fn deprecated(
    declared: &DeclaredResource<'_>,
    facts: &Facts,
    node: &NodeId,
    pointer: &str,
) -> Option<Diagnostic> {
    let KindFacts::Capability { deprecated: Some((why, instead)), .. } = &facts.detail else { return None };
    let because = if why.is_empty() { String::new() } else { format!(": {why}") };
    let name = &facts.key.name;
    let message = format!("the task `{node}` needs the capability `{name}`, which is deprecated{because}");
    let at = location(declared.1, pointer);
    let mut diagnostic = Diagnostic::warning(codes::DEPRECATED_CAPABILITY, at, message);
    diagnostic.hint = (!instead.is_empty()).then(|| format!("use `{instead}`"));
    Some(diagnostic.about(&declared.0.key))
}

#[cfg(test)]
mod tests;
