//! Object ids: the 20 bytes that name a blob, a tree or a commit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The id of a Git object (SHA-1).
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId([u8; 20]);

/// A text that is no object id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an object id is 40 hexadecimal digits")]
pub struct ObjectIdError;

impl ObjectId {
    /// From its 20 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// The 20 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// The first 8 hexadecimal digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        // Fixed and not as short as is still unique: that would need the repository, and change when it grows.
        hex::encode(&self.0[..4])
    }

    /// All 40 digits, written into `buffer`.
    fn digits<'b>(&self, buffer: &'b mut [u8; 40]) -> &'b str {
        // Neither fails: the room is that of 20 bytes, and digits are text.
        let _ = hex::encode_to_slice(self.0, buffer);
        std::str::from_utf8(buffer).unwrap_or_default()
    }

    /// From bytes, if they are 20.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(super) fn from_oid(oid: git2::Oid) -> Self {
        // The crate is built without SHA-256 support, so an id has 20 bytes.
        Self::from_slice(oid.as_bytes()).unwrap_or(Self([0; 20]))
    }

    pub(super) fn oid(self) -> Result<git2::Oid, git2::Error> {
        git2::Oid::from_bytes(&self.0)
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.digits(&mut [0; 40]))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ObjectId {
    type Err = ObjectIdError;

    fn from_str(text: &str) -> Result<Self, ObjectIdError> {
        let mut bytes = [0; 20];
        // Never abbreviated: a prefix that is unique today may mean another object tomorrow, and ids are pinned
        // (Invariant 9). A text of another length is an error here.
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ObjectIdError)?;
        Ok(Self(bytes))
    }
}

impl Serialize for ObjectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.digits(&mut [0; 40]))
    }
}

impl<'de> Deserialize<'de> for ObjectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Records and the index hold ids as texts; what is no id is an error where it is read, not where it is used.
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_written_and_read_as_forty_hexadecimal_digits() {
        let text = "0123456789abcdef0123456789abcdef01234567";
        let id: ObjectId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(id.short(), "01234567");
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<ObjectId>(&format!("\"{text}\"")).unwrap(), id);
    }

    #[test]
    fn anything_else_is_no_id() {
        for text in [
            "",
            "0123",
            "g123456789abcdef0123456789abcdef01234567",
            "é12345678901234567890123456789012345678",
        ] {
            assert_eq!(text.parse::<ObjectId>(), Err(ObjectIdError), "{text}");
        }
    }
}
