//! JSON, read strictly: what serde_json passes over in silence, duplicate keys and integers that it rounds, is found.
//! Used for manifests, and for what people give as `NAME:=JSON`.

pub(crate) mod pointer;

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// From here on, serde_json reads an integer as a floating-point number.
const BEYOND_64_BITS: f64 = 9_223_372_036_854_775_808.0;

/// How deep a value that somebody types may nest.
// Below the 128 levels at which serde_json itself gives up, so that the fault has a pointer like any other.
pub(crate) const DEPTH: u32 = 64;

/// What is wrong with a value, apart from its syntax.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub(crate) enum JsonFault {
    #[strum(to_string = "duplicate key")]
    DuplicateKey,
    #[strum(to_string = "too many levels of nesting")]
    TooDeep,
    /// An integer that does not fit in 64 bits.
    #[strum(to_string = "number out of range")]
    WideInteger,
}

/// A value, and its faults with their JSON pointers.
#[derive(Debug)]
pub(crate) struct CheckedJson {
    pub(crate) value: Value,
    pub(crate) faults: Vec<(JsonFault, String)>,
}

/// Reads one value that fills the text.
///
/// # Errors
/// What is wrong with it first, for the person who wrote it.
pub(crate) fn read(text: &str) -> Result<Value, String> {
    let CheckedJson { value, faults } = check(text, DEPTH).map_err(|error| error.to_string())?;
    match faults.into_iter().next() {
        None => Ok(value),
        Some((fault, pointer)) if pointer.is_empty() => Err(fault.to_string()),
        Some((fault, pointer)) => Err(format!("{fault} at {pointer}")),
    }
}

/// Reads one value that fills the text, and finds all its faults. It nests no deeper than `depth`.
///
/// # Errors
/// Syntax.
pub(crate) fn check(text: &str, depth: u32) -> Result<CheckedJson, serde_json::Error> {
    let mut faults = Vec::new();
    let mut source = serde_json::Deserializer::from_str(text);
    let seed = JsonSeed { path: &ValuePath::Root, levels: depth, faults: &mut faults };
    let value = seed.deserialize(&mut source)?;
    // Text behind the value is an error, and is not left out in silence.
    source.end()?;
    if faults.iter().any(|(fault, _)| *fault == JsonFault::WideInteger) {
        // The visitor sees `1e20` and `100000000000000000000` as the same number; only the second one was rounded.
        let mut rounded = wide_numbers(text).into_iter();
        faults.retain(|(fault, _)| *fault != JsonFault::WideInteger || rounded.next().unwrap_or(true));
    }
    Ok(CheckedJson { value, faults })
}

/// The way to a value, kept on the stack: the pointer is only built when something is found.
pub(crate) enum ValuePath<'a> {
    Root,
    Key(&'a ValuePath<'a>, &'a str),
    Item(&'a ValuePath<'a>, usize),
}

impl ValuePath<'_> {
    pub(crate) fn pointer(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Key(parent, key) => pointer::join(&parent.pointer(), key),
            Self::Item(parent, index) => format!("{}/{index}", parent.pointer()),
        }
    }
}

/// The numbers beyond 64 bits, in the order of the text: whether each is written as an integer.
fn wide_numbers(text: &str) -> Vec<bool> {
    let of_a_number = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
    let mut wide = Vec::new();
    let mut rest = text;
    loop {
        // The digits within a string are none of its numbers.
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
    faults: &'f mut Vec<(JsonFault, String)>,
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
            self.faults.push((JsonFault::WideInteger, self.path.pointer()));
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
        let Self { path, levels, faults } = self;
        let Some(levels) = levels.checked_sub(1) else {
            faults.push((JsonFault::TooDeep, path.pointer()));
            // Read to its end without keeping it, so that what follows is still checked.
            while access.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Value::Null);
        };
        let mut items = Vec::new();
        loop {
            let path = ValuePath::Item(path, items.len());
            match access.next_element_seed(JsonSeed { path: &path, levels, faults })? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let Self { path, levels, faults } = self;
        let Some(levels) = levels.checked_sub(1) else {
            faults.push((JsonFault::TooDeep, path.pointer()));
            while access.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Value::Null);
        };
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let path = ValuePath::Key(path, &key);
            let value = access.next_value_seed(JsonSeed { path: &path, levels, faults })?;
            // Which of them was meant cannot be known; the first one stays, and the fault is reported.
            if map.contains_key(&key) {
                faults.push((JsonFault::DuplicateKey, path.pointer()));
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

    fn check_faults(text: &str, expected: &[(JsonFault, &str)]) {
        let read = check(text, 3).unwrap();
        let expected: Vec<_> = expected.iter().map(|(fault, at)| (*fault, (*at).to_owned())).collect();
        assert_eq!(read.faults, expected, "{text}");
    }

    #[test]
    fn what_the_library_passes_over_is_found() {
        check_faults(r#"{"a": 1, "b": {"a": 2, "a": 3}}"#, &[(JsonFault::DuplicateKey, "/b/a")]);
        check_faults(r#"[[[], [[]]]]"#, &[(JsonFault::TooDeep, "/0/1/0")]);
    }

    #[test]
    fn integers_beyond_64_bits_are_found_and_numbers_with_an_exponent_are_not() {
        check_faults("[18446744073709551615, -9223372036854775808, 1.5e300, 1e20]", &[]);
        check_faults("18446744073709551616", &[(JsonFault::WideInteger, "")]);
        check_faults(
            r#"{"a": 1e20, "\"12345678901234567890123": [-9223372036854775809], "c": "99999999999999999999"}"#,
            &[(JsonFault::WideInteger, "/\"12345678901234567890123/0")],
        );
    }

    #[test]
    fn a_typed_value_is_refused_for_its_first_fault() {
        assert_eq!(read(r#"[1, {"a": null}]"#), Ok(serde_json::json!([1, { "a": null }])));
        assert_eq!(read(r#"{"a": 1, "a": 2}"#), Err("duplicate key at /a".to_owned()));
        assert_eq!(read("[18446744073709551616]"), Err("number out of range at /0".to_owned()));
        assert!(read("{a: 1}").is_err() && read("1 2").is_err() && read("").is_err());
    }
}
