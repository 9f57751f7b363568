//! What the capabilities of a task make of its inputs and outputs: defaults, and a last check when the task starts and
//! when it ends. Capabilities are resolved late, like bindings (Invariant 9).

use crate::model::{CapabilitySpec, JsonMap, ResourceKey};
use crate::run::parameter;

/// A Capability as it stands when it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Capability {
    /// Which.
    pub key: ResourceKey,
    /// Its generation.
    pub generation: u64,
    /// What it says.
    pub spec: CapabilitySpec,
}

/// The rendered inputs of a task with the defaults of its capabilities; of several that give one, the first counts.
///
/// # Errors
/// An input is missing or does not fit; says which, why, and which capability asks for it.
pub(crate) fn complete_inputs(mut inputs: JsonMap, capabilities: &[Capability]) -> Result<JsonMap, String> {
    // Defaults of all capabilities first, checks afterwards: what one capability requires may be what another one has a
    // default for.
    for declared in capabilities.iter().flat_map(|capability| &capability.spec.inputs) {
        // A `null` that the plan writes counts as given. A default in its place would undo what the author said.
        if let (false, Some(default)) = (inputs.contains_key(&declared.name), &declared.default) {
            inputs.insert(declared.name.clone(), default.clone());
        }
    }
    for capability in capabilities {
        for declared in &capability.spec.inputs {
            let name = &declared.name;
            let of = &capability.key.name;
            match inputs.get(name) {
                // Validation has checked this already, against the Capability of that commit. It may have changed
                // since, because capabilities are resolved late (Invariant 9).
                None if declared.required => {
                    return Err(format!(
                        "the input `{name}` is missing, which the capability `{of}` requires"
                    ));
                }
                // Optional and absent stays absent: a `null` in its place would be a value that nobody gave.
                None => {}
                Some(value) => {
                    // The rendered value and not the expression is checked: only here is the type of `${{ … }}` known.
                    if let Some(why) = parameter::misfit(declared, value) {
                        return Err(format!("the input `{name}` of the capability `{of}` {why}"));
                    }
                }
            }
        }
    }
    Ok(inputs)
}

/// The outputs of a task, with texts read as the types that its capabilities declare.
///
/// # Errors
/// A required output is missing, or one does not fit; says which, why, and which capability declares it.
pub(crate) fn check_outputs(mut outputs: JsonMap, capabilities: &[Capability]) -> Result<JsonMap, String> {
    for capability in capabilities {
        // A local process that writes `key=value` lines gives nothing but texts. Read before the check, or every number
        // that a script prints would be of the wrong type.
        parameter::read_texts(&mut outputs, &capability.spec.outputs);
        for declared in &capability.spec.outputs {
            let name = &declared.name;
            let of = &capability.key.name;
            match outputs.get(name) {
                None if declared.required => {
                    return Err(format!(
                        "the output `{name}` is missing, which the capability `{of}` promises"
                    ));
                }
                None => {}
                Some(value) => {
                    if let Some(why) = parameter::misfit(declared, value) {
                        return Err(format!("the output `{name}` of the capability `{of}` {why}"));
                    }
                }
            }
        }
    }
    Ok(outputs)
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "a literal value reads best without a borrow")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn capability(spec: Value) -> Vec<Capability> {
        let mut whole = json!({ "description": "d" });
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let key = "n/capability/c".parse().unwrap();
        let spec = serde_json::from_value(whole).unwrap();
        vec![Capability { key, generation: 1, spec }]
    }

    fn map(value: Value) -> JsonMap {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn defaults_fill_what_is_not_given_and_what_is_given_is_checked() {
        let all = capability(json!({ "inputs": [
            { "name": "width", "type": "number", "default": 80 }, { "name": "mode", "type": "string", "required": true },
        ] }));
        let complete = |inputs| complete_inputs(map(inputs), &all).map(Value::Object);
        assert_eq!(
            complete(json!({ "mode": "x", "more": 1 })),
            Ok(json!({ "mode": "x", "more": 1, "width": 80 }))
        );
        assert_eq!(complete(json!({ "mode": "x", "width": 3 })), Ok(json!({ "mode": "x", "width": 3 })));
        let missing = "the input `mode` is missing, which the capability `c` requires";
        assert_eq!(complete(json!({})), Err(missing.to_owned()));
        let wrong = "the input `width` of the capability `c` is a boolean, and must be a number";
        assert_eq!(complete(json!({ "mode": "x", "width": true })), Err(wrong.to_owned()));
        assert_eq!(complete_inputs(map(json!({ "a": 1 })), &[]), Ok(map(json!({ "a": 1 }))));
    }

    #[test]
    fn outputs_are_what_the_capability_promises() {
        let all = capability(json!({ "outputs": [
            { "name": "count", "type": "number", "required": true }, { "name": "size", "type": "string", "enum": ["s", "l"] },
        ] }));
        let check = |outputs| check_outputs(map(outputs), &all).map(Value::Object);
        assert_eq!(check(json!({ "count": "42", "free": "x" })), Ok(json!({ "count": 42, "free": "x" })));
        let missing = "the output `count` is missing, which the capability `c` promises";
        assert_eq!(check(json!({ "size": "s" })), Err(missing.to_owned()));
        let wrong = "the output `size` of the capability `c` is \"m\", and must be one of \"s\", \"l\"";
        assert_eq!(check(json!({ "count": 1, "size": "m" })), Err(wrong.to_owned()));
    }
}
