//! Runs over `tests/fixtures`: what is valid loads without an error, what is invalid is refused for the expected reasons.
//! What is expected stands beside a fixture in `NAME.expected`; `UPDATE_FIXTURES=1` writes these files again, to be read.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::Limits;
use crate::diagnostic::{Diagnostic, Severity};

use super::{check_references, facts, locate, parse};

fn fixtures(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> = all.filter(|path| path.extension().unwrap() != "expected").collect();
    all.sort();
    assert!(all.len() > 10);
    all
}

/// Everything that is wrong with a fixture: `LINE:COLUMN severity CODE message (hint)`, one per line.
fn findings(path: &Path) -> (usize, Vec<Diagnostic>, String) {
    let bytes = fs::read(path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let limits = Limits::default();
    let mut parsed = parse(name, &bytes, &limits);
    let all: Vec<_> = parsed.resources.iter().map(facts).collect();
    let mut found =
        check_references(all.iter().zip(parsed.resources.iter().map(|resource| &resource.source)));
    locate(&mut found, &limits, |_| Some(bytes.clone()));
    parsed.diagnostics.extend(found);
    parsed.diagnostics.sort_by_key(|found| found.location.span.map_or(0, |span| span.start));
    let lines = parsed.diagnostics.iter().map(|found| {
        let place =
            found.location.span.map_or("-".to_owned(), |span| format!("{}:{}", span.line, span.column));
        let severity = format!("{:?}", found.severity).to_lowercase();
        let hint = found.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        let related = found.related.iter().map(|other| {
            let span = other.location.span.unwrap();
            format!("    {}:{} {}\n", span.line, span.column, other.message)
        });
        let related: String = related.collect();
        format!("{place} {severity} {} {}{hint}\n{related}", found.code, found.message)
    });
    let text = lines.collect();
    (parsed.resources.len(), parsed.diagnostics, text)
}

fn check_expected(path: &Path, text: &str) {
    let beside = PathBuf::from(format!("{}.expected", path.display()));
    if std::env::vars().any(|(name, _)| name == "UPDATE_FIXTURES") && !text.is_empty() {
        fs::write(&beside, text).unwrap();
    }
    let expected = fs::read_to_string(&beside).unwrap_or_default();
    assert_eq!(text, expected, "{}", path.display());
}

#[test]
fn valid_fixtures_load_without_an_error() {
    for path in fixtures("valid") {
        let (resources, found, text) = findings(&path);
        assert!(found.iter().all(|found| found.severity != Severity::Error), "{}\n{text}", path.display());
        let foreign = path.file_name().unwrap().to_str().unwrap().starts_with("other-project");
        assert_eq!(resources == 0, foreign, "{}", path.display());
        check_expected(&path, &text);
    }
}

#[test]
fn invalid_fixtures_are_refused_for_the_expected_reasons() {
    for path in fixtures("invalid") {
        let (_, found, text) = findings(&path);
        assert!(found.iter().any(|found| found.severity == Severity::Error), "{}\n{text}", path.display());
        for found in &found {
            assert!(found.location.span.is_some(), "{}: no place for {found:?}", path.display());
        }
        check_expected(&path, &text);
    }
}
