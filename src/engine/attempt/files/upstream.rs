//! What the nodes before one left in their last attempts, and bringing it to where the node works.

use std::path::Path;
use std::slice;

use super::beneath;
use super::sources::{ArtifactSources, StoredFileError, references};
use super::terms::FileTerms;
use crate::git::{Remote, Repo};
use crate::model::{Artifact, ArtifactType, ExecutionStatus, NodeId, NodeStatus};
use crate::plan::among;
use crate::run::CompiledPlan;

/// An artifact of a node before.
struct UpstreamArtifact {
    node: NodeId,
    artifact: Artifact,
    /// Whether it is stored, so that every machine has it.
    travels: bool,
}

/// What the nodes before one left.
pub(super) struct UpstreamFiles {
    artifacts: Vec<UpstreamArtifact>,
    references: Vec<String>,
}

impl UpstreamFiles {
    /// Of the node at `ix`.
    pub(super) fn of(compiled: &CompiledPlan, status: &ExecutionStatus, uid: &str, ix: usize) -> Self {
        Self {
            artifacts: upstream_artifacts(compiled, status, uid, ix),
            references: references(&compiled.key, status),
        }
    }

    /// Whether there is anything.
    pub(super) fn is_any(&self) -> bool {
        !self.artifacts.is_empty()
    }

    /// Brings what travels and what is needed. What could not be had, in words.
    pub(super) fn bring(
        &self,
        folder: &Path,
        needs: &[String],
        (runs, terms): (&Path, &FileTerms),
        place: (&Repo, Option<&Remote>),
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Option<String>, StoredFileError> {
        let is_needed = among(needs);
        let limit = terms.limits.file_bytes;
        let stores = (&terms.store, terms.bucket.as_ref());
        let sources = ArtifactSources::new(runs, stores, self.references.clone(), place, goes_on);
        let mut missing = Vec::new();
        for UpstreamArtifact { node, artifact, travels } in &self.artifacts {
            let name = format!("{node}/{}", artifact.name);
            // A large one is not copied for every node that comes after: it may take minutes, for nothing.
            let comes = *travels && artifact.size.is_some_and(|size| size <= limit);
            if !comes && !is_needed(&name) {
                continue;
            }
            if !beneath::is_plain(&name) || !sources.copy(artifact, &folder.join(&name))? {
                missing.push(format!("`{name}`"));
            }
        }
        let why = "not to be had here: run this node where they are, or the node that left them again";
        let list = missing.join(", ");
        Ok((!missing.is_empty()).then(|| format!("artifacts of the nodes before it are {why}: {list}")))
    }

    /// The first need that no artifact of a node before it meets.
    pub(super) fn unmet<'n>(&self, needs: &'n [String]) -> Option<&'n String> {
        needs.iter().find(|need| {
            let is_it = among(slice::from_ref(*need));
            let mut names = self.artifacts.iter().map(|left| format!("{}/{}", left.node, left.artifact.name));
            !names.any(|name| is_it(&name))
        })
    }
}

/// What the nodes before one left in their last attempts.
fn upstream_artifacts(
    compiled: &CompiledPlan,
    status: &ExecutionStatus,
    uid: &str,
    ix: usize,
) -> Vec<UpstreamArtifact> {
    // Most Executions have none, and a walk over the graph for each attempt would cost them.
    if status.artifacts.is_empty() {
        return Vec::new();
    }
    let before = compiled.topology.upstream(ix);
    let node_of = |artifact: &Artifact| {
        let id = artifact.metadata.get("node")?.as_str()?;
        let at = compiled.topology.find(id).filter(|at| before.get(*at).copied().unwrap_or_default())?;
        compiled.ids.get(at).cloned()
    };
    let files = status.artifacts.iter().filter(|artifact| artifact.kind == ArtifactType::File);
    let found = files.filter_map(|artifact| {
        let node = node_of(artifact)?;
        let state = status.node_statuses.get(&node)?;
        // Those of earlier attempts are listed as well, and are not what the node gave in the end.
        let folder = format!("{}/artifacts/", folder_of(state, uid, &node));
        artifact.path.as_ref()?.strip_prefix(&folder)?;
        let stored = state.extensions.stored.as_ref();
        let travels = stored.is_some_and(|stored| stored.holds(&artifact.name));
        Some(UpstreamArtifact { node, artifact: artifact.clone(), travels })
    });
    found.collect()
}

/// The folder of the last attempt at a node, below that of all runs.
pub(crate) fn folder_of(state: &NodeStatus, uid: &str, node: &NodeId) -> String {
    match &state.extensions.stored {
        // That of another Execution, where its work was taken over.
        Some(stored) => stored.path.clone(),
        None => state.attempt_name(uid, node),
    }
}
