//! Dependents without a reference in either direction: the goals that a plan or an execution serves, or served, and that
//! have to be planned again.

use redb::{ReadableTable as _, WriteTransaction};

use crate::index::lookup::Declaration;
use crate::index::tables::{DECLARED, MENTIONS, WORK, decode};
use crate::index::{IndexError, Topic};
use crate::model::{Kind, ResourceKey};

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
