//! The walk against the library that reads the records of the status branch, and the ranges of documents against the walk.

use proptest::prelude::*;
use serde_json::Value;

use super::documents;
use super::fast_yaml::tests::line;
use super::{ManifestFormat, ReadError, places, read_by_walk};
use crate::config::Limits;

fn values(text: &str) -> Option<Vec<Value>> {
    let read = read_by_walk(text, &Limits::default()).documents.into_iter();
    read.map(|document| {
        document.ok().filter(|document| document.findings.is_empty()).map(|document| document.value)
    })
    .collect()
}

fn check(text: &str, expected: &str) {
    let expected: Vec<Value> = serde_json::from_str(expected).unwrap();
    assert_eq!(values(text), Some(expected), "{text:?}");
}

#[test]
fn unusual_yaml_is_read() {
    check("", "[]");
    check("# nothing\n", "[]");
    check("---\n---\na: 1\n", r#"[null, {"a": 1}]"#);
    check("a: &x {b: 1}\nc: *x\n", r#"[{"a": {"b": 1}, "c": {"b": 1}}]"#);
    check("a: &x {b: 1, c: 2}\nd: {c: 3, <<: *x}\n", r#"[{"a": {"b": 1, "c": 2}, "d": {"c": 3, "b": 1}}]"#);
    check("a: {\"<<\": {b: 1}}\n", r#"[{"a": {"<<": {"b": 1}}}]"#);
    check("a: !!str 12\nb: !!int \"12\"\n", r#"[{"a": "12", "b": 12}]"#);
    check("a: |\n\n  b", "[{\"a\": \"\\nb\"}]");
    check("a: |\n  x\n  ", "[{\"a\": \"x\\n\"}]");
    check("a: |+\n  x\n   ", "[{\"a\": \"x\\n \"}]");
    check("a: |+\n  ", "[{\"a\": \"\"}]");
    check("a: |\n  x\nb: 1", "[{\"a\": \"x\\n\", \"b\": 1}]");
    check("? a\n: 1\n~: 2\n1.10: 3\n", r#"[{"a": 1, "~": 2, "1.10": 3}]"#);
    check("a: \"\\x41\\u00e4\\n\"\n", "[{\"a\": \"Aä\\n\"}]");
}

#[test]
fn what_no_manifest_may_hold_is_found() {
    for (text, expected) in [
        ("a: {<<: {b: 1}, <<: {c: 2}}\n", "DuplicateKey /a/<<"),
        ("a: 1\n\"a\": 2\n", "DuplicateKey /a"),
        ("a: [18446744073709551616]\n", "BadNumber /a/0"),
        ("a: !!int b\n", "TagMismatch(\"!!int\") /a"),
        ("a: !x b\n", "Tag(\"!x\") /a"),
        ("a: {<<: 1}\n", "BadMerge /a/<<"),
    ] {
        let read = read_by_walk(text, &Limits::default()).documents.remove(0).unwrap();
        let found: Vec<String> =
            read.findings.iter().map(|found| format!("{:?} {}", found.kind, found.pointer)).collect();
        assert_eq!(found, [expected], "{text}");
    }
}

#[test]
fn aliases_cannot_nest_deeper_than_the_limit() {
    let text = "- &a [[[]]]\n- &b [[[*a]]]\n- [[[*b]]]\n";
    let read = read_by_walk(text, &Limits { depth: 8, ..Limits::default() }).documents.remove(0).unwrap();
    let found: Vec<&str> = read.findings.iter().map(|found| found.pointer.as_str()).collect();
    assert_eq!(found, ["/2/0/0/0/0/0/0/0"]);
}

#[test]
fn deep_nesting_costs_no_more_than_a_wide_one() {
    for text in ["[".repeat(500_000), "- ".repeat(250_000), "? ".repeat(250_000)] {
        let mut read = read_by_walk(&text, &Limits::default()).documents;
        let refused = match read.remove(0) {
            Err(ReadError::TooDeep { .. } | ReadError::ComplexKey { .. }) => true,
            Err(_) => false,
            Ok(document) => !document.findings.is_empty(),
        };
        assert!(refused);
    }
}

#[test]
fn places_in_json_are_found_beside_escapes_that_yaml_does_not_know() {
    let text = "{\"a\": \"\\ud83d\\ude00 \\\\ud83d\",\n\t\"b\": 1}";
    let tree = places(text, ManifestFormat::Json, &Limits::default());
    let entry = tree.find(0, "/b", 0).unwrap();
    assert_eq!((entry.value.from.line, entry.value.from.column), (2, 7));
}

/// The parser takes the marker for a part of the text.
#[test]
fn block_text_at_the_top_hides_no_document() {
    for text in ["|\n---\na: 1\n", ">\n---\n", "a: 1\n---\n|-\n---\nb: 2\n"] {
        assert_eq!(values(text), None, "{text:?}");
    }
    check("a: |\n  x\n---\nb: 1\n", r#"[{"a": "x\n"}, {"b": 1}]"#);
}

#[test]
fn a_comment_may_stand_behind_the_end_of_a_document() {
    for text in ["x\n...\ny\n", "x\n...  # c\ny\n", "x\n...\t# c\n---\ny\n"] {
        assert_eq!((documents::count(text), values(text).map(|all| all.len())), (2, Some(2)), "{text:?}");
    }
    assert_eq!(documents::count("x ...\n....\n"), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn both_libraries_read_the_same(lines in prop::collection::vec(line(), 0..8)) {
        let text = lines.concat();
        let theirs: Option<Vec<Value>> =
            serde_yaml::Deserializer::from_str(&text).map(|document| serde::Deserialize::deserialize(document).ok()).collect();
        // They differ in what they refuse, and in whether nothing at all is a document.
        if let (Some(ours), Some(theirs)) = (values(&text), theirs) && !ours.is_empty() {
            prop_assert_eq!(ours, theirs, "{:?}", text);
        }
    }

    /// Block text is the one thing whose value depends on how the last line ends.
    #[test]
    fn block_text_ends_with_the_file_as_the_libraries_say(
        before in "(| |- |  - )a: [|>][-+]?1?[-+]?",
        lines in prop::collection::vec("\n {0,5}(x|x y|)", 0..5),
        after in "(\n|\n |\n  |\n   | |)",
    ) {
        let text = format!("{before}{}{after}", lines.concat());
        let theirs: Result<Value, _> = serde_yaml::from_str(&text);
        if let (Some(ours), Ok(theirs)) = (values(&text), theirs) {
            prop_assert_eq!(ours, vec![theirs], "{:?}", text);
        }
    }

    #[test]
    fn documents_are_counted_as_they_are_read(lines in prop::collection::vec(line(), 0..8)) {
        let text = lines.concat();
        if let Some(values) = values(&text) {
            prop_assert_eq!(documents::count(&text), values.len(), "{:?}", text);
        }
    }
}
