//! The history of the desired branch: whether a commit was its tip, and whether a uid comes from one that was.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use tracing::debug;

use super::fetch::LineFetch;
use super::manifests::{ManifestFiles, last_valid};
use super::{MergedAnswer, uid_of};
use crate::config::Config;
use crate::engine::EngineError;
use crate::git::{FirstParentLine, GitError, LinePlace, LineSource, ObjectId, Remote, Repo};
use crate::model::ResourceKey;

/// The file that keeps the line for the next process, as raw ids from its tip on.
// A hint that the repository itself gives again at any time: without it every pass of a schedule would walk from
// the tip to the oldest pin.
const KEPT: &str = "line";

/// How many commits of the line are kept: 2 MB.
const MOST_KEPT: usize = 100_000;

/// A walk that is shorter than this is not worth a file.
const LEAST_KEPT: usize = 64;

/// What may be asked about the history of the desired branch.
pub(crate) struct MergedHistory {
    remote: Option<Remote>,
    cache: PathBuf,
    /// The commits that a shallow clone lacks.
    store: RefCell<Option<Repo>>,
    line: RefCell<Option<FirstParentLine>>,
    manifests: ManifestFiles,
    /// What to fetch before the next answer can be better, and for whom.
    wanted: RefCell<Option<LineFetch>>,
    waiting: RefCell<BTreeSet<ResourceKey>>,
    /// What was fetched already: once more would bring nothing new.
    fetched: RefCell<BTreeSet<LineFetch>>,
    /// Whether the last fetch failed: nobody goes on hoping for the next one.
    failed: Cell<bool>,
}

impl MergedHistory {
    pub(crate) fn new(repo: &Repo, remote: Option<Remote>) -> Self {
        let cache = repo.cache_dir();
        Self {
            remote,
            store: RefCell::new(Repo::open(&cache.join("history.git")).ok()),
            cache,
            line: RefCell::default(),
            manifests: ManifestFiles::default(),
            wanted: RefCell::default(),
            waiting: RefCell::default(),
            fetched: RefCell::default(),
            failed: Cell::new(false),
        }
    }

    /// Whether `commit` was a tip of the branch that now ends at `desired`.
    pub(crate) fn was_tip(
        &self,
        repo: &Repo,
        desired: ObjectId,
        commit: ObjectId,
    ) -> Result<MergedAnswer, EngineError> {
        Ok(match self.with_line(repo, desired, |line, sources| Ok(line.place(sources, commit)?))? {
            LinePlace::At(_) => MergedAnswer::Yes,
            LinePlace::Absent => MergedAnswer::No(format!(
                "commit {} is not on the first-parent line of the desired branch",
                commit.short()
            )),
            LinePlace::Unknown => self.lacks_commits(desired, commit),
        })
    }

    /// Whether `commit`, which was a tip, was one no earlier than `first`.
    pub(crate) fn not_before(
        &self,
        repo: &Repo,
        desired: ObjectId,
        commit: ObjectId,
        first: ObjectId,
    ) -> Result<MergedAnswer, EngineError> {
        let places = self.with_line(repo, desired, |line, sources| {
            Ok((line.place(sources, commit)?, line.place(sources, first)?))
        })?;
        Ok(match places {
            (LinePlace::At(place), LinePlace::At(start)) if place <= start => MergedAnswer::Yes,
            (LinePlace::Unknown, _) | (_, LinePlace::Unknown) => self.lacks_commits(desired, first),
            _ => MergedAnswer::No(format!("commit {} is older than {}", commit.short(), first.short())),
        })
    }

    /// Whether `uid` is that of a resource which was first observed at `last`, or at a tip of the branch before it. A record of
    /// a later life of the same name could else be pinned to what an earlier one ran.
    pub(crate) fn was_named(
        &self,
        repo: &Repo,
        desired: ObjectId,
        key: &ResourceKey,
        uid: &str,
        last: ObjectId,
    ) -> Result<MergedAnswer, EngineError> {
        let (found, complete) = self.with_line(repo, desired, |line, sources| {
            let LinePlace::At(mut place) = line.place(sources, last)? else { return Ok((false, false)) };
            while let Some(commit) = line.at(sources, place)? {
                if uid_of(key, commit) == uid {
                    return Ok((true, false));
                }
                place += 1;
            }
            Ok((false, line.is_complete()))
        })?;
        Ok(if found {
            MergedAnswer::Yes
        } else if complete {
            MergedAnswer::No("its uid names no commit of the desired branch up to the pinned one".to_owned())
        } else {
            self.lacks_commits(desired, last)
        })
    }

    /// Whether `blob`, which declares `key`, was in force at a commit that was a tip: a manifest there, or the last valid version
    /// of one that was broken there. `paths` are where it probably stood.
    pub(crate) fn held(
        &self,
        repo: &Repo,
        config: &Config,
        commit: ObjectId,
        (key, blob): (&ResourceKey, ObjectId),
        paths: &[String],
    ) -> Result<MergedAnswer, EngineError> {
        let paths = match self.manifests.find(repo, commit, blob, paths) {
            Ok(Ok(())) => return Ok(MergedAnswer::Yes),
            Ok(Err(paths)) => paths,
            Err(EngineError::Git(GitError::Missing { .. })) => return Ok(self.lacks_files(commit)),
            Err(error) => return Err(error),
        };
        for path in paths {
            match self.was_last_valid(repo, config, commit, path, (key, blob))? {
                Some(true) => return Ok(MergedAnswer::Yes),
                Some(false) => {}
                None => return Ok(self.lacks_trees(commit, path)),
            }
        }
        Ok(MergedAnswer::No(format!("commit {} does not hold this version of {key}", commit.short())))
    }

    fn was_last_valid(
        &self,
        repo: &Repo,
        config: &Config,
        commit: ObjectId,
        path: &str,
        wanted: (&ResourceKey, ObjectId),
    ) -> Result<Option<bool>, EngineError> {
        self.with_line(repo, commit, |line, sources| {
            let repos: Vec<&Repo> = sources.iter().map(LineSource::repo).collect();
            let mut place = 0;
            let commits = std::iter::from_fn(|| {
                let found = line.at(sources, place).map_err(EngineError::from);
                place += 1;
                match found {
                    // The root is the end; where history is cut off, nobody can tell.
                    Ok(None) if line.is_complete() => None,
                    found => Some(found),
                }
            });
            last_valid(&repos, config, commits, path, wanted)
        })
    }

    fn with_line<T>(
        &self,
        repo: &Repo,
        desired: ObjectId,
        ask: impl FnOnce(&mut FirstParentLine, &[LineSource<'_>]) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let mut line = self.line.borrow_mut();
        if line.as_ref().is_none_or(|line| line.tip() != Some(desired)) {
            let known = match line.take() {
                Some(line) => line.walked().to_vec(),
                None => self.kept(),
            };
            *line = Some(FirstParentLine::resume(desired, known));
        }
        let line = line.get_or_insert_with(|| FirstParentLine::to(desired));
        let store = self.store.borrow();
        let sources: Vec<LineSource<'_>> = [Some(repo), store.as_ref()]
            .into_iter()
            .flatten()
            .map(LineSource::new)
            .collect::<Result<_, _>>()?;
        ask(line, &sources)
    }

    fn kept(&self) -> Vec<ObjectId> {
        let bytes = fs::read(self.cache.join(KEPT)).unwrap_or_default();
        bytes.chunks_exact(20).filter_map(ObjectId::from_slice).collect()
    }

    /// Keeps what was walked for the next process.
    pub(crate) fn save(&self) {
        let line = self.line.borrow();
        let Some(walked) = line.as_ref().map(FirstParentLine::walked) else { return };
        let kept = walked.get(..MOST_KEPT).unwrap_or(walked);
        if kept.len() < LEAST_KEPT || self.kept().first() == kept.first() {
            return;
        }
        let bytes: Vec<u8> = kept.iter().flat_map(|id| id.as_bytes().to_vec()).collect();
        let file = self.cache.join(KEPT);
        let fresh = self.cache.join(format!("{KEPT}.{}", std::process::id()));
        // A cache that cannot be written costs another walk.
        if fs::write(&fresh, bytes).and_then(|()| fs::rename(&fresh, &file)).is_err() {
            let _ = fs::remove_file(&fresh);
        }
    }

    fn lacks_commits(&self, tip: ObjectId, commit: ObjectId) -> MergedAnswer {
        self.want_line(LineFetch::Line { tip, trees: false, whole: false });
        MergedAnswer::Unknown(format!(
            "whether commit {} was merged takes history that is not in this shallow clone",
            commit.short()
        ))
    }

    fn lacks_files(&self, commit: ObjectId) -> MergedAnswer {
        self.want(LineFetch::Files(commit));
        MergedAnswer::Unknown(format!("the files of commit {} are not in this clone", commit.short()))
    }

    fn lacks_trees(&self, tip: ObjectId, path: &str) -> MergedAnswer {
        self.want_line(LineFetch::Line { tip, trees: true, whole: false });
        MergedAnswer::Unknown(format!("earlier versions of `{path}` are not in this shallow clone"))
    }

    /// A part of the history first, and all of it where that was not enough.
    fn want_line(&self, part: LineFetch) {
        let known = self.fetched.borrow().contains(&part);
        self.want(if known { part.whole() } else { part });
    }

    fn want(&self, fetch: LineFetch) {
        if self.remote.is_some() && !self.fetched.borrow().contains(&fetch) {
            debug!(?fetch, "history is missing");
            self.wanted.replace(Some(fetch));
        }
    }

    /// Notes that a resource waits for what is to be fetched.
    pub(crate) fn awaited_by(&self, key: &ResourceKey) {
        if self.wanted.borrow().is_some() {
            self.waiting.borrow_mut().insert(key.clone());
        }
    }

    /// Whether something is to be fetched.
    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.borrow().is_some()
    }

    /// Whether what is missing will probably be there in a moment.
    pub(crate) fn is_coming(&self) -> bool {
        self.is_wanted() && !self.failed.get()
    }

    /// What is to be fetched, and from where; then it counts as fetched.
    pub(crate) fn take_wanted(&self) -> Option<(LineFetch, Remote, PathBuf)> {
        let fetch = self.wanted.take()?;
        self.fetched.borrow_mut().insert(fetch);
        Some((fetch, self.remote.clone()?, self.cache.join("history.git")))
    }

    /// Takes in what was fetched. Who waited for it comes back.
    pub(crate) fn refresh(&self) -> BTreeSet<ResourceKey> {
        self.store.replace(Repo::open(&self.cache.join("history.git")).ok());
        self.failed.set(false);
        self.waiting.take()
    }

    /// What could not be fetched may be asked for once more.
    pub(crate) fn forget(&self, fetch: LineFetch) {
        self.fetched.borrow_mut().remove(&fetch);
        self.failed.set(true);
        self.waiting.take();
    }
}
