//! Whether a command is a program or a line for a shell: decided by what is written, before any expression is replaced, so that
//! no value ever becomes a program (Invariant 8).

use serde_json::Value;

use super::expression::{OPEN, without_expressions};
use crate::model::{BindingTarget, JsonMap};

/// What people are told to write instead.
pub(crate) const HOW_TO_PASS_A_VALUE: &str = "a value is handed over in `env` or `args`: command: 'echo \"$NAME\"', env: {NAME: \"${{ … }}\"}, or a program with args: [\"${{ … }}\"]";

/// Whether a target is a local command, whose `command` may be a line for a shell.
#[must_use]
pub(crate) fn is_local_command(target: &BindingTarget) -> bool {
    match target.provider.split_once("://") {
        // A plain word is a program of its own name.
        None => true,
        Some((scheme, _)) => matches!(scheme, "tool" | "agent") && target.config.contains_key("command"),
    }
}

/// Whether a shell would read the command of these settings; none where they hold no command.
#[must_use]
pub(crate) fn is_shell_line(config: &JsonMap) -> Option<bool> {
    let command = config.get("command")?.as_str()?;
    if let Some(Value::Bool(shell)) = config.get("shell") {
        return Some(*shell);
    }
    let args = config.get("args").is_some_and(|args| args.as_array().is_none_or(|args| !args.is_empty()));
    // Without its expressions: the blanks in `${{ inputs.tool }}` are none of the command, nor are those of its value. One word
    // stands for each, because `echo ${{ … }}` is a line although nothing but a blank is left of it.
    Some(!args && without_expressions(command).trim().contains(char::is_whitespace))
}

/// Whether an expression stands inside a shell line: whatever its value turned out to be, the shell would read it as a program.
#[must_use]
pub(crate) fn has_expression_in_shell_line(config: &JsonMap) -> bool {
    let command = config.get("command").and_then(Value::as_str).unwrap_or_default();
    command.contains(OPEN) && is_shell_line(config).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(config: &Value, shell: bool, refused: bool) {
        let config = config.as_object().unwrap();
        assert_eq!((is_shell_line(config), has_expression_in_shell_line(config)), (Some(shell), refused));
    }

    #[test]
    fn what_is_written_decides_and_no_value_does() {
        check(&json!({ "command": "npm test" }), true, false);
        check(&json!({ "command": "npm", "args": ["test"] }), false, false);
        check(&json!({ "command": "my tool", "args": "${{ inputs.all }}" }), false, false);
        check(&json!({ "command": "${{ inputs.tool }}" }), false, false);
        check(&json!({ "command": "bin/${{ inputs.tool }}" }), false, false);
        // Two maps end here, and the expression does not.
        check(&json!({ "command": "${{ {'a': {'b': inputs.tool}}.a.b }}" }), false, false);
        check(&json!({ "command": "sh", "args": ["-c", "${{ inputs.x }}"] }), false, false);
        check(&json!({ "command": "echo ${{ inputs.x }}" }), true, true);
        check(&json!({ "command": "${{ inputs.a }} ${{ inputs.b }}" }), true, true);
        check(&json!({ "command": "${{ inputs.line }}", "shell": true }), true, true);
        check(&json!({ "command": "echo ${{ inputs.x", "shell": false }), false, false);
        assert_eq!(is_shell_line(&JsonMap::new()), None);
    }
}
