//! The seven resource kinds, the key that identifies a resource, and references between resources.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Name, NodeId};

/// The API group; a YAML document whose `apiVersion` starts with it and a slash is a manifest.
pub const API_GROUP: &str = "planspec.io";

/// The one API version that is understood.
pub const API_VERSION: &str = "planspec.io/v1alpha1";

/// A resource kind.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
pub enum Kind {
    /// What should become true.
    Goal,
    /// How: a graph of nodes.
    Plan,
    /// What a provider can do.
    Capability,
    /// Which provider does it.
    Binding,
    /// Who must agree.
    Gate,
    /// Run this plan now.
    Execution,
    /// Run this plan again and again, by the clock.
    Schedule,
}

/// A word that names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind `{0}`; the kinds are goal, plan, capability, binding, gate, execution, schedule")]
pub struct UnknownKind(pub String);

impl Kind {
    /// Every kind, in the order in which listings show them.
    pub const ALL: [Self; 7] = [
        Self::Goal,
        Self::Plan,
        Self::Capability,
        Self::Binding,
        Self::Gate,
        Self::Execution,
        Self::Schedule,
    ];

    /// The name as written in a manifest: `Goal`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The lower-case singular, as in `goal/NAME`.
    #[must_use]
    pub fn singular(self) -> &'static str {
        match self {
            Self::Goal => "goal",
            Self::Plan => "plan",
            Self::Capability => "capability",
            Self::Binding => "binding",
            Self::Gate => "gate",
            Self::Execution => "execution",
            Self::Schedule => "schedule",
        }
    }

    /// The lower-case plural, as in the paths of the status branch.
    #[must_use]
    pub fn plural(self) -> &'static str {
        match self {
            Self::Goal => "goals",
            Self::Plan => "plans",
            Self::Capability => "capabilities",
            Self::Binding => "bindings",
            Self::Gate => "gates",
            Self::Execution => "executions",
            Self::Schedule => "schedules",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad`, so that a width in a table's format counts.
        f.pad(self.as_str())
    }
}

impl Kind {
    /// The abbreviation that command lines take, as `kubectl` has some for its kinds.
    #[must_use]
    pub fn short(self) -> &'static str {
        match self {
            Self::Goal => "go",
            Self::Plan => "pl",
            Self::Capability => "cap",
            Self::Binding => "bi",
            Self::Gate => "ga",
            Self::Execution => "ex",
            Self::Schedule => "sched",
        }
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    /// Accepts `goal`, `goals`, `Goal` and `go`, in any case.
    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        // As `kubectl` reads kinds. What is written to branches and manifests is compared exactly in its own place.
        let lower = text.to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|kind| [kind.singular(), kind.plural(), kind.short()].contains(&lower.as_str()))
            .ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// What identifies a resource: namespace, kind and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResourceKey {
    /// The namespace.
    pub namespace: Name,
    /// The kind.
    pub kind: Kind,
    /// The name, unique within namespace and kind.
    pub name: Name,
}

impl ResourceKey {
    /// Puts a key together.
    #[must_use]
    pub fn new(kind: Kind, namespace: Name, name: Name) -> Self {
        Self { namespace, kind, name }
    }
}

impl fmt::Display for ResourceKey {
    /// `team-platform/goal/enable-google-sso`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.kind.singular(), self.name)
    }
}

/// A text that is not a resource key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not NAMESPACE/KIND/NAME")]
pub struct NotAKey(pub String);

impl FromStr for ResourceKey {
    type Err = NotAKey;

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<Self, NotAKey> {
        // Three parts at most: a further slash ends up in the name, which refuses it.
        let mut parts = text.splitn(3, '/');
        let key = (|| {
            let namespace = Name::new(parts.next()?).ok()?;
            let kind = parts.next()?.parse().ok()?;
            let name = Name::new(parts.next()?).ok()?;
            Some(Self { namespace, kind, name })
        })();
        key.ok_or_else(|| NotAKey(text.to_owned()))
    }
}

/// Names a resource; the kind follows from the field that holds the reference.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reference {
    /// The name of the resource.
    pub name: Name,
    /// Its namespace; the referrer's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Name>,
    /// Its uid, when the very same incarnation is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

impl Reference {
    /// A reference by name alone.
    #[must_use]
    pub fn to(name: Name) -> Self {
        Self { name, namespace: None, uid: None }
    }

    /// The key that this reference means when it stands in a resource of namespace `home`.
    #[must_use]
    pub fn key(&self, kind: Kind, home: &Name) -> ResourceKey {
        // `uid` does not count: a reference means whatever has the name now, and manifests in Git can hardly know a
        // uid.
        let namespace = self.namespace.as_ref().unwrap_or(home);
        ResourceKey::new(kind, namespace.clone(), self.name.clone())
    }
}

/// How the branches begin that show people work, without `refs/heads/`.
pub const WORK_BRANCHES: &str = "planspec/work/";

/// The branch, without `refs/heads/`, that shows people what a node asks them about.
#[must_use]
pub fn work_branch(execution: &ResourceKey, node: &NodeId) -> String {
    format!("{WORK_BRANCHES}{}/{}/{node}", execution.namespace, execution.name)
}

/// Whether a branch, without `refs/heads/`, is one that shows people work of this Execution. Its name stands in the record, which
/// anybody who can push the status branch may have written: no other branch is moved or offered for it (Invariant 14).
#[must_use]
pub fn is_work_branch(execution: &ResourceKey, branch: &str) -> bool {
    let below = format!("{WORK_BRANCHES}{}/{}/", execution.namespace, execution.name);
    branch.strip_prefix(&below).is_some_and(|node| NodeId::new(node).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_is_written() {
        let text = "team-platform/goal/enable-google-sso";
        assert_eq!(text.parse::<ResourceKey>().map(|key| key.to_string()), Ok(text.to_owned()));
        for bad in ["", "a", "a/goal", "a/pod/b", "a/goal/B", "a/goal/b/c"] {
            assert!(bad.parse::<ResourceKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn kinds_are_read_in_every_usual_form() {
        for kind in Kind::ALL {
            for form in
                [kind.as_str(), kind.singular(), kind.plural(), kind.short(), &kind.short().to_uppercase()]
            {
                assert_eq!(form.parse(), Ok(kind));
            }
        }
        assert!("pod".parse::<Kind>().is_err());
    }

    #[test]
    fn no_branch_but_those_of_the_execution_shows_its_work() {
        let key: ResourceKey = "team-a/execution/run-1".parse().unwrap();
        let node = NodeId::new("look").unwrap();
        assert!(is_work_branch(&key, &work_branch(&key, &node)));
        for other in [
            "main",
            "planspec/work/team-a/run-1",
            "planspec/work/team-a/run-2/look",
            "planspec/work/team-a/run-1/../x",
        ] {
            assert!(!is_work_branch(&key, other), "{other}");
        }
    }
}
