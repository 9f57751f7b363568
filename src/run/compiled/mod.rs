//! The compiled plan of an Execution: its pinned plan with the graph checked and every expression compiled, once.

mod sources;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

pub(crate) use self::sources::PlanSources;
use super::expression::{
    Expression, ExpressionError, InstanceScope, Scope, Template, TemplateError, describe,
};
use super::{parameter, reads};
use crate::graph::{Expansion, GraphError, ItemList, NodeInstance, NodeIx, Topology, expand};
use crate::model::{
    Digest, ExecutionSpec, ExecutionStatus, FROM_EXECUTION, GoalSpec, INDEX, JsonMap, Node, NodeId, NodeKind,
    NodePhase, PlanGraph, PlanSpec, ResourceKey, StringMap,
};

/// What an Execution runs. Derived from the pinned manifests alone, so it may be dropped and made again.
#[derive(Debug)]
pub(crate) struct CompiledPlan {
    /// The execution.
    pub key: ResourceKey,
    /// Its spec.
    pub spec: ExecutionSpec,
    /// The plan.
    pub plan_key: ResourceKey,
    /// The plan's labels, which binding rules may select.
    pub plan_labels: StringMap,
    /// The plan's spec; its graph is the one that is run, with the instances of repeated nodes.
    pub plan: PlanSpec,
    /// Which nodes of the graph are instances.
    pub expansion: Expansion,
    /// The digest of the graph as the plan declares it, which approvals are bound to.
    pub digest: Digest,
    /// The goal, when the execution names one that exists.
    pub goal: Option<(ResourceKey, GoalSpec)>,
    /// The earlier execution whose work it may take over, as its manifest names it.
    pub from: Option<String>,
    /// The graph.
    pub topology: Topology,
    /// The ids of the nodes, by index.
    pub ids: Arc<[NodeId]>,
    // By the index of the node, as in the topology: each pass asks for nearly all of them.
    when: Vec<Option<Arc<Expression>>>,
    inputs: Vec<Arc<Template>>,
    outputs: Template,
    reads: Vec<Vec<NodeIx>>,
    gates: Vec<NodeIx>,
    gates_before: Vec<Arc<[NodeIx]>>,
    /// What it was made of, where a list that becomes known makes another one of it.
    sources: Option<Box<PlanSources>>,
    /// What the execution gives, and the defaults of the plan.
    parameters: JsonMap,
    // Made once, as nothing of it changes while the Execution runs (Invariant 9); every condition reads them.
    described: ScopeValues,
}

/// The goal, the plan and the execution as expressions see them.
#[derive(Debug)]
struct ScopeValues {
    goal: Value,
    plan: Value,
    execution: Value,
}

/// Why pinned manifests make no compiled plan.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum CompileError {
    /// The graph is broken.
    #[error("the graph is invalid: {0}")]
    Graph(GraphError),
    /// The execution gives other parameters than the plan declares.
    #[error("{0}")]
    Parameters(String),
    /// A record holds a list of items that its plan does not allow.
    #[error("the record has {count} instances of node `{node}`, which the pinned Plan does not allow")]
    Instances {
        /// The node.
        node: NodeId,
        /// How many items the record has.
        count: usize,
    },
    /// An expression does not compile.
    #[error("node `{node}`: {source}")]
    Expression {
        /// The node.
        node: NodeId,
        /// Why.
        source: ExpressionError,
    },
    /// An expression within a node's inputs does not compile.
    #[error("node `{node}`: inputs: {}", .errors.first().map(ToString::to_string).unwrap_or_default())]
    Template {
        /// The node.
        node: NodeId,
        /// Why.
        errors: Vec<TemplateError>,
    },
    /// An expression within the outputs of the plan does not compile.
    #[error("outputs: {}", .0.first().map(ToString::to_string).unwrap_or_default())]
    Outputs(Vec<TemplateError>),
}

impl CompiledPlan {
    /// Checks the graph and compiles the expressions. No list that is computed is known yet.
    ///
    /// # Errors
    /// The first thing that is wrong; `validate` reports them all.
    pub(crate) fn build(sources: PlanSources) -> Result<Self, CompileError> {
        Self::with_lists(sources, |_| None)
    }

    /// The same plan with the instances that a status records.
    ///
    /// # Errors
    /// The status records what the plan does not allow.
    pub(crate) fn of_status(self: &Arc<Self>, status: &ExecutionStatus) -> Result<Arc<Self>, CompileError> {
        let list = |id: &NodeId| status.node_statuses.get(id)?.extensions.instances.clone();
        match &self.sources {
            // Asked in every pass, and mostly nothing is new.
            Some(sources) if !self.expansion.is_of(list) => {
                Self::with_lists(PlanSources::clone(sources), list).map(Arc::new)
            }
            _ => Ok(Arc::clone(self)),
        }
    }

    fn with_lists(
        sources: PlanSources,
        list: impl Fn(&NodeId) -> Option<ItemList>,
    ) -> Result<Self, CompileError> {
        bounded(&sources.plan.graph, &list)?;
        let expanded = expand(&sources.plan.graph, list).map_err(CompileError::Graph)?;
        let kept = expanded.is_some().then(|| Box::new(sources.clone()));
        let PlanSources { key, mut spec, plan_key, plan_labels, mut plan, goal, annotations } = sources;
        let digest = plan.digest();
        let expansion = match expanded {
            Some(expanded) => {
                plan.graph = expanded.graph;
                expanded.expansion
            }
            None => Expansion::default(),
        };
        bind_instances(&mut spec, &plan.graph, &expansion);
        let from = annotations.get(FROM_EXECUTION).cloned();
        let topology = Topology::build(&plan.graph).map_err(|errors| {
            let first = errors.into_iter().next();
            // There is at least one error, but the type does not say so.
            CompileError::Graph(first.unwrap_or(GraphError::Cycle { path: Vec::new() }))
        })?;
        // Before anything runs: a node that fails for the lack of a parameter would leave half of the work done.
        let parameters = parameter::complete(&plan.parameters, &spec.parameters);
        let parameters = parameters.map_err(CompileError::Parameters)?;
        let outputs = Template::compile_map(&plan.outputs).map_err(CompileError::Outputs)?;
        let ids = plan.graph.nodes.iter().map(|node| node.id.clone()).collect();
        let Compiled { when, inputs } = compile(&plan.graph, &expansion)?;
        let reads = all_reads(&plan.graph, &topology, &expansion, (&when, &inputs));
        let is_gate = |ix: NodeIx| plan.graph.nodes.get(ix).is_some_and(|node| node.kind == NodeKind::Gate);
        let gates = (0..plan.graph.nodes.len()).filter(|ix| is_gate(*ix)).collect();
        let gates_before = topology.nearest_before(is_gate);
        let described = ScopeValues {
            goal: goal.as_ref().map_or(Value::Null, |(key, spec)| describe::goal(key, spec)),
            plan: describe::plan(&plan_key, &plan_labels, &plan),
            execution: describe::execution(&key, &parameters),
        };
        Ok(Self {
            key,
            spec,
            plan_key,
            plan_labels,
            plan,
            expansion,
            digest,
            goal,
            from,
            topology,
            ids,
            when,
            inputs,
            outputs,
            reads,
            gates,
            gates_before,
            sources: kept,
            parameters,
            described,
        })
    }

    /// What the plan gives to the node that it works for.
    ///
    /// # Errors
    /// An expression cannot be evaluated; says which and why.
    pub(crate) fn outputs(&self, status: &ExecutionStatus) -> Result<JsonMap, String> {
        let scope = self.scope_at(status, None);
        self.outputs.render_map(&scope).map_err(|error| format!("outputs: {error}"))
    }

    /// The graph as the plan declares it: what people are shown, with an instance folded into its node.
    #[must_use]
    pub(crate) fn declared_graph(&self) -> &PlanGraph {
        self.sources.as_ref().map_or(&self.plan.graph, |sources| &sources.plan.graph)
    }

    /// The node at an index.
    #[must_use]
    pub(crate) fn node(&self, ix: NodeIx) -> Option<&Node> {
        self.plan.graph.nodes.get(ix)
    }

    /// The condition of a node.
    #[must_use]
    pub(crate) fn when(&self, ix: NodeIx) -> Option<&Expression> {
        self.when.get(ix).and_then(Option::as_deref)
    }

    /// The inputs of a node, before expressions are replaced.
    #[must_use]
    pub(crate) fn inputs(&self, ix: NodeIx) -> Option<&Template> {
        self.inputs.get(ix).map(AsRef::as_ref)
    }

    /// The nodes besides its sources that the expressions of a node read, and that it waits for as well.
    #[must_use]
    pub(crate) fn reads(&self, ix: NodeIx) -> &[NodeIx] {
        self.reads.get(ix).map_or(&[], Vec::as_slice)
    }

    /// All gates, in the order of the plan.
    #[must_use]
    pub(crate) fn gates(&self) -> &[NodeIx] {
        &self.gates
    }

    /// The gates before a node, as far as no other gate lies between. What runs after everything else has none: no gate
    /// holds it back.
    #[must_use]
    pub(crate) fn gates_before(&self, ix: NodeIx) -> &[NodeIx] {
        if self.node(ix).is_some_and(|node| node.finally) {
            return &[];
        }
        self.gates_before.get(ix).map_or(&[], |gates| gates)
    }

    /// A node as the plan declares it, and its place there: for an instance the node that it is an instance of. What is bound
    /// to a node, such as a provider and the approval of it, is bound to all of its instances.
    #[must_use]
    pub(crate) fn declared(&self, ix: NodeIx) -> Option<(&Node, NodeIx)> {
        let instance = self.ids.get(ix).and_then(|id| self.expansion.instance(id));
        // The nodes of the plan keep their places in the graph that is run.
        let ix = match instance {
            Some(instance) => self.topology.find(instance.member.as_str())?,
            None => ix,
        };
        Some((self.declared_graph().nodes.get(ix)?, ix))
    }

    /// By what id the expressions of a node read another one: inside of a repeated Group, by that of the plan.
    #[must_use]
    pub(crate) fn name_for(&self, reader: NodeIx, node: NodeIx) -> Option<&NodeId> {
        let id = self.ids.get(node)?;
        let at = self.expansion.instance(self.ids.get(reader)?);
        let other = self.expansion.instance(id);
        let beside = at.zip(other).filter(|(at, other)| at.root == other.root && at.index == other.index);
        Some(beside.map_or(id, |(_, other)| &other.member))
    }

    /// What the expressions of a node see, with the nodes as `status` has them.
    #[must_use]
    pub(crate) fn scope<'a>(&'a self, status: &'a ExecutionStatus, ix: NodeIx) -> Scope<'a> {
        self.scope_at(status, self.ids.get(ix).and_then(|id| self.expansion.instance(id)))
    }

    fn scope_at<'a>(&'a self, status: &'a ExecutionStatus, at: Option<&'a NodeInstance>) -> Scope<'a> {
        Scope {
            parameters: &self.parameters,
            goal: &self.described.goal,
            plan: &self.described.plan,
            execution: &self.described.execution,
            nodes: &status.node_statuses,
            // Inputs are made of this scope themselves; only the `config` of a provider, which comes after them, can
            // read them.
            inputs: None,
            instances: self.sources.is_some().then_some(InstanceScope { expansion: &self.expansion, at }),
        }
    }

    /// The phase of the node at an index.
    #[must_use]
    pub(crate) fn phase_of(&self, status: &ExecutionStatus, ix: NodeIx) -> NodePhase {
        let state = self.ids.get(ix).and_then(|id| status.node_statuses.get(id));
        // A record that was edited by hand may lack a node. Without a record it has not started.
        state.map_or(NodePhase::Pending, |state| state.phase)
    }
}

/// The graph that is run with the instances that a status records; none where nothing is repeated. For showing alone: whether
/// the record may have them is not asked.
#[must_use]
pub(crate) fn expanded(graph: &PlanGraph, status: &ExecutionStatus) -> Option<PlanGraph> {
    let list = |id: &NodeId| status.node_statuses.get(id)?.extensions.instances.clone();
    expand(graph, list).ok().flatten().map(|expanded| expanded.graph)
}

/// The expressions of the nodes of a graph, by index.
struct Compiled {
    when: Vec<Option<Arc<Expression>>>,
    inputs: Vec<Arc<Template>>,
}

fn compile(graph: &PlanGraph, expansion: &Expansion) -> Result<Compiled, CompileError> {
    // Once for all instances of a node: to compile the same text a thousand times took longer than to plan its nodes.
    let mut known: HashMap<&NodeId, (Option<Arc<Expression>>, Arc<Template>)> = HashMap::new();
    let mut when = Vec::new();
    let mut inputs = Vec::new();
    for node in &graph.nodes {
        let member = expansion.instance(&node.id).map(|instance| &instance.member);
        let found = member.and_then(|member| known.get(member)).cloned();
        let (condition, template) = match found {
            Some(found) => found,
            None => compile_node(node, expansion)?,
        };
        if let Some(member) = member {
            known.entry(member).or_insert_with(|| (condition.clone(), Arc::clone(&template)));
        }
        when.push(condition);
        inputs.push(template);
    }
    Ok(Compiled { when, inputs })
}

fn compile_node(
    node: &Node,
    expansion: &Expansion,
) -> Result<(Option<Arc<Expression>>, Arc<Template>), CompileError> {
    let wrap = |source| CompileError::Expression { node: node.id.clone(), source };
    let mut when = node.when.as_deref().map(Expression::compile).transpose().map_err(wrap)?;
    let waiting = expansion.repeated(&node.id).filter(|_| expansion.awaits_list(&node.id));
    if let Some(repeated) = waiting {
        // A condition on the item is for each instance to ask. Any other one is the same for all, and then holds for the
        // list as well, which may be that of a node that was skipped.
        let is_own = |name: &str| name == repeated.item_name || name == INDEX;
        when = when.filter(|when| !when.mentions().iter().any(|mention| is_own(&mention.root)));
    }
    let inputs = match node.computed_items() {
        // In the place of inputs, which a node without instances does not have.
        Some(items) => Template::compile(&Value::from(items)),
        None => Template::compile_map(&node.inputs),
    };
    let inputs = inputs.map_err(|errors| CompileError::Template { node: node.id.clone(), errors })?;
    Ok((when.map(Arc::new), Arc::new(inputs)))
}

/// A Binding for a repeated node is one for each of its instances.
fn bind_instances(spec: &mut ExecutionSpec, graph: &PlanGraph, expansion: &Expansion) {
    for node in &graph.nodes {
        let instance = expansion.instance(&node.id);
        if let Some(binding) = instance.and_then(|instance| spec.node_bindings.get(&instance.member)).cloned()
        {
            spec.node_bindings.entry(node.id.clone()).or_insert(binding);
        }
    }
}

/// What the expressions of each node read besides its sources, by index.
fn all_reads(
    graph: &PlanGraph,
    topology: &Topology,
    expansion: &Expansion,
    (when, inputs): (&[Option<Arc<Expression>>], &[Arc<Template>]),
) -> Vec<Vec<NodeIx>> {
    let of_node = |(ix, node): (NodeIx, &Node)| {
        let when = when.get(ix).and_then(Option::as_deref);
        let inputs = inputs.get(ix).map(AsRef::as_ref);
        let instance = expansion.instance(&node.id);
        let find = |id: &str| {
            let beside = instance.and_then(|at| expansion.beside(at, id));
            topology.find(beside.map_or(id, NodeId::as_str))
        };
        // From the expressions that were just compiled, so that nothing is parsed a second time.
        reads::named((node, ix), when, inputs, topology, &find)
    };
    graph.nodes.iter().enumerate().map(of_node).collect()
}

/// Refuses recorded lists that planning would not have recorded.
fn bounded(graph: &PlanGraph, list: &impl Fn(&NodeId) -> Option<ItemList>) -> Result<(), CompileError> {
    for node in graph.nodes.iter().filter(|node| node.computed_items().is_some()) {
        let most = node.max_items();
        if let Some(items) = list(&node.id).filter(|items| items.is_empty() || items.len() > most) {
            return Err(CompileError::Instances { node: node.id.clone(), count: items.len() });
        }
    }
    Ok(())
}
