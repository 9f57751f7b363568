//! Reading the index: declarations and records by key, what mentions a topic, listings.

use redb::{ReadableTable as _, ReadableTableMetadata as _};
use serde::{Deserialize, Serialize};

use super::tables::{AWAITS, BAD, BROKEN, DECLARED, DERIVED, DERIVED_MENTIONS, MENTIONS, RECORDED, decode};
use super::{Index, IndexError, Topic, topics_of};
use crate::config::Limits;
use crate::diagnostic::Diagnostic;
use crate::git::{ObjectId, Repo};
use crate::manifest;
use crate::model::{
    DerivedExecution, Digest, Kind, Name, Resource, ResourceKey, SourceLocation, Spec, StatusRecord,
};

/// The declaration of a resource that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declaration {
    /// File, document and position.
    pub source: SourceLocation,
    /// The blob that holds it; for a quarantined resource, the last good one.
    pub blob: ObjectId,
    /// The digest of its spec.
    pub spec_digest: Digest,
    /// Why a newer declaration is not in force.
    pub quarantined: Option<String>,
    /// The topics that it mentions, as texts.
    pub topics: Vec<String>,
    /// The goal that it serves, for plans and executions.
    pub goal: Option<ResourceKey>,
    /// How urgent a goal is; 0 for every other kind.
    pub priority: u16,
    /// Its owners.
    pub owners: Vec<ResourceKey>,
    /// Whether it is a derived Execution, which its record declares instead of a file; `blob` then is that record.
    pub derived: bool,
}

impl Declaration {
    /// The declaration of a resource that a blob holds.
    pub(crate) fn new(resource: &Resource, blob: ObjectId) -> Self {
        let home = &resource.metadata.namespace;
        // Kept here so that dependents are found without reading the manifest again.
        let goal = match &resource.spec {
            Spec::Plan(spec) => spec.goal_ref.as_ref(),
            Spec::Execution(spec) => spec.goal_ref.as_ref(),
            _ => None,
        };
        // Asked of every Execution that waits for its turn.
        let priority = if let Spec::Goal(spec) = &resource.spec { spec.priority } else { 0 };
        let owners = resource.metadata.owner_references.iter();
        Self {
            source: resource.source.clone(),
            blob,
            spec_digest: resource.spec_digest.clone(),
            quarantined: None,
            topics: topics_of(resource).iter().map(ToString::to_string).collect(),
            goal: goal.map(|goal| goal.key(Kind::Goal, home)),
            priority,
            owners: owners
                .map(|owner| ResourceKey::new(owner.kind, home.clone(), owner.name.clone()))
                .collect(),
            derived: false,
        }
    }

    /// The declaration that the record of a derived Execution is; none for other records.
    pub(crate) fn of_record(record: &StatusRecord, blob: ObjectId) -> Option<Self> {
        let resource = DerivedExecution::of(record)?.resource(&record.metadata);
        Some(Self { derived: true, ..Self::new(&resource, blob) })
    }
}

/// The record of a resource, in short: enough for listings and for planning its neighbours without reading a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSummary {
    /// The path of the record in the status tree.
    pub path: String,
    /// The blob of the record.
    pub blob: ObjectId,
    /// The uid.
    pub uid: String,
    /// The generation.
    pub generation: u64,
    /// The digest of the spec that was observed.
    pub spec_digest: Option<String>,
    /// The phase, as text.
    pub phase: String,
    /// Whether nothing happens to it any more unless something else changes.
    pub terminal: bool,
    /// The path of its manifest.
    pub source: Option<String>,
    /// When an execution ended, in milliseconds since the epoch.
    pub ended: Option<i64>,
}

impl Index {
    /// The declaration in force.
    ///
    /// # Errors
    /// The store.
    pub fn declared(&self, key: &ResourceKey) -> Result<Option<Declaration>, IndexError> {
        let read = self.store.begin_read()?;
        let key = key.to_string();
        // A file goes before a record: it was merged, and whoever can push the status branch could else hide it.
        for table in [DECLARED, DERIVED] {
            // An entry that cannot be decoded is an error and not "nothing declared": a resource that is taken for gone
            // would be cancelled.
            if let Some(found) = read.open_table(table)?.get(key.as_str())? {
                return decode(found.value()).map(Some);
            }
        }
        Ok(None)
    }

    /// The record, in short.
    ///
    /// # Errors
    /// The store.
    pub fn recorded(&self, key: &ResourceKey) -> Result<Option<RecordSummary>, IndexError> {
        let table = self.store.begin_read()?.open_table(RECORDED)?;
        let found = table.get(key.to_string().as_str())?;
        found.map(|value| decode(value.value())).transpose()
    }

    /// Whether the record cannot be read, so that its last good version counts.
    ///
    /// # Errors
    /// The store.
    pub fn is_broken(&self, key: &ResourceKey) -> Result<bool, IndexError> {
        // A table of its own and no flag in the record: what is broken has no readable record to hold it.
        let table = self.store.begin_read()?.open_table(BROKEN)?;
        Ok(table.get(key.to_string().as_str())?.is_some())
    }

    /// The number of declarations and of records.
    ///
    /// # Errors
    /// The store.
    pub fn counts(&self) -> Result<(u64, u64), IndexError> {
        let read = self.store.begin_read()?;
        Ok((read.open_table(DECLARED)?.len()?, read.open_table(RECORDED)?.len()?))
    }

    /// The resources whose declaration mentions `topic`.
    ///
    /// # Errors
    /// The store.
    pub fn mentions(&self, topic: &Topic) -> Result<Vec<ResourceKey>, IndexError> {
        let read = self.store.begin_read()?;
        let topic = topic.to_string();
        let mut keys = Vec::new();
        for table in [MENTIONS, DERIVED_MENTIONS] {
            for value in read.open_multimap_table(table)?.get(topic.as_str())? {
                // A text that is no key is skipped: only damage could put one here, and the other dependents still have
                // to be found.
                keys.extend(value?.value().parse::<ResourceKey>());
            }
        }
        Ok(keys)
    }

    /// The resources that wait for `topic`.
    ///
    /// # Errors
    /// The store.
    pub fn waiters(&self, topic: &Topic) -> Result<Vec<ResourceKey>, IndexError> {
        let table = self.store.begin_read()?.open_multimap_table(AWAITS)?;
        let mut keys = Vec::new();
        for value in table.get(topic.to_string().as_str())? {
            keys.extend(value?.value().parse::<ResourceKey>());
        }
        Ok(keys)
    }

    /// Every record, in the order of the keys' texts.
    ///
    /// # Errors
    /// The store.
    pub fn records(&self) -> Result<Vec<(ResourceKey, RecordSummary)>, IndexError> {
        let table = self.store.begin_read()?.open_table(RECORDED)?;
        let mut all = Vec::new();
        for entry in table.iter()? {
            let (key, value) = entry?;
            if let Ok(key) = key.value().parse() {
                all.push((key, decode(value.value())?));
            }
        }
        Ok(all)
    }

    /// The declared resources of a kind in a namespace.
    ///
    /// # Errors
    /// The store.
    pub fn declared_in(&self, kind: Kind, namespace: &Name) -> Result<Vec<ResourceKey>, IndexError> {
        // Keys begin with namespace and kind, so a range replaces another table.
        let table = self.store.begin_read()?.open_table(DECLARED)?;
        let prefix = format!("{namespace}/{}/", kind.singular());
        let mut keys = Vec::new();
        for entry in table.range(prefix.as_str()..)? {
            let (key, _) = entry?;
            // Keys are sorted: behind the first one without the prefix there is none with it.
            if !key.value().starts_with(&prefix) {
                break;
            }
            keys.extend(key.value().parse::<ResourceKey>());
        }
        Ok(keys)
    }

    /// What is wrong with the files of the desired tree, one by one, and where they declare what another one declares. They
    /// are read again: the index keeps only which ones they are.
    ///
    /// # Errors
    /// The store.
    pub fn findings(&self, repo: &Repo, limits: &Limits) -> Result<Vec<Diagnostic>, IndexError> {
        let mut all = Vec::new();
        for (path, blob) in self.bad_files()? {
            // A blob that cannot be read was reported when it was read first; the other files still have their
            // findings.
            let Ok(bytes) = repo.blob(blob, manifest::most_bytes(limits)) else { continue };
            let parsed = manifest::parse(&path, &bytes, limits);
            let mut again = Vec::new();
            for resource in &parsed.resources {
                // Asked now and not kept: which of two files is in force may have changed by a change of the other one.
                let declared = self.declared(&resource.key())?;
                if let Some(first) = declared.filter(|declared| declared.source.path != path) {
                    again.push(manifest::duplicate(&resource.key(), &resource.source, &first.source));
                }
            }
            manifest::locate(&mut again, limits, |other| (other == path).then(|| bytes.clone()));
            all.extend(parsed.diagnostics);
            all.extend(again);
        }
        Ok(all)
    }

    /// Files of the desired tree with diagnostics.
    ///
    /// # Errors
    /// The store.
    fn bad_files(&self) -> Result<Vec<(String, ObjectId)>, IndexError> {
        let table = self.store.begin_read()?.open_table(BAD)?;
        let mut all = Vec::new();
        for entry in table.iter()? {
            let (path, value) = entry?;
            all.push((path.value().to_owned(), decode(value.value())?));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::tables::encode;

    #[test]
    fn how_urgent_a_goal_is_is_known_without_its_file() {
        let declared = |kind: &str, spec: &str| {
            let text = format!(
                "apiVersion: planspec.io/v1alpha1\nkind: {kind}\nmetadata: {{name: a, namespace: n}}\nspec: {spec}\n"
            );
            let parsed = manifest::parse("a.yaml", text.as_bytes(), &Limits::default());
            let blob = ObjectId::from_slice(&[1; 20]).unwrap();
            let declared = Declaration::new(parsed.resources.first().unwrap(), blob);
            let stored: Declaration = decode(&encode(&declared).unwrap()).unwrap();
            assert_eq!(stored, declared);
            stored.priority
        };
        assert_eq!(declared("Goal", "{description: x, priority: 70}"), 70);
        assert_eq!(declared("Goal", "{description: x}"), 0);
        assert_eq!(declared("Capability", "{description: x}"), 0);
    }
}
