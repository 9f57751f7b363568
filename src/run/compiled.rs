//! The compiled plan of an Execution: its pinned plan with the graph checked and every expression compiled, once.

use std::sync::Arc;

use serde_json::Value;

use super::expression::{Expression, ExpressionError, Scope, Template, TemplateError, describe};
use super::{parameter, reads};
use crate::graph::{GraphError, NodeIx, Topology};
use crate::model::{
    ExecutionSpec, ExecutionStatus, FROM_EXECUTION, GoalSpec, JsonMap, Node, NodeId, NodeKind, NodePhase,
    PlanSpec, ResourceKey, StringMap,
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
    /// The plan's spec.
    pub plan: PlanSpec,
    /// The goal, when the execution names one that exists.
    pub goal: Option<(ResourceKey, GoalSpec)>,
    /// The earlier execution whose work it may take over, as its manifest names it.
    pub from: Option<String>,
    /// The graph.
    pub topology: Topology,
    /// The ids of the nodes, by index.
    pub ids: Arc<[NodeId]>,
    // By the index of the node, as in the topology: each pass asks for nearly all of them.
    when: Vec<Option<Expression>>,
    inputs: Vec<Template>,
    reads: Vec<Vec<NodeIx>>,
    gates_before: Vec<Arc<[NodeIx]>>,
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
}

/// The pinned manifests that a compiled plan is made of.
#[derive(Debug, Clone)]
pub(crate) struct PlanSources {
    /// The execution.
    pub key: ResourceKey,
    /// Its spec.
    pub spec: ExecutionSpec,
    /// The plan.
    pub plan_key: ResourceKey,
    /// The plan's labels.
    pub plan_labels: StringMap,
    /// The plan's spec.
    pub plan: PlanSpec,
    /// The goal.
    pub goal: Option<(ResourceKey, GoalSpec)>,
    /// The annotations of the execution.
    pub annotations: StringMap,
}

impl CompiledPlan {
    /// Checks the graph and compiles the expressions.
    ///
    /// # Errors
    /// The first thing that is wrong; `validate` reports them all.
    pub(crate) fn build(sources: PlanSources) -> Result<Self, CompileError> {
        let PlanSources { key, spec, plan_key, plan_labels, plan, goal, annotations } = sources;
        let from = annotations.get(FROM_EXECUTION).cloned();
        let topology = Topology::build(&plan.graph).map_err(|errors| {
            let first = errors.into_iter().next();
            // There is at least one error, but the type does not say so.
            CompileError::Graph(first.unwrap_or(GraphError::Cycle { path: Vec::new() }))
        })?;
        // Before anything runs: a node that fails for the lack of a parameter would leave half of the work done.
        let parameters = parameter::complete(&plan.parameters, &spec.parameters);
        let parameters = parameters.map_err(CompileError::Parameters)?;
        let mut when = Vec::new();
        let mut inputs = Vec::new();
        for node in &plan.graph.nodes {
            let wrap = |source| CompileError::Expression { node: node.id.clone(), source };
            when.push(node.when.as_deref().map(Expression::compile).transpose().map_err(wrap)?);
            let rendered = Template::compile_map(&node.inputs);
            inputs.push(rendered.map_err(|errors| CompileError::Template { node: node.id.clone(), errors })?);
        }
        let ids = plan.graph.nodes.iter().map(|node| node.id.clone()).collect();
        let compiled = when.iter().map(Option::as_ref).zip(&inputs).enumerate();
        let reads = plan
            .graph
            .nodes
            .iter()
            .zip(compiled)
            // From the expressions that were just compiled, so that nothing is parsed a second time.
            .map(|(node, (ix, (when, inputs)))| reads::named(node, ix, when, Some(inputs), &topology));
        let reads = reads.collect();
        let is_gate = |ix: NodeIx| plan.graph.nodes.get(ix).is_some_and(|node| node.kind == NodeKind::Gate);
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
            goal,
            from,
            topology,
            ids,
            when,
            inputs,
            reads,
            gates_before,
            parameters,
            described,
        })
    }

    /// The node at an index.
    #[must_use]
    pub(crate) fn node(&self, ix: NodeIx) -> Option<&Node> {
        self.plan.graph.nodes.get(ix)
    }

    /// The condition of a node.
    #[must_use]
    pub(crate) fn when(&self, ix: NodeIx) -> Option<&Expression> {
        self.when.get(ix).and_then(Option::as_ref)
    }

    /// The inputs of a node, before expressions are replaced.
    #[must_use]
    pub(crate) fn inputs(&self, ix: NodeIx) -> Option<&Template> {
        self.inputs.get(ix)
    }

    /// The nodes besides its sources that the expressions of a node read, and that it waits for as well.
    #[must_use]
    pub(crate) fn reads(&self, ix: NodeIx) -> &[NodeIx] {
        self.reads.get(ix).map_or(&[], Vec::as_slice)
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

    /// What expressions see, with the nodes as `status` has them.
    #[must_use]
    pub(crate) fn scope<'a>(&'a self, status: &'a ExecutionStatus) -> Scope<'a> {
        Scope {
            parameters: &self.parameters,
            goal: &self.described.goal,
            plan: &self.described.plan,
            execution: &self.described.execution,
            nodes: &status.node_statuses,
            // Inputs are made of this scope themselves; only the `config` of a provider, which comes after them, can
            // read them.
            inputs: None,
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
