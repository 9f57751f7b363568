//! Which change introduced an Execution: the commit of the desired branch that declares it for the first time, and the merged
//! pull request that this commit belongs to.

use std::collections::{BTreeMap, BTreeSet};

use super::{PassView, origin};
use crate::cli::ci::host::Host;
use crate::cli::desired::Desired;
use crate::cli::error::CliError;
use crate::git::{Commit, ObjectId};
use crate::host::{HostError, PullRequest};
use crate::model::{DerivedExecution, Kind, ResourceKey};

/// How many commits a pull request brings at most, where it is merged without a merge commit.
const NEAR: usize = 250;

/// How many commits are searched for the one that changed a manifest last.
const MOST_SEARCHED: usize = 2000;

/// How many owners an Execution has above it at most, of which each is a node's or a Schedule's.
const MOST_OWNERS: usize = 64;

impl PassView {
    /// The commit of the desired branch that introduced each of these Executions, as far as that is known: else the one at
    /// which it was first seen. What a Schedule or a node made was introduced with that, and not by what was merged last.
    pub(crate) fn brought(
        &self,
        keys: &BTreeSet<ResourceKey>,
    ) -> Result<BTreeMap<ResourceKey, ObjectId>, CliError> {
        let mut found = self.origins(keys)?;
        let mut owners: BTreeMap<ResourceKey, Vec<ResourceKey>> = BTreeMap::new();
        for key in keys.iter().filter(|key| key.kind == Kind::Execution && !found.contains_key(key)) {
            let owner = self.declared_owner(key.clone())?;
            owners.entry(owner).or_default().push(key.clone());
        }
        let declared = self.origins(&owners.keys().cloned().collect())?;
        for (owner, made) in owners {
            if let Some(commit) = declared.get(&owner) {
                found.extend(made.into_iter().map(|key| (key, *commit)));
            // Where history is cut off, the commit at which it was first seen is the best that is known.
            } else if owner.kind == Kind::Execution
                && let Some(record) = self.record(&owner)?
                && let Some(pin) = record.execution().and_then(|status| status.extensions.pinned.as_ref())
                && let Ok(commit) = pin.commit.parse()
            {
                found.extend(made.into_iter().map(|key| (key, commit)));
            }
        }
        Ok(found)
    }

    /// The commit that introduced an Execution, where this one seemed to: a manifest that moved to another file since is no new
    /// one. One that is pinned was declared at the commit that it is pinned to.
    pub(crate) fn before_moves(&self, key: &ResourceKey, found: ObjectId) -> Result<ObjectId, CliError> {
        let Some(record) = self.record(key)? else { return Ok(found) };
        let pin = record.execution().and_then(|status| status.extensions.pinned.as_ref());
        let Some(pin) = pin.and_then(|pin| pin.commit.parse::<ObjectId>().ok()) else { return Ok(found) };
        let repo = &self.workspace.repo;
        if pin == found || repo.commit(pin).is_err() || repo.is_ancestor(pin, found)? != Some(true) {
            return Ok(found);
        }
        Ok(self.origin_before(&self.declared_owner(key.clone())?, pin)?.unwrap_or(pin))
    }

    /// The commit of the desired branch that introduced each of these Executions. Those are left out whose commit lies too
    /// far back, or beyond where history is cut off.
    pub(crate) fn origins(
        &self,
        keys: &BTreeSet<ResourceKey>,
    ) -> Result<BTreeMap<ResourceKey, ObjectId>, CliError> {
        let (Some(tip), Some(desired)) = (self.tips.desired, self.desired()?) else {
            return Ok(BTreeMap::new());
        };
        let mut files: BTreeMap<String, BTreeSet<ResourceKey>> = BTreeMap::new();
        for resource in desired.resources.iter().filter(|resource| keys.contains(&resource.key())) {
            files.entry(resource.source.path.clone()).or_default().insert(resource.key());
        }
        origin::origins(&self.workspace.repo, tip, files, &self.tips.config.limits)
    }

    /// The commits of the desired branch that made an Execution what it is: from the one that introduced it to the one that it is
    /// pinned to. Of what a Schedule started, only these two: everything in between was merged for other reasons. The inner
    /// error says why that is not known.
    pub(crate) fn change_range(
        &self,
        key: &ResourceKey,
        most: usize,
    ) -> Result<Result<Vec<Commit>, &'static str>, CliError> {
        let Some(record) = self.record(key)? else { return Ok(Err("it has no record")) };
        let pin = record.execution().and_then(|status| status.extensions.pinned.as_ref());
        let Some(pin) = pin.and_then(|pin| pin.commit.parse::<ObjectId>().ok()) else {
            return Ok(Err("it is not pinned yet"));
        };
        let declared = self.declared_owner(key.clone())?;
        let then = self.desired_at(pin)?;
        let Some(origin) = self.origin_in(&then, &declared, pin)? else {
            return Ok(Err("the commit that introduced it is not found; check out with `fetch-depth: 0`"));
        };
        let repo = &self.workspace.repo;
        if declared.kind == Kind::Schedule {
            let mut ends = BTreeSet::from([pin, origin]);
            // At the time of a run the newest commit is anybody's: who changed what it runs last counts with whoever began it.
            for key in self.plans_of(key.clone())?.iter().chain([&declared]) {
                let path = then.path_of(key);
                let changed = path.map(|path| repo.last_change(pin, path, MOST_SEARCHED)).transpose()?;
                let Some(changed) = changed.flatten() else {
                    return Ok(Err(
                        "the commit that changed its Schedule or Plan last is not found; check out with `fetch-depth: 0`",
                    ));
                };
                ends.insert(changed);
            }
            return Ok(Ok(ends.into_iter().map(|id| repo.commit(id)).collect::<Result<_, _>>()?));
        }
        let mut range = Vec::new();
        for commit in repo.log(pin).take(most) {
            let commit = commit?;
            let last = commit.id == origin;
            range.push(commit);
            if last {
                return Ok(Ok(range));
            }
        }
        Ok(Err("too many commits lie between the one that introduced it and the one that it is pinned to"))
    }

    /// The commit that introduced a resource, as seen from this one: a manifest that was moved to another file since would seem
    /// to be younger than what runs.
    fn origin_before(&self, key: &ResourceKey, pin: ObjectId) -> Result<Option<ObjectId>, CliError> {
        self.origin_in(&*self.desired_at(pin)?, key, pin)
    }

    /// The same, where what this commit declares is known.
    fn origin_in(
        &self,
        desired: &Desired,
        key: &ResourceKey,
        pin: ObjectId,
    ) -> Result<Option<ObjectId>, CliError> {
        let repo = &self.workspace.repo;
        let declared = desired.resources.iter().filter(|resource| resource.key() == *key);
        let wanted = BTreeSet::from([key.clone()]);
        let files = declared.map(|resource| (resource.source.path.clone(), wanted.clone())).collect();
        let mut origins = origin::origins(repo, pin, files, &self.tips.config.limits)?;
        Ok(origins.remove(key))
    }

    /// What a manifest declares of what made an Execution: itself, unless a Schedule or a node made it.
    fn declared_owner(&self, key: ResourceKey) -> Result<ResourceKey, CliError> {
        let mut found = key;
        // Records may claim to own each other.
        for _ in 0..MOST_OWNERS {
            let derived = self.record(&found)?.and_then(|record| DerivedExecution::of(&record));
            match derived {
                Some(derived) => found = derived.owner_key(&found.namespace),
                None => break,
            }
        }
        Ok(found)
    }

    /// The Plans that an Execution and what made it are pinned to: an outer one decides what an inner one runs with.
    fn plans_of(&self, key: ResourceKey) -> Result<BTreeSet<ResourceKey>, CliError> {
        let mut plans = BTreeSet::new();
        let mut next = Some(key);
        for _ in 0..MOST_OWNERS {
            let Some(key) = next.filter(|key| key.kind == Kind::Execution) else { break };
            let Some(record) = self.record(&key)? else { break };
            let pin = record.execution().and_then(|status| status.extensions.pinned.as_ref());
            plans.extend(pin.map(|pin| pin.plan.clone()));
            next = DerivedExecution::of(&record).map(|derived| derived.owner_key(&key.namespace));
        }
        Ok(plans)
    }

    /// The commits of the desired branch that a merged pull request can have introduced: those between its base and its
    /// merge. None where they are too far apart to be sure.
    pub(crate) fn between(&self, pull: &PullRequest) -> BTreeSet<ObjectId> {
        let id = |sha: &str| sha.parse::<ObjectId>().ok();
        let (Some(merge), Some(base)) = (pull.merge_commit.as_deref().and_then(id), id(&pull.base.sha))
        else {
            return BTreeSet::new();
        };
        let mut found = BTreeSet::new();
        // A squash makes one commit of a change, a rebase one of each of its commits: all lie between the
        // base and the merge.
        for commit in self.workspace.repo.log(merge).take(NEAR).map_while(Result::ok) {
            if commit.id == base {
                return found;
            }
            found.insert(commit.id);
        }
        BTreeSet::new()
    }

    /// The merged pull request that introduced each of these Executions, where there is one.
    pub(crate) fn pulls(
        &self,
        host: &Host,
        keys: &BTreeSet<ResourceKey>,
    ) -> Result<BTreeMap<ResourceKey, PullRequest>, CliError> {
        let mut known: BTreeMap<ObjectId, Option<PullRequest>> = BTreeMap::new();
        let mut pulls = BTreeMap::new();
        for (key, commit) in self.brought(keys)? {
            let commit = self.before_moves(&key, commit)?;
            // The host counts requests, and one merge may bring many Executions.
            let pull = match known.get(&commit) {
                Some(pull) => pull.clone(),
                None => {
                    let pull = merged_pull(host, &commit.to_string())?;
                    known.insert(commit, pull.clone());
                    pull
                }
            };
            pulls.extend(pull.map(|pull| (key, pull)));
        }
        Ok(pulls)
    }
}

/// The merged pull request that introduced a commit.
pub(crate) fn merged_pull(host: &Host, sha: &str) -> Result<Option<PullRequest>, CliError> {
    Ok(merged_pulls(host, sha)?.into_iter().next())
}

/// Every merged pull request that a commit belongs to: one into a branch that another one brought counts with it.
pub(crate) fn merged_pulls(host: &Host, sha: &str) -> Result<Vec<PullRequest>, CliError> {
    let found = host.ask(|github, repo| github.pulls_of(repo, sha));
    match found {
        Ok(pulls) => Ok(pulls.into_iter().filter(|pull| pull.merged_at.is_some()).collect()),
        // A commit that was never pushed to the host.
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        // The host answers 422 for the id of a commit that it does not have.
        Err(HostError::Refused { status: 422, .. }) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}
