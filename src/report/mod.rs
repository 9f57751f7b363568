//! What people and programs see: text for terminals, tables, graphs, progress. Reads models and events;
//! never the engine, the repository, the environment or the clock.

pub mod age;
mod chart;
pub mod columns;
pub mod describe;
pub mod diagnostics;
pub mod graph;
pub mod history;
pub mod markdown;
pub mod object;
pub mod preview;
pub mod progress;
pub mod progress_comment;
pub mod style;
pub mod table;
pub mod text;
