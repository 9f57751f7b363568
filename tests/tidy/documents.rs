//! Documents against the repository: what they name is there, and what must be named is.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use crate::project::{Finding, Project};

/// The folders and files whose names, in backticks or as a link, must exist.
const OURS: &[&str] = &[
    "src/",
    "tests/",
    "docs/",
    "schemas/",
    "examples/",
    "benches/",
    ".ci/",
    ".github/",
    "action/",
    "packaging/",
];

/// Dependencies of dependencies that are named only to switch a feature on.
const FOR_FEATURES: &[&str] = &["proc_macro2"];

/// A document names no file that is gone.
pub(crate) fn paths(project: &Project) -> Vec<Finding> {
    let quoted = Regex::new(r"`([^`\s]+)`|\]\(([^)#\s]+)[^)]*\)").unwrap();
    let mut findings = Vec::new();
    for (document, text) in documents(project) {
        for (at, line) in text.lines().enumerate() {
            for found in quoted.captures_iter(line) {
                let gone = match (found.get(1), found.get(2)) {
                    (Some(name), _) if OURS.iter().any(|ours| name.as_str().starts_with(ours)) => {
                        Some(name.as_str()).filter(|name| !exists(project, name))
                    }
                    (_, Some(link)) if !link.as_str().contains("://") => {
                        Some(link.as_str()).filter(|link| !exists(project, &beside(document, link)))
                    }
                    _ => None,
                };
                findings.extend(gone.map(|name| {
                    Finding::new(document, at + 1, format!("names `{name}`, which is not there"))
                }));
            }
        }
    }
    findings
}

/// A document that names a test as the proof of a claim names one that exists.
pub(crate) fn tests(project: &Project) -> Vec<Finding> {
    // Names of tests read as sentences; three underscores tell them from everything else.
    let sentence = Regex::new(r"`([a-z0-9]+(?:_[a-z0-9]+){3,})`").unwrap();
    let function = Regex::new(r"fn ([a-z0-9_]+)\(").unwrap();
    let code = project.texts.iter().filter(|(path, _)| path.ends_with(".rs"));
    let known: BTreeSet<&str> = code
        .flat_map(|(_, text)| function.captures_iter(text))
        .filter_map(|found| found.get(1).map(|name| name.as_str()))
        .collect();
    let mut findings = Vec::new();
    for (document, text) in documents(project) {
        for (at, line) in text.lines().enumerate() {
            let gone = sentence.captures_iter(line).filter(|found| !known.contains(&found[1]));
            findings.extend(gone.map(|found| {
                Finding::new(document, at + 1, format!("cites the test `{}`, which is not there", &found[1]))
            }));
        }
    }
    findings
}

/// Where the tables are whose last column cites tests: a page, and the heading above them if it has others too.
const TESTED: &[(&str, Option<&str>)] =
    &[("docs/tested/", None), ("README.md", Some("## What is guaranteed"))];

/// Whether a line of a document belongs to a table whose points each have a test.
fn is_tested(path: &str, heading: &str) -> bool {
    TESTED.iter().any(|(page, above)| path.starts_with(page) && above.is_none_or(|above| above == heading))
}

/// The pages of `docs/tested/`, and the guarantees of the README, say of each point which test shows it: no cell of their tables
/// is empty, and what the last column cites is there.
pub(crate) fn tested(project: &Project) -> Vec<Finding> {
    let cited = Regex::new(r"`([^`]+)`").unwrap();
    let functions = functions_by_module(project);
    let mut findings = Vec::new();
    for (document, text) in documents(project) {
        let mut heading = "";
        for (at, line) in text.lines().enumerate() {
            if line.starts_with('#') {
                heading = line;
            }
            if !is_tested(document, heading) {
                continue;
            }
            let Some(row) = line.strip_prefix("| ").and_then(|line| line.trim_end().strip_suffix('|')) else {
                continue;
            };
            // A bar inside of a cell is written `\|`, as in every table of Markdown.
            let row = row.replace("\\|", "\u{1}");
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            if cells.iter().any(|cell| cell.is_empty() || ["-", "–", "—", "?"].contains(cell)) {
                findings.push(Finding::new(document, at + 1, "has an empty cell"));
            }
            // The line of names, which the line of dashes follows, cites nothing.
            let names = text
                .lines()
                .nth(at + 1)
                .is_some_and(|next| next.starts_with("|-") || next.starts_with("| -"));
            let dashes = cells.iter().all(|cell| cell.chars().all(|sign| sign == '-' || sign == ':'));
            if names || dashes {
                continue;
            }
            // In a table of constructs by outcomes, each cell is a test.
            let proofs = cells
                .iter()
                .enumerate()
                .filter(|(at, cell)| at + 1 == cells.len() || (cell.starts_with('`') && cell.contains("::")));
            let proofs: Vec<&str> = proofs
                .flat_map(|(_, cell)| cited.captures_iter(cell))
                .filter_map(|found| Some(found.get(1)?.as_str()))
                .collect();
            if proofs.is_empty() {
                findings.push(Finding::new(document, at + 1, "names no test"));
            }
            let gone = proofs
                .iter()
                .flat_map(|proof| proof.split_whitespace())
                // `MODULE::FUNCTION`, somewhere in a module of that name, or a file of the project.
                .filter(|proof| match proof.rsplit_once("::") {
                    None => !project.texts.contains_key(*proof),
                    Some((modules, function)) => {
                        let module = modules.rsplit("::").next().unwrap_or_default();
                        !functions.get(module).is_some_and(|known| known.contains(function))
                    }
                });
            findings.extend(gone.map(|proof| {
                Finding::new(document, at + 1, format!("cites the test `{proof}`, which is not there"))
            }));
        }
    }
    findings
}

/// The functions of each Rust file, by what a citation may call the file: its name, each folder above it, and the modules that
/// are written inside it. Made once: some 500 citations are looked up in some 800 files.
fn functions_by_module(project: &Project) -> BTreeMap<String, BTreeSet<&str>> {
    let function = Regex::new(r"fn ([a-z0-9_]+)\(").unwrap();
    let inner = Regex::new(r"mod ([a-z0-9_]+) \{").unwrap();
    let mut known: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (path, text) in project.texts.iter().filter(|(path, _)| path.ends_with(".rs")) {
        let functions: Vec<&str> =
            function.captures_iter(text).filter_map(|found| Some(found.get(1)?.as_str())).collect();
        let inside = inner.captures_iter(text).filter_map(|found| Some(found.get(1)?.as_str()));
        for module in path.trim_end_matches(".rs").split('/').chain(inside) {
            known.entry(module.to_owned()).or_default().extend(&functions);
        }
    }
    known
}

/// Every dependency earns its place in a line of ARCHITECTURE.md, and no line is left of one that is gone.
pub(crate) fn dependencies(project: &Project) -> Vec<Finding> {
    listed_and_there(project, "Dependencies", &declared(project), "dependency")
}

/// A dependency that nothing uses costs everybody a download and a build.
pub(crate) fn idle_dependencies(project: &Project) -> Vec<Finding> {
    let code: Vec<&String> =
        project.texts.iter().filter(|(path, _)| path.ends_with(".rs")).map(|(_, text)| text).collect();
    let used = |name: &str| {
        let name = name.replace('-', "_");
        // A feature of another dependency that is switched on here counts as a use, with its reason in the table.
        let ways = [format!("{name}::"), format!("use {name};"), format!("extern crate {name}")];
        FOR_FEATURES.contains(&name.as_str())
            || code.iter().any(|text| ways.iter().any(|way| text.contains(way)))
    };
    let idle = declared(project).into_iter().filter(|name| !used(name));
    idle.map(|name| Finding::new("Cargo.toml", 0, format!("nothing uses `{name}`"))).collect()
}

/// Every module of the crate is on the map of ARCHITECTURE.md, and nothing else is.
pub(crate) fn modules(project: &Project) -> Vec<Finding> {
    let map = project.texts.get("src/lib.rs").map(String::as_str).unwrap_or_default();
    let modules = map
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'));
    listed_and_there(project, "Modules", &modules.map(str::to_owned).collect(), "module")
}

/// What a workflow uses is pinned by commit, with the version beside it for people. `$/` is its own repository at its own commit.
pub(crate) fn pins(project: &Project) -> Vec<Finding> {
    let pinned = Regex::new(r"^[\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*$").unwrap();
    let mut findings = Vec::new();
    let workflows = project.texts.iter().filter(|(path, _)| path.starts_with(".github/workflows/"));
    for (path, text) in workflows {
        for (at, line) in text.lines().enumerate() {
            let Some((_, used)) = line.split_once("uses: ") else { continue };
            if !used.starts_with("./") && !used.starts_with("$/") && !pinned.is_match(used.trim()) {
                findings.push(Finding::new(
                    path,
                    at + 1,
                    format!("`{used}` is not pinned as `COMMIT # vVERSION`"),
                ));
            }
        }
        if !text.lines().any(|line| line.starts_with("permissions:")) {
            findings.push(Finding::new(path, 0, "does not say which permissions it needs"));
        }
    }
    findings
}

/// The dependencies that Cargo.toml declares, for the program and for its tests.
fn declared(project: &Project) -> BTreeSet<String> {
    let manifest = project.texts.get("Cargo.toml").map(String::as_str).unwrap_or_default();
    let mut declared = BTreeSet::new();
    let mut inside = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]" || line == "[dev-dependencies]";
        } else if let (true, Some((name, _))) = (inside, line.split_once(" = ")) {
            declared.insert(name.to_owned());
        }
    }
    declared
}

/// Compares the first cells of the table below a heading of ARCHITECTURE.md with what there is.
fn listed_and_there(project: &Project, heading: &str, there: &BTreeSet<String>, what: &str) -> Vec<Finding> {
    let document = "ARCHITECTURE.md";
    let text = project.texts.get(document).map(String::as_str).unwrap_or_default();
    let section = text.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let cell = Regex::new(r"`([\w-]+)/?`").unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    let listed: BTreeSet<String> = rows
        .flat_map(|row| {
            cell.captures_iter(&format!("`{row}")).map(|found| found[1].to_owned()).collect::<Vec<_>>()
        })
        .collect();
    let missing = there.difference(&listed).map(|name| format!("has no line for the {what} `{name}`"));
    let gone = listed
        .difference(there)
        .map(|name| format!("has a line for the {what} `{name}`, which is not there"));
    missing.chain(gone).map(|message| Finding::new(document, 0, message)).collect()
}

fn documents(project: &Project) -> impl Iterator<Item = (&String, &String)> {
    project.texts.iter().filter(|(path, _)| path.ends_with(".md") && !path.starts_with("tests/"))
}

fn exists(project: &Project, name: &str) -> bool {
    let name = name.trim_end_matches('/');
    let inside = format!("{name}/");
    let pattern = name.split(['*', '<', '{']).next().filter(|prefix| *prefix != name);
    match pattern {
        Some(prefix) => project.texts.keys().any(|path| path.starts_with(prefix)),
        None => {
            project.texts.contains_key(name) || project.texts.keys().any(|path| path.starts_with(&inside))
        }
    }
}

/// Where a relative link of a document leads.
fn beside(document: &str, link: &str) -> String {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}
