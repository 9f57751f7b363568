//! A table: each construct of a plan × success, failure, timeout, cancellation, a crash in the middle, and going on after
//! a clean stop.

use std::path::Path;

use planspec::model::{ExecutionPhase, NodePhase};
use serde_json::{Value, json};

use crate::engine_rig::{Graph, QUICK, Stage, bindings, check_history, execution, yaml};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Construct {
    Task,
    Gate,
    Resource,
    Group,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Success,
    Failure,
    Timeout,
    Cancel,
    Crash,
    Resume,
}

/// A stage whose node `it` lasts until it is told how to end.
fn stage(construct: Construct, fate: Fate) -> Stage {
    let stage = Stage::new(QUICK, &[]);
    let told = stage.outside("told");
    let script = format!("until test -s '{0}'; do sleep 0.05; done; exit $(cat '{0}')", told.display());
    let fields = if fate == Fate::Timeout { json!({ "timeout": "1s" }) } else { json!({}) };
    let with = |mut node: Value| {
        node.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        node
    };
    let (table, other) = (Graph::new("table"), Graph::new("other"));
    let mut graphs = vec![match construct {
        Construct::Task => table.task_with("it", &[], &script, &fields),
        Construct::Gate => {
            table.node(with(json!({ "id": "it", "kind": "Gate", "gateRef": { "name": "sign" } })))
        }
        Construct::Resource => {
            let awaited = json!({ "type": "resource", "resourceRef": { "name": "other" } });
            table.node(with(json!({ "id": "it", "kind": "External", "externalRef": awaited })))
        }
        Construct::Group => table
            .node(json!({ "id": "it", "kind": "Group", "children": ["child"] }))
            .task_with("child", &[], &script, &fields),
    }];
    if construct == Construct::Resource {
        graphs.push(other.task("work", &[], &script));
    }
    let names = ["table", "other"];
    let mut documents: Vec<Value> = graphs.iter().map(Graph::plan).collect();
    documents.extend(names.iter().take(graphs.len()).map(|name| execution(name, name)));
    if construct != Construct::Gate {
        documents.push(bindings(&graphs.iter().collect::<Vec<_>>()));
    }
    stage.commit("work.yaml", &yaml(&documents));
    stage
}

/// Tells the node how to end.
fn tell(stage: &Stage, construct: Construct, well: bool) {
    std::fs::write(stage.outside("told"), if well { "0" } else { "1" }).unwrap();
    if construct == Construct::Gate {
        let word = if well { "approve" } else { "reject" };
        stage.environment.planspec(&[word, "gate/sign", "-n", "team", "-m", "told so"]).succeeds();
    }
}

fn phase(stage: &Stage) -> Option<NodePhase> {
    let record =
        crate::engine_rig::record_in(&stage.environment.repo(), planspec::model::Kind::Execution, "table")?;
    record.execution()?.node_statuses.iter().find(|(id, _)| id.as_str() == "it").map(|(_, node)| node.phase)
}

#[track_caller]
fn check(construct: Construct, fate: Fate) {
    let stage = stage(construct, fate);
    let repo = stage.environment.repo();
    let mut runner = stage.start(&[]);
    if fate != Fate::Timeout {
        stage.wait_until("the node is under way", || {
            matches!(phase(&stage), Some(NodePhase::Running | NodePhase::Blocked))
        });
    }
    match fate {
        Fate::Success => tell(&stage, construct, true),
        Fate::Failure => tell(&stage, construct, false),
        Fate::Timeout => {
            let ended = || phase(&stage) == Some(NodePhase::Failed);
            stage.wait_until("its time is over", || {
                // Nobody drives an execution that only waits for a person.
                if construct == Construct::Gate {
                    stage.reconcile(&[]).succeeds();
                }
                ended()
            });
            std::fs::write(stage.outside("told"), "0").unwrap();
        }
        Fate::Cancel => {
            stage.environment.planspec(&["cancel", "table", "-n", "team"]).succeeds();
            stage.wait_until("it is cancelled", || phase(&stage) == Some(NodePhase::Cancelled));
            std::fs::write(stage.outside("told"), "0").unwrap();
        }
        Fate::Crash => {
            runner.kill();
            tell(&stage, construct, true);
        }
        Fate::Resume => {
            runner.signal(rustix::process::Signal::TERM);
            runner.ends();
            tell(&stage, construct, true);
        }
    }
    runner.ends();
    stage.reconcile_to_the_end(&repo);
    let (node, whole) = match fate {
        Fate::Success | Fate::Crash | Fate::Resume => (NodePhase::Succeeded, ExecutionPhase::Succeeded),
        Fate::Failure | Fate::Timeout => (NodePhase::Failed, ExecutionPhase::Failed),
        Fate::Cancel => (NodePhase::Cancelled, ExecutionPhase::Cancelled),
    };
    assert_eq!(
        (phase(&stage), stage.status("table").phase),
        (Some(node), whole),
        "{construct:?} × {fate:?}: {:#?}",
        stage.status("table")
    );
    assert_eq!(stage.status("table").extensions.lease, None, "{construct:?} × {fate:?}");
    rests(&stage, &repo);
}

/// A further reconcile changes nothing.
#[track_caller]
fn rests(stage: &Stage, repo: &Path) {
    let tip = stage.status_tip();
    stage.reconcile(&[]).succeeds();
    assert_eq!(stage.status_tip(), tip);
    check_history(repo);
}

macro_rules! table {
    ($($name:ident: $fate:ident;)*) => {$(
        #[test]
        fn $name() {
            for construct in [Construct::Task, Construct::Gate, Construct::Resource, Construct::Group] {
                check(construct, Fate::$fate);
            }
        }
    )*};
}

table! {
    every_construct_succeeds: Success;
    every_construct_fails: Failure;
    every_construct_times_out: Timeout;
    every_construct_is_cancelled: Cancel;
    every_construct_goes_on_after_a_crash: Crash;
    every_construct_goes_on_after_a_clean_stop: Resume;
}
