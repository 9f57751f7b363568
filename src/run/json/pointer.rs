//! JSON pointers (RFC 6901) as plain strings: joining and taking apart.

use std::borrow::Cow;

/// The pointer to `key` below `parent`.
pub(crate) fn join(parent: &str, key: &str) -> String {
    if key.contains(['~', '/']) {
        format!("{parent}/{}", key.replace('~', "~0").replace('/', "~1"))
    } else {
        format!("{parent}/{key}")
    }
}

/// The segments of a pointer, unescaped.
pub(crate) fn segments(pointer: &str) -> impl Iterator<Item = Cow<'_, str>> {
    pointer.split('/').skip(1).map(unescape)
}

/// The pointer without its last segment, and that segment, unescaped; nothing for the root.
pub(crate) fn split_last(pointer: &str) -> Option<(&str, Cow<'_, str>)> {
    pointer.rsplit_once('/').map(|(parent, last)| (parent, unescape(last)))
}

fn unescape(segment: &str) -> Cow<'_, str> {
    if segment.contains('~') {
        // In this order, as RFC 6901 says: `~01` means `~1`, and not `/`.
        Cow::Owned(segment.replace("~1", "/").replace("~0", "~"))
    } else {
        Cow::Borrowed(segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_joined_comes_apart_again() {
        let pointer = join(&join("", "metadata"), "planspec.io/a~b");
        assert_eq!(pointer, "/metadata/planspec.io~1a~0b");
        assert_eq!(segments(&pointer).collect::<Vec<_>>(), ["metadata", "planspec.io/a~b"]);
        assert_eq!(segments("").count(), 0);
        assert_eq!(split_last(&pointer), Some(("/metadata", Cow::from("planspec.io/a~b"))));
        assert_eq!(split_last(""), None);
    }
}
