//! Whose work a gate is asked about, as far as Git knows: by addresses alone. With the logins of a host, `planspec ci` looks at more
//! commits before it comes here.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::engine::snapshot::Snapshot;
use crate::engine::snapshot::gates::people;
use crate::git::ObjectId;
use crate::model::{DerivedExecution, Origin, ResourceKey, ReviewBinding};

/// How many commits one merge may bring, of which the authors are looked for.
const MOST_MERGED: usize = 1000;

/// How many commits are searched for the one that changed a manifest last.
const SEARCHED: usize = 10_000;

/// How many owners a derived Execution may have, one above the other. Records may claim to own each other.
const MOST_OWNERS: usize = 32;

/// Everybody who wrote or made the commit that is to be approved, or one that it merged, where the configuration does not let
/// authors approve; for what a Schedule started, also who changed the Schedule and the Plan last: at the time of a run, the
/// newest commit is anybody's. None also where a commit is not here, as in a shallow clone.
pub(crate) fn authors_of(snapshot: &Snapshot, binding: &ReviewBinding) -> Option<Rc<[String]>> {
    if snapshot.config.gates.author_may_approve {
        return None;
    }
    // A gate is decided anew at each pass, and a walk costs what the merge brought.
    if let Some(known) = snapshot.answers.authors(&binding.execution) {
        return known;
    }
    let found = match run_of(snapshot, &binding.execution) {
        // What is not in the index yet was not approved yet.
        None => return of_commit(snapshot, &binding.commit),
        Some(manifests) => of_run(snapshot, &binding.commit, &manifests),
    };
    snapshot.answers.keep_authors(&binding.execution, found.clone());
    found
}

fn of_commit(snapshot: &Snapshot, commit: &str) -> Option<Rc<[String]>> {
    if let Some(known) = snapshot.answers.authors(commit) {
        return known;
    }
    let found = find_authors(snapshot, commit.parse().ok());
    snapshot.answers.keep_authors(commit, found.clone());
    found
}

fn of_run(snapshot: &Snapshot, commit: &str, manifests: &[ResourceKey]) -> Option<Rc<[String]>> {
    let mut all: BTreeSet<String> = of_commit(snapshot, commit)?.iter().cloned().collect();
    let pin: ObjectId = commit.parse().ok()?;
    for key in manifests {
        // Where it stands now: one that was moved since is not found, and then nobody approves.
        let path = snapshot.declared(key).ok()??.source.path;
        let changed = snapshot.repo.last_change(pin, &path, SEARCHED).ok()??;
        all.extend(of_commit(snapshot, &changed.to_string())?.iter().cloned());
    }
    Some(all.into_iter().collect())
}

/// The Schedule that started an Execution, and the Plans of this and of what it started itself; none of them where a manifest
/// declares it.
fn run_of(snapshot: &Snapshot, uid: &str) -> Option<Vec<ResourceKey>> {
    let is_it = |key: &ResourceKey| {
        snapshot.index.recorded(key).is_ok_and(|found| found.is_some_and(|found| found.uid == uid))
    };
    let mut key = snapshot.index.active_executions().ok()?.into_iter().find(is_it)?;
    let mut manifests = Vec::new();
    for _ in 0..MOST_OWNERS {
        let Some(record) = snapshot.record(&key).ok()? else { break };
        let Some(derived) = DerivedExecution::of(&record) else { break };
        manifests.extend(
            record
                .execution()
                .and_then(|status| status.extensions.pinned.as_ref())
                .map(|pin| pin.plan.clone()),
        );
        key = derived.owner_key(&key.namespace);
        if matches!(derived.origin, Origin::Time(_)) {
            manifests.push(key);
            return Some(manifests);
        }
    }
    // Its authors are those of the commit that it runs.
    Some(Vec::new())
}

fn find_authors(snapshot: &Snapshot, commit: Option<ObjectId>) -> Option<Rc<[String]>> {
    let repo = &snapshot.repo;
    let tip = repo.commit(commit?).ok()?;
    let mut commits = vec![];
    for id in repo.merged_by(&tip, MOST_MERGED).ok()?? {
        commits.push(repo.commit(id).ok()?);
    }
    commits.push(tip);
    let people = people(snapshot);
    let mut found = BTreeSet::new();
    for commit in &commits {
        for email in [&commit.author.email, &commit.committer.email] {
            // By the person and not by the address: whoever has two of them is one author.
            found.insert(people.identify(email).ok()?);
        }
    }
    Some(found.into_iter().collect())
}
