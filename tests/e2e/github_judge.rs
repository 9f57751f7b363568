//! What GitHub's published OpenAPI description says of a request and of an answer: an unknown address, a field that is not
//! declared or is missing, and a wrong type are mistakes. `tests/rig/judge.mjs` judges the same for the workflows' tests.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::{Map, Value, json};

/// A schema that is compiled when something is judged by it: nearly all of the time of a test would go into the others.
struct Schema {
    own: Value,
    compiled: OnceLock<Validator>,
}

impl Schema {
    fn new(own: &Value) -> Self {
        Self { own: own.clone(), compiled: OnceLock::new() }
    }

    fn get(&self) -> &Validator {
        self.compiled.get_or_init(|| {
            let whole = json!({ "definitions": description()["definitions"], "allOf": [self.own] });
            let options = jsonschema::options().with_draft(jsonschema::Draft::Draft7).build(&whole);
            options.unwrap_or_else(|error| panic!("{}: {error}", self.own))
        })
    }
}

/// One operation of the description.
struct Operation {
    name: String,
    method: String,
    /// The segments of its path; those in braces stand for anything.
    path: Vec<String>,
    query: BTreeMap<String, Schema>,
    needs: Vec<String>,
    body: Option<Schema>,
    body_required: bool,
    /// By status; none where the answer says nothing.
    answers: BTreeMap<String, Option<Schema>>,
}

/// What is wrong with a request and its answer, a line each.
pub(crate) fn mistakes(
    method: &str,
    address: &str,
    body: &[u8],
    (status, answer): (u16, &Value),
) -> Vec<String> {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    // The host's other API has a description of another kind; the small host of the tests judges its one request itself.
    if path == "/graphql" {
        return Vec::new();
    }
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let Some(operation) = find(method, &segments) else {
        return vec![format!("{method} {path}: GitHub has no such operation")];
    };
    let mut found = operation.query_mistakes(query);
    let sent: Option<Value> = if body.is_empty() { None } else { serde_json::from_slice(body).ok() };
    match (&operation.body, sent) {
        (Some(schema), Some(sent)) => found.extend(errors("the body", schema.get(), &sent)),
        // Nothing in an object says as much as no body.
        (None, Some(sent)) if sent != json!({}) => found.push("the body: there is to be none".to_owned()),
        (Some(_), None) if operation.body_required => found.push("the body: there is to be one".to_owned()),
        _ => {}
    }
    if (200..300).contains(&status) {
        match operation.answers.get(&status.to_string()) {
            Some(Some(schema)) => found.extend(errors("the answer", schema.get(), answer)),
            Some(None) => {}
            None => found.push(format!("the answer: GitHub never answers {status}")),
        }
    }
    found.into_iter().map(|what| format!("{method} {address}: {what}")).collect()
}

impl Operation {
    fn query_mistakes(&self, query: &str) -> Vec<String> {
        let mut found = Vec::new();
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let given: Vec<(&str, &str)> = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
        for (name, value) in &given {
            let Some(schema) = self.query.get(*name) else {
                found.push(format!("the parameter `{name}` is not declared"));
                continue;
            };
            // A text in an address may stand for a number or a truth.
            let read = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
            if !schema.get().is_valid(&read) && !schema.get().is_valid(&json!(value)) {
                found.push(format!("the parameter `{name}` may not be {value}"));
            }
        }
        let missing = self.needs.iter().filter(|name| given.iter().all(|(given, _)| given != name));
        found.extend(missing.map(|name| format!("the parameter `{name}` is missing")));
        found
    }
}

fn errors(what: &str, schema: &Validator, value: &Value) -> Vec<String> {
    schema.iter_errors(value).map(|error| format!("{what} at `{}`: {error}", error.instance_path())).collect()
}

/// What the description calls the operation of an address: `GET /repos/{owner}/{repo}/…`.
#[allow(dead_code, reason = "the unit tests of the client use it too")]
pub(crate) fn name(method: &str, path: &str) -> Option<&'static str> {
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    find(method, &segments).map(|operation| operation.name.as_str())
}

/// The operation of an address: the one with the fewest segments that stand for anything.
fn find(method: &str, segments: &[&str]) -> Option<&'static Operation> {
    let fits = |operation: &&Operation| {
        operation.method == method
            && operation.path.len() == segments.len()
            && operation.path.iter().zip(segments).all(|(own, given)| own.starts_with('{') || own == given)
    };
    let free =
        |operation: &&Operation| operation.path.iter().filter(|segment| segment.starts_with('{')).count();
    operations().iter().filter(fits).min_by_key(free)
}

fn description() -> &'static Value {
    static DESCRIPTION: OnceLock<Value> = OnceLock::new();
    DESCRIPTION.get_or_init(|| serde_json::from_str(include_str!("../rig/openapi/github.json")).unwrap())
}

fn operations() -> &'static [Operation] {
    static OPERATIONS: OnceLock<Vec<Operation>> = OnceLock::new();
    OPERATIONS.get_or_init(|| {
        let operations = description()["operations"].as_object().unwrap();
        operations.iter().map(|(name, operation)| read(name, operation)).collect()
    })
}

fn read(name: &str, operation: &Value) -> Operation {
    let (method, path) = name.split_once(' ').unwrap();
    let object = |key: &str| operation[key].as_object().cloned().unwrap_or_else(Map::new);
    let texts = |key: &str| operation[key].as_array().cloned().unwrap_or_default();
    Operation {
        name: name.to_owned(),
        method: method.to_owned(),
        path: path.trim_start_matches('/').split('/').map(str::to_owned).collect(),
        query: object("query").iter().map(|(name, value)| (name.clone(), Schema::new(value))).collect(),
        needs: texts("needs").iter().map(|name| name.as_str().unwrap().to_owned()).collect(),
        body: operation.get("body").filter(|body| !body.is_null()).map(Schema::new),
        body_required: operation["bodyRequired"] == true,
        answers: object("answers")
            .iter()
            .map(|(status, value)| (status.clone(), (!value.is_null()).then(|| Schema::new(value))))
            .collect(),
    }
}

/// A judge that lets everything pass would be worth nothing.
#[test]
fn what_github_does_not_describe_is_a_mistake() {
    let judged = |method: &str, address: &str, body: &Value, answer: &Value| {
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
        mistakes(method, address, &body, (if method == "POST" { 201 } else { 200 }, answer))
    };
    let comments = "/repos/acme/app/issues/7/comments";
    let comment = json!({ "id": 1, "body": "x", "user": { "login": "wendy" } });
    let issue = json!({ "title": "x", "labels": ["a"] });
    assert_eq!(judged("POST", comments, &json!({ "body": "x" }), &comment), Vec::<String>::new());
    assert_eq!(
        judged("GET", &format!("{comments}?per_page=100&page=1"), &Value::Null, &json!([comment])),
        Vec::<String>::new()
    );
    let opened = |body: &Value| judged("POST", "/repos/acme/app/issues", body, &json!({ "number": 1 }));
    assert_eq!(opened(&issue), Vec::<String>::new());
    let patched = |body: Value| judged("PATCH", "/repos/acme/app/issues/1", &body, &json!({ "number": 1 }));
    assert_eq!(patched(json!({ "state": "closed" })), Vec::<String>::new());
    let changed = |change: fn(&mut Value)| {
        let mut issue = issue.clone();
        change(&mut issue);
        opened(&issue)
    };
    let wrong = [
        judged("POST", "/repos/acme/app/comments", &json!({ "body": "x" }), &comment),
        judged("PUT", comments, &json!({ "body": "x" }), &comment),
        judged("POST", comments, &json!({ "text": "x" }), &comment),
        judged("POST", comments, &json!({ "body": "x", "pinned": true }), &comment),
        judged("POST", comments, &json!({ "body": 1 }), &comment),
        judged("POST", comments, &Value::Null, &comment),
        judged("GET", &format!("{comments}?per_page=many"), &Value::Null, &json!([])),
        judged("GET", &format!("{comments}?author=wendy"), &Value::Null, &json!([])),
        judged("GET", comments, &Value::Null, &json!([{ "identity": 1 }])),
        judged("GET", comments, &Value::Null, &json!([{ "id": "1" }])),
        patched(json!({ "state": "fine" })),
        changed(|issue| drop(issue.as_object_mut().unwrap().remove("title"))),
        changed(|issue| issue["assignees"] = json!("wendy")),
        changed(|issue| issue["labels"] = json!([{ "title": "a" }])),
    ];
    for (index, found) in wrong.iter().enumerate() {
        assert!(!found.is_empty(), "mistake {index} passes");
    }
}
