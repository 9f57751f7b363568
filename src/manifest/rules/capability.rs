//! The rules of parameters: the inputs and outputs of a Capability, and the parameters of a Plan.

use regex::Regex;
use serde_json::Value;

use super::task::not_a_pattern;
use super::unique;
use crate::manifest::codes;
use crate::manifest::problem::Problem;
use crate::model::{CapabilityParameter, CapabilitySpec};
use crate::run::parameter::{matches_pattern, type_of};

/// Checks that names are unique, and that defaults are values that the parameter may have.
pub(super) fn check(spec: &CapabilitySpec, problems: &mut Vec<Problem>) {
    for (list, parameters) in [("/spec/inputs", &spec.inputs), ("/spec/outputs", &spec.outputs)] {
        check_parameters(parameters, list, problems);
    }
}

/// The same of any list of parameters.
pub(super) fn check_parameters(parameters: &[CapabilityParameter], list: &str, problems: &mut Vec<Problem>) {
    unique(parameters.iter().map(|parameter| Some(parameter.name.as_str())), list, "name", problems);
    for (index, parameter) in parameters.iter().enumerate() {
        values(parameter, &format!("{list}/{index}"), problems);
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
    if let Some(pattern) = &parameter.pattern {
        if let Err(error) = Regex::new(pattern) {
            let message = not_a_pattern(&error);
            problems.push(Problem::new(codes::BAD_PATTERN, format!("{at}/pattern"), message));
        } else if parameter
            .default
            .as_ref()
            .is_some_and(|default| default.as_str().is_some_and(|text| !matches_pattern(pattern, text)))
        {
            let pointer = format!("{at}/default");
            let message = "the default does not match `pattern`";
            problems.push(Problem::new(codes::UNUSABLE_VALUE, pointer, message));
        }
    }
}
