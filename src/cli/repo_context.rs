//! Which repository a command works on, and which commits count as desired state and as status.

use std::cell::{Cell, OnceCell};
use std::path::{Path, PathBuf};
use std::slice;

use crate::cli::Context;
use crate::cli::error::CliError;
use crate::config::{Config, Environment};
use crate::diagnostic::{Diagnostic, Severity};
use crate::engine::{
    BranchChoice, BranchError, Branches, EngineError, StatusLog, newest_of, redirect, starting_branch,
    status_ref,
};
use crate::git::{GitError, ObjectId, Remote, RemoteOptions, Repo, Signature, SigningKey};
use crate::manifest;
use crate::model::Digest;
use crate::record::StatusTree;
use crate::report::text;

/// The value of `--remote` that means this repository's own branches.
const NO_REMOTE: &str = ".";

/// A repository, and the remote whose branches count, when there is one.
pub(crate) struct RepoContext {
    /// The user's own, or a bare clone in the cache for a URL.
    pub(crate) repo: Repo,
    /// The remote whose branches count; without one, the local branches do.
    pub(crate) remote: Option<Remote>,
    /// The directory that relative paths are relative to.
    pub(crate) here: PathBuf,
    choice: BranchChoice,
    /// A change whose configuration counts where the one at a commit is not valid.
    repair: Option<Repair>,
    /// The desired branch, as far as it is known here; asked for once.
    branch: OnceCell<String>,
    /// Whether it was said that the remote cannot be reached.
    warned: Cell<bool>,
}

/// The commits that a command reads.
pub(crate) struct SelectedCommits {
    /// The desired commit; absent while the branch has none.
    pub(crate) desired: Option<ObjectId>,
    /// The tip of the status branch; absent before the first reconcile.
    pub(crate) status: Option<ObjectId>,
    /// The configuration at the desired commit.
    pub(crate) config: Config,
}

/// Where a change is that may repair a configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Repair {
    /// In a commit.
    Commit(ObjectId),
    /// In the files of the working tree.
    WorkingTree,
}

impl RepoContext {
    /// Opens the repository that the global options name.
    pub(crate) fn open(context: &Context) -> Result<Self, CliError> {
        let here = here(context)?;
        let options = &context.options;
        let (repo, url) = match &options.repo {
            Some(place) => open_place(place, &here, &context.environment)?,
            None => (Repo::discover(&here)?, None),
        };
        let repo = identified(repo, &context.environment);
        // A clone in the cache follows the address that the user named.
        let wanted = options.remote.as_deref().or(url.as_deref());
        let remote = match wanted {
            // As in `git fetch .`, the dot is the repository itself.
            Some(NO_REMOTE) => None,
            wanted => match repo.default_remote(wanted)? {
                Some(name) => Some(Remote::open(&repo, &name, RemoteOptions::default())?),
                None => None,
            },
        };
        tracing::debug!(
            repository = %repo.common_dir().display(),
            remote = remote.as_ref().map_or("none", Remote::name),
            "opened the repository"
        );
        let choice = match (&options.reference, &options.host_default) {
            (Some(name), _) => BranchChoice::Given(name.clone()),
            (None, Some(name)) => BranchChoice::HostDefault(name.clone()),
            (None, None) => BranchChoice::Repository,
        };
        let branch = OnceCell::new();
        let warned = Cell::new(false);
        Ok(Self { repo, remote, here, choice, repair: None, branch, warned })
    }

    /// The same, for a change that may repair a configuration: where the one at a commit is not valid, that of the change counts.
    /// Otherwise the check of the change that repairs it could never pass.
    pub(crate) fn repaired_by(mut self, change: Repair) -> Self {
        self.repair = Some(change);
        self
    }

    /// Both branches, for the engine. With `--ref`, and where another branch is checked out, the user is told which branch is
    /// read: nothing else on the screen would show it.
    pub(crate) fn branches(self, context: &mut Context) -> Result<Branches, CliError> {
        let head = self.repo.head_branch()?;
        let branches = Branches::open(self.repo, self.remote, self.choice)?;
        let read = branches.branch();
        if branches.is_given() {
            let desired = starting_branch(branches.repo(), branches.remote()).ok();
            if let Some(desired) = desired.filter(|desired| desired != read) {
                let warning = format!("--ref: reading `{read}` instead of the desired branch `{desired}`");
                context.out.warning(text::line(&warning))?;
            }
        } else if head.as_deref() != Some(read) {
            let place = branches.remote().map(|remote| format!(" of {}", remote.name())).unwrap_or_default();
            let instead =
                head.map(|head| format!(", not the checked-out branch `{head}`")).unwrap_or_default();
            context.out.note(text::line(&format!("reading branch `{read}`{place}{instead}")))?;
        }
        tracing::debug!(branch = read, given = branches.is_given(), "found the desired branch");
        Ok(branches)
    }

    /// The same, without a word: beside what the command reads and has spoken of.
    pub(crate) fn branches_beside(self) -> Result<Branches, CliError> {
        Ok(Branches::open(self.repo, self.remote, self.choice)?)
    }

    /// The branch that holds the desired state: `--ref`, else what the repository, its remote and the configuration say.
    pub(crate) fn branch(&self) -> Result<String, CliError> {
        if let Some(branch) = self.branch.get() {
            return Ok(branch.clone());
        }
        let start = match &self.choice {
            BranchChoice::Given(name) => name.strip_prefix("refs/heads/").unwrap_or(name).to_owned(),
            BranchChoice::HostDefault(name) => name.clone(),
            BranchChoice::Repository => match starting_branch(&self.repo, self.remote.as_ref()) {
                Ok(start) => start,
                // Nothing is known of a remote that is empty or out of reach, and nothing of it can be run by mistake: what
                // is here can be read, and committed to. A reconcile asks the remote itself.
                Err(EngineError::Git(_) | EngineError::Branch(BranchError::Empty { .. })) => {
                    self.repo.head_branch()?.ok_or(BranchError::Detached)?
                }
                Err(error) => return Err(error.into()),
            },
        };
        let branch = self.redirected(start)?;
        let _ = self.branch.set(branch.clone());
        Ok(branch)
    }

    /// The branch to which the configuration that is known here points.
    fn redirected(&self, start: String) -> Result<String, CliError> {
        // `--ref` overrides the configuration for this command.
        if matches!(self.choice, BranchChoice::Given(_)) {
            return Ok(start);
        }
        let known = match &self.remote {
            Some(remote) => self.repo.read_ref(&remote.local_name(&full(&start))?)?,
            None => self.repo.read_ref(&full(&start))?,
        };
        let config = self.config_at(known)?;
        Ok(redirect(&config, &start).map(str::to_owned).unwrap_or(start))
    }

    /// The commits to read. With a remote, its branches are fetched first; where it cannot be reached, what
    /// was fetched last is used, with a warning.
    pub(crate) fn tips(&self, context: &mut Context) -> Result<SelectedCommits, CliError> {
        let tips = self.known_tips(context)?;
        match &self.choice {
            // Neither here nor on the remote: an empty answer would pass for an empty branch.
            BranchChoice::Given(name) if tips.desired.is_none() => {
                Err(GitError::UnknownRevision { revision: name.clone() }.into())
            }
            _ => Ok(tips),
        }
    }

    fn known_tips(&self, context: &mut Context) -> Result<SelectedCommits, CliError> {
        let Some(remote) = &self.remote else {
            let local = self.local_desired()?;
            let config = self.config_at(local)?;
            let status = self.repo.read_ref(&full(&config.status_branch))?;
            return Ok(SelectedCommits { desired: local, status, config });
        };
        let tips = self.remote_tips(remote, context)?;
        // The configuration that was fetched may name another branch than the one that was known here.
        let branch = self.branch()?;
        match redirect(&tips.config, &branch) {
            Some(named) if !matches!(self.choice, BranchChoice::Given(_)) => {
                let named = named.to_owned();
                let theirs = self.fetch(remote, &[full(&named)], None, context)?.first().copied().flatten();
                let desired = theirs.ok_or_else(|| {
                    CliError::environment(format!("there is no branch `{named}` on `{}`", remote.name()))
                        .hint("`desiredBranch` in .planspec.yaml names it")
                })?;
                Ok(SelectedCommits { desired: Some(desired), config: self.config_at(Some(desired))?, ..tips })
            }
            _ => Ok(tips),
        }
    }

    /// The desired branch as the configuration says now; with a remote it is asked.
    pub(crate) fn current_branch(&self, context: &mut Context) -> Result<String, CliError> {
        let branch = self.branch()?;
        let Some(remote) = &self.remote else { return Ok(branch) };
        let tips = self.remote_tips(remote, context)?;
        Ok(redirect(&tips.config, &branch).map(str::to_owned).unwrap_or(branch))
    }

    fn remote_tips(&self, remote: &Remote, context: &mut Context) -> Result<SelectedCommits, CliError> {
        let local = self.local_desired()?;
        let branch = self.remote_branch()?;
        // One fetch brings both branches in the usual case. Only where the fetched configuration names
        // another status branch, a second one follows.
        let guess = self.config_at(local)?.status_branch;
        let wanted = branch.iter().chain([&guess]).map(|name| full(name)).collect::<Vec<_>>();
        let found = self.fetch(remote, &wanted, Some(&full(&guess)), context)?;
        let theirs = branch.as_ref().and_then(|_| found.first().copied().flatten());
        let desired = self.newer(local, theirs)?;
        let config = self.config_at(desired)?;
        let status = if config.status_branch == guess {
            found.last().copied().flatten()
        } else {
            let status = status_ref(&config);
            let found = self.fetch(remote, slice::from_ref(&status), Some(&status), context)?;
            found.first().copied().flatten()
        };
        tracing::debug!(?desired, ?status, status_branch = %config.status_branch, "read branch tips");
        Ok(SelectedCommits { desired, status, config })
    }

    /// The desired commit as this repository has it.
    pub(crate) fn local_desired(&self) -> Result<Option<ObjectId>, CliError> {
        let BranchChoice::Given(name) = &self.choice else {
            return Ok(self.repo.read_ref(&full(&self.branch()?))?);
        };
        match self.repo.resolve_commit(name) {
            Ok(id) => Ok(Some(id)),
            // A branch that only the remote has.
            Err(GitError::UnknownRevision { .. }) if self.remote.is_some() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The branch to fetch from the remote; none when the user named a commit that is no branch.
    fn remote_branch(&self) -> Result<Option<String>, CliError> {
        let branch = self.branch()?;
        let BranchChoice::Given(name) = &self.choice else { return Ok(Some(branch)) };
        let is_commit =
            self.repo.resolve_commit(name).is_ok() && self.repo.read_ref(&full(&branch))?.is_none();
        Ok((!is_commit).then_some(branch))
    }

    /// The remote's commit, unless the local branch holds it and goes further: then the local one, so that
    /// what was just committed is seen before it is pushed.
    fn newer(&self, local: Option<ObjectId>, theirs: Option<ObjectId>) -> Result<Option<ObjectId>, CliError> {
        let (Some(ours), Some(remote)) = (local, theirs) else { return Ok(theirs.or(local)) };
        // What a shallow clone cannot know counts as no: the remote's branch is the one that a reconcile
        // takes (Invariant 13).
        let ahead = self.repo.is_ancestor(remote, ours)? == Some(true);
        Ok(Some(if ahead { ours } else { remote }))
    }

    /// The commits of the status branch from this one back.
    pub(crate) fn status_log(&self, config: &Config, from: ObjectId) -> StatusLog<'_> {
        // Not once more during an outage.
        let remote = self.remote.as_ref().filter(|_| !self.warned.get());
        StatusLog::new(&self.repo, remote, config, from)
    }

    /// Fetches references; of the status branch, where it is among them, a new shallow clone gets the newest commits.
    fn fetch(
        &self,
        remote: &Remote,
        wanted: &[String],
        status: Option<&str>,
        context: &mut Context,
    ) -> Result<Vec<Option<ObjectId>>, CliError> {
        let names: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let fetched = match status {
            Some(status) => remote.fetch_newest(&self.repo, &names, newest_of(status)),
            None => remote.fetch(&self.repo, &names),
        };
        match fetched {
            Ok(found) => {
                self.warned.set(false);
                Ok(found)
            }
            Err(error) => {
                // Reading continues with what is here. What writes fetches for itself, and fails there.
                let why = CliError::from(error);
                let warning = format!("{why}; showing what was fetched last");
                // Once for an outage: `wait` and `watch` ask every few seconds.
                if !self.warned.replace(true) {
                    context.out.warning(text::line(&warning))?;
                }
                let last = |name: &str| Ok(self.repo.read_ref(&remote.local_name(name)?)?);
                names.into_iter().map(last).collect()
            }
        }
    }

    /// The configuration at a commit; the defaults where there is none.
    pub(crate) fn config_at(&self, commit: Option<ObjectId>) -> Result<Config, CliError> {
        let Some(commit) = commit else { return Ok(Config::default()) };
        let found = self.config_of(commit);
        let Some(change) = self.repair.filter(|_| found.is_err()) else { return found };
        let repaired = match (change, self.repo.work_tree()) {
            (Repair::Commit(change), _) => self.config_of(change),
            (Repair::WorkingTree, Some(root)) => config_here(root),
            (Repair::WorkingTree, None) => return found,
        };
        // Where the change is no better, what is wrong with the commit itself is said.
        repaired.or(found)
    }

    fn config_of(&self, commit: ObjectId) -> Result<Config, CliError> {
        let tree = self.repo.commit(commit)?.tree;
        // The limit for reading is configured in this very file.
        let most = Config::default().limits.file_bytes;
        checked_config(manifest::read_config(|name| {
            let blob = self.repo.file(tree, name)?;
            blob.map(|blob| self.repo.blob(blob, most)).transpose()
        })?)
    }

    /// The status tree at its tip.
    pub(crate) fn status(&self, tips: &SelectedCommits) -> Result<StatusTree, CliError> {
        Ok(StatusTree::at(&self.repo, tips.status)?)
    }
}

/// The directory that the command starts in.
pub(crate) fn here(context: &Context) -> Result<PathBuf, CliError> {
    let start = match &context.options.directory {
        Some(directory) => std::path::absolute(directory),
        None => std::env::current_dir(),
    };
    let start = start.map_err(|error| CliError::caused("cannot find the working directory", &error))?;
    if start.is_dir() {
        return Ok(start);
    }
    Err(CliError::environment(format!("there is no directory {}", start.display())))
}

/// A repository by path or by URL. A URL is cloned into the cache, or fetched again.
fn open_place(
    place: &str,
    here: &Path,
    environment: &Environment,
) -> Result<(Repo, Option<String>), CliError> {
    let path = here.join(place);
    // First as a path: a folder may have a colon in its name.
    if path.exists() {
        return Ok((Repo::discover(&path)?, None));
    }
    // `host:path` is an address for SSH.
    if !place.contains("://") && !place.contains(':') {
        return Err(CliError::environment(format!("there is no repository at {place}")));
    }
    let cache = environment.cache_home().ok_or_else(|| {
        CliError::environment("no cache directory for a clone of that repository")
            .hint("set HOME or XDG_CACHE_HOME, or clone it yourself")
    })?;
    // A digest, because an address may hold a password and characters that no file name takes.
    let name: String = Digest::of_bytes(place.as_bytes()).as_str().chars().skip(7).take(20).collect();
    let repo = Remote::clone_bare(place, &cache.join("repositories").join(name), RemoteOptions::default())?;
    Ok((repo, Some(place.to_owned())))
}

/// The variables that hold configuration of Git, or say where it is.
const GIT_CONFIGURED: [&str; 4] =
    ["GIT_CONFIG_COUNT", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_PARAMETERS"];

/// The repository, with the key to sign with, and the author that `GIT_AUTHOR_*` names in part or in whole.
pub(crate) fn identified(repo: Repo, environment: &Environment) -> Repo {
    let repo = repo.with_signing_key(environment.override_for("SIGNING_KEY").map(SigningKey::parse));
    let by_environment = GIT_CONFIGURED.iter().any(|name| environment.os(name).is_some());
    // Only the program knows configuration that comes by the environment; it is asked where there is some.
    let configured = |name| repo.configured(&[name]).ok().flatten();
    let mut wanted = environment.author();
    if by_environment {
        wanted.name = wanted.name.or_else(|| configured("user.name"));
        wanted.email = wanted.email.or_else(|| configured("user.email"));
    }
    if wanted.name.is_none() && wanted.email.is_none() {
        return repo;
    }
    // Git fills the half that the environment leaves out from its configuration, and so does this.
    let configured = repo.identity().ok();
    let name = wanted.name.or_else(|| configured.as_ref().map(|person| person.name.clone()));
    let email = wanted.email.or_else(|| configured.map(|person| person.email));
    match (name, email) {
        (Some(name), Some(email)) => repo.with_identity(Some(Signature { name, email })),
        _ => repo,
    }
}

/// The full name of a branch.
pub(crate) fn full(branch: &str) -> String {
    format!("refs/heads/{branch}")
}

/// The configuration in a working tree, committed or not.
pub(crate) fn config_here(root: &Path) -> Result<Config, CliError> {
    checked_config(manifest::read_config(|name| match std::fs::read(root.join(name)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        // By the defaults, the repository would look better than it is.
        Err(error) => Err(CliError::caused(&format!("cannot read {name}"), &error)),
    })?)
}

/// The configuration, if nothing is wrong with it: everything else follows from it.
pub(crate) fn checked_config((config, diagnostics): (Config, Vec<Diagnostic>)) -> Result<Config, CliError> {
    let mut errors = diagnostics.iter().filter(|found| found.severity == Severity::Error);
    let Some(first) = errors.next() else { return Ok(config) };
    let line = first.location.span.map(|span| format!(":{}:{}", span.line, span.column)).unwrap_or_default();
    let error = CliError::no(format!("{}{line}: {}", first.location.path, first.message));
    Err(first.hint.iter().fold(error, |error, hint| error.hint(hint.clone())))
}
