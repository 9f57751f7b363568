//! What a pass did, gathered from its events.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::cli::desired::preview::finding;
use crate::diagnostic::{Diagnostic, Severity};
use crate::engine::ReconcileSummary;
use crate::event::{Event, ResourceChange};
use crate::markup::sentence;
use crate::model::{Kind, NodeId, ResourceKey};
use crate::report::desired_issue::Unapplied;

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
    /// Executions whose records were removed, because their manifests are gone.
    pub(crate) removed: BTreeSet<ResourceKey>,
    /// What happened, as rows of a Markdown table.
    pub(crate) timeline: Vec<String>,
    /// How many rows were left out.
    pub(crate) left_out: usize,
    /// The last status commit that was made.
    pub(crate) commit: Option<String>,
    /// The desired commit that it began with.
    pub(crate) desired: Option<String>,
    /// What is wrong with the manifests of that commit.
    pub(crate) errors: Vec<Diagnostic>,
}

impl PassReport {
    /// Takes an event in.
    pub(crate) fn note(&mut self, event: &Event) {
        let row = match event {
            Event::PassStarted { desired, .. } => {
                // Each pass says all that is wrong, also what was wrong before.
                self.errors.clear();
                self.desired = Some(desired.clone());
                return;
            }
            Event::Diagnostic(found) => {
                if found.severity == Severity::Error {
                    self.errors.push((**found).clone());
                }
                return;
            }
            Event::Resource { key, change: ResourceChange::Deleted, .. } if key.kind == Kind::Execution => {
                self.removed.insert(key.clone());
                return;
            }
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

impl PassReport {
    /// What it could not apply of the desired branch.
    pub(crate) fn unapplied(&self) -> Unapplied {
        Unapplied { found: self.errors.iter().map(finding).collect(), held_back: self.summary.held_back }
    }
}

/// A row of the timeline.
fn row(at: Timestamp, key: &ResourceKey, node: Option<&NodeId>, to: &str, why: &str) -> String {
    let node = node.map(|node| format!(" `{node}`")).unwrap_or_default();
    // A message holds words of providers and people (Invariant 8).
    let why = sentence(why, 200);
    format!("| {} | {}/{}{node} | {to} | {why} |\n", at.strftime("%H:%M:%S"), key.namespace, key.name)
}
