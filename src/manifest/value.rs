//! From a deserializer's events straight into a JSON value, noting what a manifest may not hold:
//! duplicate keys, too much nesting, tags, numbers beyond JSON. Knows no positions, only pointers.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IgnoredAny, MapAccess, SeqAccess, VariantAccess as _, Visitor,
};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

/// What a deserializer says it expected when a key is a list or a mapping; how such an error is recognised.
pub(super) const EXPECTED_KEY: &str = "a scalar as the key of a mapping";

/// The key that merges other mappings in.
pub(super) const MERGE_KEY: &str = "<<";

/// Something that a manifest may not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReadFinding {
    pub(super) kind: FindingKind,
    pub(super) pointer: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FindingKind {
    DuplicateKey,
    TooDeep,
    Tag(String),
    BadNumber,
    BadMerge,
}

/// What is noted while a document is read.
#[derive(Debug)]
pub(super) struct ReadFindings {
    pub(super) findings: Vec<ReadFinding>,
    depth: u32,
    merge: bool,
}

impl ReadFindings {
    /// `merge` says whether `<<` merges, as it does in YAML and does not in JSON.
    pub(super) fn new(depth: u32, merge: bool) -> Self {
        Self { findings: Vec::new(), depth, merge }
    }

    fn note(&mut self, kind: FindingKind, path: &Path<'_>) {
        let pointer = path.pointer();
        self.findings.push(ReadFinding { kind, pointer });
    }
}

/// Reads one value.
///
/// # Errors
/// Those of the deserializer.
pub(super) fn read<'de, D: Deserializer<'de>>(
    deserializer: D,
    log: &mut ReadFindings,
) -> Result<Value, D::Error> {
    ValueSeed { path: &Path::Root, depth: 0, log }.deserialize(deserializer)
}

/// The way to a value, on the stack: it costs nothing unless something is noted.
enum Path<'a> {
    Root,
    Key(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl Path<'_> {
    fn pointer(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Key(parent, key) => super::pointer::join(&parent.pointer(), key),
            Self::Item(parent, index) => format!("{}/{index}", parent.pointer()),
        }
    }
}

struct ValueSeed<'a, 'l> {
    path: &'a Path<'a>,
    depth: u32,
    log: &'l mut ReadFindings,
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl ValueSeed<'_, '_> {
    fn bad_number(self) -> Value {
        self.log.note(FindingKind::BadNumber, self.path);
        Value::Null
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_, '_> {
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

    fn visit_i128<E>(self, _: i128) -> Result<Value, E> {
        Ok(self.bad_number())
    }

    fn visit_u128<E>(self, _: u128) -> Result<Value, E> {
        Ok(self.bad_number())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or_else(|| self.bad_number(), Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Value, A::Error> {
        let (tag, content) = access.variant::<String>()?;
        self.log.note(FindingKind::Tag(tag), self.path);
        content.newtype_variant_seed(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let Self { path, depth, log } = self;
        if depth >= log.depth {
            log.note(FindingKind::TooDeep, path);
            while access.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Value::Null);
        }
        let mut items = Vec::new();
        loop {
            let path = Path::Item(path, items.len());
            let seed = ValueSeed { path: &path, depth: depth + 1, log };
            match access.next_element_seed(seed)? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let Self { path, depth, log } = self;
        if depth >= log.depth {
            log.note(FindingKind::TooDeep, path);
            while access.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Value::Null);
        }
        let mut map = Map::new();
        let mut merged = Vec::new();
        while let Some(key) = access.next_key_seed(KeySeed)? {
            let seed = ValueSeed { path: &Path::Key(path, &key), depth: depth + 1, log };
            let value = access.next_value_seed(seed)?;
            if log.merge && key == MERGE_KEY {
                if !gather(value, &mut merged) {
                    log.note(FindingKind::BadMerge, &Path::Key(path, &key));
                }
                continue;
            }
            match map.entry(key) {
                Entry::Vacant(slot) => {
                    slot.insert(value);
                }
                Entry::Occupied(slot) => log.note(FindingKind::DuplicateKey, &Path::Key(path, slot.key())),
            }
        }
        for (key, value) in merged.into_iter().flatten() {
            map.entry(key).or_insert(value);
        }
        Ok(Value::Object(map))
    }
}

/// Adds the mappings that a merge key names; says whether there were any.
fn gather(value: Value, into: &mut Vec<Map<String, Value>>) -> bool {
    match value {
        Value::Object(map) => {
            into.push(map);
            true
        }
        Value::Array(items) => items.into_iter().all(|item| item.is_object() && gather(item, into)),
        _ => false,
    }
}

/// Reads a key. Numbers, booleans and null count as the text that they are written as: `1.10: x` means `"1.10"`.
struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED_KEY)
    }

    fn visit_str<E>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }

    fn visit_string<E>(self, value: String) -> Result<String, E> {
        Ok(value)
    }
}
