//! The rules of a Capability.

use serde_json::Value;

use super::unique;
use crate::manifest::codes;
use crate::manifest::problem::Problem;
use crate::model::{CapabilityParameter, CapabilitySpec};
use crate::run::parameter::type_of;

/// Checks that names are unique, and that defaults are values that the parameter may have.
pub(super) fn check(spec: &CapabilitySpec, problems: &mut Vec<Problem>) {
    for (list, parameters) in [("/spec/inputs", &spec.inputs), ("/spec/outputs", &spec.outputs)] {
        unique(parameters.iter().map(|parameter| Some(parameter.name.as_str())), list, "name", problems);
        for (index, parameter) in parameters.iter().enumerate() {
            values(parameter, &format!("{list}/{index}"), problems);
        }
    }
}

fn values(parameter: &CapabilityParameter, at: &str, problems: &mut Vec<Problem>) {
    let mut refuse = |pointer: String, message: &str| {
        problems.push(Problem::new(codes::UNUSABLE_VALUE, pointer, message));
    };
    let fits = |value: &Value| type_of(value).is_none_or(|kind| kind == parameter.kind);
    for (index, _) in parameter.values.iter().enumerate().filter(|(_, value)| !fits(value)) {
        refuse(format!("{at}/enum/{index}"), "the value is not of the parameter's type");
    }
    if let Some(default) = &parameter.default {
        if !fits(default) {
            refuse(format!("{at}/default"), "the default is not of the parameter's type");
        } else if !parameter.values.is_empty() && !parameter.values.contains(default) {
            // A default is filled in for everybody who gives nothing, so that each of those tasks would fail.
            refuse(format!("{at}/default"), "the default is not one of the values of `enum`");
        }
    }
}
