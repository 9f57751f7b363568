//! How much of a commit and of its history a workspace shows.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::num::NonZeroU32;

use super::object_cache::{ObjectCache, io};
use crate::git::{GitError, ObjectId, Repo};

/// What becomes of the files that an earlier task left in a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leftovers {
    /// All of them are removed.
    Remove,
    /// Ignored ones stay, such as what a build keeps for the next one.
    KeepIgnored,
}

/// What a workspace is to be like.
#[derive(Debug, Clone, Copy)]
pub struct CheckoutForm<'f> {
    /// What becomes of the files that an earlier task left.
    pub leftovers: Leftovers,
    /// The only files and folders that are written, by their paths; all of them when empty.
    pub sparse: &'f [String],
    /// How many commits of its history there are to see, its own included; all that are here when absent.
    pub depth: Option<NonZeroU32>,
}

/// Every path, by the rules of Git's `sparse-checkout`.
pub(super) const EVERYTHING: &str = "/*\n";

/// Paths as Git's `sparse-checkout` has them. No path means something else than itself.
pub(super) fn patterns<'p>(paths: impl IntoIterator<Item = &'p [u8]>) -> Vec<u8> {
    let mut lines = Vec::new();
    for path in paths {
        lines.push(b'/');
        for byte in path {
            // Of a pattern, these are not themselves. A space counts at the end alone, and may be escaped anywhere.
            if b"\\*?[!# ".contains(byte) {
                lines.push(b'\\');
            }
            lines.push(*byte);
        }
        lines.push(b'\n');
    }
    lines
}

/// What of a commit's history is to be seen.
pub(super) struct VisibleHistory {
    /// The file by which Git knows where history ends; none where all of it is here.
    pub(super) shallow: Option<Vec<u8>>,
    /// The tags, as lines of `packed-refs`.
    pub(super) tags: String,
}

impl VisibleHistory {
    /// As far as this depth, or as far as the cache knows it. `tags` are lines of `packed-refs`.
    pub(super) fn of(
        cache: &ObjectCache,
        commit: ObjectId,
        depth: Option<NonZeroU32>,
        tags: &str,
    ) -> Result<Self, GitError> {
        let path = cache.dir().join("shallow");
        let mut shallow = match fs::read(&path) {
            Ok(content) => Some(content),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(io("read", &path)(error)),
        };
        let Some(depth) = depth else { return Ok(Self { shallow, tags: tags.to_owned() }) };
        let repo = Repo::open(cache.dir())?;
        let mut seen = BTreeSet::from([commit]);
        let mut last = vec![commit];
        for _ in 1..depth.get() {
            let mut next = Vec::new();
            for commit in last.drain(..) {
                let parents = repo.commit(commit)?.parents;
                next.extend(parents.into_iter().filter(|parent| seen.insert(*parent)));
            }
            last = next;
            if last.is_empty() {
                break;
            }
        }
        let lines = shallow.get_or_insert_default();
        for commit in last {
            if !repo.commit(commit)?.parents.is_empty() {
                lines.extend_from_slice(format!("{commit}\n").as_bytes());
            }
        }
        let is_seen = |id: &str| id.parse().is_ok_and(|id| seen.contains(&id));
        Ok(Self { shallow: shallow.filter(|lines| !lines.is_empty()), tags: only_tags(tags, is_seen) })
    }
}

/// The tags of commits that are seen: another one would bring its whole history with it.
fn only_tags(tags: &str, is_seen: impl Fn(&str) -> bool) -> String {
    let mut kept = String::new();
    let mut lines = tags.lines().peekable();
    while let Some(line) = lines.next() {
        // An annotated tag has the commit that it names on a line of its own.
        let peeled = lines.next_if(|next| next.starts_with('^'));
        let id = peeled
            .and_then(|peeled| peeled.strip_prefix('^'))
            .or_else(|| line.split(' ').next())
            .unwrap_or_default();
        if line.starts_with('#') || is_seen(id) {
            for line in std::iter::once(line).chain(peeled) {
                kept.push_str(line);
                kept.push('\n');
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_means_nothing_but_itself() {
        let paths: [&[u8]; 4] = [b"a/b", b"!x*", b"#[q]?", b"back\\ "];
        let lines = String::from_utf8(patterns(paths)).unwrap();
        assert_eq!(lines, "/a/b\n/\\!x\\*\n/\\#\\[q]\\?\n/back\\\\\\ \n");
    }

    #[test]
    fn tags_of_commits_that_are_not_seen_are_left_out() {
        let tags =
            "# pack-refs with: peeled\n1 refs/tags/a\n2 refs/tags/b\n^3\n4 refs/tags/c\n^1\n5 refs/tags/d\n";
        let kept = only_tags(tags, |id| ["1", "2"].contains(&id));
        assert_eq!(kept, "# pack-refs with: peeled\n1 refs/tags/a\n4 refs/tags/c\n^1\n");
    }
}
