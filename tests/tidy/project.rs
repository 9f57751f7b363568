//! The project as the rules see it: tracked files as text, and every file of `src` as a syntax tree without tests.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use syn::spanned::Spanned as _;

/// A place that breaks a rule.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Finding {
    pub(crate) path: String,
    /// From 1; 0 means the file as a whole.
    pub(crate) line: usize,
    pub(crate) message: String,
}

impl Finding {
    pub(crate) fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Finding { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(out, "{}: {}", self.path, self.message),
            line => write!(out, "{}:{line}: {}", self.path, self.message),
        }
    }
}

/// One file of `src`.
pub(crate) struct Source {
    /// Relative to the repository, with forward slashes.
    pub(crate) path: String,
    /// Where the file stands in the crate: `["git", "remote", "push"]`; empty for `lib.rs` and `main.rs`.
    pub(crate) module: Vec<String>,
    /// The lines before the file's own tests.
    pub(crate) lines: usize,
    /// Without anything that is compiled only for tests.
    pub(crate) syntax: syn::File,
}

/// Everything that rules look at.
pub(crate) struct Project {
    /// The production files of `src`, by path.
    pub(crate) sources: Vec<Source>,
    /// All text files that are tracked, by path.
    pub(crate) texts: BTreeMap<String, String>,
}

impl Project {
    /// The repository that this test belongs to: what is tracked, and what would be after `git add`.
    pub(crate) fn read() -> Project {
        let root = root();
        let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let listed = Command::new("git").args(arguments).current_dir(&root).output().unwrap();
        assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
        let names = listed.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        let files = names.filter_map(|name| {
            let name = String::from_utf8(name.to_vec()).ok()?;
            // A file that is deleted and not yet staged, or that is no text, is nothing that a rule can look at.
            let text = std::fs::read_to_string(root.join(&name)).ok()?;
            Some((name, text))
        });
        Project::of(files)
    }

    /// A project of the given files, for the tests of the rules themselves.
    pub(crate) fn of(files: impl IntoIterator<Item = (String, String)>) -> Project {
        let texts: BTreeMap<String, String> = files.into_iter().collect();
        let rust = texts.iter().filter(|(path, _)| path.starts_with("src/") && path.ends_with(".rs"));
        let mut parsed: Vec<(String, Vec<String>, syn::File)> = rust
            .map(|(path, text)| {
                let syntax = syn::parse_file(text).unwrap_or_else(|why| panic!("{path}: {why}"));
                (path.clone(), module_of(path), syntax)
            })
            .collect();
        let tests: Vec<Vec<String>> =
            parsed.iter().flat_map(|(_, module, file)| test_modules(module, file)).collect();
        parsed.retain(|(_, module, _)| !tests.iter().any(|test| module.starts_with(test)));
        let sources = parsed.into_iter().map(|(path, module, mut syntax)| {
            let all = texts[&path].lines().count();
            let first_test = syntax.items.iter().filter(|item| is_test_only(item)).map(line_of).min();
            syntax.items.retain(|item| !is_test_only(item));
            Source { lines: first_test.map_or(all, |line| line - 1), path, module, syntax }
        });
        Project { sources: sources.collect(), texts }
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// `src/git/remote/mod.rs` is `["git", "remote"]`.
fn module_of(path: &str) -> Vec<String> {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let mut parts: Vec<String> = inner.split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        parts.pop();
    }
    parts
}

/// The modules that a file declares for tests only.
fn test_modules(module: &[String], file: &syn::File) -> Vec<Vec<String>> {
    let declared = file.items.iter().filter_map(|item| match item {
        syn::Item::Mod(inner) if inner.content.is_none() && is_test_only(item) => {
            Some(inner.ident.to_string())
        }
        _ => None,
    });
    declared.map(|name| module.iter().cloned().chain([name]).collect()).collect()
}

/// The line where an item begins, its attributes included.
fn line_of(item: &syn::Item) -> usize {
    item.span().start().line
}

/// Whether the item stands below `#[cfg(test)]`.
fn is_test_only(item: &syn::Item) -> bool {
    let attributes = match item {
        syn::Item::Mod(inner) => &inner.attrs,
        syn::Item::Use(inner) => &inner.attrs,
        syn::Item::Fn(inner) => &inner.attrs,
        syn::Item::Impl(inner) => &inner.attrs,
        syn::Item::Const(inner) => &inner.attrs,
        syn::Item::Struct(inner) => &inner.attrs,
        _ => return false,
    };
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}
