//! The JSON Schemas: embedded, compiled once, and what they find turned into problems with hints.

mod error;
mod legacy_fields;

use std::sync::OnceLock;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;
use tracing::debug;

use super::problem::Problem;
use crate::model::Kind;

/// A schema as it is published: its name and its text.
pub type PublishedSchema = (&'static str, &'static str);

const SCHEMAS: [PublishedSchema; 9] = [
    ("manifest", include_str!("../../../schemas/manifest.schema.json")),
    ("goal", include_str!("../../../schemas/goal.schema.json")),
    ("plan", include_str!("../../../schemas/plan.schema.json")),
    ("capability", include_str!("../../../schemas/capability.schema.json")),
    ("binding", include_str!("../../../schemas/binding.schema.json")),
    ("gate", include_str!("../../../schemas/gate.schema.json")),
    ("execution", include_str!("../../../schemas/execution.schema.json")),
    ("schedule", include_str!("../../../schemas/schedule.schema.json")),
    ("config", include_str!("../../../schemas/config.schema.json")),
];

/// The embedded schemas by name: `manifest`, the seven kinds in lower case, `config`.
#[must_use]
pub fn schemas() -> &'static [PublishedSchema] {
    &SCHEMAS
}

/// One schema, parsed and compiled.
pub(super) struct Schema {
    document: Value,
    validator: Option<Validator>,
}

impl Schema {
    fn load(name: &str) -> Self {
        let text = SCHEMAS.iter().find(|(known, _)| *known == name).map_or("true", |(_, text)| *text);
        // A test compiles every embedded schema, so that neither step fails here.
        let document = serde_json::from_str(text).unwrap_or(Value::Bool(true));
        let validator = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            // The default engine backtracks, and a hostile text could make it take forever.
            .with_pattern_options(PatternOptions::regex())
            .build(&document)
            .ok();
        debug!(schema = name, compiled = validator.is_some(), "compiled a schema");
        Self { document, validator }
    }

    /// What is wrong with `value`; nothing when it is valid.
    pub(super) fn check(&self, value: &Value) -> Vec<Problem> {
        let Some(validator) = &self.validator else { return Vec::new() };
        // Most values are valid, and then nothing has to be collected.
        if validator.is_valid(value) {
            return Vec::new();
        }
        error::problems(validator.iter_errors(value), &self.document)
    }
}

/// The schema of a kind.
pub(super) fn of_kind(kind: Kind) -> &'static Schema {
    // At first use: compiling all of them would be most of the time of checking a single file.
    static COMPILED: [OnceLock<Schema>; 7] = [const { OnceLock::new() }; 7];
    let [goal, plan, capability, binding, gate, execution, schedule] = &COMPILED;
    let slot = match kind {
        Kind::Goal => goal,
        Kind::Plan => plan,
        Kind::Capability => capability,
        Kind::Binding => binding,
        Kind::Gate => gate,
        Kind::Execution => execution,
        Kind::Schedule => schedule,
    };
    slot.get_or_init(|| Schema::load(kind.singular()))
}

/// The schema of the configuration file.
pub(super) fn of_config() -> &'static Schema {
    static COMPILED: OnceLock<Schema> = OnceLock::new();
    COMPILED.get_or_init(|| Schema::load("config"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_schema_is_a_valid_schema_and_compiles() {
        for (name, text) in schemas() {
            let document: Value = serde_json::from_str(text).unwrap();
            assert!(jsonschema::meta::is_valid(&document), "{name}");
            assert!(Schema::load(name).validator.is_some(), "{name}");
        }
    }

    /// The schemas stand alone, so that editors need no network; what they share must then be equal.
    #[test]
    fn definitions_of_the_same_name_are_the_same_everywhere() {
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let all = parse(SCHEMAS[0].1);
        for (name, text) in &SCHEMAS[1..] {
            for (definition, value) in parse(text)["$defs"].as_object().unwrap() {
                assert_eq!(&all["$defs"][definition], value, "{name}: {definition}");
            }
        }
    }

    #[test]
    fn the_manifest_schema_is_made_of_those_of_the_kinds() {
        let all: Value = serde_json::from_str(SCHEMAS[0].1).unwrap();
        for kind in Kind::ALL {
            let mut own = Schema::load(kind.singular()).document;
            for key in ["$schema", "$id", "title", "$defs"] {
                own.as_object_mut().unwrap().shift_remove(key);
            }
            assert_eq!(all["$defs"][kind.as_str()], own, "{kind}");
        }
    }
}
