//! PlanSpec: a Git-native GitOps reconciler. This is the map of the crate; `ARCHITECTURE.md` explains it.

pub mod change;
pub mod cli;
pub mod config;
pub mod diagnostic;
pub mod engine;
pub mod event;
pub mod git;
pub mod github;
pub mod graph;
pub mod index;
pub mod manifest;
pub mod markup;
pub mod model;
pub mod plan;
pub mod provider;
pub mod record;
pub mod report;
pub mod run;
