//! The page reads well, stays small, does not depend on the order of its input, and cannot be broken from inside.

use serde_json::json;

use super::*;
use crate::markup::is_hidden;
use crate::model::{
    Digest, ExecutionPhase, ExecutionStatus, Name, NodePhase, NodeReason, NodeStatus, PinnedGraph,
    ResourceStatus, StatusMetadata,
};

const EVIL: &str = "@octocat #1 <script>x</script> [a](http://b) ![c](d) `e` |f| **g** \"];\nclick n0 \"javascript:1\"\n```\n# h\n| i |\u{202e}\u{1b}[31m www.evil.example";

fn key(kind: Kind, name: &str) -> ResourceKey {
    ResourceKey::new(kind, Name::new("team-platform").unwrap(), Name::new(name).unwrap())
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_770_000_000 + second).unwrap()
}

fn card(name: &str, phase: ExecutionPhase, nodes: &[(&str, NodePhase)]) -> ExecutionCard {
    let pinned = PinnedGraph {
        commit: "0".repeat(40),
        plan: key(Kind::Plan, "sso-implementation-v2"),
        graph_digest: Digest::of_bytes(b""),
        goal: Some(key(Kind::Goal, "enable-google-sso")),
    };
    let node = |(id, phase): &(&str, NodePhase)| {
        (NodeId::new(id).unwrap(), NodeStatus { phase: *phase, ..NodeStatus::default() })
    };
    let mut status = ExecutionStatus {
        phase,
        start_time: Some(at(0)),
        node_statuses: nodes.iter().map(node).collect(),
        ..ExecutionStatus::default()
    };
    status.extensions.pinned = Some(pinned);
    let key = format!("team-platform/execution/{name}").parse().unwrap();
    let metadata = StatusMetadata { creation_timestamp: at(0), ..StatusMetadata::bare(&key, "u") };
    ExecutionCard {
        record: Arc::new(StatusRecord { metadata, status: ResourceStatus::Execution(Box::new(status)) }),
        path: format!("team-platform/executions/{name}.yaml"),
        graph: None,
    }
}

fn edit(card: &mut ExecutionCard, change: impl FnOnce(&mut ExecutionStatus)) {
    let record = Arc::make_mut(&mut card.record);
    let ResourceStatus::Execution(status) = &mut record.status else { panic!("a card is of an execution") };
    change(status);
}

fn graph(value: serde_json::Value) -> Option<Arc<PlanGraph>> {
    Some(Arc::new(serde_json::from_value(value).unwrap()))
}

fn sso() -> ExecutionCard {
    let nodes = [
        ("research", NodePhase::Succeeded),
        ("implement", NodePhase::Failed),
        ("review", NodePhase::Blocked),
    ];
    let mut card = card("sso-exec-001", ExecutionPhase::Running, &nodes);
    card.graph = graph(json!({
        "nodes": [
            {"id": "research", "kind": "Task", "name": "Look around"},
            {"id": "implement", "kind": "Task", "dependsOn": ["research"]},
            {"id": "review", "kind": "Gate", "gateRef": {"name": "sso-security-review"}},
            {"id": "late", "kind": "External"},
            {"id": "all", "kind": "Group", "children": ["research", "implement"]},
        ],
        "edges": [
            {"from": "research", "to": "implement"}, {"from": "implement", "to": "review"},
            {"from": "review", "to": "late", "type": "soft"},
        ],
    }));
    edit(&mut card, |status| {
        let node = status.node_statuses.get_mut("implement").unwrap();
        node.attempt = 2;
        node.extensions.reason = Some(NodeReason::Timeout);
    });
    card
}

#[test]
fn the_page_says_what_runs_what_waits_and_what_to_do() {
    let gate = WaitingFor {
        key: key(Kind::Execution, "sso-exec-001"),
        node: Some(NodeId::new("review").unwrap()),
        message: "1 of 2 approvals".to_owned(),
        people: vec!["user:wendy".to_owned(), "team:security".to_owned()],
        command: Some("planspec approve gate/sso-security-review -n team-platform".to_owned()),
        since: Some(at(60)),
    };
    let phases = [((Kind::Goal, "Executing".to_owned()), 1), ((Kind::Plan, "Ready".to_owned()), 1_200)];
    let input = DashboardInput { phases: phases.into(), waiting: vec![gate], executions: vec![sso()] };
    insta::assert_snapshot!(dashboard(&input), @r##"
    # PlanSpec status

    Written by `planspec reconcile` from the state of this branch; manual changes are overwritten.

    ## Summary

    | Kind | Total | Phases |
    | --- | ---: | --- |
    | Goal | 1 | 1 Executing |
    | Plan | 1,200 | 1,200 Ready |

    ## Waiting

    | What | Waits for | Since | To continue |
    | --- | --- | --- | --- |
    | `team-platform/execution/sso-exec-001` node `review` | 1 of 2 approvals (user&#58;wendy, team&#58;security) | 2026-02-02 02:41:00 UTC | `planspec approve gate/sso-security-review -n team-platform` |

    ## Executions

    | Execution | Phase | Plan | Nodes | Started | Ended | Message |
    | --- | --- | --- | --- | --- | --- | --- |
    | [team-platform/sso-exec-001](team-platform/executions/sso-exec-001.yaml) | Running | `sso-implementation-v2`, goal `enable-google-sso` | 1 Failed, 1 Blocked, 1 Succeeded | 2026-02-02 02:40:00 UTC |  |  |

    ### What failed

    * `sso-exec-001/implement`: Timeout

    ### Graphs

    <details><summary><code>team-platform/sso-exec-001</code>: Running</summary>

    ```mermaid
    flowchart LR
      n0["✓ research<br/>Look around"]
      n1["✗ implement ×2"]
      n2{{"⏸ review"}}
      n3(["○ late"])
      n4[["○ all"]]
      n0 --> n1
      n1 --> n2
      n2 -.-> n3
      n0 -.- n4
      n1 -.- n4
      classDef failed fill:#ffd7d5,stroke:#cf222e,color:#82071e
      class n1 failed
      classDef blocked fill:#fff8c5,stroke:#bf8700,color:#4d2d00
      class n2 blocked
      classDef pending fill:transparent,stroke:#8c959f
      class n3,n4 pending
      classDef succeeded fill:#dafbe1,stroke:#1a7f37,color:#044f1e
      class n0 succeeded
    ```

    </details>
    "##);
}

#[test]
fn an_empty_repository_has_a_page_too() {
    insta::assert_snapshot!(dashboard(&DashboardInput::default()), @r##"
    # PlanSpec status

    Written by `planspec reconcile` from the state of this branch; manual changes are overwritten.

    ## Summary

    No resources yet.

    ## Executions

    None yet.
    "##);
}

#[test]
fn failures_go_first_then_what_waits_then_what_runs() {
    let mut cards = vec![
        card("old", ExecutionPhase::Failed, &[]),
        card("new", ExecutionPhase::Failed, &[]),
        card("queued", ExecutionPhase::Pending, &[]),
        card("done", ExecutionPhase::Succeeded, &[]),
        card("stuck", ExecutionPhase::Blocked, &[]),
        card("run-b", ExecutionPhase::Running, &[]),
        card("run-a", ExecutionPhase::Running, &[]),
    ];
    edit(&mut cards[0], |status| status.completion_time = Some(at(10)));
    edit(&mut cards[1], |status| status.completion_time = Some(at(20)));
    let forward = dashboard(&DashboardInput { executions: cards.clone(), ..DashboardInput::default() });
    let rows = forward.lines().filter(|line| line.starts_with("| ["));
    let order = rows.map(|row| row.split(['/', ']']).nth(1).unwrap());
    assert_eq!(order.collect::<Vec<_>>(), ["new", "old", "stuck", "run-a", "run-b", "queued", "done"]);
    cards.reverse();
    let backward = dashboard(&DashboardInput { executions: cards, ..DashboardInput::default() });
    assert_eq!(forward, backward);
}

/// The cards are some of what there is: the totals say what has no row.
#[test]
fn what_has_no_row_is_counted_by_phase() {
    let phases = [("Succeeded", 1_030), ("Failed", 9), ("Blocked", 3)]
        .map(|(phase, count)| ((Kind::Execution, phase.to_owned()), count));
    let mut executions: Vec<ExecutionCard> = (0..8)
        .map(|i| card(&format!("bad-{i}"), ExecutionPhase::Failed, &[("a", NodePhase::Failed)]))
        .collect();
    executions.push(card("stuck", ExecutionPhase::Blocked, &[]));
    executions[0].graph = graph(json!({"nodes": [{"id": "a", "kind": "Task"}]}));
    let page = dashboard(&DashboardInput { phases: phases.into(), executions, ..DashboardInput::default() });
    let more = "… and 1,033 more: 1 Failed, 2 Blocked, 1,030 Succeeded. `planspec get executions` lists all.";
    assert!(page.contains(more), "{page}");
    assert!(page.contains("\n2 more blocked executions: `planspec status` lists them.\n"), "{page}");
    assert_eq!(page.matches("<details>").count(), 1);
}

#[test]
fn a_long_list_of_what_waits_is_folded_after_the_first_rows() {
    let row = |number: usize| WaitingFor {
        key: key(Kind::Execution, &format!("e-{number:02}")),
        node: None,
        message: "gate".to_owned(),
        people: Vec::new(),
        command: None,
        since: None,
    };
    let page = |count: usize| {
        dashboard(&DashboardInput { waiting: (0..count).map(row).collect(), ..DashboardInput::default() })
    };
    assert!(!page(10).contains("<details>"), "{}", page(10));
    let folded = page(30);
    let (open, rest) = folded.split_once("\n<details><summary>… and 20 more</summary>\n\n| What |").unwrap();
    assert!(open.contains("/e-09`") && !open.contains("/e-10`"), "{folded}");
    assert!(rest.find("/e-29`").unwrap() < rest.find("\n</details>\n").unwrap(), "{folded}");
    let bounded = page(60);
    assert!(
        bounded.contains("… and 40 more</summary>") && bounded.contains("\n… and 10 more.\n"),
        "{bounded}"
    );
}

/// Everything that a reader's browser or a Git host would act on.
fn check_harmless(page: &str) {
    // A code span shows its text as it is, and mentions nobody.
    let spans = regex::Regex::new(r"`[^`\n]+`").unwrap();
    let open = spans.replace_all(page, "");
    for bad in
        ["@octocat", " #1", "<script", "](http", "![c]", "http:", "**g**", "www.evil", "\n# h", "\n| i |"]
    {
        assert!(!open.contains(bad), "{bad:?} in {page}");
    }
    assert!(!page.lines().any(|line| line.trim_start().starts_with("click")), "{page}");
    assert!(!page.chars().any(|c| is_hidden(c) && c != '\n'), "{page}");
    assert_eq!(page.matches("```").count() % 2, 0, "{page}");
}

#[test]
fn hostile_text_stays_text() {
    let mut card =
        card("evil", ExecutionPhase::Failed, &[("a", NodePhase::Failed), ("b", NodePhase::Pending)]);
    edit(&mut card, |status| {
        status.message = Some(EVIL.to_owned());
        status.node_statuses.get_mut("a").unwrap().message = EVIL.to_owned();
    });
    let node = json!({"id": "a", "kind": "Task", "name": EVIL});
    card.graph =
        graph(json!({"nodes": [node, {"id": "end", "kind": "Task"}], "edges": [{"from": "a", "to": "end"}]}));
    let stray = ExecutionCard { path: "a](http://x) <script>".to_owned(), ..card.clone() };
    let waiting = WaitingFor {
        key: key(Kind::Gate, "g"),
        node: None,
        message: EVIL.to_owned(),
        people: vec![EVIL.to_owned()],
        command: Some(
            EVIL.replace(['@', '#', '<', '[', '!', '*'], "").replace("http:", "").replace("www", ""),
        ),
        since: None,
    };
    let input = DashboardInput {
        phases: [((Kind::Goal, EVIL.to_owned()), 1)].into(),
        waiting: vec![waiting],
        executions: vec![card, stray],
    };
    let page = dashboard(&input);
    check_harmless(&page);
    let row = page.lines().find(|line| line.contains("gate/g")).unwrap();
    let cells = row.replace("\\|", "").matches('|').count();
    assert_eq!(cells, 5, "{row}");
    assert!(page.contains("  n0[\"✗ a<br/>#64;octocat #35;1 #60;script#62;"), "{page}");
}

#[test]
fn a_large_graph_shows_what_matters_and_counts_the_rest() {
    let ids: Vec<String> = (0..2_000).map(|i| format!("n{i}")).collect();
    let mut nodes: Vec<(&str, NodePhase)> =
        ids.iter().map(|id| (id.as_str(), NodePhase::Succeeded)).collect();
    nodes[1_990].1 = NodePhase::Failed;
    nodes[1_500].1 = NodePhase::Running;
    let mut large = card("large", ExecutionPhase::Running, &nodes);
    let edges: Vec<_> = ids.windows(2).map(|pair| json!({"from": pair[0], "to": pair[1]})).collect();
    let list: Vec<_> = ids.iter().map(|id| json!({"id": id, "kind": "Task"})).collect();
    large.graph = graph(json!({"nodes": list, "edges": edges}));
    let page = dashboard(&DashboardInput { executions: vec![large], ..DashboardInput::default() });
    let boxes = page.lines().filter(|line| line.contains("[\"")).count();
    assert_eq!(boxes, mermaid::NODE_LIMIT);
    assert!(page.contains("n1990[\"✗ n1990\"]") && page.contains("n1500[\"▶ n1500\"]"), "{page}");
    assert!(page.contains("more[\"… and 1#44;941 more#58; 1#44;941 Succeeded\"]"), "{page}");
}

#[test]
fn the_page_is_bounded_whatever_the_repository() {
    let long = EVIL.repeat(20);
    let ids: Vec<String> = (0..300).map(|i| format!("{}{i}", "n".repeat(60))).collect();
    let nodes: Vec<(&str, NodePhase)> = ids.iter().map(|id| (id.as_str(), NodePhase::Failed)).collect();
    let list: Vec<_> = ids
        .iter()
        .enumerate()
        .map(|(i, id)| json!({"id": id, "kind": "Task", "name": long, "dependsOn": &ids[..i]}))
        .collect();
    let mut worst = card("worst", ExecutionPhase::Running, &nodes);
    worst.graph = graph(json!({ "nodes": list }));
    edit(&mut worst, |status| {
        status.message = Some(long.clone());
        status.node_statuses.values_mut().for_each(|node| node.message.clone_from(&long));
    });
    let waiting = WaitingFor {
        key: key(Kind::Gate, "g"),
        node: None,
        message: long.clone(),
        people: vec![long.clone(); 12],
        command: Some("planspec ".repeat(10_000)),
        since: Some(at(0)),
    };
    let input = DashboardInput {
        phases: (0..500).map(|i| ((Kind::Goal, format!("{i}{long}")), 1)).collect(),
        waiting: vec![waiting; 200],
        executions: vec![worst; 500],
    };
    let page = dashboard(&input);
    assert!(page.len() < 512 * 1024, "{}", page.len());
    let failed = "* … and 295 more of `worst`";
    assert!(page.contains(failed) && page.contains("* … and 12,000 more\n"), "{page}");
    assert!(page.contains("… and the graphs of 40 more") && page.contains("more edges\"]"), "{page}");
    assert!(page.contains("… and 150 more.") && page.contains("… and 450 more: 450 Running."));
    check_harmless(&page);
}
