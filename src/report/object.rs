//! A live object: what is declared and what is recorded of one resource, joined. As one JSON or YAML value it
//! is what the contract calls a resource.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::model::{
    API_VERSION, JsonMap, Kind, NodeId, Resource, ResourceKey, ResourceStatus, Spec, StatusRecord,
};

/// What is known of one resource.
#[derive(Debug, Clone)]
pub(crate) struct LiveObject {
    /// What identifies it.
    pub key: ResourceKey,
    /// The declaration; absent when the manifest is gone or not in force.
    pub resource: Option<Resource>,
    /// The record; absent until the first reconcile that saw it.
    pub record: Option<StatusRecord>,
    /// Why there is no record, where this machine knows: the remote refuses it.
    pub refused: Option<String>,
    /// The id of the blob that holds the record.
    pub resource_version: Option<String>,
    /// Who signed the last change of the record, where somebody has to and it was asked for.
    pub signature: Option<RecordSignature>,
    /// The same of the manifest on the desired branch.
    pub declared_by: Option<RecordSignature>,
    /// The nodes of an Execution that only sum up others, where somebody counts its nodes.
    pub summaries: BTreeSet<NodeId>,
}

/// Who signed a change of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordSignature {
    /// The commit of the status branch.
    pub commit: String,
    /// Name and role, or why the commit does not hold.
    pub by: Result<(String, &'static str), String>,
}

impl RecordSignature {
    /// For people.
    pub(crate) fn line(&self) -> String {
        let commit: String = self.commit.chars().take(8).collect();
        match &self.by {
            Ok((name, role)) => format!("{name} ({role}), commit {commit}"),
            Err(why) => format!("nobody who counts: {why}, commit {commit}"),
        }
    }

    fn to_value(&self) -> Value {
        match &self.by {
            Ok((name, role)) => json!({ "name": name, "role": role, "commit": self.commit }),
            Err(why) => json!({ "refused": why, "commit": self.commit }),
        }
    }
}

impl LiveObject {
    /// The phase as in the status; `-` before the first reconcile.
    #[must_use]
    pub(crate) fn phase(&self) -> String {
        let Some(record) = &self.record else { return "-".to_owned() };
        match &record.status {
            ResourceStatus::Goal(status) => format!("{:?}", status.phase),
            ResourceStatus::Plan(status) => format!("{:?}", status.phase),
            ResourceStatus::Capability(status) => format!("{:?}", status.phase),
            ResourceStatus::Binding(status) => format!("{:?}", status.phase),
            ResourceStatus::Gate(status) => format!("{:?}", status.phase),
            ResourceStatus::Execution(status) => status.phase.to_string(),
            ResourceStatus::Schedule(status) => status.word().to_owned(),
        }
    }

    /// The object as one value, its fields in the order of the contract.
    #[must_use]
    pub(crate) fn to_value(&self) -> Value {
        let mut object = JsonMap::new();
        object.insert("apiVersion".to_owned(), json!(API_VERSION));
        object.insert("kind".to_owned(), json!(self.key.kind));
        object.insert("metadata".to_owned(), self.metadata());
        if let Some(resource) = &self.resource {
            object.insert("spec".to_owned(), spec_value(&resource.spec));
        }
        if let Some(mut status) =
            self.record.as_ref().map(value_of).and_then(|mut record| take(&mut record, "status"))
        {
            // Within the status, which is left out when somebody applies what `get` printed.
            for (name, signature) in [("signedBy", &self.signature), ("declaredBy", &self.declared_by)] {
                if let (Some(signature), Some(fields)) = (signature, status.as_object_mut()) {
                    fields.insert(name.to_owned(), signature.to_value());
                }
            }
            object.insert("status".to_owned(), status);
        }
        Value::Object(object)
    }

    fn metadata(&self) -> Value {
        let mut merged = match self.resource.as_ref().map(|resource| value_of(&resource.metadata)) {
            Some(Value::Object(map)) => map,
            _ => JsonMap::new(),
        };
        // The record wins: these are the fields that only the reconciler sets.
        let recorded = self.record.as_ref().map(|record| value_of(&record.metadata));
        if let Some(Value::Object(recorded)) = recorded {
            for (field, value) in recorded {
                match (merged.get_mut(&field), value) {
                    // Annotations are in both: people write some, and the reconciler adds its own.
                    (Some(Value::Object(own)), Value::Object(more)) => own.extend(more),
                    (_, value) => {
                        merged.insert(field, value);
                    }
                }
            }
        }
        if let Some(version) = &self.resource_version {
            merged.insert("resourceVersion".to_owned(), json!(version));
        }
        Value::Object(merged)
    }
}

/// Several objects as one value.
#[must_use]
pub(crate) fn list_value(objects: &[LiveObject]) -> Value {
    let items: Vec<Value> = objects.iter().map(LiveObject::to_value).collect();
    // The form of kubectl, so that scripts and habits carry over.
    json!({ "apiVersion": API_VERSION, "kind": "List", "items": items })
}

/// `KIND/NAME`, as commands take it.
#[must_use]
pub(crate) fn short_name(key: &ResourceKey) -> String {
    format!("{}/{}", key.kind.singular(), key.name)
}

/// The spec as it is written in a manifest, with its defaults.
#[must_use]
pub(crate) fn spec_value(spec: &Spec) -> Value {
    match spec {
        Spec::Goal(spec) => value_of(spec),
        Spec::Plan(spec) => value_of(spec),
        Spec::Capability(spec) => value_of(spec),
        Spec::Binding(spec) => value_of(spec),
        Spec::Gate(spec) => value_of(spec),
        Spec::Execution(spec) => value_of(spec),
        Spec::Schedule(spec) => value_of(spec),
    }
}

/// These types serialise without fail: every key is a string.
fn value_of(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}

fn take(value: &mut Value, field: &str) -> Option<Value> {
    value.get_mut(field).map(Value::take)
}

/// The kinds among some objects, in the order of listings.
#[must_use]
pub(crate) fn kinds_of(objects: &[LiveObject]) -> Vec<Kind> {
    Kind::ALL.into_iter().filter(|kind| objects.iter().any(|object| object.key.kind == *kind)).collect()
}

#[cfg(test)]
pub(crate) mod samples {
    use super::*;
    use crate::model::{Digest, SourceLocation};

    pub(crate) fn goal() -> LiveObject {
        let record: StatusRecord = serde_json::from_value(json!({
            "apiVersion": API_VERSION,
            "kind": "Goal",
            "metadata": {
                "name": "sso", "namespace": "team", "uid": "u-1", "generation": 2,
                "creationTimestamp": "2026-03-04T12:00:00Z",
                "annotations": {"planspec.io/source": "goal.yaml"},
            },
            "status": {
                "phase": "Executing", "activePlanRef": {"name": "sso-v2"},
                "conditions": [{"type": "Accepted", "status": "True", "reason": "Valid",
                                "lastTransitionTime": "2026-03-04T12:00:00Z"}],
            },
        }))
        .unwrap();
        let resource = Resource {
            metadata: serde_json::from_value(json!({
                "name": "sso", "namespace": "team", "labels": {"planspec.io/team": "web"},
                "annotations": {"note": "hi"},
            }))
            .unwrap(),
            spec: Spec::Goal(
                serde_json::from_value(json!({"description": "Let people\nsign in", "priority": 10}))
                    .unwrap(),
            ),
            spec_digest: Digest::of_bytes(b""),
            source: SourceLocation { path: "goal.yaml".to_owned(), document: 0 },
        };
        let version = Some("aaaa".to_owned());
        LiveObject {
            key: record.key(),
            resource: Some(resource),
            record: Some(record),
            refused: None,
            resource_version: version,
            signature: None,
            declared_by: None,
            summaries: BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declaration_and_record_become_one_resource() {
        let value = samples::goal().to_value();
        let fields: Vec<&String> = value.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["apiVersion", "kind", "metadata", "spec", "status"]);
        let metadata = &value["metadata"];
        assert_eq!(metadata["annotations"], json!({"note": "hi", "planspec.io/source": "goal.yaml"}));
        assert_eq!((&metadata["generation"], &metadata["resourceVersion"]), (&json!(2), &json!("aaaa")));
        assert_eq!(value["status"]["phase"], "Executing");
    }

    #[test]
    fn what_is_not_recorded_yet_has_no_status() {
        let object = LiveObject { record: None, resource_version: None, ..samples::goal() };
        assert!(object.to_value().get("status").is_none());
        assert_eq!(object.phase(), "-");
    }
}
