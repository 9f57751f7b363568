//! Derived Executions: made by a Schedule or by a node of another Execution, recorded on the status branch alone.
//! Their names, and how a record of one is read as a resource. Whether one is genuine is the engine's question.

use jiff::Timestamp;
use serde_json::json;

use super::{
    API_VERSION, Digest, ExecutionSpec, Kind, Metadata, Name, NodeId, OwnerReference, Resource, ResourceKey,
    SourceLocation, Spec, StatusMetadata, StatusRecord, StringMap,
};

/// How many hexadecimal digits of a digest stand in for what is cut off a name that is too long.
const HASH_DIGITS: usize = 8;
/// The longest name (contract: RFC 1123 label).
const LONGEST_NAME: usize = 63;

/// What made a derived Execution, beside its owner.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A time of a Schedule.
    Time(Timestamp),
    /// An attempt of a node of an Execution.
    Node(NodeId, u32),
}

impl Origin {
    /// What follows the owner's name.
    fn suffix(&self) -> String {
        match self {
            // UTC, because local time repeats an hour each autumn, and two runs would want one name.
            Self::Time(at) => at.strftime("%Y%m%d%H%M").to_string(),
            // Node ids may hold underscores, which the name of a resource may not. Only later attempts are numbered, as most
            // nodes have one.
            Self::Node(node, ..=1) => node.as_str().replace('_', "-"),
            Self::Node(node, attempt) => format!("{}-{attempt}", node.as_str().replace('_', "-")),
        }
    }
}

/// A derived Execution, as it stands in its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DerivedExecution {
    /// What made it.
    pub owner: OwnerReference,
    /// Why.
    pub origin: Origin,
    /// What it runs.
    pub spec: ExecutionSpec,
}

impl DerivedExecution {
    /// Annotation: the time of a Schedule for which the Execution was made.
    pub const SCHEDULED_AT: &'static str = "planspec.io/scheduled-at";
    /// Annotation: the node of the owner that the Execution works for.
    pub const FOR_NODE: &'static str = "planspec.io/for-node";
    /// Annotation: which attempt of that node it is.
    pub const FOR_ATTEMPT: &'static str = "planspec.io/for-attempt";

    /// What a record says of a derived Execution; none for one that a manifest declares.
    #[must_use]
    pub fn of(record: &StatusRecord) -> Option<Self> {
        let spec = record.execution()?.extensions.spec.as_deref()?.clone();
        let owner = record.metadata.owner_references.first()?.clone();
        let annotation = |name: &str| record.metadata.annotations.get(name);
        let origin = match annotation(Self::SCHEDULED_AT) {
            Some(at) => Origin::Time(at.parse().ok()?),
            None => {
                let node = NodeId::new(annotation(Self::FOR_NODE)?).ok()?;
                Origin::Node(node, annotation(Self::FOR_ATTEMPT)?.parse().ok()?)
            }
        };
        Some(Self { owner, origin, spec })
    }

    /// The name of what an owner of this name makes for this reason.
    #[must_use]
    pub fn name(owner: &Name, origin: &Origin) -> Name {
        let whole = format!("{owner}-{}", origin.suffix());
        match origin {
            // The second attempt at `load` would else have the name of the first at a node `load-2`, such as an instance. Not
            // the first attempt: those that are recorded keep their names.
            Origin::Node(node, attempt @ 2..) => Self::name_apart(owner, node, *attempt),
            // A name and `-` and what a label may hold is a label, but for its length.
            _ => Name::new(&whole)
                .unwrap_or_else(|_| with_digits(owner, &whole, &Digest::of_value(&json!(whole)))),
        }
    }

    /// The name of what an owner makes for an attempt of a node whose usual name another node has taken: a name holds no
    /// underscores, and `load_all` is told from `load-all` by digits alone. No other node, owner or attempt has it.
    #[must_use]
    fn name_apart(owner: &Name, node: &NodeId, attempt: u32) -> Name {
        let whole = format!("{owner}-{}", Origin::Node(node.clone(), attempt).suffix());
        with_digits(owner, &whole, &Digest::of_value(&json!([owner, node, attempt])))
    }

    /// The keys that the Execution of a node's attempt may have: the usual one, and the one that it gets where another node of the
    /// same Execution has taken that. Which of them it is, is known from the records.
    #[must_use]
    pub fn keys(owner: &ResourceKey, node: &NodeId, attempt: u32) -> [ResourceKey; 2] {
        let usual = Self::name(&owner.name, &Origin::Node(node.clone(), attempt));
        let apart = Self::name_apart(&owner.name, node, attempt);
        [usual, apart].map(|name| ResourceKey::new(Kind::Execution, owner.namespace.clone(), name))
    }

    /// The key of the owner, which is in the namespace of what it owns.
    #[must_use]
    pub fn owner_key(&self, namespace: &Name) -> ResourceKey {
        ResourceKey::new(self.owner.kind, namespace.clone(), self.owner.name.clone())
    }

    /// Annotations for the metadata of its record.
    #[must_use]
    pub fn annotations(&self) -> StringMap {
        match &self.origin {
            Origin::Time(at) => StringMap::from([(Self::SCHEDULED_AT.to_owned(), at.to_string())]),
            Origin::Node(node, attempt) => StringMap::from([
                (Self::FOR_NODE.to_owned(), node.to_string()),
                (Self::FOR_ATTEMPT.to_owned(), attempt.to_string()),
            ]),
        }
    }

    /// The Execution as if a manifest had declared it.
    #[must_use]
    pub fn resource(self, metadata: &StatusMetadata) -> Resource {
        let spec_digest = spec_digest(&self.spec);
        // Not those of the record: whoever can push the status branch could add one that means something, such as that of
        // a mutex.
        let annotations = self.annotations();
        let metadata = Metadata {
            name: metadata.name.clone(),
            namespace: metadata.namespace.clone(),
            labels: StringMap::new(),
            annotations,
            owner_references: metadata.owner_references.clone(),
            finalizers: Vec::new(),
        };
        Resource {
            metadata,
            spec: Spec::Execution(self.spec),
            spec_digest,
            source: SourceLocation::default(),
        }
    }

    /// A reference to an owner that controls what it owns.
    #[must_use]
    pub fn owner_reference(kind: Kind, name: &Name, uid: &str) -> OwnerReference {
        OwnerReference {
            api_version: API_VERSION.to_owned(),
            kind,
            name: name.clone(),
            uid: uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: None,
        }
    }
}

/// The digest of a spec that no manifest holds.
#[must_use]
pub fn spec_digest(spec: &ExecutionSpec) -> Digest {
    Digest::of_value(&serde_json::to_value(spec).unwrap_or_default())
}

/// A name that ends in digits of a digest, and is cut where it is too long: two that begin alike stay apart.
fn with_digits(owner: &Name, whole: &str, digest: &Digest) -> Name {
    let digits: String = digest.to_string().chars().rev().take(HASH_DIGITS).collect();
    let kept: String = whole.chars().take(LONGEST_NAME.saturating_sub(HASH_DIGITS + 1)).collect();
    let name = format!("{}-{digits}", kept.trim_end_matches('-'));
    // Never the fallback: what is left of a name, a hyphen and digits are a label.
    Name::new(&name).unwrap_or_else(|_| owner.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn at(text: &str) -> Origin {
        Origin::Time(text.parse().unwrap())
    }

    #[test]
    fn a_run_is_named_by_the_minute_in_utc() {
        let first = at("2026-10-25T02:30:00+02:00");
        let second = at("2026-10-25T02:30:00+01:00");
        assert_eq!(DerivedExecution::name(&name("nightly"), &first).as_str(), "nightly-202610250030");
        assert_eq!(DerivedExecution::name(&name("nightly"), &second).as_str(), "nightly-202610250130");
        let node = Origin::Node(NodeId::new("load_all").unwrap(), 1);
        assert_eq!(DerivedExecution::name(&name("run-1"), &node).as_str(), "run-1-load-all");
    }

    #[test]
    fn a_later_attempt_never_has_the_name_of_another_node() {
        let of = |owner: &str, node: &str, attempt| {
            DerivedExecution::name(&name(owner), &Origin::Node(NodeId::new(node).unwrap(), attempt))
        };
        let long = "x".repeat(60);
        let mut names = std::collections::BTreeSet::new();
        for (owner, node, attempt) in [
            ("run", "load", 2),
            ("run", "load-2", 1),
            ("run", "load-2", 2),
            ("run", "load_2", 2),
            ("run", "load-2-2", 1),
            ("run", "load", 22),
            ("run-load", "2", 2),
            (&long, "load", 2),
            (&long, "load", 3),
            (&long, "load-2", 1),
        ] {
            let made = of(owner, node, attempt);
            assert!(made.as_str().len() <= LONGEST_NAME, "{made}");
            assert!(names.insert(made.clone()), "{made} is there twice");
        }
        let second = of("run", "load", 2);
        assert!(second.as_str().starts_with("run-load-2-"), "{second}");
        assert_eq!(second, of("run", "load", 2));
        assert_eq!(of("run", "load-2", 1).as_str(), "run-load-2");
    }

    #[test]
    fn a_name_apart_is_that_of_no_other_node() {
        let apart = |node: &str| {
            DerivedExecution::name_apart(&name("run"), &NodeId::new(node).unwrap(), 1).to_string()
        };
        assert!(apart("load_all").starts_with("run-load-all-"), "{}", apart("load_all"));
        assert_ne!(apart("load_all"), apart("load-all"));
        assert_eq!(apart("load_all"), apart("load_all"));
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let owner = name(&"x".repeat(60));
        let one = DerivedExecution::name(&owner, &at("2026-01-01T00:00:00Z"));
        let two = DerivedExecution::name(&owner, &at("2026-01-01T00:01:00Z"));
        assert_ne!(one, two);
        assert_eq!(one.as_str().len(), 63);
        assert!(one.as_str().starts_with("xxx"));
    }
}
