//! Turns the errors of the schema validator into messages and hints for authors of manifests.

use std::collections::HashSet;

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value;

use super::legacy_fields;
use crate::manifest::problem::Problem;
use crate::manifest::suggest::short;
use crate::manifest::{codes, suggest};
use crate::model::{Name, NodeId};
use crate::run::json::pointer;

/// Turns validation errors into problems: unexpected fields one by one, and nothing twice.
pub(super) fn problems<'e>(
    errors: impl Iterator<Item = ValidationError<'e>>,
    schema: &Value,
) -> Vec<Problem> {
    let mut seen = HashSet::new();
    let mut all: Vec<Problem> = errors.flat_map(|error| explain(&error, schema)).collect();
    // The branches of `allOf` and `if` report the same thing several times.
    all.retain(|problem| seen.insert((problem.pointer.clone(), problem.message.clone())));
    // Where a selector has an unknown field, that it also has the wrong shape says nothing more.
    let unknown: HashSet<String> = all
        .iter()
        .filter(|problem| problem.code == codes::UNKNOWN_FIELD)
        .filter_map(|problem| pointer::split_last(&problem.pointer).map(|(parent, _)| parent.to_owned()))
        .collect();
    all.retain(|problem| problem.message != SELECTOR || !unknown.contains(&problem.pointer));
    join_misspelt(&mut all);
    all
}

/// A misspelt name of a required field is found twice, as unknown and as missing. One mistake is one error: the field that is
/// there, with what it is meant to be.
fn join_misspelt(all: &mut Vec<Problem>) {
    let missing: Vec<(String, String)> = all
        .iter()
        .filter(|problem| problem.code == codes::MISSING_FIELD)
        .filter_map(|problem| Some((problem.pointer.clone(), missing_name(problem)?.to_owned())))
        .collect();
    let mut taken: HashSet<String> = HashSet::new();
    let mut found = HashSet::new();
    for (at, field) in missing {
        let others: Vec<(String, String)> = all
            .iter()
            .filter(|problem| problem.code == codes::UNKNOWN_FIELD && !taken.contains(&problem.pointer))
            .filter_map(|problem| {
                let (parent, name) = pointer::split_last(&problem.pointer)?;
                (parent == at).then(|| (problem.pointer.clone(), name.into_owned()))
            })
            .collect();
        let near = suggest::nearest(&field, others.iter().map(|(_, name)| name.as_str()));
        let Some((place, _)) = others.iter().find(|(_, name)| Some(name.as_str()) == near) else { continue };
        for problem in all.iter_mut().filter(|problem| problem.pointer == *place) {
            problem.hint = Some(format!("did you mean `{field}`?"));
        }
        taken.insert(place.clone());
        found.insert((at, field));
    }
    all.retain(|problem| {
        let joined = missing_name(problem).map(|field| (problem.pointer.clone(), field.to_owned()));
        problem.code != codes::MISSING_FIELD || joined.is_none_or(|joined| !found.contains(&joined))
    });
}

/// The field that a problem says is missing.
fn missing_name(problem: &Problem) -> Option<&str> {
    problem.message.strip_prefix(MISSING)?.strip_suffix('`')
}

const MISSING: &str = "missing field `";

const SELECTOR: &str = "a selector must have exactly one form";

fn explain(error: &ValidationError<'_>, schema: &Value) -> Vec<Problem> {
    let at = error.instance_path().as_str();
    let value = error.instance().as_ref();
    let one = match error.kind() {
        Kind::AdditionalProperties { unexpected } => {
            // The validator gives one error for all of them; each field gets a finding with its own line.
            let known = siblings(schema, error.schema_path().as_str());
            return unexpected.iter().map(|field| unknown_field(at, field, value, &known)).collect();
        }
        Kind::Required { property } => {
            missing_field(at, property.as_str().unwrap_or_default(), value, schema, error.schema_path().as_str())
        }
        Kind::Type { kind } => {
            // The pattern beside `type` says whether a duration was meant, where `timeout: 30` only lacks its
            // unit.
            let place = error.schema_path().as_str().rsplit_once('/').map_or("", |(parent, _)| parent);
            let pattern = schema.pointer(place).and_then(|field| field.get("pattern")).and_then(Value::as_str);
            wrong_type(at, kind, value, pattern)
        }
        Kind::Enum { options } => {
            let known: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            unknown_value(at, value, &known)
        }
        Kind::Constant { expected_value } => {
            unknown_value(at, value, expected_value.as_str().as_slice())
        }
        Kind::Pattern { pattern } => malformed(at, value, pattern),
        Kind::PropertyNames { error } => malformed_key(at, error),
        // The schemas forbid a field beside a certain value of another one by `field: false` below `then`.
        Kind::FalseSchema => conflicting(at, schema, error.schema_path().as_str()),
        Kind::UniqueItems => Problem::new(codes::NOT_UNIQUE, at, "the same item is listed twice").at_key(),
        // The one `oneOf` in the schemas of the kinds is the selector of a Binding's rule.
        Kind::OneOfNotValid { .. } | Kind::OneOfMultipleValid { .. } => {
            Problem::new(codes::CONFLICTING_FIELDS, at, SELECTOR).at_key().hint(
                "write one of {capabilityRef}, {planRef}, {planRef, nodeId}, {planRef, capabilityRef} or {matchLabels}"
                    .to_owned(),
            )
        }
        other => out_of_range(at, other).unwrap_or_else(|| {
            // Masked, because the library's message would repeat the whole value.
            Problem::new(codes::BAD_FORMAT, at, error.masked().to_string())
        }),
    };
    vec![one]
}

/// The fields of an object by its schema, found from the path of its `additionalProperties`.
fn siblings<'s>(schema: &'s Value, place: &str) -> Vec<&'s str> {
    let parent = place.rsplit_once('/').map_or("", |(parent, _)| parent);
    let fields =
        schema.pointer(parent).and_then(|object| object.get("properties")).and_then(Value::as_object);
    fields.map(|fields| fields.keys().map(String::as_str).collect()).unwrap_or_default()
}

fn unknown_field(at: &str, field: &str, object: &Value, known: &[&str]) -> Problem {
    // A field that is there already is not the one that was meant.
    let absent = known.iter().copied().filter(|name| object.get(name).is_none());
    let mut hint =
        legacy_fields::instead_of(at, field, object).or_else(|| suggest::did_you_mean(field, absent));
    if hint.is_none() && !known.is_empty() && known.len() <= 12 {
        hint = Some(format!(
            "the fields here are {}",
            suggest::one_of(known.iter().copied()).replace(" or ", " and ")
        ));
    }
    let message = match (object.get("kind").and_then(Value::as_str), object.get("id")) {
        // Which fields a node has depends on its kind, and the field may well exist on another kind.
        (Some(kind), Some(_)) => format!("a {kind} node has no field `{}`", short(field)),
        _ => format!("unknown field `{}`", short(field)),
    };
    Problem::new(codes::UNKNOWN_FIELD, pointer::join(at, field), message).at_key().hint(hint)
}

fn missing_field(at: &str, field: &str, object: &Value, schema: &Value, place: &str) -> Problem {
    let problem = Problem::new(codes::MISSING_FIELD, at, format!("{MISSING}{field}`")).at_key();
    // The validator says which field is missing, not which one asks for it, as `series` asks for `version`.
    if let Some(at) = place.find("/dependentRequired") {
        let rules =
            place.get(..at).and_then(|parent| schema.pointer(parent)?.get("dependentRequired")?.as_object());
        let asks = |list: &Value| list.as_array().is_some_and(|list| list.iter().any(|name| name == field));
        let other = rules.and_then(|rules| rules.iter().find(|(_, list)| asks(list)));
        return problem.hint(other.map(|(other, _)| format!("`{other}` and `{field}` must be set together")));
    }
    // Where it chooses which other fields there are, the validator judges none of them, and the misspelt one is not reported.
    let chosen_by: &[&str] = match field {
        "kind" | "type" => &[field],
        "head" => &["number"],
        _ => &[],
    };
    let keys = || object.as_object().into_iter().flat_map(|map| map.keys().map(String::as_str));
    let known = siblings(schema, place);
    for meant in chosen_by {
        if let Some(near) = suggest::nearest(meant, keys().filter(|key| !known.contains(key))) {
            return unknown_field(at, near, object, &[meant]);
        }
    }
    problem.hint(legacy_fields::missing(field, object))
}

fn wrong_type(at: &str, kind: &TypeKind, value: &Value, pattern: Option<&str>) -> Problem {
    let expected = match kind {
        TypeKind::Single(one) => one.to_string(),
        TypeKind::Multiple(many) => many.iter().map(|one| one.to_string()).collect::<Vec<_>>().join(" or "),
    };
    let message = format!("expected {}, found {}", in_words(&expected), describe(value));
    let hint = match (pattern, value) {
        (Some(pattern), Value::Number(_)) if is_duration(pattern) => {
            Some(format!("add a unit, as in `{value}s`"))
        }
        _ => type_hint(at, &expected, value),
    };
    Problem::new(codes::WRONG_TYPE, at, message).hint(hint)
}

/// Whether a pattern of our schemas is the one of durations.
fn is_duration(pattern: &str) -> bool {
    pattern.contains("(ns|")
}

fn type_hint(at: &str, expected: &str, value: &Value) -> Option<String> {
    let field = pointer::split_last(at).map(|(_, field)| field).unwrap_or_default();
    match (expected, value) {
        ("string", Value::Number(_) | Value::Bool(_)) => Some(format!("put it in quotes: \"{value}\"")),
        ("boolean", Value::String(text)) => match text.to_ascii_lowercase().as_str() {
            // YAML 1.1 took these for booleans, and many people still write them. In YAML 1.2 they are text.
            "yes" | "on" | "y" | "true" => Some("write true, without quotes".to_owned()),
            "no" | "off" | "n" | "false" => Some("write false, without quotes".to_owned()),
            _ => None,
        },
        ("integer" | "number", Value::String(text)) => number_hint(text),
        ("object", Value::String(text)) if field.ends_with("Ref") => {
            Some(format!("write {{name: {}}}", short(text)))
        }
        // Where other tools take the list itself.
        ("object", Value::String(_) | Value::Array(_)) if field == "forEach" => {
            Some("write `forEach: {items: LIST}`, where LIST is a list or an expression".to_owned())
        }
        ("string", Value::Object(map)) if at.contains("/children/") && map.contains_key("id") => {
            Some("write only its id, and the node itself beside the group, in `nodes`".to_owned())
        }
        ("string", Value::Object(map)) if map.len() == 1 => map
            .get("name")
            .and_then(Value::as_str)
            .map(|name| format!("write only the name: {}", short(name))),
        // One word where a list of words is meant, as other tools take it.
        ("array", Value::String(text)) if field == "dependsOn" => Some(format!("write [{}]", short(text))),
        ("array", Value::String(_) | Value::Object(_)) => {
            Some("write a list, each item behind a `-`".to_owned())
        }
        ("object", Value::Array(_)) => Some("write fields, without `-`".to_owned()),
        (_, Value::Null) => Some("give it a value".to_owned()),
        _ => None,
    }
}

fn number_hint(text: &str) -> Option<String> {
    let digits = text.trim_start_matches(['+', '-']);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(match digits.trim_start_matches('0') {
        plain if plain.len() == digits.len() => "write it without quotes".to_owned(),
        plain => format!("with a leading zero it is text; write {plain}, or 0o{plain} if octal is meant"),
    })
}

fn unknown_value(at: &str, value: &Value, known: &[&str]) -> Problem {
    let Some(text) = value.as_str() else {
        let message =
            format!("expected {}, found {}", suggest::one_of(known.iter().copied()), describe(value));
        return Problem::new(codes::WRONG_TYPE, at, message);
    };
    let message =
        format!("unknown value `{}`, expected {}", short(text), suggest::one_of(known.iter().copied()));
    let meant = suggest::did_you_mean(text, known.iter().copied());
    Problem::new(codes::UNKNOWN_VALUE, at, message)
        .hint(meant.or_else(|| legacy_fields::type_name(text, known)))
}

fn malformed(at: &str, value: &Value, pattern: &str) -> Problem {
    let text = value.as_str().unwrap_or_default();
    let (message, hint) = words_for(pattern, text);
    let hint = hint.or_else(|| legacy_fields::output(at, text));
    Problem::new(codes::BAD_FORMAT, at, format!("`{}` {message}", short(text))).hint(hint)
}

/// What a pattern of planspec asks for, and how the text could be corrected.
fn words_for(pattern: &str, text: &str) -> (String, Option<String>) {
    // The schemas are embedded, so that a pattern can be recognised by its text. One that is not recognised
    // is printed as it is.
    let lower = text.to_ascii_lowercase().replace(['_', ' ', '.'], "-");
    if pattern == Name::PATTERN {
        let hint = Name::new(&lower).ok().map(|name| format!("write `{name}`"));
        ("is not a name: lower-case letters, digits and `-`, letters or digits at both ends".to_owned(), hint)
    } else if pattern == NodeId::PATTERN {
        let hint = NodeId::new(&lower).ok().map(|id| format!("write `{id}`"));
        (
            "is not a node id: lower-case letters, digits, `-` and `_`, letters or digits at both ends"
                .to_owned(),
            hint,
        )
    } else if is_duration(pattern) {
        let hint = text.parse::<u64>().ok().map(|_| format!("add a unit, as in `{text}s`"));
        (
            "is not a duration; write numbers and units (ns, us, ms, s, m, h, d), as in `1h30m`".to_owned(),
            hint,
        )
    } else if pattern.starts_with("^[a-z0-9]+(-") {
        ("is not kebab-case: lower-case words and digits joined by `-`".to_owned(), None)
    } else if pattern == "^[a-zA-Z][a-zA-Z0-9_]*$" || pattern == "^[a-z][a-z0-9_]*$" {
        let lower = if pattern.contains('Z') { "" } else { "lower-case " };
        (format!("is not an identifier: a {lower}letter, then {lower}letters, digits and `_`"), None)
    } else if pattern.starts_with("^[A-Za-z0-9_.-]+/") {
        ("is not a repository; write `OWNER/NAME`".to_owned(), None)
    } else if pattern.starts_with("^sha256") {
        ("is not a digest: `sha256:` and 64 hexadecimal digits".to_owned(), None)
    } else if pattern.contains("[-A-Za-z0-9_.]") {
        (
            "is not a label: letters, digits, `-`, `_` and `.`, letters or digits at both ends, at most 63"
                .to_owned(),
            None,
        )
    } else {
        (format!("does not match {pattern}"), None)
    }
}

fn malformed_key(at: &str, error: &ValidationError<'_>) -> Problem {
    let name = error.instance().as_str().unwrap_or_default().to_owned();
    let message = match error.kind() {
        Kind::Pattern { pattern } => format!("the key `{}` {}", short(&name), words_for(pattern, &name).0),
        other => match out_of_range(at, other) {
            Some(problem) => format!("the key `{}`: {}", short(&name), problem.message),
            None => format!("the key `{}` is malformed", short(&name)),
        },
    };
    Problem::new(codes::BAD_FORMAT, pointer::join(at, &name), message).at_key()
}

/// A field that is forbidden beside the value of another one.
fn conflicting(at: &str, schema: &Value, place: &str) -> Problem {
    let field = pointer::split_last(at).map(|(_, field)| field.into_owned()).unwrap_or_default();
    let condition = place.rfind("/then/").and_then(|end| place.get(..end)).and_then(|at| schema.pointer(at));
    let given = condition.and_then(|rule| rule.pointer("/if/properties")).and_then(Value::as_object);
    let because = given.and_then(|fields| fields.iter().next()).map(|(name, allowed)| {
        let list = allowed.get("enum").and_then(Value::as_array);
        let words: Vec<&str> = match list {
            Some(list) => list.iter().filter_map(Value::as_str).collect(),
            None => allowed.get("const").and_then(Value::as_str).into_iter().collect(),
        };
        format!(" when `{name}` is {}", suggest::one_of(words))
    });
    let message =
        format!("`{field}` is not allowed{}", because.unwrap_or_else(|| " beside another field".to_owned()));
    Problem::new(codes::CONFLICTING_FIELDS, at, message).at_key()
}

fn out_of_range(at: &str, kind: &Kind) -> Option<Problem> {
    let message = match kind {
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::MinLength { limit: 1 } => "must not be empty".to_owned(),
        Kind::MinLength { limit } => format!("must have at least {limit} characters"),
        Kind::MaxLength { limit } => format!("must have at most {limit} characters"),
        Kind::MinItems { limit: 1 } => "must have at least one item".to_owned(),
        Kind::MinItems { limit } => format!("must have at least {limit} items"),
        Kind::MinProperties { limit } => format!("must have at least {limit} entry"),
        Kind::MaxItems { limit: 1 } => "must have at most one item".to_owned(),
        Kind::MaxItems { limit } => format!("must have at most {limit} items"),
        _ => return None,
    };
    Some(Problem::new(codes::OUT_OF_RANGE, at, message))
}

fn in_words(kind: &str) -> &str {
    match kind {
        "string" => "a string",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        "object" => "a mapping",
        "array" => "a list",
        "null" => "nothing",
        other => other,
    }
}

/// A value as a short phrase.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("`{value}`"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the string `{}`", short(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}
