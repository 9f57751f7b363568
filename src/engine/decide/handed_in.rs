//! Commits that a person hands in as the result of a node: they have to stand on what came before it, and hold nothing that
//! a result may not hold.

use serde_json::Value;

use super::refuse;
use super::target::DecisionTarget;
use crate::engine::EngineError;
use crate::engine::attempt::collect::{changed_file, shown, too_large};
use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::approved_target::{bound_target, effective_settings};
use crate::git::{FileChange, ObjectId, Repo};
use crate::model::{Node, NodeId, NodeResult};
use crate::plan::{ChangedFile, PathRules, is_delivery, refusals, results_before};
use crate::provider::holds_token;
use crate::run::CompiledPlan;

/// How a commit becomes the result of the node at `ix`.
pub(super) fn handed_in(
    snapshot: &Snapshot,
    case: &DecisionTarget,
    (compiled, ix, node): (&CompiledPlan, usize, &Node),
    commit: &str,
) -> Result<NodeResult, EngineError> {
    let repo = &snapshot.repo;
    let commit = parse(commit)?;
    let status = case.status();
    let Some(pinned) = &status.extensions.pinned else { return refuse("nothing is pinned yet") };
    if let Some(target) = bound_target(snapshot, compiled, ix)?.filter(|target| is_delivery(&target.provider))
    {
        return refuse(format!(
            "node `{}` has no work of its own: {} hands over what comes before it; if you have done that yourself, complete it without a commit",
            node.id, target.provider
        ));
    }
    let before = results_before(compiled, status, ix);
    let own_base = status.node_statuses.get(&node.id).and_then(|state| state.extensions.base.as_deref());
    // Of several results that were never merged for the node, a person merges them: nothing else is their common base.
    let base = match (own_base, before.as_slice()) {
        (Some(base), _) => parse(base)?,
        (None, [(_, only)]) => parse(&only.commit)?,
        (None, _) => parse(&pinned.commit)?,
    };
    let accepted = accepted(repo, &before, commit)?;
    // Without its history nobody sees what was done, and what was merged.
    if repo.is_ancestor(base, commit)? != Some(true) {
        let commit = commit.short();
        let base = base.short();
        return refuse(format!(
            "commit {commit} does not stand on {base}, which node `{}` works on",
            node.id
        ));
    }
    let work = repo.work_between(base, commit)?;
    if work.changes.is_empty() {
        return refuse(format!("commit {} changes nothing of {}", commit.short(), base.short()));
    }
    let facts = facts(repo, &work.changes, &accepted)?;
    let limits = &snapshot.config.limits.results;
    if let Some((path, bytes)) = facts.largest.as_ref().filter(|(_, bytes)| *bytes > limits.file_bytes) {
        return refuse(too_large(path, *bytes, limits));
    }
    let files = u64::try_from(work.changes.len()).unwrap_or(u64::MAX);
    if files > limits.files || facts.bytes > limits.bytes {
        let bytes = facts.bytes;
        return refuse(format!(
            "{files} files of {bytes} bytes changed, and `limits.results` of .planspec.yaml allows {} and {}",
            limits.files, limits.bytes
        ));
    }
    let paths: Vec<String> = work.paths.iter().map(|path| shown(path)).collect();
    let rules = OwnedRules::of(snapshot, compiled, ix)?;
    if let Some(message) = refusals(&facts.files, &paths, &rules.as_rules()) {
        return refuse(message);
    }
    let insertions = work.insertions;
    let deletions = work.deletions;
    Ok(NodeResult { commit: commit.to_string(), base: base.to_string(), files, insertions, deletions })
}

/// The trees of the results before, all of which the commit has to contain.
fn accepted(
    repo: &Repo,
    before: &[(&NodeId, &NodeResult)],
    commit: ObjectId,
) -> Result<Vec<ObjectId>, EngineError> {
    let mut accepted = Vec::new();
    for (id, result) in before {
        let earlier = parse(&result.commit)?;
        if repo.is_ancestor(earlier, commit)? != Some(true) {
            let short = earlier.short();
            return refuse(format!(
                "commit {} does not contain the work of `{id}`, which comes before: merge {short} into it",
                commit.short()
            ));
        }
        accepted.push(repo.commit(earlier)?.tree);
    }
    Ok(accepted)
}

fn parse(commit: &str) -> Result<ObjectId, EngineError> {
    commit.parse().or_else(|_| refuse(format!("`{commit}` is no commit")))
}

/// What matters of changed files.
struct WorkFacts {
    files: Vec<ChangedFile>,
    bytes: u64,
    /// The path and the bytes of the largest file.
    largest: Option<(String, u64)>,
}

/// What of the changes is new: files as a result before has them were looked at when that was taken in.
fn facts(repo: &Repo, changes: &[FileChange], accepted: &[ObjectId]) -> Result<WorkFacts, EngineError> {
    let mut facts = WorkFacts { files: Vec::new(), bytes: 0, largest: None };
    for change in changes {
        let path = shown(&change.path);
        let mut is_known = false;
        for tree in accepted {
            let entry = repo.entry(*tree, &path)?.map(|entry| (entry.mode, entry.id));
            is_known |= entry == change.after;
        }
        if is_known {
            continue;
        }
        if let Some((mode, id)) = change.after.filter(|(mode, _)| mode.is_file()) {
            tracing::trace!(path, ?mode, "look at a file that was handed in");
            let bytes = repo.blob_size(id)?;
            facts.bytes = facts.bytes.saturating_add(bytes);
            if facts.largest.as_ref().is_none_or(|(_, largest)| bytes > *largest) {
                facts.largest = Some((path.clone(), bytes));
            }
        }
        facts.files.push(changed_file(change, &|id| repo.blob(id, LARGEST), &holds_token)?);
    }
    Ok(facts)
}

/// The largest file that is looked at; a larger one is refused by every host.
const LARGEST: u64 = 1 << 30;

/// The rules about paths in the settings of the task, as far as they are written out.
#[derive(Default)]
struct OwnedRules {
    allow: Vec<String>,
    deny: Vec<String>,
    forbid: Vec<String>,
}

impl OwnedRules {
    fn of(snapshot: &Snapshot, compiled: &CompiledPlan, ix: usize) -> Result<Self, EngineError> {
        let Some(target) = bound_target(snapshot, compiled, ix)? else { return Ok(Self::default()) };
        let config = effective_settings(&snapshot.config.providers, &target);
        let list = |section: &str, key: &str| -> Result<Vec<String>, EngineError> {
            let Some(value) = config.get(section).and_then(|section| section.get(key)) else {
                return Ok(Vec::new());
            };
            // What it means is known only to an attempt, and guessing would let through what is denied.
            if value.to_string().contains("${{") {
                return refuse(format!(
                    "`config.{section}.{key}` holds an expression, so nobody can hand in commits"
                ));
            }
            let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
            Ok(texts.map(str::to_owned).collect())
        };
        Ok(Self {
            allow: list("paths", "allow")?,
            deny: list("paths", "deny")?,
            forbid: list("protect", "forbid")?,
        })
    }

    fn as_rules(&self) -> PathRules<'_> {
        PathRules { allow: &self.allow, deny: &self.deny, forbid: &self.forbid }
    }
}
