//! Manifests: YAML or JSON in, resources and diagnostics out. Limits, schema, typed decoding, the rules of each
//! kind, references between resources, transitions between two commits. No I/O.

pub mod codes;
mod config;
mod document;
mod facts;
#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test asks whether to write its expectations")]
mod fixtures;
mod locate;
mod problem;
mod read;
mod references;
#[cfg(test)]
mod robustness;
mod rules;
mod schema;
mod suggest;
mod transition;

pub use config::{load_config, load_values, overlaps, read_config};
pub use facts::{FactRef, Facts, InputDeclaration, InputFacts, KindFacts, NodeFacts, Requirement, facts};
pub use locate::locate;
pub(crate) use read::{documents, usual_yaml};
pub use references::{DeclaredResource, ResourceSet, check_references, drop_consequences, duplicate};
pub use schema::{PublishedSchema, schemas};
pub use transition::check_transition;

use tracing::debug;

use self::locate::SourceText;
use self::problem::Problem;
use crate::config::Limits;
use crate::diagnostic::{Diagnostic, Location};
use crate::model::{API_GROUP, API_VERSION, Resource, SourceLocation};

/// Files up to this size are read although they are over the limit: to see whether they are manifests at all. A lock file
/// of a package manager may be large, and is none.
const SEARCHED_BYTES: u64 = 16 << 20;

/// The ends of the names of files that may hold manifests, in any case.
const ENDINGS: [&str; 3] = [".yaml", ".yml", ".json"];

/// How many problems of a document are listed.
const MOST_PROBLEMS: usize = 100;

/// What was found in one file.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The resources that nothing is wrong with, in the order of the file.
    pub resources: Vec<Resource>,
    /// Everything that is wrong or worth knowing.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether the file holds at least one PlanSpec document.
    pub manifest: bool,
    /// Whether something in the file could not be attributed to a resource: what it declared is unknown.
    pub broken: bool,
}

/// Whether a path may hold manifests: `*.yaml`, `*.yml`, `*.json`.
#[must_use]
pub fn is_candidate(path: &str) -> bool {
    // As bytes: counted back from the end of a name in other letters, a cut could fall inside a character.
    let path = path.as_bytes();
    ENDINGS.iter().any(|ending| {
        let (_, end) = path.split_at(path.len().saturating_sub(ending.len()));
        end.eq_ignore_ascii_case(ending.as_bytes())
    })
}

/// Reads a file: YAML with any number of documents, or JSON. Documents of other projects are passed over.
#[must_use]
pub fn parse(path: &str, bytes: &[u8], limits: &Limits) -> Parsed {
    // Before anything is decoded: a repository may hold any number of large files of other programs.
    let large = bytes.len() as u64 > limits.file_bytes;
    if !may_declare(bytes) || (large && !declares_group(&String::from_utf8_lossy(bytes))) {
        return Parsed::default();
    }
    let mut parsed = Parsed::default();
    let text = match decode_text(path, bytes, limits) {
        Ok(text) => text,
        Err(diagnostic) => {
            parsed.refuse(*diagnostic);
            return parsed;
        }
    };
    // Decoding takes the value apart instead of copying it. Only where that fails is the text read a second
    // time.
    let reread = |index| Some(text.read(limits).into_iter().nth(index)?.ok()?.value);
    for (index, document) in text.read(limits).into_iter().enumerate() {
        match document {
            Ok(document) => {
                let source = SourceLocation {
                    path: path.to_owned(),
                    document: u32::try_from(index).unwrap_or(u32::MAX),
                };
                parsed.take(document::examine(document, source, || reread(index)), &text, index, limits);
            }
            Err(broken) => {
                // Repositories are full of templates that are no YAML yet; a broken file is ours only if it says so.
                if parsed.manifest || declares_group(text.content) {
                    parsed.refuse(text.broken(&broken, index, limits));
                }
            }
        }
    }
    // Problems are found rule by rule, and read from top to bottom.
    parsed.diagnostics.sort_by_key(|found| found.location.span.map_or(0, |span| span.start));
    parsed
}

/// As [`parse`], for a file that somebody names: that it holds no manifest is an error, with the reason.
#[must_use]
pub fn parse_named(path: &str, bytes: &[u8], limits: &Limits) -> Parsed {
    let mut parsed = parse(path, bytes, limits);
    // What a search finds may be anybody's file; a file that is named was meant to hold a manifest.
    if !parsed.manifest && parsed.diagnostics.is_empty() {
        parsed.diagnostics.push(no_manifest(path, bytes, limits));
    }
    parsed
}

/// Why a file holds no manifest.
fn no_manifest(path: &str, bytes: &[u8], limits: &Limits) -> Diagnostic {
    let text = match decode_text(path, bytes, limits) {
        Ok(text) => text,
        Err(diagnostic) => return *diagnostic,
    };
    let mut problem = Problem::new(codes::UNKNOWN_VERSION, "", "the file holds no manifest");
    for (index, document) in text.read(limits).into_iter().enumerate() {
        match document {
            Ok(document) => {
                if let Some(found) = document::why_foreign(&document.value) {
                    return text.locate(&found, index, limits);
                }
            }
            // A syntax error is the reason here even where the text does not mention our group.
            Err(broken) => return text.broken(&broken, index, limits),
        }
    }
    problem = problem.hint(format!("a manifest begins with `apiVersion: {API_VERSION}`"));
    text.locate(&problem, 0, limits)
}

/// Up to how many bytes of a file are read. Over `limits.fileBytes`, [`parse`] only says whether it is a manifest.
#[must_use]
pub fn most_bytes(limits: &Limits) -> u64 {
    limits.file_bytes.max(SEARCHED_BYTES)
}

/// What to say of a file over [`most_bytes`], which is not read. Whether it is a manifest is not known.
#[must_use]
pub fn refuse_large(path: &str, size: u64) -> Parsed {
    let message = format!("the file has {size} bytes and is not read");
    let hint = "split it, raise `limits.fileBytes`, or list it under `exclude` in .planspec.yaml";
    // A warning only, since nobody knows whether it is a manifest.
    unread(Diagnostic::warning(codes::TOO_LARGE, whole(path), message).with_hint(hint))
}

/// What to say of an entry that is no regular file; `what` says what it is, as in `a symbolic link`.
#[must_use]
pub fn refuse_entry(path: &str, what: &str) -> Parsed {
    let message = format!("{what} is not followed; only regular files are read");
    unread(Diagnostic::warning(codes::NOT_A_FILE, whole(path), message))
}

fn unread(diagnostic: Diagnostic) -> Parsed {
    // It may have held anything, so what this path declared before stays in force (Invariant 6).
    Parsed { diagnostics: vec![diagnostic], broken: true, ..Parsed::default() }
}

fn whole(path: &str) -> Location {
    Location { path: path.to_owned(), ..Location::default() }
}

impl Parsed {
    fn refuse(&mut self, diagnostic: Diagnostic) {
        debug!(path = diagnostic.location.path, code = diagnostic.code.id, "the rest of a file is not read");
        self.diagnostics.push(diagnostic);
        self.manifest = true;
        self.broken = true;
    }

    fn take(
        &mut self,
        outcome: document::DocumentOutcome,
        text: &SourceText<'_>,
        index: usize,
        limits: &Limits,
    ) {
        self.manifest |= outcome.ours;
        // Without a key nobody knows which resource is meant, so that everything the file declared before stays in
        // force (Invariant 6).
        self.broken |= outcome.ours && outcome.resource.is_none() && outcome.key.is_none();
        // A hostile document has as many faults as fit in a file, and each one costs a search for its place.
        let left = outcome.problems.len().saturating_sub(MOST_PROBLEMS);
        let more = (left > 0).then(|| {
            Problem::new(codes::TOO_MANY_PROBLEMS, "", format!("{left} more problems in this document"))
        });
        for problem in outcome.problems.iter().take(MOST_PROBLEMS).chain(&more) {
            let mut diagnostic = text.locate(problem, index, limits);
            diagnostic.resource.clone_from(&outcome.key);
            self.diagnostics.push(diagnostic);
        }
        self.resources.extend(outcome.resource);
    }
}

/// Whether the text could hold a PlanSpec document: most files of a repository do not, and are not parsed.
#[must_use]
pub fn may_declare(bytes: &[u8]) -> bool {
    let group = API_GROUP.as_bytes();
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        // UTF-16: every other byte is zero.
        let narrow: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
        return narrow.windows(group.len()).any(|window| window == group);
    }
    std::str::from_utf8(bytes).map_or_else(
        |_| bytes.windows(group.len()).any(|window| window == group),
        |text| text.contains(API_GROUP),
    )
}

/// Whether a text that cannot be parsed is meant as a manifest: it says `apiVersion: planspec.io…` somewhere.
fn declares_group(text: &str) -> bool {
    text.match_indices(API_GROUP).any(|(at, _)| {
        let before = text.get(..at).unwrap_or_default().trim_end_matches(['"', '\'', ' ', '\t']);
        let key = before.strip_suffix(':').map(|rest| rest.trim_end_matches(['"', '\'', ' ', '\t']));
        key.is_some_and(|key| key.ends_with("apiVersion"))
    })
}

fn decode_text<'t>(
    path: &'t str,
    bytes: &'t [u8],
    limits: &Limits,
) -> Result<SourceText<'t>, Box<Diagnostic>> {
    if bytes.len() as u64 > limits.file_bytes {
        let size = bytes.len();
        let message =
            format!("the file has {size} bytes, more than `limits.fileBytes` ({})", limits.file_bytes);
        let hint = "split it, or raise `limits.fileBytes` in .planspec.yaml";
        return Err(Box::new(Diagnostic::error(codes::TOO_LARGE, whole(path), message).with_hint(hint)));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(SourceText::new(path, text)),
        Err(error) => {
            // The part before the first bad byte gives that byte its line and column.
            let good = bytes.get(..error.valid_up_to()).and_then(|good| std::str::from_utf8(good).ok());
            let location = SourceText::new(path, good.unwrap_or_default()).end();
            let diagnostic = Diagnostic::error(codes::NOT_UTF8, location, "the file is not UTF-8");
            Err(Box::new(diagnostic.with_hint("save it as UTF-8")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Severity;
    use crate::model::Spec;

    fn check(text: &str, expected: &[(&str, u32, u32)]) -> Parsed {
        let parsed = parse("a.yaml", text.as_bytes(), &Limits::default());
        let found: Vec<(&str, u32, u32)> = parsed
            .diagnostics
            .iter()
            .map(|found| {
                let span = found.location.span.unwrap_or_default();
                (found.code.id, span.line, span.column)
            })
            .collect();
        assert_eq!(found, expected, "{:#?}", parsed.diagnostics);
        parsed
    }

    #[test]
    fn the_example_of_the_readme_loads() {
        let parsed = check(include_str!("../../tests/fixtures/valid/readme-sso.yaml"), &[]);
        let [goal, plan, execution] = parsed.resources.as_slice() else { panic!("{parsed:?}") };
        assert_eq!(goal.key().to_string(), "team-platform/goal/enable-google-sso");
        assert_eq!(plan.source.document, 1);
        let Spec::Execution(spec) = &execution.spec else { panic!("{execution:?}") };
        assert_eq!(spec.parameters.get("dryRun"), Some(&serde_json::Value::Bool(false)));
    }

    #[test]
    fn everything_wrong_is_found_at_once_with_its_place() {
        let text = "apiVersion: planspec.io/v1alpha1\nkind: Goal\nmetadata:\n  name: Bad_Name\n  namespace: a\n  lables: {}\nspec:\n  priority: yes\n  timeout: 5\n  description: ok\n  description: again\n";
        let parsed = check(
            text,
            &[("PS2007", 4, 9), ("PS2003", 6, 3), ("PS2005", 8, 13), ("PS2005", 9, 12), ("PS1002", 11, 3)],
        );
        assert!(parsed.resources.is_empty() && parsed.manifest && parsed.broken);
    }

    fn check_limit(limits: &Limits, text: &str, expected: &str) {
        let parsed = parse("a.yaml", text.as_bytes(), limits);
        let found: Vec<String> =
            parsed.diagnostics.iter().map(|found| format!("{} {}", found.code, found.message)).collect();
        assert_eq!(found, [expected]);
        assert!(parsed.broken && parsed.manifest);
    }

    const GOAL: &str = "{apiVersion: planspec.io/v1alpha1, kind: Goal, metadata: {name: g, namespace: n}, spec: {description: d}}\n";

    #[test]
    fn limits_come_from_the_configuration() {
        let limits = Limits { file_bytes: 50, ..Limits::default() };
        check_limit(
            &limits,
            GOAL,
            &format!("PS1005 the file has {} bytes, more than `limits.fileBytes` (50)", GOAL.len()),
        );
        let limits = Limits { documents: 2, ..Limits::default() };
        let text = format!("{GOAL}---\n{GOAL}---\n{GOAL}");
        check_limit(&limits, &text, "PS1006 the file has more than 2 documents");
        let limits = Limits { aliases: 0, ..Limits::default() };
        let text = GOAL.replace("n}", "&a n, labels: {x: *a}}");
        check_limit(&limits, &text, "PS1004 more than 0 aliases");
    }

    #[test]
    fn documents_before_a_broken_one_are_kept() {
        let parsed = parse("a.yaml", format!("{GOAL}---\napiVersion: [").as_bytes(), &Limits::default());
        assert_eq!((parsed.resources.len(), parsed.diagnostics.len(), parsed.broken), (1, 1, true));
    }

    #[test]
    fn a_resource_that_is_refused_is_still_named() {
        let text = GOAL.replace("description", "descriptoin");
        let parsed = parse("a.yaml", text.as_bytes(), &Limits::default());
        assert!(parsed.resources.is_empty() && !parsed.broken);
        for found in parsed.diagnostics {
            assert_eq!(found.resource.unwrap().to_string(), "n/goal/g");
        }
    }

    #[test]
    fn files_of_others_are_passed_over_even_when_they_are_broken_or_large() {
        for text in ["a: [", "planspec.io: {", "\u{0}", "", "kind: Goal"] {
            let parsed = parse("a.yaml", text.as_bytes(), &Limits { file_bytes: 30, ..Limits::default() });
            assert!(!parsed.manifest && parsed.diagnostics.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_read_is_named_and_may_have_held_anything() {
        for (parsed, code) in
            [(refuse_large("a.yaml", 9), "PS1005"), (refuse_entry("a.yaml", "a symbolic link"), "PS1012")]
        {
            assert!(parsed.broken && !parsed.manifest && parsed.resources.is_empty());
            assert_eq!(
                (parsed.diagnostics[0].code.id, parsed.diagnostics[0].location.path.as_str()),
                (code, "a.yaml")
            );
        }
    }

    #[test]
    fn a_named_file_without_a_manifest_is_an_error_that_says_why() {
        for (text, expected) in [
            (
                "",
                "- PS2001 the file holds no manifest (a manifest begins with `apiVersion: planspec.io/v1alpha1`)",
            ),
            (
                "kind: Goal\n",
                "1 PS2001 missing field `apiVersion` (write `apiVersion: planspec.io/v1alpha1`)",
            ),
            (
                "---\n---\nkind: Goal\n",
                "3 PS2001 missing field `apiVersion` (write `apiVersion: planspec.io/v1alpha1`)",
            ),
            (
                "apiVersion: planspec/v1alpha1\n",
                "1 PS2001 unknown apiVersion `planspec/v1alpha1` (write `planspec.io/v1alpha1`)",
            ),
            (
                "apiVersion: v1\nkind: List\nitems: []\n",
                "2 PS2002 `kind: List` is not supported (write each item as a document of its own, with `---` between them)",
            ),
            (
                "apiVersion: apps/v1\nkind: Deployment\n",
                "1 PS2001 unknown apiVersion `apps/v1` (write `planspec.io/v1alpha1`)",
            ),
            ("a: [\n", "2 PS1001 did not find expected node content, while parsing a node"),
        ] {
            let parsed = parse_named("a.yaml", text.as_bytes(), &Limits::default());
            let [found] = parsed.diagnostics.as_slice() else { panic!("{parsed:?}") };
            let line = found.location.span.map_or("-".to_owned(), |span| span.line.to_string());
            let hint = found.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            assert_eq!(format!("{line} {} {}{hint}", found.code, found.message), expected);
            assert_eq!(found.severity, Severity::Error);
        }
        assert_eq!(parse_named("a.yaml", GOAL.as_bytes(), &Limits::default()).diagnostics, Vec::new());
    }

    #[test]
    fn a_large_file_is_refused_when_it_declares_a_manifest_and_ignored_when_it_does_not() {
        let limits = Limits { file_bytes: 10, ..Limits::default() };
        for (text, refused) in [(GOAL, true), ("{\"planspec.io/goal\": \"a lock file\"}", false)] {
            let parsed = parse("a.yaml", text.as_bytes(), &limits);
            assert_eq!((parsed.broken, parsed.diagnostics.len()), (refused, usize::from(refused)), "{text}");
        }
    }

    #[test]
    fn candidates_are_yaml_and_json() {
        for (path, expected) in [
            ("a.yaml", true),
            ("d/a.yml", true),
            ("A.JSON", true),
            ("yaml", false),
            ("a.yaml.bak", false),
            ("ä", false),
            ("é.yml", true),
            ("x€.json", true),
            ("a.yamlé", false),
        ] {
            assert_eq!(is_candidate(path), expected, "{path}");
        }
    }
}
