//! Workspaces for attempts: which commit one holds, where its objects come from, and what happens to it afterwards.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tracing::{debug, warn};

use super::collect::{ResultTerms, WorkOrder, collect, fault_of};
use crate::engine::clock::Clock;
use crate::git::{
    CheckoutForm, GitError, JudgedCommit, KnownTags, Leftovers, ObjectCache, ObjectId, Remote, Repo,
    ResultMerge, WorkingCopy,
};
use crate::model::{Digest, NodeResult};
use crate::plan::among;
use crate::provider::{
    ChangeRules, CollectError, CollectedChanges, HandedOverChange, JudgedCheckout, JudgedWork,
    PrivateCheckout, Workspace, WorkspaceError, WorkspaceForm,
};

/// How many hexadecimal digits of a digest name the folder of a repository.
const FOLDER_DIGITS: usize = 16;

/// The folder of workspaces whose ignored files stay.
const KEPT: &str = "kept";

/// The workspaces of a runner.
pub(crate) struct Workspaces {
    git_dir: PathBuf,
    remote: Option<Remote>,
    /// Where object cache and workspaces of this repository are; outside of it, so that Git which loses its `.git` in a
    /// workspace cannot walk up into the user's.
    dir: PathBuf,
    /// The folder that every attempt works in instead.
    shared: Option<PathBuf>,
    pub(super) terms: ResultTerms,
    clock: Arc<dyn Clock>,
    /// Handles on the repository that nobody uses just now.
    repos: Mutex<Vec<Repo>>,
    tags: KnownTags,
    idle: Mutex<Vec<WorkingCopy>>,
    /// Merges that were made here, by what was merged: a lost race plans the same again.
    pub(super) merges: Mutex<HashMap<Vec<ObjectId>, ResultMerge>>,
}

/// A workspace that a task can begin in.
struct ReadyWorkspace {
    copy: WorkingCopy,
    cache: ObjectCache,
    /// Where the objects are that Git in it reads.
    objects: Vec<PathBuf>,
}

/// Where attempts work.
pub(crate) struct WorkPlace<'a> {
    /// The folder of the workspaces of all repositories.
    pub(crate) root: &'a Path,
    /// A person's folder, in which all work as it is, instead of workspaces.
    pub(crate) shared: Option<PathBuf>,
}

impl Workspaces {
    /// Workspaces of the repository at `git_dir`, below a root which repositories share.
    pub(crate) fn new(
        git_dir: &Path,
        remote: Option<Remote>,
        place: WorkPlace<'_>,
        terms: ResultTerms,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self {
            git_dir: git_dir.to_owned(),
            remote,
            dir: folder_in(place.root, git_dir),
            shared: place.shared,
            terms,
            clock,
            repos: Mutex::default(),
            tags: KnownTags::default(),
            idle: Mutex::default(),
            merges: Mutex::default(),
        })
    }

    /// Gives workspaces for one attempt.
    pub(crate) fn of(self: &Arc<Self>, order: WorkOrder) -> Arc<dyn Workspace> {
        if let Some(shared) = &self.shared {
            return Arc::new(SharedFolder(shared.clone()));
        }
        Arc::new(OrderedWorkspace { workspaces: Arc::clone(self), order: Arc::new(order) })
    }

    /// The remote, where there is one.
    pub(super) fn remote(&self) -> Option<&Remote> {
        self.remote.as_ref()
    }

    /// Where everything of this repository is.
    pub(super) fn folder(&self) -> &Path {
        &self.dir
    }

    /// Whether merges into branches of people are signed.
    pub(super) fn signs_merges(&self) -> bool {
        self.terms.sign_merges
    }

    /// What time it is.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The cache that workspaces borrow from.
    pub(super) fn cache(&self) -> Result<ObjectCache, GitError> {
        ObjectCache::open(&self.dir.join("objects.git"))
    }

    /// Does something with a handle on the user's repository that no other thread uses.
    pub(super) fn with_repo<T, E: From<GitError>>(
        &self,
        work: impl FnOnce(&Repo) -> Result<T, E>,
    ) -> Result<T, E> {
        let spare = lock(&self.repos).pop();
        let repo = spare.map_or_else(|| Repo::open(&self.git_dir), Ok)?;
        let done = work(&repo);
        // Back also after a failure, which is about the work and not about the handle.
        lock(&self.repos).push(repo);
        done
    }

    /// Brings a commit into the user's repository. In a shallow clone, or after a force push, the pinned one may not be there;
    /// a result of another runner is where it is kept.
    pub(super) fn bring_in(&self, repo: &Repo, commit: ObjectId, reference: &str) -> Result<(), GitError> {
        let Some(remote) = &self.remote else { return Ok(()) };
        if repo.contains(commit)? {
            return Ok(());
        }
        // By its reference first: that brings what lies between it and the pinned commit, which merging needs.
        remote.fetch(repo, &[reference])?;
        if repo.contains(commit)? { Ok(()) } else { remote.fetch_commit(repo, commit) }
    }

    /// Brings a commit that a record names into the user's repository.
    pub(crate) fn ensure(&self, commit: ObjectId, reference: &str) -> Result<(), GitError> {
        self.with_repo(|repo| self.bring_in(repo, commit, reference))
    }

    /// The tags that a workspace shows.
    pub(super) fn tags(&self) -> Result<Arc<str>, GitError> {
        self.with_repo(|repo| self.tags.of(repo, self.now()))
    }

    fn check_out(&self, order: &WorkOrder, form: &WorkspaceForm) -> Result<ReadyWorkspace, GitError> {
        let cache = self.cache()?;
        self.with_repo(|repo| -> Result<_, GitError> {
            for commit in [Some(order.base), order.unfinished].into_iter().flatten() {
                self.bring_in(repo, commit, &order.reference)?;
                cache.import(repo, commit)?;
            }
            Ok(())
        })?;
        let ready = self.write_out(cache, order, order.base, form)?;
        if let Some(unfinished) = order.unfinished {
            ready.copy.put_over(&ready.cache, (order.base, unfinished))?;
        }
        Ok(ready)
    }

    /// A workspace that holds a commit of the cache, in this form.
    fn write_out(
        &self,
        cache: ObjectCache,
        order: &WorkOrder,
        commit: ObjectId,
        form: &WorkspaceForm,
    ) -> Result<ReadyWorkspace, GitError> {
        let git = git_form(form);
        let modules = match form.submodules {
            true => self.fetch_modules(&cache, commit, &form.sparse)?,
            false => Vec::new(),
        };
        let copy = match git.leftovers {
            _ if !modules.is_empty() => self.check_out_with_modules(&cache, commit, &git, &modules)?,
            Leftovers::Remove => self.check_out_cached(&cache, commit, &git)?,
            Leftovers::KeepIgnored => {
                // Nobody but earlier attempts at the same node of the same plan has worked in these, and what they left of ignored files
                // stays: that of others could hold anything that this one would run.
                let pool = self.dir.join(KEPT).join(&order.whose);
                self.check_out_in(&pool, WorkingCopy::take(&pool)?, &cache, commit, &git)?
            }
        };
        let objects = Self::objects_of(&cache, &modules);
        Ok(ReadyWorkspace { copy, cache, objects })
    }

    /// A workspace that holds a commit of the cache.
    fn check_out_cached(
        &self,
        cache: &ObjectCache,
        commit: ObjectId,
        form: &CheckoutForm<'_>,
    ) -> Result<WorkingCopy, GitError> {
        let pool = self.dir.join("work");
        let idle = {
            let mut idle = lock(&self.idle);
            // In a chain of tasks, the last one's workspace holds what the next one needs.
            let best = idle.iter().rposition(|copy| copy.is_at(commit));
            best.map(|at| idle.swap_remove(at)).or_else(|| idle.pop())
        };
        let copy = idle.map_or_else(|| WorkingCopy::take(&pool), Ok)?;
        self.check_out_in(&pool, copy, cache, commit, form)
    }

    /// The same in this workspace, or in another one of its pool where it cannot be reset.
    fn check_out_in(
        &self,
        pool: &Path,
        mut copy: WorkingCopy,
        cache: &ObjectCache,
        commit: ObjectId,
        form: &CheckoutForm<'_>,
    ) -> Result<WorkingCopy, GitError> {
        let tags = self.tags()?;
        if let Err(error) = copy.check_out(cache, commit, &tags, form) {
            // What a hostile task left, such as folders without permissions, spoils its own workspace and no other.
            warn!(%error, "workspace cannot be reset");
            copy.spoil();
            copy = WorkingCopy::take(pool)?;
            copy.check_out(cache, commit, &tags, form)?;
        }
        Ok(copy)
    }

    /// A workspace in which what was made for an order is judged.
    fn check_out_judged(
        &self,
        order: &WorkOrder,
        work: &JudgedWork<'_>,
    ) -> Result<(ReadyWorkspace, JudgedCommit), GitError> {
        let cache = self.cache()?;
        let result = work.result.map_or(Ok(order.base), |result| parse_commit(&result.commit))?;
        // From the cache alone, where taking the work in has put it: nobody else has these commits yet.
        let judged = cache.restore(order.base, result, &among(work.restore))?;
        // Nobody finds in it what the worker left, ignored files included.
        let form = WorkspaceForm { keep_ignored: false, ..work.form.clone() };
        let ready = self.write_out(cache, order, judged.commit, &form)?;
        Ok((ready, judged))
    }

    fn give_back(&self, mut copy: WorkingCopy, leftovers: Leftovers) {
        if copy.is_in_use() {
            return copy.spoil();
        }
        if copy.has_modules() {
            if let Err(error) = copy.empty() {
                warn!(%error, "a workspace with submodules cannot be removed");
                copy.spoil();
            }
            return;
        }
        // One whose ignored files stay is let go of: it waits in its own pool, for its own node.
        if leftovers == Leftovers::Remove {
            lock(&self.idle).push(copy);
        }
    }
}

/// The folder of a repository's workspaces below a root which repositories share.
fn folder_in(root: &Path, git_dir: &Path) -> PathBuf {
    let digest = Digest::of_bytes(git_dir.as_os_str().as_encoded_bytes());
    let digits = digest.as_str().rsplit(':').next().unwrap_or_default();
    root.join(digits.chars().take(FOLDER_DIGITS).collect::<String>())
}

/// Where the workspaces of a repository are whose ignored files stay, in a folder for each node.
pub(crate) fn kept_workspaces(root: &Path, git_dir: &Path) -> PathBuf {
    folder_in(root, git_dir).join(KEPT)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A poisoned lock only means that another thread panicked; what is in it is sound.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn parse_commit(commit: &str) -> Result<ObjectId, GitError> {
    commit.parse().map_err(|_| GitError::UnknownRevision { revision: commit.to_owned() })
}

/// A folder that belongs to a person.
struct SharedFolder(PathBuf);

impl Workspace for SharedFolder {
    fn prepare_as(&self, _: &WorkspaceForm) -> Result<PrivateCheckout, WorkspaceError> {
        // Nothing is reset, collected or removed: what a task leaves there is for the person to look at.
        Ok(PrivateCheckout::new(self.0.clone(), |_| {}).hiding(repositories_in(&self.0)))
    }
}

/// Where the repository of a person's working tree is, as far as that is inside of it: its configuration may hold credentials, and
/// a hook that a task planted there would run outside of the sandbox.
fn repositories_in(tree: &Path) -> Vec<PathBuf> {
    let link = tree.join(".git");
    // A linked working tree, or one whose repository was put elsewhere, has a file that names the place.
    let named = std::fs::read_to_string(&link).ok();
    let named = named.and_then(|text| text.strip_prefix("gitdir:").map(|path| tree.join(path.trim())));
    let place = named.unwrap_or_else(|| link.clone()).canonicalize().ok();
    let inside = |path: &PathBuf| tree.canonicalize().is_ok_and(|tree| path.starts_with(tree));
    let link = (link.symlink_metadata().is_ok_and(|found| !found.is_symlink())).then_some(link);
    let mut found: Vec<PathBuf> = link.into_iter().chain(place.filter(inside)).collect();
    found.dedup();
    found
}

/// The same as Git's work needs it.
fn git_form(form: &WorkspaceForm) -> CheckoutForm<'_> {
    let leftovers = if form.keep_ignored { Leftovers::KeepIgnored } else { Leftovers::Remove };
    CheckoutForm { leftovers, sparse: &form.sparse, depth: form.depth }
}

struct OrderedWorkspace {
    workspaces: Arc<Workspaces>,
    order: Arc<WorkOrder>,
}

impl OrderedWorkspace {
    fn hand_out(&self, form: &WorkspaceForm) -> Result<PrivateCheckout, WorkspaceError> {
        let leftovers = git_form(form).leftovers;
        let ReadyWorkspace { copy, cache, objects } = (self.workspaces.check_out(&self.order, form))
            .map_err(|error| WorkspaceError::new(fault_of(&error), error))?;
        let tree = copy.tree();
        debug!(workspace = %tree.display(), base = %self.order.base, "workspace handed out");
        let shared = Arc::new(Mutex::new(Some(copy)));
        let used = Arc::clone(&shared);
        let workspaces = Arc::clone(&self.workspaces);
        let give_back = move |_| {
            if let Some(copy) = lock(&used).take() {
                workspaces.give_back(copy, leftovers);
            }
        };
        let workspaces = Arc::clone(&self.workspaces);
        let order = Arc::clone(&self.order);
        let checkout = PrivateCheckout::new(tree, give_back).reading(objects).collecting(move |rules| {
            let mut used = lock(&shared);
            let copy = used.as_mut().ok_or_else(|| {
                CollectError::Runner("the workspace was given back already".to_owned().into())
            })?;
            let at = workspaces.clock.now();
            let collected = workspaces
                .with_repo(|repo| collect((repo, &cache, copy), &workspaces.terms, &order, rules, at));
            match &collected {
                Ok(CollectedChanges::Result(result)) => copy.set_holds(result.commit.parse().ok()),
                Ok(_) => {}
                // What was refused is in the index all the same.
                Err(_) => copy.set_holds(None),
            }
            collected
        });
        Ok(checkout)
    }
}

impl Workspace for OrderedWorkspace {
    fn prepare_as(&self, form: &WorkspaceForm) -> Result<PrivateCheckout, WorkspaceError> {
        self.hand_out(form)
    }

    fn take_in(
        &self,
        files: &[HandedOverChange],
        rules: &ChangeRules,
    ) -> Result<CollectedChanges, CollectError> {
        self.workspaces.take_in(&self.order, files, rules)
    }

    fn hand_over(&self, result: &NodeResult, into: &Path) -> Result<Vec<HandedOverChange>, WorkspaceError> {
        self.workspaces.hand_over(result, into).map_err(|error| {
            WorkspaceError::new(fault_of(&error), error).while_doing("the changes cannot be handed over")
        })
    }

    fn prepare_judged(&self, work: &JudgedWork<'_>) -> Result<Option<JudgedCheckout>, WorkspaceError> {
        let (ready, judged) = (self.workspaces.check_out_judged(&self.order, work))
            .map_err(|error| WorkspaceError::new(fault_of(&error), error))?;
        let ReadyWorkspace { copy, objects, .. } = ready;
        let tree = copy.tree();
        let workspaces = Arc::clone(&self.workspaces);
        debug!(workspace = %tree.display(), commit = %judged.commit, "workspace handed out to judge work");
        let checkout = PrivateCheckout::new(tree, move |_| workspaces.give_back(copy, Leftovers::Remove));
        let base = || self.order.base.to_string();
        Ok(Some(JudgedCheckout {
            checkout: checkout.reading(objects),
            commit: work.result.map_or_else(base, |result| result.commit.clone()),
            tree: judged.tree.to_string(),
            restored: judged.restored,
        }))
    }
}
