//! `docs/configuration.md` against the schema of `.planspec.yaml` and against the defaults that the code has.

use std::collections::BTreeMap;

use planspec::config::Config;
use planspec::model::Duration;
use serde_json::Value;

use crate::project::root;

/// Every key with its default; `–` where the absence of a value is the default.
fn schema_keys() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(root().join("schemas/config.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let mut keys = BTreeMap::new();
    collect("", &schema, &mut keys);
    keys
}

fn collect(prefix: &str, schema: &Value, keys: &mut BTreeMap<String, String>) {
    let named = schema["properties"].as_object().into_iter().flatten();
    let named = named.map(|(name, inner)| (format!("{prefix}{name}"), inner));
    let free = schema.get("additionalProperties").filter(|inner| inner.is_object());
    for (name, inner) in named.chain(free.map(|inner| (format!("{prefix}NAME"), inner))) {
        let object = inner.get("properties").is_some() || inner["additionalProperties"].is_object();
        if object {
            collect(&format!("{name}."), inner, keys);
        } else {
            let default = inner.get("default").map_or_else(|| "–".to_owned(), plain);
            keys.insert(name, default);
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[test]
fn every_key_of_the_configuration_is_documented_with_its_default() {
    let page = std::fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: BTreeMap<String, String> = rows
        .map(|row| {
            let mut cells = row.split(" | ");
            let name = cells.next().unwrap().trim_end_matches('`').to_owned();
            (name, cells.next().unwrap_or_default().trim_matches('`').to_owned())
        })
        .collect();
    assert_eq!(documented, schema_keys());
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_code() {
    let code = serde_json::to_value(Config::default()).unwrap();
    for (key, default) in schema_keys().into_iter().filter(|(_, default)| default != "–") {
        let found = key.split('.').fold(&code, |value, part| &value[part]);
        // Durations have several spellings.
        let same = plain(found) == default || same_duration(found, &default);
        assert!(same, "{key}: the schema says {default}, the code {found}");
    }
}

/// The sections of providers come from the rooms of those providers, so that a setting is written down where it is read.
#[test]
fn the_schema_holds_the_sections_of_the_providers() {
    let path = root().join("schemas/config.schema.json");
    let before = std::fs::read_to_string(&path).unwrap();
    let mut schema: Value = serde_json::from_str(&before).unwrap();
    let known = schema["properties"]["providers"]["properties"].as_object_mut().unwrap();
    let mut rooms: Vec<_> = std::fs::read_dir(root().join("src/provider")).unwrap().flatten().collect();
    rooms.sort_by_key(std::fs::DirEntry::file_name);
    for room in rooms {
        let Ok(text) = std::fs::read_to_string(room.path().join("settings.schema.json")) else { continue };
        let sections: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
        known.extend(sections);
    }
    let after = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &after).unwrap();
        return;
    }
    assert!(before == after, "run `UPDATE_DOCS=1 cargo test --test tidy`");
}

fn same_duration(found: &Value, default: &str) -> bool {
    let read =
        |text: &str| serde_json::from_value::<Duration>(Value::from(text)).ok().map(|read| read.span());
    found.as_str().and_then(read).is_some_and(|span| read(default) == Some(span))
}
