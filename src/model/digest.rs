//! Content digests: SHA-256 over canonical JSON (object keys sorted), written `sha256:<hex>`.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A content digest, `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// The digest of bytes.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self::finish(Sha256::new_with_prefix(bytes))
    }

    /// The digest of a value's canonical form: keys sorted, so that the order of a mapping does not count.
    #[must_use]
    pub fn of_value(value: &Value) -> Self {
        let mut text = Vec::with_capacity(1024);
        write_canonical(&mut text, value);
        Self::of_bytes(&text)
    }

    /// Completes a running hash.
    #[must_use]
    pub fn finish(hasher: Sha256) -> Self {
        Self(format!("sha256:{}", hex::encode(hasher.finalize())))
    }

    /// How many hexadecimal digits people are shown, and may give back at least.
    pub const SHOWN_DIGITS: usize = 12;

    /// The digits that people are shown and compare.
    #[must_use]
    pub fn shown(&self) -> &str {
        let digits = self.0.rsplit(':').next().unwrap_or_default();
        digits.get(..Self::SHOWN_DIGITS).unwrap_or(digits)
    }

    /// The text, with its prefix.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn write_canonical(text: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            text.push(b'{');
            for (key, value) in entries {
                write_scalar(text, key);
                text.push(b':');
                write_canonical(text, value);
                // Also after the last entry. That is no JSON, and stays: digests that were recorded must continue being
                // true.
                text.push(b',');
            }
            text.push(b'}');
        }
        Value::Array(items) => {
            text.push(b'[');
            for item in items {
                write_canonical(text, item);
                text.push(b',');
            }
            text.push(b']');
        }
        scalar => write_scalar(text, scalar),
    }
}

fn write_scalar(text: &mut Vec<u8>, scalar: &impl Serialize) {
    // Writing a string or number to memory cannot fail.
    let _ = serde_json::to_writer(text, scalar);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_order_of_keys_does_not_count_and_types_do() {
        let digest = |value| Digest::of_value(&value);
        assert_eq!(digest(json!({"a": 1, "b": [2]})), digest(json!({"b": [2], "a": 1})));
        assert_ne!(digest(json!({"a": 1})), digest(json!({"a": "1"})));
        assert_ne!(digest(json!(["ab"])), digest(json!(["a", "b"])));
    }

    /// Recorded digests must stay true: what is hashed never changes.
    #[test]
    fn the_canonical_form_is_fixed() {
        let value = json!({"b\"ä": [1, -2.5, null, true, "x\n"], "a": {}});
        let text = "{\"a\":{},\"b\\\"ä\":[1,-2.5,null,true,\"x\\n\",],}";
        assert_eq!(Digest::of_value(&value), Digest::of_bytes(text.as_bytes()));
    }
}
