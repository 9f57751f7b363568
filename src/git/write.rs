//! Writing objects: blobs and commits. Publishes nothing; see `reference` for that.

use jiff::Timestamp;

use super::error::printable;
use super::{GitError, ObjectId, Repo, Signature};

impl Repo {
    /// Writes a blob.
    ///
    /// # Errors
    /// When the object database cannot be written.
    pub fn write_blob(&self, bytes: &[u8]) -> Result<ObjectId, GitError> {
        self.write_object(git2::ObjectType::Blob, bytes)
    }

    /// Writes a commit, with the same person and time as author and committer. The objects that it names are
    /// the caller's to have written before.
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
        let mut text = String::with_capacity(message.len() + 512);
        let person = format!("{} <{}> {} +0000", plain(&author.name), plain(&author.email), at.as_second());
        // Writing to a string cannot fail.
        let _ = writeln!(text, "tree {tree}");
        for parent in parents {
            let _ = writeln!(text, "parent {parent}");
        }
        let _ = write!(text, "author {person}\ncommitter {person}\n\n");
        text.extend(message.chars().filter(|c| *c != '\0'));
        if !text.ends_with('\n') {
            text.push('\n');
        }
        self.write_object(git2::ObjectType::Commit, text.as_bytes())
    }

    pub(super) fn write_object(&self, kind: git2::ObjectType, bytes: &[u8]) -> Result<ObjectId, GitError> {
        let id = self
            .odb()?
            .write(kind, bytes)
            .map_err(GitError::doing(format!("cannot write a {kind} to the object database")))?;
        Ok(ObjectId::from_oid(id))
    }
}

/// A name or an address without what would end the field that it stands in.
fn plain(text: &str) -> String {
    let text = printable(text.as_bytes()).replace(['<', '>'], "");
    let text =
        text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '.' | ',' | ':' | ';' | '"' | '\''));
    if text.is_empty() { "unknown".to_owned() } else { text.to_owned() }
}
