//! Mutual exclusion between Executions: who holds which mutex, according to the records and to what this very pass
//! decided already. A runner that overlooks another's decision loses the race for the branch, and plans again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::engine::EngineError;
use crate::engine::snapshot::Snapshot;
use crate::index::{Declaration, Topic};
use crate::model::{Kind, MutexHold, Name, ResourceKey};
use crate::plan::{Dependency, Draft};
use crate::run::ExecutionChange;

/// Who holds which mutex, by namespace and name.
pub(crate) type MutexHolders = BTreeMap<(Name, String), ResourceKey>;

/// Who holds what, according to the records.
pub(crate) fn holders(snapshot: &Snapshot) -> Result<MutexHolders, EngineError> {
    let mut keys: BTreeSet<ResourceKey> = snapshot.index.active_executions()?.into_iter().collect();
    // A mutex may have been taken in a commit that the index does not know yet.
    let newer = snapshot.newer_records().map(|(key, _)| key);
    keys.extend(newer.filter(|key| key.kind == Kind::Execution).cloned());
    let mut holders = MutexHolders::new();
    for key in keys {
        let Some(record) = snapshot.record(&key)? else { continue };
        let Some(status) = record.execution().filter(|status| !status.phase.is_terminal()) else { continue };
        if let Some(mutex) = status.extensions.mutex.as_ref().filter(|mutex| mutex.waits_for.is_none()) {
            holders.insert((key.namespace.clone(), mutex.name.clone()), key);
        }
    }
    Ok(holders)
}

/// Holds back what an Execution could start until it has the mutex that its annotation names; takes it when it is free.
/// Once taken it is kept until the end. `holder` says who else has it.
pub(crate) fn exclude(
    key: &ResourceKey,
    declared: Option<&Declaration>,
    holder: impl FnOnce(&str) -> Option<ResourceKey>,
    draft: &mut Draft,
    now: Timestamp,
) {
    let Some(name) = declared.and_then(|declared| mutex_of(declared, &key.namespace)) else { return };
    let known = draft.status.extensions.mutex.clone();
    // What can start nothing takes no mutex: it would hold it while it waits at a gate.
    let idle = draft.ready.is_empty() && draft.children.is_empty();
    if idle || known.as_ref().is_some_and(|mutex| mutex.waits_for.is_none()) {
        return;
    }
    let waits_for = holder(&name);
    let mutex = MutexHold { name, waits_for: waits_for.clone() };
    // Recorded only when it changes: waiting for the same holder makes no commit (Invariant 5).
    if known.as_ref() != Some(&mutex) {
        draft.execution(ExecutionChange::Exclude(mutex), now);
    }
    if let Some(holder) = waits_for {
        draft.ready.clear();
        // Nor does a plan that works for a node: it would run beside the holder.
        draft.children.clear();
        draft.on.push(Dependency::Resource(holder));
    }
}

fn mutex_of(declared: &Declaration, namespace: &Name) -> Option<String> {
    // By the topic that the index keeps for it, so that both read the annotation alike.
    let prefix = Topic::Mutex(namespace.clone(), String::new()).to_string();
    declared.topics.iter().find_map(|topic| topic.strip_prefix(prefix.as_str())).map(ToOwned::to_owned)
}
