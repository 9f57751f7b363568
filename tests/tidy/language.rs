//! One language: one name for one thing, and references that lead somewhere.

use std::collections::BTreeMap;

use regex::Regex;

use crate::project::{Finding, Project};

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
