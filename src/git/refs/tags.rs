//! The tags of a repository, as a workspace shows them. Each task asks for them, and listing a few thousand takes longer than a small task.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use crate::git::{GitError, Repo};
use crate::stamp::{FileStamp, PlaceBelow, StampedFolder};

/// The tags of one repository, listed again only where they may have changed.
#[derive(Debug, Default)]
pub struct KnownTags {
    last: Mutex<Option<ListedTags>>,
}

#[derive(Debug)]
struct ListedTags {
    lines: Arc<str>,
    /// The files of single tags, and the folders that they are in.
    folder: StampedFolder,
    /// The file of all others, where there is one.
    packed: Option<FileStamp>,
}

impl KnownTags {
    /// The tags as lines of `packed-refs`, by the files of the repository; `now` is a time before they are looked at.
    ///
    /// # Errors
    /// When the references cannot be read.
    pub fn of(&self, repo: &Repo, now: Timestamp) -> Result<Arc<str>, GitError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let file = repo.common_dir().join("packed-refs");
        let packed = FileStamp::at(&file);
        let is_same = |last: &ListedTags| last.packed == packed && last.folder.is_unchanged();
        if let Some(known) = last.as_ref().filter(|last| is_same(last)) {
            return Ok(Arc::clone(&known.lines));
        }
        *last = None;
        // Before anything is read, so that whatever changes from then on shows the next time.
        let folder = repo.common_dir().join("refs/tags");
        let found = FileStamp::at(&folder).zip(places_below(&folder));
        let lines: Arc<str> = list(repo)?.into();
        // Without that folder, references are kept in another way.
        let settled =
            found.and_then(|(stamp, below)| StampedFolder::settled_at((&folder, stamp), &below, now));
        if let Some(folder) = settled.filter(|_| packed.is_none_or(|packed| packed.is_settled(now))) {
            tracing::debug!(bytes = lines.len(), "tags listed");
            *last = Some(ListedTags { lines: Arc::clone(&lines), folder, packed });
        }
        Ok(lines)
    }
}

/// All that is in a folder; none where it cannot be read.
fn places_below(root: &Path) -> Option<Vec<PlaceBelow>> {
    let mut places = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).ok()? {
            let entry = entry.ok()?;
            let (path, found) = (entry.path(), entry.metadata().ok()?);
            let below = path.strip_prefix(root).ok()?.as_os_str().as_bytes().to_vec();
            places.push((below, FileStamp::of(&found)));
            if found.is_dir() {
                left.push(path);
            }
        }
    }
    Some(places)
}

fn list(repo: &Repo) -> Result<String, GitError> {
    let failed = || GitError::doing("cannot list the tags");
    let mut lines = String::new();
    for tag in repo.git2().references_glob("refs/tags/*").map_err(failed())? {
        let tag = tag.map_err(failed())?;
        let (Ok(name), Some(id)) = (tag.name(), tag.target()) else { continue };
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{id} {name}");
        if let Ok(peeled) = tag.peel(git2::ObjectType::Commit).map(|object| object.id())
            && peeled != id
        {
            let _ = writeln!(lines, "^{peeled}");
        }
    }
    if !lines.is_empty() {
        lines.insert_str(0, "# pack-refs with: peeled fully-peeled sorted \n");
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// What somebody does to the tags of a repository.
    type Change = fn(&git2::Repository);

    fn tag(repo: &git2::Repository, name: &str, message: &str) {
        let author = git2::Signature::new("a", "a@b", &git2::Time::new(0, 0)).unwrap();
        let tree = repo.find_tree(repo.treebuilder(None).unwrap().write().unwrap()).unwrap();
        let commit = repo.commit(None, &author, &author, message, &tree, &[]).unwrap();
        let commit = repo.find_object(commit, None).unwrap();
        repo.tag(name, &commit, &author, message, true).unwrap();
    }

    #[test]
    fn tags_are_listed_once_and_again_after_any_change() {
        let changes: [(&str, Change); 5] = [
            ("a new one", |repo| tag(repo, "new", "2")),
            ("a new one in a folder", |repo| tag(repo, "deep/new", "2")),
            ("another commit", |repo| tag(repo, "deep/v1", "2")),
            ("none", |repo| repo.find_reference("refs/tags/v0").unwrap().delete().unwrap()),
            ("a packed one", |repo| {
                let id = repo.refname_to_id("refs/tags/v0").unwrap();
                fs::write(repo.path().join("packed-refs"), format!("{id} refs/tags/packed\n")).unwrap();
            }),
        ];
        for (what, change) in changes {
            let dir = tempfile::tempdir().unwrap();
            let inner = git2::Repository::init_bare(dir.path()).unwrap();
            tag(&inner, "v0", "0");
            tag(&inner, "deep/v1", "1");
            // Late enough for all of it to count as settled.
            let now = Timestamp::MAX;
            let repo = Repo::open(dir.path()).unwrap();
            let tags = KnownTags::default();
            let before = tags.of(&repo, now).unwrap();
            assert_eq!(before.lines().count(), 5, "{before}");
            assert!(Arc::ptr_eq(&before, &tags.of(&repo, now).unwrap()), "before {what}: nothing is listed");
            std::thread::sleep(Duration::from_millis(20));
            change(&inner);
            let after = tags.of(&repo, now).unwrap();
            assert_ne!(before, after, "{what}");
            assert_eq!(*after, *list(&Repo::open(dir.path()).unwrap()).unwrap(), "{what}");
        }
    }

    #[test]
    fn what_changed_a_moment_ago_is_listed_again() {
        let dir = tempfile::tempdir().unwrap();
        let inner = git2::Repository::init_bare(dir.path()).unwrap();
        tag(&inner, "v0", "0");
        let repo = Repo::open(dir.path()).unwrap();
        let tags = KnownTags::default();
        let before = tags.of(&repo, Timestamp::UNIX_EPOCH).unwrap();
        let again = tags.of(&repo, Timestamp::UNIX_EPOCH).unwrap();
        assert!(before == again && !Arc::ptr_eq(&before, &again));
    }
}
