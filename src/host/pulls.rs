//! Pull requests and their reviews: what other hosts call merge requests or change requests.

use super::Account;

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PullRequest {
    /// Its number in the repository.
    pub(crate) number: u64,
    /// The host's own name for it, where it has another one than the number; read by the host alone.
    pub(crate) handle: String,
    /// Whether it is open: neither closed nor merged.
    pub(crate) is_open: bool,
    /// Whether it cannot be merged before somebody says that it is ready.
    pub(crate) draft: bool,
    /// When it was merged, if it was.
    pub(crate) merged_at: Option<String>,
    /// Its author.
    pub(crate) user: Option<Account>,
    /// Who merged it; a list of pull requests need not say it.
    pub(crate) merged_by: Option<Account>,
    /// How many commits it has; likewise.
    pub(crate) commits: Option<usize>,
    /// What is to be merged.
    pub(crate) head: PullRequestSide,
    /// Into what.
    pub(crate) base: PullRequestSide,
    /// The commit that merging made, or a trial of the host.
    pub(crate) merge_commit: Option<String>,
    /// Where to read it.
    pub(crate) url: String,
    /// The title.
    pub(crate) title: String,
    /// The text.
    pub(crate) body: Option<String>,
    /// Whether somebody asked the host to merge it by itself.
    pub(crate) auto_merge: bool,
    /// What stands in the way of a merge, as far as the host says; it may work that out in the background.
    pub(crate) obstacle: Option<MergeObstacle>,
}

/// One side of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PullRequestSide {
    /// The branch.
    pub(crate) branch: String,
    /// The commit.
    pub(crate) sha: String,
    /// The repository, as `OWNER/NAME`; none when it is gone.
    pub(crate) repo: Option<String>,
}

/// What stands in the way of a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MergeObstacle {
    /// It conflicts with its base.
    Conflict,
    /// A rule of the base: a check or an approval is missing.
    Rule,
    /// The base takes only branches that are up to date.
    Behind,
    /// It is a draft.
    Draft,
}

impl PullRequest {
    /// Whether the head lies in another repository than the base.
    #[must_use]
    pub(crate) fn is_from_fork(&self) -> bool {
        // Hosts take names that differ in case alone for the same.
        let name = |side: &PullRequestSide| side.repo.as_ref().map(|repo| repo.to_lowercase());
        match (name(&self.head), name(&self.base)) {
            (Some(head), Some(base)) => head != base,
            // A repository that is gone was not planspec's.
            _ => true,
        }
    }

    /// Whether it was closed without being merged.
    #[must_use]
    pub(crate) fn is_rejected(&self) -> bool {
        !self.is_open && self.merged_at.is_none()
    }
}

/// A pull request that is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NewPullRequest {
    /// The title.
    pub(crate) title: String,
    /// The text.
    pub(crate) body: String,
    /// The branch that is to be merged.
    pub(crate) head: String,
    /// The branch into which it is to be merged.
    pub(crate) base: String,
    /// Whether it cannot be merged before somebody says that it is ready.
    pub(crate) draft: bool,
}

/// What is to change of a pull request. What is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PullRequestChange {
    /// The title.
    pub(crate) title: Option<String>,
    /// The text.
    pub(crate) body: Option<String>,
    /// Whether it is open.
    pub(crate) open: Option<bool>,
}

/// A review of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PullRequestReview {
    /// Its number.
    pub(crate) id: u64,
    /// Who wrote it.
    pub(crate) user: Option<Account>,
    /// What it says.
    pub(crate) verdict: ReviewVerdict,
    /// The commit that was reviewed.
    pub(crate) commit: Option<String>,
    /// When it was submitted; absent while it is not.
    pub(crate) submitted_at: Option<String>,
    /// What the reviewer wrote.
    pub(crate) body: Option<String>,
}

/// What a review says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReviewVerdict {
    /// Yes.
    Approved,
    /// No, not so.
    ChangesRequested,
    /// An answer that was taken back, or that a person with more rights put aside.
    Dismissed,
    /// Neither: a comment, or one that is not submitted yet.
    Comment,
    /// A word that is unknown here. It approves nothing, and takes no request for changes back.
    Unknown,
}

/// How a pull request is merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString)]
#[strum(ascii_case_insensitive)]
pub(crate) enum MergeMethod {
    /// By a merge commit.
    Merge,
    /// As one commit.
    Squash,
    /// Commit by commit.
    Rebase,
}
