//! Writing small objects one by one. A commit of a chain is a dozen of them; with libgit2, each takes a dozen calls of the system,
//! most of them to find out that the object is new, and a compression that saves nothing of the block that its file takes.

use std::fs::Permissions;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::zlib;
use crate::git::gathered::GatheredObject;
use crate::git::{GitError, ObjectId, Repo};

impl Repo {
    /// Writes objects whose ids are known, each as a file of its own.
    ///
    /// # Errors
    /// When the object database cannot be written.
    pub(super) fn write_loose<'o>(
        &self,
        objects: impl Iterator<Item = (&'o ObjectId, &'o GatheredObject)>,
    ) -> Result<(), GitError> {
        let directory = self.common_dir().join("objects");
        let synced = self.syncs_objects();
        for (id, object) in objects {
            // Written again where it is there already, as a new file with a new time: `git gc` spares what is young, and must not take
            // away what a commit is about to name.
            let written = !synced
                && store(&directory, *id, object)
                    .inspect_err(|error| tracing::debug!(%id, %error, "object left to libgit2"))
                    .is_ok();
            // What goes wrong here goes wrong there too, with a message that names the file.
            if !written {
                self.write_object(object.kind, &object.bytes)?;
            }
        }
        Ok(())
    }
}

/// Writes one object under another name first: a reader never sees half of it, and `git gc` removes what a killed process leaves
/// under such a name.
fn store(objects: &Path, id: ObjectId, object: &GatheredObject) -> io::Result<()> {
    let name = id.to_string();
    let (directory, file) = name.split_at_checked(2).ok_or(ErrorKind::InvalidInput)?;
    let directory = objects.join(directory);
    let mut new = tempfile::Builder::new();
    new.prefix("tmp_obj_").permissions(Permissions::from_mode(0o444));
    let make = || new.tempfile_in(&directory);
    let mut made = match make() {
        // `git gc` removes such a folder when it is empty.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            std::fs::create_dir_all(&directory)?;
            make()?
        }
        made => made?,
    };
    made.write_all(&stored(object))?;
    made.persist(directory.join(file))?;
    Ok(())
}

/// The content of the file of an object.
fn stored(object: &GatheredObject) -> Vec<u8> {
    let header = format!("{} {}\0", object.kind, object.bytes.len());
    let mut stream = Vec::with_capacity(header.len() + object.bytes.len() + 16);
    zlib::append(&mut stream, header.as_bytes(), &object.bytes);
    stream
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::command::GitCommand;
    use crate::git::objects::repo;

    fn git(directory: &Path, words: &[&str]) -> String {
        let output = GitCommand::new(directory, &[]).args(words.iter().copied()).run().unwrap();
        assert!(output.success, "git {words:?}: {}", output.stderr);
        String::from_utf8(output.stdout).unwrap()
    }

    fn file_of(directory: &Path, id: ObjectId) -> std::path::PathBuf {
        let id = id.to_string();
        let (folder, file) = id.split_at(2);
        directory.join("objects").join(folder).join(file)
    }

    /// Blobs of these sizes, of which the last ones do not repeat themselves.
    fn write(repo: &Repo, sizes: &[usize]) -> Vec<ObjectId> {
        let text = |size: usize| (0..size).map(|at| (at * at % 251) as u8).collect::<Vec<u8>>();
        repo.gather(|| {
            sizes.iter().map(|size| repo.write_blob(&text(*size))).collect::<Result<_, GitError>>()
        })
        .unwrap()
    }

    #[test]
    fn git_reads_what_is_stored_and_packs_it_compressed() {
        let (dir, repo) = repo();
        let sizes = [0, 1, 400, 2_000, 3_000, 100_000];
        let ids = write(&repo, &sizes);
        // Not only found in the folder but read to the end, with its checksums.
        git(dir.path(), &["fsck", "--strict"]);
        for (id, size) in ids.iter().zip(sizes) {
            assert_eq!(git(dir.path(), &["cat-file", "-s", &id.to_string()]).trim(), size.to_string());
            assert_eq!(Repo::open(dir.path()).unwrap().blob(*id, 200_000).unwrap().len(), size);
            let file = file_of(dir.path(), *id);
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o333, 0, "nobody changes an object");
            let is_stored = std::fs::read(file).unwrap().get(2) == Some(&1);
            assert_eq!(is_stored, size <= 2_000, "{size}");
        }
        let person = crate::git::Signature { name: "Wendy".into(), email: "wendy@example.com".into() };
        let files = ids.iter().map(|id| (format!("f{id}"), Some(*id))).collect();
        let tree = repo.edit_tree(None, &files).unwrap();
        let commit = repo.write_commit(tree, &[], "w", &person, jiff::Timestamp::UNIX_EPOCH).unwrap();
        repo.swap_ref("refs/heads/main", None, Some(commit), "test").unwrap();
        git(dir.path(), &["gc", "--quiet", "--prune=now"]);
        assert!(ids.iter().all(|id| !file_of(dir.path(), *id).exists()));
        let largest =
            git(dir.path(), &["cat-file", "--batch-all-objects", "--batch-check=%(objectsize:disk)"]);
        let largest = largest.lines().map(|line| line.parse::<usize>().unwrap()).max().unwrap();
        assert!(largest < 2_000, "{largest}: what repeats itself is compressed");
    }

    #[test]
    fn an_object_that_is_there_is_young_again_and_leaves_nothing_behind() {
        let (dir, repo) = repo();
        let id = write(&repo, &[7])[0];
        let file = file_of(dir.path(), id);
        let past = std::time::SystemTime::UNIX_EPOCH;
        let times = std::fs::FileTimes::new().set_modified(past);
        std::fs::File::open(&file).unwrap().set_times(times).unwrap();
        assert_eq!(write(&repo, &[7]), [id]);
        assert!(file.metadata().unwrap().modified().unwrap() > past);
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn who_wants_each_object_on_the_disk_gets_that() {
        let (dir, repo) = repo();
        git(dir.path(), &["config", "core.fsyncObjectFiles", "true"]);
        let repo = repo.reopen().unwrap();
        let id = write(&repo, &[400])[0];
        assert_ne!(
            std::fs::read(file_of(dir.path(), id)).unwrap().get(2),
            Some(&1),
            "libgit2 wrote and synced it"
        );
    }

    #[test]
    fn where_no_file_can_be_made_the_error_says_so() {
        let (_other, other) = repo();
        let id = write(&other, &[7])[0];
        let (dir, repo) = repo();
        std::fs::write(file_of(dir.path(), id).parent().unwrap(), "in the way").unwrap();
        let error = repo.gather(|| repo.write_blob(&[0, 1, 4, 9, 16, 25, 36])).unwrap_err();
        assert!(error.to_string().contains("cannot write a blob"), "{error}");
    }
}
