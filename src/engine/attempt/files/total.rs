//! What all Executions keep in Git together: counted by their records, as far as a reference still keeps anything of them.

use std::collections::HashMap;

use tracing::debug;

use crate::engine::EngineError;
use crate::git::{Remote, Repo};
use crate::model::{Kind, Name, ResourceKey};
use crate::record::{ARTIFACT_REFS, MAX_RECORD_BYTES, StatusTree, parse_record};

/// How many bytes of artifacts and logs are kept in Git, by the uid of the Execution.
#[derive(Debug, Default)]
pub(super) struct TotalKept {
    counted: HashMap<String, u64>,
    /// Those that this runner has stored since, with what is counted of them: the record of their attempts comes later.
    own: HashMap<String, u64>,
}

impl TotalKept {
    /// What others keep, as the references and the status branch at `status_ref` say. Asks the remote.
    pub(super) fn count(repo: &Repo, remote: Option<&Remote>, status_ref: &str) -> Result<Self, EngineError> {
        let references = match remote {
            Some(remote) => remote.refs_below(&[ARTIFACT_REFS])?,
            None => repo.refs_below(&[ARTIFACT_REFS])?,
        };
        let mut total = Self::default();
        if references.is_empty() {
            return Ok(total);
        }
        let local = remote.map(|remote| remote.local_name(status_ref)).transpose()?;
        let status = StatusTree::at(repo, repo.read_ref(local.as_deref().unwrap_or(status_ref))?)?;
        for (name, _) in &references {
            let Some(key) = execution_of(name) else { continue };
            // Without a record it is a reference of the past: `gc` removes it, and nobody knows its size without fetching it.
            let Some((_, blob)) = status.locate(repo, &key)? else { continue };
            let Ok(bytes) = repo.blob(blob, MAX_RECORD_BYTES) else { continue };
            let Ok(file) = parse_record(&bytes) else { continue };
            let Some(head) = file.record.execution() else { continue };
            total.counted.insert(file.record.metadata.uid.clone(), head.extensions.stored_bytes);
        }
        debug!(executions = total.counted.len(), bytes = total.bytes(), "counted what is kept in Git");
        Ok(total)
    }

    /// All of it.
    pub(super) fn bytes(&self) -> u64 {
        let own = |uid: &String| self.own.get(uid).copied().unwrap_or_default();
        let counted = self.counted.iter().map(|(uid, bytes)| (*bytes).max(own(uid)));
        let others =
            self.own.iter().filter(|(uid, _)| !self.counted.contains_key(*uid)).map(|(_, bytes)| *bytes);
        counted.chain(others).fold(0, u64::saturating_add)
    }

    /// Notes that an Execution keeps so many bytes now.
    pub(super) fn note(&mut self, uid: &str, bytes: u64) {
        self.own.insert(uid.to_owned(), bytes);
    }
}

/// The Execution whose files a reference keeps.
fn execution_of(reference: &str) -> Option<ResourceKey> {
    let (namespace, name) = reference.strip_prefix(ARTIFACT_REFS)?.split_once('/')?;
    Some(ResourceKey::new(Kind::Execution, Name::new(namespace).ok()?, Name::new(name).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_here_counts_once_with_what_is_recorded() {
        let mut total = TotalKept { counted: HashMap::from([("a".to_owned(), 5)]), own: HashMap::new() };
        assert_eq!(total.bytes(), 5);
        total.note("a", 7);
        total.note("b", 2);
        assert_eq!(total.bytes(), 9);
    }
}
