//! The part of `planspec explain` about a Binding: what its rules resolve to, and why each of them won or lost.

use crate::model::{BindingRule, BindingSelector, BindingSpec};
use crate::plan::binding::{BindingExplanation, Resolution};
use crate::report::table::Table;
use crate::report::text;

/// What was resolved, as text.
pub(super) fn outcome(resolution: &Resolution) -> String {
    match resolution {
        Resolution::Bound { rule, target, .. } => format!("rule {rule}: {}", target.provider),
        Resolution::Own { target } => format!("`run` of the plan: {}", target.provider),
        Resolution::Unbound { why } => format!("unbound: {why}"),
        Resolution::Conflict { why, .. } => format!("conflict: {why}"),
    }
}

/// The Binding, what it selects, and each of its rules. With `said`, the page gives the reason elsewhere.
pub(super) fn bindings(
    explained: &BindingExplanation,
    how: &str,
    spec: Option<&BindingSpec>,
    said: bool,
) -> String {
    if let Resolution::Own { target } = &explained.resolution {
        return format!("\nIt needs no Binding: `run` of the plan gives {}\n", text::line(&target.provider));
    }
    // Of a Binding that is not there, the reason says all there is.
    if said && spec.is_none() {
        return String::new();
    }
    let name = explained.binding.as_ref().map(ToString::to_string).unwrap_or_default();
    let strategy = spec.map(|spec| format!(", {:?}", spec.strategy)).unwrap_or_default();
    let outcome = if said { "no rule".to_owned() } else { outcome(&explained.resolution) };
    let mut page = format!("\nBinding {name} ({how}{strategy}) selects {}\n", text::line(&outcome));
    let mut table = Table::new(["rule", "priority", "selector", "provider", "verdict"]);
    for one in &explained.considered {
        let rule = spec.and_then(|spec| spec.rules.get(one.rule));
        table.row(vec![
            one.rule.to_string().into(),
            one.priority.to_string().into(),
            rule.map(selected).unwrap_or_default().into(),
            rule.map(|rule| rule.target.provider.clone()).unwrap_or_default().into(),
            one.verdict.to_string().into(),
        ]);
    }
    if !table.is_empty() {
        for line in table.lines() {
            page.push_str(&format!("  {}\n", line.trim_end()));
        }
    }
    page
}

fn selected(rule: &BindingRule) -> String {
    let BindingSelector { plan_ref, capability_ref, node_id, match_labels, .. } = &rule.selector;
    let plan = plan_ref.as_ref().map(|plan| format!("planRef {}", plan.name));
    let node = node_id.as_ref().map(|node| format!("nodeId {node}"));
    let capability = capability_ref.as_ref().map(|capability| format!("capabilityRef {}", capability.name));
    let labels = match_labels.iter().map(|(key, value)| format!("{key}={value}"));
    let parts: Vec<String> = [plan, node, capability].into_iter().flatten().chain(labels).collect();
    parts.join(", ")
}
