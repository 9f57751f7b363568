//! How the result of a poll is taken into the record of an Execution.

use crate::engine::EngineError;
use crate::engine::message::PollResult;
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::capabilities::checked;
use crate::plan::{Draft, after_poll, poll_applies};
use crate::run::CompiledPlan;

impl PollResult {
    /// Applies it to a draft: nothing when all is as it was, or when the node went on by other means meanwhile.
    pub(crate) fn apply(
        &self,
        snapshot: &Snapshot,
        compiled: &CompiledPlan,
        uid: &str,
        draft: &mut Draft,
    ) -> Result<(), EngineError> {
        // An Execution that was deleted and written again has the same name: the uid tells that the answer is
        // about the old one.
        let Some(report) = self.report.clone().filter(|_| uid == self.uid) else { return Ok(()) };
        let Some(ix) = compiled.topology.find(self.node.as_str()) else { return Ok(()) };
        let Some(node) = compiled.node(ix) else { return Ok(()) };
        let Some(state) = draft.status.node_statuses.get(&self.node) else { return Ok(()) };
        // A person may have completed the node, or answered its question, while the provider was being asked.
        if !poll_applies(node, state, self.attempt, self.handle.as_deref()) {
            return Ok(());
        }
        let report = checked(snapshot, compiled, ix, report)?;
        let key = state.attempt_name(uid, &self.node);
        for change in after_poll(node, state, report, &key, self.at) {
            draft.node(&self.node, change, self.at);
        }
        Ok(())
    }
}
