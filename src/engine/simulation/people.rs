//! People beside the simulated runners: they merge changes, cancel, approve, have work done again that the remote refused, and put
//! a status branch back that somebody rewound.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::dice::Dice;
use super::runner::Line;
use super::stage::Stage;
use super::world::{MAIN, World};
use crate::engine::{Clock, Decider, Decision, decide};
use crate::git::{Repo, Signature};
use crate::index::Index;
use crate::model::{Kind, Name, NodeId, NodeReason, ResourceKey, ReviewAction};
use crate::record::StatusTree;

/// What they are called among the processes.
pub(super) const PEOPLE: &str = "people";

/// After how long they decide once more what had no effect.
const PATIENCE: Duration = Duration::from_secs(150);

/// What people of a seed do at some time, whatever they find.
#[derive(Debug, Clone)]
enum Deed {
    /// They merge the edit of this number.
    Merge(usize),
    /// They cancel the Execution of this name.
    Cancel(String),
}

/// The deeds of a seed, by time.
fn deeds(seed: u64, stage: &Stage) -> BTreeMap<(Duration, usize), Deed> {
    let mut dice = Dice::new(seed, 5);
    let merges = (0..stage.edits).map(|edit| (120, Deed::Merge(edit)));
    let cancels = stage.cancelled.iter().map(|name| (90, Deed::Cancel(name.clone())));
    // With a number, as two of them may come at the same time.
    let numbered = merges.chain(cancels).enumerate();
    numbered.map(|(number, (until, deed))| ((dice.seconds(5, until), number), deed)).collect()
}

fn key(kind: Kind, name: &str) -> ResourceKey {
    ResourceKey::new(kind, Name::new("team").unwrap(), Name::new(name).unwrap())
}

/// What can be answered in a status branch: gates that wait, and work that the remote refused.
fn answers(repo: &Repo, tree: &StatusTree) -> Vec<Decision> {
    let mut answers = Vec::new();
    for (execution, _, _) in tree.list(repo, Some(Kind::Execution), None).unwrap() {
        let record = tree.get(repo, &execution).unwrap().unwrap();
        let Some(status) = record.execution() else { continue };
        for (node, state) in &status.node_statuses {
            match state.extensions.reason {
                Some(NodeReason::AwaitingApproval) => answers.push(Decision::Review {
                    gate: key(Kind::Gate, &format!("{}-{node}", execution.name)),
                    action: ReviewAction::Approve,
                    execution: Some(execution.clone()),
                    comment: None,
                    expect: None,
                }),
                Some(NodeReason::ResultRefused | NodeReason::ContentRefused) => {
                    let (execution, from) = (execution.clone(), Some(NodeId::clone(node)));
                    answers.push(Decision::Retry { execution, from, comment: None });
                }
                _ => {}
            }
        }
    }
    answers
}

/// The people, until all is over.
pub(super) async fn people(world: Arc<World>, stage: Arc<Stage>, seed: u64) {
    let mut deeds = deeds(seed, &stage);
    let repo = stage.clone_of(PEOPLE);
    let clock = world.clock();
    world.begin(PEOPLE, None, clock.clone());
    let line = Arc::new(Line { world: Arc::clone(&world), runner: PEOPLE.to_owned() });
    let cache = repo.cache_dir();
    let branches = stage.branches(repo, line);
    let clock: Arc<dyn Clock> = Arc::new(clock);
    let person = Signature { name: "Ada".to_owned(), email: "ada@example.com".to_owned() };
    let decider = Decider::Committer(person);
    // What they read last, and what was to be answered there.
    let (mut seen, mut open) = (None, Vec::new());
    let mut made_before: Vec<(Decision, Duration)> = Vec::new();
    while !world.state().is_over {
        // More often than a runner reads, so that they meet each other.
        let pause = world.state().dice.seconds(1, 9);
        tokio::time::sleep(pause).await;
        world.tend_history(&stage);
        if world.state().is_rewound() {
            continue;
        }
        let mut wanted = Vec::new();
        if let Some(entry) = deeds.first_entry().filter(|entry| entry.key().0 <= world.passed()) {
            match entry.get().clone() {
                Deed::Merge(edit) => {
                    entry.remove();
                    let tip = world.state().reference(MAIN).unwrap();
                    let next = stage.merge(tip, edit);
                    world.note(PEOPLE, &format!("merge edit {edit}"));
                    world.state().set(MAIN, next);
                    continue;
                }
                Deed::Cancel(name) => {
                    wanted.push(Decision::Cancel { target: key(Kind::Execution, &name), comment: None });
                }
            }
        }
        let tip = world.state().tip();
        if seen != tip {
            let shared = stage.shared();
            open = answers(&shared, &StatusTree::at(&shared, tip).unwrap());
            seen = tip;
        }
        // What was to be answered before is not had done again once it is cancelled.
        let cancelled = wanted.iter().find_map(|decision| match decision {
            Decision::Cancel { target, .. } => Some(target.clone()),
            _ => None,
        });
        let undoes = |answer: &Decision| matches!(answer, Decision::Retry { execution, .. } if cancelled.as_ref() == Some(execution));
        wanted.extend(open.iter().filter(|answer| !undoes(answer)).cloned());
        for decision in wanted {
            let now = world.passed();
            // Runners need some time to see it, and each decision is one of the few pushes that all of them have.
            if made_before.iter().any(|(before, at)| *before == decision && now < *at + PATIENCE) {
                continue;
            }
            let index = Index::open_to_read(&cache).unwrap();
            let made = decide(&branches, index, &decision, &decider, &clock, PEOPLE);
            let what = match &made {
                Ok(made) => made.lines.join("; "),
                Err(error) => format!("cannot decide: {error}"),
            };
            world.note(PEOPLE, &what);
            if made.is_ok() {
                made_before.retain(|(before, _)| *before != decision);
                made_before.push((decision.clone(), now));
            }
            // Until it is recorded, or there is nothing to cancel any more.
            if let Decision::Cancel { target, .. } = &decision
                && (made.is_ok() || world.state().judge.has_ended(target))
            {
                deeds.pop_first();
            }
        }
    }
}
