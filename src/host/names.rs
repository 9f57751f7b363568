//! The name of a repository on the host. What comes from outside is checked here.

use std::fmt;
use std::str::FromStr;

use super::HostError;

/// `OWNER/NAME` of a repository.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepoName {
    owner: String,
    name: String,
}

impl RepoName {
    /// The account or organisation.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The name below it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for RepoName {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        // These become segments of every address below `/repos/`, and `..` would lead to another part of the API.
        let sound = |part: &str| {
            !part.is_empty()
                && part.len() <= 100
                && part != "."
                && part != ".."
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        match text.split_once('/') {
            Some((owner, name)) if sound(owner) && sound(name) => {
                Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
            }
            _ => Err(HostError::Name(shown(text))),
        }
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

/// A text as it may appear in a message: one line, not long.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_has_two_plain_names() {
        let name: RepoName = "acme/my.app_1".parse().unwrap();
        assert_eq!(
            (name.owner(), name.name(), name.to_string().as_str()),
            ("acme", "my.app_1", "acme/my.app_1")
        );
        for bad in ["acme", "acme/", "/app", "acme/..", "./app", "a/b/c", "a/b?c", "a/b#c", "a b/c", "a/b%2F"]
        {
            assert!(bad.parse::<RepoName>().is_err(), "{bad}");
        }
    }
}
