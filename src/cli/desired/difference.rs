//! What a change of the desired state means: which resources differ and how, and what the next reconcile would
//! make of it. Executes nothing.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Value, json};

use crate::change::{FieldChange, SetChange, compare_sets};
use crate::cli::desired::bindings::check_bindings;
use crate::cli::desired::code_owners::{self, OwnedTree};
use crate::cli::desired::{self, Desired};
use crate::cli::drive::registry_to_check;
use crate::cli::error::CliError;
use crate::cli::repo_context::RepoContext;
use crate::config::Config;
use crate::diagnostic::{Diagnostic, Severity};
use crate::manifest;
use crate::model::{Kind, Resource, ResourceKey, ResourceStatus, ReviewAction, Spec};
use crate::record::StatusTree;
use crate::report::style::Tone;
use crate::report::text;

/// How much of a value is shown.
const VALUE: usize = 160;

/// The difference of two desired states.
pub(crate) struct DesiredDiff {
    pub(super) change: SetChange,
    /// What would follow.
    pub(super) consequences: Vec<Consequence>,
    /// What is wrong with the new state and was not with the old, and what may not change like this.
    pub(crate) findings: Vec<Diagnostic>,
}

/// What would follow from a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Consequence {
    /// An execution starts; with the number of its plan's nodes, when the plan is there.
    Starts(ResourceKey, ResourceKey, Option<usize>),
    /// Approvals of a gate by these no longer count.
    Voids(ResourceKey, Vec<String>),
    /// Something else, as text.
    Other(String),
}

impl fmt::Display for Consequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starts(key, plan, Some(nodes)) => write!(f, "starts {key} of {plan}, {nodes} nodes"),
            Self::Starts(key, plan, None) => write!(f, "starts {key} of {plan}"),
            Self::Voids(key, reviewers) => {
                write!(f, "voids the approval of {key} by {}", reviewers.join(", "))
            }
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl DesiredDiff {
    /// Compares; `status` says what is under way. `read` gives the content of a path in the new state.
    pub(crate) fn of(
        old: &Desired,
        new: &Desired,
        config: &Config,
        read: impl Fn(&str) -> Option<Vec<u8>>,
        (workspace, status): (&RepoContext, &StatusTree),
        (old_files, new_files): (OwnedTree<'_>, OwnedTree<'_>),
    ) -> Result<Self, CliError> {
        let change = compare_sets(&old.resources, &new.resources);
        let consequences = consequences(&change, old, new, workspace, status)?;
        // Only what the change itself makes wrong counts: old findings must not fail every pull request of a
        // repository.
        let known = desired::check_references(&old.resources, &config.limits, |_| None);
        let mut ungated = desired::check_plans(&old.resources, config, |_| None);
        ungated.extend(code_owners::check_resources(&old.resources, old_files, &config.limits, |_| None)?);
        let before = |found: &Diagnostic| {
            let same = |known: &Diagnostic| {
                known.code == found.code && known.message == found.message && known.resource == found.resource
            };
            known.iter().chain(&old.diagnostics).chain(&ungated).any(same)
        };
        let mut findings = new.diagnostics.clone();
        findings.extend(desired::check_references(&new.resources, &config.limits, &read));
        findings.extend(desired::check_plans(&new.resources, config, &read));
        findings.extend(code_owners::check_resources(&new.resources, new_files, &config.limits, &read)?);
        manifest::drop_consequences(&mut findings);
        let registry = registry_to_check(config);
        let bindings = |resources: &[Resource]| check_bindings(resources, &registry, &config.limits, &read);
        let judged = bindings(&old.resources);
        findings.extend(bindings(&new.resources).into_iter().filter(|found| {
            !judged.iter().any(|old| old.message == found.message && old.resource == found.resource)
        }));
        findings.retain(|found| !before(found));
        // After the comparison: a transition is about the change itself, and was never there before.
        let mut moved = desired::transitions(&old.resources, &new.resources);
        manifest::locate(&mut moved, &config.limits, &read);
        findings.extend(moved);
        Ok(Self { change, consequences, findings })
    }

    /// Whether nothing differs.
    pub(crate) fn is_empty(&self) -> bool {
        self.change.is_empty() && self.findings.is_empty()
    }

    /// Whether the new state has errors that the old one had not.
    pub(crate) fn has_errors(&self) -> bool {
        self.findings.iter().any(|found| found.severity == Severity::Error)
    }

    /// For people: one line a resource, its fields below it, then what would follow.
    pub(crate) fn render(&self) -> String {
        let mut out = String::new();
        for key in &self.change.created {
            out.push_str(&format!("{}\n", Tone::Good.paint(format!("+ {key}"))));
        }
        for changed in &self.change.changed {
            out.push_str(&format!("{}\n", Tone::Waiting.paint(format!("~ {}", changed.key))));
            for field in &changed.fields {
                out.push_str(&format!("    {}\n", text::line(&field_line(field))));
            }
            // The order of nodes, or a default that is written out, changes the digest of a spec and none of
            // its fields.
            if changed.fields.is_empty() {
                out.push_str("    written differently, with the same meaning\n");
            }
        }
        for key in &self.change.deleted {
            out.push_str(&format!("{}\n", Tone::Bad.paint(format!("- {key}"))));
        }
        if !self.consequences.is_empty() {
            out.push_str(&format!("\n{}\n", Tone::Strong.paint("The next reconcile")));
            for consequence in &self.consequences {
                out.push_str(&format!("  {}\n", text::line(&consequence.to_string())));
            }
        }
        let count = |number: usize, word: &str| format!("{number} {word}");
        if !self.change.is_empty() {
            let counts = [
                count(self.change.created.len(), "created"),
                count(self.change.changed.len(), "changed"),
                count(self.change.deleted.len(), "deleted"),
            ];
            out.push_str(&format!("\n{}\n", counts.join(", ")));
        }
        out
    }

    /// For programs: keys as `NAMESPACE/KIND/NAME`, fields with their old and new values.
    pub(crate) fn to_value(&self) -> Value {
        let keys = |keys: &[ResourceKey]| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
        let changed: Vec<Value> = self
            .change
            .changed
            .iter()
            .map(|changed| json!({ "resource": changed.key.to_string(), "spec": changed.spec, "fields": changed.fields }))
            .collect();
        json!({
            "created": keys(&self.change.created),
            "changed": changed,
            "deleted": keys(&self.change.deleted),
            "consequences": self.consequences.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "diagnostics": self.findings,
        })
    }
}

fn field_line(field: &FieldChange) -> String {
    let shown = |value: &Value| text::shortened(&value.to_string(), VALUE);
    match (&field.old, &field.new) {
        (Some(old), Some(new)) => format!("{}: {} → {}", field.path, shown(old), shown(new)),
        (None, Some(new)) => format!("{}: + {}", field.path, shown(new)),
        (Some(old), None) => format!("{}: - {}", field.path, shown(old)),
        (None, None) => field.path.clone(),
    }
}

fn consequences(
    change: &SetChange,
    old: &Desired,
    new: &Desired,
    workspace: &RepoContext,
    status: &StatusTree,
) -> Result<Vec<Consequence>, CliError> {
    let find = |set: &Desired, key: &ResourceKey| -> Option<Resource> {
        set.resources.iter().find(|resource| resource.key() == *key).cloned()
    };
    let mut lines = Vec::new();
    for key in &change.created {
        if let Some(Spec::Execution(spec)) = find(new, key).map(|resource| resource.spec) {
            let plan = spec.plan_ref.key(Kind::Plan, &key.namespace);
            let nodes = match find(new, &plan).map(|resource| resource.spec) {
                Some(Spec::Plan(plan)) => Some(plan.graph.nodes.len()),
                _ => None,
            };
            lines.push(Consequence::Starts(key.clone(), plan, nodes));
        }
    }
    // What the same change removes is cancelled, and goes on with nothing.
    let owned = change.deleted.iter().flat_map(|key| owned_by(key, old)).map(Resource::key);
    let gone: BTreeSet<ResourceKey> = change.deleted.iter().cloned().chain(owned).collect();
    // Labels and annotations leave the generation as it is, and void nothing.
    for changed in change.changed.iter().filter(|changed| changed.spec) {
        match changed.key.kind {
            Kind::Gate => lines.extend(voided(&changed.key, workspace, status)?),
            Kind::Plan => {
                let kept = kept(&changed.key, &gone, workspace, status)?;
                lines.extend(kept.into_iter().map(Consequence::Other));
            }
            _ => {}
        }
    }
    for key in &change.deleted {
        lines.extend(removed(key, old, workspace, status)?.into_iter().map(Consequence::Other));
    }
    Ok(lines)
}

/// Approvals are bound to the generation of their gate.
fn voided(
    key: &ResourceKey,
    workspace: &RepoContext,
    status: &StatusTree,
) -> Result<Option<Consequence>, CliError> {
    let Some(record) = status.get(&workspace.repo, key)? else { return Ok(None) };
    let ResourceStatus::Gate(gate) = &record.status else { return Ok(None) };
    let reviewers: Vec<String> = gate
        .review_history
        .iter()
        .filter(|review| review.action == ReviewAction::Approve)
        // An approval of an earlier generation is void already.
        .filter(|review| review.target_generation.is_none_or(|seen| seen == record.metadata.generation))
        .map(|review| review.reviewer.clone())
        .collect();
    Ok((!reviewers.is_empty()).then(|| Consequence::Voids(key.clone(), reviewers)))
}

/// Executions that are under way keep the graph that they are pinned to.
fn kept(
    plan: &ResourceKey,
    gone: &BTreeSet<ResourceKey>,
    workspace: &RepoContext,
    status: &StatusTree,
) -> Result<Vec<String>, CliError> {
    let mut lines = Vec::new();
    // Of every namespace: a Plan may be run from another one than its own.
    for (key, path, blob) in status.list(&workspace.repo, Some(Kind::Execution), None)? {
        let record = StatusTree::read(&workspace.repo, &key, &path, blob)?;
        let Some(execution) = record.execution() else { continue };
        let pinned = execution.extensions.pinned.as_ref().is_some_and(|pin| pin.plan == *plan);
        if pinned && !execution.phase.is_terminal() && !gone.contains(&key) {
            lines.push(format!("continues {key} on the graph that {plan} had when it started"));
        }
    }
    Ok(lines)
}

fn removed(
    key: &ResourceKey,
    old: &Desired,
    workspace: &RepoContext,
    status: &StatusTree,
) -> Result<Vec<String>, CliError> {
    let mut lines = Vec::new();
    match key.kind {
        Kind::Execution => {
            let record = status.get(&workspace.repo, key)?;
            let phase = record.as_ref().and_then(|record| record.execution()).map(|status| status.phase);
            match phase {
                // The contract: a running Execution whose manifest goes is cancelled first, then its record
                // is removed.
                Some(phase) if !phase.is_terminal() => lines.push(format!("cancels {key} ({phase})")),
                Some(_) => lines.push(format!("removes the status of {key}")),
                None => {}
            }
        }
        Kind::Goal => {
            let owned = owned_by(key, old);
            lines.extend(owned.map(|resource| format!("removes {} with its owner {key}", resource.key())));
        }
        _ => {}
    }
    Ok(lines)
}

/// What goes together with a Goal.
fn owned_by<'a>(key: &'a ResourceKey, old: &'a Desired) -> impl Iterator<Item = &'a Resource> {
    old.resources.iter().filter(move |resource| {
        // An owner reference has no namespace: an owner lives beside what it owns.
        let mut owners = resource.metadata.owner_references.iter();
        key.kind == Kind::Goal
            && resource.metadata.namespace == key.namespace
            && owners.any(|owner| owner.kind == key.kind && owner.name == key.name)
    })
}
