//! JSON: values from serde_json's deserializer, with what it would pass over in silence: duplicate keys, and integers
//! that it would round.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::finding::{FindingKind, ReadFinding, ValuePath};
use super::lines::Position;
use super::{RawDocument, ReadError};

/// From here on, serde_json reads an integer as a floating-point number.
const BEYOND_64_BITS: f64 = 9_223_372_036_854_775_808.0;

/// Reads one value that fills the text.
pub(super) fn read(text: &str, depth: u32) -> Result<RawDocument, ReadError> {
    let mut findings = Vec::new();
    let mut source = serde_json::Deserializer::from_str(text);
    let seed = JsonSeed { path: &ValuePath::Root, levels: depth, findings: &mut findings };
    let value = seed.deserialize(&mut source).and_then(|value| source.end().map(|()| value));
    let value = value.map_err(|error| {
        let message = error.to_string();
        ReadError::Syntax {
            // The column counts bytes; beyond ASCII it may be late, and is cut at the end of the line.
            at: Position { line: error.line(), column: error.column().max(1) },
            message: message.split(" at line ").next().unwrap_or_default().to_owned(),
        }
    })?;
    if findings.iter().any(|found| found.kind == FindingKind::BadNumber) {
        // The visitor sees `1e20` and `100000000000000000000` as the same number; only the second one was rounded.
        let mut rounded = wide_numbers(text).into_iter();
        findings.retain(|found| found.kind != FindingKind::BadNumber || rounded.next().unwrap_or(true));
    }
    Ok(RawDocument { value, findings })
}

/// The numbers beyond 64 bits, in the order of the text: whether each is written as an integer.
fn wide_numbers(text: &str) -> Vec<bool> {
    let of_a_number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
    let mut wide = Vec::new();
    let mut rest = text;
    loop {
        let (outside, string) = rest.split_once('"').unwrap_or((rest, ""));
        for token in outside.split(|c| !of_a_number(c)) {
            let fits = token.parse::<u64>().is_ok() || token.parse::<i64>().is_ok();
            if !fits && token.parse::<f64>().is_ok_and(|number| number.abs() >= BEYOND_64_BITS) {
                wide.push(!token.contains(['.', 'e', 'E']));
            }
        }
        if string.is_empty() {
            return wide;
        }
        rest = after_string(string);
    }
}

/// What follows the quotation mark that ends a string.
fn after_string(text: &str) -> &str {
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.and_then(|end| text.get(end + 1..)).unwrap_or_default()
}

struct JsonSeed<'a, 'f> {
    path: &'a ValuePath<'a>,
    /// How many more levels of nesting are allowed.
    levels: u32,
    findings: &'f mut Vec<ReadFinding>,
}

impl<'de> DeserializeSeed<'de> for JsonSeed<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for JsonSeed<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        if value.abs() >= BEYOND_64_BITS {
            self.findings.push(self.path.finding(FindingKind::BadNumber));
        }
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let Self { path, levels, findings } = self;
        let Some(levels) = levels.checked_sub(1) else {
            findings.push(path.finding(FindingKind::TooDeep));
            while access.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Value::Null);
        };
        let mut items = Vec::new();
        loop {
            let path = ValuePath::Item(path, items.len());
            match access.next_element_seed(JsonSeed { path: &path, levels, findings })? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let Self { path, levels, findings } = self;
        let Some(levels) = levels.checked_sub(1) else {
            findings.push(path.finding(FindingKind::TooDeep));
            while access.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Value::Null);
        };
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let path = ValuePath::Key(path, &key);
            let value = access.next_value_seed(JsonSeed { path: &path, levels, findings })?;
            if map.contains_key(&key) {
                findings.push(path.finding(FindingKind::DuplicateKey));
            } else {
                map.insert(key, value);
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[(FindingKind, &str)]) {
        let read = read(text, 3).unwrap();
        let expected: Vec<_> = expected
            .iter()
            .map(|(kind, pointer)| ReadFinding { kind: kind.clone(), pointer: (*pointer).to_owned() })
            .collect();
        assert_eq!(read.findings, expected, "{text}");
    }

    #[test]
    fn what_the_library_passes_over_is_found() {
        check(r#"{"a": 1, "b": {"a": 2, "a": 3}}"#, &[(FindingKind::DuplicateKey, "/b/a")]);
        check(r#"[[[], [[]]]]"#, &[(FindingKind::TooDeep, "/0/1/0")]);
    }

    #[test]
    fn integers_beyond_64_bits_are_found_and_numbers_with_an_exponent_are_not() {
        check("[18446744073709551615, -9223372036854775808, 1.5e300, 1e20]", &[]);
        check("18446744073709551616", &[(FindingKind::BadNumber, "")]);
        check(
            r#"{"a": 1e20, "\"12345678901234567890123": [-9223372036854775809], "c": "99999999999999999999"}"#,
            &[(FindingKind::BadNumber, "/\"12345678901234567890123/0")],
        );
    }
}
