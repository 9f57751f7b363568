//! What planning an Execution may ask about its surroundings, answered from the snapshot.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use jiff::Timestamp;

use super::capabilities::capabilities_of;
use super::exclusion::{Holders, holders as holders_of};
use super::loaded::Loaded;
use super::world::World;
use super::{EngineError, gates};
use crate::graph::NodeIx;
use crate::model::{
    BindingTarget, ExecutionPhase, GoalPhase, NodeReason, ResolvedBinding, ResourceKey, ReviewBinding, Spec,
    Status,
};
use crate::plan::binding::{BindingView, Resolution, Task, resolve};
use crate::plan::capability::Capability;
use crate::plan::{Progress, Resolved, Surroundings, Verdict};
use crate::provider::Registry;
use crate::run::Program;
use crate::run::gate::GateDecision;

/// The snapshot as planning sees it. A failure to read is kept, and ends the pass.
pub(super) struct Around<'a> {
    pub(super) world: &'a World,
    pub(super) registry: &'a Registry,
    failure: RefCell<Option<EngineError>>,
    bindings: RefCell<HashMap<ResourceKey, Option<Binding>>>,
    /// Who holds which mutex; found out when somebody asks.
    holders: RefCell<Option<Holders>>,
}

/// A Binding as it stands during a pass.
#[derive(Clone)]
struct Binding {
    loaded: Rc<Loaded>,
    generation: u64,
}

impl<'a> Around<'a> {
    pub(super) fn new(world: &'a World, registry: &'a Registry) -> Self {
        let (failure, bindings, holders) = Default::default();
        Self { world, registry, failure, bindings, holders }
    }

    /// Who holds a mutex; where nobody does, `key` takes it.
    pub(super) fn holder(&self, key: &ResourceKey, mutex: &str) -> Option<ResourceKey> {
        let mut holders = self.holders.borrow_mut();
        if holders.is_none() {
            *holders = self.keep(holders_of(self.world).map(Some));
        }
        let name = (key.namespace.clone(), mutex.to_owned());
        let holder = holders.as_mut()?.entry(name).or_insert_with(|| key.clone());
        (holder != key).then(|| holder.clone())
    }

    /// The failure, if something could not be read.
    pub(super) fn check(self) -> Result<(), EngineError> {
        self.failure.into_inner().map_or(Ok(()), Err)
    }

    fn keep<T>(&self, result: Result<Option<T>, EngineError>) -> Option<T> {
        result.unwrap_or_else(|error| {
            self.failure.borrow_mut().get_or_insert(error);
            None
        })
    }

    /// A Binding, read once a pass: many nodes ask for the same one.
    fn binding(&self, key: &ResourceKey) -> Option<Binding> {
        if let Some(known) = self.bindings.borrow().get(key) {
            return known.clone();
        }
        let loaded = self.keep(self.world.cached(key));
        let found = loaded.map(|loaded| {
            let generation = self.keep(self.world.generation(key, &loaded.declared).map(Some)).unwrap_or(1);
            Binding { loaded, generation }
        });
        self.bindings.borrow_mut().insert(key.clone(), found.clone());
        found
    }

    fn resolve_now(&self, task: &Task<'_>, binding: Option<&Binding>) -> Resolved {
        let explained =
            resolve(task, |_| match binding.map(|binding| (&binding.loaded.resource.spec, binding)) {
                Some((Spec::Binding(spec), binding)) => {
                    Some(BindingView { spec, generation: binding.generation })
                }
                _ => None,
            });
        match explained.resolution {
            Resolution::Bound { binding, generation, rule, target } => {
                if let Err(why) = usable(self.registry, &target) {
                    return Resolved::Not(NodeReason::ProviderUnavailable, why);
                }
                let resolved = ResolvedBinding {
                    name: format!("{}/{}", binding.namespace, binding.name),
                    generation,
                    rule: u32::try_from(rule).unwrap_or(u32::MAX),
                    provider: target.provider.clone(),
                };
                Resolved::Bound(resolved, target)
            }
            Resolution::Unbound { why } => Resolved::Not(NodeReason::Unbound, why),
            Resolution::Conflict { why } => Resolved::Not(NodeReason::BindingConflict, why),
        }
    }
}

impl Surroundings for Around<'_> {
    fn resolve(&self, program: &Program, node: NodeIx) -> Resolved {
        let Some(entry) = program.node(node) else {
            return Resolved::Not(NodeReason::Unbound, "the node is not in the plan".to_owned());
        };
        let task = Task {
            node: entry,
            plan: &program.plan_key,
            plan_labels: &program.plan_labels,
            execution: &program.spec,
            namespace: &program.key.namespace,
        };
        let binding = crate::plan::binding::binding_for(&task).and_then(|key| self.binding(&key));
        // Planning asks again for every node that is ready but has no slot yet; the answer follows from what is
        // pinned and from the Binding alone.
        let stamp = binding.as_ref().map(|binding| (binding.loaded.declared.blob, binding.generation));
        if let Some(known) = self.world.answers.resolved(&program.key, node, stamp) {
            return known;
        }
        let resolved = self.resolve_now(&task, binding.as_ref());
        self.world.answers.keep_resolved(&program.key, node, stamp, &resolved);
        resolved
    }

    fn gate(&self, gate: &ResourceKey, binding: &ReviewBinding, since: Option<Timestamp>) -> Verdict {
        let Some(decided) = self.keep(gates::decide(self.world, gate, binding, since).map(Some)) else {
            return Verdict::Waiting("the gate cannot be read".to_owned());
        };
        match decided.decision {
            GateDecision::Approved { by } => Verdict::Approved(by),
            GateDecision::Rejected { by, comment: None } => Verdict::Rejected(by),
            GateDecision::Rejected { by, comment: Some(comment) } => {
                Verdict::Rejected(format!("{by}: {comment}"))
            }
            GateDecision::Waiting { approvals, needed } => {
                let name =
                    if gate.namespace.as_str().is_empty() { gate.to_string() } else { gate.name.to_string() };
                Verdict::Waiting(format!("gate `{name}` has {} of {needed} approvals", approvals.len()))
            }
        }
    }

    fn capabilities(&self, program: &Program, node: NodeIx) -> Vec<Capability> {
        self.keep(capabilities_of(self.world, program, node).map(Some)).unwrap_or_default()
    }

    fn looks_at_addresses(&self) -> bool {
        self.registry.external().is_some()
    }

    fn progress(&self, key: &ResourceKey) -> Progress {
        let record = self.keep(self.world.record(key));
        match record.as_ref().map(|record| &record.status) {
            None => Progress::Missing,
            Some(Status::Execution(status)) => match status.phase {
                ExecutionPhase::Succeeded => Progress::Succeeded,
                phase if phase.is_terminal() => Progress::Failed(phase.to_string()),
                phase => Progress::Ongoing(phase.to_string()),
            },
            Some(Status::Goal(status)) => match status.phase {
                GoalPhase::Succeeded => Progress::Succeeded,
                GoalPhase::Failed | GoalPhase::Cancelled => Progress::Failed(format!("{:?}", status.phase)),
                phase => Progress::Ongoing(format!("{phase:?}")),
            },
            Some(_) => Progress::Failed("of a kind that never succeeds".to_owned()),
        }
    }
}

/// Whether a provider is known here, allowed, and takes these settings.
pub(super) fn usable(registry: &Registry, target: &BindingTarget) -> Result<(), String> {
    let provider = registry.find(&target.provider).map_err(|error| error.to_string())?;
    provider.check(&target.provider, &target.config).map_err(|error| error.to_string())
}
