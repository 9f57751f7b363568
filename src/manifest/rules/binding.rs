//! The rules of a Binding that a schema cannot express: no text becomes a program.

use crate::manifest::codes;
use crate::manifest::problem::Problem;
use crate::model::BindingSpec;
use crate::run::shell_line::{HOW_TO_PASS_A_VALUE, has_expression_in_shell_line, is_local_command};

/// Checks that no expression is a part of a shell line. Only the provider knows the other settings.
pub(super) fn check(spec: &BindingSpec, problems: &mut Vec<Problem>) {
    for (index, rule) in spec.rules.iter().enumerate() {
        if !is_local_command(&rule.target) || !has_expression_in_shell_line(&rule.target.config) {
            continue;
        }
        let pointer = format!("/spec/rules/{index}/target/config/command");
        // Said here and not only when the node would start: then the change is merged, and waits.
        let problem =
            Problem::new(codes::BAD_EXPRESSION, pointer, "an expression cannot be a part of a shell line");
        problems.push(problem.hint(HOW_TO_PASS_A_VALUE.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(command: &str) -> usize {
        let spec = json!({ "rules": [
            { "selector": { "planRef": { "name": "p" } }, "target": { "provider": "tool://x", "config": { "command": command } } },
            { "selector": { "planRef": { "name": "p" } }, "target": { "provider": "robot://x", "config": { "command": command } } },
        ] });
        let mut problems = Vec::new();
        check(&serde_json::from_value(spec).unwrap(), &mut problems);
        problems.len()
    }

    #[test]
    fn an_expression_in_a_shell_line_is_an_error_and_nowhere_else() {
        assert_eq!(found("echo ${{ inputs.x }}"), 1);
        assert_eq!(found("${{ inputs.tool }}"), 0);
        assert_eq!(found("echo \"$X\""), 0);
    }
}
