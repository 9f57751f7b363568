//! Everything about one object, for people: identity, spec, status, conditions, what it waits for, and what
//! happened last. The status of each kind has its own file.

mod execution;
mod gate;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::history::{self, HistoryEntry};
use super::object::{LiveObject, spec_value};
use super::style::Tone;
use super::table::Table;
use super::{age, text};
use crate::markup;
use crate::model::{
    CapabilityParameter, Condition, ConditionStatus, Kind, NodeId, PlanGraph, ResourceStatus, Spec,
    StatusMetadata,
};

/// The text, with a line end at its end. `graph` is the one that an execution runs, where it is at hand: it names the gates.
/// `width` is that of the terminal; elsewhere, nothing is left out and no line is broken. `retention` is how long the work of what
/// has ended is kept.
#[must_use]
pub(crate) fn describe(
    object: &LiveObject,
    graph: Option<&PlanGraph>,
    events: &[HistoryEntry],
    (now, retention): (Timestamp, Duration),
    width: Option<usize>,
) -> String {
    let mut page = DescribePage { out: String::new(), width };
    identity(object, now, &mut page);
    if let Some(resource) = &object.resource {
        spec(&resource.spec, &mut page);
    }
    let plan = object.resource.as_ref().map(|resource| &resource.spec);
    match object.record.as_ref().map(|record| &record.status) {
        Some(ResourceStatus::Execution(status)) => {
            execution::describe((&object.key, status), graph, (now, retention), &mut page);
        }
        Some(ResourceStatus::Gate(status)) => {
            let annotations = object.record.as_ref().map(|record| &record.metadata.annotations);
            let implicit = annotations.is_some_and(|all| all.contains_key(StatusMetadata::IMPLICIT));
            gate::describe(plan, implicit, status, &mut page);
        }
        Some(ResourceStatus::Goal(status)) => {
            let active = status.active_plan_ref.as_ref().map_or("-".to_owned(), |plan| plan.name.to_string());
            page.heading("Status");
            page.field("Active plan", &active);
        }
        Some(ResourceStatus::Binding(status)) => {
            page.heading("Status");
            page.field("Bound", &format!("{} of {} rules", status.bound_count, status.total_count));
            for unbound in &status.unbound_capabilities {
                page.field("Unbound", &format!("{:?}: {}", unbound.reason, unbound.message));
            }
        }
        Some(ResourceStatus::Capability(status)) => {
            if let Some(replacement) = &status.replacement {
                page.field("Replaced by", replacement.name.as_str());
            }
        }
        Some(ResourceStatus::Schedule(status)) => {
            page.heading("Status");
            let time = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), age::moment);
            page.field("Last run", &time(status.last_schedule_time));
            page.field("Next run", &time(status.next_schedule_time));
            for run in &status.active {
                page.field("Active", &format!("execution/{}", run.name));
            }
        }
        Some(ResourceStatus::Plan(_)) => {}
        None => page.unrecorded(object.refused.as_deref()),
    }
    conditions(conditions_of(object), now, &mut page);
    if !events.is_empty() {
        page.heading("History");
        page.table(history::table(events, false, false), &["desired", "by"]);
    }
    page.out
}

/// A text in the making.
#[derive(Default)]
struct DescribePage {
    out: String,
    width: Option<usize>,
}

/// The room for the name of a field and the blank behind it.
const FIELD: usize = 15;

impl DescribePage {
    fn field(&mut self, name: &str, value: &str) {
        // Padded before it is painted: escape sequences would count as width.
        let name = format!("{name}:");
        let value = text::line(value);
        let lines = match self.width {
            Some(width) if FIELD + value.chars().count() > width => {
                text::wrapped(&value, width.saturating_sub(FIELD))
            }
            _ => vec![value.into_owned()],
        };
        let value = lines.join(&format!("\n{:FIELD$}", ""));
        self.out.push_str(&format!("{} {value}\n", Tone::Muted.paint(format!("{name:14}"))));
    }

    /// Why there is nothing to show.
    fn unrecorded(&mut self, refused: Option<&str>) {
        self.out.push('\n');
        match refused {
            Some(why) => self.sentence(&format!(
                "Not recorded: {why}. Change what it refuses, and run `planspec reconcile`."
            )),
            None => self.out.push_str("Not reconciled yet; run `planspec reconcile`.\n"),
        }
    }

    /// A sentence of a safe text, indented, as long as the terminal is wide.
    fn sentence(&mut self, sentence: &str) {
        let sentence = text::line(sentence);
        let lines = match self.width {
            Some(width) => text::wrapped(&sentence, width.saturating_sub(2)),
            None => vec![sentence.into_owned()],
        };
        for line in lines {
            self.out.push_str(&format!("  {line}\n"));
        }
    }

    fn heading(&mut self, name: &str) {
        self.out.push_str(&format!("\n{}\n", Tone::Strong.paint(name)));
    }

    /// Lines of a safe text, indented.
    fn block(&mut self, block: &str) {
        for line in text::block(block).lines() {
            self.out.push_str(format!("  {line}").trim_end());
            self.out.push('\n');
        }
    }

    /// A table; on a narrow terminal without columns that can be missed, in this order.
    fn table(&mut self, table: Table, missable: &[&str]) {
        let lines = match self.width {
            Some(width) => table.wrapped(missable, width.saturating_sub(2)),
            None => table.lines(),
        };
        for line in lines {
            self.out.push_str(&format!("  {line}\n"));
        }
    }
}

fn identity(object: &LiveObject, now: Timestamp, page: &mut DescribePage) {
    page.field("Name", object.key.name.as_str());
    page.field("Namespace", object.key.namespace.as_str());
    page.field("Kind", object.key.kind.as_str());
    let phase = object.phase();
    page.out.push_str(&format!(
        "{} {}\n",
        Tone::Muted.paint(format!("{:14}", "Phase:")),
        Tone::of_phase(&phase).paint(text::line(&phase))
    ));
    if let Some(record) = &object.record {
        let metadata = &record.metadata;
        page.field("UID", &metadata.uid);
        page.field("Generation", &metadata.generation.to_string());
        let created = metadata.creation_timestamp;
        page.field("Created", &format!("{} ({} ago)", age::moment(created), age::between(created, now)));
        if let Some(signature) = &object.signature {
            page.field("Signed by", &signature.line());
        }
        if let Some(signature) = &object.declared_by {
            page.field("Declared by", &signature.line());
        }
        // Why the newest manifest is not the one in force (Invariant 6).
        if let Some(reason) = metadata.annotations.get(StatusMetadata::QUARANTINED) {
            page.field("Quarantined", reason);
        }
    }
    if let Some(resource) = &object.resource {
        match resource.source.path.as_str() {
            // A derived Execution: what made it is among its owners.
            "" => page.field("Manifest", "none: made by its owner"),
            path => page.field("Manifest", path),
        }
        for (key, value) in &resource.metadata.labels {
            page.field("Label", &format!("{key}={value}"));
        }
        for (key, value) in &resource.metadata.annotations {
            // The contract allows 64 KiB in one annotation.
            page.field("Annotation", &format!("{key}={}", text::shortened(value, 80)));
        }
        for owner in &resource.metadata.owner_references {
            page.field("Owner", &format!("{}/{}", owner.kind.singular(), owner.name));
        }
    } else if object.key.kind != Kind::Gate {
        // A Gate works without a manifest, so that the lack of one says nothing.
        page.field("Manifest", "gone, or not in force");
    }
}

/// The spec as YAML; a plan's nodes are a table, because their YAML would be most of the page.
fn spec(spec: &Spec, page: &mut DescribePage) {
    let mut value = spec_value(spec);
    if let (Spec::Plan(_), Value::Object(fields)) = (spec, &mut value) {
        // Shifted, so that the other fields keep the order of the contract.
        fields.shift_remove("graph");
        fields.shift_remove("parameters");
    }
    page.heading("Spec");
    page.block(&markup::yaml(&value).unwrap_or_default());
    let Spec::Plan(plan) = spec else { return };
    if !plan.parameters.is_empty() {
        page.heading("Parameters");
        page.table(parameters(&plan.parameters), &["values", "default"]);
    }
    page.heading("Nodes");
    let mut table = Table::new(["node", "kind", "after", "needs", "description"]);
    for node in &plan.graph.nodes {
        // Both spellings of an edge, the list and `dependsOn`.
        let edges = plan.graph.edges.iter().filter(|edge| edge.to == node.id).map(|edge| edge.from.as_str());
        let after: Vec<&str> = edges.chain(node.depends_on.iter().map(NodeId::as_str)).collect();
        let mut needs: Vec<&str> = node.capability_refs.iter().map(|needed| needed.name.as_str()).collect();
        // The command itself may be a script of many lines.
        needs.extend(node.run.iter().map(|_| "run"));
        let description = node.description.as_deref().or(node.name.as_deref()).unwrap_or_default();
        table.row(vec![
            node.id.as_str().into(),
            format!("{:?}", node.kind).into(),
            dash(&after.join(",")).into(),
            dash(&needs.join(",")).into(),
            text::shortened(description, 60).into(),
        ]);
    }
    page.table(table, &["needs", "kind", "after"]);
}

/// The parameters of a plan as `planspec run` takes them.
fn parameters(declared: &[CapabilityParameter]) -> Table {
    let mut table = Table::new(["name", "type", "default", "values", "description"]);
    for parameter in declared {
        let default = match &parameter.default {
            Some(default) => default.to_string(),
            None if parameter.required => "(required)".to_owned(),
            None => "-".to_owned(),
        };
        let values: Vec<String> = match &parameter.pattern {
            Some(pattern) => vec![pattern.clone()],
            None => parameter.values.iter().map(Value::to_string).collect(),
        };
        let description = parameter.description.as_deref().unwrap_or_default();
        table.row(vec![
            parameter.name.as_str().into(),
            format!("{:?}", parameter.kind).to_lowercase().into(),
            text::shortened(&default, 40).into(),
            dash(&text::shortened(&values.join(", "), 40)).into(),
            text::shortened(description, 60).into(),
        ]);
    }
    table
}

fn conditions_of(object: &LiveObject) -> &[Condition] {
    object.record.as_ref().map(|record| record.status.conditions()).unwrap_or_default()
}

fn conditions(list: &[Condition], now: Timestamp, page: &mut DescribePage) {
    if list.is_empty() {
        return;
    }
    page.heading("Conditions");
    let mut table = Table::new(["type", "status", "reason", "age", "message"]);
    for condition in list {
        let status = match condition.status {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => "Unknown",
        };
        table.row(vec![
            condition.kind.as_str().into(),
            status.into(),
            condition.reason.as_str().into(),
            age::between(condition.last_transition_time, now).into(),
            condition.message.as_str().into(),
        ]);
    }
    page.table(table, &["age", "reason"]);
}

fn dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

#[cfg(test)]
mod tests {
    use super::super::object::samples;
    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_goal_is_described_from_name_to_conditions() {
        let now = "2026-03-04T12:05:00Z".parse().unwrap();
        insta::assert_snapshot!(plain(&describe(&samples::goal(), None, &[], (now, Duration::ZERO), None)), @r#"
        Name:          sso
        Namespace:     team
        Kind:          Goal
        Phase:         Executing
        UID:           u-1
        Generation:    2
        Created:       2026-03-04 12:00:00Z (5m00s ago)
        Manifest:      goal.yaml
        Label:         planspec.io/team=web
        Annotation:    note=hi

        Spec
          description: |-
            Let people
            sign in
          priority: 10

        Status
        Active plan:   sso-v2

        Conditions
          TYPE       STATUS   REASON   AGE     MESSAGE
          Accepted   True     Valid    5m00s
        "#);
    }

    #[test]
    fn empty_lines_of_a_text_stay() {
        let mut page = DescribePage::default();
        page.block("text: |\n  one\n\n  two  \n");
        assert_eq!(page.out, "  text: |\n    one\n\n    two\n");
    }
}
