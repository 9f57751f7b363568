//! The status of an execution: its nodes, outputs, artifacts, and what they wait for.

use jiff::Timestamp;

use super::{DescribePage, dash, waits};
use crate::model::{ExecutionStatus, NodeId, NodePhase, NodeStatus, ResourceKey};
use crate::report::style::Tone;
use crate::report::table::{Table, TableCell};
use crate::report::{age, text};

/// How much of an output is shown.
const OUTPUT: usize = 100;

pub(super) fn describe(key: &ResourceKey, status: &ExecutionStatus, now: Timestamp, page: &mut DescribePage) {
    page.heading("Status");
    if let Some(reason) = &status.reason {
        page.field("Reason", reason);
    }
    if let Some(message) = &status.message {
        page.field("Message", message);
    }
    if let Some(start) = status.start_time {
        page.field("Elapsed", &age::between(start, status.completion_time.unwrap_or(now)));
    }
    if let Some(pin) = &status.extensions.pinned {
        page.field("Pinned", &format!("{} at {}", pin.plan, pin.commit.get(..8).unwrap_or(&pin.commit)));
    }
    if let Some(reuse) = &status.extensions.reuse {
        page.field("Reuse", &reuse.message);
    }
    if let Some(lease) = &status.extensions.lease {
        page.field("Runner", &format!("{} (token {})", lease.holder, lease.token));
    }
    for (name, request) in [
        ("Cancel", &status.extensions.cancel),
        ("Suspended", &status.extensions.suspend),
        ("Unlocked", &status.extensions.unlocked),
    ] {
        if let Some(request) = request {
            page.field(name, &format!("by {} at {}", request.by, age::moment(request.at)));
        }
    }
    nodes(status, now, page);
    waiting(key, status, page);
    outputs(status, page);
    artifacts(status, page);
}

fn nodes(status: &ExecutionStatus, now: Timestamp, page: &mut DescribePage) {
    if status.node_statuses.is_empty() {
        return;
    }
    page.heading("Nodes");
    let mut table = Table::new(["node", "phase", "attempt", "elapsed", "provider", "reason", "message"]);
    // In the order of their starts: a page is read like a story.
    let mut nodes: Vec<(&NodeId, &NodeStatus)> = status.node_statuses.iter().collect();
    nodes.sort_by_key(|(_, node)| node.start_time.unwrap_or(Timestamp::MAX));
    for (id, node) in nodes {
        table.row(node_row(id, node, now));
    }
    page.table(&table);
}

fn node_row(id: &NodeId, node: &NodeStatus, now: Timestamp) -> Vec<TableCell> {
    let elapsed = match node.start_time {
        Some(start) if node.phase != NodePhase::Pending => {
            age::between(start, node.completion_time.unwrap_or(now))
        }
        _ => "-".to_owned(),
    };
    let attempt = if node.attempt == 0 { "-".to_owned() } else { node.attempt.to_string() };
    let provider = node.extensions.binding.as_ref().map_or("-", |binding| binding.provider.as_str());
    let reason = node.extensions.reason.map_or("-".to_owned(), |reason| reason.to_string());
    vec![
        id.as_str().into(),
        TableCell::phase(node.phase.as_str()),
        attempt.into(),
        elapsed.into(),
        dash(provider).into(),
        reason.into(),
        node.message.as_str().into(),
    ]
}

fn waiting(key: &ResourceKey, status: &ExecutionStatus, page: &mut DescribePage) {
    let blocked: Vec<(&NodeId, &NodeStatus)> =
        status.node_statuses.iter().filter(|(_, node)| node.phase == NodePhase::Blocked).collect();
    if blocked.is_empty() {
        return;
    }
    page.heading("Waits");
    for (id, node) in blocked {
        let reason = node.extensions.reason;
        let what = reason.map_or("the outside world", waits::what);
        let message = if node.message.is_empty() { String::new() } else { format!(": {}", node.message) };
        page.block(&format!("{id} waits for {what}{message}"));
        if let Some(command) = reason.and_then(|reason| waits::command(reason, key, id)) {
            page.out.push_str(&format!("    run: {}\n", Tone::Strong.paint(text::line(&command))));
        }
        if let Some(at) = node.extensions.retry_at {
            page.block(&format!("  looks again at {}", age::moment(at)));
        }
    }
}

fn outputs(status: &ExecutionStatus, page: &mut DescribePage) {
    let with_outputs = status.node_statuses.iter().filter(|(_, node)| !node.outputs.is_empty());
    let mut table = Table::new(["node", "output", "value"]);
    for (id, node) in with_outputs {
        for (name, value) in &node.outputs {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            table.row(vec![id.as_str().into(), name.into(), text::shortened(&value, OUTPUT).into()]);
        }
    }
    if !table.is_empty() {
        page.heading("Outputs");
        page.table(&table);
    }
}

fn artifacts(status: &ExecutionStatus, page: &mut DescribePage) {
    if status.artifacts.is_empty() {
        return;
    }
    page.heading("Artifacts");
    let mut table = Table::new(["artifact", "where", "bytes", "checksum"]);
    for artifact in &status.artifacts {
        let place = artifact.path.as_deref().or(artifact.url.as_deref()).unwrap_or("-");
        let size = artifact.size.map_or("-".to_owned(), |size| size.to_string());
        let checksum =
            artifact.checksum.as_ref().map_or("-".to_owned(), |sum| text::shortened(sum.as_str(), 20));
        table.row(vec![artifact.name.as_str().into(), place.into(), size.into(), checksum.into()]);
    }
    page.table(&table);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{Kind, Name};

    #[test]
    fn a_blocked_node_shows_what_to_run() {
        let status: ExecutionStatus = serde_json::from_value(json!({
            "phase": "Blocked",
            "startTime": "2026-03-04T12:00:00Z",
            "nodeStatuses": {
                "research": {"phase": "Succeeded", "attempt": 1, "startTime": "2026-03-04T12:00:00Z",
                             "completionTime": "2026-03-04T12:00:12Z", "outputs": {"summary": "two\nlines"},
                             "extensions": {"binding": {"name": "a/b", "generation": 1, "rule": 0,
                                                        "provider": "tool://research"}}},
                "review": {"phase": "Blocked", "message": "needs 1 approval",
                           "extensions": {"reason": "AwaitingApproval"}},
            },
        }))
        .unwrap();
        let name = |text: &str| Name::new(text).unwrap();
        let key = ResourceKey::new(Kind::Execution, name("team"), name("run"));
        let mut page = DescribePage::default();
        describe(&key, &status, "2026-03-04T12:01:00Z".parse().unwrap(), &mut page);
        insta::assert_snapshot!(anstream::adapter::strip_str(&page.out).to_string(), @r#"
        Status
        Elapsed:       1m00s

        Nodes
          NODE       PHASE       ATTEMPT   ELAPSED   PROVIDER          REASON             MESSAGE
          research   Succeeded   1         12s       tool://research   -
          review     Blocked     -         -         -                 AwaitingApproval   needs 1 approval

        Waits
          review waits for an approval: needs 1 approval
            run: planspec approve run/review -n team

        Outputs
          NODE       OUTPUT    VALUE
          research   summary   two lines
        "#);
    }
}
