//! What a value must be to serve as an input or output of a capability. Used when manifests are checked, and again when
//! a task starts or ends, because an expression or a provider may give something else than was announced.

use regex::Regex;
use serde_json::{Value, json};

use super::json as strict_json;
use crate::model::{CapabilityParameter, JsonMap, ParameterType};

/// Values longer than this are not repeated in a message.
const SHOWN: usize = 60;

/// The JSON type of a value; null has none.
#[must_use]
pub(crate) fn type_of(value: &Value) -> Option<ParameterType> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(_) => ParameterType::Boolean,
        Value::Number(_) => ParameterType::Number,
        Value::String(_) => ParameterType::String,
        Value::Array(_) => ParameterType::Array,
        Value::Object(_) => ParameterType::Object,
    })
}

/// A type as a person would say it.
#[must_use]
pub(crate) fn in_words(kind: ParameterType) -> &'static str {
    match kind {
        ParameterType::String => "a string",
        ParameterType::Number => "a number",
        ParameterType::Boolean => "a boolean",
        ParameterType::Object => "a mapping",
        ParameterType::Array => "a list",
    }
}

/// Whether a text has a format of JSON Schema. A format that is not known asks for nothing, as in JSON Schema.
#[must_use]
pub(crate) fn has_format(format: &str, text: &str) -> bool {
    let schema = json!({ "format": format });
    // JSON Schema 2020-12 takes `format` for a remark unless it is asked to check it.
    let options =
        jsonschema::options().with_draft(jsonschema::Draft::Draft202012).should_validate_formats(true);
    options.build(&schema).map_or(true, |validator| validator.is_valid(&Value::from(text)))
}

/// Whether a text matches a pattern somewhere, as in JSON Schema. One that does not compile is an error of its manifest,
/// and asks for nothing here.
#[must_use]
pub(crate) fn matches_pattern(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).map_or(true, |pattern| pattern.is_match(text))
}

/// The parameters of an Execution: those that it gives, and the defaults of its plan.
///
/// # Errors
/// One is unknown, missing or does not fit; says which, and why.
pub(crate) fn complete(declared: &[CapabilityParameter], given: &JsonMap) -> Result<JsonMap, String> {
    let mut all = given.clone();
    // Plans of the published contract declare none, and their expressions read whatever is given.
    if declared.is_empty() {
        return Ok(all);
    }
    if let Some(unknown) = given.keys().find(|name| !declared.iter().any(|one| one.name == **name)) {
        return Err(format!("the plan has no parameter `{unknown}`"));
    }
    for parameter in declared {
        let name = &parameter.name;
        match (all.get(name), &parameter.default) {
            (Some(value), _) => {
                if let Some(why) = misfit(parameter, value) {
                    return Err(format!("the parameter `{name}` {why}"));
                }
            }
            (None, Some(default)) => {
                all.insert(name.clone(), default.clone());
            }
            (None, None) if parameter.required => return Err(format!("the parameter `{name}` is missing")),
            // Absent, not null: `has(parameters.x)` is how a plan asks.
            (None, None) => {}
        }
    }
    Ok(all)
}

/// Why a value does not fit a parameter, as what follows its name; none when it fits.
#[must_use]
pub(crate) fn misfit(parameter: &CapabilityParameter, value: &Value) -> Option<String> {
    let wanted = in_words(parameter.kind);
    if type_of(value) != Some(parameter.kind) {
        let is = type_of(value).map_or("null", in_words);
        return Some(format!("is {is}, and must be {wanted}"));
    }
    if !parameter.values.is_empty() && !parameter.values.contains(value) {
        let known: Vec<String> = parameter.values.iter().map(Value::to_string).collect();
        return Some(format!("is {}, and must be one of {}", short(value), known.join(", ")));
    }
    if let (Some(format), Value::String(text)) = (&parameter.format, value)
        && !has_format(format, text)
    {
        return Some(format!("is {}, and must have the format {format}", short(value)));
    }
    if let (Some(pattern), Value::String(text)) = (&parameter.pattern, value)
        && !matches_pattern(pattern, text)
    {
        return Some(format!("is {}, and must match {pattern}", short(value)));
    }
    if let (Some(kind), Value::Array(items)) = (parameter.item_type, value) {
        let wrong = items.iter().position(|item| type_of(item) != Some(kind))?;
        return Some(format!("has an item ({wrong}) that is not {}", in_words(kind)));
    }
    None
}

/// What a parameter is to be, for people.
#[must_use]
pub(crate) fn hint(parameter: &CapabilityParameter) -> String {
    let kind = in_words(parameter.kind);
    match &parameter.description {
        Some(description) => format!("{kind}: {description}"),
        None => kind.to_owned(),
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    // The message goes into the record, and a value may be as large as an output.
    if text.chars().count() <= SHOWN {
        return text;
    }
    let head: String = text.chars().take(SHOWN).collect();
    format!("{head}…")
}

/// Reads a value that somebody gives by name: `NAME=TEXT`, or `NAME:=JSON` for anything but text. A text stays what was
/// typed: `1e3`, `007` and `true` are not taken for numbers or booleans.
///
/// # Errors
/// What is wrong, for the person who typed it.
pub(crate) fn assignment(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=TEXT, or NAME:=JSON for other types")?;
    let (name, value) = match name.strip_suffix(':') {
        Some(name) => (name, strict_json::read(value).map_err(|why| format!("{name}:= takes JSON: {why}"))?),
        None => (name, Value::String(value.to_owned())),
    };
    if name.is_empty() {
        return Err("the name is empty".to_owned());
    }
    Ok((name.to_owned(), value))
}

/// Reads texts as the types that parameters declare: `key=value` lines can say nothing but text. A text that cannot be
/// read so stays, for [`misfit`] to refuse.
pub(crate) fn read_texts(values: &mut JsonMap, parameters: &[CapabilityParameter]) {
    // What is declared as text stays as it was given: `007` and `true` are texts then.
    for parameter in parameters.iter().filter(|parameter| parameter.kind != ParameterType::String) {
        let Some(value) = values.get_mut(&parameter.name) else { continue };
        let Some(text) = value.as_str() else { continue };
        // Strictly, as `NAME:=JSON` is: a wide integer would be rounded, and of two equal keys one would be lost.
        if let Ok(read) = strict_json::read(text)
            // Only when it becomes what was asked for; otherwise the message shows the value as it was written.
            && type_of(&read) == Some(parameter.kind)
        {
            *value = read;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_what_was_typed_and_json_is_asked_for() {
        for text in [
            "1234e56",
            "123456789012345678901234567890",
            "1.10",
            "true",
            "null",
            "007",
            "x=y",
            "\"5\"",
            "[1]",
            "",
        ] {
            assert_eq!(assignment(&format!("a={text}")), Ok(("a".to_owned(), json!(text))));
        }
        assert_eq!(assignment("a:=[1, true]"), Ok(("a".to_owned(), json!([1, true]))));
        assert_eq!(assignment("a:=x").unwrap_err(), "a:= takes JSON: expected value at line 1 column 1");
        assert_eq!(assignment("a:={\"b\": 1, \"b\": 2}").unwrap_err(), "a:= takes JSON: duplicate key at /b");
        assert!(assignment("a").is_err() && assignment("=1").is_err() && assignment(":=1").is_err());
    }

    #[track_caller]
    #[allow(clippy::needless_pass_by_value, reason = "a literal value reads best without a borrow")]
    fn check(parameter: Value, value: Value, expected: Option<&str>) {
        let parameter: CapabilityParameter = serde_json::from_value(parameter).unwrap();
        assert_eq!(misfit(&parameter, &value).as_deref(), expected);
    }

    #[test]
    fn a_value_has_the_type_the_values_the_format_and_the_items_that_are_declared() {
        let width = || json!({ "name": "width", "type": "number" });
        check(width(), json!(3), None);
        check(width(), json!("3"), Some("is a string, and must be a number"));
        check(width(), json!(null), Some("is null, and must be a number"));
        let kind = || json!({ "name": "kind", "type": "string", "enum": ["a", "b"] });
        check(kind(), json!("b"), None);
        check(kind(), json!("c"), Some("is \"c\", and must be one of \"a\", \"b\""));
        let day = || json!({ "name": "day", "type": "string", "format": "date" });
        check(day(), json!("2026-02-28"), None);
        check(day(), json!("2026-02-30"), Some("is \"2026-02-30\", and must have the format date"));
        let unknown = json!({ "name": "day", "type": "string", "format": "no-such-format" });
        check(unknown, json!("anything"), None);
        let list = || json!({ "name": "list", "type": "array", "itemType": "string" });
        check(list(), json!(["a"]), None);
        check(list(), json!(["a", 1]), Some("has an item (1) that is not a string"));
    }

    #[test]
    fn parameters_are_completed_by_what_the_plan_declares() {
        let declared: Vec<CapabilityParameter> = serde_json::from_value(json!([
            { "name": "tag", "type": "string", "required": true, "pattern": "^v[0-9.]+$" },
            { "name": "dry", "type": "boolean", "default": true }, { "name": "note", "type": "string" },
        ]))
        .unwrap();
        let completed = |given: Value| complete(&declared, given.as_object().unwrap()).map(Value::Object);
        assert_eq!(completed(json!({ "tag": "v1.10" })), Ok(json!({ "tag": "v1.10", "dry": true })));
        let refused = |given, why: &str| assert_eq!(completed(given), Err(why.to_owned()));
        refused(json!({}), "the parameter `tag` is missing");
        refused(json!({ "tag": "1.10" }), "the parameter `tag` is \"1.10\", and must match ^v[0-9.]+$");
        refused(
            json!({ "tag": "v1", "dry": "no" }),
            "the parameter `dry` is a string, and must be a boolean",
        );
        refused(json!({ "tag": "v1", "dyr": true }), "the plan has no parameter `dyr`");
        let any = json!({ "anything": [1] });
        assert_eq!(complete(&[], any.as_object().unwrap()).map(Value::Object), Ok(any));
    }

    #[test]
    fn texts_are_read_as_the_types_that_are_declared() {
        let parameters: Vec<CapabilityParameter> = serde_json::from_value(json!([
            { "name": "n", "type": "number" }, { "name": "b", "type": "boolean" },
            { "name": "s", "type": "string" }, { "name": "x", "type": "number" },
            { "name": "wide", "type": "number" }, { "name": "twice", "type": "object" },
        ]))
        .unwrap();
        let Value::Object(mut values) = json!({ "n": "42", "b": "true", "s": "7", "x": "many", "y": "1" })
        else {
            panic!()
        };
        let wide = "123456789012345678901234567890";
        let twice = "{\"a\": 1, \"a\": 2}";
        values.extend([("wide".to_owned(), json!(wide)), ("twice".to_owned(), json!(twice))]);
        read_texts(&mut values, &parameters);
        assert_eq!(values.remove("wide"), Some(json!(wide)));
        assert_eq!(values.remove("twice"), Some(json!(twice)));
        assert_eq!(Value::Object(values), json!({ "n": 42, "b": true, "s": "7", "x": "many", "y": "1" }));
    }
}
