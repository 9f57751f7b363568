//! The state of Executions, read once: their records, their graphs, and the pull requests that introduced them.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::cli::Context;
use crate::cli::ci::host::Host;
use crate::cli::ci::{origin, step};
use crate::cli::desired::{self, Desired};
use crate::cli::error::CliError;
use crate::cli::repo_context::{RepoContext, SelectedCommits};
use crate::cli::view::execution_progress;
use crate::cli::view::pinned_plan::pinned_graph;
use crate::config::{Actions, Config, Limits};
use crate::git::{Commit, ObjectId};
use crate::github::{GitHubError, PullRequest};
use crate::manifest;
use crate::model::{
    DerivedExecution, ExecutionPhase, FileOwners, GateSpec, Kind, PlanGraph, ResourceKey, Spec, StatusRecord,
};
use crate::record::{StatusTree, parse_message};
use crate::report::markdown::{COMMENT_LIMIT, PageLinks, RenderedComment};
use crate::report::progress_comment::{ExecutionProgress, render};

/// How many commits a pull request brings at most, where it is merged without a merge commit.
const NEAR: usize = 250;

/// How many owners an Execution has above it at most, of which each is a node's or a Schedule's.
const MOST_OWNERS: usize = 64;

/// How many commits are searched for the one that changed a manifest last.
const MOST_SEARCHED: usize = 2000;

/// How many commits of the status branch are read for what has ended lately: more than a runner may push in an hour.
const RECENT_COMMITS: usize = 500;

/// What is known of the Executions of a pass.
pub(crate) struct PassView {
    workspace: RepoContext,
    tips: SelectedCommits,
    status: StatusTree,
    desired: OnceCell<Desired>,
    /// The address of the repository on the host.
    home: Option<String>,
}

impl PassView {
    pub(crate) fn open(context: &mut Context) -> Result<Self, CliError> {
        let mut view = Self::nowhere(RepoContext::open(context)?, &context.environment.actions())?;
        let tips = view.workspace.tips(context)?;
        view.move_to(tips)?;
        Ok(view)
    }

    /// Before anything is known.
    pub(crate) fn nowhere(workspace: RepoContext, actions: &Actions) -> Result<Self, CliError> {
        let tips = SelectedCommits { desired: None, status: None, config: Config::default() };
        let status = workspace.status(&tips)?;
        let home = step::repository_address(actions);
        Ok(Self { workspace, tips, status, desired: OnceCell::new(), home })
    }

    /// The same, at other commits.
    pub(crate) fn move_to(&mut self, tips: SelectedCommits) -> Result<(), CliError> {
        self.status = self.workspace.status(&tips)?;
        self.tips = tips;
        self.desired = OnceCell::new();
        Ok(())
    }

    pub(crate) fn workspace(&self) -> &RepoContext {
        &self.workspace
    }

    pub(crate) fn tips(&self) -> &SelectedCommits {
        &self.tips
    }

    /// The record of a resource.
    pub(crate) fn record(&self, key: &ResourceKey) -> Result<Option<StatusRecord>, CliError> {
        Ok(self.status.get(&self.workspace.repo, key)?)
    }

    /// Whether anything of these kinds is recorded.
    pub(crate) fn holds(&self, kinds: &[Kind]) -> Result<bool, CliError> {
        for kind in kinds {
            if !self.status.list(&self.workspace.repo, Some(*kind), None)?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Every Execution that has a record.
    pub(crate) fn executions(&self) -> Result<Vec<ResourceKey>, CliError> {
        let listed = self.status.list(&self.workspace.repo, Some(Kind::Execution), None)?;
        Ok(listed.into_iter().map(|(key, _, _)| key).collect())
    }

    /// The Executions whose end the status branch has recorded since then. From the commits, so that it costs what happened
    /// lately and not what there is.
    pub(crate) fn ended_since(&self, since: Timestamp) -> Result<BTreeSet<ResourceKey>, CliError> {
        let mut ended = BTreeSet::new();
        let Some(tip) = self.tips.status else { return Ok(ended) };
        for commit in self.workspace.repo.log(tip).take(RECENT_COMMITS) {
            let commit = commit?;
            if commit.committer_time < since {
                break;
            }
            let over = parse_message(&commit).into_iter().filter(|one| {
                let phase = one.to.parse::<ExecutionPhase>();
                one.node.is_none() && phase.is_ok_and(ExecutionPhase::is_terminal)
            });
            ended.extend(over.map(|one| one.key).filter(|key| key.kind == Kind::Execution));
        }
        Ok(ended)
    }

    /// The newest commit of the status branch, and when it was made.
    pub(crate) fn recorded_at(&self) -> Result<Option<(ObjectId, Timestamp)>, CliError> {
        let Some(tip) = self.tips.status else { return Ok(None) };
        Ok(Some((tip, self.workspace.repo.commit(tip)?.committer_time)))
    }

    /// The graph that an Execution is pinned to.
    pub(crate) fn graph(&self, key: &ResourceKey) -> Result<Option<PlanGraph>, CliError> {
        let Some(record) = self.record(key)? else { return Ok(None) };
        let Some(execution) = record.execution() else { return Ok(None) };
        pinned_graph(&self.workspace.repo, &self.tips.config, &self.status, key, execution)
    }

    /// The spec of a gate that decides, given its one declaration, if it has one: of several none is in force (Invariant 11), and
    /// then its last valid version decides, as where its manifest is gone.
    pub(crate) fn gate_in_force(
        &self,
        gate: &ResourceKey,
        declared: Option<&Spec>,
    ) -> Result<Option<GateSpec>, CliError> {
        match declared {
            Some(Spec::Gate(spec)) => Ok(Some(spec.clone())),
            _ => self.kept_gate(gate),
        }
    }

    /// The last valid version of a gate, which is pinned beside its record.
    fn kept_gate(&self, gate: &ResourceKey) -> Result<Option<GateSpec>, CliError> {
        // A Gate whose manifest is gone, broken or declared twice is decided by the reviewers that it last
        // had (Invariant 11).
        let Some(blob) = self.status.pinned(&self.workspace.repo, gate)?.manifest else { return Ok(None) };
        // As the engine reads what is pinned: a limit that was lowered afterwards does not count.
        let most = manifest::most_bytes(&self.tips.config.limits);
        let limits = Limits { file_bytes: most, ..self.tips.config.limits.clone() };
        let bytes = self.workspace.repo.blob(blob, most)?;
        let parsed = manifest::parse("pinned.yaml", &bytes, &limits);
        let found = parsed.resources.into_iter().find(|resource| resource.key() == *gate);
        Ok(found.and_then(|resource| match resource.spec {
            Spec::Gate(spec) => Some(spec),
            _ => None,
        }))
    }

    /// The progress of these Executions, as a comment and as a part of the summary.
    pub(crate) fn page(
        &self,
        keys: &BTreeSet<ResourceKey>,
        full: Option<&str>,
    ) -> Result<RenderedComment, CliError> {
        Ok(self.render(&self.progress(keys)?, full))
    }

    /// The progress of these Executions.
    pub(crate) fn progress(&self, keys: &BTreeSet<ResourceKey>) -> Result<Vec<ExecutionProgress>, CliError> {
        let keys: Vec<ResourceKey> = keys.iter().filter(|key| key.kind == Kind::Execution).cloned().collect();
        let mut found = execution_progress::of(&self.workspace, &self.tips.config, &self.status, &keys)?;
        for one in &mut found {
            one.address = self.record_address(&one.key)?;
            for wait in &mut one.waits {
                if let Some(gate) = &wait.gate {
                    let state = wait.node.as_ref().and_then(|node| one.status.node_statuses.get(node));
                    let owners = state.and_then(|state| state.extensions.owners.as_deref());
                    wait.people = self.reviewers(gate, owners)?;
                }
            }
        }
        Ok(found)
    }

    /// Progress as a comment and as a part of the summary.
    pub(crate) fn render(&self, found: &[ExecutionProgress], full: Option<&str>) -> RenderedComment {
        let commit = self.tips.status.map(|commit| commit.to_string());
        let foot = step::foot(full, commit.as_deref());
        render(found, COMMENT_LIMIT, PageLinks { full, repository: self.home.as_deref(), foot: &foot })
    }

    /// Where the host shows the record of a resource.
    fn record_address(&self, key: &ResourceKey) -> Result<Option<String>, CliError> {
        let Some(home) = &self.home else { return Ok(None) };
        let located = self.status.locate(&self.workspace.repo, key)?;
        Ok(located.map(|(path, _)| format!("{home}/blob/{}/{path}", self.tips.config.status_branch)))
    }

    /// The reviewers that a gate names, with the owners of the files that it shows.
    fn reviewers(&self, gate: &ResourceKey, owners: Option<&FileOwners>) -> Result<Vec<String>, CliError> {
        let desired = self.desired()?;
        let found = desired.and_then(|desired| desired.resources.iter().find(|one| one.key() == *gate));
        Ok(match found.map(|resource| &resource.spec) {
            Some(Spec::Gate(spec)) => spec.asked(owners),
            _ => Vec::new(),
        })
    }

    /// The commit of the desired branch that introduced each of these Executions, as far as that is known: else the one at
    /// which it was first seen.
    pub(crate) fn brought(
        &self,
        keys: &BTreeSet<ResourceKey>,
    ) -> Result<BTreeMap<ResourceKey, ObjectId>, CliError> {
        let mut found = self.origins(keys)?;
        for key in keys.iter().filter(|key| key.kind == Kind::Execution) {
            // Where history is cut off, the commit at which it was first seen is the best that is known.
            if !found.contains_key(key)
                && let Some(record) = self.record(key)?
                && let Some(pin) = record.execution().and_then(|status| status.extensions.pinned.as_ref())
                && let Ok(commit) = pin.commit.parse()
            {
                found.insert(key.clone(), commit);
            }
        }
        Ok(found)
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
        let Some(origin) = self.origin_before(&declared, pin)? else {
            return Ok(Err("the commit that introduced it is not found; check out with `fetch-depth: 0`"));
        };
        let repo = &self.workspace.repo;
        if declared.kind == Kind::Schedule {
            let plan =
                record.execution().and_then(|status| status.extensions.pinned.as_ref()).map(|pin| &pin.plan);
            let mut ends = BTreeSet::from([pin, origin]);
            // At the time of a run the newest commit is anybody's: who changed what it runs last counts with whoever began it.
            for key in [Some(&declared), plan].into_iter().flatten() {
                let Some(changed) = self.last_change_before(key, pin)? else {
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

    /// The commit that changed the manifest of a resource last, as seen from this one.
    fn last_change_before(&self, key: &ResourceKey, pin: ObjectId) -> Result<Option<ObjectId>, CliError> {
        let repo = &self.workspace.repo;
        let then = desired::load(repo, pin, &self.tips.config)?;
        let Some(declared) = then.resources.iter().find(|resource| resource.key() == *key) else {
            return Ok(None);
        };
        Ok(repo.last_change(pin, &declared.source.path, MOST_SEARCHED)?)
    }

    /// The commit that introduced a resource, as seen from this one: a manifest that was moved to another file since would seem
    /// to be younger than what runs.
    fn origin_before(&self, key: &ResourceKey, pin: ObjectId) -> Result<Option<ObjectId>, CliError> {
        let repo = &self.workspace.repo;
        let then = match self.tips.desired == Some(pin) {
            true => None,
            false => Some(desired::load(repo, pin, &self.tips.config)?),
        };
        let Some(desired) = then.as_ref().or(self.desired()?) else { return Ok(None) };
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

    /// What is declared, read once.
    fn desired(&self) -> Result<Option<&Desired>, CliError> {
        let Some(tip) = self.tips.desired else { return Ok(None) };
        if self.desired.get().is_none() {
            let found = desired::load(&self.workspace.repo, tip, &self.tips.config)?;
            let _ = self.desired.set(found);
        }
        Ok(self.desired.get())
    }

    /// The commits of the desired branch that a merged pull request can have introduced: those between its base and its
    /// merge. None where they are too far apart to be sure.
    pub(crate) fn between(&self, pull: &PullRequest) -> BTreeSet<ObjectId> {
        let id = |sha: &str| sha.parse::<ObjectId>().ok();
        let (Some(merge), Some(base)) = (pull.merge_commit_sha.as_deref().and_then(id), id(&pull.base.sha))
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
        Err(GitHubError::Refused { status: 422, .. }) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}
