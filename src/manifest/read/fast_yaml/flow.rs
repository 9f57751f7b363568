//! Flow collections that stand in one line: `[a, b]` and `{from: a, to: b}`.

use serde_json::{Map, Value};

use super::scalar;

/// Reads a collection that fills the rest of a line.
pub(super) fn read(text: &str, depth: u32) -> Option<Value> {
    let (value, rest) = collection(text, depth)?;
    scalar::nothing_follows(rest).then_some(value)
}

fn collection(text: &str, depth: u32) -> Option<(Value, &str)> {
    let depth = depth.checked_sub(1)?;
    match text.as_bytes().first()? {
        b'[' => list(skip(text.get(1..)?), depth),
        b'{' => mapping(skip(text.get(1..)?), depth),
        _ => None,
    }
}

fn list(mut rest: &str, depth: u32) -> Option<(Value, &str)> {
    let mut items = Vec::new();
    if let Some(rest) = rest.strip_prefix(']') {
        return Some((Value::Array(items), rest));
    }
    loop {
        let (item, after) = value(rest, depth)?;
        items.push(item);
        let after = skip(after);
        if let Some(after) = after.strip_prefix(']') {
            return Some((Value::Array(items), after));
        }
        // `[a,b]` and a comma before the closing bracket are legal too, and left to the walk.
        rest = skip(after.strip_prefix(", ")?);
    }
}

fn mapping(mut rest: &str, depth: u32) -> Option<(Value, &str)> {
    let mut map = Map::new();
    if let Some(rest) = rest.strip_prefix('}') {
        return Some((Value::Object(map), rest));
    }
    loop {
        let (key, after) = scalar::key(rest)?;
        let (item, after) = value(after, depth)?;
        // A duplicate key, which the walk reports with both places.
        if map.insert(key.to_owned(), item).is_some() {
            return None;
        }
        let after = skip(after);
        if let Some(after) = after.strip_prefix('}') {
            return Some((Value::Object(map), after));
        }
        rest = skip(after.strip_prefix(", ")?);
    }
}

fn value(text: &str, depth: u32) -> Option<(Value, &str)> {
    match text.as_bytes().first()? {
        b'[' | b'{' => collection(text, depth),
        b'"' | b'\'' => scalar::quoted(text).map(|(value, rest)| (Value::String(value.to_owned()), rest)),
        _ => {
            // Everything that could give a plain scalar another meaning within brackets ends it, and only a
            // separator may be what ended it.
            let end = text.find([',', ']', '}', '[', '{', ':', '#', '"', '\''])?;
            let (plain, rest) = text.split_at_checked(end)?;
            let ends = rest.starts_with([',', ']', '}']);
            ends.then(|| scalar::resolve(plain.trim_end_matches(' '))).flatten().map(|value| (value, rest))
        }
    }
}

fn skip(text: &str) -> &str {
    text.trim_start_matches(' ')
}
