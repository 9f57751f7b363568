//! Fields of earlier drafts of the contract, which published examples still show: what to write instead.

use serde_json::Value;

use crate::manifest::suggest::short;

/// What to write for a field that a draft had at this place.
pub(super) fn instead_of(at: &str, field: &str, object: &Value) -> Option<String> {
    let given = object.get(field);
    let is_gate = object.get("gateType").is_some();
    match field {
        "capabilityRef" | "capabilities" if at.starts_with("/spec/graph/nodes/") => {
            Some(format!("write `capabilityRefs: [{}]`, a list of references", references(given?)?))
        }
        // Of the node itself: what lies inside, such as a criterion, has fields of its own.
        _ if at.strip_prefix("/spec/graph/nodes/").is_some_and(|node| !node.contains('/'))
            && other_tools(field).is_some() =>
        {
            other_tools(field).map(str::to_owned)
        }
        "capability" if at.starts_with("/spec/requirements/") => {
            let name = given.and_then(Value::as_str)?;
            Some(format!("write `name: {}`", short(name)))
        }
        "metadata" if is_gate && at == "/spec" => Some("write `context`, which takes any fields".to_owned()),
        "timeout" if is_gate && at == "/spec" => {
            Some("a Gate has no timeout; set `timeout` on the node of the Plan that waits for it".to_owned())
        }
        _ => None,
    }
}

/// What to write for what other tools call a field of a node.
fn other_tools(field: &str) -> Option<&'static str> {
    Some(match field {
        "needs" | "depends_on" | "depends" => "write `dependsOn: [NODE]`",
        "if" | "condition" => "write `when: CONDITION`, without `${{ }}`",
        "strategy" => "write `matrix: {AXIS: [VALUE]}` on the node itself",
        "foreach" | "for_each" | "withItems" | "with_items" | "withParam" | "loop" => {
            "write `forEach: {items: [VALUE]}`"
        }
        "steps" | "jobs" => "make each step a node of its own, ordered by `dependsOn`",
        "uses" | "image" | "container" => {
            "write `run: COMMAND`, or `capabilityRefs: [{name: CAPABILITY}]`, which a Binding gives a provider"
        }
        "script" | "command" | "cmd" => "write `run: COMMAND`",
        // Known fields of other kinds of nodes.
        "forEach" | "matrix" => {
            "only a Task or a Group is repeated; a Group with this node among its `children` can be"
        }
        _ => return None,
    })
}

/// What to add for a field that a draft did not ask for.
pub(super) fn missing(field: &str, object: &Value) -> Option<String> {
    match field {
        "gateRef" => {
            let id = object.get("id").and_then(Value::as_str)?;
            Some(format!(
                "name a Gate, as in `gateRef: {{name: {}}}`; one without a manifest takes one approval by anyone with write access",
                short(id)
            ))
        }
        "head" if object.get("type").is_some_and(|form| form == "pull-request") => {
            Some("say which pull request, as in `number: 12` or `head: BRANCH`".to_owned())
        }
        "targetRef" if object.get("gateType").is_some() => {
            Some("say what is approved, as in `targetRef: {kind: Plan, name: PLAN, nodeId: NODE}`".to_owned())
        }
        _ => None,
    }
}

/// What to do about a declared output that is no identifier: some drafts named files there.
pub(super) fn output(at: &str, text: &str) -> Option<String> {
    if !at.starts_with("/spec/graph/nodes/") || !at.contains("/outputs/") {
        return None;
    }
    // A path is no slip in a name: drafts listed files among the outputs.
    if text.contains(['/', '.']) {
        return Some(
            "an output is a value; to require a file, use the criterion `artifact_exists`".to_owned(),
        );
    }
    let name = text.to_ascii_lowercase().replace(['-', ' '], "_");
    // A suggestion that the next run refuses is worse than none.
    let fits = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    fits.then(|| format!("write `{name}`"))
}

/// What a type is called here that other languages, and some drafts, call otherwise.
pub(super) fn type_name(text: &str, known: &[&str]) -> Option<String> {
    let name = match text {
        "integer" | "int" | "float" => "number",
        "text" => "string",
        "bool" => "boolean",
        "list" => "array",
        "map" => "object",
        _ => return None,
    };
    // The same words may be wrong values of enums that have nothing to do with types.
    known.contains(&name).then(|| format!("write `{name}`"))
}

/// Names, however a draft wrote them, as a list of references.
fn references(given: &Value) -> Option<String> {
    let one = |value: &Value| {
        let name = value.as_str().or_else(|| value.get("name").and_then(Value::as_str))?;
        Some(format!("{{name: {}}}", short(name)))
    };
    match given {
        Value::Array(list) => list.iter().map(one).collect::<Option<Vec<_>>>().map(|all| all.join(", ")),
        other => one(other),
    }
}
