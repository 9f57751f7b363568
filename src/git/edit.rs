//! Editing trees: files set and removed at paths. Only the trees on the way are read and written.

use std::collections::BTreeMap;

use super::error::printable;
use super::raw_tree::{RawEntries, RawEntry, order};
use super::{GitError, Mode, ObjectId, Repo, path};

/// What becomes of one directory: files by name, and deeper directories by name.
#[derive(Default)]
struct Edits<'e> {
    files: BTreeMap<&'e str, Option<ObjectId>>,
    directories: BTreeMap<&'e str, Self>,
}

/// An entry of a tree that is being put together.
struct Line<'a> {
    name: &'a [u8],
    mode: &'a [u8],
    id: ObjectId,
}

impl Line<'_> {
    fn is_tree(&self) -> bool {
        Mode::from_octal(self.mode) == Mode::Tree
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
        let mut root = Edits::default();
        for (path, id) in edits {
            path::check(path)?;
            let mut directory = &mut root;
            let mut rest = path.as_str();
            while let Some((name, deeper)) = rest.split_once('/') {
                directory = directory.directories.entry(name).or_default();
                rest = deeper;
            }
            directory.files.insert(rest, *id);
        }
        match self.edit_directory(base, &root, "")? {
            Some(tree) => Ok(tree),
            None => self.write_object(git2::ObjectType::Tree, &[]),
        }
    }

    fn edit_directory(
        &self,
        base: Option<ObjectId>,
        edits: &Edits<'_>,
        prefix: &str,
    ) -> Result<Option<ObjectId>, GitError> {
        let edit = |bytes: &[u8]| {
            let mut lines = Vec::new();
            let mut entries = RawEntries::new(bytes);
            for entry in entries.by_ref() {
                if !edits.touch(entry.name) {
                    lines.extend(line(entry));
                }
            }
            if let (Some(id), false) = (base, entries.is_exhausted()) {
                return Err(GitError::BadTree { id, problem: "is broken" });
            }
            self.add_edited(bytes, edits, prefix, &mut lines)?;
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
        edits: &Edits<'a>,
        prefix: &str,
        lines: &mut Vec<Line<'a>>,
    ) -> Result<(), GitError> {
        // One pass over the tree for all edits of it, as it may be long.
        let mut present = BTreeMap::new();
        for entry in RawEntries::new(bytes).filter(|entry| edits.touch(entry.name)) {
            present.entry(entry.name).or_insert((entry.mode(), ObjectId::from_slice(entry.id)));
        }
        let refuse = |name: &str, mode| {
            Err(GitError::RefusedEntry { path: printable(format!("{prefix}{name}").as_bytes()), mode })
        };
        for (name, id) in &edits.files {
            let mode = match present.get(name.as_bytes()) {
                None => Mode::Blob,
                Some((mode, _)) if mode.is_file() => *mode,
                Some((mode, _)) => return refuse(name, *mode),
            };
            if let Some(id) = id {
                if edits.directories.contains_key(name) {
                    return refuse(name, Mode::Tree);
                }
                lines.push(Line { name: name.as_bytes(), mode: mode.octal(), id: *id });
            }
        }
        for (name, deeper) in &edits.directories {
            let base = match present.get(name.as_bytes()) {
                Some((Mode::Tree, id)) => *id,
                // A file that is removed by the same edit makes room.
                Some((mode, _)) if mode.is_file() && edits.files.contains_key(name) => None,
                Some((mode, _)) if deeper.adds() => return refuse(name, *mode),
                Some((mode, Some(id))) => {
                    lines.push(Line { name: name.as_bytes(), mode: mode.octal(), id: *id });
                    continue;
                }
                _ => None,
            };
            if let Some(id) = self.edit_directory(base, deeper, &format!("{prefix}{name}/"))? {
                lines.push(Line { name: name.as_bytes(), mode: Mode::Tree.octal(), id });
            }
        }
        Ok(())
    }

    fn write_lines(&self, lines: &[Line<'_>]) -> Result<ObjectId, GitError> {
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

impl Edits<'_> {
    fn touch(&self, name: &[u8]) -> bool {
        str::from_utf8(name)
            .is_ok_and(|name| self.files.contains_key(name) || self.directories.contains_key(name))
    }

    /// Whether a file is set somewhere below.
    fn adds(&self) -> bool {
        self.files.values().any(Option::is_some) || self.directories.values().any(Self::adds)
    }
}

fn line(entry: RawEntry<'_>) -> Option<Line<'_>> {
    Some(Line { name: entry.name, mode: entry.mode, id: ObjectId::from_slice(entry.id)? })
}
