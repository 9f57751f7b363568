//! What requests are made of, and what their answers become: names in addresses, where what comes from outside is encoded; the
//! fields of a body; and the types of `host`, each read from the form that the file with its requests gives.

use serde_json::{Map, Value};

use crate::host::{HostError, RepoName, shown};

/// The address of something in a repository: `/repos/OWNER/NAME/REST`.
pub(super) fn repo_path(repo: &RepoName, rest: &str) -> String {
    format!("/repos/{}/{}/{rest}", repo.owner(), repo.name())
}

/// A text as one segment of an address.
///
/// # Errors
/// When it is empty, or would be taken for a step in a path.
pub(super) fn segment(text: &str) -> Result<String, HostError> {
    // `.` and `..` are steps in a path, and no encoding changes that, so they are refused.
    if text.is_empty() || text.len() > 255 || text.bytes().all(|b| b == b'.') {
        return Err(HostError::Name(shown(text)));
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

/// Reads a type of `host` from the host's form of it, so that every request can name the type that it wants.
macro_rules! read_as {
    ($known:ty, $answer:ty) => {
        impl<'de> serde::Deserialize<'de> for $known {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <$answer as serde::Deserialize>::deserialize(deserializer).map(Self::from)
            }
        }
    };
}

pub(super) use read_as;

/// The fields that are given, as the body of a request.
pub(super) fn given<const N: usize>(fields: [(&str, Option<&str>); N]) -> Map<String, Value> {
    let given = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
    given.collect()
}

/// The mark at which the next page begins, of a `link` header; decoded.
pub(super) fn after_mark(link: &str) -> Option<String> {
    let next = link.split(',').find(|one| one.contains("rel=\"next\""))?;
    let address = next.split_once('<')?.1.split_once('>')?.0;
    let address = reqwest::Url::parse(address).ok()?;
    address.query_pairs().find(|(name, _)| name == "after").map(|(_, mark)| mark.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_begins_at_the_mark_of_its_address() {
        let next = "<https://api.github.com/x?before=a>; rel=\"prev\", <https://api.github.com/x?per_page=1&after=Y3%2FA%3D>; rel=\"next\"";
        assert_eq!(after_mark(next).as_deref(), Some("Y3/A="));
        for other in [
            "",
            "<https://api.github.com/x?page=2>; rel=\"next\"",
            "<not an address>; rel=\"next\"",
            next.split_once(',').unwrap().0,
        ] {
            assert_eq!(after_mark(other), None, "{other}");
        }
    }

    #[test]
    fn nothing_leaves_its_segment() {
        assert_eq!(segment("github-actions[bot]").as_deref(), Ok("github-actions%5Bbot%5D"));
        assert_eq!(segment("a/../b?c#d").as_deref(), Ok("a%2F..%2Fb%3Fc%23d"));
        assert!(segment("..").is_err() && segment("").is_err());
    }
}
