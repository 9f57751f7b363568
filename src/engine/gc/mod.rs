//! Keeping the status branch small: finished executions shrink to a summary, old history becomes one commit, and what they
//! changed and left is let go.

mod references;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use tracing::warn;

use self::references::{KnownExecution, ReferenceCollector};
use super::{Branches, Clock, EngineError};
use crate::config::{ArtifactStore, BucketAccess, Config};
use crate::engine::attempt::workspace::kept_workspaces;
use crate::engine::commit::publisher::{PublishOutcome, Publisher};
use crate::git::{ObjectId, Repo, SwapResult, remove_kept};
use crate::model::{Kind, ResourceKey, ResourceStatus, StatusRecord};
use crate::provider::{ObjectStore, ObjectStoreError};
use crate::record::{
    Batch, MAX_RECORD_BYTES, RecordEdit, Squash, StatusTree, parse_record, shrink, squash_with,
};

/// How often a lost race is tried again.
const MOST_RACES: u32 = 20;
/// How many records go into one commit.
const BATCH: usize = 1_000;

/// What a collection came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Finished executions whose record was shrunk.
    pub shrunk: usize,
    /// Commits that became one.
    pub squashed: usize,
    /// Commits that stayed as they are.
    pub kept: usize,
    /// Directories of logs and artifacts that were removed here.
    pub runs: usize,
    /// Workspaces with ignored files that were removed here.
    pub workspaces: usize,
    /// Directories that were removed in the folder that runners share for artifacts.
    pub shared: usize,
    /// Objects that were removed from the bucket that runners share for artifacts.
    pub objects: usize,
    /// Why not all of them could be removed there, in words.
    pub bucket_fault: Option<String>,
    /// References that kept results, artifacts and logs, or showed work, and were removed.
    pub references: Vec<String>,
    /// The tip afterwards.
    pub tip: Option<String>,
}

/// Shrinks what ended before `cutoff` and squashes the history before it. With `dry_run` nothing is changed. `work_root` is where
/// workspaces are on this machine.
///
/// # Errors
/// Git; too many lost races.
pub fn collect(
    branches: &Branches,
    (cutoff, dry_run): (Timestamp, bool),
    clock: &Arc<dyn Clock>,
    runner: &str,
    (work_root, bucket): (&Path, &BucketAccess),
) -> Result<GcReport, EngineError> {
    let kept = kept_workspaces(work_root, branches.repo().common_dir());
    let workspaces = remove_kept(&kept, cutoff, dry_run);
    let mut publisher = Publisher::new(branches)?;
    for _ in 0..MOST_RACES {
        // All anew after a lost race: what was retried meanwhile has not ended any more, and keeps its full
        // record.
        let tips = branches.tips()?;
        let repo = branches.repo();
        let mut status = StatusTree::at(repo, tips.status)?;
        let mut collected = GcReport { workspaces, ..GcReport::default() };
        let Some(mut tip) = status.commit else { return Ok(collected) };
        let executions = executions(repo, &status, cutoff)?;
        collected.shrunk = executions.changes.len();
        let mut raced = false;
        if !dry_run {
            for chunk in executions.changes.chunks(BATCH) {
                let batch = batch_of(chunk, tips.desired.id, clock.now(), runner);
                match publisher.deliver(&tips.config, status, &batch, &[])? {
                    PublishOutcome::Done(written) => {
                        tip = written.commit;
                        status = written.status();
                    }
                    PublishOutcome::Unchanged => {}
                    PublishOutcome::WorkRefused(_, error) => return Err(error.into()),
                    // The rest was worked out from the same old tip, so each push of it would be lost as well.
                    PublishOutcome::Moved(_) => {
                        raced = true;
                        break;
                    }
                }
            }
        }
        if raced {
            continue;
        }
        collected.runs = remove_runs(&repo.cache_dir().join("runs"), &executions.open, cutoff, dry_run)?;
        let_go((branches, &tips.config, bucket), (&status, &executions), (cutoff, dry_run), &mut collected)?;
        collected.tip = Some(tip.to_string());
        let Some(squash) = squash(branches, &tips.config, tip, (cutoff, dry_run))? else {
            return Ok(collected);
        };
        (collected.squashed, collected.kept) = (squash.squashed, squash.kept);
        if dry_run {
            return Ok(collected);
        }
        let why = format!("planspec gc: squash {} commits", squash.squashed);
        // With the exact old tip: a commit that somebody published meanwhile is kept, and the squash made
        // again (Invariant 3).
        if branches.publish(&tips.config, Some(tip), squash.tip, &why)? == SwapResult::Done {
            collected.tip = Some(squash.tip.to_string());
            return Ok(collected);
        }
    }
    Err(EngineError::Contended { attempts: MOST_RACES })
}

/// Squashes the history before `cutoff`, on top of the shrunk records.
fn squash(
    branches: &Branches,
    config: &Config,
    tip: ObjectId,
    (cutoff, dry_run): (Timestamp, bool),
) -> Result<Option<Squash>, EngineError> {
    let repo = branches.repo();
    let signs = config.trust.status.is_some() && !dry_run;
    // A person's key would sign what runners did, and everybody would refuse the branch.
    if signs {
        branches.check_runner(config, tip)?;
    }
    branches.complete_status(config, tip)?;
    let finish = |commit| if signs { repo.signed(commit) } else { Ok(commit) };
    Ok(squash_with(repo, tip, cutoff, &finish)?)
}

/// Removes what old Executions keep elsewhere than in their records. After the records were shortened: whoever reads one in full
/// finds what it names.
fn let_go(
    (branches, config, bucket): (&Branches, &Config, &BucketAccess),
    (status, executions): (&StatusTree, &Executions),
    (cutoff, dry_run): (Timestamp, bool),
    collected: &mut GcReport,
) -> Result<(), EngineError> {
    if let ArtifactStore::Directory(shared) = &config.artifacts.store {
        collected.shared = remove_shared(shared, &executions.old, dry_run)?;
    }
    if let Some(store) = ObjectStore::of(config, bucket) {
        // The status branch is not to grow because a bucket cannot be reached. What was removed before that counts.
        if let Err(error) = remove_objects(&store, &executions.old, dry_run, &mut collected.objects) {
            warn!(removed = collected.objects, %error, "objects are left in the bucket");
            collected.bucket_fault = Some(error.to_string());
        }
    }
    let total = config.limits.artifacts.total_bytes;
    let collector = ReferenceCollector { branches, status, known: &executions.known, cutoff, total };
    collected.references = collector.collect(dry_run)?;
    Ok(())
}

fn batch_of(changes: &[RecordEdit], desired: ObjectId, at: Timestamp, runner: &str) -> Batch {
    Batch {
        desired: Some(desired),
        runner: runner.to_owned(),
        at,
        changes: changes.to_vec(),
        transitions: Vec::new(),
        dashboard: None,
    }
}

/// What is recorded of all Executions.
struct Executions {
    /// The records of those that ended before the cut-off, and hold more than a summary, as summaries.
    changes: Vec<RecordEdit>,
    /// The uids of those that have not ended.
    open: BTreeSet<String>,
    /// The uids of those that ended before the cut-off.
    old: BTreeSet<String>,
    known: BTreeMap<ResourceKey, KnownExecution>,
}

fn executions(repo: &Repo, status: &StatusTree, cutoff: Timestamp) -> Result<Executions, EngineError> {
    let mut changes = Vec::new();
    let mut open = BTreeSet::new();
    let mut old = BTreeSet::new();
    let mut known = BTreeMap::new();
    for (key, _, blob) in status.list(repo, Some(Kind::Execution), None)? {
        // Also of one whose record cannot be read: what it keeps is not an orphan's.
        known.insert(key.clone(), KnownExecution::unreadable());
        // A record that is too large or broken is for the reconciler to restore, and stops nothing here
        // (Invariant 6).
        let Ok(bytes) = repo.blob(blob, MAX_RECORD_BYTES) else { continue };
        let Ok(file) = parse_record(&bytes) else { continue };
        let Some(head) = file.record.execution() else { continue };
        known.insert(key.clone(), KnownExecution::of(head));
        if !head.phase.is_terminal() {
            open.insert(file.record.metadata.uid.clone());
        }
        // Without an end its age is unknown, so it stays whole.
        if !head.phase.is_terminal() || head.completion_time.is_none_or(|at| at >= cutoff) {
            continue;
        }
        old.insert(file.record.metadata.uid.clone());
        // With its nodes, which may be in files of their own; only of the few that are old enough.
        let Ok(Some(record)) = status.get(repo, &key) else { continue };
        let Some(full) = record.execution() else { continue };
        let small = shrink(full);
        // A summary shrinks to itself, so that a second `gc` makes no commit.
        if small != *full {
            let status = ResourceStatus::Execution(Box::new(small));
            let record = Arc::new(StatusRecord { metadata: record.metadata.clone(), status });
            changes.push(RecordEdit::Put { record, pins: None });
        }
    }
    Ok(Executions { changes, open, old, known })
}

/// Removes what Executions that ended long ago left in the folder that runners share. Only by their names: it may be the
/// folder of other repositories as well, or of anything else.
fn remove_shared(shared: &Path, old: &BTreeSet<String>, dry_run: bool) -> Result<usize, EngineError> {
    let mut removed = 0;
    for uid in old {
        let path = shared.join(uid);
        if !is_plain_word(uid) || !path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            continue;
        }
        removed += 1;
        if !dry_run {
            let doing = "remove";
            std::fs::remove_dir_all(&path).map_err(|source| EngineError::Io { doing, path, source })?;
        }
    }
    Ok(removed)
}

/// Removes what Executions that ended long ago left in the bucket, and counts it. Only below their uids: it may hold anything
/// else.
fn remove_objects(
    store: &ObjectStore,
    old: &BTreeSet<String>,
    dry_run: bool,
    removed: &mut usize,
) -> Result<(), ObjectStoreError> {
    if old.is_empty() {
        return Ok(());
    }
    // A signal ends the whole command.
    let open = store.open(&|| true)?;
    for uid in old.iter().filter(|uid| is_plain_word(uid)) {
        for name in open.list(&format!("{uid}/"))? {
            if !dry_run {
                open.remove(&name)?;
            }
            *removed += 1;
        }
    }
    Ok(())
}

/// Whether a uid, from a record that anybody may have written, names something in one folder.
fn is_plain_word(uid: &str) -> bool {
    !uid.is_empty() && uid.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// Removes logs and artifacts of runs that nothing was written to since `cutoff`, but for those of `open` Executions.
fn remove_runs(
    runs: &Path,
    open: &BTreeSet<String>,
    cutoff: Timestamp,
    dry_run: bool,
) -> Result<usize, EngineError> {
    // Without the folder nothing ran on this machine.
    let Ok(entries) = std::fs::read_dir(runs) else { return Ok(0) };
    let mut removed = 0;
    for entry in entries.flatten() {
        // A task may be silent for longer than `retention`, and the runner that drives it may be any process of this
        // machine: whose Execution has not ended is left alone, and so are the folders in which attempts are at work.
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if open.contains(name.as_ref()) || (name.starts_with('.') && !open.is_empty()) {
            continue;
        }
        let old =
            newest(&entry.path()).and_then(|at| Timestamp::try_from(at).ok()).is_some_and(|at| at < cutoff);
        // `file_type` follows no link: what lies behind one is not ours to remove.
        if old && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            removed += 1;
            if !dry_run {
                let path = entry.path();
                let doing = "remove";
                std::fs::remove_dir_all(&path).map_err(|source| EngineError::Io { doing, path, source })?;
            }
        }
    }
    Ok(removed)
}

/// When something at or below `path` was last written. `None` when that cannot be known.
fn newest(path: &Path) -> Option<SystemTime> {
    // Not followed: the time of what a link leads to says nothing about this run.
    let metadata = std::fs::symlink_metadata(path).ok()?;
    let mut newest = metadata.modified().ok()?;
    if metadata.is_dir() {
        // A line of a log changes neither the folder of its attempt nor any folder above.
        for entry in std::fs::read_dir(path).ok()? {
            newest = newest.max(self::newest(&entry.ok()?.path())?);
        }
    }
    Some(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bucket with two objects of one Execution, whose second one cannot be removed.
    fn stubborn_bucket() -> ObjectStore {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let object = |name: &str| {
            format!(
                "<Contents><Key>x/{name}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>e</ETag><Size>1</Size></Contents>"
            )
        };
        let list = format!(
            "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><IsTruncated>false</IsTruncated>{}{}</ListBucketResult>",
            object("uid-1/a"),
            object("uid-1/b")
        );
        std::thread::spawn(move || {
            for peer in server.incoming() {
                let mut peer = peer.unwrap();
                let mut asked = [0; 8192];
                let length = std::io::Read::read(&mut peer, &mut asked).unwrap();
                let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
                let (status, body) = match asked.split_whitespace().next() {
                    Some("DELETE") if asked.contains("uid-1/a") => ("204 No Content", ""),
                    Some("DELETE") => ("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>"),
                    _ => ("200 OK", list.as_str()),
                };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
                );
                let _ = std::io::Write::write_all(&mut peer, answer.as_bytes());
            }
        });
        let config = format!(
            r#"{{"artifacts": {{"store": "s3://acme/x", "endpoint": "http://{address}"}},
                "providers": {{"network": {{"allowPrivate": ["127.0.0.1"]}}}}}}"#
        );
        ObjectStore::of(&serde_json::from_str(&config).unwrap(), &BucketAccess::default()).unwrap()
    }

    #[test]
    fn what_was_removed_before_a_failure_is_counted() {
        let old = BTreeSet::from(["uid-1".to_owned()]);
        let mut removed = 0;
        let error = remove_objects(&stubborn_bucket(), &old, false, &mut removed).unwrap_err();
        assert_eq!(removed, 1);
        assert!(error.to_string().contains("AccessDenied"), "{error}");
    }

    #[test]
    fn what_is_still_written_to_or_belongs_to_an_open_execution_is_kept() {
        let runs = tempfile::tempdir().unwrap();
        let old = SystemTime::UNIX_EPOCH;
        for (uid, fresh) in [("ended", false), ("writing", true), ("open", false), (".running-1", false)] {
            let folder = runs.path().join(uid).join("build/1.1");
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("log"), "line").unwrap();
            if !fresh {
                std::fs::File::open(folder.join("log")).unwrap().set_modified(old).unwrap();
            }
            for above in [&folder, folder.parent().unwrap(), &runs.path().join(uid)] {
                std::fs::File::open(above).unwrap().set_modified(old).unwrap();
            }
        }
        let cutoff = Timestamp::from_second(1_000_000).unwrap();
        let open = BTreeSet::from(["open".to_owned()]);
        assert_eq!(remove_runs(runs.path(), &open, cutoff, true).unwrap(), 1);
        assert_eq!(remove_runs(runs.path(), &open, cutoff, false).unwrap(), 1);
        let left = |uid: &str| runs.path().join(uid).exists();
        assert!(!left("ended") && left("writing") && left("open") && left(".running-1"));
        assert_eq!(remove_runs(runs.path(), &BTreeSet::new(), cutoff, false).unwrap(), 2);
    }
}
