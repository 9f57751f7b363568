//! Filling an object cache from a repository: objects are linked where the file system allows it, and copied else. Objects
//! never change once they are written, and Git replaces none in place, so a shared inode is safe from either side.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// How many repositories may borrow from each other in a row; Git itself stops at five.
const BORROWED: usize = 5;

/// Links every object of one object directory, and of those that it borrows from, into another.
///
/// # Errors
/// When something can neither be linked nor copied.
pub(super) fn link_objects(from: &Path, into: &Path) -> io::Result<()> {
    // A `gc` that runs meanwhile moves objects from one file to another; the second turn finds them where they are now.
    if link_directory(from, into, BORROWED)? {
        Ok(())
    } else {
        link_directory(from, into, BORROWED).map(drop)
    }
}

/// Says whether nothing vanished meanwhile.
fn link_directory(from: &Path, into: &Path, borrowed: usize) -> io::Result<bool> {
    let mut complete = link_packs(&from.join("pack"), &into.join("pack"))?;
    for entry in read(from)? {
        let name = entry.file_name();
        let is_fan_out =
            name.len() == 2 && name.to_str().is_some_and(|name| u8::from_str_radix(name, 16).is_ok());
        if !is_fan_out {
            continue;
        }
        let there = into.join(&name);
        fs::create_dir_all(&there)?;
        for object in read(&entry.path())? {
            // Temporary files of a writer have other names.
            if object.file_name().len() == 38 {
                complete &= link(&object.path(), &there.join(object.file_name()))?;
            }
        }
    }
    if borrowed > 0 {
        for other in alternates(from) {
            complete &= link_directory(&other, into, borrowed - 1)?;
        }
    }
    Ok(complete)
}

fn link_packs(from: &Path, into: &Path) -> io::Result<bool> {
    fs::create_dir_all(into)?;
    let mut files: Vec<PathBuf> = read(from)?.into_iter().map(|entry| entry.path()).collect();
    let is = |path: &Path, extension: &str| path.extension().is_some_and(|found| found == extension);
    files.retain(|path| ["pack", "rev", "promisor", "idx"].iter().any(|wanted| is(path, wanted)));
    // Whoever finds an index expects its pack to be there.
    files.sort_by_key(|path| is(path, "idx"));
    let mut complete = true;
    for file in files {
        let Some(name) = file.file_name() else { continue };
        complete &= link(&file, &into.join(name))?;
    }
    Ok(complete)
}

fn read(directory: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The object directories that this one borrows from.
fn alternates(objects: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(objects.join("info/alternates")).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| objects.join(line)).collect()
}

/// Says whether the file was still there.
fn link(from: &Path, into: &Path) -> io::Result<bool> {
    if into.exists() {
        return Ok(true);
    }
    match fs::hard_link(from, into) {
        Ok(()) => return Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound && !from.exists() => return Ok(false),
        // Another file system, or somebody else's file: a copy does as well.
        Err(_) => {}
    }
    let folder = into.parent().unwrap_or(into);
    let mut copy = tempfile::Builder::new().prefix("tmp_obj_").tempfile_in(folder)?;
    io::copy(&mut fs::File::open(from)?, &mut copy)?;
    copy.persist(into).map_err(|error| error.error)?;
    Ok(true)
}
