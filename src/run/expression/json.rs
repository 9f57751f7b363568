//! JSON to CEL and back. Integers stay integers, keys come back sorted, and what JSON cannot hold is an error.

use std::collections::HashMap;
use std::sync::Arc;

use cel::objects::{Key, Map};
use serde_json::{Number, Value};

use super::need::Need;
use crate::model::JsonMap;

/// The CEL value of the parts of a JSON value that are needed.
pub(super) fn to_cel(value: &Value, need: &Need) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(flag) => cel::Value::Bool(*flag),
        Value::Number(number) => number_to_cel(number),
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(items) => {
            // All of every item: an index is rarely known when the expression is compiled.
            cel::Value::List(Arc::new(items.iter().map(|item| to_cel(item, &Need::ALL)).collect()))
        }
        Value::Object(map) => object_to_cel(map, need),
    }
}

/// The CEL map of the entries of a JSON object that are needed.
pub(super) fn object_to_cel(map: &JsonMap, need: &Need) -> cel::Value {
    match need {
        Need::All => to_map(map.iter().map(|(key, value)| (key.clone(), to_cel(value, need)))),
        Need::Fields(fields) => to_map(fields.iter().filter_map(|(key, need)| {
            let value = map.get(key)?;
            Some((key.clone(), to_cel(value, need)))
        })),
    }
}

/// A CEL map.
pub(super) fn to_map(entries: impl Iterator<Item = (String, cel::Value)>) -> cel::Value {
    let map: HashMap<Key, cel::Value> = entries.map(|(key, value)| (Key::from(key), value)).collect();
    cel::Value::Map(Map { map: Arc::new(map) })
}

fn number_to_cel(number: &Number) -> cel::Value {
    if let Some(int) = number.as_i64() {
        cel::Value::Int(int)
    } else if let Some(uint) = number.as_u64() {
        cel::Value::UInt(uint)
    } else {
        // Without arbitrary precision, every other number is a float.
        cel::Value::Float(number.as_f64().unwrap_or(f64::NAN))
    }
}

/// The JSON value of a CEL value; the error says which type JSON does not have.
pub(super) fn from_cel(value: &cel::Value) -> Result<Value, &'static str> {
    Ok(match value {
        cel::Value::Null => Value::Null,
        cel::Value::Bool(flag) => Value::Bool(*flag),
        cel::Value::Int(int) => Value::from(*int),
        cel::Value::UInt(uint) => Value::from(*uint),
        cel::Value::Float(float) => {
            // JSON has no infinity and no NaN. Turning them into null would let a failed division pass for a missing
            // value.
            Number::from_f64(*float).map(Value::Number).ok_or("a number that is infinite or not a number")?
        }
        cel::Value::String(text) => Value::String(text.as_ref().clone()),
        cel::Value::List(items) => Value::Array(items.iter().map(from_cel).collect::<Result<_, _>>()?),
        cel::Value::Map(map) => {
            let mut entries: Vec<_> = map.map.iter().map(|(key, value)| (key.to_string(), value)).collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            let entries = entries.into_iter().map(|(key, value)| from_cel(value).map(|value| (key, value)));
            Value::Object(entries.collect::<Result<_, _>>()?)
        }
        cel::Value::Bytes(_) => return Err("bytes"),
        _ => return Err("a type or function"),
    })
}
