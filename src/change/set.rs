//! The difference of two sets of resources.

use std::collections::BTreeMap;

use super::fields::{FieldChange, compare_fields};
use super::graph::{GraphChange, compare_graphs};
use crate::model::{Resource, ResourceKey, Spec};

/// What changed in a set of resources. Every list is in the order of the keys.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SetChange {
    /// Resources that are new.
    pub created: Vec<ResourceKey>,
    /// Resources that differ.
    pub changed: Vec<ResourceDiff>,
    /// Resources that are gone.
    pub deleted: Vec<ResourceKey>,
}

impl SetChange {
    /// Whether nothing changed.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.created.is_empty() && self.changed.is_empty() && self.deleted.is_empty()
    }
}

/// A resource that is there in both sets and differs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ResourceDiff {
    /// The key that both versions have.
    pub key: ResourceKey,
    /// Whether the spec as written changed, so that the generation grows. That alone may be: a spec may be written
    /// again without meaning anything else, and then `fields` is empty.
    pub spec: bool,
    /// The fields that differ.
    pub fields: Vec<FieldChange>,
    /// What changed in the graph, when it is a plan whose graph means something else now.
    pub graph: Option<GraphChange>,
}

/// Compares two sets. Where a key comes twice in one of them, its first resource counts.
#[must_use]
pub(crate) fn compare_sets<'r>(
    old: impl IntoIterator<Item = &'r Resource>,
    new: impl IntoIterator<Item = &'r Resource>,
) -> SetChange {
    let mut before = by_key(old);
    let after = by_key(new);
    let mut change = SetChange::default();
    for (key, new) in after {
        match before.remove(&key) {
            None => change.created.push(key),
            Some(old) => change.changed.extend(compare_resources(&key, old, new)),
        }
    }
    change.deleted = before.into_keys().collect();
    change
}

fn by_key<'r>(resources: impl IntoIterator<Item = &'r Resource>) -> BTreeMap<ResourceKey, &'r Resource> {
    let mut map = BTreeMap::new();
    for resource in resources {
        // The first by path is the one that counts, as for references.
        map.entry(resource.key()).or_insert(resource);
    }
    map
}

fn compare_resources(key: &ResourceKey, old: &Resource, new: &Resource) -> Option<ResourceDiff> {
    // The digest and not the decoded spec: it is what the generation counts.
    let spec = old.spec_digest != new.spec_digest;
    // An unchanged resource costs no walk over its fields.
    if !spec && old.metadata == new.metadata {
        return None;
    }
    let graph = match (&old.spec, &new.spec) {
        (Spec::Plan(old), Spec::Plan(new)) => Some(compare_graphs(&old.graph, &new.graph)),
        _ => None,
    };
    // A graph that is only written in another way gives no drawing to review.
    let graph = graph.filter(|graph| !graph.is_empty());
    Some(ResourceDiff { key: key.clone(), spec, fields: compare_fields(old, new), graph })
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "a literal value reads best without a borrow")]
mod tests {
    use super::super::fields::tests::resource;
    use super::*;
    use crate::model::Kind;
    use serde_json::{Value, json};

    fn goal(name: &str, priority: u16) -> Resource {
        resource(Kind::Goal, name, json!({}), json!({ "description": "d", "priority": priority }))
    }

    fn plan(nodes: Value) -> Resource {
        resource(Kind::Plan, "p", json!({}), json!({ "description": "d", "graph": { "nodes": nodes } }))
    }

    #[test]
    fn resources_come_change_and_go() {
        let old = [goal("same", 1), goal("gone", 1), goal("other", 1)];
        let new = [goal("other", 2), goal("new", 1), goal("same", 1)];
        let change = compare_sets(&old, &new);
        let names = |keys: &[ResourceKey]| keys.iter().map(|key| key.name.to_string()).collect::<Vec<_>>();
        assert_eq!(
            (names(&change.created), names(&change.deleted)),
            (vec!["new".into()], vec!["gone".into()])
        );
        let [changed] = change.changed.as_slice() else { panic!("{change:?}") };
        assert_eq!((changed.key.name.as_str(), changed.spec), ("other", true));
        assert_eq!(changed.fields[0].to_string(), "spec.priority: 1 → 2");
        assert!(compare_sets(&old, &old).is_empty());
    }

    #[test]
    fn a_label_alone_changes_no_spec() {
        let labelled =
            resource(Kind::Goal, "a", json!({ "x": "1" }), json!({ "description": "d", "priority": 1 }));
        let change = compare_sets(&[goal("a", 1)], &[labelled]);
        assert!(!change.changed[0].spec);
        assert_eq!(change.changed[0].fields.len(), 1);
    }

    #[test]
    fn a_plan_brings_the_change_of_its_graph() {
        let task = |id: &str| json!({ "id": id, "kind": "Task" });
        let change = compare_sets(&[plan(json!([task("a")]))], &[plan(json!([task("a"), task("b")]))]);
        assert_eq!(change.changed[0].graph.as_ref().unwrap().nodes_added.len(), 1);
        let moved =
            compare_sets(&[plan(json!([task("a"), task("b")]))], &[plan(json!([task("b"), task("a")]))]);
        assert_eq!((moved.changed[0].spec, moved.changed[0].fields.len()), (true, 0));
        assert_eq!(moved.changed[0].graph, None);
    }
}
