//! The page reads well, is cut where it may be, and hostile text changes nothing but the words.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use serde_json::json;

use super::*;
use crate::config::Environment;
use crate::diagnostic::Severity;
use crate::model::NodeKind;
use crate::report::markdown::{COMMENT_LIMIT, SUMMARY_LIMIT};

const HOSTILE: &str = include_str!("../../../tests/fixtures/hostile.json");

pub(in crate::report) fn corpus() -> Vec<String> {
    serde_json::from_str(HOSTILE).unwrap()
}

/// What a host would build of a page, without its words: events, the tags of raw HTML, and the shape of diagrams.
pub(in crate::report) fn structure(page: &str) -> Vec<String> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_MATH
        | Options::ENABLE_GFM;
    let tags = regex::Regex::new("<[^>]*>").unwrap();
    let live =
        regex::Regex::new(r"(?i)@[a-z0-9]|#[0-9]|gh-[0-9]|https?://|www\.[a-z]|(^|\s)::[a-z]").unwrap();
    let label = regex::Regex::new("\"[^\"]*\"").unwrap();
    let mut diagram = false;
    let mut code = false;
    let mut found = Vec::new();
    for event in Parser::new_ext(page, options) {
        match event {
            Event::Text(text) if diagram => {
                found.extend(text.lines().map(|line| label.replace_all(line, "\"\"").into_owned()));
            }
            // A block of code shows its text as it is, and mentions nobody.
            Event::Text(_) if code => {}
            Event::Text(text) => assert!(!live.is_match(&text), "{text:?} is live"),
            Event::Html(html) | Event::InlineHtml(html) if html.starts_with("<!-- planspec:digest") => {}
            Event::Html(html) | Event::InlineHtml(html) => {
                let words = tags.replace_all(&html, " ");
                let words = words.replace("&#64;&#8203;", "").replace("&#35;&#8203;", "");
                assert!(!words.contains('@') && !words.contains("http:"), "{words:?} is live");
                found.extend(tags.find_iter(&html).map(|tag| tag.as_str().to_owned()));
            }
            Event::Code(_) => found.push("code".to_owned()),
            Event::Start(Tag::CodeBlock(kind)) => {
                diagram = matches!(&kind, CodeBlockKind::Fenced(language) if language.as_ref() == "mermaid");
                code = !diagram;
                found.push(format!("{kind:?}"));
            }
            Event::End(TagEnd::CodeBlock) => (diagram, code) = (false, false),
            event => found.push(format!("{event:?}")),
        }
    }
    found
}

/// The same without code spans, of which a sentence has as many as whoever wrote it put backticks there.
pub(in crate::report) fn blocks(page: &str) -> Vec<String> {
    structure(page).into_iter().filter(|event| event != "code").collect()
}

/// A preview in which every text is `text`.
fn filled(text: &str) -> Preview {
    let text = || text.to_owned();
    let node = |id: &str, mark| GraphNode {
        id: format!("{id}{}", text()),
        name: Some(text()),
        kind: NodeKind::Task,
        mark,
    };
    Preview {
        stale_base: true,
        base: Some(text()),
        head: Some(text()),
        diagnostics: [Severity::Error, Severity::Warning, Severity::Note]
            .map(|severity| PreviewFinding {
                code: text(),
                severity,
                file: text(),
                line: Some(3),
                message: text(),
                hint: Some(text()),
            })
            .into(),
        created: vec![text(), text()],
        changed: vec![ChangedResource {
            resource: text(),
            spec: true,
            fields: vec![
                ChangedField { path: text(), old: Some(json!(text())), new: Some(json!({ text(): text() })) },
                ChangedField { path: text(), old: None, new: Some(json!([text()])) },
                ChangedField { path: text(), old: Some(json!(text())), new: None },
            ],
        }],
        deleted: vec![text()],
        graphs: [3, 40]
            .map(|size| PreviewGraph {
                plan: text(),
                nodes: (0..size)
                    .map(|i| {
                        node(
                            &format!("n{i}"),
                            [ChangeMark::Added, ChangeMark::Removed, ChangeMark::Changed, ChangeMark::Kept]
                                [i % 4],
                        )
                    })
                    .collect(),
                edges: vec![GraphEdge {
                    from: format!("n0{}", text()),
                    to: format!("n1{}", text()),
                    soft: false,
                    member: false,
                    mark: ChangeMark::Added,
                }],
            })
            .into(),
        starts: vec![StartingExecution {
            execution: text(),
            plan: text(),
            nodes: Some(3),
            providers: vec![ProviderUse { provider: text(), nodes: vec![text(), text()] }],
            unbound: vec![text()],
            gates: vec![PreviewGate {
                node: text(),
                gate: text(),
                reviewers: vec![text(), text()],
                approvals: 2,
            }],
            commands: vec![PreviewCommand {
                node: text(),
                command: text(),
                keeps_changes: true,
                allow: vec![text()],
                deny: vec![text()],
            }],
        }],
        voided: vec![VoidedApproval { gate: text(), reviewers: vec![text(), text()] }],
        consequences: vec![text()],
        warnings: vec![text(), text()],
        held_back: Some(HeldBackDeletions { deleted: 12, total: 14 }),
        ..Preview::empty()
    }
}

#[test]
fn hostile_text_changes_no_structure() {
    let expected = render(&filled("harmless words"), COMMENT_LIMIT, PageLinks::default());
    let comment = blocks(&expected.comment);
    let summary = blocks(&expected.summary);
    let spans = structure(&expected.comment).len() - comment.len();
    assert!(comment.len() > 100 && spans > 10, "{comment:?}");
    for text in corpus() {
        let found = render(&filled(&text), COMMENT_LIMIT, PageLinks::default());
        assert_eq!(blocks(&found.comment), comment, "{text:?}");
        assert_eq!(blocks(&found.summary), summary, "{text:?}");
        // Names stay the code spans that they are.
        assert!(structure(&found.comment).len() >= comment.len() + spans, "{text:?}");
        let lines = found
            .summary
            .lines()
            .filter(|line| line.trim_start().starts_with("::") || line.starts_with("##["));
        assert_eq!(lines.count(), 0, "{text:?} is a command of the workflow");
        assert_eq!(found.comment.lines().filter(|line| *line == MARKER).count(), 1, "{text:?}");
    }
}

#[test]
fn a_preview_survives_the_way_through_a_file_and_a_strange_file_is_refused() {
    for text in corpus() {
        let preview = filled(&text);
        let bytes = serde_json::to_vec(&preview).unwrap();
        assert_eq!(Preview::parse(&bytes).unwrap(), preview);
    }
    let refused = |text: &str| Preview::parse(text.as_bytes()).unwrap_err().to_string();
    assert!(
        refused("{\"apiVersion\": \"planspec.io/preview/v0\"}").contains("supports planspec.io/preview/v1")
    );
    assert!(
        refused("{\"apiVersion\": \"planspec.io/preview/v1\", \"run\": \"rm\"}").contains("unknown field")
    );
    assert!(refused(&"[".repeat(100_000)).contains("not a preview"));
    let large = vec![b' '; 17 << 20];
    assert!(Preview::parse(&large).unwrap_err().to_string().contains("the limit is"));
}

/// A change with more to say than fits.
fn large(text: &str) -> Preview {
    let base = filled(text);
    let many = |n: usize| (0..n).map(|i| format!("{i} {text}")).collect::<Vec<_>>();
    let mut changed = base.changed.clone();
    let fields = changed[0].fields.clone();
    changed[0].fields = fields.iter().cycle().take(1_000).cloned().collect();
    Preview { created: many(1_000), changed: vec![changed[0].clone(); 20], consequences: many(500), ..base }
}

#[test]
fn a_long_comment_is_cut_between_sections_and_says_where_the_rest_is() {
    for text in corpus().iter().step_by(25).map(String::as_str).chain(["harmless"]) {
        let address = "https://github.example/octo/repo/actions/runs/1";
        let links = |full| PageLinks { full: Some(full), ..PageLinks::default() };
        let found = render(&large(text), COMMENT_LIMIT, links(address));
        assert!(found.comment.chars().count() <= COMMENT_LIMIT, "{}", found.comment.chars().count());
        assert!(found.summary.len() <= SUMMARY_LIMIT && found.summary.len() > COMMENT_LIMIT);
        assert!(found.comment.ends_with(&format!("[the summary of the job]({address}).\n")));
        let events = structure(&found.comment);
        let count = |tag: &str| events.iter().filter(|event| *event == tag).count();
        assert!(count("<details>") > 0 && count("<details>") == count("</details>"), "{text:?}");
        let hostile = render(&large(text), COMMENT_LIMIT, links("javascript:alert(1)"));
        assert!(hostile.comment.ends_with("The full text is in the summary of the job.\n"));
    }
}

#[test]
fn the_digest_changes_with_the_content_and_only_with_it() {
    let comment = |preview: &Preview| render(preview, COMMENT_LIMIT, PageLinks::default()).comment;
    let one = comment(&filled("a"));
    let same = comment(&filled("a"));
    let other = comment(&filled("b"));
    assert!(digest_of(&one).is_some_and(|digest| digest.starts_with("sha256:")));
    assert_eq!(digest_of(&one), digest_of(&same));
    assert_ne!(digest_of(&one), digest_of(&other));
}

/// Where a comment comes from is another place in each job, and an edit for that alone would be one in every pass.
#[test]
fn the_foot_is_at_the_end_and_no_part_of_the_digest() {
    let foot = "\n<sub>run 7</sub>\n";
    let with = render(&filled("a"), COMMENT_LIMIT, PageLinks { foot, ..PageLinks::default() });
    let without = render(&filled("a"), COMMENT_LIMIT, PageLinks::default());
    assert_eq!(with.comment, without.comment + foot);
    assert_eq!(with.summary, without.summary);
    let long = render(&large("a"), COMMENT_LIMIT, PageLinks { foot, ..PageLinks::default() });
    assert!(long.comment.ends_with(foot) && long.comment.chars().count() <= COMMENT_LIMIT);
}

#[test]
fn nothing_to_say_is_said_in_a_line() {
    let comment = render(&Preview::empty(), COMMENT_LIMIT, PageLinks::default()).comment;
    assert!(comment.contains("## ✅ planspec: no resource changes\n"), "{comment}");
}

/// The example of the documentation.
fn example() -> Preview {
    let node = |id: &str, kind, mark| GraphNode { id: id.to_owned(), name: None, kind, mark };
    let edge = |from: &str, to: &str, mark| GraphEdge {
        from: from.to_owned(),
        to: to.to_owned(),
        soft: false,
        member: false,
        mark,
    };
    Preview {
        base: Some("4f0c1d2e3b4a5968778695a4b3c2d1e0f1a2b3c4".to_owned()),
        head: Some("9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b".to_owned()),
        diagnostics: vec![PreviewFinding {
            code: "PS3003".to_owned(),
            severity: Severity::Warning,
            file: "plans/search.yaml".to_owned(),
            line: Some(14),
            message: "there is no Capability `measuring` in the namespace `shop`".to_owned(),
            hint: None,
        }],
        created: vec!["shop/execution/search-2".to_owned()],
        changed: vec![
            ChangedResource {
                resource: "shop/gate/release-review".to_owned(),
                spec: true,
                fields: vec![ChangedField {
                    path: "spec.requiredApprovers".to_owned(),
                    old: Some(json!(1)),
                    new: Some(json!(2)),
                }],
            },
            ChangedResource {
                resource: "shop/plan/search".to_owned(),
                spec: true,
                fields: vec![
                    ChangedField {
                        path: "spec.graph.nodes[build].timeout".to_owned(),
                        old: Some(json!("30m")),
                        new: Some(json!("1h")),
                    },
                    ChangedField {
                        path: "spec.graph.nodes[measure]".to_owned(),
                        old: None,
                        new: Some(json!({"id": "measure", "kind": "Task"})),
                    },
                    ChangedField {
                        path: "spec.graph.nodes[notify]".to_owned(),
                        old: Some(json!({"id": "notify", "kind": "Task"})),
                        new: None,
                    },
                ],
            },
        ],
        graphs: vec![PreviewGraph {
            plan: "shop/plan/search".to_owned(),
            nodes: vec![
                node("build", NodeKind::Task, ChangeMark::Changed),
                node("measure", NodeKind::Task, ChangeMark::Added),
                node("review", NodeKind::Gate, ChangeMark::Kept),
                node("notify", NodeKind::Task, ChangeMark::Removed),
            ],
            edges: vec![
                edge("build", "measure", ChangeMark::Added),
                edge("measure", "review", ChangeMark::Added),
                edge("build", "review", ChangeMark::Kept),
                edge("review", "notify", ChangeMark::Removed),
            ],
        }],
        starts: vec![StartingExecution {
            execution: "shop/execution/search-2".to_owned(),
            plan: "shop/plan/search".to_owned(),
            nodes: Some(3),
            providers: vec![
                ProviderUse { provider: "tool://make".to_owned(), nodes: vec!["build".to_owned()] },
                ProviderUse { provider: "human://octocat".to_owned(), nodes: vec!["measure".to_owned()] },
            ],
            unbound: Vec::new(),
            gates: vec![PreviewGate {
                node: "review".to_owned(),
                gate: "shop/gate/release-review".to_owned(),
                reviewers: vec!["user:mia".to_owned(), "team:release".to_owned()],
                approvals: 2,
            }],
            commands: vec![PreviewCommand {
                node: "build".to_owned(),
                command: "make -C search index".to_owned(),
                keeps_changes: true,
                allow: vec!["search/**".to_owned()],
                deny: Vec::new(),
            }],
        }],
        voided: vec![VoidedApproval {
            gate: "shop/gate/release-review".to_owned(),
            reviewers: vec!["mia".to_owned()],
        }],
        consequences: vec![
            "continues shop/execution/search-1 on the graph that shop/plan/search had when it started"
                .to_owned(),
        ],
        ..Preview::empty()
    }
}

#[test]
fn the_example_of_the_documentation_is_what_is_written() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/github-comment.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once("<!-- example: preview -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end of example -->\n").unwrap();
    let comment = render(&example(), COMMENT_LIMIT, PageLinks::default()).comment;
    let expected = format!("{before}<!-- example: preview -->\n{comment}<!-- end of example -->\n{after}");
    if Environment::read().text("UPDATE_DOCS").is_some() {
        std::fs::write(&path, expected).unwrap();
    } else {
        assert!(page == expected, "run UPDATE_DOCS=1 cargo test --lib the_example_of_the_documentation");
    }
}

#[test]
fn thirty_executions_that_run_the_same_are_one_fold_and_one_without_its_plan_does_not_start() {
    let mut preview = example();
    let first = preview.starts[0].clone();
    preview.starts = (0..30)
        .map(|n| StartingExecution { execution: format!("shop/execution/s{n}"), ..first.clone() })
        .collect();
    preview.starts[7].commands[0].command = "make other".to_owned();
    let comment = render(&preview, COMMENT_LIMIT, PageLinks::default()).comment;
    let folds: Vec<&str> = comment.lines().filter(|line| line.contains(" would run</summary>")).collect();
    assert_eq!(folds.len(), 2, "{comment}");
    assert!(
        folds[0].contains("<code>shop/execution/s0</code> and 28 more of <code>shop/plan/search</code>"),
        "{comment}"
    );
    assert!(folds[1].contains("<code>shop/execution/s7</code> would run"), "{comment}");
    let summed = "### Executions that would start\n\n* 30 of `shop/plan/search`, 3 nodes each\n\n<details><summary>Each of them</summary>\n\n* `shop/execution/s0`";
    assert!(comment.contains(summed), "{comment}");
    let lost = StartingExecution { nodes: None, commands: Vec::new(), ..first };
    let preview = Preview {
        starts: vec![lost],
        created: vec!["shop/execution/search-2".to_owned()],
        ..Preview::empty()
    };
    let comment = render(&preview, COMMENT_LIMIT, PageLinks::default()).comment;
    assert!(comment.contains("## ⚠️ planspec: 1 created, 1 execution would wait for a plan\n"), "{comment}");
    assert!(comment.contains("`shop/plan/search`, which is missing or not valid"), "{comment}");
    assert!(!comment.contains("would start"), "{comment}");
}

/// The digest that a comment carries.
fn digest_of(comment: &str) -> Option<&str> {
    let (_, rest) = comment.split_once("<!-- planspec:digest ")?;
    rest.split_once(" -->").map(|(digest, _)| digest)
}

#[test]
fn only_edges_between_nodes_that_were_there_are_called_added_or_removed() {
    let mut preview = example();
    let page = |preview: &Preview| render(preview, COMMENT_LIMIT, PageLinks::default()).comment;
    assert!(
        page(&preview).contains("  n0 --> n1\n")
            && !page(&preview).contains("|added|")
            && page(&preview).contains("  n2 -.-x n3\n"),
        "{}",
        page(&preview)
    );
    preview.graphs[0].nodes.iter_mut().for_each(|node| node.mark = ChangeMark::Kept);
    assert!(page(&preview).contains("  n0 -->|added| n1\n"), "{}", page(&preview));
    assert!(page(&preview).contains("  n2 -.-x|removed| n3\n"), "{}", page(&preview));
}

#[test]
fn members_of_a_group_are_drawn_at_it_without_an_arrow() {
    let mut preview = example();
    let graph = &mut preview.graphs[0];
    graph.nodes[3].kind = NodeKind::Group;
    graph.nodes[3].mark = ChangeMark::Kept;
    graph.edges = vec![GraphEdge {
        from: "build".to_owned(),
        to: "notify".to_owned(),
        soft: true,
        member: true,
        mark: ChangeMark::Kept,
    }];
    let page = render(&preview, COMMENT_LIMIT, PageLinks::default()).comment;
    assert!(page.contains("  n3[[\"notify\"]]\n") && page.contains("  n0 -.- n3\n"), "{page}");
}
