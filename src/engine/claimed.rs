//! Doing in a job of its own what a pass has claimed: the attempt is made as the pass would make it, from the record that it has
//! published, checked in the same way against what was merged. Nothing is published here.

use std::path::PathBuf;
use std::sync::Arc;

use tracing::info;

use super::attempt::collect::ResultTerms;
use super::attempt::factory::{AttemptFactory, Claim};
use super::attempt::files::terms::FileTerms;
use super::attempt::workspace::{WorkPlace, Workspaces};
use super::clock::Clock;
use super::snapshot::Snapshot;
use super::snapshot::lookup::{SnapshotLookup, capabilities_of};
use super::snapshot::pin_check::{PinCheck, check, node_difference};
use super::{Branches, EngineError};
use crate::config::{BucketAccess, Config};
use crate::graph::NodeIx;
use crate::index::Index;
use crate::model::{
    BindingTarget, ExecutionStatus, NodeId, NodeReason, NodeStatus, ResourceKey, StatusRecord,
};
use crate::plan::capability::Capability;
use crate::plan::{PlanLookup as _, ProviderResolution, fingerprint};
use crate::provider::{Attempt, Provider, Registry};
use crate::run::CompiledPlan;

/// How often history is fetched that a pin is checked against, each time more of it.
const FETCHES: usize = 4;

/// Where local work happens.
#[derive(Debug, Clone, Default)]
pub(crate) struct WorkFolders {
    /// A person's own folder, in place of private checkouts.
    pub(crate) here: Option<PathBuf>,
    /// Where the workspaces of all repositories are; beside the other caches of the repository when absent.
    pub(crate) root: Option<PathBuf>,
    /// What there is for the object store that artifacts may be kept in.
    pub(crate) bucket: BucketAccess,
}

impl AttemptFactory {
    /// What makes the attempts of a runner, by the configuration of the desired branch.
    pub(super) fn of_runner(
        branches: &Branches,
        config: &Config,
        folders: &WorkFolders,
        clock: &Arc<dyn Clock>,
    ) -> Arc<Self> {
        let repo = branches.repo();
        let cache = repo.cache_dir();
        let root = folders.root.clone().unwrap_or_else(|| cache.join("work"));
        let trust = &config.trust;
        let terms = ResultTerms {
            limits: config.limits.results.clone(),
            // Where nobody asks for signatures, a key that cannot be used must not cost the delivery.
            sign_merges: trust.desired.is_some() || trust.status.is_some(),
        };
        let remote = branches.remote().cloned();
        let place = WorkPlace { root: &root, shared: folders.here.clone() };
        let workspaces = Workspaces::new(repo.common_dir(), remote, place, terms, Arc::clone(clock));
        let files = FileTerms::of(config, &folders.bucket);
        Self::new(workspaces, files, cache.join("runs"), config.identities.clone())
    }
}

/// What it takes to do claimed work.
pub(crate) struct ClaimedInputs<'a> {
    /// The branches.
    pub(crate) branches: Branches,
    /// The index.
    pub(crate) index: Index,
    /// The providers, made from the configuration of the desired branch.
    pub(crate) registry: Box<dyn Fn(&Config) -> Registry + 'a>,
    /// Where work happens.
    pub(crate) folders: WorkFolders,
    /// The clock.
    pub(crate) clock: Arc<dyn Clock>,
}

/// An attempt that a pass has claimed, with who does it.
pub(crate) struct ClaimedAttempt {
    /// The attempt.
    pub(crate) attempt: Attempt,
    /// Who does it.
    pub(crate) provider: Arc<dyn Provider>,
}

/// The attempt of this name, if it is the current one of its node and is under way. May fetch.
///
/// # Errors
/// [`EngineError::Refused`] for any other attempt, and for one whose Execution is not what was merged; Git.
pub(crate) fn claimed_attempt(
    inputs: ClaimedInputs<'_>,
    execution: &ResourceKey,
    name: &str,
) -> Result<ClaimedAttempt, EngineError> {
    let ClaimedInputs { branches, index, registry, folders, clock } = inputs;
    let tips = branches.tips_in_force()?;
    let providers = registry(&tips.config);
    let factory = AttemptFactory::of_runner(&branches, &tips.config, &folders, &clock);
    let repo = branches.repo().reopen()?;
    let (snapshot, _) = Snapshot::open(repo, index, tips, branches.remote().cloned())?;
    let Some(record) = snapshot.record(execution)? else {
        return refuse(format!("there is no {execution} on the status branch"));
    };
    let Some(status) = record.execution() else { return refuse(format!("{execution} is not an execution")) };
    let (id, state) = current(&record, status, name)?;
    let compiled = merged(&snapshot, execution, &record, status)?;
    let Some(node) = compiled.topology.find(id.as_str()) else {
        return refuse(format!("node `{id}` is not in the pinned plan"));
    };
    let lookup = SnapshotLookup::new(&snapshot, &providers, factory.workspaces());
    let resolved = lookup.resolve(&compiled, node);
    lookup.check()?;
    let target = match resolved {
        ProviderResolution::Bound(_, target) => target,
        ProviderResolution::Not(_, why) | ProviderResolution::Later(why) => return refuse(why),
    };
    let capabilities = capabilities_of(&snapshot, &compiled, node)?;
    is_as_claimed((&compiled, status, node), state, &capabilities, &target)?;
    let claim = Claim {
        key: execution.clone(),
        node,
        attempt: state.attempt,
        target,
        compiled: Arc::clone(&compiled),
        record: Arc::clone(&record),
        capabilities,
        // No delivery is a command.
        lifted: Vec::new(),
    };
    let attempt = factory.attempt(&claim, id).or_else(|(_, message)| refuse(message))?;
    let provider = providers.find(&attempt.provider).or_else(|error| refuse(error.to_string()))?;
    let provider = Arc::clone(provider);
    // Whoever may start the workflow could else have a person asked or a service called from here.
    if !provider.starts_process(&attempt.provider) {
        return refuse(format!("{} is not done by a command", attempt.provider));
    }
    info!(%execution, node = %id, attempt = name, provider = attempt.provider, "do what a pass has claimed");
    Ok(ClaimedAttempt { attempt, provider })
}

/// The node whose current attempt has this name, while that is under way.
fn current<'s>(
    record: &StatusRecord,
    status: &'s ExecutionStatus,
    name: &str,
) -> Result<(&'s NodeId, &'s NodeStatus), EngineError> {
    let uid = &record.metadata.uid;
    let found = status.node_statuses.iter().find(|(id, state)| state.attempt_name(uid, id) == name);
    // Its runner may have recorded by now that it waits for this job.
    let waited_for = |state: &NodeStatus| {
        state.is_remote() && state.extensions.reason == Some(NodeReason::AwaitingProvider)
    };
    match found {
        Some((id, state)) if state.is_under_way() || waited_for(state) => Ok((id, state)),
        Some((id, state)) => {
            refuse(format!("attempt {name} is not under way: node `{id}` is {}", state.phase))
        }
        None => refuse(format!("{name} is no current attempt at a node of {}", record.key())),
    }
}

/// The plan of an Execution, checked against what was merged (Invariant 14).
fn merged(
    snapshot: &Snapshot,
    key: &ResourceKey,
    record: &StatusRecord,
    status: &ExecutionStatus,
) -> Result<Arc<CompiledPlan>, EngineError> {
    let Some(pinned) = &status.extensions.pinned else { return refuse(format!("{key} is not pinned yet")) };
    let mut fetched = 0;
    loop {
        let why = match check(snapshot, key, &record.metadata, status, pinned)? {
            PinCheck::Holds(compiled) => {
                let compiled = compiled.of_status(status).or_else(|error| refuse(error.to_string()))?;
                return match node_difference(&compiled, status) {
                    None => Ok(compiled),
                    Some(why) => refuse(format!("{key} is not what was merged: {why}")),
                };
            }
            PinCheck::Mismatch(why) => return refuse(format!("{key} is not what was merged: {why}")),
            PinCheck::Lost(why) => return refuse(why),
            PinCheck::Unknown(why) => why,
        };
        // In a shallow clone; with each round more of the history is here.
        let wanted = snapshot.merged.take_wanted().filter(|_| fetched < FETCHES);
        let Some((fetch, remote, store)) = wanted else {
            return refuse(format!("nobody can tell here whether {key} is what was merged: {why}"));
        };
        fetch.run(&remote, &snapshot.repo, &store)?;
        snapshot.merged.refresh();
        fetched += 1;
    }
}

/// Refuses work that is not what was claimed, such as after a merge that changed its Binding: a gate may have approved the other.
fn is_as_claimed(
    (compiled, status, node): (&CompiledPlan, &ExecutionStatus, NodeIx),
    state: &NodeStatus,
    capabilities: &[Capability],
    target: &BindingTarget,
) -> Result<(), EngineError> {
    let now = fingerprint(compiled, status, node, capabilities, target);
    let same = match (&state.extensions.basis, &now) {
        (Some(then), Some(now)) => {
            (&then.node, &then.inputs, &then.target) == (&now.node, &now.inputs, &now.target)
        }
        (None, None) => true,
        _ => false,
    };
    if same { Ok(()) } else { refuse("what the attempt is to do has changed since it was claimed") }
}

fn refuse<T>(why: impl Into<String>) -> Result<T, EngineError> {
    Err(EngineError::Refused(why.into()))
}
