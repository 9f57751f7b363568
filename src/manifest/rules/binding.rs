//! The rules of a Binding that a schema cannot express: its expressions, and that no text becomes a program.

use serde_json::Value;

use crate::manifest::codes;
use crate::manifest::problem::Problem;
use crate::model::BindingSpec;
use crate::run::expression::{Template, first_expression};
use crate::run::shell_line::{HOW_TO_PASS_A_VALUE, has_expression_in_shell_line, is_local_command};

/// Checks that every expression can be compiled, and that none is a part of a shell line. Only the provider knows the other
/// settings, and only the node what its variables hold.
pub(super) fn check(spec: &BindingSpec, problems: &mut Vec<Problem>) {
    for (index, rule) in spec.rules.iter().enumerate() {
        let target = format!("/spec/rules/{index}/target");
        let config = format!("{target}/config");
        // A person may be named by an expression, as in `human://${{ inputs.owner }}`.
        let provider = Template::compile(&Value::from(rule.target.provider.as_str()));
        let settings = Template::compile_map(&rule.target.config);
        // Said here and not only when the node would start: then the change is merged, and waits.
        for (place, compiled) in [(format!("{target}/provider"), provider), (config.clone(), settings)] {
            for wrong in compiled.err().into_iter().flatten() {
                let pointer = format!("{place}{}", wrong.pointer);
                let problem = Problem::new(codes::BAD_EXPRESSION, pointer, wrong.error.message);
                problems.push(problem.within(wrong.error.offset).hint(wrong.error.hint));
            }
        }
        if !is_local_command(&rule.target) || !has_expression_in_shell_line(&rule.target.config) {
            continue;
        }
        let command = rule.target.config.get("command").and_then(Value::as_str).unwrap_or_default();
        let message = "an expression cannot be a part of a shell line";
        let problem = Problem::new(codes::BAD_EXPRESSION, format!("{config}/command"), message);
        let problem = problem.part(first_expression(command).unwrap_or_default());
        problems.push(problem.hint(HOW_TO_PASS_A_VALUE.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problems(rules: &Value) -> Vec<Problem> {
        let mut problems = Vec::new();
        check(&serde_json::from_value(json!({ "rules": rules })).unwrap(), &mut problems);
        problems
    }

    fn found(command: &str) -> usize {
        let rules = json!([
            { "selector": { "planRef": { "name": "p" } }, "target": { "provider": "tool://x", "config": { "command": command } } },
            { "selector": { "planRef": { "name": "p" } }, "target": { "provider": "robot://x", "config": { "command": command } } },
        ]);
        problems(&rules).len()
    }

    #[test]
    fn an_expression_that_names_a_person_is_compiled_too() {
        let of = |provider: &str| {
            let rule =
                json!({ "selector": { "planRef": { "name": "p" } }, "target": { "provider": provider } });
            problems(&json!([rule])).into_iter().map(|problem| problem.pointer).collect::<Vec<_>>()
        };
        assert_eq!(of("human://${{ inputs.on call }}"), ["/spec/rules/0/target/provider"]);
        assert!(of("human://${{ inputs.owner }}").is_empty());
    }

    #[test]
    fn an_expression_in_a_shell_line_is_an_error_and_nowhere_else() {
        assert_eq!(found("echo ${{ inputs.x }}"), 1);
        assert_eq!(found("${{ inputs.tool }}"), 0);
        assert_eq!(found("echo \"$X\""), 0);
    }

    #[test]
    fn an_expression_that_cannot_be_compiled_is_an_error_before_any_node_waits_for_it() {
        // Once for each of the two rules.
        assert_eq!(found("${{ inputs.x + }}"), 2);
        assert_eq!(found("${{ inputs.x"), 2);
    }
}
