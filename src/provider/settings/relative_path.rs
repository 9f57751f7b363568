//! Paths that manifests give: relative, and never outside of where they start from.

use std::io;
use std::path::{Component, Path, PathBuf};

/// Whether a path as written stays below where it starts from.
pub(in crate::provider) fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && !path.contains('\0')
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// What is at `path` below `root`, all links resolved.
///
/// # Errors
/// When there is nothing, and `PermissionDenied` when a link leads out of `root`.
pub(in crate::provider) fn resolve(root: &Path, path: &str) -> io::Result<PathBuf> {
    let outside = || io::Error::new(io::ErrorKind::PermissionDenied, "it leads out of the folder");
    if !is_inside(path) {
        return Err(outside());
    }
    // Both sides are resolved: where the cache folder itself is a link, nothing that is found would begin with the path
    // as written.
    let root = root.canonicalize()?;
    let found = root.join(path).canonicalize()?;
    if found.starts_with(&root) { Ok(found) } else { Err(outside()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_out_are_refused() {
        for good in ["a", "a/b", "./a", "a/./b", "..a/b"] {
            assert!(is_inside(good), "{good}");
        }
        for bad in ["", "/", "/etc/passwd", "..", "a/../..", "a/../b", "a\0b"] {
            assert!(!is_inside(bad), "{bad}");
        }
    }

    #[test]
    fn links_may_lead_about_and_not_out() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("a")).unwrap();
        std::os::unix::fs::symlink("a", root.join("in")).unwrap();
        std::os::unix::fs::symlink("..", root.join("out")).unwrap();
        assert_eq!(resolve(&root, "in").unwrap(), root.canonicalize().unwrap().join("a"));
        assert_eq!(resolve(&root, "out").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(resolve(&root, "missing").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
