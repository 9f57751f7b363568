//! The state of Executions, read once: their records, their graphs, and the pull requests that introduced them.

mod introduced;
mod origin;
mod removed;

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

pub(crate) use self::introduced::{merged_pull, merged_pulls};
pub(crate) use self::removed::RemovedExecution;
use crate::cli::Context;
use crate::cli::ci::step;
use crate::cli::desired::{self, Desired};
use crate::cli::error::CliError;
use crate::cli::repo_context::{RepoContext, SelectedCommits};
use crate::cli::view::execution_progress;
use crate::cli::view::pinned_plan::pinned_graph;
use crate::config::{Actions, Config, Limits};
use crate::git::ObjectId;
use crate::manifest;
use crate::model::{ExecutionPhase, FileOwners, GateSpec, Kind, PlanGraph, ResourceKey, Spec, StatusRecord};
use crate::record::{StatusTree, parse_message};
use crate::report::markdown::{COMMENT_LIMIT, PageLinks, RenderedComment};
use crate::report::progress_comment::{ExecutionProgress, PageSubject, render};

/// How many commits of the status branch are read for what has ended lately: more than a runner may push in an hour.
const RECENT_COMMITS: usize = 500;

/// What is known of the Executions of a pass.
pub(crate) struct PassView {
    workspace: RepoContext,
    tips: SelectedCommits,
    status: StatusTree,
    desired: OnceCell<Arc<Desired>>,
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
        subject: PageSubject,
    ) -> Result<RenderedComment, CliError> {
        Ok(self.render(&self.progress(keys)?, subject, None))
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
    pub(crate) fn render(
        &self,
        found: &[ExecutionProgress],
        subject: PageSubject,
        full: Option<&str>,
    ) -> RenderedComment {
        let commit = self.tips.status.map(|commit| commit.to_string());
        let foot = step::foot(full, commit.as_deref());
        render(
            found,
            subject,
            COMMENT_LIMIT,
            PageLinks { full, repository: self.home.as_deref(), foot: &foot },
        )
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
            Some(Spec::Gate(spec)) => {
                spec.asked(owners).into_iter().map(|name| self.as_login(name)).collect()
            }
            _ => Vec::new(),
        })
    }

    /// A reviewer by the login that `identities` give them: the name that people know each other by on the host.
    fn as_login(&self, reviewer: String) -> String {
        let name = reviewer.strip_prefix("user:").unwrap_or(&reviewer).trim();
        let person = self.tips.config.identities.get(name);
        match person.and_then(|person| person.login.as_deref()) {
            Some(login) => format!("login:{login}"),
            None => reviewer,
        }
    }

    /// What is declared, read once.
    fn desired(&self) -> Result<Option<&Arc<Desired>>, CliError> {
        let Some(tip) = self.tips.desired else { return Ok(None) };
        if self.desired.get().is_none() {
            let found = desired::load(&self.workspace.repo, tip, &self.tips.config)?;
            let _ = self.desired.set(Arc::new(found));
        }
        Ok(self.desired.get())
    }

    /// What a commit declares.
    fn desired_at(&self, commit: ObjectId) -> Result<Arc<Desired>, CliError> {
        if self.tips.desired == Some(commit)
            && let Some(known) = self.desired()?
        {
            return Ok(Arc::clone(known));
        }
        Ok(Arc::new(desired::load(&self.workspace.repo, commit, &self.tips.config)?))
    }
}
