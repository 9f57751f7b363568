//! From the tree of a YAML document to its value: aliases expanded, `<<` merged, scalars resolved, and whatever a
//! manifest may not hold noted.

use saphyr_parser::ScalarStyle;
use serde_json::{Map, Value};

use super::lines::Position;
use super::tree::{YamlContent, YamlTree};
use super::{FindingKind, RawDocument, ReadError, ReadFinding, plain};
use crate::run::json::ValuePath;

/// What the tags of YAML itself begin with, `!!` being the short form.
const CORE: &str = "tag:yaml.org,2002:";

/// The value of a document.
pub(super) fn read(tree: &YamlTree, root: usize, depth: u32) -> Result<RawDocument, ReadError> {
    let mut builder = ValueBuilder { tree, findings: Vec::new(), complex_key: None };
    let value = builder.value(root, &ValuePath::Root, depth);
    match builder.complex_key {
        Some(at) => Err(ReadError::ComplexKey { at }),
        None => Ok(RawDocument { value, findings: builder.findings }),
    }
}

struct ValueBuilder<'t> {
    tree: &'t YamlTree,
    findings: Vec<ReadFinding>,
    complex_key: Option<Position>,
}

impl ValueBuilder<'_> {
    fn note(&mut self, kind: FindingKind, path: &ValuePath<'_>) {
        self.findings.push(ReadFinding { kind, pointer: path.pointer() });
    }

    /// `levels` bounds the recursion, through aliases too.
    fn value(&mut self, node: usize, path: &ValuePath<'_>, levels: u32) -> Value {
        let tree = self.tree;
        let Some(node) = tree.target(node) else { return Value::Null };
        let tag = node.tag.as_deref();
        // A local tag means something to another program; taking the bare value would change what its author
        // meant.
        if let Some(tag) = tag.filter(|tag| tag.starts_with('!')) {
            self.note(FindingKind::Tag(tag.to_owned()), path);
        }
        if let YamlContent::Scalar { text, style } = &node.content {
            return self.scalar(text, *style == ScalarStyle::Plain, tag, path);
        }
        // The walk is iterative and lets any depth through. The limit is kept here, where aliases add to the
        // depth as well.
        let Some(levels) = levels.checked_sub(1) else {
            self.note(FindingKind::TooDeep, path);
            return Value::Null;
        };
        match &node.content {
            YamlContent::Sequence(items) => {
                let items = items.iter().enumerate();
                Value::Array(
                    items.map(|(at, item)| self.value(*item, &ValuePath::Item(path, at), levels)).collect(),
                )
            }
            YamlContent::Mapping(entries) => self.mapping(entries, path, levels),
            YamlContent::Scalar { .. } | YamlContent::Alias(_) => Value::Null,
        }
    }

    fn scalar(&mut self, text: &str, plain: bool, tag: Option<&str>, path: &ValuePath<'_>) -> Value {
        let core = tag.and_then(|tag| tag.strip_prefix(CORE));
        let typed = core.is_some_and(|core| matches!(core, "bool" | "int" | "float" | "null"));
        // Of the tags of others, which are reported, `!` alone may stand before any scalar.
        let resolved = typed || (plain && tag.is_none_or(|tag| tag.starts_with('!')));
        if !resolved {
            return Value::String(text.to_owned());
        }
        // JSON has no infinities and no integers beyond 64 bits. Rounding them would give a value that nobody
        // wrote.
        let Some(value) = plain::resolve(text) else {
            self.note(FindingKind::BadNumber, path);
            return Value::Null;
        };
        let fits = match core {
            Some("bool") => value.is_boolean(),
            Some("int") => value.is_i64() || value.is_u64(),
            Some("float") => value.is_number(),
            Some("null") => value.is_null(),
            _ => true,
        };
        if !fits {
            self.note(FindingKind::TagMismatch(format!("!!{}", core.unwrap_or_default())), path);
        }
        value
    }

    fn mapping(&mut self, entries: &[(usize, usize)], path: &ValuePath<'_>, levels: u32) -> Value {
        let mut map = Map::new();
        let mut merged = None;
        for (key, value) in entries {
            let Some(name) = self.tree.text(*key) else {
                self.complex_key = self.complex_key.or(self.tree.start(*key));
                continue;
            };
            let path = ValuePath::Key(path, name);
            let value = self.value(*value, &path, levels);
            if self.tree.is_merge(*key) {
                let mut maps = Vec::new();
                if !gather(value, &mut maps) {
                    self.note(FindingKind::BadMerge, &path);
                } else if merged.replace(maps).is_some() {
                    // Two `<<` are two equal keys like any others; one `<<` takes a list where several
                    // mappings are meant.
                    self.note(FindingKind::DuplicateKey, &path);
                }
            } else if map.contains_key(name) {
                // The first value stays in the map, so that the schema still finds what else is wrong.
                self.note(FindingKind::DuplicateKey, &path);
            } else {
                map.insert(name.to_owned(), value);
            }
        }
        // What the mapping says itself counts, then the mappings in the order of the merge key.
        for (key, value) in merged.into_iter().flatten().flatten() {
            map.entry(key).or_insert(value);
        }
        Value::Object(map)
    }
}

/// Adds the mappings that a merge key names; says whether there was nothing else.
fn gather(value: Value, into: &mut Vec<Map<String, Value>>) -> bool {
    match value {
        Value::Object(map) => {
            into.push(map);
            true
        }
        // One level only: a merge key takes a list of mappings, and no lists within that.
        Value::Array(items) => items.into_iter().all(|item| item.is_object() && gather(item, into)),
        _ => false,
    }
}
