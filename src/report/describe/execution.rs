//! The status of an execution: its nodes, outputs, artifacts, and what they wait for.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::{DescribePage, dash};
use crate::model::{
    ExecutionStatus, NextStep, NodeId, NodePhase, NodeReason, NodeSituation, NodeStatus, PIN_MISMATCH,
    PlanGraph, ResourceKey, Usage, next_steps,
};
use crate::report::graph::GraphView;
use crate::report::style::Tone;
use crate::report::table::{Table, TableCell};
use crate::report::{age, text};

/// With more nodes than this, instances that nobody has to look at are left out.
const OPEN_NODES: usize = 60;

/// How much of an item is shown.
const ITEM: usize = 40;

/// How much of an output is shown.
const OUTPUT: usize = 100;

pub(super) fn describe(
    (key, status): (&ResourceKey, &ExecutionStatus),
    graph: Option<&PlanGraph>,
    (now, retention): (Timestamp, Duration),
    page: &mut DescribePage,
) {
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
        page.field("Pinned", &format!("{} at {}", pin.plan, text::short_commit(&pin.commit)));
    }
    if status.reason.as_deref() == Some(PIN_MISMATCH) {
        let step = NextStep::accept_pin(key);
        page.block(&format!("run: {step}  # {}", step.purpose()));
    }
    if let Some(reuse) = &status.extensions.reuse {
        page.field("Reuse", &reuse.message);
    }
    if let Some(lease) = &status.extensions.lease {
        // The token says which of two holders came later: it only grows.
        page.field("Runner", &format!("{} (token {})", lease.holder, lease.token));
    }
    for (name, request) in [
        ("Cancel", &status.extensions.cancel),
        ("Suspended", &status.extensions.suspend),
        ("Resumed", &status.extensions.resumed),
        ("Unlocked", &status.extensions.unlocked),
        ("Pin accepted", &status.extensions.pin_accepted),
    ] {
        if let Some(request) = request {
            let why = request.comment.as_ref().map(|comment| format!(": {comment}")).unwrap_or_default();
            page.field(name, &format!("by {} at {}{why}", request.by, age::moment(request.at)));
        }
    }
    nodes(status, graph, now, page);
    attention(key, status, graph, page);
    work(key, status, retention, page);
    criteria(status, page);
    usage(status, page);
    outputs((status, graph), page);
    artifacts(status, page);
}

fn nodes(status: &ExecutionStatus, graph: Option<&PlanGraph>, now: Timestamp, page: &mut DescribePage) {
    if status.node_statuses.is_empty() {
        return;
    }
    page.heading("Nodes");
    let mut table = Table::new(["node", "phase", "attempt", "elapsed", "provider", "reason", "message"]);
    // In the order of the graph, because a page is read from the cause to its effect; what was made of a node while it ran
    // stands below it, by its number: the tenth instance comes after the ninth, whichever began first.
    let order = graph.map(graph_order).unwrap_or_default();
    let place = |id: &NodeId| {
        let id = id.as_str();
        let made_of = || {
            let (node, number) = id.rsplit_once('-')?;
            Some((*order.get(node)?, number.parse::<usize>().map_or(usize::MAX, |number| number + 1)))
        };
        let own = order.get(id).map(|place| (*place, 0));
        own.or_else(made_of).unwrap_or((usize::MAX, usize::MAX))
    };
    let mut nodes: Vec<(&NodeId, &NodeStatus)> = status.node_statuses.iter().collect();
    nodes.sort_by_cached_key(|(id, node)| (place(id), node.start_time.unwrap_or(Timestamp::MAX)));
    let mut left_out = 0_usize;
    let many = nodes.len() > OPEN_NODES;
    for (id, node) in nodes {
        // Of many instances, those that a reader has to do something about, or may wait for.
        let quiet = !matches!(node.phase, NodePhase::Failed | NodePhase::Blocked | NodePhase::Running);
        if many && quiet && graph.is_some_and(|graph| graph.is_instance(id)) {
            left_out += 1;
            continue;
        }
        let mut row = node_row(id, node, now);
        if let (Some(said), Some(message)) = (about_instances(id, node, graph, status), row.last_mut()) {
            *message = said.into();
        }
        table.row(row);
    }
    page.table(table, &["attempt", "provider", "elapsed", "reason"]);
    if left_out > 0 {
        page.block(&format!("… and {left_out} more instances, of which none failed, runs or waits"));
    }
}

/// The nodes with their places, each after everything that it waits for.
fn graph_order(graph: &PlanGraph) -> HashMap<String, usize> {
    let ids = GraphView::reading_order(graph).unwrap_or_default();
    ids.into_iter().enumerate().map(|(place, id)| (id, place)).collect()
}

/// What stands for the message of a node with instances, and of one of them: its number says little about what it is for.
fn about_instances(
    id: &NodeId,
    state: &NodeStatus,
    graph: Option<&PlanGraph>,
    status: &ExecutionStatus,
) -> Option<String> {
    let graph = graph?;
    if let Some(node) = graph.nodes.iter().find(|node| node.id == *id) {
        return graph.instance_summary(node, Some(status));
    }
    let item = text::shortened(&graph.item_of(id, status)?, ITEM);
    Some(if state.message.is_empty() { item } else { format!("{item}: {}", state.message) })
}

fn node_row(id: &NodeId, node: &NodeStatus, now: Timestamp) -> Vec<TableCell> {
    let elapsed = match node.start_time {
        // A node that waits for its next attempt still has the start of the last one.
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

/// The nodes that wait or failed, and what a person can do about each.
fn attention(
    key: &ResourceKey,
    status: &ExecutionStatus,
    graph: Option<&PlanGraph>,
    page: &mut DescribePage,
) {
    let home = status.extensions.pinned.as_ref().map_or(&key.namespace, |pin| &pin.plan.namespace);
    for (phase, heading) in [(NodePhase::Blocked, "Waits"), (NodePhase::Failed, "Failures")] {
        // What is in a group, and the instances of a repeated node, are listed themselves, with what can be done about each.
        let itself = |node: &NodeStatus| node.phase == phase && !node.is_summary();
        let mut nodes = status.node_statuses.iter().filter(|(_, node)| itself(node)).peekable();
        if nodes.peek().is_some() {
            page.heading(heading);
        }
        for (id, node) in nodes {
            let reason = node.extensions.reason;
            let message = if node.message.is_empty() { String::new() } else { format!(": {}", node.message) };
            let what = if phase == NodePhase::Blocked { waits_for(reason) } else { "failed" };
            page.sentence(&format!("{id} {what}{message}"));
            let gate = graph.and_then(|graph| graph.asked_gate(id, reason, home));
            let situation = NodeSituation { execution: key, node: id, phase, reason, gate: gate.as_ref() };
            for step in next_steps(&situation) {
                let command = Tone::Strong.paint(&step);
                let purpose = Tone::Muted.paint(format!("# {}", step.purpose()));
                // The purpose is a comment to a shell, so that the line can be pasted.
                page.out.push_str(&format!("    run: {command}  {purpose}\n"));
            }
            if let Some(at) = node.extensions.retry_at {
                page.block(&format!("  polled again at {}", age::moment(at)));
            }
        }
    }
}

fn waits_for(reason: Option<NodeReason>) -> &'static str {
    match reason {
        Some(NodeReason::AwaitingApproval) => "waits for an approval",
        Some(NodeReason::GateClosed) => "waits for a manifest of its gate that is valid",
        Some(NodeReason::ApprovalVoid) => "waits for another approval",
        Some(NodeReason::GateRequired) => "waits for a gate that the configuration requires before it",
        Some(NodeReason::AwaitingPerson) => "waits for a person",
        Some(NodeReason::AwaitingEvent) => "waits for an external event",
        Some(NodeReason::AwaitingProvider) => "waits for remote work",
        Some(NodeReason::Unbound) => "waits for a Binding with a matching rule",
        Some(NodeReason::BindingConflict) => "waits for a Binding whose rules do not conflict",
        Some(NodeReason::ProviderUnavailable) => "waits for a provider that is known and allowed here",
        Some(NodeReason::RunnerLost) => "waits for a decision, because its runner was lost",
        Some(NodeReason::ContentRefused) => "waits for a decision, because the remote rejected its result",
        Some(NodeReason::ResultRefused) => "waits for a decision, because the remote rejected its files",
        Some(NodeReason::MergeConflict) => "waits for a decision, because files conflict",
        Some(NodeReason::BranchConflict) => {
            "waits for a decision, because its work conflicts with the branch"
        }
        Some(NodeReason::ArtifactUnavailable) => {
            "waits for a decision, because a file of an earlier node is not here"
        }
        Some(NodeReason::DeliveryRefused) => "waits for a decision, because its delivery was refused",
        Some(NodeReason::ChangesRequested) => "waits for the changes that a reviewer requested",
        Some(NodeReason::WorkBranchMoved) => "waits, because somebody pushed to its branch",
        Some(NodeReason::ChecksCannotStart) => "waits for checks that were never started",
        Some(NodeReason::InputRequired) => "waits for an answer",
        Some(NodeReason::BudgetSpent) => "waits for an answer, because its budget is spent",
        // A group waits for its children.
        _ => "waits",
    }
}

/// What the nodes changed, and how to see it.
fn work(key: &ResourceKey, status: &ExecutionStatus, retention: Duration, page: &mut DescribePage) {
    let mut table = Table::new(["node", "commit", "files", "lines", "branch"]);
    let mut any = false;
    let mut kept = false;
    for (id, node) in &status.node_statuses {
        let extensions = &node.extensions;
        let short = |commit: &str| text::short_commit(commit).to_owned();
        let branch = extensions.work_branch.as_deref().unwrap_or("-");
        if let Some(result) = &extensions.result {
            let lines = format!("+{} -{}", result.insertions, result.deletions);
            let cells =
                [id.to_string(), short(&result.commit), result.files.to_string(), lines, branch.to_owned()];
            table.row(cells.iter().map(|cell| cell.as_str().into()).collect());
            kept = true;
        } else if let (Some(base), Some(branch)) = (&extensions.base, &extensions.work_branch) {
            let cells = [id.as_str(), &short(base), "-", "-", branch];
            table.row(cells.iter().map(|cell| (*cell).into()).collect());
        } else if let Some(unfinished) = &extensions.unfinished {
            let commit = format!("unfinished {}", short(&unfinished.commit));
            let cells = [id.to_string(), commit, unfinished.files.to_string()];
            let cells = cells.iter().map(String::as_str).chain(["-", "-"]);
            table.row(cells.map(Into::into).collect());
        } else if let Some(discarded) = &extensions.discarded {
            let cells = [id.to_string(), "discarded".to_owned(), discarded.files.to_string()];
            let cells = cells.iter().map(String::as_str).chain(["-", "-"]);
            table.row(cells.map(Into::into).collect());
        } else {
            continue;
        }
        any = true;
    }
    if !any {
        return;
    }
    page.heading("Files");
    page.table(table, &["branch", "lines"]);
    if kept {
        let command = format!("planspec diff execution/{} -n {}", key.name, key.namespace);
        page.out.push_str(&format!("    run: {}\n", Tone::Strong.paint(command)));
        // However it ended: what was cancelled or failed may be all that there is of days of work.
        let end = status.completion_time.filter(|_| status.phase.is_terminal());
        if let Some(until) = end.and_then(|end| end.checked_add(retention).ok()) {
            let until = age::moment(until);
            page.out.push_str(&format!("    kept until {until}; from then on `planspec gc` removes it\n"));
        }
    }
}

/// How the acceptance criteria came out, and on which commit.
fn criteria(status: &ExecutionStatus, page: &mut DescribePage) {
    let mut table = Table::new(["node", "criterion", "result", "checked", "evidence"]);
    for (id, node) in &status.node_statuses {
        for result in &node.extensions.criteria {
            let holds = match (result.passed, result.required) {
                (true, _) => "holds",
                (false, true) => "does not hold",
                (false, false) => "does not hold, advisory",
            };
            // Where no commit is named, it was checked in the folder in which the work was done.
            let checked = result.checked.as_ref().map_or("-".to_owned(), |checked| {
                let short = text::short_commit(&checked.commit);
                match checked.restored {
                    0 => short.to_owned(),
                    files => format!("{short}, {files} restored"),
                }
            });
            let evidence = text::shortened(&result.evidence, OUTPUT);
            let cells = [id.as_str(), &result.name, holds, &checked, &evidence];
            table.row(cells.iter().map(|cell| (*cell).into()).collect());
        }
    }
    if !table.is_empty() {
        page.heading("Acceptance criteria");
        page.table(table, &["checked", "criterion"]);
    }
}

/// What the nodes say they used up, and all of it together.
fn usage(status: &ExecutionStatus, page: &mut DescribePage) {
    let mut table = Table::new(["node", "tokens", "cost", "turns"]);
    let mut row = |name: &str, usage: Usage| {
        let number = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
        let cost = usage.cost.map_or("-".to_owned(), |cost| format!("{cost:.2}"));
        let cells = [name, &number(usage.tokens), &cost, &number(usage.turns)];
        table.row(cells.iter().map(|cell| (*cell).into()).collect());
    };
    let mut count = 0;
    for (id, node) in &status.node_statuses {
        let Some(usage) = node.extensions.usage else { continue };
        row(id.as_str(), usage);
        count += 1;
    }
    // With one node the sum would say the same twice.
    if let Some(total) = status.usage().filter(|_| count > 1) {
        row("all", total);
    }
    if !table.is_empty() {
        page.heading("Usage");
        page.table(table, &["turns"]);
    }
}

fn outputs((status, graph): (&ExecutionStatus, Option<&PlanGraph>), page: &mut DescribePage) {
    let many = status.node_statuses.len() > OPEN_NODES;
    let is_shown = |id: &NodeId| !many || graph.is_none_or(|graph| !graph.is_instance(id));
    let with_outputs =
        status.node_statuses.iter().filter(|(id, node)| !node.outputs.is_empty() && is_shown(id));
    let mut table = Table::new(["node", "output", "value"]);
    for (id, node) in with_outputs {
        for (name, value) in &node.outputs {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            table.row(vec![id.as_str().into(), name.into(), text::shortened(&value, OUTPUT).into()]);
        }
    }
    if !table.is_empty() {
        page.heading("Outputs");
        page.table(table, &[]);
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
        // The first digits are enough to compare by eye; the record has them all.
        let checksum =
            artifact.checksum.as_ref().map_or("-".to_owned(), |sum| text::shortened(sum.as_str(), 20));
        table.row(vec![artifact.name.as_str().into(), place.into(), size.into(), checksum.into()]);
    }
    page.table(table, &["checksum", "bytes"]);
    left_out(status, page);
}

/// What other machines do not find, and why.
fn left_out(status: &ExecutionStatus, page: &mut DescribePage) {
    let mut table = Table::new(["node", "only on the machine that made it", "because"]);
    for (id, node) in &status.node_statuses {
        for left in node.extensions.stored.iter().flat_map(|stored| &stored.left_out) {
            table.row(vec![id.as_str().into(), left.name.as_str().into(), left.why.as_str().into()]);
        }
    }
    if !table.is_empty() {
        page.table(table, &[]);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{Kind, Name};

    #[test]
    fn nodes_that_wait_or_failed_show_what_to_run() {
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
                "lint": {"phase": "Failed", "attempt": 2, "message": "exit code 1",
                         "startTime": "2026-03-04T12:00:01Z", "completionTime": "2026-03-04T12:00:05Z",
                         "extensions": {"reason": "ProviderFailed"}},
            },
        }))
        .unwrap();
        let name = |text: &str| Name::new(text).unwrap();
        let key = ResourceKey::new(Kind::Execution, name("team"), name("run"));
        let mut page = DescribePage::default();
        let graph: PlanGraph = serde_json::from_value(json!({
            "nodes": [{"id": "review", "kind": "Gate", "gateRef": {"name": "security"}}],
        }))
        .unwrap();
        let now = ("2026-03-04T12:01:00Z".parse().unwrap(), Duration::ZERO);
        describe((&key, &status), Some(&graph), now, &mut page);
        insta::assert_snapshot!(anstream::adapter::strip_str(&page.out).to_string(), @r#"
        Status
        Elapsed:       1m00s

        Nodes
          NODE       PHASE       ATTEMPT   ELAPSED   PROVIDER          REASON             MESSAGE
          review     Blocked     -         -         -                 AwaitingApproval   needs 1 approval
          research   Succeeded   1         12s       tool://research   -
          lint       Failed      2         4s        -                 ProviderFailed     exit code 1

        Waits
          review waits for an approval: needs 1 approval
            run: planspec approve gate/security --execution run -n team  # approve the gate
            run: planspec reject gate/security --execution run -n team  # reject the gate; the node fails

        Failures
          lint failed: exit code 1
            run: planspec logs run/lint -n team  # show its output
            run: planspec retry run --from lint -n team  # rerun it and everything after it

        Outputs
          NODE       OUTPUT    VALUE
          research   summary   two lines
        "#);
    }

    #[test]
    fn how_long_the_work_of_what_has_ended_is_kept_is_said() {
        let shown = |phase: &str| {
            let result =
                json!({"commit": "1234567890", "base": "p", "files": 1, "insertions": 2, "deletions": 0});
            let node = json!({"phase": "Succeeded", "extensions": {"result": result}});
            let status = json!({"phase": phase, "completionTime": "2026-03-04T12:00:00Z", "nodeStatuses": {"a": node}});
            let status: ExecutionStatus = serde_json::from_value(status).unwrap();
            let name = |text: &str| Name::new(text).unwrap();
            let key = ResourceKey::new(Kind::Execution, name("team"), name("run"));
            let mut page = DescribePage::default();
            work(&key, &status, Duration::from_secs(24 * 3600), &mut page);
            page.out
        };
        let said = "kept until 2026-03-05 12:00:00Z; from then on `planspec gc` removes it";
        assert!(shown("Cancelled").contains(said), "{}", shown("Cancelled"));
        assert!(!shown("Running").contains("kept until"));
    }

    #[test]
    fn nodes_are_in_the_order_of_the_graph_and_instances_in_that_of_their_numbers() {
        let graph: PlanGraph = serde_json::from_value(json!({
            "nodes": [
                {"id": "tell", "kind": "Task", "dependsOn": ["each"]},
                {"id": "each", "kind": "Group", "children": ["load"], "dependsOn": ["find"],
                 "forEach": {"items": "${{ nodes.find.outputs.all }}", "as": "item", "maxItems": 20}},
                {"id": "load", "kind": "Task"},
                {"id": "find", "kind": "Task", "outputs": ["all"]},
            ],
        }))
        .unwrap();
        let mut nodes = serde_json::Map::new();
        for (at, id) in ["tell", "load-10", "load-9", "load", "find", "each"].into_iter().enumerate() {
            let start = format!("2026-03-04T12:00:0{at}Z");
            nodes.insert(id.to_owned(), json!({"phase": "Succeeded", "attempt": 1, "startTime": start}));
        }
        let status = json!({"phase": "Succeeded", "nodeStatuses": nodes});
        let status: ExecutionStatus = serde_json::from_value(status).unwrap();
        let mut page = DescribePage::default();
        super::nodes(&status, Some(&graph), "2026-03-04T12:01:00Z".parse().unwrap(), &mut page);
        let shown = anstream::adapter::strip_str(&page.out).to_string();
        let ids: Vec<&str> =
            shown.lines().skip(3).filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(ids, ["find", "load", "load-9", "load-10", "each", "tell"], "{shown}");
    }
}
