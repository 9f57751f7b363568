//! The difference of two resources, field by field. Nodes are matched by id, edges are a set, lists of other objects
//! go by index, and lists of plain values are one field.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::model::{Resource, Spec};

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FieldChange {
    /// Where, for people: `spec.graph.nodes[research].timeout`, `metadata.labels["a/b"]`.
    pub path: String,
    /// What it was; absent when it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// What it is; absent when it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => write!(f, "{}: {old} → {new}", self.path),
            (None, Some(new)) => write!(f, "{}: added {new}", self.path),
            (Some(old), None) => write!(f, "{}: removed {old}", self.path),
            (None, None) => f.write_str(&self.path),
        }
    }
}

/// The fields in which two versions of a resource differ: of the spec, and of what people write in the metadata.
#[must_use]
pub(crate) fn compare_fields(old: &Resource, new: &Resource) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    let metadata = |resource: &Resource| serde_json::to_value(&resource.metadata).unwrap_or(Value::Null);
    if old.metadata != new.metadata {
        compare("metadata", &metadata(old), &metadata(new), &mut changes);
    }
    if old.spec_digest != new.spec_digest || old.spec != new.spec {
        compare("spec", &spec_value(&old.spec), &spec_value(&new.spec), &mut changes);
    }
    changes
}

/// A spec as JSON. Serialising these types cannot fail: all keys are strings.
fn spec_value(spec: &Spec) -> Value {
    let value = match spec {
        Spec::Goal(spec) => serde_json::to_value(spec),
        Spec::Plan(spec) => serde_json::to_value(spec),
        Spec::Capability(spec) => serde_json::to_value(spec),
        Spec::Binding(spec) => serde_json::to_value(spec),
        Spec::Gate(spec) => serde_json::to_value(spec),
        Spec::Execution(spec) => serde_json::to_value(spec),
        Spec::Schedule(spec) => serde_json::to_value(spec),
    };
    value.unwrap_or(Value::Null)
}

fn compare(path: &str, old: &Value, new: &Value, changes: &mut Vec<FieldChange>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => compare_maps(path, old, new, changes),
        // By index, one node that is inserted would change all that follow.
        (Value::Array(old), Value::Array(new)) if path == "spec.graph.nodes" => {
            compare_lists(path, &by_id(old), &by_id(new), changes);
        }
        // Edges have neither a name nor an order.
        (Value::Array(old), Value::Array(new)) if path == "spec.graph.edges" => {
            compare_as_sets(path, old, new, changes);
        }
        // The order counts in such a list, as for the rules of a Binding, so that an index is a name.
        (Value::Array(old), Value::Array(new)) if all_objects(old) && all_objects(new) => {
            compare_lists(path, &by_index(old), &by_index(new), changes);
        }
        _ if old == new => {}
        // Plain values in a list have no names of their own, and are read as a whole.
        _ => changes.push(FieldChange {
            path: path.to_owned(),
            old: Some(old.clone()),
            new: Some(new.clone()),
        }),
    }
}

fn compare_maps(
    path: &str,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    changes: &mut Vec<FieldChange>,
) {
    // Old fields in their order, then the new ones, so that the output is the same each time.
    for (key, before) in old {
        compare_members(&member(path, key), Some(before), new.get(key), changes);
    }
    for (key, after) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
        compare_members(&member(path, key), None, Some(after), changes);
    }
}

fn compare_members(path: &str, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<FieldChange>) {
    let none = Value::Array(Vec::new());
    let edges = path == "spec.graph.edges";
    match (old, new) {
        (Some(old), Some(new)) => compare(path, old, new, changes),
        // A list without edges is left out when it is written.
        (Some(old), None) if edges => compare(path, old, &none, changes),
        (None, Some(new)) if edges => compare(path, &none, new, changes),
        (old, new) => {
            changes.push(FieldChange { path: path.to_owned(), old: old.cloned(), new: new.cloned() });
        }
    }
}

type Keyed<'v> = Vec<(String, &'v Value)>;

fn by_id(list: &[Value]) -> Keyed<'_> {
    list.iter()
        // Only valid resources are compared, so that ids are there, and unique.
        .map(|item| (item.get("id").and_then(Value::as_str).unwrap_or_default().to_owned(), item))
        .collect()
}

fn by_index(list: &[Value]) -> Keyed<'_> {
    list.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect()
}

fn all_objects(list: &[Value]) -> bool {
    list.iter().all(Value::is_object)
}

fn compare_lists(path: &str, old: &Keyed<'_>, new: &Keyed<'_>, changes: &mut Vec<FieldChange>) {
    let index = |list: &Keyed<'_>| -> std::collections::HashMap<String, usize> {
        list.iter().enumerate().map(|(at, (key, _))| (key.clone(), at)).collect()
    };
    // A search for each node would take quadratic time in a large plan.
    let at_old = index(old);
    let at_new = index(new);
    for (key, before) in old {
        let after = at_new.get(key).and_then(|&at| new.get(at)).map(|(_, value)| *value);
        compare_members(&format!("{path}[{key}]"), Some(before), after, changes);
    }
    for (key, after) in new.iter().filter(|(key, _)| !at_old.contains_key(key)) {
        compare_members(&format!("{path}[{key}]"), None, Some(after), changes);
    }
}

fn compare_as_sets(path: &str, old: &[Value], new: &[Value], changes: &mut Vec<FieldChange>) {
    let texts = |list: &[Value]| list.iter().map(Value::to_string).collect::<std::collections::HashSet<_>>();
    let in_old = texts(old);
    let in_new = texts(new);
    let change = |value: &Value, gone: bool| {
        let end = |end: &str| value.get(end).and_then(Value::as_str).unwrap_or_default().to_owned();
        let value = Some(value.clone());
        FieldChange {
            // The ends name an edge; its type is in the value.
            path: format!("{path}[{} → {}]", end("from"), end("to")),
            old: value.clone().filter(|_| gone),
            new: value.filter(|_| !gone),
        }
    };
    changes
        .extend(old.iter().filter(|edge| !in_new.contains(&edge.to_string())).map(|edge| change(edge, true)));
    changes.extend(
        new.iter().filter(|edge| !in_old.contains(&edge.to_string())).map(|edge| change(edge, false)),
    );
}

/// The path of a member; keys that are no plain words are quoted.
fn member(path: &str, key: &str) -> String {
    // Unquoted, the label `planspec.io/team` would read like a path of several fields.
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if plain { format!("{path}.{key}") } else { format!("{path}[{}]", Value::from(key)) }
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "a literal value reads best without a borrow")]
pub(super) mod tests {
    use super::*;
    use crate::model::{Digest, Kind, SourceLocation};
    use proptest::prelude::*;
    use serde_json::json;

    /// A resource as its manifest would give it.
    pub(in crate::change) fn resource(kind: Kind, name: &str, labels: Value, spec: Value) -> Resource {
        let metadata = json!({ "name": name, "namespace": "n", "labels": labels });
        // Of the value as it is written, as for a manifest that was read.
        let spec_digest = Digest::of_value(&spec);
        macro_rules! spec {
            ($variant:ident) => {
                Spec::$variant(serde_json::from_value(spec).unwrap())
            };
        }
        let spec = match kind {
            Kind::Goal => spec!(Goal),
            Kind::Plan => spec!(Plan),
            Kind::Capability => spec!(Capability),
            Kind::Binding => spec!(Binding),
            Kind::Gate => spec!(Gate),
            Kind::Execution => spec!(Execution),
            Kind::Schedule => spec!(Schedule),
        };
        Resource {
            metadata: serde_json::from_value(metadata).unwrap(),
            spec,
            spec_digest,
            source: SourceLocation::default(),
        }
    }

    #[track_caller]
    fn check(kind: Kind, old: Value, new: Value, expected: &[&str]) {
        let resource = |spec: Value| resource(kind, "r", json!({}), spec);
        let changes = compare_fields(&resource(old), &resource(new));
        assert_eq!(changes.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn plain_fields_are_compared_one_by_one() {
        check(
            Kind::Goal,
            json!({ "description": "d", "timeout": "7d", "constraints": { "idp": "google", "a b": 1 } }),
            json!({ "description": "d", "priority": 3, "constraints": { "idp": ["google"], "x": null } }),
            &[
                "spec.constraints.idp: \"google\" → [\"google\"]",
                "spec.constraints[\"a b\"]: removed 1",
                "spec.constraints.x: added null",
                "spec.timeout: removed \"7d\"",
                "spec.priority: 0 → 3",
            ],
        );
    }

    #[test]
    fn nodes_go_by_id_and_edges_are_a_set() {
        let task = |id: &str, retries: u32| json!({ "id": id, "kind": "Task", "retries": retries });
        let edge = |from: &str, to: &str, kind: &str| json!({ "from": from, "to": to, "type": kind });
        let plan = |nodes: Value, edges: Value| json!({ "description": "d", "graph": { "nodes": nodes, "edges": edges } });
        check(
            Kind::Plan,
            plan(
                json!([task("a", 1), task("b", 0), task("c", 0)]),
                json!([edge("a", "b", "hard"), edge("b", "c", "hard")]),
            ),
            plan(
                json!([task("d", 0), task("b", 0), task("a", 2)]),
                json!([edge("b", "c", "soft"), edge("a", "b", "hard")]),
            ),
            &[
                "spec.graph.nodes[a].retries: 1 → 2",
                "spec.graph.nodes[c]: removed {\"id\":\"c\",\"kind\":\"Task\"}",
                "spec.graph.nodes[d]: added {\"id\":\"d\",\"kind\":\"Task\"}",
                "spec.graph.edges[b → c]: removed {\"from\":\"b\",\"to\":\"c\",\"type\":\"hard\"}",
                "spec.graph.edges[b → c]: added {\"from\":\"b\",\"to\":\"c\",\"type\":\"soft\"}",
            ],
        );
        check(
            Kind::Plan,
            plan(json!([task("a", 0), task("b", 0)]), json!([])),
            plan(json!([task("a", 0), task("b", 0)]), json!([edge("a", "b", "hard")])),
            &["spec.graph.edges[a → b]: added {\"from\":\"a\",\"to\":\"b\",\"type\":\"hard\"}"],
        );
    }

    #[test]
    fn rules_go_by_index_and_plain_lists_are_one_field() {
        let rule = |provider: &str| json!({ "selector": { "capabilityRef": { "name": "c" } }, "target": { "provider": provider } });
        check(
            Kind::Binding,
            json!({ "rules": [rule("a"), rule("b")] }),
            json!({ "rules": [rule("a"), rule("x"), rule("y")] }),
            &[
                "spec.rules[1].target.provider: \"b\" → \"x\"",
                "spec.rules[2]: added {\"priority\":0,\"selector\":{\"capabilityRef\":{\"name\":\"c\"}},\"target\":{\"provider\":\"y\"}}",
            ],
        );
        let gate = |reviewers: Value| json!({ "gateType": "review", "targetRef": { "kind": "Plan", "name": "p" }, "reviewers": reviewers });
        check(
            Kind::Gate,
            gate(json!(["a"])),
            gate(json!(["a", "b"])),
            &["spec.reviewers: [\"a\"] → [\"a\",\"b\"]"],
        );
    }

    #[test]
    fn labels_count_too() {
        let goal = |labels: Value| resource(Kind::Goal, "r", labels, json!({ "description": "d" }));
        let changes = compare_fields(&goal(json!({ "planspec.io/team": "a" })), &goal(json!({ "x": "1" })));
        let shown: Vec<String> = changes.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            ["metadata.labels[\"planspec.io/team\"]: removed \"a\"", "metadata.labels.x: added \"1\""]
        );
    }

    proptest! {
        // Failing cases are printed, and not written into a file beside the sources.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Nothing is found exactly when nothing changed.
        #[test]
        fn a_change_is_never_missed(a in 0u16..3, b in 0u16..3, x in prop::option::of("[ab]"), y in prop::option::of("[ab]")) {
            let goal = |priority: u16, label: &Option<String>| {
                let labels = label.iter().map(|label| (label.clone(), json!("v"))).collect();
                resource(Kind::Goal, "r", Value::Object(labels), json!({ "description": "d", "priority": priority }))
            };
            let changes = compare_fields(&goal(a, &x), &goal(b, &y));
            prop_assert_eq!(changes.is_empty(), a == b && x == y);
        }
    }
}
