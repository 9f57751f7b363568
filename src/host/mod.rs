//! The Git host as the rest of the crate sees it: what it has (pull requests, issues, comments, accounts, branches), and the trait
//! that each host implements in a folder of its own. Knows nothing of plans or executions, and nothing of one host.

mod branches;
mod comments;
mod error;
mod git_host;
mod issues;
mod kept_comment;
#[cfg(test)]
pub(crate) mod memory;
mod names;
mod people;
mod pulls;

pub(crate) use error::HostError;
pub(crate) use names::RepoName;

pub(crate) use branches::{HostBranch, PushRule, ReplacedTip, ReplacedTips};
pub(crate) use comments::{Comment, CommentUpdate, Reaction};
pub(crate) use git_host::{GitHost, HostConnection, HostFuture};
pub(crate) use issues::{Issue, IssueChange, IssueEnd, NewIssue};
pub(crate) use kept_comment::FOOT;
pub(crate) use names::shown;
pub(crate) use people::{Account, Contributor, HostCommit, RepoPermission, TokenIdentity};
pub(crate) use pulls::{
    MergeMethod, MergeObstacle, NewPullRequest, PullRequest, PullRequestChange, PullRequestReview,
    PullRequestSide, ReviewVerdict,
};
