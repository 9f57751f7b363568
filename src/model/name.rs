//! Validated names: resource names and namespaces (RFC 1123 labels), and node ids.
//! A value of these types is safe as a path component; nothing else may become one. Also the branches that are made of them.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ResourceKey;

/// The longest name, in bytes (contract: RFC 1123 label, 63).
const MAX_LEN: usize = 63;

/// Why a string is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The string is empty.
    #[error("must not be empty")]
    Empty,
    /// The string is longer than 63 bytes.
    #[error("must have at most 63 characters, has {0}")]
    TooLong(usize),
    /// The string holds a character that the syntax does not allow there.
    #[error("must match {0}")]
    Syntax(&'static str),
}

/// A resource name or namespace: `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`, at most 63 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// A node id within a plan: as [`Name`], and underscores inside.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(Arc<str>);

fn check(text: &str, underscore: bool, pattern: &'static str) -> Result<(), NameError> {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let (Some(first), Some(last)) = (text.bytes().next(), text.bytes().next_back()) else {
        return Err(NameError::Empty);
    };
    // In bytes, which are characters here: whatever is outside ASCII is refused below.
    if text.len() > MAX_LEN {
        return Err(NameError::TooLong(text.len()));
    }
    // No dot and no slash, so a name can neither leave a directory nor end in a suffix of planspec (Invariant 8).
    let inner = |b: u8| alnum(b) || b == b'-' || (underscore && b == b'_');
    if !alnum(first) || !alnum(last) || !text.bytes().all(inner) {
        return Err(NameError::Syntax(pattern));
    }
    Ok(())
}

// Two types and not one with a flag: a node id that holds an underscore must not reach a place where a namespace is
// wanted.
macro_rules! string_newtype {
    ($type:ident, $underscore:literal, $pattern:literal) => {
        impl $type {
            /// The pattern that every value matches.
            pub const PATTERN: &'static str = $pattern;

            /// Checks `text` against the pattern.
            ///
            /// # Errors
            /// Says which rule the text breaks.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check(text, $underscore, $pattern)?;
                Ok(Self(Arc::from(text)))
            }

            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        // For lookups in maps by text, without making a name first.
        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                // Reading checks as well: no value of these types exists that was not checked, wherever it came from.
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

string_newtype!(Name, false, "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$");
string_newtype!(NodeId, true, "^[a-z0-9]([-a-z0-9_]*[a-z0-9])?$");

/// How the branches begin that show people work, without `refs/heads/`.
pub const WORK_BRANCHES: &str = "planspec/work/";

/// The branch, without `refs/heads/`, that shows people what a node asks them about.
#[must_use]
pub fn work_branch(execution: &ResourceKey, node: &NodeId) -> String {
    format!("{WORK_BRANCHES}{}/{}/{node}", execution.namespace, execution.name)
}

/// Whether a branch, without `refs/heads/`, is one that shows people work of this Execution. Its name stands in the record, which
/// anybody who can push the status branch may have written: no other branch is moved or offered for it (Invariant 14).
#[must_use]
pub fn is_work_branch(execution: &ResourceKey, branch: &str) -> bool {
    let below = format!("{WORK_BRANCHES}{}/{}/", execution.namespace, execution.name);
    branch.strip_prefix(&below).is_some_and(|node| NodeId::new(node).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_rfc_1123() {
        for good in ["a", "a-b", "0", "sso-exec-001", &"x".repeat(63)] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a/b", "..", "a\n", "ä", &"x".repeat(64)] {
            assert!(Name::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn node_ids_may_hold_underscores() {
        assert!(NodeId::new("build_all").is_ok());
        assert!(NodeId::new("_build").is_err());
    }

    #[test]
    fn no_branch_but_those_of_the_execution_shows_its_work() {
        let key: ResourceKey = "team-a/execution/run-1".parse().unwrap();
        let node = NodeId::new("look").unwrap();
        assert!(is_work_branch(&key, &work_branch(&key, &node)));
        for other in [
            "main",
            "planspec/work/team-a/run-1",
            "planspec/work/team-a/run-2/look",
            "planspec/work/team-a/run-1/../x",
        ] {
            assert!(!is_work_branch(&key, other), "{other}");
        }
    }
}
