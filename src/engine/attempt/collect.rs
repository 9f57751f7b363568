//! Taking in what a task changed: counted, refused, or committed on top of its base.

use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use jiff::Timestamp;

use crate::config::ResultLimits;
use crate::git::{
    ChangedPaths, EntryMode, FileChange, GitError, HandedOverFile, NewCommit, ObjectCache, ObjectId,
    Quarantine, Repo, Signature, WorkingCopy, holds_marker,
};
use crate::manifest::{is_candidate, may_declare};
use crate::model::{DiscardedChanges, NodeResult};
use crate::plan::{ChangedFile, PathRules, protected, refusals};
use crate::provider::{ChangePolicy, ChangeRules, CollectError, CollectedChanges, WorkspaceFault};
use crate::run::RunnerFault;

/// How a file begins that stands for one in Git LFS.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";

/// How many files are named in a message.
const NAMED: usize = 10;

/// What the configuration says about results.
#[derive(Debug, Clone, Default)]
pub(crate) struct ResultTerms {
    /// How large a result may be.
    pub(crate) limits: ResultLimits,
    /// Whether merges into branches of people are signed with the key of this process.
    pub(crate) sign_merges: bool,
}

/// What a workspace is made for.
#[derive(Debug, Clone)]
pub(crate) struct WorkOrder {
    /// The commit whose files it holds.
    pub(crate) base: ObjectId,
    /// The reference that keeps it, if it is a result.
    pub(crate) reference: String,
    /// Who does the work.
    pub(crate) author: Signature,
    /// The message of the commit that the work becomes.
    pub(crate) message: String,
    /// Whose ignored files it may hold: a name for the node of the plan.
    pub(crate) whose: String,
    /// Whether the base holds what an earlier attempt at the node made, which stays its result where nothing is added.
    pub(crate) is_rework: bool,
    /// What an earlier attempt had changed of these files and did not finish.
    pub(crate) unfinished: Option<ObjectId>,
}

/// The user's repository, the cache that objects are borrowed from, and the workspace.
type Places<'p> = (&'p Repo, &'p ObjectCache, &'p WorkingCopy);

/// Takes in what changed in a workspace.
pub(super) fn collect(
    places: Places<'_>,
    terms: &ResultTerms,
    order: &WorkOrder,
    rules: &ChangeRules,
    at: Timestamp,
) -> Result<CollectedChanges, CollectError> {
    let (_, cache, copy) = places;
    let changed = copy.changed(order.base)?;
    let files = changed.count();
    match rules.policy {
        ChangePolicy::Commit if files == 0 => unchanged(cache, order, rules),
        _ if files == 0 => Ok(CollectedChanges::None),
        ChangePolicy::Discard => {
            let paths = changed.paths.iter().chain(&changed.in_submodules);
            let paths: Vec<String> = paths.map(|path| shown(path)).collect();
            match protected(paths.iter().map(String::as_str), &rules.forbid) {
                Some(message) => Err(CollectError::Refused(message)),
                None => Ok(CollectedChanges::Discarded(DiscardedChanges { files })),
            }
        }
        ChangePolicy::Forbid => {
            let paths = changed.paths.iter().chain(&changed.repositories).chain(&changed.in_submodules);
            Err(forbidden(paths.map(|path| shown(path)), changed.count()))
        }
        ChangePolicy::Commit => {
            check_size(&terms.limits, copy, &changed)?;
            commit(places, order, rules, &changed, at)
        }
    }
}

/// Refuses what is too large before any of it is read.
fn check_size(limits: &ResultLimits, copy: &WorkingCopy, changed: &ChangedPaths) -> Result<(), CollectError> {
    if !changed.repositories.is_empty() {
        let list = named(changed.repositories.iter().map(|path| shown(path)), changed.count());
        return Err(CollectError::Refused(format!("made Git repositories inside of the workspace: {list}")));
    }
    if !changed.in_submodules.is_empty() {
        let list = named(changed.in_submodules.iter().map(|path| shown(path)), changed.count());
        return Err(CollectError::Refused(format!(
            "changed files of submodules, which belong to other repositories: {list}"
        )));
    }
    check_count(limits, changed.count(), changed.is_cut)?;
    let tree = copy.tree();
    let size = |path: &Vec<u8>| {
        let path = tree.join(Path::new(std::ffi::OsStr::from_bytes(path)));
        path.symlink_metadata().map(|found| found.len()).unwrap_or_default()
    };
    check_bytes(limits, changed.paths.iter().map(|path| (path.as_slice(), size(path))))
}

/// Why changes are refused of which there must be none.
fn forbidden(paths: impl Iterator<Item = String>, count: u64) -> CollectError {
    CollectError::Refused(format!("changed files, and `config.changes` is `forbid`: {}", named(paths, count)))
}

/// Refuses so many files; `cut` says that there are more.
fn check_count(limits: &ResultLimits, files: u64, cut: bool) -> Result<(), CollectError> {
    if cut || files > limits.files {
        return Err(CollectError::Refused(format!(
            "changed {files} files; `limits.results.files` of .planspec.yaml allows {}",
            limits.files
        )));
    }
    Ok(())
}

/// Refuses files that are too large, alone or together.
fn check_bytes<'f>(
    limits: &ResultLimits,
    files: impl Iterator<Item = (&'f [u8], u64)> + Clone,
) -> Result<(), CollectError> {
    if let Some((path, bytes)) = files.clone().find(|(_, bytes)| *bytes > limits.file_bytes) {
        return Err(CollectError::Refused(too_large(&shown(path), bytes, limits)));
    }
    let bytes: u64 = files.map(|(_, bytes)| bytes).sum();
    if bytes > limits.bytes {
        return Err(CollectError::Refused(format!(
            "changed files of {bytes} bytes in all; `limits.results.bytes` of .planspec.yaml allows {}",
            limits.bytes
        )));
    }
    Ok(())
}

/// Why a file is refused that the host would refuse with the whole push.
pub(crate) fn too_large(path: &str, bytes: u64, limits: &ResultLimits) -> String {
    format!(
        "`{path}` has {bytes} bytes, and `limits.results.fileBytes` of .planspec.yaml allows {}, because hosts refuse larger files; \
         leave it in `$PLANSPEC_ARTIFACTS`, or let Git ignore it",
        limits.file_bytes
    )
}

fn commit(
    (repo, cache, copy): Places<'_>,
    order: &WorkOrder,
    rules: &ChangeRules,
    changed: &ChangedPaths,
    at: Timestamp,
) -> Result<CollectedChanges, CollectError> {
    let quarantine = Quarantine::take_in(copy, cache, order.base, changed).map_err(unreadable)?;
    judge((repo, cache), quarantine, order, rules, at)
}

/// Takes in what another machine says of the files that changed there. Nothing but the files is believed: what differs from the base
/// is found here, and is judged by the rules for what changes here.
pub(super) fn take_in(
    (repo, cache): (&Repo, &ObjectCache),
    terms: &ResultTerms,
    order: &WorkOrder,
    rules: &ChangeRules,
    (files, at): (&[HandedOverFile], Timestamp),
) -> Result<CollectedChanges, CollectError> {
    match rules.policy {
        ChangePolicy::Commit if files.is_empty() => return unchanged(cache, order, rules),
        ChangePolicy::Commit => {}
        ChangePolicy::Forbid if !files.is_empty() => {
            let paths = files.iter().map(|file| shown(file.path.as_bytes()));
            return Err(forbidden(paths, u64::try_from(files.len()).unwrap_or(u64::MAX)));
        }
        // Dropped there already.
        ChangePolicy::Forbid | ChangePolicy::Discard => return Ok(CollectedChanges::None),
    }
    check_count(&terms.limits, u64::try_from(files.len()).unwrap_or(u64::MAX), false)?;
    let size = |file: &HandedOverFile| {
        let found = file.content.as_ref().and_then(|(_, content)| content.metadata().ok());
        found.map(|found| found.len()).unwrap_or_default()
    };
    check_bytes(&terms.limits, files.iter().map(|file| (file.path.as_bytes(), size(file))))?;
    let quarantine = Quarantine::of_files(cache, order.base, files).map_err(|error| match error {
        GitError::BadPath { path, .. } => {
            CollectError::Refused(format!("`{path}` cannot be the name of a file"))
        }
        error => error.into(),
    })?;
    judge((repo, cache), quarantine, order, rules, at)
}

/// Commits what was taken in, if it may be.
fn judge(
    (repo, cache): (&Repo, &ObjectCache),
    quarantine: Quarantine<'_>,
    order: &WorkOrder,
    rules: &ChangeRules,
    at: Timestamp,
) -> Result<CollectedChanges, CollectError> {
    if quarantine.changes.is_empty() {
        // Touched, or written as it was.
        return unchanged(cache, order, rules);
    }
    if order.is_rework && !rules.is_unfinished {
        refuse_markers(&still_marked(cache, order.base, &quarantine)?)?;
    }
    let blob = |id| quarantine.blob(id);
    let facts = quarantine.changes.iter().map(|change| changed_file(change, &blob, rules.is_secret.as_ref()));
    let mut facts: Vec<ChangedFile> = facts.collect::<Result<_, _>>()?;
    let paths: Vec<String> = quarantine.paths()?.iter().map(|path| shown(path)).collect();
    // Asked only where there are attributes at all: another run of Git for each result.
    if paths.iter().any(|path| path.rsplit('/').next() == Some(".gitattributes")) {
        note_filters(&quarantine, &mut facts)?;
    }
    // On the objects, not on the files: a process that was left behind may still write to those.
    let globs = PathRules { allow: &rules.allow, deny: &rules.deny, forbid: &rules.forbid };
    if let Some(message) = refusals(&facts, &paths, &globs) {
        return Err(CollectError::Refused(message));
    }
    let count = quarantine.changes.len();
    let files = u64::try_from(count).unwrap_or(u64::MAX);
    let insertions = quarantine.insertions;
    let deletions = quarantine.deletions;
    let author = order.author.clone();
    let committer = repo.runner_identity();
    let unfinished = if rules.is_unfinished { "Unfinished: " } else { "" };
    let message = format!("{unfinished}{}", order.message);
    let commit = quarantine.commit(&NewCommit { author, committer, at, message }, repo)?.to_string();
    let base = order.base.to_string();
    Ok(CollectedChanges::Result(NodeResult { commit, base, files, insertions, deletions }))
}

/// Notes which files were taken in as they are, although whoever checks them out expects them in the form of a filter.
fn note_filters(quarantine: &Quarantine<'_>, facts: &mut [ChangedFile]) -> Result<(), GitError> {
    let filters = quarantine.filters()?;
    for (fact, change) in facts.iter_mut().zip(&quarantine.changes) {
        let Some(filter) = filters.get(&change.path) else { continue };
        let Some((_, id)) = change.after.filter(|(mode, _)| mode.is_file()) else { continue };
        // Of any other filter, such as one that sorts lines, Git as well takes a file as it is where nobody has set it up.
        let matters = match filter.as_str() {
            "lfs" => !quarantine.blob(id)?.starts_with(LFS_POINTER),
            other => other.contains("crypt"),
        };
        fact.unfiltered = matters.then(|| shown(filter.as_bytes()));
    }
    Ok(())
}

/// What becomes of a task that changed nothing. One that runs again on top of its own work still has that.
fn unchanged(
    cache: &ObjectCache,
    order: &WorkOrder,
    rules: &ChangeRules,
) -> Result<CollectedChanges, CollectError> {
    if !order.is_rework || rules.is_unfinished {
        return Ok(CollectedChanges::None);
    }
    refuse_markers(&cache.marked_files(order.base)?)?;
    let base = order.base.to_string();
    let commit = base.clone();
    Ok(CollectedChanges::Result(NodeResult { commit, base, files: 0, insertions: 0, deletions: 0 }))
}

/// The files of a base in which conflicts are marked, and that still hold a marker.
fn still_marked(
    cache: &ObjectCache,
    base: ObjectId,
    quarantine: &Quarantine<'_>,
) -> Result<Vec<Vec<u8>>, GitError> {
    let mut left = Vec::new();
    for path in cache.marked_files(base)? {
        let change = quarantine.changes.iter().find(|change| change.path == path);
        let resolved = match change.map(|change| change.after) {
            None => false,
            Some(None) => true,
            Some(Some((_, id))) => !holds_marker(&quarantine.blob(id)?),
        };
        if !resolved {
            left.push(path);
        }
    }
    Ok(left)
}

/// Conflict markers that stay would be delivered: to the host, the two sides are merged.
fn refuse_markers(paths: &[Vec<u8>]) -> Result<(), CollectError> {
    if paths.is_empty() {
        return Ok(());
    }
    let count = u64::try_from(paths.len()).unwrap_or(u64::MAX);
    let list = named(paths.iter().map(|path| shown(path)), count);
    Err(CollectError::Refused(format!("left conflict markers in {list}")))
}

/// What matters of a changed file; `blob` reads an object, and `is_secret` says what must not be in it.
pub(crate) fn changed_file(
    change: &FileChange,
    blob: &dyn Fn(ObjectId) -> Result<Vec<u8>, GitError>,
    is_secret: &dyn Fn(&[u8]) -> bool,
) -> Result<ChangedFile, GitError> {
    let mut fact = ChangedFile { path: shown(&change.path), ..ChangedFile::default() };
    let is = |side: Option<(EntryMode, ObjectId)>, mode| side.is_some_and(|(found, _)| found == mode);
    fact.is_submodule = is(change.before, EntryMode::Submodule) || is(change.after, EntryMode::Submodule);
    let before = match change.before.filter(|(mode, _)| mode.is_file()) {
        Some((_, id)) => Some(blob(id)?),
        None => None,
    };
    let after = match change.after.filter(|(mode, _)| *mode != EntryMode::Submodule) {
        Some((_, id)) => Some(blob(id)?),
        None => None,
    };
    if is(change.after, EntryMode::Symlink) {
        fact.link = after.as_deref().map(|target| String::from_utf8_lossy(target).into_owned());
    }
    // As the reader of manifests asks: what it would read is one, however its name or its text is written.
    let declares = |content: &Vec<u8>| may_declare(content);
    fact.is_manifest = is_candidate(&fact.path) && before.iter().chain(&after).any(declares);
    // What was there before is not this task's doing, and may be a made-up token of a test.
    let held = before.as_deref().is_some_and(is_secret);
    fact.holds_secret = !held && after.as_deref().is_some_and(is_secret);
    Ok(fact)
}

/// A path of a tree, for people: hostile bytes are replaced.
pub(crate) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn named(paths: impl Iterator<Item = String>, count: u64) -> String {
    let list: Vec<String> = paths.take(NAMED).map(|path| format!("`{path}`")).collect();
    let more = count.saturating_sub(u64::try_from(list.len()).unwrap_or(u64::MAX));
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{tail}", list.join(", "))
}

impl From<GitError> for CollectError {
    /// What Git cannot do here is no fault of the work.
    fn from(error: GitError) -> Self {
        Self::Runner(Box::new(error))
    }
}

/// A file that cannot be read is the task's doing: it has the same user's rights, and took them away.
fn unreadable(error: GitError) -> CollectError {
    match error {
        GitError::Program { detail, .. } if detail.contains("Permission denied") => {
            CollectError::Refused(format!("left files that cannot be read: {detail}"))
        }
        error => error.into(),
    }
}

/// Whose fault it is that a commit cannot be checked out. What is not known to be the commit's is this machine's: a failure
/// of the work is for good, a claim that is given back is not.
pub(super) fn fault_of(error: &GitError) -> WorkspaceFault {
    match error {
        GitError::Interrupted => WorkspaceFault::Interrupted,
        GitError::BadTree { .. }
        | GitError::BadPath { .. }
        | GitError::BadSubmodule { .. }
        | GitError::RefusedEntry { .. } => WorkspaceFault::Commit,
        // Names that differ only in case, or are too long for this file system.
        GitError::Io { source, .. }
            if matches!(source.kind(), ErrorKind::AlreadyExists | ErrorKind::InvalidFilename) =>
        {
            WorkspaceFault::Commit
        }
        GitError::Missing { .. }
        | GitError::Submodule { .. }
        | GitError::TimedOut { .. }
        | GitError::Authentication { .. }
        | GitError::Permission { .. }
        | GitError::Unreachable { .. }
        | GitError::Remote { .. } => WorkspaceFault::Runner(RunnerFault::Commit),
        _ => WorkspaceFault::Runner(RunnerFault::Machine),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn only_what_is_wrong_with_the_commit_itself_is_the_commits_fault() {
        let io = |kind: ErrorKind| GitError::Io { doing: "write", path: PathBuf::new(), source: kind.into() };
        let unreachable = GitError::Unreachable { remote: "origin".to_owned(), detail: "503".to_owned() };
        let cases = [
            (io(ErrorKind::StorageFull), WorkspaceFault::Runner(RunnerFault::Machine)),
            (io(ErrorKind::PermissionDenied), WorkspaceFault::Runner(RunnerFault::Machine)),
            (io(ErrorKind::AlreadyExists), WorkspaceFault::Commit),
            (unreachable, WorkspaceFault::Runner(RunnerFault::Commit)),
            (GitError::BadPath { path: "..".to_owned(), problem: "is unsafe" }, WorkspaceFault::Commit),
            (GitError::Interrupted, WorkspaceFault::Interrupted),
        ];
        for (error, fault) in cases {
            assert_eq!(fault_of(&error), fault, "{error}");
        }
    }
}
