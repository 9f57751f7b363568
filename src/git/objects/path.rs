//! Paths that may be written into a tree or a working tree.

use crate::git::GitError;
use crate::git::error::printable;

/// Checks a path of a file within a tree: relative, plain, nothing that Git or a file system treats as special.
pub(super) fn check(path: &str) -> Result<(), GitError> {
    match problem_with(path) {
        None => Ok(()),
        Some(problem) => Err(GitError::BadPath { path: printable(path.as_bytes()), problem }),
    }
}

fn problem_with(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("is empty");
    }
    // `PATH_MAX` and, below, `NAME_MAX` of Linux: a longer one could be committed, and then not be checked out.
    if path.len() > 4096 {
        return Some("is too long");
    }
    path.split('/').find_map(|name| problem_with_name(name.as_bytes()))
}

/// What is wrong with one name of a tree, if something is.
pub(in crate::git) fn problem_with_name(name: &[u8]) -> Option<&'static str> {
    if name.is_empty() {
        return Some("has an empty part");
    }
    if name.len() > 255 {
        return Some("has a part that is too long");
    }
    if name == b"." || name == b".." {
        return Some("leaves its directory");
    }
    // A backslash is a separator on Windows, where people may check the branch out.
    if name.iter().any(|byte| matches!(byte, b'/' | b'\\' | 0)) {
        return Some("has a separator inside a part");
    }
    if is_dot_git(name) {
        return Some("would reach into a repository's own files");
    }
    None
}

/// `.git` in every form that some file system resolves to it (CVE-2014-9390, CVE-2019-1352): any case, trailing dots and blanks, the short
/// name of Windows, a stream, and characters that HFS+ ignores.
fn is_dot_git(name: &[u8]) -> bool {
    let visible: Vec<char> = String::from_utf8_lossy(name)
        .chars()
        .filter(|c| !matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}'))
        .collect();
    let text: String = visible.into_iter().collect::<String>().to_ascii_lowercase();
    // On NTFS a colon starts the name of a stream, so `.git::$INDEX_ALLOCATION` is the directory `.git`.
    let stem = text.split(':').next().unwrap_or_default();
    matches!(stem.trim_end_matches(['.', ' ']), ".git" | "git~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_paths_are_accepted() {
        for path in
            ["a", "a/b.yaml", "-x/--y", ".github/workflows/ci.yml", ".gitignore", "ä b/c", "...", ".gitx"]
        {
            assert!(check(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn paths_that_leave_the_tree_or_reach_into_a_repository_are_refused() {
        for path in [
            "",
            "/a",
            "a/",
            "a//b",
            "..",
            "a/../b",
            "./a",
            "a\\b",
            "a\0b",
            ".git",
            ".GIT/config",
            "a/.git/hooks/x",
            ".git./x",
            ".git /x",
            "git~1/x",
            ".git::$INDEX_ALLOCATION/x",
            ".g\u{200c}it/x",
        ] {
            assert!(check(path).is_err(), "{path:?}");
        }
    }
}
