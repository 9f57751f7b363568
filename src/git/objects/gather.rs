//! Writing objects together: a file for each of the hundreds of objects of a large commit costs more than all the rest of it, and
//! one pack of them costs two files.

use std::collections::HashMap;
use std::io::Write as _;

use git2::{Buf, ConfigLevel, Odb, Repository};
use tempfile::NamedTempFile;

use crate::git::gathered::GatheredObject;
use crate::git::{GitError, ObjectId, Repo};

/// From how many objects on they become a pack. Git packs anew when there are 50 packs (`gc.autoPackLimit`), and reading searches
/// them one after the other, so that a commit of a few objects is better off with loose ones.
const PACK_FROM: usize = 64;

impl Repo {
    /// Writes the objects that `write` makes together at its end: many as one pack, few one by one. Within, those of them that
    /// are trees can be read by their ids, and blobs and commits cannot. After an error, nothing of them is written.
    ///
    /// # Errors
    /// That of `write`, or when the object database cannot be written.
    pub fn gather<T, E: From<GitError>>(&self, write: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        if self.gathered().is_on() {
            return write();
        }
        self.gathered().begin();
        let made = write();
        // Also after an error, or the next object would be held back and never written.
        let objects = self.gathered().end();
        let made = made?;
        if objects.len() < PACK_FROM {
            self.write_loose(objects.iter())?;
        } else {
            tracing::debug!(objects = objects.len(), "objects written as one pack");
            self.write_pack(&objects)
                .map_err(GitError::doing("cannot write a pack to the object database"))?;
        }
        self.gathered().remember(&objects);
        Ok(made)
    }

    fn write_pack(&self, objects: &HashMap<ObjectId, GatheredObject>) -> Result<(), git2::Error> {
        // The builder of packs reads from an object database, and this one is nowhere but in memory.
        let memory = Odb::new()?;
        memory.add_new_mempack_backend(1)?;
        let mut ids = Vec::with_capacity(objects.len());
        for object in objects.values() {
            ids.push(memory.write(object.kind, &object.bytes)?);
        }
        let memory = Repository::from_odb(memory)?;
        let settings = without_deltas(&memory)?;
        let mut builder = memory.packbuilder()?;
        drop(settings);
        for id in ids {
            builder.insert_object(id, None)?;
        }
        let mut pack = Buf::new();
        builder.write_buf(&mut pack)?;
        let odb = self.git2().odb()?;
        let mut writer = odb.packwriter()?;
        writer.write_all(&pack).map_err(|error| git2::Error::from_str(&error.to_string()))?;
        writer.commit()?;
        Ok(())
    }
}

/// Has the packs of a repository made without a search for deltas; for as long as the file that is returned exists, which has to
/// outlast the making of the builder.
// The objects of one commit are small records and the folders that hold them, each once. The search took a quarter of the processor
// time of a plan of 10,000 nodes, and `git gc` and each push make it again, among all objects.
fn without_deltas(repo: &Repository) -> Result<NamedTempFile, git2::Error> {
    let io = |error: std::io::Error| git2::Error::from_str(&error.to_string());
    let mut file = NamedTempFile::new().map_err(io)?;
    // libgit2 takes the size above which an object gets no delta from the second of them, and Git from the first.
    file.write_all(b"[core]\nbigFileThreshold = 1\n[pack]\ndeltaCacheSize = 1\n").map_err(io)?;
    repo.config()?.add_file(file.path(), ConfigLevel::App, true)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::command::GitCommand;
    use crate::git::gathered::MOST_BYTES;
    use crate::git::objects::repo;

    fn packs(dir: &tempfile::TempDir) -> usize {
        let files = std::fs::read_dir(dir.path().join("objects/pack")).unwrap();
        files
            .filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|ext| ext == "pack"))
            .count()
    }

    /// So many blobs in a tree, which is read back before anything is written.
    fn write_blobs(repo: &Repo, count: usize) -> Result<Vec<ObjectId>, GitError> {
        let mut ids = Vec::new();
        for number in 0..count {
            ids.push(repo.write_blob(format!("blob {number}").as_bytes())?);
        }
        let files =
            ids.iter().enumerate().map(|(number, id)| (format!("{}/{number}", number % 7), Some(*id)));
        let tree = repo.edit_tree(None, &files.collect())?;
        assert_eq!(repo.entries(tree)?.len(), count.min(7));
        assert!(repo.contains(tree)?);
        // The same again adds nothing.
        assert_eq!(repo.write_blob(b"blob 0")?, ids[0]);
        ids.push(tree);
        Ok(ids)
    }

    #[test]
    fn many_objects_become_one_pack_and_few_stay_loose() {
        for (count, expected) in [(3, 0), (PACK_FROM, 1), (1_000, 1)] {
            let (dir, repo) = repo();
            let ids = repo.gather(|| write_blobs(&repo, count)).unwrap();
            assert_eq!(packs(&dir), expected, "{count}");
            // By another handle, as other processes read it.
            let other = Repo::open(dir.path()).unwrap();
            for id in ids.iter().take(count) {
                assert!(other.blob(*id, 100).unwrap().starts_with(b"blob "));
            }
            assert_eq!(other.compare(None, ids.last().copied()).unwrap().len(), count);
            assert_eq!(repo.blob(ids[0], 100).unwrap(), b"blob 0", "and by the one that wrote it");
        }
    }

    /// A libgit2 that reads its settings otherwise would search for deltas again, and nothing else would show it.
    #[test]
    fn no_object_of_a_pack_is_compared_with_others() {
        let (dir, repo) = repo();
        let alike = |number: usize| format!("{}{number}", "phase: Succeeded\n".repeat(20));
        repo.gather(|| {
            (0..PACK_FROM * 2).try_for_each(|number| repo.write_blob(alike(number).as_bytes()).map(drop))
        })
        .unwrap();
        let packs = std::fs::read_dir(dir.path().join("objects/pack")).unwrap();
        let packs = packs.map(|file| file.unwrap().path());
        let index = packs.into_iter().find(|path| path.extension().is_some_and(|ext| ext == "idx")).unwrap();
        let shown = GitCommand::new(dir.path(), &[])
            .args(["verify-pack".into(), "-v".into(), index.into_os_string()])
            .run()
            .unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        assert!(shown.contains("non delta: 128 objects") && !shown.contains("chain length"), "{shown}");
    }

    #[test]
    fn the_trees_of_the_last_commits_are_known_without_reading_them() {
        // As loose objects, and as a pack.
        for count in [3, PACK_FROM] {
            let (dir, repo) = repo();
            let ids = repo.gather(|| write_blobs(&repo, count)).unwrap();
            let tree = *ids.last().unwrap();
            let gone = dir.path().join("gone");
            std::fs::rename(dir.path().join("objects"), &gone).unwrap();
            std::fs::create_dir_all(dir.path().join("objects/pack")).unwrap();
            assert_eq!(repo.compare(None, Some(tree)).unwrap().len(), count);
            repo.gather(|| repo.write_blob(b"another")).unwrap();
            assert_eq!(repo.compare(None, Some(tree)).unwrap().len(), count, "also after the next ones");
            let reopened = repo.reopen().unwrap();
            assert!(reopened.compare(None, Some(tree)).is_err(), "they are in no file");
        }
    }

    #[test]
    fn after_an_error_nothing_is_written_and_the_next_object_is() {
        let (dir, repo) = repo();
        let failed: Result<(), GitError> = repo.gather(|| {
            write_blobs(&repo, 100)?;
            Err(GitError::NoIdentity)
        });
        assert!(failed.is_err() && packs(&dir) == 0);
        let id = repo.write_blob(b"blob 0").unwrap();
        assert_eq!(Repo::open(dir.path()).unwrap().blob(id, 100).unwrap(), b"blob 0");
    }

    #[test]
    fn what_is_too_much_to_hold_back_is_written_as_it_comes() {
        let (dir, repo) = repo();
        let large = vec![b'x'; MOST_BYTES];
        let ids = repo.gather(|| {
            let first = repo.write_blob(&large)?;
            let second = repo.write_blob(b"over the limit")?;
            assert!(Repo::open(dir.path())?.contains(second)?);
            Ok::<_, GitError>([first, second])
        });
        for id in ids.unwrap() {
            assert!(Repo::open(dir.path()).unwrap().contains(id).unwrap());
        }
    }
}
