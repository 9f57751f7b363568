//! Who signed what is recorded of objects, where `trust.status` asks for signatures.

use std::collections::{BTreeMap, HashMap};

use crate::cli::Context;
use crate::cli::error::CliError;
use crate::cli::repo_context::{RepoContext, SelectedCommits};
use crate::config::SignerRole;
use crate::engine::SignedBy;
use crate::git::{Commit, ObjectId};
use crate::model::ResourceKey;
use crate::record::StatusTree;
use crate::report::object::{LiveObject, RecordSignature};

/// How many commits are searched for the last change of a record.
const SEARCHED: usize = 2000;

/// How many commits are verified: each starts a process, and a list of everything would take minutes.
const VERIFIED: usize = 100;

/// Adds to each object who signed the last change of its record. Costs nothing where nobody has to sign.
pub(crate) fn add(
    objects: &mut [LiveObject],
    tips: &SelectedCommits,
    context: &Context,
) -> Result<(), CliError> {
    let (Some(_), Some(tip), Some(desired)) = (&tips.config.trust.status, tips.status, tips.desired) else {
        return Ok(());
    };
    let branches = RepoContext::open(context)?.branches_beside()?;
    let repo = branches.repo();
    let mut open: BTreeMap<ResourceKey, ObjectId> = BTreeMap::new();
    let now = StatusTree::at(repo, Some(tip))?;
    for object in objects.iter() {
        if let Some((_, blob)) = now.locate(repo, &object.key)? {
            open.insert(object.key.clone(), blob);
        }
    }
    let mut changed: Vec<(ResourceKey, Commit)> = Vec::new();
    for commit in repo.log(tip).take(SEARCHED) {
        if open.is_empty() {
            break;
        }
        let commit = commit?;
        let before = match commit.parents.first().map(|parent| repo.commit(*parent)).transpose() {
            Ok(parent) => parent.map(|parent| parent.tree),
            // Where history is cut off nobody can tell which commit it was.
            Err(_) => break,
        };
        let before = StatusTree { commit: commit.parents.first().copied(), tree: before };
        let mut found = Vec::new();
        for (key, blob) in &open {
            // A link in its place is another version too.
            if before.locate(repo, key).ok().flatten().is_none_or(|(_, old)| old != *blob) {
                found.push(key.clone());
            }
        }
        for key in found {
            open.remove(&key);
            changed.push((key, commit.clone()));
        }
    }
    let mut known: HashMap<ObjectId, Result<SignedBy, String>> = HashMap::new();
    let mut signatures: HashMap<ResourceKey, RecordSignature> = HashMap::new();
    for (key, commit) in changed {
        if !known.contains_key(&commit.id) {
            if known.len() == VERIFIED {
                continue;
            }
            known.insert(commit.id, branches.signer(&tips.config, desired, &commit)?);
        }
        let by = known.get(&commit.id).cloned().map(|by| by.map(|by| (by.name, word(by.role))));
        signatures.extend(by.map(|by| (key, RecordSignature { commit: commit.id.to_string(), by })));
    }
    for object in objects {
        object.signature = signatures.remove(&object.key);
    }
    Ok(())
}

/// The role as people and programs read it.
pub(crate) fn word(role: SignerRole) -> &'static str {
    match role {
        SignerRole::Runner => "runner",
        SignerRole::Person => "person",
    }
}
