//! Every output format of diagnostics, on the same findings.

use super::*;
use crate::config::Limits;
use crate::diagnostic::Span;
use crate::manifest::parse;

const TEXT: &str = "# a goal\napiVersion: planspec.io/v1alpha1\nkind: Goal\nmetadata:\n  name: a\n  namespace: n\nspec:\n  description: x\n  prioritiy: 1\n  description: y\n";

fn found() -> Vec<Diagnostic> {
    parse("goals/a.yaml", TEXT.as_bytes(), &Limits::default()).diagnostics
}

/// What a hostile manifest puts into names of fields and files.
fn hostile() -> Vec<Diagnostic> {
    let text = TEXT.replace("prioritiy", "\"::error::x\\e[31m\\r\\n::set-env,a=b:%\"");
    let mut found = parse("a.yaml", text.as_bytes(), &Limits::default()).diagnostics;
    for diagnostic in &mut found {
        diagnostic.location.path = "a\u{1b}[2J,b:\n::c%.yaml".to_owned();
    }
    found
}

#[test]
fn annotated_source_shows_the_place_and_the_hint() {
    let text = annotated(&found(), |path| (path == "goals/a.yaml").then(|| TEXT.to_owned()), 100, false);
    insta::assert_snapshot!(text, @r"
    error[PS2003]: unknown field `prioritiy`
      --> goals/a.yaml:9:3
       |
     7 | spec:
     8 |   description: x
     9 |   prioritiy: 1
       |   ^^^^^^^^^
    10 |   description: y
       |
       = help: did you mean `priority`?

    error[PS1002]: duplicate key `description`
      --> goals/a.yaml:10:3
       |
     8 |   description: x
       |   ----------- first here
     9 |   prioritiy: 1
    10 |   description: y
       |   ^^^^^^^^^^^
    ");
}

#[test]
fn without_the_text_the_place_is_named() {
    let text = annotated(&found(), |_| None, 100, false);
    assert!(text.contains("goals/a.yaml:9:3"), "{text}");
}

#[test]
fn many_warnings_of_one_code_are_summed_up_and_errors_are_not() {
    let mut many: Vec<Diagnostic> = (0..23).flat_map(|_| found()).collect();
    let errors = annotated(&many, |_| None, 100, false);
    assert_eq!(errors.matches("error[PS2003]").count(), 23);
    for diagnostic in &mut many {
        diagnostic.severity = Severity::Warning;
    }
    let warnings = annotated(&many, |_| None, 100, false);
    assert_eq!(warnings.matches("warning[PS2003]").count(), 20);
    assert!(warnings.ends_with("PS2003: … and 3 more (unknown field); `-o json` lists all\n"), "{warnings}");
    assert_eq!(json(&many).matches("\"PS2003\"").count(), 23);
}

#[test]
fn nothing_wrong_is_nothing_said() {
    assert_eq!(annotated(&[], |_| None, 100, true), "");
    assert_eq!(github(&[]), "");
    assert_eq!(SeverityCounts::of(&[]).to_string(), "nothing");
}

#[test]
fn no_control_character_reaches_a_terminal() {
    let evil = "a: \u{1b}]0;title\u{7}\u{9b}x # \u{202e}\n";
    let mut found = hostile();
    found[0].location.span = Some(Span { line: 1, column: 1, end_line: 1, end_column: 2, start: 0, end: 1 });
    for read in [None, Some(evil.to_owned())] {
        let text = annotated(&found, |_| read.clone(), 100, false);
        assert!(!text.is_empty());
        let bad = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
        assert_eq!(bad, None, "{text:?}");
    }
}

#[test]
fn json_has_a_version_and_every_field() {
    let value: serde_json::Value = serde_json::from_str(&json(&found())).unwrap();
    assert_eq!(value["version"], 1);
    assert_eq!((&value["errors"], &value["warnings"]), (&2.into(), &0.into()));
    let first = &value["diagnostics"][0];
    assert_eq!(
        *first,
        serde_json::json!({
            "code": "PS2003", "title": "unknown field", "severity": "error",
            "message": "unknown field `prioritiy`", "path": "goals/a.yaml", "document": 0,
            "pointer": "/spec/prioritiy", "line": 9, "column": 3, "endLine": 9, "endColumn": 12,
            "hint": "did you mean `priority`?", "resource": "n/goal/a",
        })
    );
    assert_eq!(value["diagnostics"][1]["related"][0]["line"], 8);
}

#[test]
fn sarif_is_sarif() {
    let text = sarif(&hostile());
    let log: serde_sarif::sarif::Sarif = serde_json::from_str(&text).unwrap();
    let run = &log.runs[0];
    let results = run.results.as_ref().unwrap();
    assert_eq!(results.len(), 2);
    let rules = run.tool.driver.rules.as_ref().unwrap();
    for result in results {
        let index = usize::try_from(result.rule_index.unwrap()).unwrap();
        assert_eq!(Some(&rules[index].id), result.rule_id.as_ref());
    }
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["version"], "2.1.0");
    let place = &value["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "a%1B%5B2J%2Cb%3A%0A%3A%3Ac%25.yaml");
    assert_eq!(place["region"]["startLine"], 9);
}

#[test]
fn a_workflow_command_cannot_be_left() {
    let text = github(&hostile());
    assert_eq!(text.lines().count(), 2, "{text}");
    for line in text.lines() {
        let (head, _) = line.strip_prefix("::error ").unwrap().split_once("::").unwrap();
        let names: Vec<&str> = head.split(',').map(|property| property.split_once('=').unwrap().0).collect();
        assert_eq!(names, ["file", "line", "endLine", "col", "endColumn", "title"]);
    }
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn workflow_commands_name_file_line_and_hint() {
    assert_eq!(
        github(&found()).lines().next().unwrap(),
        "::error file=goals/a.yaml,line=9,endLine=9,col=3,endColumn=12,title=PS2003 unknown field::unknown field `prioritiy`%0Ahelp: did you mean `priority`?"
    );
}
