//! The first-parent line of a branch: every commit that was its tip at some time. Walked no further than somebody asks.

use std::collections::{HashMap, HashSet};

use git2::ErrorCode;

use crate::git::{GitError, ObjectId, Repo};

/// The first-parent line that ends at one commit.
///
/// Ancestry would not do: the commits of a merged pull request are ancestors of the branch, and none of them was ever what
/// was merged.
#[derive(Debug)]
pub struct FirstParentLine {
    commits: Vec<ObjectId>,
    places: HashMap<ObjectId, usize>,
    /// Whether the last commit has no parent, as far as anybody can know.
    complete: bool,
    /// The line of an earlier tip, as it was found then: joined as soon as the walk meets that tip.
    known: Vec<ObjectId>,
}

/// Where a commit stands on a first-parent line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinePlace {
    /// So many commits before the tip.
    At(usize),
    /// Not on the line.
    Absent,
    /// History is cut off before it could be found, so nobody can tell.
    Unknown,
}

/// A repository that holds a part of the history.
pub struct LineSource<'r> {
    repo: &'r Repo,
    boundary: HashSet<ObjectId>,
}

impl<'r> LineSource<'r> {
    /// A repository, which may be a shallow clone.
    ///
    /// # Errors
    /// When it cannot be read where it is cut off.
    pub fn new(repo: &'r Repo) -> Result<Self, GitError> {
        Ok(Self { repo, boundary: repo.shallow_boundary()? })
    }

    /// The repository.
    #[must_use]
    pub fn repo(&self) -> &'r Repo {
        self.repo
    }

    /// The first parent of a commit, none for a root; nothing where it is not known here.
    fn first_parent(&self, id: ObjectId) -> Result<Option<Option<ObjectId>>, GitError> {
        // At the boundary libgit2 shows a commit without its parents: it would pass for a root.
        if self.boundary.contains(&id) {
            return Ok(None);
        }
        let oid = id.oid().map_err(GitError::doing("bad object id"))?;
        match self.repo.git2().find_commit(oid) {
            Ok(commit) => Ok(Some(commit.parent_id(0).ok().map(ObjectId::from_oid))),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(GitError::doing("cannot read a commit")(error)),
        }
    }
}

impl FirstParentLine {
    /// The line that ends at `tip`.
    #[must_use]
    pub fn to(tip: ObjectId) -> Self {
        Self::resume(tip, Vec::new())
    }

    /// The same, when the line that ends at the first of `known` was walked before.
    #[must_use]
    pub fn resume(tip: ObjectId, known: Vec<ObjectId>) -> Self {
        let mut line = Self { commits: Vec::new(), places: HashMap::new(), complete: false, known };
        line.push(tip);
        line
    }

    /// What was walked so far, from the tip on.
    #[must_use]
    pub fn walked(&self) -> &[ObjectId] {
        &self.commits
    }

    fn push(&mut self, id: ObjectId) {
        self.places.insert(id, self.commits.len());
        self.commits.push(id);
        if self.known.first() == Some(&id) {
            for id in std::mem::take(&mut self.known).into_iter().skip(1) {
                self.places.insert(id, self.commits.len());
                self.commits.push(id);
            }
        }
    }

    /// The commit at its end.
    #[must_use]
    pub fn tip(&self) -> Option<ObjectId> {
        self.commits.first().copied()
    }

    /// The commit so many places before the tip; `None` at the root, and where history is cut off.
    ///
    /// # Errors
    /// When a commit cannot be read.
    pub fn at(&mut self, sources: &[LineSource<'_>], place: usize) -> Result<Option<ObjectId>, GitError> {
        while self.commits.len() <= place && self.step(sources)? {}
        Ok(self.commits.get(place).copied())
    }

    /// Where `wanted` stands. The sources are asked in their order; what one lacks, the next may have.
    ///
    /// # Errors
    /// When a commit cannot be read.
    pub fn place(&mut self, sources: &[LineSource<'_>], wanted: ObjectId) -> Result<LinePlace, GitError> {
        if let Some(&place) = self.places.get(&wanted) {
            return Ok(LinePlace::At(place));
        }
        while self.step(sources)? {
            if let Some(&place) = self.places.get(&wanted) {
                return Ok(LinePlace::At(place));
            }
        }
        Ok(if self.complete { LinePlace::Absent } else { LinePlace::Unknown })
    }

    /// Whether the whole line is known.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Walks on. Says whether there was anything to walk to.
    fn step(&mut self, sources: &[LineSource<'_>]) -> Result<bool, GitError> {
        let Some(&last) = self.commits.last().filter(|_| !self.complete) else { return Ok(false) };
        for source in sources {
            match source.first_parent(last)? {
                None => {}
                Some(None) => {
                    self.complete = true;
                    return Ok(false);
                }
                Some(Some(parent)) => {
                    self.push(parent);
                    return Ok(true);
                }
            }
        }
        tracing::debug!(commit = %last, walked = self.commits.len(), "history is cut off here");
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::git::Signature;

    struct Fixture {
        _dir: tempfile::TempDir,
        repo: Repo,
    }

    impl Fixture {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let repo = Repo::init_bare(dir.path(), "main").unwrap();
            Self { _dir: dir, repo }
        }

        fn commit(&self, message: &str, parents: &[ObjectId]) -> ObjectId {
            let tree = self.repo.edit_tree(None, &std::collections::BTreeMap::new()).unwrap();
            let author = Signature { name: "A".into(), email: "a@example.org".into() };
            self.repo.write_commit(tree, parents, message, &author, Timestamp::UNIX_EPOCH).unwrap()
        }

        fn place(&self, line: &mut FirstParentLine, wanted: ObjectId) -> LinePlace {
            line.place(&[LineSource::new(&self.repo).unwrap()], wanted).unwrap()
        }
    }

    #[test]
    fn a_merged_branch_is_not_on_the_line_and_the_merge_is() {
        let fixture = Fixture::new();
        let root = fixture.commit("root", &[]);
        let early = fixture.commit("early", &[root]);
        let main = fixture.commit("main", &[root]);
        let merge = fixture.commit("merge", &[main, early]);
        let tip = fixture.commit("tip", &[merge]);
        let mut line = FirstParentLine::to(tip);
        assert_eq!(fixture.place(&mut line, merge), LinePlace::At(1));
        assert_eq!(fixture.place(&mut line, early), LinePlace::Absent);
        assert_eq!(fixture.place(&mut line, root), LinePlace::At(3));
        assert!(line.is_complete());
    }

    #[test]
    fn where_history_is_cut_off_nobody_can_tell_until_there_is_more() {
        let fixture = Fixture::new();
        let root = fixture.commit("root", &[]);
        let middle = fixture.commit("middle", &[root]);
        let tip = fixture.commit("tip", &[middle]);
        let shallow = Fixture::new();
        let copied = shallow.repo.write_commit(
            shallow.repo.edit_tree(None, &std::collections::BTreeMap::new()).unwrap(),
            &[middle],
            "tip",
            &Signature { name: "A".into(), email: "a@example.org".into() },
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(copied.unwrap(), tip);
        std::fs::write(shallow.repo.common_dir().join("shallow"), format!("{tip}\n")).unwrap();
        let here = Repo::open(shallow.repo.common_dir()).unwrap();
        let mut line = FirstParentLine::to(tip);
        let alone = [LineSource::new(&here).unwrap()];
        assert_eq!(line.place(&alone, root).unwrap(), LinePlace::Unknown);
        let both = [LineSource::new(&here).unwrap(), LineSource::new(&fixture.repo).unwrap()];
        assert_eq!(line.place(&both, root).unwrap(), LinePlace::At(2));
    }

    #[test]
    fn what_was_walked_for_an_earlier_tip_is_not_walked_again() {
        let fixture = Fixture::new();
        let root = fixture.commit("root", &[]);
        let old = fixture.commit("old", &[root]);
        let tip = fixture.commit("tip", &[old]);
        // The root is nowhere to be read, so it can only come from what is known.
        let made_up = ObjectId::from_bytes([7; 20]);
        let mut line = FirstParentLine::resume(tip, vec![old, made_up]);
        assert_eq!(fixture.place(&mut line, made_up), LinePlace::At(2));
        let mut other = FirstParentLine::resume(old, vec![tip, made_up]);
        assert_eq!(fixture.place(&mut other, made_up), LinePlace::Absent);
    }
}
