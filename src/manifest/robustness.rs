//! Whatever a file holds: no panic, and every span lies within the file.

use proptest::prelude::*;

use super::{Parsed, parse};
use crate::config::Limits;

const TEXT: &str = include_str!("../../tests/fixtures/valid/every-kind-with-every-field.yaml");

/// Pieces that mean something to a YAML parser.
const PIECES: [&str; 32] = [
    "",
    " ",
    "\n",
    "\r\n",
    "\t",
    "- ",
    "? ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "&a ",
    "*a",
    "<<: *a",
    "!x ",
    "!!str ",
    "|\n",
    ">-\n",
    "\"",
    "'",
    "#",
    "---\n",
    "...\n",
    "%YAML 1.1\n",
    "ä",
    "\u{2028}",
    "\u{feff}",
    "${{ nodes.",
    "null",
    "0x",
];

fn check(path: &str, bytes: &[u8]) -> Parsed {
    let parsed = parse(path, bytes, &Limits { depth: 20, ..Limits::default() });
    for found in &parsed.diagnostics {
        let related = found.related.iter().map(|other| &other.location);
        for location in std::iter::once(&found.location).chain(related) {
            let Some(span) = location.span else { continue };
            assert!(span.start <= span.end && span.end <= bytes.len(), "{found:?}");
            assert!(span.line >= 1 && span.column >= 1);
            if let Ok(text) = std::str::from_utf8(bytes) {
                assert!(text.get(span.start..span.end).is_some(), "{found:?}");
            }
        }
    }
    parsed
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_manifest_is_answered_with_diagnostics(
        document in 0usize..9,
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0usize..4, 0usize..32), 1..4),
    ) {
        let mut text: Vec<char> = TEXT.split("---\n").nth(document).unwrap_or(TEXT).chars().collect();
        for (at, cut, piece) in changes {
            let at = at.index(text.len() + 1);
            let end = (at + cut).min(text.len());
            text.splice(at..end, PIECES[piece].chars());
        }
        let text = String::from_iter(text);
        check("a.yaml", text.as_bytes());
        check("a.json", text.as_bytes());
    }

    #[test]
    fn damaged_bytes_are_answered_with_diagnostics(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = TEXT.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        check("a.yaml", &bytes);
    }
}

/// JSON is YAML: both readers see the same resources.
#[test]
fn json_and_yaml_mean_the_same() {
    for document in TEXT.split("---\n") {
        let value: serde_json::Value = serde_yaml::from_str(document).unwrap();
        let json = check("a.json", serde_json::to_string_pretty(&value).unwrap().as_bytes());
        let yaml = check("a.yaml", document.as_bytes());
        assert_eq!(json.diagnostics, Vec::new());
        let specs = |parsed: Parsed| {
            parsed.resources.into_iter().map(|found| (found.metadata, found.spec)).collect::<Vec<_>>()
        };
        let json = specs(json);
        let yaml = specs(yaml);
        assert_eq!(json.len(), 1);
        assert_eq!(json, yaml);
    }
}
