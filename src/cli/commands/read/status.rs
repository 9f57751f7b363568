//! `planspec status`: the whole repository on one screen, from the branch that counts to what waits for the reader.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::output_format::OutputFormat;
use crate::cli::repo_context::RepoContext;
use crate::cli::view::inventory::Inventory;
use crate::cli::view::local_changes::LocalChanges;
use crate::cli::view::pinned_plan::{asked_provider, pinned_graph};
use crate::cli::view::selector::ResourceSelector;
use crate::config::Config;
use crate::diagnostic::Diagnostic;
use crate::markup::grouped;
use crate::model::{
    ExecutionPhase, ExecutionStatus, Kind, NodeId, NodePhase, NodeSituation, NodeStatus, ResourceKey, Spec,
    next_steps,
};
use crate::report::object::LiveObject;
use crate::report::style::Tone;
use crate::report::text;
use crate::run::gate::owning_team;

/// How many lines of a failed node's log are shown.
const LOG_LINES: usize = 3;

/// How many failed Executions are shown.
const FAILURES: usize = 5;

/// How many errors in manifests are shown.
const BROKEN: usize = 3;

/// How many Executions that have not begun are shown.
const UNSEEN: usize = 5;

/// What stands above them.
const UNSEEN_HEADING: &str = "Waits for a reconcile";

/// What lists all of them.
const ALL_FAILED: &str = "planspec get executions --phase Failed";

/// What begins an Execution.
const RECONCILE: &str = "planspec reconcile";

/// Show what is going on: the branch that counts, what is not on it yet, what runs, what failed, what waits for you
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec status
  planspec status -n team-platform -o json")]
pub(crate) struct StatusArguments {}

/// All that is shown.
#[derive(Default)]
struct Overview {
    branch: String,
    commit: Option<String>,
    changes: LocalChanges,
    /// The manifests with errors, which were left out.
    broken: Vec<String>,
    sections: Sections,
    /// How many failed Executions are not shown.
    more_failed: usize,
}

/// The parts of the page, each with its heading.
type Sections = Vec<(&'static str, Vec<NodeReport>)>;

/// A node worth a look.
struct NodeReport {
    execution: ResourceKey,
    node: Option<NodeId>,
    words: String,
    log: Vec<String>,
    next: Vec<String>,
}

pub(crate) fn run(_: &StatusArguments, context: &mut Context) -> Result<Exit, CliError> {
    let format = context.options.format()?;
    let workspace = RepoContext::open(context)?;
    let tips = workspace.tips(context)?;
    let mut overview = Overview {
        branch: workspace.branch()?,
        commit: tips.desired.map(|commit| commit.short().to_string()),
        changes: LocalChanges::of(&workspace, &tips.config)?,
        ..Overview::default()
    };
    let inventory = Inventory::load(&workspace, &tips)?;
    let every = ResourceSelector { namespace: None, kind: None, name: None };
    overview.broken = inventory.broken(&[every]).map(Diagnostic::brief).collect();
    let failures;
    // What is not pushed waits for that, which stands above.
    let start = (!overview.changes.is_unpushed()).then_some(RECONCILE);
    (overview.sections, failures) = sections(&workspace, &tips.config, &inventory, start, context)?;
    overview.more_failed = failures.saturating_sub(FAILURES);
    match format {
        OutputFormat::Json => context.out.json(&overview.to_value())?,
        OutputFormat::Yaml => context.out.yaml(&overview.to_value())?,
        _ => context.out.text(&overview.render())?,
    }
    Ok(Exit::Done)
}

/// All Executions, the newest failure first: it is the one that somebody comes to see.
fn executions(inventory: &Inventory<'_>, context: &mut Context) -> Result<Vec<LiveObject>, CliError> {
    let every = ResourceSelector { namespace: None, kind: Some(Kind::Execution), name: None };
    let mut objects = inventory.select(&[every], context)?;
    objects.sort_by_key(|object| {
        let status = object.record.as_ref().and_then(|record| record.execution());
        std::cmp::Reverse(status.and_then(|status| status.completion_time))
    });
    Ok(objects)
}

/// What is shown, and how many Executions failed in all. `start` is what begins an Execution, if a command does.
fn sections(
    workspace: &RepoContext,
    config: &Config,
    inventory: &Inventory<'_>,
    start: Option<&str>,
    context: &mut Context,
) -> Result<(Sections, usize), CliError> {
    let me = Myself::of(workspace, config);
    let [mut running, mut failed, mut mine, mut waiting, mut unseen] = [const { Vec::new() }; 5];
    let objects = executions(inventory, context)?;
    let mut failures = 0;
    for object in &objects {
        let Some(status) = object.record.as_ref().and_then(|record| record.execution()) else {
            unseen.push(NodeReport::unseen(object, start));
            continue;
        };
        let over = status.phase.is_terminal();
        if status.phase == ExecutionPhase::Failed {
            failures += 1;
        }
        if over && (status.phase != ExecutionPhase::Failed || failures > FAILURES) {
            continue;
        }
        let graph = pinned_graph(&workspace.repo, config, inventory.status(), &object.key, status)?;
        let home = status.extensions.pinned.as_ref().map_or(&object.key.namespace, |pin| &pin.plan.namespace);
        if let (ExecutionPhase::Blocked | ExecutionPhase::Pending, None, Some(why)) =
            (status.phase, &status.extensions.pinned, &status.message)
        {
            waiting.push(NodeReport::whole(&object.key, why));
        }
        if stands_still(status) {
            unseen.push(NodeReport::resting(&object.key));
        }
        for (id, state) in &status.node_statuses {
            let gate = graph.as_ref().and_then(|graph| graph.asked_gate(id, state.extensions.reason, home));
            let report = || NodeReport::of(&object.key, id, state, gate.as_ref());
            let provider = || asked_provider((workspace, config, inventory), (object, status), (id, state));
            match state.phase {
                NodePhase::Running if state.attempt > 0 => running.push(report()),
                // A group that failed has no log, and what failed in it is listed itself.
                NodePhase::Failed if !state.is_summary() => failed.push(report()),
                NodePhase::Blocked if state.extensions.reason.is_none() => {}
                NodePhase::Blocked if me.is_asked(state, gate.as_ref(), provider, inventory)? => {
                    mine.push(report());
                }
                NodePhase::Blocked => waiting.push(report()),
                _ => {}
            }
        }
    }
    let sections = vec![
        ("Waits for you", mine),
        ("Failed", failed),
        ("Running", running),
        ("Waits", waiting),
        (UNSEEN_HEADING, unseen),
    ];
    Ok((sections, failures))
}

/// Whether nothing of an Execution is under way or waits for anybody, as after a `retry`, or where a pass ended early.
fn stands_still(status: &ExecutionStatus) -> bool {
    let moves = |state: &NodeStatus| matches!(state.phase, NodePhase::Running | NodePhase::Blocked);
    let held = status.extensions.suspend.is_some();
    status.phase == ExecutionPhase::Running && !held && !status.node_statuses.values().any(moves)
}

impl NodeReport {
    /// Committed since the last pass, or recorded nowhere: whoever ran it wonders why nothing happens.
    fn unseen(object: &LiveObject, start: Option<&str>) -> Self {
        let next = start.map(str::to_owned).into_iter().collect();
        let why = object.refused.as_deref().unwrap_or("committed, and no reconcile has seen it yet");
        Self { next, ..Self::whole(&object.key, why) }
    }

    fn resting(execution: &ResourceKey) -> Self {
        Self { next: vec![RECONCILE.to_owned()], ..Self::whole(execution, "goes on with the next reconcile") }
    }

    fn of(execution: &ResourceKey, id: &NodeId, state: &NodeStatus, gate: Option<&ResourceKey>) -> Self {
        let phase = state.phase;
        let reason = state.extensions.reason;
        let situation = NodeSituation { execution, node: id, phase, reason, gate };
        let attempt = if state.attempt > 1 { format!(" (attempt {})", state.attempt) } else { String::new() };
        let why = if state.message.is_empty() { String::new() } else { format!(": {}", state.message) };
        let log = state.extensions.log.as_ref().filter(|_| phase == NodePhase::Failed);
        let lines: Vec<&str> = log.map(|log| log.tail.lines().collect()).unwrap_or_default();
        let last = lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default();
        Self {
            execution: execution.clone(),
            node: Some(id.clone()),
            words: format!("{phase}{attempt}{why}"),
            log: last.iter().map(|line| text::line(line).into_owned()).collect(),
            next: next_steps(&situation).iter().map(ToString::to_string).collect(),
        }
    }

    /// An Execution that has not begun.
    fn whole(execution: &ResourceKey, why: &str) -> Self {
        let log = Vec::new();
        let next = Vec::new();
        Self { execution: execution.clone(), node: None, words: why.to_owned(), log, next }
    }

    fn name(&self) -> String {
        let ResourceKey { namespace, name, .. } = &self.execution;
        self.node
            .as_ref()
            .map_or_else(|| format!("{namespace}/{name}"), |node| format!("{namespace}/{name} {node}"))
    }
}

/// The names by which gates and Bindings may mean whoever reads.
struct Myself(BTreeSet<String>);

impl Myself {
    /// By the address that Git knows, and what the configuration says of its owner. Nothing of this is verified, and nothing
    /// depends on it but where a line is shown.
    fn of(workspace: &RepoContext, config: &Config) -> Self {
        let mut names = BTreeSet::new();
        let Ok(person) = workspace.repo.identity() else { return Self(names) };
        let email = person.email.to_lowercase();
        let is_mine = |address: &String| address.to_lowercase() == email;
        for (name, who) in config.identities.iter().filter(|(_, who)| who.emails.iter().any(is_mine)) {
            names.insert(name.to_lowercase());
            names.extend(who.login.iter().map(|login| login.to_lowercase()));
            names.extend(who.teams.iter().map(|team| format!("team:{}", team.to_lowercase())));
        }
        names.insert(email);
        Self(names)
    }

    fn is_one_of<'n>(&self, mut names: impl Iterator<Item = &'n str>) -> bool {
        names.any(|name| {
            // An owner of files is written as the host does: `@LOGIN` or `@ORGANISATION/TEAM`.
            let name = match owning_team(name) {
                Some(team) => format!("team:{team}"),
                None => name.strip_prefix('@').or(name.strip_prefix("user:")).unwrap_or(name).to_owned(),
            };
            self.0.contains(&name.to_lowercase())
        })
    }

    fn is_asked(
        &self,
        state: &NodeStatus,
        gate: Option<&ResourceKey>,
        provider: impl FnOnce() -> Result<Option<String>, CliError>,
        inventory: &Inventory<'_>,
    ) -> Result<bool, CliError> {
        if let Some(gate) = gate {
            let resource = inventory.object(gate)?.and_then(|object| object.resource);
            let Some(Spec::Gate(spec)) = resource.map(|resource| resource.spec) else { return Ok(true) };
            // A gate that names nobody takes the approval of anybody.
            let asked = spec.asked(state.extensions.owners.as_deref());
            return Ok(asked.is_empty() || self.is_one_of(asked.iter().map(String::as_str)));
        }
        let provider = provider()?;
        let person = provider.as_deref().and_then(|provider| provider.strip_prefix("human://"));
        Ok(self.is_one_of(person.into_iter()))
    }
}

impl Overview {
    fn render(&self) -> String {
        let commit = self
            .commit
            .as_ref()
            .map_or(", which has no commit yet".to_owned(), |commit| format!(" at {commit}"));
        let mut page = format!("Desired branch {}{commit}\n", Tone::Strong.paint(text::line(&self.branch)));
        for (what, command) in self.changes.said() {
            page.push_str(&format!("  {what}\n    run: {command}\n"));
        }
        for why in self.broken.iter().take(BROKEN) {
            page.push_str(&format!("  {} {}\n", Tone::Bad.paint("broken:"), text::line(why)));
        }
        if let Some(more) = self.broken.len().checked_sub(BROKEN).filter(|more| *more > 0) {
            page.push_str(&format!("  … and {} more errors\n", grouped(more)));
        }
        if !self.broken.is_empty() {
            page.push_str("    run: planspec validate\n");
        }
        let tones = [Tone::Waiting, Tone::Bad, Tone::Active, Tone::Muted, Tone::Muted];
        for ((heading, reports), tone) in
            self.sections.iter().zip(tones).filter(|((_, reports), _)| !reports.is_empty())
        {
            page.push_str(&format!("\n{}\n", tone.paint(heading)));
            let shown = if *heading == UNSEEN_HEADING { UNSEEN } else { usize::MAX };
            for report in reports.iter().take(shown) {
                page.push_str(&format!("  {} {}\n", report.name(), text::line(&report.words)));
                for line in &report.log {
                    page.push_str(&format!("    {}\n", Tone::Muted.paint(format!("| {line}"))));
                }
                // One is enough here; `describe` lists them all.
                if let Some(step) = report.next.first() {
                    page.push_str(&format!("    run: {step}\n"));
                }
            }
            // They are all begun by the same command.
            if let Some(more) = reports.len().checked_sub(shown).filter(|more| *more > 0) {
                page.push_str(&format!("  … and {} more\n", grouped(more)));
            }
            // Old failures stay until somebody deletes them, and would bury what runs.
            if *heading == "Failed" && self.more_failed > 0 {
                let word = if self.more_failed == 1 { "Execution" } else { "Executions" };
                let more = grouped(self.more_failed);
                page.push_str(&format!("  … and {more} more failed {word}\n    run: {ALL_FAILED}\n"));
            }
        }
        if self.sections.iter().all(|(_, reports)| reports.is_empty()) {
            page.push_str("\nNothing runs, waits or has failed\n");
        }
        page
    }

    fn to_value(&self) -> Value {
        let report = |report: &NodeReport| {
            json!({
                "execution": report.execution.to_string(),
                "node": report.node,
                "message": report.words,
                "log": report.log,
                "next": report.next,
            })
        };
        let section = |at: usize| -> Vec<Value> {
            self.sections.get(at).map(|(_, reports)| reports.iter().map(report).collect()).unwrap_or_default()
        };
        json!({
            "branch": self.branch, "commit": self.commit,
            "uncommitted": self.changes.uncommitted(), "broken": self.broken, "unpushed": self.changes.is_unpushed(),
            "waitsForYou": section(0), "failed": section(1), "running": section(2), "waits": section(3),
            "waitsForReconcile": section(4),
            "moreFailed": self.more_failed,
        })
    }
}
