//! Names that stand in the address of a request. What comes from outside is checked or encoded here.

use std::fmt;
use std::str::FromStr;

use super::GitHubError;

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

    /// The address of something in this repository: `/repos/OWNER/NAME/REST`.
    pub(super) fn path(&self, rest: &str) -> String {
        format!("/repos/{}/{}/{rest}", self.owner, self.name)
    }
}

impl FromStr for RepoName {
    type Err = GitHubError;

    fn from_str(text: &str) -> Result<Self, GitHubError> {
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
            _ => Err(GitHubError::Name(shown(text))),
        }
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

/// A text as one segment of an address.
///
/// # Errors
/// When it is empty, or would be taken for a step in a path.
pub(super) fn segment(text: &str) -> Result<String, GitHubError> {
    // `.` and `..` are steps in a path, and no encoding changes that, so they are refused.
    if text.is_empty() || text.len() > 255 || text.bytes().all(|b| b == b'.') {
        return Err(GitHubError::Name(shown(text)));
    }
    Ok(encoded(text))
}

/// A text with everything encoded that means something in an address.
pub(super) fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        // The unreserved characters of RFC 3986; with any other a name could begin a query, another segment or a line.
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

/// A text as it may stand in a message: one line, not long.
pub(super) fn shown(text: &str) -> String {
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

    #[test]
    fn nothing_leaves_its_segment() {
        assert_eq!(segment("github-actions[bot]").as_deref(), Ok("github-actions%5Bbot%5D"));
        assert_eq!(segment("a/../b?c#d").as_deref(), Ok("a%2F..%2Fb%3Fc%23d"));
        assert!(segment("..").is_err() && segment("").is_err());
    }
}
