//! GitHub: the host as `host` knows it, by its API, and its own things beside that (workflows). The only user of octocrab; knows
//! nothing of plans or executions.

mod activity;
mod client;
mod comments;
mod commits;
mod git_host;
mod issues;
mod mutations;
mod pacer;
mod people;
mod protection;
mod pulls;
mod retry;
mod wire;
mod workflows;

pub(crate) use client::{Access, GitHub};
pub(crate) use workflows::{WorkflowArtifact, WorkflowRun};

#[cfg(test)]
pub(crate) mod judged;
#[cfg(test)]
mod tests;
