//! How an attempt is presented to whoever is asked about it by HTTP: the same fields and the same headers for all.

use serde_json::{Value, json};

use super::Attempt;
use super::web::{Request, WebError};
use crate::model::JsonMap;

/// Which attempt it is, and its inputs.
pub(super) fn document(attempt: &Attempt) -> JsonMap {
    let fields = [
        ("namespace", json!(attempt.key.namespace)),
        ("execution", json!(attempt.key.name)),
        ("node", json!(attempt.node)),
        ("attempt", json!(attempt.attempt)),
        ("runId", json!(attempt.run_id)),
        ("idempotencyKey", json!(attempt.idempotency_key)),
        ("workKey", json!(attempt.work)),
        ("inputs", Value::Object(attempt.inputs.clone())),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Adds the headers by which the one who is asked can tell what it has done already, and who may ask no more.
pub(super) fn mark(request: &mut Request, attempt: &Attempt) -> Result<(), WebError> {
    request.header("Idempotency-Key", &attempt.idempotency_key)?;
    request.header("Planspec-Work-Key", &attempt.work)?;
    request.header("Planspec-Fencing-Token", &attempt.fencing_token.to_string())
}
