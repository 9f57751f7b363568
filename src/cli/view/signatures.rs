//! Who signed what is recorded and declared of objects, where `trust` asks for signatures.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::cli::Context;
use crate::cli::error::CliError;
use crate::cli::repo_context::{RepoContext, SelectedCommits};
use crate::config::SignerRole;
use crate::engine::SignedBy;
use crate::git::{Commit, ObjectId, Repo};
use crate::model::ResourceKey;
use crate::record::StatusTree;
use crate::report::object::{LiveObject, RecordSignature};

/// How many commits are searched for the last change of a record.
const SEARCHED: usize = 2000;

/// How many commits are verified: each starts a process, and a list of everything would take minutes.
const VERIFIED: usize = 100;

/// Adds to each object who signed the last change of its record and of its manifest. Costs nothing where nobody has to sign.
pub(crate) fn add(
    objects: &mut [LiveObject],
    tips: &SelectedCommits,
    context: &Context,
) -> Result<(), CliError> {
    let trust = &tips.config.trust;
    let Some(desired) = tips.desired.filter(|_| trust.status.is_some() || trust.desired.is_some()) else {
        return Ok(());
    };
    let branches = RepoContext::open(context)?.branches_beside()?;
    // Not the one that was read before: that lacks the keys which it names by their files.
    let config = branches.config_of(desired)?;
    let repo = branches.repo();
    if let (Some(_), Some(tip)) = (&config.trust.status, tips.status) {
        let keys = objects.iter().map(|object| object.key.clone()).collect();
        // A link in its place is another version too.
        let record =
            |tree: StatusTree, key: &ResourceKey| tree.locate(repo, key).ok().flatten().map(|(_, blob)| blob);
        let at = |commit: &Commit, key: &ResourceKey| {
            record(StatusTree { commit: Some(commit.id), tree: Some(commit.tree) }, key)
        };
        let changed = last_changes(repo, tip, keys, at)?;
        let mut signed = verified(changed, |commit| Ok(branches.signer(&config, desired, commit)?))?;
        for object in &mut *objects {
            object.signature = signed.remove(&object.key);
        }
    }
    if let Some(trust) = &config.trust.desired {
        let path = |object: &LiveObject| {
            let path = object.resource.as_ref().map(|resource| resource.source.path.clone());
            path.filter(|path| !path.is_empty())
        };
        let paths = objects.iter().filter_map(path).collect();
        let at = |commit: &Commit, path: &String| repo.file(commit.tree, path).ok().flatten();
        let changed = last_changes(repo, desired, paths, at)?;
        let signed = verified(changed, |commit| Ok(branches.desired_signer(trust, commit.id)?))?;
        for object in &mut *objects {
            object.declared_by = path(object).and_then(|path| signed.get(&path).cloned());
        }
    }
    Ok(())
}

/// The newest commit on the first-parent line of `tip` that changed each of these things; `at` gives its version.
fn last_changes<T: Ord + Clone>(
    repo: &Repo,
    tip: ObjectId,
    things: BTreeSet<T>,
    at: impl Fn(&Commit, &T) -> Option<ObjectId>,
) -> Result<Vec<(T, Commit)>, CliError> {
    let mut newer = repo.commit(tip)?;
    let mut open: BTreeMap<T, ObjectId> =
        things.into_iter().filter_map(|thing| at(&newer, &thing).map(|blob| (thing, blob))).collect();
    let mut changed = Vec::new();
    for _ in 0..SEARCHED {
        if open.is_empty() {
            break;
        }
        let parent = newer.parents.first().map(|parent| repo.commit(*parent));
        // Where history is cut off nobody can tell which commit it was.
        let Ok(older) = parent.transpose() else { break };
        // What a boundary commit holds may be older than it.
        if older.is_none() && repo.is_shallow() {
            break;
        }
        let stays =
            |thing: &T, blob: &ObjectId| older.as_ref().is_some_and(|older| at(older, thing) == Some(*blob));
        open.retain(|thing, blob| {
            let stays = stays(thing, blob);
            if !stays {
                changed.push((thing.clone(), newer.clone()));
            }
            stays
        });
        let Some(older) = older else { break };
        newer = older;
    }
    Ok(changed)
}

/// Who signed each of these commits.
fn verified<T: Ord>(
    changed: Vec<(T, Commit)>,
    signer: impl Fn(&Commit) -> Result<Result<SignedBy, String>, CliError>,
) -> Result<BTreeMap<T, RecordSignature>, CliError> {
    let mut known: HashMap<ObjectId, RecordSignature> = HashMap::new();
    let mut found = BTreeMap::new();
    for (thing, commit) in changed {
        let signature = match known.get(&commit.id) {
            Some(known) => known.clone(),
            None if known.len() == VERIFIED => continue,
            None => {
                let by = signer(&commit)?.map(|by| (by.name, word(by.role)));
                let signature = RecordSignature { commit: commit.id.to_string(), by };
                known.insert(commit.id, signature.clone());
                signature
            }
        };
        found.insert(thing, signature);
    }
    Ok(found)
}

/// The role as people and programs read it.
pub(crate) fn word(role: SignerRole) -> &'static str {
    match role {
        SignerRole::Runner => "runner",
        SignerRole::Person => "person",
    }
}
