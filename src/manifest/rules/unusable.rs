//! Values that pass the schema and cannot be decoded; searched only after decoding failed.

use serde_json::Value;

use crate::manifest::codes;
use crate::manifest::problem::Problem;
use crate::manifest::suggest::short;
use crate::model::Duration;
use crate::run::json::pointer;

/// Fields below which everything belongs to the user.
const FREE: [&str; 8] =
    ["inputs", "config", "parameters", "constraints", "context", "properties", "payload", "default"];

/// The values below `at` that a model type refuses; `reason` when none is found.
pub(in crate::manifest) fn unusable(value: &Value, at: &str, reason: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    search(value, at, &mut problems);
    if problems.is_empty() {
        problems.push(Problem::new(codes::UNUSABLE_VALUE, at, reason));
    }
    problems
}

fn search(value: &Value, at: &str, problems: &mut Vec<Problem>) {
    match value {
        Value::Object(map) => {
            for (field, value) in map.iter().filter(|(field, _)| !FREE.contains(&field.as_str())) {
                let pointer = pointer::join(at, field);
                if let (true, Value::String(text)) = (is_duration(field), value)
                    && text.parse::<Duration>().is_err()
                {
                    // The schema has checked its form, so that only its length can be what is wrong.
                    let message = format!("the duration `{}` is too long", short(text));
                    problems.push(Problem::new(codes::UNUSABLE_VALUE, pointer, message));
                } else {
                    search(value, &pointer, problems);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                search(item, &format!("{at}/{index}"), problems);
            }
        }
        // A schema takes `1.0` for a whole number, and the model types do not.
        Value::Number(number) if number.is_f64() => {
            let problem =
                Problem::new(codes::UNUSABLE_VALUE, at, format!("`{number}` is not a whole number"));
            problems.push(problem.hint("write it without a decimal point".to_owned()));
        }
        _ => {}
    }
}

fn is_duration(field: &str) -> bool {
    matches!(field, "timeout" | "pollInterval" | "duration" | "skew" | "retention")
}
