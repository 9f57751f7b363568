//! The files that the attempts of an execution left: artifacts and logs, wherever they are kept.

use std::path::{Path, PathBuf};

use crate::cli::Context;
use crate::cli::error::CliError;
use crate::cli::repo_context::{RepoContext, SelectedCommits};
use crate::config::ArtifactStore;
use crate::engine::{ArtifactSources, folder_of, references};
use crate::model::{Artifact, ArtifactType, ExecutionStatus, NodeId, NodeStatus, ResourceKey, StatusRecord};
use crate::provider::ObjectStore;

/// The most that is read of a log that another machine stored.
const LOG_LIMIT: u64 = 64 << 20;

/// The bucket that holds files of executions, if the configuration names one.
pub(crate) fn bucket(tips: &SelectedCommits, context: &Context) -> Option<ObjectStore> {
    ObjectStore::of(&tips.config, &context.environment.bucket_access())
}

/// The places where the files of one execution may be.
pub(crate) struct ExecutionFiles<'w> {
    sources: ArtifactSources<'w>,
    runs: PathBuf,
    store: ArtifactStore,
    uid: String,
}

/// A file that is listed, with where it is.
pub(crate) struct ListedArtifact<'s> {
    pub(crate) node: NodeId,
    pub(crate) artifact: &'s Artifact,
    /// Whether it can be had here.
    pub(crate) here: bool,
    /// Where it is, or why it is not to be had, in words.
    pub(crate) place: String,
}

impl<'w> ExecutionFiles<'w> {
    /// Those of the execution of a record.
    pub(crate) fn of(
        workspace: &'w RepoContext,
        (tips, bucket): (&SelectedCommits, Option<&'w ObjectStore>),
        record: &StatusRecord,
    ) -> Self {
        let key: ResourceKey = record.key();
        let references = record.execution().map_or_else(Vec::new, |status| references(&key, status));
        let runs = workspace.repo.cache_dir().join("runs");
        let store = tips.config.artifacts.store.clone();
        let place = (&workspace.repo, workspace.remote.as_ref());
        let sources = ArtifactSources::new(&runs, (&store, bucket), references, place, &|| true);
        Self { sources, runs, store, uid: record.metadata.uid.clone() }
    }

    /// The log of an attempt that this machine does not have, as far as another one stored it.
    pub(crate) fn log(
        &self,
        id: &NodeId,
        node: &NodeStatus,
        number: u32,
    ) -> Result<Option<Vec<u8>>, CliError> {
        if number == node.attempt {
            let Some(stored) = &node.extensions.stored else { return Ok(None) };
            return Ok(self.sources.log(&format!("{}/log", stored.path), LOG_LIMIT)?);
        }
        // Of earlier attempts the record has no name, and the names are in the tree.
        let folder = format!("{}/{id}", self.uid);
        let attempts = self.sources.attempts(&folder)?;
        let tokens = attempts.iter().filter_map(|name| {
            let (token, attempt) = name.split_once('.').unwrap_or(("0", name));
            (attempt.parse() == Ok(number)).then_some((token.parse::<u64>().ok()?, name))
        });
        let Some((_, name)) = tokens.max() else { return Ok(None) };
        Ok(self.sources.log(&format!("{folder}/{name}/log"), LOG_LIMIT)?)
    }

    /// What the last attempts at the nodes left, or that at one of them.
    pub(crate) fn artifacts<'s>(
        &self,
        status: &'s ExecutionStatus,
        node: Option<&NodeId>,
    ) -> Vec<ListedArtifact<'s>> {
        let listed = status.artifacts.iter().filter_map(|artifact| {
            let id = NodeId::new(artifact.metadata.get("node")?.as_str()?).ok()?;
            if node.is_some_and(|node| *node != id) {
                return None;
            }
            let state = status.node_statuses.get(&id)?;
            let (here, place) = self.place(artifact, &id, state)?;
            Some(ListedArtifact { node: id, artifact, here, place })
        });
        listed.collect()
    }

    /// Whether an artifact is to be had, and where; nothing of one that a later attempt took the place of.
    fn place(&self, artifact: &Artifact, id: &NodeId, state: &NodeStatus) -> Option<(bool, String)> {
        if artifact.kind == ArtifactType::Url {
            return Some((false, artifact.url.clone()?));
        }
        let path = artifact.path.as_deref()?;
        path.strip_prefix(&format!("{}/artifacts/", folder_of(state, &self.uid, id)))?;
        let stored = state.extensions.stored.as_deref();
        if self.runs.join(path).is_file() {
            return Some((true, "this machine".to_owned()));
        }
        let left_out = stored.and_then(|stored| {
            stored.left_out.iter().find(|left| left.name == artifact.name).map(|left| left.why.clone())
        });
        Some(match (stored, left_out, &self.store) {
            (Some(_), None, ArtifactStore::Directory(shared)) => (true, shared.display().to_string()),
            (Some(_), None, store @ ArtifactStore::Bucket { .. }) => (true, String::from(store.clone())),
            (Some(_), None, ArtifactStore::Git) => (true, "git".to_owned()),
            (Some(_), None, ArtifactStore::None) => (false, "`artifacts.store` is `none` now".to_owned()),
            (_, Some(why), _) => (false, format!("on the machine that made it: {why}")),
            (None, None, _) => (false, "on the machine that made it".to_owned()),
        })
    }

    /// Copies an artifact. Whether it was to be had.
    pub(crate) fn copy(&self, artifact: &Artifact, into: &Path) -> Result<bool, CliError> {
        Ok(self.sources.copy(artifact, into)?)
    }
}
