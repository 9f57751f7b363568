//! Files that the user names with `-f`, and the files of a working tree: reading, with limits, without
//! following links below the places that were named.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashSet};
use std::fs::Metadata;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rayon::prelude::*;

use crate::cli::desired::bindings::check_bindings;
use crate::cli::desired::code_owners::any_asks;
use crate::cli::desired::nested_plans::any_nested;
use crate::cli::desired::{self, Desired, DesiredFacts, FileFacts, outline};
use crate::cli::error::CliError;
use crate::cli::repo_context::RepoContext;
use crate::config::{Config, Limits};
use crate::git::Repo;
use crate::index::{ManifestFilter, ValidatedContent, ValidationCache};
use crate::manifest::{self, Facts, Parsed, is_candidate};
use crate::model::SourceLocation;
use crate::provider::Registry;
use crate::stamp::FileStamp;

/// The name of standard input.
pub(crate) const STDIN: &str = "-";

/// A file that was read.
pub(crate) struct InputFile {
    /// The path as people see it; `-` for standard input.
    pub(crate) path: String,
    /// Where it is; absent for standard input.
    pub(crate) place: Option<PathBuf>,
    /// The content; empty when it is not read.
    pub(crate) bytes: Vec<u8>,
    /// Whether somebody named it, rather than a directory that it is in.
    named: bool,
    unread: Option<Unread>,
}

/// Why the content of a file is not read.
enum Unread {
    /// It has so many bytes.
    TooLarge(u64),
    SymbolicLink,
}

impl InputFile {
    /// Reads the manifests in it.
    pub(crate) fn parse(&self, limits: &Limits) -> Parsed {
        match self.unread {
            Some(Unread::TooLarge(size)) => manifest::refuse_large(&self.path, size),
            Some(Unread::SymbolicLink) => manifest::refuse_entry(&self.path, "a symbolic link"),
            None if self.named => manifest::parse_named(&self.path, &self.bytes, limits),
            None => manifest::parse(&self.path, &self.bytes, limits),
        }
    }
}

/// Reads what `-f` names: files, `-`, and the manifests in directories (with `recursive`, also below them).
pub(crate) fn read_named(
    names: &[String],
    recursive: bool,
    here: &Path,
    limits: &Limits,
) -> Result<Vec<InputFile>, CliError> {
    let mut places: Vec<(String, PathBuf, bool)> = Vec::new();
    let mut files: Vec<InputFile> = Vec::new();
    for name in names {
        let place = here.join(name);
        if name == STDIN {
            files.push(read_stdin(limits)?);
        } else if place.is_dir() {
            let mut found = Vec::new();
            walk(&place, name.trim_end_matches('/'), recursive, &mut |_, _| true, &mut found)?;
            // Somebody named this directory, and checking nothing would pass for a success.
            if found.is_empty() {
                let error = CliError::no(format!("no manifests found in {name}"));
                return Err(if recursive { error } else { error.hint("`-R` reads subdirectories too") });
            }
            places.extend(found.into_iter().map(|(path, place)| (path, place, false)));
        } else {
            places.push((name.clone(), place, true));
        }
    }
    let mut seen = BTreeSet::new();
    // A file that is named twice would be a duplicate of each of its own resources.
    places.retain(|(_, place, _)| seen.insert(place.clone()));
    let read: Result<Vec<InputFile>, CliError> =
        places.into_par_iter().map(|(path, place, named)| read_file(path, place, named, limits)).collect();
    files.extend(read?);
    Ok(files)
}

/// The manifests of the working tree that the configuration lets through and Git does not ignore: the paths
/// within the working tree, and where they are.
pub(crate) fn list_work_tree(
    repo: &Repo,
    root: &Path,
    config: &Config,
) -> Result<Vec<(String, PathBuf)>, CliError> {
    let filter = ManifestFilter::new(config).map_err(|error| CliError::no(error.to_string()))?;
    // As in Git, a rule does not ignore a file that is tracked.
    let tracked = repo.tracked()?;
    let mut places = Vec::new();
    let ignored = |path: &str| repo.is_ignored(Path::new(path)).unwrap_or(false);
    // Worked out for the first folder that is ignored: most repositories have tracked files in none of them.
    let folders = OnceCell::new();
    let holds_tracked = |path: &str| folders.get_or_init(|| folders_of(&tracked)).contains(path.as_bytes());
    let mut wanted = |path: &str, directory: bool| match directory {
        true => !ignored(path) || holds_tracked(path),
        false => filter.accepts(path) && (tracked.contains(path.as_bytes()) || !ignored(path)),
    };
    walk(root, "", true, &mut wanted, &mut places)?;
    Ok(places)
}

/// The folders that hold tracked files which may be manifests, at any depth.
fn folders_of(tracked: &HashSet<Vec<u8>>) -> HashSet<&[u8]> {
    let candidates = tracked.iter().filter(|path| std::str::from_utf8(path).is_ok_and(is_candidate));
    let above = |path: &'_ Vec<u8>| {
        let ends: Vec<usize> =
            path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end).collect();
        ends
    };
    candidates.flat_map(|path| above(path).into_iter().filter_map(|end| path.get(..end))).collect()
}

/// Reads the manifests of the working tree.
pub(crate) fn read_work_tree(repo: &Repo, root: &Path, config: &Config) -> Result<Vec<InputFile>, CliError> {
    let places = list_work_tree(repo, root, config)?;
    places.into_par_iter().map(|(path, place)| read_file(path, place, false, &config.limits)).collect()
}

/// Looks through the manifests of the working tree; those that did not change since nothing was wrong with them are not
/// read again. `None` when that holds for all of them together.
pub(crate) fn survey_work_tree(
    workspace: &RepoContext,
    root: &Path,
    config: &Config,
    registry: &Registry,
    now: Timestamp,
) -> Result<(Option<DesiredFacts>, usize), CliError> {
    let known = ValidationCache::open(&workspace.repo.cache_dir(), config);
    let places = list_work_tree(&workspace.repo, root, config)?;
    let file = |place: &Path| std::fs::symlink_metadata(place).ok().filter(Metadata::is_file);
    let stamp = |place: &Path| file(place).as_ref().map(FileStamp::of);
    let stamps: Vec<Option<FileStamp>> = places.par_iter().map(|(_, place)| stamp(place)).collect();
    let paths = places.iter().map(|(path, _)| path.as_str());
    if let Some(resources) = known.all_sound(paths.clone().zip(stamps.iter().copied())) {
        return Ok((None, resources));
    }
    let outlines: Vec<(FileFacts, bool)> = places
        .par_iter()
        .zip(&stamps)
        .map(|((path, place), stamp)| match stamp.and_then(|stamp| known.content(path, stamp)) {
            Some(content) => Ok(((with_source(path, content), Vec::new()), true)),
            None => read_file(path.clone(), place.clone(), false, &config.limits)
                .map(|file| (judged(&file, config, registry), false)),
        })
        .collect::<Result<_, CliError>>()?;
    let mut survey = DesiredFacts::default();
    let mut counts = Vec::with_capacity(outlines.len());
    let mut unchanged = true;
    for (outline, cached) in outlines {
        unchanged &= cached;
        counts.push((outline.0.len(), outline.1.is_empty()));
        survey.take(outline);
    }
    let read = |path: &str| read_text(root, path, &config.limits);
    // Over the cached facts too: a file that did not change may refer to one that did.
    let found = desired::check_facts(survey.facts.iter(), &config.limits, read);
    survey.diagnostics.extend(found);
    let resources = survey.facts.len();
    if unchanged && !survey.diagnostics.is_empty() {
        return Ok((Some(survey), resources));
    }
    // A file counts as known only if it was left alone for a while before it was read, and while it was.
    let settled = |place: &Path, old: Option<FileStamp>| {
        old.filter(|old| old.is_settled(now) && stamp(place).as_ref() == Some(old))
    };
    let now_stamps: Vec<Option<FileStamp>> =
        places.par_iter().zip(&stamps).map(|((_, place), old)| settled(place, *old)).collect();
    // Plans that run each other are found in the whole of every resource, which nobody would read where all counts as sound.
    // Whether a gate has owners to ask is up to another file, which may change while the manifests stay.
    let facts = || survey.facts.iter().map(|(facts, _)| facts);
    let elsewhere = any_nested(facts()) || any_asks(facts());
    let all = !elsewhere && survey.diagnostics.is_empty() && now_stamps.iter().all(Option::is_some);
    let mut facts = survey.facts.as_slice();
    let files = paths.zip(now_stamps).zip(counts).filter_map(|((path, stamp), (count, sound))| {
        let (own, rest) = facts.split_at_checked(count)?;
        facts = rest;
        Some((path, stamp.filter(|_| sound)?, own))
    });
    known.keep(files, all.then_some(resources));
    Ok((Some(survey), resources))
}

/// What is in a file, and everything that is wrong with it by itself.
fn judged(file: &InputFile, config: &Config, registry: &Registry) -> FileFacts {
    let mut parsed = file.parse(&config.limits);
    let read = |_: &str| Some(file.bytes.clone());
    parsed.diagnostics.extend(check_bindings(&parsed.resources, registry, &config.limits, read));
    outline(parsed)
}

/// The content of a file of the working tree, as far as the limit goes.
pub(crate) fn read_text(root: &Path, path: &str, limits: &Limits) -> Option<Vec<u8>> {
    read_file(path.to_owned(), root.join(path), false, limits).ok().map(|file| file.bytes)
}

fn with_source(path: &str, content: ValidatedContent) -> Vec<(Facts, SourceLocation)> {
    let source = |document| SourceLocation { path: path.to_owned(), document };
    content.into_iter().map(|(document, facts)| (facts, source(document))).collect()
}

/// Parses files, in parallel.
pub(crate) fn parse_all(files: &[InputFile], limits: &Limits) -> Desired {
    let parsed: Vec<Parsed> = files.par_iter().map(|file| file.parse(limits)).collect();
    let mut desired = Desired::default();
    for parsed in parsed {
        desired.take(parsed);
    }
    desired
}

fn walk(
    directory: &Path,
    shown: &str,
    recursive: bool,
    wanted: &mut dyn FnMut(&str, bool) -> bool,
    found: &mut Vec<(String, PathBuf)>,
) -> Result<(), CliError> {
    let failed =
        |error: std::io::Error| CliError::caused(&format!("cannot read {}", directory.display()), &error);
    let mut entries: Vec<std::fs::DirEntry> =
        std::fs::read_dir(directory).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    // Of two declarations the first by path counts, and no file system promises an order.
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        // What is not UTF-8 cannot be named in a message or in a tree path of planspec.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if shown.is_empty() { name.clone() } else { format!("{shown}/{name}") };
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            let inner = entry.path();
            // A submodule or a repository within this one is no part of its tree.
            if recursive && name != ".git" && !inner.join(".git").exists() && wanted(&path, true) {
                walk(&inner, &path, true, wanted, found)?;
            }
        } else if (kind.is_file() || kind.is_symlink()) && is_candidate(&name) && wanted(&path, false) {
            found.push((path, entry.path()));
        }
    }
    Ok(())
}

/// Links are followed only where somebody names them.
fn read_file(path: String, place: PathBuf, named: bool, limits: &Limits) -> Result<InputFile, CliError> {
    let failed = |error: std::io::Error| CliError::caused(&format!("cannot read {path}"), &error);
    if !named && std::fs::symlink_metadata(&place).map_err(failed)?.is_symlink() {
        let unread = Some(Unread::SymbolicLink);
        return Ok(InputFile { path, place: Some(place), bytes: Vec::new(), named, unread });
    }
    let file = std::fs::File::open(&place).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    let (bytes, unread) = read_limited(file, size, limits).map_err(failed)?;
    Ok(InputFile { path, place: Some(place), bytes, named, unread })
}

fn read_stdin(limits: &Limits) -> Result<InputFile, CliError> {
    let failed = |error: std::io::Error| CliError::caused("cannot read standard input", &error);
    let (bytes, unread) = read_limited(std::io::stdin().lock(), 0, limits).map_err(failed)?;
    Ok(InputFile { path: STDIN.to_owned(), place: None, bytes, named: true, unread })
}

/// Reads at most the limit; over it, nothing is kept.
fn read_limited(
    from: impl std::io::Read,
    size: u64,
    limits: &Limits,
) -> Result<(Vec<u8>, Option<Unread>), std::io::Error> {
    let limit = manifest::most_bytes(limits);
    if size > limit {
        return Ok((Vec::new(), Some(Unread::TooLarge(size))));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0).saturating_add(1));
    // The size is what the file system said before; a pipe has none, and a file may grow.
    from.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    let read = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if read > limit { Ok((Vec::new(), Some(Unread::TooLarge(read)))) } else { Ok((bytes, None)) }
}

/// The path of a file within the working tree, with `/`; `None` when it is outside.
pub(crate) fn path_in_work_tree(workspace: &RepoContext, place: &Path) -> Option<String> {
    let root = std::fs::canonicalize(workspace.repo.work_tree()?).ok()?;
    // The file itself is not resolved, so that a link in the working tree counts at its own path.
    let directory = std::fs::canonicalize(place.parent()?).ok()?;
    let inside = directory.join(place.file_name()?).strip_prefix(&root).ok()?.to_str()?.to_owned();
    (!inside.starts_with(".git/")).then_some(inside)
}
