//! Editing trees: files set and removed at paths. Only the trees along these paths are read and written.

use std::collections::BTreeMap;

use super::path;
use super::raw_tree::{RawEntries, RawEntry, order};
use crate::git::error::printable;
use crate::git::{EntryMode, GitError, ObjectId, Repo};

/// The edits of one directory: files by name, and deeper directories by name.
#[derive(Default)]
struct TreeEdits<'e> {
    files: BTreeMap<&'e str, Option<ObjectId>>,
    directories: BTreeMap<&'e str, Self>,
    /// Directories that are set as a whole.
    trees: BTreeMap<&'e str, ObjectId>,
    /// Whether what is no file gives way.
    over: bool,
}

/// An entry of a tree that is being put together.
struct TreeLine<'a> {
    name: &'a [u8],
    mode: &'a [u8],
    id: ObjectId,
}

impl TreeLine<'_> {
    fn is_tree(&self) -> bool {
        EntryMode::from_octal(self.mode) == EntryMode::Tree
    }
}

impl Repo {
    /// The tree that results from setting files (a blob) and removing files (`None`) in `base`. A file that
    /// is there keeps whether it may be run; a directory that becomes empty vanishes; removing what is not
    /// there is no error.
    ///
    /// # Errors
    /// [`GitError::BadPath`], or [`GitError::RefusedEntry`] when something other than a regular file is in
    /// the way; or the object database cannot be read or written.
    pub fn edit_tree(
        &self,
        base: Option<ObjectId>,
        edits: &BTreeMap<String, Option<ObjectId>>,
    ) -> Result<ObjectId, GitError> {
        self.edit_with(base, edits, &BTreeMap::new(), false)
    }

    /// The same in a tree that is ours alone: what stands in the way of a file, such as a link or a directory, gives way to it.
    /// Nothing is followed.
    ///
    /// # Errors
    /// [`GitError::BadPath`]; or the object database cannot be read or written.
    pub fn edit_own_tree(
        &self,
        base: Option<ObjectId>,
        edits: &BTreeMap<String, Option<ObjectId>>,
    ) -> Result<ObjectId, GitError> {
        self.edit_with(base, edits, &BTreeMap::new(), true)
    }

    /// The same with directories that are set as a whole, by the ids of their trees. Nothing else is edited at such a path
    /// or below it.
    ///
    /// # Errors
    /// [`GitError::BadPath`]; or the object database cannot be read or written.
    pub fn edit_own_directories(
        &self,
        base: Option<ObjectId>,
        edits: &BTreeMap<String, Option<ObjectId>>,
        trees: &BTreeMap<String, ObjectId>,
    ) -> Result<ObjectId, GitError> {
        self.edit_with(base, edits, trees, true)
    }

    fn edit_with(
        &self,
        base: Option<ObjectId>,
        edits: &BTreeMap<String, Option<ObjectId>>,
        trees: &BTreeMap<String, ObjectId>,
        over: bool,
    ) -> Result<ObjectId, GitError> {
        // All edits of a directory at once: one after the other, a batch of n records would rewrite their tree n times.
        let mut root = TreeEdits { over, ..TreeEdits::default() };
        for (path, id) in edits {
            // Every path, also one that is removed: names come from manifests and records, and what is refused on the
            // way in cannot be there.
            path::check(path)?;
            let (directory, name) = root.directory_of(path);
            directory.files.insert(name, *id);
        }
        for (path, id) in trees {
            path::check(path)?;
            let (directory, name) = root.directory_of(path);
            directory.trees.insert(name, *id);
        }
        // Git knows no empty directories, but a commit must have a tree.
        match self.edit_directory(base, &root, "")? {
            Some(tree) => Ok(tree),
            None => self.write_object(git2::ObjectType::Tree, &[]),
        }
    }

    fn edit_directory(
        &self,
        base: Option<ObjectId>,
        edits: &TreeEdits<'_>,
        prefix: &str,
    ) -> Result<Option<ObjectId>, GitError> {
        let edit = |bytes: &[u8]| {
            let mut lines = Vec::new();
            let mut entries = RawEntries::new(bytes);
            for entry in entries.by_ref() {
                // Taken over as bytes, with modes and names that are not understood here: an edit changes nothing
                // beside its paths.
                if !edits.touch(entry.name) {
                    lines.extend(line(entry));
                }
            }
            if let (Some(id), false) = (base, entries.is_exhausted()) {
                // A tree that ends in the middle of an entry would lose everything behind it in the next commit.
                return Err(GitError::BadTree { id, problem: "is broken" });
            }
            self.add_edited(bytes, edits, prefix, &mut lines)?;
            // Git's order, in which `a-b` goes before the directory `a`; `fsck` on hosts refuses a tree in another one.
            lines.sort_by(|a, b| order(a.name, a.is_tree(), b.name, b.is_tree()));
            if lines.is_empty() { Ok(None) } else { self.write_lines(&lines).map(Some) }
        };
        match base {
            Some(id) => self.with_tree(id, edit),
            None => edit(&[]),
        }
    }

    /// Adds the lines of everything that an edit touches.
    fn add_edited<'a>(
        &self,
        bytes: &[u8],
        edits: &TreeEdits<'a>,
        prefix: &str,
        lines: &mut Vec<TreeLine<'a>>,
    ) -> Result<(), GitError> {
        // One pass over the tree for all edits of it, as it may be long.
        let mut present = BTreeMap::new();
        for entry in RawEntries::new(bytes).filter(|entry| edits.touch(entry.name)) {
            // The first of two equal names counts, as it does when a path is read.
            present.entry(entry.name).or_insert((entry.mode(), ObjectId::from_slice(entry.id)));
        }
        let refuse = |name: &str, mode| {
            Err(GitError::RefusedEntry { path: printable(format!("{prefix}{name}").as_bytes()), mode })
        };
        for (name, id) in &edits.trees {
            lines.push(TreeLine { name: name.as_bytes(), mode: EntryMode::Tree.octal(), id: *id });
        }
        for (name, id) in edits.files.iter().filter(|(name, _)| !edits.trees.contains_key(*name)) {
            let mode = match present.get(name.as_bytes()) {
                None => EntryMode::Blob,
                Some((mode, _)) if mode.is_file() => *mode,
                // A directory of which files are edited as well is no obstacle.
                Some(_) if edits.over && !edits.directories.contains_key(name) => EntryMode::Blob,
                // A link or a submodule is neither followed nor replaced (Invariant 7): somebody put it there on
                // purpose.
                Some((mode, _)) => return refuse(name, *mode),
            };
            if let Some(id) = id {
                if edits.directories.contains_key(name) {
                    return refuse(name, EntryMode::Tree);
                }
                lines.push(TreeLine { name: name.as_bytes(), mode: mode.octal(), id: *id });
            }
        }
        for (name, deeper) in edits.directories.iter().filter(|(name, _)| !edits.trees.contains_key(*name)) {
            let base = match present.get(name.as_bytes()) {
                Some((EntryMode::Tree, id)) => *id,
                // A file that is removed by the same edit makes room.
                Some((mode, _)) if mode.is_file() && edits.files.contains_key(name) => None,
                Some((mode, _)) if edits.over && *mode != EntryMode::Tree => None,
                Some((mode, _)) if deeper.adds() => return refuse(name, *mode),
                Some((mode, Some(id))) => {
                    lines.push(TreeLine { name: name.as_bytes(), mode: mode.octal(), id: *id });
                    continue;
                }
                _ => None,
            };
            // `None` is a directory that became empty: Git has no entry for one.
            if let Some(id) = self.edit_directory(base, deeper, &format!("{prefix}{name}/"))? {
                lines.push(TreeLine { name: name.as_bytes(), mode: EntryMode::Tree.octal(), id });
            }
        }
        Ok(())
    }

    fn write_lines(&self, lines: &[TreeLine<'_>]) -> Result<ObjectId, GitError> {
        // 28 bytes beside the name: six digits of the mode, a blank, a zero byte and the 20 bytes of the id.
        let mut bytes = Vec::with_capacity(lines.iter().map(|line| line.name.len() + 28).sum());
        for line in lines {
            bytes.extend_from_slice(line.mode);
            bytes.push(b' ');
            bytes.extend_from_slice(line.name);
            bytes.push(0);
            bytes.extend_from_slice(line.id.as_bytes());
        }
        self.write_object(git2::ObjectType::Tree, &bytes)
    }
}

impl<'e> TreeEdits<'e> {
    /// The edits of the directory that a path lies in, and its name there.
    fn directory_of(&mut self, path: &'e str) -> (&mut Self, &'e str) {
        let over = self.over;
        let mut directory = self;
        let mut rest = path;
        while let Some((name, deeper)) = rest.split_once('/') {
            let empty = || Self { over, ..Self::default() };
            directory = directory.directories.entry(name).or_insert_with(empty);
            rest = deeper;
        }
        (directory, rest)
    }

    fn touch(&self, name: &[u8]) -> bool {
        let known = |name: &str| {
            self.files.contains_key(name)
                || self.directories.contains_key(name)
                || self.trees.contains_key(name)
        };
        str::from_utf8(name).is_ok_and(known)
    }

    /// Whether a file is set somewhere below.
    fn adds(&self) -> bool {
        self.files.values().any(Option::is_some)
            || !self.trees.is_empty()
            || self.directories.values().any(Self::adds)
    }
}

fn line(entry: RawEntry<'_>) -> Option<TreeLine<'_>> {
    Some(TreeLine { name: entry.name, mode: entry.mode, id: ObjectId::from_slice(entry.id)? })
}

#[cfg(test)]
impl Repo {
    /// The tree of these files, by their paths.
    pub(crate) fn write_listed(&self, files: &BTreeMap<String, (EntryMode, Vec<u8>)>) -> ObjectId {
        let mut update = git2::build::TreeUpdateBuilder::new();
        for (path, (mode, content)) in files {
            let mode = match mode {
                EntryMode::Executable => git2::FileMode::BlobExecutable,
                EntryMode::Symlink => git2::FileMode::Link,
                _ => git2::FileMode::Blob,
            };
            update.upsert(path, self.write_blob(content).unwrap().oid().unwrap(), mode);
        }
        let none = self.write_object(git2::ObjectType::Tree, &[]).unwrap();
        let none = self.git2().find_tree(none.oid().unwrap()).unwrap();
        ObjectId::from_oid(update.create_updated(self.git2(), &none).unwrap())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::objects::repo;
    use proptest::prelude::*;

    type Files = BTreeMap<String, Option<ObjectId>>;

    fn raw(repo: &Repo, lines: &[(&str, &str, ObjectId)]) -> ObjectId {
        let mut bytes = Vec::new();
        for (mode, name, id) in lines {
            bytes.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            bytes.extend_from_slice(id.as_bytes());
        }
        repo.write_object(git2::ObjectType::Tree, &bytes).unwrap()
    }

    fn files(repo: &Repo, tree: ObjectId) -> Vec<String> {
        let changes = repo.compare(None, Some(tree)).unwrap();
        changes.into_iter().map(|change| String::from_utf8(change.path).unwrap()).collect()
    }

    #[test]
    fn a_directory_that_becomes_empty_vanishes() {
        let (_dir, repo) = repo();
        let blob = repo.write_blob(b"x").unwrap();
        let set =
            |paths: &[&str]| paths.iter().map(|path| ((*path).to_owned(), Some(blob))).collect::<Files>();
        let base = repo.edit_tree(None, &set(&["a/b/c", "d"])).unwrap();
        let tree = repo.edit_tree(Some(base), &Files::from([("a/b/c".into(), None)])).unwrap();
        assert_eq!(tree, repo.edit_tree(None, &set(&["d"])).unwrap());
        let tree = repo.edit_tree(Some(tree), &Files::from([("d".into(), None)])).unwrap();
        assert!(repo.entries(tree).unwrap().is_empty());
    }

    #[test]
    fn removing_what_is_not_there_changes_nothing() {
        let (_dir, repo) = repo();
        let blob = repo.write_blob(b"x").unwrap();
        let link = raw(&repo, &[("100644", "file", blob), ("120000", "link", blob)]);
        for path in ["none", "none/deeper", "file/below", "link/below"] {
            let tree = repo.edit_tree(Some(link), &Files::from([(path.into(), None)])).unwrap();
            assert_eq!(tree, link, "{path}");
        }
    }

    #[test]
    fn a_file_that_may_be_run_stays_one() {
        let (_dir, repo) = repo();
        let old = repo.write_blob(b"1").unwrap();
        let new = repo.write_blob(b"2").unwrap();
        let base = raw(&repo, &[("100755", "run", old)]);
        let tree = repo.edit_tree(Some(base), &Files::from([("run".into(), Some(new))])).unwrap();
        let entry = repo.entry(tree, "run").unwrap().unwrap();
        assert_eq!((entry.id, entry.mode), (new, EntryMode::Executable));
    }

    #[test]
    fn links_and_submodules_and_directories_are_not_written_over() {
        let (_dir, repo) = repo();
        let blob = repo.write_blob(b"x").unwrap();
        let sub = raw(&repo, &[("100644", "x", blob)]);
        let base = raw(&repo, &[("40000", "dir", sub), ("120000", "link", blob), ("160000", "module", blob)]);
        for (path, what) in [
            ("link", "a symbolic link"),
            ("link/x", "a symbolic link"),
            ("module", "a submodule"),
            ("module/x", "a submodule"),
            ("dir", "a directory"),
            ("dir/x/y", "a file"),
        ] {
            let error = repo.edit_tree(Some(base), &Files::from([(path.into(), Some(blob))])).unwrap_err();
            assert!(error.to_string().contains(what), "{path}: {error}");
        }
    }

    #[test]
    fn in_a_tree_of_ours_everything_gives_way_to_a_file() {
        let (_dir, repo) = repo();
        let blob = repo.write_blob(b"x").unwrap();
        let sub = raw(&repo, &[("100644", "x", blob)]);
        let base = raw(&repo, &[("40000", "dir", sub), ("120000", "link", blob), ("160000", "module", blob)]);
        for path in ["link", "link/x", "module", "module/x", "dir", "dir/x/y"] {
            let tree = repo.edit_own_tree(Some(base), &Files::from([(path.into(), Some(blob))])).unwrap();
            assert!(files(&repo, tree).iter().any(|file| file == path), "{path}");
            let gone = repo.edit_own_tree(Some(tree), &Files::from([(path.into(), None)])).unwrap();
            assert!(repo.entry(gone, path).unwrap().is_none(), "{path}");
        }
    }

    #[test]
    fn a_file_that_is_removed_makes_room_for_a_directory_of_its_name() {
        let (_dir, repo) = repo();
        let blob = repo.write_blob(b"x").unwrap();
        let base = repo.edit_tree(None, &Files::from([("a".into(), Some(blob))])).unwrap();
        let edits = Files::from([("a".into(), None), ("a/b".into(), Some(blob))]);
        assert_eq!(files(&repo, repo.edit_tree(Some(base), &edits).unwrap()), ["a/b"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Step by step or at once, the same files are the same tree; and Git's own builder agrees.
        #[test]
        fn a_tree_depends_on_its_files_alone(
            steps in prop::collection::vec(("[ab]{1,2}(/[ab.-]{1,2}x){0,2}", any::<bool>()), 1..20)
        ) {
            let (_dir, repo) = repo();
            let blob = repo.write_blob(b"x").unwrap();
            let mut model: BTreeMap<String, ()> = BTreeMap::new();
            let mut tree = repo.edit_tree(None, &Files::new()).unwrap();
            for (path, set) in steps {
                let id = set.then_some(blob);
                match repo.edit_tree(Some(tree), &Files::from([(path.clone(), id)])) {
                    Ok(next) => {
                        tree = next;
                        if set { model.insert(path, ()); } else { model.remove(&path); }
                    }
                    Err(error) => {
                        let refused = matches!(error, GitError::RefusedEntry { .. });
                        prop_assert!(refused, "{}", error);
                    }
                }
            }
            prop_assert_eq!(files(&repo, tree).len(), model.len());
            let mut index = git2::Index::new().unwrap();
            for path in model.keys() {
                index.add(&git2::IndexEntry {
                    ctime: git2::IndexTime::new(0, 0), mtime: git2::IndexTime::new(0, 0), dev: 0, ino: 0,
                    mode: 0o100_644, uid: 0, gid: 0, file_size: 0, id: blob.oid().unwrap(), flags: 0,
                    flags_extended: 0, path: path.clone().into_bytes(),
                }).unwrap();
            }
            let theirs = index.write_tree_to(repo.git2()).unwrap();
            prop_assert_eq!(tree, ObjectId::from_oid(theirs));
        }
    }
}
