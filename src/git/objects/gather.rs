//! Writing objects together: a file for each of the hundreds of objects of a large commit costs more than all the rest of it, and
//! one pack of them costs two files.

use std::collections::HashMap;
use std::io::Write as _;

use super::pack::pack;
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
        let mut objects: Vec<(&ObjectId, &GatheredObject)> = objects.iter().collect();
        // The same objects make the same pack.
        objects.sort_unstable_by_key(|(id, _)| **id);
        let objects: Vec<&GatheredObject> = objects.into_iter().map(|(_, object)| object).collect();
        let odb = self.git2().odb()?;
        let mut writer = odb.packwriter()?;
        writer.write_all(&pack(&objects)).map_err(|error| git2::Error::from_str(&error.to_string()))?;
        writer.commit()?;
        Ok(())
    }
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

    #[test]
    fn git_reads_objects_of_every_length_in_a_pack_of_whole_ones() {
        let (dir, repo) = repo();
        // Where the number of bytes that say a length changes, and on both sides of what is compressed.
        let lengths = [0, 1, 15, 16, 2_047, 2_048, 2_049, 262_143, 262_144];
        let text = "phase: Succeeded\n".repeat(20_000).into_bytes();
        let contents: Vec<&[u8]> =
            lengths.into_iter().chain(400..400 + PACK_FROM).map(|length| &text[..length]).collect();
        let write =
            || contents.iter().map(|content| repo.write_blob(content)).collect::<Result<Vec<_>, GitError>>();
        let ids = repo.gather(write).unwrap();
        let packs = std::fs::read_dir(dir.path().join("objects/pack")).unwrap();
        let packs = packs.map(|file| file.unwrap().path());
        let index = packs.into_iter().find(|path| path.extension().is_some_and(|ext| ext == "idx")).unwrap();
        let git = |words: &[&str]| {
            let output = GitCommand::new(dir.path(), &[]).args(words.iter().copied()).run().unwrap();
            assert!(output.success, "git {words:?}: {}", output.stderr);
            output.stdout
        };
        let shown = String::from_utf8(git(&["verify-pack", "-v", index.to_str().unwrap()])).unwrap();
        let whole = format!("non delta: {} objects", contents.len());
        assert!(shown.contains(&whole) && !shown.contains("chain length"), "{shown}");
        for (id, content) in ids.iter().zip(&contents) {
            assert!(git(&["cat-file", "blob", &id.to_string()]) == *content, "{} bytes", content.len());
        }
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
