//! Where the two branches live: a local repository, or a remote that the local one mirrors. Knows how to find
//! their tips and how to move the status branch by compare-and-swap.

use crate::config::{CONFIG_FILE, Config};
use crate::diagnostic::{Diagnostic, Severity};
use crate::git::{Commit, GitError, ObjectId, Remote, Repo, SwapResult};
use crate::manifest;

use super::EngineError;

/// The largest `.planspec.yaml`, in bytes.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Where the two branches live.
pub struct Branches {
    repo: Repo,
    remote: Option<Remote>,
    branch: String,
}

/// The newest commits, and what the desired one says about configuration.
#[derive(Debug, Clone)]
pub struct BranchTips {
    /// The desired commit.
    pub desired: Commit,
    /// The status commit, if there is a status branch.
    pub status: Option<ObjectId>,
    /// The configuration.
    pub config: Config,
    /// The blob that holds it, if there is one.
    pub config_blob: Option<ObjectId>,
    /// Whether the branches live on a remote.
    pub remote: bool,
    /// Warnings about it.
    pub warnings: Vec<Diagnostic>,
}

impl Branches {
    /// The branches of a repository. `branch` is the desired branch, or any revision where there is no remote; the
    /// branch of HEAD when absent.
    ///
    /// # Errors
    /// HEAD is detached and no branch is named.
    pub fn open(repo: Repo, remote: Option<Remote>, branch: Option<&str>) -> Result<Self, EngineError> {
        let branch = match branch {
            Some(branch) => branch.strip_prefix("refs/heads/").unwrap_or(branch).to_owned(),
            None => match (repo.head_branch()?, &remote) {
                (Some(branch), _) => branch,
                // A CI job checks out a commit, not a branch; then the remote's own default is meant.
                (None, Some(remote)) => remote.default_branch()?.ok_or(EngineError::NoBranch)?,
                (None, None) => "HEAD".to_owned(),
            },
        };
        Ok(Self { repo, remote, branch })
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

    /// The desired branch, or another revision.
    #[must_use]
    pub fn branch(&self) -> &str {
        &self.branch
    }

    /// Whether the desired commit is the tip of a branch, and not one that was named or is checked out.
    #[must_use]
    pub fn follows_branch(&self) -> bool {
        let branch = format!("refs/heads/{}", self.branch);
        self.remote.is_some() || matches!(self.repo.read_ref(&branch), Ok(Some(_)))
    }

    /// The newest commits. With a remote they are fetched: a pass takes what the remote has, not what a CI job happened
    /// to check out (Invariant 13).
    ///
    /// # Errors
    /// Git; no commit; an invalid configuration.
    pub fn tips(&self) -> Result<BranchTips, EngineError> {
        let Some(remote) = &self.remote else { return self.local_tips() };
        let guess = Config::default().status_branch;
        let heads = [format!("refs/heads/{}", self.branch), format!("refs/heads/{guess}")];
        let fetched = remote.fetch(&self.repo, &[heads[0].as_str(), heads[1].as_str()])?;
        let desired = fetched.first().copied().flatten().ok_or_else(|| self.nothing())?;
        let mut tips = self.read(desired)?;
        tips.status = if tips.config.status_branch == guess {
            fetched.get(1).copied().flatten()
        } else {
            remote.fetch(&self.repo, &[&status_ref(&tips.config)])?.first().copied().flatten()
        };
        Ok(tips)
    }

    /// The commits that are known here, without asking a remote.
    ///
    /// # Errors
    /// As [`Self::tips`].
    pub fn known_tips(&self) -> Result<BranchTips, EngineError> {
        let Some(remote) = &self.remote else { return self.local_tips() };
        let known = remote.local_name(&format!("refs/heads/{}", self.branch))?;
        let Some(desired) = self.repo.read_ref(&known)? else { return self.tips() };
        let mut tips = self.read(desired)?;
        tips.status = self.repo.read_ref(&remote.local_name(&status_ref(&tips.config))?)?;
        Ok(tips)
    }

    fn local_tips(&self) -> Result<BranchTips, EngineError> {
        let branch = format!("refs/heads/{}", self.branch);
        let desired = match self.repo.read_ref(&branch) {
            Ok(Some(id)) => id,
            _ => self.repo.resolve_commit(&self.branch).map_err(|error| match error {
                GitError::UnknownRevision { .. } => self.nothing(),
                other => other.into(),
            })?,
        };
        let mut tips = self.read(desired)?;
        tips.status = self.repo.read_ref(&status_ref(&tips.config))?;
        Ok(tips)
    }

    fn nothing(&self) -> EngineError {
        let remote = self.remote.as_ref().map(|remote| remote.name().to_owned());
        EngineError::NothingDesired { branch: self.branch.clone(), remote }
    }

    /// The desired commit and its configuration; never that of a pull request's head.
    fn read(&self, desired: ObjectId) -> Result<BranchTips, EngineError> {
        let desired = self.repo.commit(desired)?;
        let config_blob = self.repo.file(desired.tree, CONFIG_FILE)?;
        let mut config = Config::default();
        let mut warnings = Vec::new();
        if let Some(blob) = config_blob {
            let bytes = self.repo.blob(blob, MAX_CONFIG_BYTES)?;
            (config, warnings) = manifest::load_config(&bytes);
            if let Some(error) = warnings.iter().find(|found| found.severity == Severity::Error) {
                let place =
                    error.location.span.map(|span| format!("line {}: ", span.line)).unwrap_or_default();
                let message = format!("{place}{}", error.message);
                return Err(EngineError::Config { commit: desired.id.short(), message });
            }
        }
        let remote = self.remote.is_some();
        Ok(BranchTips { desired, status: None, config, config_blob, remote, warnings })
    }

    /// The tip of the status branch now. On a remote this costs a request.
    ///
    /// # Errors
    /// Git.
    pub fn status_tip(&self, config: &Config) -> Result<Option<ObjectId>, EngineError> {
        let reference = status_ref(config);
        Ok(match &self.remote {
            Some(remote) => remote.fetch(&self.repo, &[&reference])?.first().copied().flatten(),
            None => self.repo.read_ref(&reference)?,
        })
    }

    /// Moves the status branch from `base` to `new`, if it still is at `base` (Invariant 3).
    ///
    /// # Errors
    /// Git.
    pub fn publish(
        &self,
        config: &Config,
        base: Option<ObjectId>,
        new: ObjectId,
        why: &str,
    ) -> Result<SwapResult, EngineError> {
        let reference = status_ref(config);
        Ok(match &self.remote {
            Some(remote) => remote.push(&self.repo, &reference, base, new)?,
            None => self.repo.swap_ref(&reference, base, Some(new), why)?,
        })
    }

    /// A second handle on the same branches, for another thread.
    ///
    /// # Errors
    /// Git.
    pub fn reopen(&self) -> Result<Self, EngineError> {
        let repo = self.repo.reopen()?;
        let remote = self.remote.clone();
        Ok(Self { repo, remote, branch: self.branch.clone() })
    }
}

/// The full name of the status branch.
#[must_use]
pub fn status_ref(config: &Config) -> String {
    format!("refs/heads/{}", config.status_branch)
}
