//! Commits: who, when, what, and the trailers of the message.

use jiff::Timestamp;

use crate::git::error::printable;
use crate::git::{GitError, ObjectId, Repo, Signature};

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: ObjectId,
    /// Its tree.
    pub tree: ObjectId,
    /// Its parents; none at the root and at a shallow boundary.
    pub parents: Vec<ObjectId>,
    /// Who wrote the change.
    pub author: Signature,
    /// When it was written.
    pub author_time: Timestamp,
    /// Who made the commit.
    pub committer: Signature,
    /// When it was made.
    pub committer_time: Timestamp,
    /// The whole message; bytes that are not UTF-8 are replaced.
    pub message: String,
}

impl Commit {
    /// The first line of the message.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.message.trim_start().lines().next().unwrap_or_default()
    }

    /// The trailers: the lines `Key: value` of the last paragraph, when it has nothing else; in their order.
    #[must_use]
    pub fn trailers(&self) -> Vec<(String, String)> {
        let message = self.message.trim_end();
        // The last paragraph only, and only if all of it is trailers: prose with a colon is not one.
        let Some((_, paragraph)) = message.rsplit_once("\n\n") else { return Vec::new() };
        let mut found: Vec<(String, String)> = Vec::new();
        for line in paragraph.lines() {
            if line.starts_with([' ', '\t']) {
                let Some((_, value)) = found.last_mut() else { return Vec::new() };
                value.push(' ');
                value.push_str(line.trim());
                continue;
            }
            match line.split_once(':') {
                Some((key, value)) if is_trailer_key(key) => {
                    found.push((key.to_owned(), value.trim().to_owned()));
                }
                _ => return Vec::new(),
            }
        }
        found
    }
}

fn is_trailer_key(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

impl Repo {
    /// Reads a commit.
    ///
    /// # Errors
    /// When there is no such commit here, or it is broken.
    pub fn commit(&self, id: ObjectId) -> Result<Commit, GitError> {
        let commit = self
            .git2()
            .find_commit(id.oid().map_err(GitError::doing("bad object id"))?)
            .map_err(|error| self.missing("commit", id, error))?;
        let (author, author_time) = person(&commit.author());
        let (committer, committer_time) = person(&commit.committer());
        let mut parents: Vec<ObjectId> = commit.parent_ids().map(ObjectId::from_oid).collect();
        if parents.is_empty() {
            parents = self.brought_since(id, &commit)?;
        }
        Ok(Commit {
            id,
            tree: ObjectId::from_oid(commit.tree_id()),
            parents,
            author,
            author_time,
            committer,
            committer_time,
            message: String::from_utf8_lossy(commit.message_bytes()).into_owned(),
        })
    }

    /// The parents of a commit at which history was cut off when the repository was opened, and is not any more: libgit2 asks once.
    fn brought_since(&self, id: ObjectId, commit: &git2::Commit<'_>) -> Result<Vec<ObjectId>, GitError> {
        let header = commit.raw_header().unwrap_or_default();
        let named = header.lines().filter_map(|line| line.strip_prefix("parent "));
        let named: Vec<ObjectId> = named.filter_map(|parent| parent.parse().ok()).collect();
        let is_cut = !named.is_empty() && self.shallow_boundary()?.contains(&id);
        Ok(if is_cut { Vec::new() } else { named })
    }

    /// Writes a commit, with the same person and time as author and committer. The caller has written the objects that
    /// it names. Publishes nothing: that is [`Repo::swap_ref`]'s or a push's (Invariant 3).
    ///
    /// # Errors
    /// When the object database cannot be written.
    pub fn write_commit(
        &self,
        tree: ObjectId,
        parents: &[ObjectId],
        message: &str,
        author: &Signature,
        at: Timestamp,
    ) -> Result<ObjectId, GitError> {
        use std::fmt::Write as _;
        // As text rather than through libgit2, which would read every parent and the tree first to see that they exist.
        let mut text = String::with_capacity(message.len() + 512);
        // UTC: the zone of a CI machine says nothing, and the same commit must come out everywhere.
        let person = format!("{} <{}> {} +0000", plain(&author.name), plain(&author.email), at.as_second());
        // Writing to a string cannot fail.
        let _ = writeln!(text, "tree {tree}");
        for parent in parents {
            let _ = writeln!(text, "parent {parent}");
        }
        let _ = write!(text, "author {person}\ncommitter {person}\n\n");
        // Git ends a message at a NUL, and `fsck` on hosts refuses a commit that holds one.
        text.extend(message.chars().filter(|c| *c != '\0'));
        if !text.ends_with('\n') {
            text.push('\n');
        }
        self.write_object(git2::ObjectType::Commit, text.as_bytes())
    }
}

fn person(signature: &git2::Signature<'_>) -> (Signature, Timestamp) {
    // A time that no calendar holds is a forged one; the epoch keeps the commit readable.
    let time = Timestamp::from_second(signature.when().seconds()).unwrap_or(Timestamp::UNIX_EPOCH);
    (Signature::of(signature), time)
}

/// A name or an address without the characters that would end its field of a commit's header; trimmed as Git does it.
fn plain(text: &str) -> String {
    let text = printable(text.as_bytes()).replace(['<', '>'], "");
    let text =
        text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '.' | ',' | ':' | ';' | '"' | '\''));
    if text.is_empty() { "unknown".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trailers_of(message: &str) -> Vec<(String, String)> {
        let id = ObjectId::from_bytes([1; 20]);
        let person = Signature { name: "A".into(), email: "a@example.org".into() };
        let commit = Commit {
            id,
            tree: id,
            parents: Vec::new(),
            author: person.clone(),
            author_time: Timestamp::UNIX_EPOCH,
            committer: person,
            committer_time: Timestamp::UNIX_EPOCH,
            message: message.into(),
        };
        commit.trailers()
    }

    #[test]
    fn trailers_are_the_last_paragraph_when_it_has_nothing_else() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            trailers_of("subject\n\nbody: text here\n\nPlanspec-Runner: ci\nPlanspec-Resource: a/b\n  /c\n"),
            [pair("Planspec-Runner", "ci"), pair("Planspec-Resource", "a/b /c")]
        );
        assert!(trailers_of("subject\n\nKey: value\nand prose\n").is_empty());
        assert!(trailers_of("Key: value\n").is_empty(), "the subject is no trailer");
        assert!(trailers_of("").is_empty());
    }
}
