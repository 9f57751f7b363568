//! The direction of imports between the top-level modules, and the absence of cycles between modules and between files.

use std::collections::{BTreeMap, BTreeSet};

use crate::paths::{Resolver, mentions};
use crate::project::{Finding, Project};

/// What each top-level module may import; nothing else. `ARCHITECTURE.md` explains the order.
pub(crate) const DIRECTION: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("markup", &[]),
    ("diagnostic", &["model"]),
    ("config", &["model", "diagnostic"]),
    ("graph", &["model", "diagnostic"]),
    ("change", &["model"]),
    ("run", &["model", "graph"]),
    ("manifest", &["model", "diagnostic", "config", "graph", "run"]),
    ("plan", &["model", "markup", "config", "graph", "change", "run"]),
    ("event", &["model", "diagnostic", "run"]),
    ("stamp", &[]),
    ("git", &["model", "stamp"]),
    ("host", &[]),
    ("github", &["host"]),
    ("provider", &["model", "markup", "config", "run", "stamp", "host", "github"]),
    ("record", &["model", "markup", "run", "manifest", "git"]),
    ("index", &["model", "diagnostic", "config", "manifest", "stamp", "git", "record"]),
    (
        "engine",
        &[
            "model",
            "diagnostic",
            "config",
            "graph",
            "change",
            "run",
            "manifest",
            "plan",
            "event",
            "git",
            "provider",
            "record",
            "index",
        ],
    ),
    ("report", &["model", "markup", "diagnostic", "graph", "event"]),
    (
        "cli",
        &[
            "model",
            "markup",
            "diagnostic",
            "config",
            "graph",
            "change",
            "run",
            "manifest",
            "plan",
            "event",
            "stamp",
            "git",
            "provider",
            "record",
            "index",
            "engine",
            "report",
            "host",
            "github",
        ],
    ),
];

/// Every use of one file by another: by whom, of whom, and in which line first.
type Edges = BTreeMap<Vec<String>, BTreeMap<Vec<String>, (String, usize)>>;

/// Imports go down the list only, and every module of `lib.rs` is in the list.
pub(crate) fn direction(project: &Project) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (from, targets) in edges(project) {
        let Some(module) = from.first() else { continue };
        let allowed = DIRECTION.iter().find(|(name, _)| name == module).map(|(_, allowed)| *allowed);
        for (to, (path, line)) in targets {
            let Some(target) = to.first().filter(|target| *target != module) else { continue };
            let message = match allowed {
                None => format!("`{module}` has no place in the list of modules (tests/tidy/imports.rs)"),
                Some(allowed) if allowed.contains(&target.as_str()) => continue,
                Some(_) => format!("`{module}` may not import `{target}`"),
            };
            findings.push(Finding::new(&path, line, message));
        }
    }
    findings
}

/// No top-level module reaches itself through others, whatever the list says.
pub(crate) fn module_cycles(project: &Project) -> Vec<Finding> {
    cycles(&between_siblings(&edges(project), &[]))
}

/// The files and folders of one folder do not reach themselves through each other either. A folder counts as a whole;
/// its own `mod.rs` is left out: children know their parent's types, and the parent calls its children.
pub(crate) fn file_cycles(project: &Project) -> Vec<Finding> {
    let edges = edges(project);
    let parents = edges.keys().flat_map(|module| (1..module.len()).map(|length| &module[..length]));
    let parents: BTreeSet<&[String]> = parents.collect();
    parents.into_iter().flat_map(|parent| cycles(&between_siblings(&edges, parent))).collect()
}

/// The edges between what stands directly below `parent`, each with everything below it taken as one.
fn between_siblings(edges: &Edges, parent: &[String]) -> Edges {
    let sibling = |module: &[String]| {
        module.starts_with(parent).then(|| module.get(..=parent.len()).map(<[String]>::to_vec)).flatten()
    };
    let mut between = Edges::new();
    for (from, targets) in edges {
        for (to, place) in targets {
            if let (Some(from), Some(to)) = (sibling(from), sibling(to))
                && from != to
            {
                between.entry(from).or_default().entry(to).or_insert_with(|| place.clone());
            }
        }
    }
    between
}

fn edges(project: &Project) -> Edges {
    let resolver = Resolver::new(project);
    let mut edges = Edges::new();
    for source in project.sources.iter().filter(|source| source.path != "src/main.rs") {
        for mention in mentions(source).into_iter().filter(|mention| !mention.passed_on) {
            let Some(target) = resolver.module_of(&source.module, &mention.segments) else { continue };
            if target != source.module {
                let place = (source.path.clone(), mention.line);
                edges.entry(source.module.clone()).or_default().entry(target).or_insert(place);
            }
        }
    }
    edges
}

/// One finding for each set of nodes that reach each other, with a way round.
fn cycles(edges: &Edges) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut told: BTreeSet<&Vec<String>> = BTreeSet::new();
    for start in edges.keys() {
        if told.contains(start) {
            continue;
        }
        let Some(way) = way_round(edges, start) else { continue };
        told.extend(way.iter().copied());
        let names: Vec<String> = way.iter().chain([&start]).map(|module| module.join("::")).collect();
        let (path, line) = &edges[start][way.get(1).copied().unwrap_or(start)];
        findings.push(Finding::new(path, *line, format!("import cycle: {}", names.join(" → "))));
    }
    findings
}

/// The shortest way from `start` back to it, without the last step.
fn way_round<'e>(edges: &'e Edges, start: &'e Vec<String>) -> Option<Vec<&'e Vec<String>>> {
    let mut came_from: BTreeMap<&Vec<String>, &Vec<String>> = BTreeMap::new();
    let mut frontier = vec![start];
    while !frontier.is_empty() {
        let mut next = Vec::new();
        for from in frontier {
            for to in edges.get(from).into_iter().flat_map(BTreeMap::keys) {
                if to == start {
                    let mut way = vec![from];
                    while let Some(before) = came_from.get(way[way.len() - 1]) {
                        way.push(before);
                    }
                    way.reverse();
                    return Some(way);
                }
                if !came_from.contains_key(to) {
                    came_from.insert(to, from);
                    next.push(to);
                }
            }
        }
        frontier = next;
    }
    None
}
