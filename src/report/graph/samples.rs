//! Graphs that the tests of all formats share.

use serde_json::json;

use super::*;

pub(super) fn now() -> Timestamp {
    "2026-03-04T12:00:30Z".parse().unwrap()
}

pub(super) fn diamond() -> PlanGraph {
    serde_json::from_value(json!({
        "nodes": [
            {"id": "design", "kind": "Task"},
            {"id": "backend", "kind": "Task"},
            {"id": "frontend", "kind": "Task", "name": "The \"front\" <end>"},
            {"id": "docs", "kind": "Task"},
            {"id": "review", "kind": "Gate", "gateRef": {"name": "g"}},
            {"id": "all", "kind": "Group", "children": ["backend", "frontend"]},
        ],
        "edges": [
            {"from": "design", "to": "backend"}, {"from": "design", "to": "frontend"},
            {"from": "design", "to": "docs", "type": "soft"},
            {"from": "backend", "to": "review"}, {"from": "frontend", "to": "review"},
        ],
    }))
    .unwrap()
}

pub(super) fn status() -> ExecutionStatus {
    serde_json::from_value(json!({
        "phase": "Running",
        "nodeStatuses": {
            "design": {"phase": "Succeeded", "attempt": 2, "startTime": "2026-03-04T12:00:00Z",
                       "completionTime": "2026-03-04T12:00:12Z"},
            "backend": {"phase": "Running", "attempt": 1, "startTime": "2026-03-04T12:00:12Z"},
            "frontend": {"phase": "Failed", "attempt": 1, "startTime": "2026-03-04T12:00:12Z",
                         "completionTime": "2026-03-04T12:00:15Z"},
        },
    }))
    .unwrap()
}

pub(super) fn plain() -> GraphView {
    GraphView::new("demo", &diamond(), None, now()).unwrap()
}

pub(super) fn running() -> GraphView {
    GraphView::new("demo", &diamond(), Some(&status()), now()).unwrap()
}
