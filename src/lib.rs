//! PlanSpec: a Git-native GitOps reconciler. This is the map of the crate; `ARCHITECTURE.md` explains it.

mod change;
pub mod cli;
pub mod config;
mod diagnostic;
pub mod engine;
pub mod event;
pub mod git;
mod github;
mod graph;
mod host;
pub mod index;
pub mod manifest;
mod markup;
pub mod model;
mod plan;
pub mod provider;
pub mod record;
mod report;
mod run;
pub mod stamp;
