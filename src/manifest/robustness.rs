//! Whatever a file holds: no panic, and every span lies within the file.

use std::collections::HashSet;

use proptest::prelude::*;

use super::{Parsed, parse};
use crate::config::Limits;
use crate::diagnostic::Severity;

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

/// The pointers of all fields of a value.
fn fields(value: &serde_json::Value, at: &str, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(map) => {
            for (key, value) in map {
                let here = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                fields(value, &here, found);
                found.push(here);
            }
        }
        serde_json::Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                fields(value, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// One slip of the keyboard is one error, at the word that was typed, whichever field of whichever kind it is.
#[test]
fn a_misspelt_field_is_one_error() {
    let errors = |value: &serde_json::Value| -> Vec<String> {
        let found = check("a.json", value.to_string().as_bytes()).diagnostics;
        let errors = found.iter().filter(|found| found.severity == Severity::Error);
        errors
            .map(|found| format!("{} ({})", found.message, found.hint.clone().unwrap_or_default()))
            .collect()
    };
    let mut tried = HashSet::new();
    let mut wrong = Vec::new();
    for document in TEXT.split("---\n") {
        let value: serde_json::Value = serde_yaml::from_str(document).unwrap();
        let mut all = Vec::new();
        fields(&value, "", &mut all);
        for pointer in all {
            // The same field of another item of a list says nothing more.
            let pattern: Vec<&str> =
                pointer.split('/').map(|part| if part.parse::<u32>().is_ok() { "*" } else { part }).collect();
            if !tried.insert(format!("{} {}", value["kind"], pattern.join("/"))) {
                continue;
            }
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            let mut changed = value.clone();
            let map = changed.pointer_mut(parent).unwrap().as_object_mut().unwrap();
            let inner = map.remove(&name.replace("~1", "/").replace("~0", "~")).unwrap();
            let without = changed.clone();
            let misspelt = format!("{name}{}", name.chars().last().unwrap());
            changed.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(misspelt.clone(), inner);
            let found = errors(&changed);
            let named = found.len() == 1
                && found[0].contains(&format!("`{misspelt}`"))
                && found[0].contains(&format!("did you mean `{name}`?"));
            // A key that authors choose, such as that of a label, has no right spelling.
            let missing =
                || errors(&without).iter().any(|found| found.contains(&format!("missing field `{name}`")));
            if found.len() > 1 || (!named && missing()) {
                wrong.push(format!("{pointer}: {}", found.join("; ")));
            }
        }
    }
    assert!(tried.len() > 150, "{}", tried.len());
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}
