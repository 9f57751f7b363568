//! What an attempt is begun with: the provider's settings with every expression replaced, and digests of all that the
//! result can depend on, by which a later Execution knows whether it would do the same again.

use serde_json::{Value, json};

use crate::graph::NodeIx;
use crate::model::{BindingTarget, Digest, ExecutionStatus, InputFingerprint, JsonMap, ResolvedCapability};
use crate::plan::binding::capability::{Capability, complete_inputs};
use crate::run::CompiledPlan;
use crate::run::expression::{OPEN, Scope, Template};
use crate::run::shell_line::{is_local_command, is_shell_line};

/// How many hexadecimal digits of a digest are kept. 64 bits tell apart the versions of one node, and a plan of 10,000
/// nodes has 30,000 of them in its record.
const DIGITS: usize = 16;

/// The scheme whose provider string may hold an expression.
const HUMAN: &str = "human://";

/// The inputs of a node with every expression replaced.
///
/// # Errors
/// An expression cannot be evaluated; says which and why.
pub(crate) fn inputs(
    compiled: &CompiledPlan,
    status: &ExecutionStatus,
    ix: NodeIx,
) -> Result<JsonMap, String> {
    // Compiled once with the plan: this runs for each node that could start, in each pass.
    let Some(template) = compiled.inputs(ix) else { return Ok(JsonMap::new()) };
    template.render_map(&compiled.scope(status, ix)).map_err(|error| format!("inputs: {error}"))
}

/// A provider's settings with every expression replaced.
///
/// # Errors
/// An expression does not compile or cannot be evaluated; says which and why.
pub(crate) fn settings(
    compiled: &CompiledPlan,
    status: &ExecutionStatus,
    (ix, target): (NodeIx, &BindingTarget),
    inputs: &JsonMap,
) -> Result<JsonMap, String> {
    // Compiled here and not with the plan: the settings come from a Binding, which is resolved late (Invariant 9).
    let template = Template::compile_map(&target.config).map_err(|errors| {
        let first = errors.first().map(ToString::to_string).unwrap_or_default();
        format!("provider config: {first}")
    })?;
    if template.is_plain() {
        return Ok(target.config.clone());
    }
    // Settings may read the node's inputs, which are rendered and complete by now.
    let scope = Scope { inputs: Some(inputs), ..compiled.scope(status, ix) };
    let mut rendered = template.render_map(&scope).map_err(|error| format!("provider config: {error}"))?;
    // By what is written: a path of a program that holds a blank would else become a line for a shell.
    if is_local_command(target)
        && target.config.get("command").is_some_and(|command| rendered.get("command") != Some(command))
        && !target.config.contains_key("shell")
        && let Some(shell) = is_shell_line(&target.config)
    {
        rendered.insert("shell".to_owned(), Value::Bool(shell));
    }
    Ok(rendered)
}

/// The provider string with its expressions replaced.
///
/// # Errors
/// An expression cannot be evaluated, or names nobody; says which and why.
pub(crate) fn provider(
    compiled: &CompiledPlan,
    status: &ExecutionStatus,
    (ix, target): (NodeIx, &BindingTarget),
    inputs: &JsonMap,
) -> Result<String, String> {
    let text = &target.provider;
    let Some(who) = dynamic_assignee(text)? else { return Ok(text.clone()) };
    let template = Template::compile(&Value::from(who)).map_err(|errors| {
        let first = errors.first().map(ToString::to_string).unwrap_or_default();
        format!("provider `{text}`: {first}")
    })?;
    let scope = Scope { inputs: Some(inputs), ..compiled.scope(status, ix) };
    let value = template.render(&scope).map_err(|error| format!("provider `{text}`: {error}"))?;
    let named = |name: &&str| {
        // Anything else is words for people, and then whoever may write to the repository may answer.
        !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-_.@+:/".contains(c))
    };
    match value.as_str().filter(named) {
        Some(name) => Ok(format!("{HUMAN}{name}")),
        None => Err(format!("provider `{text}`: {value} is not a login or a team")),
    }
}

/// The part of a provider string that an expression gives, if there is one.
///
/// # Errors
/// The expression stands where it would choose what does the work, or where secrets are sent. Those are for whoever merges
/// a Binding to say, and not for the output of a task.
pub(crate) fn dynamic_assignee(provider: &str) -> Result<Option<&str>, String> {
    if !provider.contains(OPEN) {
        return Ok(None);
    }
    let who = provider.strip_prefix(HUMAN);
    who.map(Some).ok_or_else(|| {
        format!("provider `{provider}`: an expression can only name a person, as in `human://${{{{ inputs.owner }}}}`")
    })
}

/// What an attempt of a task would be begun with now; none when an expression fails, as the attempt then will.
#[must_use]
pub(crate) fn fingerprint(
    compiled: &CompiledPlan,
    status: &ExecutionStatus,
    ix: NodeIx,
    capabilities: &[Capability],
    target: &BindingTarget,
) -> Option<InputFingerprint> {
    // The whole definition, with retries and criteria: a result that other criteria let through is not the same result.
    let node = serde_json::to_value(compiled.node(ix)?).ok()?;
    // With the defaults filled in, as the attempt gets them: a capability whose default changed gives another
    // fingerprint.
    let inputs = complete_inputs(inputs(compiled, status, ix).ok()?, capabilities).ok()?;
    let config = settings(compiled, status, (ix, target), &inputs).ok()?;
    let provider = provider(compiled, status, (ix, target), &inputs).ok()?;
    // Recorded for people and not compared: a new description raises the generation and changes no result.
    let resolved = capabilities.iter().map(|capability| ResolvedCapability {
        name: format!("{}/{}", capability.key.namespace, capability.key.name),
        generation: capability.generation,
    });
    Some(InputFingerprint {
        node: short(&node),
        inputs: short(&json!({ "inputs": inputs, "told": task_context(compiled) })),
        // The values after replacement, not the text: a setting that was an expression and is a literal now does the
        // same.
        target: short(&json!({ "provider": provider, "config": config })),
        capabilities: resolved.collect(),
    })
}

/// What whoever does the work learns besides the inputs. When and how urgently a goal is wanted changes no result.
fn task_context(compiled: &CompiledPlan) -> Value {
    let goal = compiled.goal.as_ref().map(|(_, goal)| {
        json!({
            "description": goal.description,
            "constraints": goal.constraints,
            "acceptanceCriteria": goal.acceptance_criteria,
            "context": goal.context,
        })
    });
    json!({
        "goal": goal,
        "plan": { "description": compiled.plan.description, "context": compiled.plan.context },
        // Only the context: parameters count by the inputs that they end up in.
        "execution": compiled.spec.context,
    })
}

fn short(value: &Value) -> String {
    let digest = Digest::of_value(value);
    // Without the name of the algorithm, which is the same for all and would double what is kept.
    let digits = digest.as_str().rsplit(':').next().unwrap_or_default();
    digits.chars().take(DIGITS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fingerprint of a task that hands the parameter `x` on, in a plan with this description.
    fn of(description: &str, node: &Value, x: &Value, config: &Value) -> InputFingerprint {
        let mut whole = json!({ "id": "a", "kind": "Task", "inputs": { "x": "${{ parameters.x }}" } });
        whole.as_object_mut().unwrap().extend(node.as_object().unwrap().clone());
        let plan = json!({ "description": description, "graph": { "nodes": [whole] } });
        let spec = json!({ "planRef": { "name": "p" }, "parameters": { "x": x } });
        let compiled = CompiledPlan::of_specs(spec, plan);
        let spec =
            json!({ "description": "c", "inputs": [{ "name": "width", "type": "number", "default": 80 }] });
        let capability = Capability {
            key: "n/capability/c".parse().unwrap(),
            generation: 7,
            spec: serde_json::from_value(spec).unwrap(),
        };
        let target = json!({ "provider": "tool://t", "config": config });
        let target = serde_json::from_value(target).unwrap();
        fingerprint(&compiled, &ExecutionStatus::default(), 0, &[capability], &target).unwrap()
    }

    #[test]
    fn a_fingerprint_differs_in_just_what_changed() {
        let plain = json!({});
        let config = json!({ "args": ["${{ inputs.width }}"] });
        let first = of("d", &plain, &json!(1), &config);
        assert_eq!(first, of("d", &plain, &json!(1), &config));
        assert_eq!(first.capabilities, [ResolvedCapability { name: "n/c".to_owned(), generation: 7 }]);
        let same = |other: &InputFingerprint| {
            (other.node == first.node, other.inputs == first.inputs, other.target == first.target)
        };
        assert_eq!(same(&of("d", &json!({ "retries": 1 }), &json!(1), &config)), (false, true, true));
        assert_eq!(same(&of("d", &plain, &json!(2), &config)), (true, false, true));
        assert_eq!(same(&of("other", &plain, &json!(1), &config)), (true, false, true));
        let literal = json!({ "args": [80] });
        assert_eq!(same(&of("d", &plain, &json!(1), &literal)), (true, true, true), "the value counts");
        let other = json!({ "args": ["${{ inputs.x }}"] });
        assert_eq!(same(&of("d", &plain, &json!(1), &other)), (true, true, false));
    }
}
