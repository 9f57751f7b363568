//! What all Executions keep in Git together: counted by their records, as far as a reference still keeps anything of them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tracing::debug;

use crate::engine::EngineError;
use crate::git::{Remote, Repo};
use crate::model::{ExecutionStatus, ResourceKey};
use crate::record::{ARTIFACT_REFS, StatusTree, execution_of};

/// How many bytes of artifacts and logs are kept in Git, by the uid of the Execution.
#[derive(Debug, Default)]
pub(super) struct TotalKept {
    counted: HashMap<String, u64>,
    /// Those that this runner has stored, with what is counted of them: the record of their attempts comes later.
    own: HashMap<String, (ResourceKey, u64)>,
    /// When it was counted.
    at: Option<Instant>,
}

/// How long a count is good: other machines store as well meanwhile.
const GOOD: Duration = Duration::from_secs(60);

impl TotalKept {
    /// Counted again, as the references and the status branch at `status_ref` say. Asks the remote.
    pub(super) fn again(
        &self,
        repo: &Repo,
        remote: Option<&Remote>,
        status_ref: &str,
    ) -> Result<Self, EngineError> {
        let references = match remote {
            Some(remote) => remote.refs_below(&[ARTIFACT_REFS])?,
            None => repo.refs_below(&[ARTIFACT_REFS])?,
        };
        let mut total = Self { at: Some(Instant::now()), ..Self::default() };
        let local = remote.map(|remote| remote.local_name(status_ref)).transpose()?;
        let status = StatusTree::at(repo, repo.read_ref(local.as_deref().unwrap_or(status_ref))?)?;
        for (name, _) in &references {
            let Some(key) = name.strip_prefix(ARTIFACT_REFS).and_then(execution_of) else { continue };
            // Without a record it is a reference of the past: `gc` removes it, and nobody knows its size without fetching it.
            let Some((uid, head)) = head_of(repo, &status, &key) else { continue };
            total.counted.insert(uid, head.extensions.stored_bytes);
        }
        for (uid, (key, bytes)) in &self.own {
            // Without a reference: it comes with the record of the attempt, or `gc` removed it since the Execution ended.
            let is_open = match head_of(repo, &status, key) {
                Some((found, head)) => found == *uid && !head.phase.is_terminal(),
                None => true,
            };
            if total.counted.contains_key(uid) || is_open {
                total.own.insert(uid.clone(), (key.clone(), *bytes));
            }
        }
        debug!(executions = total.counted.len(), bytes = total.bytes(), "counted what is kept in Git");
        Ok(total)
    }

    /// Whether it was counted a moment ago.
    pub(super) fn is_recent(&self) -> bool {
        self.at.is_some_and(|at| at.elapsed() < GOOD)
    }

    /// Notes that it could not be counted now, so that this is not tried for each attempt.
    pub(super) fn good_for_now(self) -> Self {
        Self { at: Some(Instant::now()), ..self }
    }

    /// All of it.
    pub(super) fn bytes(&self) -> u64 {
        let own = |uid: &String| self.own.get(uid).map_or(0, |(_, bytes)| *bytes);
        let counted = self.counted.iter().map(|(uid, bytes)| (*bytes).max(own(uid)));
        let others = self.own.keys().filter(|uid| !self.counted.contains_key(*uid)).map(own);
        counted.chain(others).fold(0, u64::saturating_add)
    }

    /// Notes that an Execution keeps so many bytes now.
    pub(super) fn note(&mut self, (key, uid): (&ResourceKey, &str), bytes: u64) {
        self.own.insert(uid.to_owned(), (key.clone(), bytes));
    }
}

/// The uid and the head of a record; none where it cannot be read.
fn head_of(repo: &Repo, status: &StatusTree, key: &ResourceKey) -> Option<(String, ExecutionStatus)> {
    let record = status.head(repo, key).ok()??;
    Some((record.metadata.uid.clone(), record.execution()?.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_here_counts_once_with_what_is_recorded() {
        let mut total = TotalKept { counted: HashMap::from([("a".to_owned(), 5)]), ..TotalKept::default() };
        assert_eq!(total.bytes(), 5);
        let key = |name: &str| -> ResourceKey { format!("team/execution/{name}").parse().unwrap() };
        total.note((&key("a"), "a"), 7);
        total.note((&key("b"), "b"), 2);
        assert_eq!(total.bytes(), 9);
        // What others stored since is counted once that is long enough ago.
        assert!(!total.is_recent());
        let old = TotalKept { at: Instant::now().checked_sub(GOOD), ..TotalKept::default() };
        assert!(!old.is_recent() && old.good_for_now().is_recent());
    }
}
