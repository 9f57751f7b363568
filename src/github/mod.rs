//! The API of the Git host. The only user of octocrab; knows nothing of plans or executions.

mod activity;
mod client;
mod comments;
mod commits;
mod error;
mod issues;
mod mutations;
mod names;
mod pacer;
mod people;
mod protection;
mod pulls;
mod retry;
mod workflows;

pub(crate) use activity::ReplacedTip;
pub(crate) use client::{Access, GitHub};
pub(crate) use comments::{Comment, CommentUpdate, FOOT, Reaction};
pub(crate) use commits::{Contributor, HostCommit};
pub(crate) use error::GitHubError;
pub(crate) use issues::{Issue, IssueChange, NewIssue};
pub(crate) use mutations::MergeMethod;
pub(crate) use names::RepoName;
pub(crate) use people::{Account, RepoPermission, TokenIdentity};
pub(crate) use protection::{HostBranch, PushRule};
pub(crate) use pulls::{NewPullRequest, PullRequest, PullRequestChange};
pub(crate) use workflows::{WorkflowArtifact, WorkflowRun};

#[cfg(test)]
pub(crate) mod judged;
#[cfg(test)]
mod tests;
