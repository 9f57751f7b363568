//! What has to be planned again because of what changed: the resource itself, what mentions it or waits for it, and dependents
//! without a reference in either direction, as the goals that a plan or an execution serves, or served.

use std::collections::BTreeSet;

use redb::{ReadableTable as _, WriteTransaction};

use crate::index::lookup::Declaration;
use crate::index::tables::{AWAITS, DECLARED, DERIVED, DERIVED_MENTIONS, MENTIONS, WORK, decode};
use crate::index::{IndexError, Topic};
use crate::model::{Kind, ResourceKey};

/// What an advance found changed.
#[derive(Debug, Default)]
pub(super) struct ChangedResources {
    /// Resources that are declared or recorded differently in a way that may concern whoever mentions them.
    pub(super) touched: BTreeSet<ResourceKey>,
    /// Resources of which only the record changed, and whose record says nothing to whoever mentions them.
    pub(super) recorded: BTreeSet<ResourceKey>,
}

impl ChangedResources {
    /// Notes that the record of a resource changed; `sound` where there is one, and it can be read.
    pub(super) fn note_record(&mut self, key: ResourceKey, sound: bool) {
        // What is recorded of these follows from manifests, and planning reads it for nothing but what waits for it by name. In a
        // first pass over a large repository every Execution would else be planned again when its Goal is recorded after it.
        let follows = matches!(key.kind, Kind::Goal | Kind::Plan | Kind::Binding | Kind::Capability);
        if sound && follows {
            self.recorded.insert(key)
        } else {
            self.touched.insert(key)
        };
    }
}

/// After an update: plans what changed, and what depends on it.
pub(super) fn add_changed(write: &WriteTransaction, changed: &ChangedResources) -> Result<(), IndexError> {
    for key in &changed.touched {
        for table in [DECLARED, DERIVED] {
            let entry: Option<Declaration> = {
                let declared = write.open_table(table)?;
                let found = declared.get(key.to_string().as_str())?;
                found.and_then(|entry| decode(entry.value()).ok())
            };
            if let Some(entry) = entry {
                add_goals(write, key, &entry)?;
            }
        }
    }
    let mentions = write.open_multimap_table(MENTIONS)?;
    let derived = write.open_multimap_table(DERIVED_MENTIONS)?;
    let awaits = write.open_multimap_table(AWAITS)?;
    let mut work = write.open_table(WORK)?;
    for key in &changed.touched {
        work.insert(key.to_string().as_str(), [].as_slice())?;
        let mut topics = vec![Topic::Resource(key.clone()).to_string()];
        // A new Binding may match a node that waits for any; nothing mentions it by name yet.
        if key.kind == Kind::Binding {
            topics.push(Topic::Bindings(key.namespace.clone()).to_string());
        }
        for topic in topics {
            // A mention is permanent, a wait ends with the next plan: a resource can have either without the other.
            for ways in [&mentions, &derived, &awaits] {
                for found in redb::ReadableMultimapTable::get(ways, topic.as_str())? {
                    work.insert(found?.value(), [].as_slice())?;
                }
            }
        }
    }
    for key in changed.recorded.difference(&changed.touched) {
        let text = key.to_string();
        // Somebody else may have written it.
        work.insert(text.as_str(), [].as_slice())?;
        for found in redb::ReadableMultimapTable::get(&awaits, text.as_str())? {
            let found = found?;
            let waiting: Option<ResourceKey> = found.value().parse().ok();
            // An Execution waits for the end of a Goal. Of the others it waits for the manifest.
            if key.kind == Kind::Goal || waiting.is_none_or(|waiting| waiting.kind != Kind::Execution) {
                work.insert(found.value(), [].as_slice())?;
            }
        }
    }
    Ok(())
}

/// Plans what waits for a topic that is no resource.
pub(super) fn add_awaiting(write: &WriteTransaction, topic: &Topic) -> Result<(), IndexError> {
    let awaits = write.open_multimap_table(AWAITS)?;
    let mut work = write.open_table(WORK)?;
    for found in redb::ReadableMultimapTable::get(&awaits, topic.to_string().as_str())? {
        work.insert(found?.value(), [].as_slice())?;
    }
    Ok(())
}

/// Adds the goals that a declaration of `key` concerns. Called with the old and the new one: a goal that lost its plan must
/// notice as well as one that gained it.
pub(super) fn add_goals(
    write: &WriteTransaction,
    key: &ResourceKey,
    entry: &Declaration,
) -> Result<(), IndexError> {
    let mut topics = selectors(key, entry);
    let mut goals: Vec<String> = entry.goal.iter().map(ToString::to_string).collect();
    if key.kind == Kind::Plan {
        // A plan that replaces another one concerns those whom the other one serves.
        let table = write.open_table(DECLARED)?;
        // Topics of other forms do not parse as a key: they have a `?` or end in `bindings`.
        let named = entry.topics.iter().filter_map(|topic| topic.parse::<ResourceKey>().ok());
        for other in named.filter(|other| other.kind == Kind::Plan) {
            let found = table.get(other.to_string().as_str())?;
            let Some(replaced) = found.and_then(|found| decode::<Declaration>(found.value()).ok()) else {
                continue;
            };
            topics.extend(selectors(&other, &replaced));
            goals.extend(replaced.goal.iter().map(ToString::to_string));
        }
    }
    let mentions = write.open_multimap_table(MENTIONS)?;
    for topic in topics {
        for found in redb::ReadableMultimapTable::get(&mentions, topic.as_str())? {
            goals.push(found?.value().to_owned());
        }
    }
    let mut work = write.open_table(WORK)?;
    for goal in goals {
        work.insert(goal.as_str(), [].as_slice())?;
    }
    Ok(())
}

/// The topics of goals that may select a plan.
fn selectors(key: &ResourceKey, entry: &Declaration) -> Vec<String> {
    if key.kind != Kind::Plan {
        return Vec::new();
    }
    let prefix = format!("{}/plans?", key.namespace);
    let labels = entry.topics.iter().filter_map(|topic| topic.strip_prefix(prefix.as_str()));
    let selector = |label: Option<&str>| {
        Topic::GoalSelector(key.namespace.clone(), label.map(ToOwned::to_owned)).to_string()
    };
    // And those that select by no single label, which may mean any plan of the namespace.
    labels.map(|label| selector(Some(label))).chain([selector(None)]).collect()
}
