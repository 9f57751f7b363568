//! A reference from one resource to another.

use serde::{Deserialize, Serialize};

use super::{Kind, Name, ResourceKey};

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
