//! History: revisions by name, the first-parent log, ancestry. Aware of shallow clones.

use std::collections::HashSet;

use git2::ErrorCode;

use super::Commit;
use crate::git::error::printable;
use crate::git::{GitError, ObjectId, Repo};

/// Commits along first parents, newest first; see [`Repo::log`].
pub struct CommitLog<'r> {
    repo: &'r Repo,
    next: Option<ObjectId>,
    /// A start that is missing is an error, unlike a parent beyond the end of a shallow clone.
    first: bool,
    /// Where history is cut off, once it was read.
    boundary: Option<HashSet<ObjectId>>,
    is_cut: bool,
}

impl CommitLog<'_> {
    /// Whether the commit that came last has parents, and a shallow clone lacks them.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    fn is_cut_at(&mut self, id: ObjectId) -> Result<bool, GitError> {
        // Read here, as a fetch may have cut history off since libgit2 opened the repository.
        let boundary = match self.boundary.take() {
            Some(boundary) => boundary,
            None => self.repo.shallow_boundary()?,
        };
        Ok(self.boundary.insert(boundary).contains(&id))
    }
}

impl Iterator for CommitLog<'_> {
    type Item = Result<Commit, GitError>;

    fn next(&mut self) -> Option<Self::Item> {
        let id = self.next.take()?;
        let first = std::mem::replace(&mut self.first, false);
        match self.repo.commit(id) {
            Ok(mut commit) => {
                match self.is_cut_at(id) {
                    Ok(is_cut) => self.is_cut = is_cut,
                    Err(error) => return Some(Err(error)),
                }
                if self.is_cut {
                    commit.parents.clear();
                }
                self.next = commit.parents.first().copied();
                Some(Ok(commit))
            }
            // A fetch with a depth between two reads may have moved the boundary past this commit.
            Err(GitError::Missing { shallow: true, .. }) if !first => {
                self.is_cut = true;
                None
            }
            Err(error) => Some(Err(error)),
        }
    }
}

impl Repo {
    /// The commit that a revision names: a branch, a tag, an id, `HEAD~2`.
    ///
    /// # Errors
    /// [`GitError::UnknownRevision`] when it names none.
    pub fn resolve_commit(&self, rev: &str) -> Result<ObjectId, GitError> {
        // Peeled, as a tag has an id of its own, and what is pinned and compared are commits.
        let found = self.git2().revparse_single(rev).and_then(|object| object.peel_to_commit());
        match found {
            Ok(commit) => Ok(ObjectId::from_oid(commit.id())),
            Err(error)
                if matches!(
                    error.code(),
                    ErrorCode::NotFound
                        | ErrorCode::InvalidSpec
                        | ErrorCode::Ambiguous
                        | ErrorCode::Peel
                        | ErrorCode::UnbornBranch
                ) =>
            {
                Err(GitError::UnknownRevision { revision: printable(rev.as_bytes()) })
            }
            Err(source) => Err(GitError::Git {
                doing: format!("cannot resolve `{}`", printable(rev.as_bytes())),
                source,
            }),
        }
    }

    /// The commits from this one back along first parents. Ends without an error where a shallow clone does.
    pub fn log(&self, from: ObjectId) -> CommitLog<'_> {
        CommitLog { repo: self, next: Some(from), first: true, boundary: None, is_cut: false }
    }

    /// The commit that changed the file at a path last, from this one back along first parents. `None` where there is no such
    /// file, where it lies further back than `most`, and where history is cut off before it.
    ///
    /// # Errors
    /// When history is broken.
    pub fn last_change(&self, from: ObjectId, path: &str, most: usize) -> Result<Option<ObjectId>, GitError> {
        let mut newer: Option<(ObjectId, ObjectId)> = None;
        for commit in self.log(from).take(most) {
            let commit = commit?;
            let file = self.entry(commit.tree, path)?.map(|entry| entry.id);
            match (newer, file) {
                (None, None) => return Ok(None),
                (Some((id, held)), file) if file != Some(held) => return Ok(Some(id)),
                (_, Some(file)) => newer = Some((commit.id, file)),
                (Some(_), None) => {}
            }
            // Where history is cut off, the last commit only seems to be the first one.
            if commit.parents.is_empty() && !self.is_shallow() {
                return Ok(Some(commit.id));
            }
        }
        Ok(None)
    }

    /// The commits that a merge brought beside itself: those that its first parent does not have. `None` when a shallow clone
    /// cannot know, or when there are more than `most`.
    ///
    /// # Errors
    /// When history is broken.
    pub fn merged_by(&self, merge: &Commit, most: usize) -> Result<Option<Vec<ObjectId>>, GitError> {
        // A walk would end at the boundary without a word and seem complete, and there even a merge has no parents.
        if self.is_shallow() && merge.parents.len() != 1 {
            return Ok(None);
        }
        let Some((first, others)) = merge.parents.split_first() else { return Ok(Some(Vec::new())) };
        let oid = |id: ObjectId| id.oid().map_err(GitError::doing("bad object id"));
        let failed = |error| GitError::doing("cannot walk what a merge brought")(error);
        let mut walk = self.git2().revwalk().map_err(failed)?;
        for other in others {
            walk.push(oid(*other)?).map_err(failed)?;
        }
        walk.hide(oid(*first)?).map_err(failed)?;
        let mut found = Vec::new();
        for id in walk {
            if found.len() == most {
                return Ok(None);
            }
            found.push(ObjectId::from_oid(id.map_err(failed)?));
        }
        Ok(Some(found))
    }

    /// Whether a commit is the other one or among its ancestors; `None` when a shallow clone cannot know.
    ///
    /// # Errors
    /// When `of` is missing, or history is broken.
    pub fn is_ancestor(&self, ancestor: ObjectId, of: ObjectId) -> Result<Option<bool>, GitError> {
        if ancestor == of {
            return Ok(Some(true));
        }
        // `false` of libgit2 would be a guess there: the ancestor may lie behind the boundary (Invariant 13).
        if self.is_shallow() {
            return self.is_ancestor_in_shallow(ancestor, of);
        }
        let oid = |id: ObjectId| id.oid().map_err(GitError::doing("bad object id"));
        let ancestor_oid = oid(ancestor)?;
        let of_oid = oid(of)?;
        self.git2().find_commit(of_oid).map_err(|error| self.missing("commit", of, error))?;
        // History is complete here, so what is not in the object database cannot be an ancestor.
        if !self.odb()?.exists(ancestor_oid) {
            return Ok(Some(false));
        }
        let related = self.git2().graph_descendant_of(of_oid, ancestor_oid);
        related.map(Some).map_err(|error| self.missing("commit", of, error))
    }

    /// The commits at which history is cut off here: they are here, and their parents are not.
    pub(super) fn shallow_boundary(&self) -> Result<HashSet<ObjectId>, GitError> {
        // The file itself: libgit2 tells that a repository is shallow, but not where it ends.
        let path = self.common_dir().join("shallow");
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(HashSet::new()),
            Err(source) => Err(GitError::Io { doing: "read", path, source }),
        }
    }

    /// Walks as far as a shallow clone reaches; libgit2's own walk takes the boundary for damage.
    fn is_ancestor_in_shallow(&self, ancestor: ObjectId, of: ObjectId) -> Result<Option<bool>, GitError> {
        let boundary = self.shallow_boundary()?;
        let mut cut = false;
        // Merges make many ways to the same commit; without this set a long history takes exponential time.
        let mut seen = HashSet::from([of]);
        let mut next = vec![of];
        while let Some(id) = next.pop() {
            if id == ancestor {
                return Ok(Some(true));
            }
            if boundary.contains(&id) {
                cut = true;
                continue;
            }
            match self.commit(id) {
                Ok(commit) => next.extend(commit.parents.into_iter().filter(|parent| seen.insert(*parent))),
                // A fetch with a depth may have cut history off after the boundary was read.
                Err(GitError::Missing { .. }) if id != of => cut = true,
                Err(error) => return Err(error),
            }
        }
        if cut {
            tracing::debug!(%ancestor, commit = %of, seen = seen.len(), "history is too shallow to tell whether it is an ancestor");
        }
        Ok(if cut { None } else { Some(false) })
    }
}
