//! Where the two branches live: a local repository, or a remote that the local one mirrors. Knows how to find
//! their tips and how to move the status branch by compare-and-swap.

use crate::config::{CONFIG_FILE, Config};
use crate::diagnostic::{Diagnostic, Severity};
use crate::git::{Commit, GitError, ObjectId, Remote, Repo};
use crate::manifest;
use crate::record::is_status_commit;

use super::desired_branch::{
    BranchChoice, MAX_CONFIG_BYTES, ask_remote, check_names, in_the_way, recorded_branch, redirect,
    starting_branch,
};
use super::status_log::{StatusLog, newest_of, status_ref};
use super::{BranchError, EngineError};

/// Where the two branches live.
pub struct Branches {
    repo: Repo,
    remote: Option<Remote>,
    /// The branch, or a revision, at which the search for the desired branch begins.
    start: String,
    choice: BranchChoice,
    /// The branch to which the configuration at `start` pointed when it was last read here: fetched together with `start`,
    /// so that a redirect costs no round trip of its own.
    redirect: Option<String>,
    /// The branch that status commits record; absent where a remote says it.
    recorded: Option<String>,
    /// Whether a status branch that went back is taken as it is.
    accepts_history: bool,
}

/// The newest commits, and what the desired one says about configuration.
#[derive(Debug, Clone)]
pub struct BranchTips {
    /// The desired branch, or the revision that the user gave.
    pub branch: String,
    /// The desired commit.
    pub desired: Commit,
    /// The status commit, if there is a status branch.
    pub status: Option<ObjectId>,
    /// The desired commit that was in force before, where signatures are asked for and it is another one.
    pub replaces: Option<ObjectId>,
    /// The configuration.
    pub config: Config,
    /// The blob that holds it, if there is one.
    pub config_blob: Option<ObjectId>,
    /// Warnings about it.
    pub warnings: Vec<Diagnostic>,
}

impl Branches {
    /// The branches of a repository.
    ///
    /// # Errors
    /// Git; [`BranchError`] when there is no desired branch.
    pub fn open(repo: Repo, remote: Option<Remote>, choice: BranchChoice) -> Result<Self, EngineError> {
        let start = match &choice {
            BranchChoice::Given(name) => name.strip_prefix("refs/heads/").unwrap_or(name).to_owned(),
            // The event names it, which saves asking the remote.
            BranchChoice::HostDefault(name) => name.clone(),
            BranchChoice::Repository => starting_branch(&repo, remote.as_ref())?,
        };
        let recorded = match (&remote, &choice) {
            // A remote names its default branch itself, and a trailer would be wrong once that is renamed.
            (Some(_), _) => None,
            // One command with another branch changes nothing for the next one.
            (None, BranchChoice::Given(_)) => recorded_branch(&repo)?,
            (None, _) => Some(start.clone()),
        };
        let mut branches =
            Self { repo, remote, start, choice, redirect: None, recorded, accepts_history: false };
        branches.redirect = branches.known_redirect();
        Ok(branches)
    }

    /// The branch to which the newest configuration that is known here points.
    fn known_redirect(&self) -> Option<String> {
        // What a user names for one command is read as it is, whatever its configuration says.
        if self.is_given() {
            return None;
        }
        let branch = format!("refs/heads/{}", self.start);
        let name = match &self.remote {
            Some(remote) => remote.local_name(&branch).ok()?,
            None => branch,
        };
        // A hint for the next fetch, no more: what is wrong here is found and reported then.
        let tips = self.read(&self.start, self.repo.read_ref(&name).ok()??).ok()?;
        redirect(&tips.config, &self.start).map(str::to_owned)
    }

    /// Whether the user named the branch for this command.
    #[must_use]
    pub fn is_given(&self) -> bool {
        matches!(self.choice, BranchChoice::Given(_))
    }

    /// The branch that status commits record.
    #[must_use]
    pub fn recorded(&self) -> Option<&str> {
        self.recorded.as_deref()
    }

    /// The repository, which for a remote is its mirror.
    #[must_use]
    pub fn repo(&self) -> &Repo {
        &self.repo
    }

    /// The remote.
    #[must_use]
    pub fn remote(&self) -> Option<&Remote> {
        self.remote.as_ref()
    }

    /// The desired branch as far as it is known here, or the revision that the user gave.
    #[must_use]
    pub fn branch(&self) -> &str {
        self.redirect.as_deref().unwrap_or(&self.start)
    }

    /// Whether the desired commit is the tip of a branch, and not a revision that was given.
    #[must_use]
    pub fn follows_branch(&self) -> bool {
        let branch = format!("refs/heads/{}", self.start);
        self.remote.is_some() || matches!(self.repo.read_ref(&branch), Ok(Some(_)))
    }

    /// Takes a status branch that went back as it is, and records that.
    #[must_use]
    pub fn accepting_history(mut self, accepts: bool) -> Self {
        self.accepts_history = accepts;
        self
    }

    /// Whether a status branch that went back is taken as it is.
    pub(super) fn accepts_history(&self) -> bool {
        self.accepts_history
    }

    /// The newest commits as they are, whatever was seen before.
    pub(super) fn newest_tips(&self) -> Result<BranchTips, EngineError> {
        let Some(remote) = &self.remote else { return self.local_tips() };
        if let Some(tips) = self.remote_tips(remote, &self.start)? {
            return Ok(tips);
        }
        // The default branch that this clone remembers may have been renamed or deleted since.
        if self.choice == BranchChoice::Repository {
            let now = ask_remote(remote)?;
            if now != self.start
                && let Some(tips) = self.remote_tips(remote, &now)?
            {
                return Ok(tips);
            }
        }
        Err(self.nothing())
    }

    fn remote_tips(&self, remote: &Remote, start: &str) -> Result<Option<BranchTips>, EngineError> {
        // The configuration that names the status branch is only being fetched. With the default fetched
        // along, nearly everybody is spared a second round trip.
        let guess = Config::default();
        let status = status_ref(&guess);
        let head = |name: &str| format!("refs/heads/{name}");
        let (start_ref, redirect_ref) = (head(start), self.redirect.as_deref().map(head));
        let wanted = [Some(start_ref.as_str()), Some(status.as_str()), redirect_ref.as_deref()];
        let wanted: Vec<&str> = wanted.into_iter().flatten().collect();
        let fetched = remote.fetch_newest(&self.repo, &wanted, newest_of(&status))?;
        let tip = |index: usize| fetched.get(index).copied().flatten();
        let Some(desired) = tip(0) else { return Ok(None) };
        let tips = self.follow(self.read(start, desired)?, |named| {
            if self.redirect.as_deref() == Some(named) {
                return Ok(tip(2));
            }
            Ok(remote.fetch(&self.repo, &[&format!("refs/heads/{named}")])?.first().copied().flatten())
        })?;
        let status = if tips.config.status_branch == guess.status_branch {
            tip(1)
        } else {
            self.status_tip(&tips.config)?
        };
        self.checked(BranchTips { status, ..tips }).map(Some)
    }

    /// The commits that are known here, without asking a remote.
    ///
    /// # Errors
    /// As [`Self::tips`].
    pub fn known_tips(&self) -> Result<BranchTips, EngineError> {
        let Some(remote) = &self.remote else { return self.local_tips() };
        let known = remote.local_name(&format!("refs/heads/{}", self.branch()))?;
        // Nothing was fetched yet, so that the remote has to be asked once.
        let Some(desired) = self.repo.read_ref(&known)? else { return self.tips() };
        let mut tips = self.read(self.branch(), desired)?;
        tips.status = self.repo.read_ref(&remote.local_name(&status_ref(&tips.config))?)?;
        Ok(tips)
    }

    fn local_tips(&self) -> Result<BranchTips, EngineError> {
        let branch = format!("refs/heads/{}", self.start);
        let desired = match self.repo.read_ref(&branch) {
            Ok(Some(id)) => id,
            // Only what the user gives may be a revision: a missing branch must not be taken for a tag of its
            // name.
            _ if !self.is_given() => return Err(self.nothing()),
            _ => self.repo.resolve_commit(&self.start).map_err(|error| match error {
                GitError::UnknownRevision { .. } => self.nothing(),
                other => other.into(),
            })?,
        };
        let mut tips = self.follow(self.read(&self.start, desired)?, |named| {
            Ok(self.repo.read_ref(&format!("refs/heads/{named}"))?)
        })?;
        // After the redirect: the configuration in force names the status branch.
        tips.status = self.repo.read_ref(&status_ref(&tips.config))?;
        self.checked(tips)
    }

    /// The tips of the branch that the configuration names, where that is another one. The second branch has to agree, so
    /// that every runner ends at the same one wherever it begins.
    fn follow(
        &self,
        tips: BranchTips,
        tip_of: impl FnOnce(&str) -> Result<Option<ObjectId>, EngineError>,
    ) -> Result<BranchTips, EngineError> {
        if self.is_given() {
            return Ok(tips);
        }
        let Some(named) = redirect(&tips.config, &tips.branch) else { return Ok(tips) };
        let remote = self.remote.as_ref().map(|remote| remote.name().to_owned());
        let desired =
            tip_of(named)?.ok_or_else(|| BranchError::NotFound { branch: named.to_owned(), remote })?;
        let next = self.read(named, desired)?;
        match redirect(&next.config, named) {
            Some(other) => Err(BranchError::Circular {
                at: tips.branch,
                named: named.to_owned(),
                other: other.to_owned(),
            }
            .into()),
            None => Ok(next),
        }
    }

    /// Refuses a status branch as the desired one, and a status branch that Git could not make.
    fn checked(&self, mut tips: BranchTips) -> Result<BranchTips, EngineError> {
        check_names(&tips.branch, &tips.config, is_status_commit(&tips.desired))?;
        let status = tips.config.status_branch.as_str();
        // Git refuses to move a branch under its working tree for the same reason: every file would look changed.
        if self.remote.is_none()
            && self.repo.work_tree().is_some()
            && self.repo.head_branch()?.as_deref() == Some(status)
        {
            return Err(BranchError::StatusCheckedOut { branch: status.to_owned() }.into());
        }
        // Once the status branch exists, Git itself keeps other names out of its way.
        if tips.status.is_none() {
            let others = self.branches()?;
            if let Some(other) = in_the_way(&others, status) {
                return Err(
                    BranchError::Overlap { status: status.to_owned(), other: other.to_owned() }.into()
                );
            }
            // Another runner's first commit: the branch was not there when the tips were read, and is now.
            if others.iter().any(|other| other == status) {
                tips.status = self.status_tip(&tips.config)?;
            }
        }
        Ok(tips)
    }

    /// The branches that there are, without `refs/heads/`.
    fn branches(&self) -> Result<Vec<String>, GitError> {
        match &self.remote {
            Some(remote) => remote.branches(),
            None => self.repo.branches(),
        }
    }

    fn nothing(&self) -> EngineError {
        let remote = self.remote.as_ref().map(|remote| remote.name().to_owned());
        let branch = self.start.clone();
        // Where there are others, it was renamed or deleted, and a first commit is not what helps.
        let has_others = || self.branches().is_ok_and(|all| all.iter().any(|other| *other != branch));
        if self.is_given() || has_others() {
            return BranchError::NotFound { branch, remote }.into();
        }
        EngineError::NothingDesired { branch, remote }
    }

    /// The desired commit and its configuration; never that of a pull request's head.
    pub(super) fn read(&self, branch: &str, desired: ObjectId) -> Result<BranchTips, EngineError> {
        let desired = self.repo.commit(desired)?;
        // By tree path: a link of this name is refused, wherever it leads (Invariant 7).
        let config_blob = self.repo.file(desired.tree, CONFIG_FILE)?;
        let (mut config, warnings) = manifest::read_config(|name| {
            let blob = self.repo.file(desired.tree, name)?;
            blob.map(|blob| self.repo.blob(blob, MAX_CONFIG_BYTES)).transpose()
        })?;
        // Not quarantined as a manifest is: without its limits and its list of providers nothing else may be
        // read or run.
        if let Some(error) = warnings.iter().find(|found| found.severity == Severity::Error) {
            let place = error.location.span.map(|span| format!("line {}: ", span.line)).unwrap_or_default();
            let hint = error.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            let message = format!("{place}{}{hint}", error.message);
            return Err(EngineError::Config { commit: desired.id.short(), message });
        }
        self.read_keys(&desired, &mut config)?;
        let branch = branch.to_owned();
        Ok(BranchTips { branch, desired, status: None, replaces: None, config, config_blob, warnings })
    }

    /// The tip of the status branch now. On a remote this costs a request.
    ///
    /// # Errors
    /// Git.
    pub fn status_tip(&self, config: &Config) -> Result<Option<ObjectId>, EngineError> {
        let reference = status_ref(config);
        Ok(match &self.remote {
            Some(remote) => {
                let fetched = remote.fetch_newest(&self.repo, &[&reference], newest_of(&reference))?;
                fetched.first().copied().flatten()
            }
            None => self.repo.read_ref(&reference)?,
        })
    }

    /// The commits of the status branch from this one back.
    pub(super) fn status_log(&self, config: &Config, from: ObjectId) -> StatusLog<'_> {
        StatusLog::new(&self.repo, self.remote.as_ref(), config, from)
    }

    /// Brings the whole history of the status branch here, for whoever cannot do with the newest commits.
    pub(super) fn complete_status(&self, config: &Config, tip: ObjectId) -> Result<(), EngineError> {
        // A complete clone has it, and need not be walked to its root for this.
        if !self.repo.is_shallow() {
            return Ok(());
        }
        self.status_log(config, tip).try_for_each(|commit| commit.map(drop))
    }

    /// A second handle on the same branches, for another thread.
    ///
    /// # Errors
    /// Git.
    pub fn reopen(&self) -> Result<Self, EngineError> {
        let repo = self.repo.reopen()?;
        let remote = self.remote.clone();
        Ok(Self {
            repo,
            remote,
            start: self.start.clone(),
            choice: self.choice.clone(),
            redirect: self.redirect.clone(),
            recorded: self.recorded.clone(),
            accepts_history: self.accepts_history,
        })
    }
}
