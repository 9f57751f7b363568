//! What is read here is what the walk reads.

use proptest::prelude::*;

use super::read;
use crate::config::Limits;
use crate::manifest::read::{RawDocument, read_by_walk};

/// Whether the text is usual; then both read the same.
fn check_agrees(text: &str) -> bool {
    let Some(ours) = read(text, 64, 1_000) else { return false };
    let theirs: Vec<_> = read_by_walk(text, &Limits::default())
        .documents
        .into_iter()
        .map(|document| {
            let RawDocument { value, findings } =
                document.unwrap_or_else(|error| panic!("{text:?}: {error:?}"));
            assert!(findings.is_empty(), "{text:?}: {findings:?}");
            value
        })
        .collect();
    assert_eq!(ours, theirs, "{text:?}");
    true
}

#[test]
fn most_manifests_are_usual() {
    let mut usual = 0;
    let mut all = 0;
    for folder in ["tests/fixtures/valid", "examples/sso/planspec", "examples/feature-release/planspec"] {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in std::fs::read_dir(root).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            all += 1;
            usual += u32::from(check_agrees(&std::fs::read_to_string(path).unwrap()));
        }
    }
    assert!(usual * 2 > all, "{usual} of {all}");
}

#[test]
fn fixtures_that_are_refused_are_not_read_otherwise() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/invalid");
    for entry in std::fs::read_dir(root).unwrap() {
        let Ok(text) = std::fs::read_to_string(entry.unwrap().path()) else { continue };
        if read_by_walk(&text, &Limits::default()).documents.iter().all(Result::is_ok)
            && read(&text, 64, 1_000).is_some()
        {
            check_agrees(&text);
        }
    }
}

#[test]
fn usual_constructs_are_read() {
    for text in [
        "a: b\n",
        "a:\n  b: 1\n  c: true\n  d: null\n  e:\nf: 'it'\n",
        "a:\n- b\n- c: d\n  e: [f, 2, \"g\"]\n-   h: {i: j, k: l}\n",
        "a: |\n  b\n   c\n\n  d\n\ne: >-\n  f\n  g\n\n  h\n",
        "# c\n---\na: b # d\n---\n\nc: 7d\n",
        "- a\n- b\n",
        "a: https://example.com/x#y\nb: 1.2.3-rc\nc: Ünï\n",
        "\"a b\": c\n'd': e\n",
        "a: []\nb: {}\n",
        "a: 1.5\nb: 0x1f\nc: 007\nd: 1e3\ne: 2026-01-01\nf: 70333b647ded5bc1\ng: 7_0\n",
    ] {
        assert!(check_agrees(text), "{text:?}");
    }
}

#[test]
fn what_is_unusual_is_left_to_the_walk() {
    for text in [
        "a: b\n  c\n",
        "a: &x b\n",
        "a: *x\n",
        "a: !t b\n",
        "a: \"b\\n\"\n",
        "a: 'b''c'\n",
        "a: b: c\n",
        "<<: {a: b}\n",
        "a: -1\n",
        "a: 99999999999999999999\n",
        "a: .inf\n",
        "a: b\na: c\n",
        "a:\tb\n",
        "a: b\r\n",
        "? a\n: b\n",
        "%YAML 1.2\n---\na: b\n",
        "a: b\n...\n",
        "a: [b,\n  c]\n",
        "a: |2\n   b\n",
        "a: |\n\n  b\n",
        "- - a\n",
        "a: {b: c,}\n",
        "a: @b\n",
        "a\n",
        "",
        "---\n",
        "a: |\n  b",
        "- a\nb: c\n",
        " a: b\nc: d\n",
        "a:\n  - b\n - c\n",
    ] {
        assert_eq!(read(text, 64, 1_000), None, "{text:?}");
    }
    assert_eq!(read("a:\n  b:\n    c: d\n", 2, 9), None);
    assert_eq!(read("a: b\n---\nc: d\n", 64, 1), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn whatever_is_read_is_what_the_walk_reads(lines in prop::collection::vec(line(), 0..8)) {
        check_agrees(&lines.concat());
    }

    #[test]
    fn no_text_is_read_otherwise(text in "[a-c0-9:#\\-?\\[\\]{},&*!|>'\"%@` .~\n]{0,24}") {
        check_agrees(&text);
    }
}

pub(in crate::manifest::read) fn line() -> impl Strategy<Value = String> {
    let indent = prop::sample::select(vec!["", "  ", "    ", "- ", "  - ", "   ", " "]);
    let key = prop::sample::select(vec!["", "a: ", "b:", "c-1: ", "\"d e\": ", "'f': ", "1: "]);
    let value = prop::sample::select(vec![
        "",
        "x",
        "x y",
        "12",
        "0",
        "012",
        "true",
        "null",
        "7d",
        "1e3",
        "[a, b]",
        "{a: b, c: 1}",
        "[a,b]",
        "[ a ]",
        "[]",
        "'q'",
        "\"q\"",
        "'q' # c",
        "x # c",
        "x#c",
        "|",
        "|-",
        ">",
        ">-",
        "# c",
        "a:b",
        "~",
        "-",
        "-x",
        "{a: [b, {c: d}]}",
        "[a b, 'c']",
        "Ü",
        "no",
        "---",
        "...",
    ]);
    (indent, key, value, prop::sample::select(vec!["\n", "\n", "\n", "\n\n", " \n", ""]))
        .prop_map(|(indent, key, value, end)| format!("{indent}{key}{value}{end}"))
}
