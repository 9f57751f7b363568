//! What a pass did, gathered from its events.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::engine::ReconcileSummary;
use crate::event::Event;
use crate::markup::markdown;
use crate::model::{NodeId, ResourceKey};

/// The most lines of a timeline.
const TIMELINE: usize = 500;

/// What a pass did.
#[derive(Default)]
pub(crate) struct PassReport {
    pub(crate) summary: ReconcileSummary,
    /// Executions that something happened to.
    pub(crate) changed: BTreeSet<ResourceKey>,
    /// These, and those that wait.
    pub(crate) touched: BTreeSet<ResourceKey>,
    /// What happened, as rows of a Markdown table.
    pub(crate) timeline: Vec<String>,
    /// How many rows were left out.
    pub(crate) left_out: usize,
    /// The last status commit that was made.
    pub(crate) commit: Option<String>,
}

impl PassReport {
    /// Takes an event in.
    pub(crate) fn note(&mut self, event: &Event) {
        let row = match event {
            Event::Published { commit, .. } => {
                self.commit = Some(commit.clone());
                return;
            }
            Event::Execution { at, key, to, message, .. } => {
                self.changed.insert(key.clone());
                self.touched.insert(key.clone());
                row(*at, key, None, to.as_str(), message)
            }
            Event::Node { at, key, node, to, message, .. } => {
                self.changed.insert(key.clone());
                self.touched.insert(key.clone());
                row(*at, key, Some(node), to.as_str(), message)
            }
            _ => return,
        };
        // The host bounds the size of a summary; how much is missing is said by the count.
        if self.timeline.len() < TIMELINE {
            self.timeline.push(row);
        } else {
            self.left_out += 1;
        }
    }
}

/// A row of the timeline.
fn row(at: Timestamp, key: &ResourceKey, node: Option<&NodeId>, to: &str, why: &str) -> String {
    let node = node.map(|node| format!(" `{node}`")).unwrap_or_default();
    // A message holds words of providers and people (Invariant 8).
    let why = markdown(why, 200);
    format!("| {} | {}/{}{node} | {to} | {why} |\n", at.strftime("%H:%M:%S"), key.namespace, key.name)
}
