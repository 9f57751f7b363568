//! One language and rooms to live in: one name for one thing, references that lead somewhere, folders that tell a story,
//! and a comment that says why often enough.

use std::collections::BTreeMap;

use regex::Regex;

use crate::project::{Finding, Project, Source};

/// The files that stand side by side in one folder; more than these and a room is missing.
const FILES_IN_FOLDER: usize = 15;

/// The lines of code of a file that is worth being one.
const FEWEST_LINES: usize = 30;

/// Comments that say why, for each hundred lines of code of the whole crate.
const REASONS_PER_HUNDRED: usize = 4;

/// Points of tracing outside the rooms that print.
const TRACING_POINTS: usize = 60;

/// A type has one name, and a name has one type.
pub(crate) fn one_name_one_thing(project: &Project) -> Vec<Finding> {
    let mut defined: BTreeMap<String, Vec<(&str, usize)>> = BTreeMap::new();
    for source in &project.sources {
        for item in &source.syntax.items {
            let name = match item {
                syn::Item::Struct(item) => &item.ident,
                syn::Item::Enum(item) => &item.ident,
                syn::Item::Union(item) => &item.ident,
                syn::Item::Trait(item) => &item.ident,
                syn::Item::Type(item) => &item.ident,
                _ => continue,
            };
            let place = (source.path.as_str(), name.span().start().line);
            defined.entry(name.to_string()).or_default().push(place);
        }
    }
    let twice = defined.into_iter().filter(|(_, places)| places.len() > 1);
    twice
        .flat_map(|(name, places)| {
            let first = places[0];
            let others = places.into_iter().skip(1);
            others.map(move |(path, line)| {
                let message = format!("`{name}` is also the name of a type in {}:{}", first.0, first.1);
                Finding::new(path, line, message)
            })
        })
        .collect()
}

/// What code and documents refer to is in the tree: a section of a document by its heading, an invariant by its number.
pub(crate) fn references(project: &Project) -> Vec<Finding> {
    let elsewhere = Regex::new(r"(?i)\bdesign (section|invariant)s? \d|\bsection \d+ of the design").unwrap();
    let invariant = Regex::new(r"\bInvariants? (\d+)(?:(?:, | and )(\d+))*").unwrap();
    let number = Regex::new(r"\d+").unwrap();
    let known = invariants(project);
    let mut findings = Vec::new();
    let read =
        |path: &str| [".rs", ".md", ".toml", ".yml", ".yaml", ".py"].iter().any(|end| path.ends_with(end));
    for (path, text) in
        project.texts.iter().filter(|(path, _)| read(path) && !path.starts_with("tests/tidy/"))
    {
        for (at, line) in text.lines().enumerate() {
            if let Some(found) = elsewhere.find(line) {
                let message = format!("refers to `{}`, which is not in this repository", found.as_str());
                findings.push(Finding::new(path, at + 1, message));
            }
            for found in invariant.find_iter(line) {
                let gone =
                    number.find_iter(found.as_str()).filter(|number| !known.contains(&number.as_str()));
                findings.extend(gone.map(|number| {
                    let message = format!(
                        "refers to Invariant {}, which ARCHITECTURE.md does not list",
                        number.as_str()
                    );
                    Finding::new(path, at + 1, message)
                }));
            }
        }
    }
    findings
}

/// The numbers in the first column of the table of invariants.
fn invariants(project: &Project) -> Vec<&str> {
    let text = project.texts.get("ARCHITECTURE.md").map(String::as_str).unwrap_or_default();
    let section = text.split("\n## Invariants\n").nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    cells.filter(|cell| !cell.is_empty() && cell.bytes().all(|byte| byte.is_ascii_digit())).collect()
}

/// A folder is read like a table of contents; a long one wants chapters.
pub(crate) fn folder_size(project: &Project) -> Vec<Finding> {
    let mut folders: BTreeMap<&str, usize> = BTreeMap::new();
    for source in &project.sources {
        let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        // The crate's own list of modules stands in `src`, where every module is a room.
        if folder != "src" {
            *folders.entry(folder).or_default() += 1;
        }
    }
    let long = folders.into_iter().filter(|(_, files)| *files > FILES_IN_FOLDER);
    long.map(|(folder, files)| {
        let message = format!("{files} files side by side; {FILES_IN_FOLDER} are enough: make rooms");
        Finding::new(folder, 0, message)
    })
    .collect()
}

/// A file of a few lines is a page that nobody finds; it belongs to its neighbour. Its tests count: an idea that takes more
/// lines to prove than to write is worth a file.
pub(crate) fn small_files(project: &Project) -> Vec<Finding> {
    let files = project
        .sources
        .iter()
        .filter(|source| !source.module.is_empty() && !source.path.ends_with("/mod.rs"));
    let sizes = files.map(|source| {
        let text = project.texts.get(&source.path).map(String::as_str).unwrap_or_default();
        (source, lines(text).0)
    });
    let small = sizes.filter(|(_, code)| *code < FEWEST_LINES);
    small
        .map(|(source, code)| {
            let message = format!("{code} lines of code; below {FEWEST_LINES} it belongs to a neighbour");
            Finding::new(&source.path, 0, message)
        })
        .collect()
}

/// The crate as a whole explains itself: comments that are no documentation say why something is as it is.
pub(crate) fn reasons(project: &Project) -> Vec<Finding> {
    let (mut code, mut comments) = (0, 0);
    for source in &project.sources {
        let (more_code, more_comments) = lines(&production(project, source));
        code += more_code;
        comments += more_comments;
    }
    let wanted = code * REASONS_PER_HUNDRED / 100;
    let message = format!("{comments} comments say why in {code} lines of code; {wanted} are wanted");
    if comments < wanted { vec![Finding::new("src", 0, message)] } else { Vec::new() }
}

/// What happens inside can be watched.
pub(crate) fn tracing(project: &Project) -> Vec<Finding> {
    let call = Regex::new(r"\btracing::(?:trace|debug|info|warn|error)(?:_span)?!|\binstrument\b|\b(?:trace|debug|info|warn|error)(?:_span)?!\(").unwrap();
    let inside = project
        .sources
        .iter()
        .filter(|source| !source.path.starts_with("src/cli/") && !source.path.starts_with("src/report/"));
    let points: usize = inside.map(|source| call.find_iter(&production(project, source)).count()).sum();
    let message =
        format!("{points} points of tracing outside `cli` and `report`; {TRACING_POINTS} are wanted");
    if points < TRACING_POINTS { vec![Finding::new("src", 0, message)] } else { Vec::new() }
}

/// The text of a file before its tests.
fn production(project: &Project, source: &Source) -> String {
    let text = project.texts.get(&source.path).map(String::as_str).unwrap_or_default();
    text.lines().take(source.lines).collect::<Vec<_>>().join("\n")
}

/// The lines of code of a text, and its comments that are no documentation, each counted once.
fn lines(text: &str) -> (usize, usize) {
    let (mut code, mut comments, mut inside) = (0, 0, false);
    for line in text.lines().map(str::trim) {
        let documentation = line.starts_with("///") || line.starts_with("//!");
        let comment = line.starts_with("//") && !documentation;
        comments += usize::from(comment && !inside);
        inside = comment;
        code += usize::from(!line.is_empty() && !line.starts_with("//"));
    }
    (code, comments)
}
