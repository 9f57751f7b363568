//! What people and programs see: text for terminals, tables, graphs, progress. Reads models and events;
//! never the engine, the repository, the environment or the clock.

pub(crate) mod age;
mod chart;
pub(crate) mod columns;
pub(crate) mod custom_columns;
pub(crate) mod describe;
pub(crate) mod desired_issue;
pub(crate) mod diagnostics;
pub(crate) mod graph;
pub(crate) mod history;
pub(crate) mod jsonpath;
pub(crate) mod markdown;
pub(crate) mod object;
pub(crate) mod preview;
pub(crate) mod progress;
pub(crate) mod progress_comment;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod text;
