//! Files below a folder that a task could write: opened step by step, so that no link in the path is followed.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write};
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags, openat};
use sha2::{Digest as _, Sha256};

use crate::model::Digest;

/// Whether a relative path, which may come from a record that anybody wrote, stays below the folder that it is joined to.
pub(crate) fn is_plain(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    !path.is_empty() && !path.contains('\0') && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// The ordinary file at a path below `root`; nothing where there is none.
pub(super) fn open(root: &Path, path: &str) -> io::Result<Option<File>> {
    if !is_plain(path) {
        return Ok(None);
    }
    match open_step_by_step(root, path) {
        Ok(file) => Ok(file.metadata()?.is_file().then_some(file)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        // What a left process put in the place of a folder or a file is none of the artifacts.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => Ok(None),
        Err(error) => Err(error),
    }
}

fn open_step_by_step(root: &Path, path: &str) -> io::Result<File> {
    let folder = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // The folder itself may be reached by links: it is the runner's own.
    let mut at = openat(CWD, root, folder, Mode::empty())?;
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    for part in above.split('/').filter(|part| !part.is_empty()) {
        at = openat(&at, part, folder | OFlags::NOFOLLOW, Mode::empty())?;
    }
    // Opening a named pipe would wait for its writer; with NONBLOCK it does not.
    let file = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(File::from(openat(&at, name, file, Mode::empty())?))
}

/// Copies a file. Its digest, or nothing when it was told to stop on the way.
pub(super) fn copy(
    from: &mut File,
    into: &mut dyn Write,
    goes_on: &dyn Fn() -> bool,
) -> io::Result<Option<Digest>> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        if !goes_on() {
            return Ok(None);
        }
        match from.read(&mut buffer) {
            Ok(0) => return Ok(Some(Digest::finish(hasher))),
            Ok(read) => {
                let piece = buffer.get(..read).unwrap_or_default();
                hasher.update(piece);
                into.write_all(piece)?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_link_is_followed_and_nothing_outside_is_reached() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "x").unwrap();
        std::fs::create_dir(root.path().join("folder")).unwrap();
        std::fs::write(root.path().join("folder/file"), "content").unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("link")).unwrap();
        std::os::unix::fs::symlink("folder/file", root.path().join("file-link")).unwrap();
        let found = |path: &str| open(root.path(), path).unwrap().is_some();
        assert!(found("folder/file"));
        for path in
            ["link/secret", "file-link", "folder", "../x", "/etc/passwd", "", "folder/none", "folder/file/x"]
        {
            assert!(!found(path), "{path}");
        }
    }
}
