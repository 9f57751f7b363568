//! The API of the Git host. The only user of octocrab; knows nothing of plans or executions.

mod checks;
mod client;
mod comments;
mod error;
mod issues;
mod names;
mod pace;
mod people;
mod pulls;
mod statuses;
mod verdict;
mod workflows;

pub use checks::{Annotation, Check, CheckRun, Level};
pub use client::{Access, GitHub};
pub use comments::{Comment, Reaction, Written};
pub use error::GitHubError;
pub use issues::{Issue, IssueChange, NewIssue};
pub use names::RepoName;
pub use people::{Account, Myself, Permission};
pub use pulls::{ChangedFile, PullRequest, Review, Side};
pub use statuses::CommitState;
pub use workflows::{Artifact, Run};

#[cfg(test)]
pub(crate) mod judged;
#[cfg(test)]
mod tests;
