//! What a provider is given for an attempt: the claim with every expression replaced.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::Identity;
use crate::engine::attempt::collect::WorkOrder;
use crate::engine::attempt::files::kept::KeptFiles;
use crate::engine::attempt::files::terms::FileTerms;
use crate::engine::attempt::workspace::Workspaces;
use crate::git::{ObjectId, Signature};
use crate::graph::NodeIx;
use crate::model::{
    BindingTarget, Digest, Duration, ExecutionStatus, Node, NodeId, NodeKind, NodePhase, NodeReason,
    NodeStatus, ResourceKey, StatusRecord, is_work_branch,
};
use crate::plan::{capability, changed_nodes, inputs, provider, settings, unapproved};
use crate::provider::{Attempt, BranchMerger, Brief, OutputContract, UpstreamNode, UpstreamWork};
use crate::record::results_ref;
use crate::run::parameter::hint;
use crate::run::{AttemptName, CompiledPlan};

/// How many hexadecimal digits of a digest are in a work key: services put it into titles and labels that people read.
const WORK_DIGITS: usize = 16;

/// A node that was claimed; the claim is published.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) key: ResourceKey,
    pub(crate) node: usize,
    pub(crate) attempt: u32,
    pub(crate) target: Arc<BindingTarget>,
    pub(crate) compiled: Arc<CompiledPlan>,
    pub(crate) record: Arc<StatusRecord>,
    /// The capabilities of the node, as they stand when it starts.
    pub(crate) capabilities: Vec<capability::Capability>,
    /// Of a delivery: paths that are denied by default, and that the tasks before it may change.
    pub(crate) lifted: Vec<String>,
}

/// Makes what providers are given.
pub(crate) struct AttemptFactory {
    workspaces: Arc<Workspaces>,
    files: Arc<FileTerms>,
    runs_dir: PathBuf,
    /// Whose name and address work is committed under.
    identities: BTreeMap<String, Identity>,
}

impl Claim {
    /// The name of the attempt; none where the node is not in the plan.
    pub(super) fn name(&self) -> Option<AttemptName> {
        let node = self.compiled.ids.get(self.node)?.clone();
        Some(AttemptName { uid: self.record.metadata.uid.clone(), node, id: self.attempt_id() })
    }

    /// The name of the attempt within its node.
    fn attempt_id(&self) -> String {
        // From the record that was published with the claim, not from the newest: that is the name which
        // others read.
        let id = self.compiled.ids.get(self.node);
        let state = id.and_then(|id| self.record.execution()?.node_statuses.get(id));
        state.map(NodeStatus::attempt_id).unwrap_or_default()
    }
}

impl AttemptFactory {
    pub(crate) fn new(
        workspaces: Arc<Workspaces>,
        files: Arc<FileTerms>,
        runs_dir: PathBuf,
        identities: BTreeMap<String, Identity>,
    ) -> Arc<Self> {
        Arc::new(Self { workspaces, files, runs_dir, identities })
    }

    /// The workspaces of this runner.
    pub(crate) fn workspaces(&self) -> &Workspaces {
        &self.workspaces
    }

    /// In whose name work is committed: who the configuration says the provider is, else the provider itself.
    fn author(&self, provider: &str) -> Signature {
        let name = provider.split_once("://").map_or(provider, |(_, name)| name);
        let named = |name: &str| self.identities.get_key_value(name);
        match named(provider).or_else(|| named(name)) {
            Some((name, identity)) => {
                let email = identity.emails.first().cloned();
                Signature { name: name.clone(), email: email.unwrap_or_else(|| no_address(name)) }
            }
            None => Signature { name: provider.to_owned(), email: no_address(name) },
        }
    }

    /// The folder of an attempt, and what keeps the files in it.
    fn files(&self, claim: &Claim, id: &NodeId, uid: &str, status: &ExecutionStatus) -> (PathBuf, KeptFiles) {
        // Below the attempt's name too: the log of a lost runner's attempt is not written over.
        let run_dir = self.runs_dir.join(uid).join(id.as_str()).join(claim.attempt_id());
        let places = (self.runs_dir.as_path(), run_dir.as_path());
        let node = (claim.compiled.as_ref(), claim.node);
        let files = KeptFiles::new((&self.workspaces, &self.files), places, node, (uid, status));
        (run_dir, files)
    }

    /// What its workspace is made for.
    fn order(
        &self,
        (claim, node): (&Claim, &Node),
        base: ObjectId,
        state: Option<&NodeStatus>,
        message: String,
    ) -> WorkOrder {
        let more = state.map(|state| &state.extensions);
        // The fold has dropped what was made on anything else than the base.
        let unfinished = more.and_then(|more| more.unfinished.as_deref());
        WorkOrder {
            base,
            reference: results_ref(&claim.key),
            author: self.author(&claim.target.provider),
            message,
            whose: whose(claim, &node.id),
            is_rework: more.is_some_and(|more| more.rework.is_some()),
            unfinished: unfinished.and_then(|work| work.commit.parse().ok()),
        }
    }

    /// Everything the provider gets, with all expressions replaced.
    pub(crate) fn attempt(&self, claim: &Claim, id: &NodeId) -> Result<Attempt, (NodeReason, String)> {
        // For good: what an expression reads is pinned or recorded, so another attempt comes to the same.
        let broken = |message: String| (NodeReason::ExpressionError, message);
        let Some(status) = claim.record.execution() else {
            return Err(broken("the record is not that of an execution".to_owned()));
        };
        let Some(node) = claim.compiled.node(claim.node) else {
            return Err(broken("the node is not in the plan".to_owned()));
        };
        let inputs = inputs(&claim.compiled, status, claim.node).map_err(broken)?;
        // Checked again at the start, because a Capability may have changed since the plan was validated.
        let inputs = capability::complete_inputs(inputs, &claim.capabilities)
            .map_err(|message| (NodeReason::InputInvalid, message))?;
        // After the inputs, which the settings of a provider may use.
        let target = (claim.node, claim.target.as_ref());
        let config = settings(&claim.compiled, status, target, &inputs).map_err(broken)?;
        let provider = provider(&claim.compiled, status, target, &inputs).map_err(broken)?;
        let uid = &claim.record.metadata.uid;
        let state = status.node_statuses.get(id);
        let start = status.start_commit().unwrap_or_default();
        let base = state.and_then(|state| state.extensions.base.as_deref()).unwrap_or(start);
        let base: ObjectId =
            base.parse().map_err(|_| broken("the commit to work on is malformed".to_owned()))?;
        let idempotency_key = format!("{uid}/{id}/{}", claim.attempt_id());
        let work = work_key(uid, id, state, start);
        let order = self.order((claim, node), base, state, message(claim, node, &idempotency_key, &work));
        // What its owner changed is not this plan's to deliver: a branch that does not hold it does not take the work.
        let merger = self.workspaces.merger(&order, start, &claim.lifted);
        let upstream = Arc::new(upstream_work(claim, status, state, merger));
        // Nobody holds the lease while remote work goes on; the last one is that under which it was begun.
        let lease = &status.extensions.lease;
        let (run_dir, files) = self.files(claim, id, uid, status);
        Ok(Attempt {
            key: claim.key.clone(),
            node: id.clone(),
            attempt: claim.attempt,
            run_id: status.run_id.clone().unwrap_or_else(|| uid.clone()),
            // With the token of the lease in it, two runners never use one key for two pieces of work.
            idempotency_key,
            work,
            fencing_token: lease.as_ref().map_or(status.extensions.last_token, |lease| lease.token),
            provider,
            config,
            inputs,
            declared_outputs: node.outputs.clone(),
            criteria: node.acceptance_criteria.clone(),
            timeout: node.timeout.as_ref().map(Duration::span),
            commit: pinned_commit(status),
            run_dir,
            upstream,
            files: Arc::new(files),
            workspace: self.workspaces.of(order),
            handle: state.and_then(|state| state.extensions.any_handle()).map(str::to_owned),
            // Set where remote work is polled; what is about to start has no age.
            age: std::time::Duration::ZERO,
            output_contract: promise(claim.capabilities.clone()),
            answer: state.and_then(|state| state.extensions.answer.as_ref()).cloned(),
            // From the pinned plan (Invariant 9): an edit of the manifest does not change what is asked for
            // half-way.
            brief: Arc::new(brief(&claim.compiled, node, state)),
        })
    }
}

/// The commit on which the Execution began.
fn pinned_commit(status: &ExecutionStatus) -> String {
    status.extensions.pinned.as_ref().map(|pinned| pinned.commit.clone()).unwrap_or_default()
}

/// What the nodes before a delivery changed.
fn upstream_work(
    claim: &Claim,
    status: &ExecutionStatus,
    state: Option<&NodeStatus>,
    merger: Option<Arc<dyn BranchMerger>>,
) -> UpstreamWork {
    // A delivery is claimed on what it delivers; without a base of its own, nothing before it changed a file.
    let commit = state.and_then(|state| state.extensions.base.clone());
    UpstreamWork {
        merger: merger.filter(|_| commit.is_some()),
        commit,
        branch: state
            .and_then(|state| state.extensions.work_branch.clone())
            .filter(|branch| is_work_branch(&claim.key, branch)),
        nodes: upstream_nodes(&claim.compiled, status, claim.node),
        unapproved: unapproved(&claim.compiled, status, claim.node),
    }
}

/// The nodes before a delivery that changed something or approved it.
fn upstream_nodes(compiled: &CompiledPlan, status: &ExecutionStatus, delivery: NodeIx) -> Vec<UpstreamNode> {
    let state = |ix: NodeIx| compiled.ids.get(ix).and_then(|id| status.node_statuses.get(id));
    let is_approved = |ix: &NodeIx| state(*ix).is_some_and(|state| state.phase == NodePhase::Succeeded);
    let changed = changed_nodes(&compiled.topology, status).map(|(ix, ..)| ix);
    let mut found: Vec<NodeIx> =
        changed.chain(compiled.gates().iter().copied().filter(is_approved)).collect();
    // Asked first: every attempt is told of them, and most have nothing before them that is.
    if found.is_empty() {
        return Vec::new();
    }
    found.sort_unstable();
    found.dedup();
    let upstream = compiled.topology.upstream(delivery);
    let before = found.into_iter().filter(|ix| upstream.get(*ix) == Some(&true));
    let shown = before.filter_map(|ix| {
        let (node, state) = (compiled.node(ix)?, state(ix)?);
        let approved = node.kind == NodeKind::Gate && state.phase == NodePhase::Succeeded;
        let result = state.extensions.result.as_deref().cloned();
        let description = node.description.as_deref().unwrap_or_default();
        let title = node.name.as_deref().or_else(|| description.lines().next()).unwrap_or_default();
        Some(UpstreamNode {
            id: node.id.clone(),
            title: title.to_owned(),
            result,
            criteria: state.extensions.criteria.clone(),
            reworks: state.extensions.rework.as_ref().map_or(0, |rework| rework.count),
            approval: approved.then(|| approval(state)),
        })
    });
    shown.collect()
}

/// Who approved, when, and which commit they were shown.
fn approval(gate: &NodeStatus) -> String {
    let mut said = gate.message.clone();
    if let Some(at) = gate.completion_time {
        said.push_str(&at.strftime(" on %Y-%m-%d at %H:%M UTC").to_string());
    }
    if let Some(base) = &gate.extensions.base {
        said.push_str(&format!(", for commit {base}"));
    }
    said
}

/// A name for all attempts at a node of a plan by one provider, whatever the Execution.
fn whose(claim: &Claim, id: &NodeId) -> String {
    let plan = &claim.compiled.spec.plan_ref;
    short_digest(&json!([claim.key.namespace, plan, id, claim.target.provider]))
}

/// The first digits of a digest.
fn short_digest(of: &Value) -> String {
    let digest = Digest::of_value(of);
    // The name of the algorithm stands in front, and says nothing to a service.
    let hex = digest.as_str().rsplit(':').next().unwrap_or_default();
    hex.chars().take(WORK_DIGITS).collect()
}

/// An address that nobody has.
fn no_address(name: &str) -> String {
    let local: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "-._".contains(*c)).collect();
    format!("{}@planspec.invalid", if local.is_empty() { "task" } else { &local })
}

/// The message of the commit that a node's work becomes: what was asked for, and how to find the attempt that did it.
fn message(claim: &Claim, node: &Node, attempt: &str, work: &str) -> String {
    let description = node.description.as_deref().unwrap_or_default().trim();
    let first = description.lines().next().unwrap_or_default();
    let ResourceKey { namespace, name, .. } = &claim.key;
    let subject = match (&node.name, first) {
        (Some(title), _) => title.clone(),
        (None, "") => match claim.target.provider.strip_prefix("merge://") {
            // As `git merge` says it, with the name by which the work is found.
            Some(branch) => format!("Merge {namespace}/{name} into {branch}"),
            None => format!("Work on {}", node.id),
        },
        (None, first) => first.to_owned(),
    };
    // Control characters would end the subject, or a trailer.
    let plain = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    let body = if description.is_empty() || description == subject { "" } else { description };
    let gap = if body.is_empty() { "" } else { "\n\n" };
    let provider = plain(&claim.target.provider);
    format!(
        "{}{gap}{body}\n\nPlanspec-Execution: {namespace}/{name}\nPlanspec-Node: {}\nPlanspec-Attempt: {attempt}\n\
         Planspec-Provider: {provider}\nPlanspec-Work-Key: {work}\n",
        plain(&subject),
        node.id,
    )
}

/// A name for what is to be done: a digest of the task with its inputs, of the provider with its settings, and of the
/// commit that it works on, so that the same key means the same work. It outlives runners, because what a lost one began may be found
/// by it, and changes with each failure and each `retry`: a service would else answer with the failed work once more.
fn work_key(uid: &str, id: &NodeId, state: Option<&NodeStatus>, commit: &str) -> String {
    let extensions = state.map(|state| &state.extensions);
    let begun_with = extensions.and_then(|extensions| extensions.basis.as_deref());
    let base = extensions.and_then(|extensions| extensions.base.as_deref());
    let all = json!({
        "failures": extensions.map_or(0, |extensions| extensions.failures),
        "reset": extensions.and_then(|extensions| extensions.reset_at),
        "begunWith": begun_with.map(|begun| [&begun.node, &begun.inputs, &begun.target]),
        "commit": base.unwrap_or(commit),
    });
    format!("{uid}/{id}/{}", short_digest(&all))
}

/// What capabilities say to the outputs of a node.
fn promise(capabilities: Vec<capability::Capability>) -> OutputContract {
    let outputs = capabilities.iter().flat_map(|capability| &capability.spec.outputs);
    let hints: Vec<(String, String)> = outputs.map(|output| (output.name.clone(), hint(output))).collect();
    OutputContract::new(hints, move |outputs| capability::check_outputs(outputs, &capabilities))
}

/// What the work of a node is about.
fn brief(compiled: &CompiledPlan, node: &Node, state: Option<&NodeStatus>) -> Brief {
    let rework = state.and_then(|state| state.extensions.rework.as_deref());
    Brief {
        unfinished: state.and_then(|state| state.extensions.unfinished.as_deref()).cloned(),
        requested: rework.map(|rework| rework.request.clone()),
        goal: compiled.goal.as_ref().map(|(_, goal)| goal.clone()),
        plan: compiled.plan.description.clone(),
        plan_context: compiled.plan.context.clone(),
        title: node.name.clone(),
        task: node.description.clone(),
        task_context: node.context.clone(),
        execution_context: compiled.spec.context.clone(),
    }
}
