//! What to say of a task that no Binding is there for.

use super::{DEFAULT_BINDING, Resolution, TaskToBind};
use crate::model::ResourceKey;

/// How many Bindings are named: more are a list that `get bindings` shows better.
const MOST_NAMED: usize = 3;

/// What became of a task whose Binding is not there, once it is known which `others` its namespace has.
pub(crate) fn without_binding(
    task: &TaskToBind<'_>,
    key: &ResourceKey,
    others: &[ResourceKey],
) -> Resolution {
    Resolution::Unbound { why: why(task, key, others) }
}

/// Why there is none. `others` are the Bindings that the namespace has, as far as they are known.
pub(super) fn why(task: &TaskToBind<'_>, key: &ResourceKey, others: &[ResourceKey]) -> String {
    // A reference that leads nowhere is a mistake in a manifest; a `default` that is not there is a namespace
    // without any Binding. A person acts on the two in different places.
    if task.execution.node_bindings.contains_key(&task.node.id) || task.execution.binding_ref.is_some() {
        return format!("there is no {key}");
    }
    let none = format!("the execution names no binding, and there is no {key}");
    // The spec of an Execution is immutable, so that a reference only helps the next one.
    let next = "start another Execution with";
    // One that was only just removed may still have its record.
    let others: Vec<&ResourceKey> = others.iter().filter(|other| *other != key).collect();
    match others.as_slice() {
        [] => format!("{none}; write `run:` on the task, or a Binding of that name with a rule for it"),
        [only] => {
            let name = &only.name;
            format!(
                "{none}; there is `{name}`: rename it to `{DEFAULT_BINDING}`, or {next} `bindingRef: {{name: {name}}}`"
            )
        }
        several => {
            let mut names: Vec<String> =
                several.iter().take(MOST_NAMED).map(|other| format!("`{}`", other.name)).collect();
            if several.len() > MOST_NAMED {
                names.push("…".to_owned());
            }
            format!("{none}; there are {}: {next} one of them as `bindingRef: {{name: …}}`", names.join(", "))
        }
    }
}
