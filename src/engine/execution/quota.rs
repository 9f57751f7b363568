//! How many attempts are under way in the namespaces that have a limit, according to the records and to what this very pass
//! decided already. A runner that overlooks another's claim loses the race for the branch, and plans again.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::EngineError;
use crate::engine::execution::active::ActiveExecution;
use crate::engine::execution::step::ExecutionStep;
use crate::engine::snapshot::Snapshot;
use crate::model::{ExecutionStatus, Kind, Name, NodeTrait, ResourceKey};
use crate::plan::{Dependency, Draft};

/// A namespace with a limit.
#[derive(Debug, Default)]
pub(crate) struct NamespaceQuota {
    limit: u32,
    /// Attempts of this runner.
    here: u32,
    /// Attempts of other runners, by execution.
    others: BTreeMap<ResourceKey, u32>,
}

impl NamespaceQuota {
    /// How many more may start.
    pub(crate) fn room(&self) -> u32 {
        // Others may be over a limit that was lowered; what is under way is not stopped for it.
        self.limit.saturating_sub(self.others.values().sum::<u32>().saturating_add(self.here))
    }

    /// Whether there is no room, and nothing that ends here will make any.
    pub(crate) fn is_others(&self) -> bool {
        self.room() == 0 && self.here == 0
    }
}

/// The namespaces with a limit in which something could start.
pub(crate) fn crowds(
    snapshot: &Snapshot,
    active: &BTreeMap<ResourceKey, ActiveExecution>,
    steps: &[(ResourceKey, ExecutionStep)],
    runner: &str,
) -> Result<BTreeMap<Name, NamespaceQuota>, EngineError> {
    let mut crowds: BTreeMap<Name, NamespaceQuota> = BTreeMap::new();
    let mut drafts: BTreeMap<&ResourceKey, &ExecutionStatus> = BTreeMap::new();
    for (key, step) in steps {
        let ExecutionStep::Go(step) = step else { continue };
        // Before the record: an end that this step takes up makes room in the same commit.
        drafts.insert(key, &step.draft.status);
        let limit = snapshot.config.limits.of_namespace(key.namespace.as_str());
        // Only where something could start: counting reads the records of all that is active there.
        if let Some(limit) = limit.filter(|_| !step.draft.ready.is_empty()) {
            crowds.entry(key.namespace.clone()).or_default().limit = limit;
        }
    }
    if crowds.is_empty() {
        return Ok(crowds);
    }
    let mut keys: BTreeSet<ResourceKey> = snapshot.index.active_executions()?.into_iter().collect();
    // The index lags behind what this process has published, and that behind what it plans now.
    let newer = snapshot.newer_records().map(|(key, _)| key);
    keys.extend(newer.filter(|key| key.kind == Kind::Execution).cloned());
    keys.extend(active.keys().cloned());
    for key in keys {
        let Some(crowd) = crowds.get_mut(&key.namespace) else { continue };
        let known = drafts.get(&key).copied().or_else(|| active.get(&key).and_then(ActiveExecution::status));
        match known {
            Some(status) => crowd.count(&key, status, runner),
            None => {
                let record = snapshot.record(&key)?;
                if let Some(status) = record.as_ref().and_then(|record| record.execution()) {
                    crowd.count(&key, status, runner);
                }
            }
        }
    }
    Ok(crowds)
}

impl NamespaceQuota {
    fn count(&mut self, key: &ResourceKey, status: &ExecutionStatus, runner: &str) {
        for (_, state) in status.node_statuses.having(NodeTrait::UnderWay) {
            // Ends of our own attempts come as messages to this process; those of others, with a commit that
            // has to be waited for.
            if state.extensions.runner.as_deref() == Some(runner) {
                self.here = self.here.saturating_add(1);
            } else {
                let count = self.others.entry(key.clone()).or_default();
                *count = count.saturating_add(1);
            }
        }
    }
}

/// Leaves what could start until an attempt of another runner has ended.
pub(crate) fn hold_back(key: &ResourceKey, draft: &mut Draft, crowd: &NamespaceQuota) {
    if draft.ready.is_empty() {
        return;
    }
    draft.ready.clear();
    // It is planned again at changes of its own anyway.
    let others = crowd.others.keys().filter(|other| *other != key).cloned();
    draft.on.extend(others.map(Dependency::Resource));
    let message = format!("namespace {} has {} running attempts, its limit", key.namespace, crowd.limit);
    draft.crowded = Some(message);
}
