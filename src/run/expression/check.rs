//! What is wrong with the expressions of a plan, before anything runs: syntax, names, outputs, order.
//! Finds; it makes no diagnostics, which need the positions that only `manifest` knows.

use std::collections::BTreeMap;

use serde_json::Value;

use super::compile::closest;
use super::context::{NODE_FIELDS, RESULT_FIELDS, ROOTS};
use super::describe::{EXECUTION_FIELDS, GOAL_FIELDS, PLAN_FIELDS};
use super::{Expression, ExpressionAt, ExpressionError, Mention, Segment, Template};
use crate::graph::{Expansion, Topology, expand};
use crate::model::{CapabilityParameter, ExternalRef, INDEX, JsonMap, Node, NodeKind, PlanSpec, RunSpec};

/// What the variables are called in other tools, and what to write here.
const HABITS: [(&[&str], &str); 4] = [
    (
        &["params", "param", "vars", "var", "args", "arguments", "github", "event"],
        "did you mean `parameters`?",
    ),
    (&["steps", "step", "needs", "tasks", "jobs", "job"], "did you mean `nodes`?"),
    (&["outputs", "output", "result", "results"], "an output is read as `nodes.ID.outputs.NAME`"),
    (
        &["env", "secrets"],
        "there are no variables of the environment here; `providers.secrets` passes them to commands",
    ),
];

/// Something wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExpressionFinding {
    /// The JSON pointer of the string that holds the expression, from the root of the plan's manifest.
    pub pointer: String,
    /// The byte offset in that string.
    pub offset: usize,
    /// What is wrong, as a lower-case fragment.
    pub message: String,
    /// What to write instead, when that is known.
    pub hint: Option<String>,
}

impl ExpressionFinding {
    fn new(pointer: &str, offset: usize, message: String) -> Self {
        Self { pointer: pointer.to_owned(), offset, message, hint: None }
    }

    fn from_error(pointer: String, error: ExpressionError) -> Self {
        Self { pointer, offset: error.offset, message: error.message, hint: error.hint }
    }
}

/// Checks every `when` and every template of a plan. Without a topology (the graph itself is broken) the order of nodes
/// is not checked.
#[must_use]
pub(crate) fn check(plan: &PlanSpec, topology: Option<&Topology>) -> Vec<ExpressionFinding> {
    let mut findings = Vec::new();
    let nodes: BTreeMap<&str, &Node> = plan.graph.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    // No list is known here; which nodes are repeated, and what is below them, is.
    let expansion = expand(&plan.graph, |_| None).ok().flatten().map(|expanded| expanded.expansion);
    let expansion = expansion.unwrap_or_default();
    for (index, node) in plan.graph.nodes.iter().enumerate() {
        let expressions = expressions_of(index, node, &mut findings);
        // What is upstream takes a walk through the graph, and most nodes of a large plan have no expressions.
        if expressions.is_empty() {
            continue;
        }
        let upstream = topology.map(|topology| topology.upstream(index));
        let parameters = &plan.parameters;
        let repeated = expansion.root_of(&node.id).and_then(|root| nodes.get(root.as_str()).copied());
        let node = Some(node);
        let expansion = &expansion;
        let place =
            NodeSurroundings { node, nodes: &nodes, parameters, topology, upstream, expansion, repeated };
        for placed in &expressions {
            for mention in placed.expression.mentions() {
                findings.extend(place.check(placed, mention));
            }
        }
    }
    let (outputs, errors) = Template::compile_map_partly(&plan.outputs);
    findings.extend(
        errors.into_iter().map(|wrong| {
            ExpressionFinding::from_error(format!("/spec/outputs{}", wrong.pointer), wrong.error)
        }),
    );
    // They are read when everything has ended, so no node has to come before another.
    let parameters = plan.parameters.as_slice();
    let upstream = None;
    let place = NodeSurroundings {
        node: None,
        nodes: &nodes,
        parameters,
        topology: None,
        upstream,
        expansion: &expansion,
        repeated: None,
    };
    for placed in outputs.expressions() {
        let placed = ExpressionAt { pointer: format!("/spec/outputs{}", placed.pointer), ..placed.clone() };
        findings
            .extend(placed.expression.mentions().iter().filter_map(|mention| place.check(&placed, mention)));
    }
    // By place, because a map of fields has no order that a reader of the manifest would recognise.
    findings.sort_by(|a, b| (&a.pointer, a.offset).cmp(&(&b.pointer, b.offset)));
    findings
}

/// Every expression of a node with its place in the manifest; those that cannot be compiled become findings.
fn expressions_of(index: usize, node: &Node, findings: &mut Vec<ExpressionFinding>) -> Vec<ExpressionAt> {
    let base = format!("/spec/graph/nodes/{index}");
    let mut all = Vec::new();
    if let Some(when) = &node.when {
        let pointer = format!("{base}/when");
        match Expression::compile(when) {
            Ok(expression) => all.push(ExpressionAt { expression, pointer, offset: 0 }),
            Err(mut error) => {
                // The habit of GitHub Actions, where `if: ${{ … }}` is usual; the parser's own message would only point
                // at the `$`.
                if when.trim_start().starts_with("${{") {
                    error.hint =
                        Some("`when` is already an expression; write it without `${{ }}`".to_owned());
                }
                findings.push(ExpressionFinding::from_error(pointer, error));
            }
        }
    }
    let mut add =
        |pointer: &str, values: &JsonMap| {
            // One expression that does not compile must not hide what is wrong with the others.
            let (template, errors) = Template::compile_map_partly(values);
            all.extend(template.expressions().into_iter().map(|placed| ExpressionAt {
                pointer: format!("{pointer}{}", placed.pointer),
                ..placed.clone()
            }));
            findings.extend(errors.into_iter().map(|wrong| {
                ExpressionFinding::from_error(format!("{pointer}{}", wrong.pointer), wrong.error)
            }));
        };
    add(&format!("{base}/inputs"), &node.inputs);
    if let Some(items) = node.computed_items() {
        let fields = JsonMap::from_iter([("items".to_owned(), Value::from(items))]);
        add(&format!("{base}/forEach"), &fields);
    }
    if let Some(RunSpec::Settings(settings)) = &node.run {
        add(&format!("{base}/run"), settings);
    }
    // The same fields as those that make a node wait, in `reads`.
    for (field, text) in node.external_ref.iter().flat_map(ExternalRef::templates) {
        let fields = JsonMap::from_iter([(field.to_owned(), Value::from(text))]);
        add(&format!("{base}/externalRef"), &fields);
    }
    all
}

fn did_you_mean<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    closest(word, known).map(|near| format!("did you mean `{near}`?"))
}

/// The node in which an expression stands, and what is around it.
struct NodeSurroundings<'p> {
    /// None for the outputs of the plan.
    node: Option<&'p Node>,
    nodes: &'p BTreeMap<&'p str, &'p Node>,
    parameters: &'p [CapabilityParameter],
    topology: Option<&'p Topology>,
    upstream: Option<Vec<bool>>,
    expansion: &'p Expansion,
    /// The repeated node that it is or is below.
    repeated: Option<&'p Node>,
}

impl NodeSurroundings<'_> {
    fn check(&self, placed: &ExpressionAt, mention: &Mention) -> Option<ExpressionFinding> {
        let (message, hint) = match mention.root.as_str() {
            "nodes" => self.check_node(placed, mention)?,
            "goal" => field_unknown(mention, &GOAL_FIELDS)?,
            "plan" => field_unknown(mention, &PLAN_FIELDS)?,
            "execution" => field_unknown(mention, &EXECUTION_FIELDS)?,
            // A plan does not declare its parameters, so any name may be one.
            "parameters" => self.check_parameter(mention)?,
            // The settings of the node's own command are rendered after its inputs, as those of a Binding are.
            "inputs" if placed.pointer.split('/').nth(5) == Some("run") => return None,
            "inputs" => (
                "`inputs` can only be used in the `config` of a provider".to_owned(),
                Some("read `parameters` or the outputs of `nodes` instead".to_owned()),
            ),
            name => match self.check_item(placed, mention, name) {
                Some(item) => item?,
                None => self.unknown_root(placed, mention, name),
            },
        };
        let mut finding = ExpressionFinding::new(&placed.pointer, placed.offset + mention.offset, message);
        finding.hint = hint;
        Some(finding)
    }

    /// What is wrong with the use of an item or of its number; none for any other variable.
    fn check_item(
        &self,
        placed: &ExpressionAt,
        mention: &Mention,
        name: &str,
    ) -> Option<Option<(String, Option<String>)>> {
        let here = self.repeated.filter(|root| name == root.item_name() || name == INDEX);
        let Some(root) = here else {
            let other = self.nodes.values().find(|node| node.is_repeated() && name == node.item_name())?;
            let message = format!("`{name}` can only be used in the instances of `{}`", other.id);
            let hint = self.repeated.map(|root| format!("the item here is `{}`", root.item_name()));
            return Some(Some((message, hint)));
        };
        if placed.pointer.split('/').nth(5) == Some("forEach") {
            let message = format!("`{name}` is not known before the list is");
            return Some(Some((
                message,
                Some("read `parameters` or the outputs of `nodes` instead".to_owned()),
            )));
        }
        let Some(matrix) = root.matrix.as_ref().filter(|_| name != INDEX) else { return Some(None) };
        let Some(axis) = mention.field(0) else { return Some(None) };
        let included = matrix.include.iter().flat_map(|one| one.keys());
        let mut known = matrix.axes.keys().chain(included).map(String::as_str);
        if known.any(|known| known == axis) {
            return Some(None);
        }
        let known = matrix.axes.keys().map(String::as_str);
        Some(Some((format!("the matrix of `{}` has no axis `{axis}`", root.id), did_you_mean(axis, known))))
    }

    /// The repeated node that an id is an instance of.
    fn instance_of(&self, id: &str) -> Option<&str> {
        let (of, number) = id.rsplit_once('-')?;
        let of = self.nodes.get_key_value(of)?.0;
        let is_instance = number.parse::<usize>().is_ok() && self.expansion.instances_of(of).is_some();
        is_instance.then_some(of)
    }

    fn unknown_root(
        &self,
        placed: &ExpressionAt,
        mention: &Mention,
        unknown: &str,
    ) -> (String, Option<String>) {
        let message = format!("there is no variable `{unknown}`");
        // `nodes.a-b.phase` is a subtraction; GitHub Actions users know `nodes['a-b']`.
        let before = placed.expression.text().get(..mention.offset).unwrap_or_default();
        let dashed = before.strip_suffix('-').and_then(|before| before.rsplit_once("nodes."));
        if let Some((_, first)) = dashed {
            let id = format!("{first}-{unknown}");
            if let Some(id) =
                self.nodes.keys().find(|known| **known == id || known.starts_with(&format!("{id}-")))
            {
                return (message, Some(format!("write `nodes['{id}']`: an id with a dash needs brackets")));
            }
        }
        let hint = if self.nodes.contains_key(unknown) {
            Some(format!("a node is read as `nodes.{unknown}`"))
        } else {
            // A single word is often meant as a parameter; something with fields seldom is.
            if let Some((_, ours)) = HABITS.iter().find(|(words, _)| words.contains(&unknown)) {
                return (message, Some((*ours).to_owned()));
            }
            let bare = mention.field(0).is_none();
            let parameter = format!("a parameter of the Execution is read as `parameters.{unknown}`");
            did_you_mean(unknown, ROOTS).or_else(|| bare.then_some(parameter))
        };
        (message, hint)
    }

    fn check_parameter(&self, mention: &Mention) -> Option<(String, Option<String>)> {
        let name = mention.field(0)?;
        let mut known = self.parameters.iter().map(|parameter| parameter.name.as_str());
        // A plan that declares none says nothing about what an Execution may give.
        if self.parameters.is_empty() || known.any(|known| known == name) {
            return None;
        }
        let known = self.parameters.iter().map(|parameter| parameter.name.as_str());
        let hint = did_you_mean(name, known).unwrap_or_else(|| "declare it in `spec.parameters`".to_owned());
        Some((format!("the plan has no parameter `{name}`"), Some(hint)))
    }

    fn check_node(&self, placed: &ExpressionAt, mention: &Mention) -> Option<(String, Option<String>)> {
        // A computed id is known only when the expression is evaluated.
        let id = mention.field(0)?;
        let Some(target) = self.nodes.get(id) else {
            let dashed = self.nodes.keys().filter(|known| {
                let text = placed.expression.text().get(mention.offset..).unwrap_or_default();
                text.strip_prefix("nodes.").is_some_and(|rest| rest.starts_with(**known))
                    && known.contains('-')
            });
            if let Some(of) = self.instance_of(id) {
                let message = format!("`{id}` is an instance of `{of}`, and cannot be read by itself");
                let hint = format!("its outputs are in the list `nodes['{of}'].outputs.NAME`");
                return Some((message, Some(hint)));
            }
            // The longest: where there are `unit` and `unit-test`, the text `nodes.unit-test` means the second.
            let hint = match dashed.max_by_key(|known| known.len()) {
                Some(known) => Some(format!("write `nodes['{known}']`: an id with a dash needs brackets")),
                None => did_you_mean(id, self.nodes.keys().copied()),
            };
            return Some((format!("there is no node `{id}`"), hint));
        };
        let own = self.node.map_or("", |node| node.id.as_str());
        if id == own {
            return Some((format!("node `{id}` cannot read itself"), None));
        }
        let reached = match (self.topology.and_then(|topology| topology.find(id)), &self.upstream) {
            (Some(index), Some(upstream)) => upstream.get(index).copied().unwrap_or(false),
            // Without an order nothing can be said about it. What is wrong with the graph is a finding of its own.
            _ => true,
        };
        if !reached {
            let message = format!("node `{id}` is not upstream of `{own}`: it may not have run yet");
            let hint = format!("add an edge from `{id}`, hard or soft, or name it in `dependsOn`");
            return Some((message, Some(hint)));
        }
        self.check_node_field(mention, id, target)
    }

    fn check_node_field(
        &self,
        mention: &Mention,
        id: &str,
        target: &Node,
    ) -> Option<(String, Option<String>)> {
        let Some(Segment::Field(field)) = mention.path.get(1) else { return None };
        if !NODE_FIELDS.contains(&field.as_str()) {
            let hint = if target.outputs.contains(field) {
                Some(format!("an output is read as `nodes.{id}.outputs.{field}`"))
            } else {
                did_you_mean(field, NODE_FIELDS)
                    .or_else(|| Some("there are `phase`, `outputs`, `attempt` and `result`".to_owned()))
            };
            return Some((format!("a node has no `{field}`"), hint));
        }
        if field == "result"
            && let Some(Segment::Field(part)) = mention.path.get(2)
            && !RESULT_FIELDS.contains(&part.as_str())
        {
            let hint = did_you_mean(part, RESULT_FIELDS)
                .or_else(|| Some("there are `commit`, `files`, `insertions` and `deletions`".to_owned()));
            return Some((format!("the result of a node has no `{part}`"), hint));
        }
        if field != "outputs" {
            return None;
        }
        let Some(Segment::Field(output)) = mention.path.get(2) else { return None };
        // External nodes give what their address answers, which nothing declares.
        if target.kind == NodeKind::External || target.outputs.contains(output) {
            return None;
        }
        let hint = did_you_mean(output, target.outputs.iter().map(String::as_str)).or_else(|| {
            // Gates and Groups cannot declare outputs, so for them this is no advice.
            (target.kind == NodeKind::Task).then(|| format!("declare it in the `outputs` of `{id}`"))
        });
        Some((format!("node `{id}` has no output `{output}`"), hint))
    }
}

fn field_unknown(mention: &Mention, known: &[&str]) -> Option<(String, Option<String>)> {
    let field = mention.field(0)?;
    if known.contains(&field) {
        return None;
    }
    let hint = did_you_mean(field, known.iter().copied()).or_else(|| {
        Some(format!("there are {}", known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ")))
    });
    Some((format!("`{}` has no `{field}`", mention.root), hint))
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "a literal value reads best without a borrow")]
mod tests {
    use super::*;
    use serde_json::json;

    fn plan(third: Value) -> PlanSpec {
        let mut last = json!({ "id": "last", "kind": "Task", "dependsOn": ["build", "wait"] });
        last.as_object_mut().unwrap().extend(third.as_object().unwrap().clone());
        let nodes = json!([
            { "id": "build", "kind": "Task", "outputs": ["image", "digest"] },
            { "id": "unit-test", "kind": "Task", "outputs": ["report"] },
            { "id": "wait", "kind": "External", "externalRef": { "type": "uri", "uri": "https://x/${{ goal.nam }}" } },
            last,
        ]);
        serde_json::from_value(json!({ "description": "d", "graph": { "nodes": nodes, "edges": [
            { "from": "unit-test", "to": "build", "type": "soft" }
        ] } }))
        .unwrap()
    }

    fn findings(third: Value) -> Vec<String> {
        let plan = plan(third);
        let topology = Topology::build(&plan.graph).unwrap();
        let shown = |finding: ExpressionFinding| {
            let pointer = finding.pointer.strip_prefix("/spec/graph/nodes/").unwrap().to_owned();
            let hint = finding.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("{pointer}@{}: {}{hint}", finding.offset, finding.message)
        };
        check(&plan, Some(&topology)).into_iter().skip(1).map(shown).collect()
    }

    #[track_caller]
    fn check_when(when: &str, expected: &[&str]) {
        assert_eq!(findings(json!({ "when": when })), expected, "{when}");
    }

    #[test]
    fn what_is_right_is_not_found_fault_with() {
        check_when("nodes.build.phase == 'Succeeded' && has(nodes['unit-test'].outputs.report)", &[]);
        check_when("nodes.wait.outputs.anything == 1 || parameters.x in goal.constraints", &[]);
        check_when(
            "nodes.exists(n, nodes[n].phase == 'Failed') || plan.labels['a/b'] == execution.name",
            &[],
        );
    }

    #[test]
    fn names_that_are_not_there_are_found_with_their_place() {
        check_when("param.x == 1", &["3/when@0: there is no variable `param` (did you mean `parameters`?)"]);
        check_when(
            "approved && true",
            &[
                "3/when@0: there is no variable `approved` (a parameter of the Execution is read as `parameters.approved`)",
            ],
        );
        check_when(
            "true && node.build.phase == 'x'",
            &["3/when@8: there is no variable `node` (did you mean `nodes`?)"],
        );
        check_when(
            "build.phase == 'x'",
            &["3/when@0: there is no variable `build` (a node is read as `nodes.build`)"],
        );
        check_when(
            "nodes.biuld.phase == 'x'",
            &["3/when@0: there is no node `biuld` (did you mean `build`?)"],
        );
        check_when(
            "nodes.build.image == 'x'",
            &["3/when@0: a node has no `image` (an output is read as `nodes.build.outputs.image`)"],
        );
        check_when(
            "nodes.build.outputs.imgae == 'x'",
            &["3/when@0: node `build` has no output `imgae` (did you mean `image`?)"],
        );
        check_when("nodes.build.result.files > 0 && nodes.build.result.commit != null", &[]);
        check_when(
            "nodes.build.result.file > 0",
            &["3/when@0: the result of a node has no `file` (did you mean `files`?)"],
        );
        check_when("plan.serie == 'x'", &["3/when@0: `plan` has no `serie` (did you mean `series`?)"]);
        check_when(
            "inputs.x == 1",
            &[
                "3/when@0: `inputs` can only be used in the `config` of a provider (read `parameters` or the outputs of `nodes` instead)",
            ],
        );
        check_when(
            "${{ true }}",
            &[
                "3/when@0: `$` is not expected here (`when` is already an expression; write it without `${{ }}`)",
            ],
        );
    }

    #[test]
    fn parameters_are_known_once_a_plan_declares_them() {
        let mut plan =
            plan(json!({ "when": "parameters.drRun || parameters['other'] == 1 || parameters.dryRun" }));
        plan.parameters = serde_json::from_value(json!([{ "name": "dryRun", "type": "boolean" }])).unwrap();
        let topology = Topology::build(&plan.graph).unwrap();
        let found = check(&plan, Some(&topology));
        let shown: Vec<_> =
            found.iter().skip(1).map(|one| (one.message.as_str(), one.hint.as_deref())).collect();
        let near = Some("did you mean `dryRun`?");
        let far = Some("declare it in `spec.parameters`");
        let expected =
            [("the plan has no parameter `drRun`", near), ("the plan has no parameter `other`", far)];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_command_of_a_task_may_read_its_inputs() {
        let run =
            json!({ "command": "x", "env": { "A": "${{ inputs.a }}", "B": "${{ nodes.nope.phase }}" } });
        assert_eq!(findings(json!({ "run": run })), ["3/run/env/B@4: there is no node `nope`"]);
    }

    #[test]
    fn an_id_with_a_dash_gets_a_hint() {
        check_when(
            "nodes.unit-test.phase == 'Failed'",
            &[
                "3/when@0: there is no node `unit` (write `nodes['unit-test']`: an id with a dash needs brackets)",
                "3/when@11: there is no variable `test` (write `nodes['unit-test']`: an id with a dash needs brackets)",
            ],
        );
    }

    #[test]
    fn only_nodes_upstream_may_be_read() {
        check_when("nodes.last.phase == 'Failed'", &["3/when@0: node `last` cannot read itself"]);
        let plan = plan(json!({}));
        let topology = Topology::build(&plan.graph).unwrap();
        let mut plan = plan;
        plan.graph.nodes[1].when = Some("nodes.build.phase == 'Failed'".to_owned());
        let found = check(&plan, Some(&topology));
        assert_eq!(found[0].message, "node `build` is not upstream of `unit-test`: it may not have run yet");
    }

    #[test]
    fn templates_are_checked_where_they_stand() {
        let inputs =
            json!({ "inputs": { "a": { "b": ["é ${{ nodes.build.outputs.x }}"] }, "c": "${{ 1 + }}" } });
        assert_eq!(
            findings(inputs),
            [
                "3/inputs/a/b/0@7: node `build` has no output `x` (declare it in the `outputs` of `build`)",
                "3/inputs/c@7: the expression ends too early",
            ]
        );
        let plan = plan(json!({}));
        let found = check(&plan, None);
        assert_eq!((found[0].pointer.as_str(), found[0].offset), ("/spec/graph/nodes/2/externalRef/uri", 14));
        assert_eq!(found[0].hint.as_deref(), Some("did you mean `name`?"));
    }
}
