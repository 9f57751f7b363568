//! The index after any history equals the index from nothing (Invariant 17): random commits, renames, duplicates, broken
//! files, reverts and rewritten branches, with records that follow or lag behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use redb::{MultimapTableHandle as _, ReadableMultimapTable as _, TableHandle as _};

use super::*;
use crate::config::Limits;
use crate::git::{Signature, TreeEntry};
use crate::index::WaitSet;
use crate::index::tables::{ACTIVE, BAD, BROKEN, DERIVED_MENTIONS, ENDED, FILES, MENTIONS, PHASES, PLACES};
use crate::model::{
    DerivedExecution, ExecutionStatus, GoalStatus, Kind, NodeId, Origin, PlanStatus, Reference,
    ResourceStatus, StatusMetadata, StatusRecord,
};
use crate::record::{Batch, PinKind, RecordEdit, Writer, WrittenCommit, WrittenRecords};

/// What happens next; numbers choose among paths, names and earlier commits.
#[derive(Debug, Clone)]
enum Step {
    /// A file declares these goals and plans; a name may be declared elsewhere already.
    Write {
        path: usize,
        goals: Vec<usize>,
        plans: Vec<usize>,
    },
    /// A file is no YAML any more.
    Spoil {
        path: usize,
    },
    /// A file names a resource, with something wrong.
    Mistake {
        path: usize,
        name: usize,
    },
    Rename {
        from: usize,
        to: usize,
    },
    Remove {
        path: usize,
    },
    /// The branch goes back, by a revert or a force push.
    Return {
        commit: usize,
    },
    /// A pass records everything as it is.
    Record,
    /// The status branch goes back.
    Forget {
        tip: usize,
    },
    /// The index takes all of it in.
    Advance,
}

/// A uid as it has to be: a record with another one counts as broken.
const UID: &str = "6f9619ff-8b86-5011-b42d-00cf4fc964ff";

const PATHS: [&str; 4] = ["a.yaml", "b/c.yaml", "b.yaml", "d.yml"];

fn step() -> impl Strategy<Value = Step> {
    let path = 0..PATHS.len();
    let names = || prop::collection::vec(0_usize..3, 0..3);
    prop_oneof![
        4 => (path.clone(), names(), names()).prop_map(|(path, goals, plans)| Step::Write { path, goals, plans }),
        1 => path.clone().prop_map(|path| Step::Spoil { path }),
        1 => (path.clone(), 0_usize..3).prop_map(|(path, name)| Step::Mistake { path, name }),
        1 => (path.clone(), path.clone()).prop_map(|(from, to)| Step::Rename { from, to }),
        1 => path.prop_map(|path| Step::Remove { path }),
        1 => (0_usize..8).prop_map(|commit| Step::Return { commit }),
        2 => Just(Step::Record),
        1 => (0_usize..4).prop_map(|tip| Step::Forget { tip }),
        3 => Just(Step::Advance),
    ]
}

fn goal(name: usize) -> String {
    format!(
        "---\napiVersion: planspec.io/v1alpha1\nkind: Goal\nmetadata: {{name: g{name}, namespace: team}}\nspec: {{description: x{name}, priority: {name}}}\n"
    )
}

fn plan(name: usize, goal: usize) -> String {
    format!(
        "---\napiVersion: planspec.io/v1alpha1\nkind: Plan\nmetadata: {{name: p{name}, namespace: team, labels: {{l: v{goal}}}}}\n\
         spec:\n  description: x\n  goalRef: {{name: g{goal}}}\n  graph: {{nodes: [{{id: a, kind: Task}}]}}\n"
    )
}

/// The two branches, and every state that they were in.
struct History {
    _folder: tempfile::TempDir,
    repo: Repo,
    files: BTreeMap<String, String>,
    trees: Vec<ObjectId>,
    tips: Vec<(StatusTree, Option<ObjectId>)>,
    writer: Writer,
    /// What was written last, as a runner knows it.
    written: WrittenRecords,
}

impl History {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repo = Repo::init_bare(folder.path(), "main").unwrap();
        let empty = repo.edit_tree(None, &BTreeMap::new()).unwrap();
        let tips = vec![(StatusTree::default(), None)];
        let files = BTreeMap::new();
        let writer = Writer::new();
        let written = WrittenRecords::default();
        Self { _folder: folder, repo, files, trees: vec![empty], tips, writer, written }
    }

    fn commit(&mut self) {
        let blob = |text: &String| Some(self.repo.write_blob(text.as_bytes()).unwrap());
        let edits = self.files.iter().map(|(path, text)| (path.clone(), blob(text))).collect();
        self.trees.push(self.repo.edit_tree(None, &edits).unwrap());
    }

    fn target(&self) -> IndexTarget<'_> {
        let (status, previous) = self.tips.last().unwrap();
        let commit = *self.trees.last().unwrap();
        IndexTarget {
            commit,
            desired: *self.trees.last().unwrap(),
            previous: *previous,
            status,
            config: None,
            written: &self.written,
        }
    }

    /// The same for somebody who wrote nothing of it.
    fn unknown<'a>(&'a self, written: &'a WrittenRecords) -> IndexTarget<'a> {
        IndexTarget { written, ..self.target() }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Write { path, goals, plans } => {
                let mut text: String = goals.iter().copied().map(goal).collect();
                text.extend(plans.iter().map(|&name| plan(name, goals.len())));
                self.files.insert(PATHS[*path].to_owned(), text);
            }
            Step::Spoil { path } => {
                self.files
                    .insert(PATHS[*path].to_owned(), "apiVersion: planspec.io/v1alpha1\nkind: [".to_owned());
            }
            Step::Mistake { path, name } => {
                let text = goal(*name).replace("description", "descriptoin");
                self.files.insert(PATHS[*path].to_owned(), text);
            }
            Step::Rename { from, to } => {
                if let Some(text) = self.files.remove(PATHS[*from]) {
                    self.files.insert(PATHS[*to].to_owned(), text);
                }
            }
            Step::Remove { path } => {
                self.files.remove(PATHS[*path]);
            }
            Step::Return { commit } => {
                let tree = self.trees[self.trees.len() - 1 - commit % self.trees.len()];
                self.files = self.read(tree);
            }
            Step::Forget { tip } => {
                let tip = self.tips[self.tips.len() - 1 - tip % self.tips.len()];
                self.tips.push(tip);
                return;
            }
            Step::Record | Step::Advance => return,
        }
        self.commit();
    }

    fn read(&self, tree: ObjectId) -> BTreeMap<String, String> {
        let changes = self.repo.compare(None, Some(tree)).unwrap();
        let read = |entry: TreeEntry| String::from_utf8(self.repo.blob(entry.id, 1 << 20).unwrap()).unwrap();
        let file = |change: TreeChange| Some((String::from_utf8(change.path).unwrap(), read(change.new?)));
        changes.into_iter().filter_map(file).collect()
    }

    /// Writes what a pass would: a record for all that is declared, with the last good version of what is quarantined.
    fn record(&mut self, index: &Index) {
        let old: Vec<ResourceKey> = index.records().unwrap().into_iter().map(|(key, _)| key).collect();
        let mut changes = Vec::new();
        let mut declared = Vec::new();
        for kind in [Kind::Goal, Kind::Plan] {
            declared.extend(index.declared_in(kind, &"team".parse().unwrap()).unwrap());
        }
        for key in &declared {
            let declaration = index.declared(key).unwrap().unwrap();
            let record = Arc::new(record_of(key, &declaration.source.path));
            let pins = declaration.quarantined.map(|_| (PinKind::Manifest, declaration.blob));
            changes.push(RecordEdit::Put { record, pins: Some(pins.into_iter().collect()) });
        }
        // A plan has a run that no manifest declares.
        for key in declared.clone().iter().filter(|key| key.kind == Kind::Plan) {
            let record = Arc::new(derived_from(key));
            declared.push(record.key());
            changes.push(RecordEdit::Put { record, pins: None });
        }
        changes.extend(old.into_iter().filter(|key| !declared.contains(key)).map(RecordEdit::Remove));
        self.publish(changes);
    }

    fn publish(&mut self, changes: Vec<RecordEdit>) {
        let batch = Batch {
            desired: None,
            runner: "r".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            changes,
            transitions: Vec::new(),
            dashboard: None,
        };
        let author = Signature { name: "r".to_owned(), email: "r@example.com".to_owned() };
        let base = self.tips.last().unwrap().0;
        let written = self.writer.write(&self.repo, &base, &batch, &author).unwrap();
        let tree = written.as_ref().map_or(base, WrittenCommit::status);
        self.written.extend(written.map(|written| written.records).unwrap_or_default());
        self.tips.push((tree, self.trees.last().copied()));
    }
}

/// The first record of a Goal or a Plan.
fn record_of(key: &ResourceKey, path: &str) -> StatusRecord {
    let source = (StatusMetadata::SOURCE.to_owned(), path.to_owned());
    let annotations = BTreeMap::from([source]);
    let metadata = StatusMetadata { annotations, ..StatusMetadata::bare(key, UID) };
    let status = match key.kind {
        Kind::Goal => ResourceStatus::Goal(GoalStatus::default()),
        _ => ResourceStatus::Plan(PlanStatus::default()),
    };
    StatusRecord { metadata, status }
}

/// The record of an Execution that a Schedule with the name of this plan made.
fn derived_from(plan: &ResourceKey) -> StatusRecord {
    let origin = Origin::Time(Timestamp::UNIX_EPOCH);
    let name = DerivedExecution::name(&plan.name, &origin);
    let key = ResourceKey::new(Kind::Execution, plan.namespace.clone(), name);
    let spec = serde_json::json!({ "planRef": Reference::to(plan.name.clone()) });
    let derived = DerivedExecution {
        owner: DerivedExecution::owner_reference(Kind::Schedule, &plan.name, "u"),
        origin,
        spec: serde_json::from_value(spec).unwrap(),
    };
    let mut status = ExecutionStatus::default();
    status.extensions.spec = Some(Box::new(derived.spec.clone()));
    let (annotations, owner_references) = (derived.annotations(), vec![derived.owner]);
    let metadata = StatusMetadata { annotations, owner_references, ..StatusMetadata::bare(&key, UID) };
    StatusRecord { metadata, status: ResourceStatus::Execution(Box::new(status)) }
}

/// Everything that follows from the two trees: what has to be planned and how things wait does not.
fn content(index: &Index) -> BTreeMap<String, Vec<u8>> {
    let read = index.store.begin_read().unwrap();
    let mut all = BTreeMap::new();
    for table in [FILES, BAD, DECLARED, DERIVED, RECORDED, BROKEN, PHASES, ACTIVE, ENDED] {
        for entry in read.open_table(table).unwrap().iter().unwrap() {
            let (key, value) = entry.unwrap();
            all.insert(format!("{} {}", table.name(), key.value()), value.value().to_vec());
        }
    }
    for table in [PLACES, MENTIONS, DERIVED_MENTIONS] {
        for entry in read.open_multimap_table(table).unwrap().iter().unwrap() {
            let (key, values) = entry.unwrap();
            let values: Vec<String> = values.map(|value| value.unwrap().value().to_owned()).collect();
            all.insert(format!("{} {}", table.name(), key.value()), values.join(" ").into_bytes());
        }
    }
    all
}

#[test]
fn a_limit_that_is_lowered_below_a_file_leaves_its_last_good_version_in_force() {
    let mut history = History::new();
    history.take(&Step::Write { path: 0, goals: vec![0, 1, 2], plans: vec![] });
    let mut index = Index::open(None).unwrap();
    let config = Config::default();
    index.advance(&history.repo, history.target(), &config).unwrap();
    history.record(&index);
    let lower = Config { limits: Limits { file_bytes: 100, ..config.limits }, ..Config::default() };
    let mut fresh = Index::open(None).unwrap();
    // Another configuration, so that the index is built again.
    let target = IndexTarget { config: Some(history.trees[0]), ..history.target() };
    index.advance(&history.repo, target, &lower).unwrap();
    fresh.advance(&history.repo, target, &lower).unwrap();
    for index in [&index, &fresh] {
        let declared = index.declared(&"team/goal/g1".parse().unwrap()).unwrap().unwrap();
        assert!(declared.quarantined.is_some());
    }
}

/// Puts an Execution whose record is in parts, or changes one of its nodes.
fn put_large(history: &mut History, attempt: u32) {
    let node = |number: usize| NodeId::new(&format!("n{number}")).unwrap();
    let mut status = ExecutionStatus::default();
    for number in 0..300 {
        status.node_statuses.insert(node(number), Default::default());
    }
    status.node_statuses.get_mut(&node(7)).unwrap().attempt = attempt;
    let key = "team/execution/e".parse().unwrap();
    let metadata = StatusMetadata::bare(&key, "6f0f58a4-6b1d-5c4e-9a53-0d1c3f0b77d2");
    let record = Arc::new(StatusRecord { metadata, status: ResourceStatus::Execution(Box::new(status)) });
    history.publish(vec![RecordEdit::Put { record, pins: None }]);
}

/// Changes a path of the status branch by hand.
fn tamper(history: &mut History, path: &str, text: Option<&str>) {
    let (status, previous) = *history.tips.last().unwrap();
    let blob = text.map(|text| history.repo.write_blob(text.as_bytes()).unwrap());
    let tree = history.repo.edit_tree(status.tree, &BTreeMap::from([(path.to_owned(), blob)])).unwrap();
    let author = Signature { name: "r".to_owned(), email: "r@example.com".to_owned() };
    let parents: Vec<ObjectId> = status.commit.into_iter().collect();
    let commit =
        history.repo.write_commit(tree, &parents, "by hand", &author, Timestamp::UNIX_EPOCH).unwrap();
    history.tips.push((StatusTree::at(&history.repo, Some(commit)).unwrap(), previous));
}

#[test]
fn whatever_happens_among_the_parts_of_a_record_breaks_that_record_until_it_is_written_again() {
    let part = "team/executions/e.nodes/9/d/n9.yaml";
    let tamperings: [(&str, Option<&str>); 4] = [
        (part, Some("phase: Succeeded\n")),
        (part, Some("phase: [")),
        (part, None),
        ("team/executions/e.nodes/sub/x.txt", Some("a note")),
    ];
    let nothing = WrittenRecords::default();
    for (path, text) in tamperings {
        let mut history = History::new();
        history.take(&Step::Write { path: 0, goals: vec![0], plans: vec![] });
        let mut kept = Index::open(None).unwrap();
        let broken = |history: &History, kept: &mut Index| {
            kept.advance(&history.repo, history.target(), &Config::default()).unwrap();
            let mut fresh = Index::open(None).unwrap();
            fresh.advance(&history.repo, history.unknown(&nothing), &Config::default()).unwrap();
            assert_eq!(content(kept), content(&fresh), "{path} {text:?}");
            kept.is_broken(&"team/execution/e".parse().unwrap()).unwrap()
        };
        put_large(&mut history, 0);
        assert!(!broken(&history, &mut kept));
        put_large(&mut history, 1);
        assert!(!broken(&history, &mut kept));
        tamper(&mut history, path, text);
        assert!(broken(&history, &mut kept), "{path} {text:?}");
        put_large(&mut history, 2);
        assert!(!broken(&history, &mut kept));
    }
}

#[test]
fn what_was_written_here_is_read_only_where_somebody_changed_it() {
    let config = Config::default();
    let mut history = History::new();
    history.take(&Step::Write { path: 0, goals: vec![0], plans: vec![] });
    let mut kept = Index::open(None).unwrap();
    let mut advance = |history: &History| {
        let advance = kept.advance(&history.repo, history.target(), &config).unwrap();
        (advance.records, advance.read)
    };
    assert_eq!(advance(&history), (0, 0));
    put_large(&mut history, 0);
    assert_eq!(advance(&history), (1, 0));
    put_large(&mut history, 1);
    assert_eq!(advance(&history), (1, 0));
    tamper(&mut history, "team/executions/e.nodes/9/d/n9.yaml", Some("phase: Succeeded\n"));
    assert_eq!(
        advance(&history),
        (1, 1),
        "the file of the record is the same, and what it names is not there"
    );
    put_large(&mut history, 2);
    history.written = WrittenRecords::default();
    assert_eq!(advance(&history), (1, 1), "another process wrote it");
}

#[test]
fn a_record_wakes_what_waits_for_it_and_a_manifest_what_mentions_it() {
    let config = Config::default();
    let mut history = History::new();
    // The plan mentions the goal, and serves it.
    history.take(&Step::Write { path: 0, goals: vec![1], plans: vec![0] });
    let [goal, plan, run] =
        ["team/goal/g1", "team/plan/p0", "team/execution/e"].map(|key| key.parse().unwrap());
    let now = Timestamp::UNIX_EPOCH;
    let mut kept = Index::open(None).unwrap();
    let mut woken = |history: &History| {
        kept.advance(&history.repo, history.target(), &config).unwrap();
        let work = kept.work(now).unwrap();
        let mut left: Vec<_> = work.iter().map(|key| (key.clone(), None)).collect();
        // It waits for the end of the goal, and for another version of the plan.
        let mut waits = WaitSet::default();
        for key in [&goal, &plan] {
            waits.on(&Topic::Resource(ResourceKey::clone(key)));
        }
        left.push((run.clone(), Some(waits)));
        kept.settle(&left, now).unwrap();
        work
    };
    assert_eq!(woken(&history), [goal.clone(), plan.clone()]);
    let put = |key| RecordEdit::Put { record: Arc::new(record_of(key, PATHS[0])), pins: None };
    history.publish(vec![put(&goal)]);
    assert_eq!(woken(&history), [goal.clone(), run.clone()], "not the plan, which reads no record");
    history.publish(vec![put(&plan)]);
    assert_eq!(
        woken(&history),
        std::slice::from_ref(&plan),
        "neither its goal nor who waits for the manifest"
    );
    history.publish(vec![RecordEdit::Remove(goal.clone())]);
    assert_eq!(
        woken(&history),
        [goal.clone(), plan.clone(), run.clone()],
        "one that is gone is another matter"
    );
    history.files.get_mut(PATHS[0]).unwrap().push_str("# another text\n");
    history.commit();
    assert_eq!(woken(&history), [goal.clone(), plan.clone(), run.clone()]);
}

fn check(steps: &[Step]) {
    let mut history = History::new();
    let config = Config::default();
    let mut kept = Index::open(None).unwrap();
    let nothing = WrittenRecords::default();
    for step in steps {
        history.take(step);
        if !matches!(step, Step::Advance | Step::Record) {
            continue;
        }
        kept.advance(&history.repo, history.target(), &config).unwrap();
        let mut fresh = Index::open(None).unwrap();
        fresh.advance(&history.repo, history.unknown(&nothing), &config).unwrap();
        let kept_content = content(&kept);
        let fresh_content = content(&fresh);
        let differing = kept_content
            .keys()
            .chain(fresh_content.keys())
            .filter(|key| kept_content.get(*key) != fresh_content.get(*key));
        let differing: BTreeSet<&String> = differing.collect();
        assert!(differing.is_empty(), "{differing:#?} after {steps:#?}");
        if matches!(step, Step::Record) {
            history.record(&kept);
        }
    }
}

#[test]
fn of_two_files_that_declare_the_same_the_first_by_path_counts_whichever_was_first_in_time() {
    let write = |path: usize| Step::Write { path, goals: vec![0], plans: vec![] };
    check(&[write(2), Step::Record, write(0), Step::Advance, Step::Remove { path: 2 }, Step::Advance]);
    check(&[write(0), Step::Record, write(2), Step::Advance, Step::Remove { path: 0 }, Step::Advance]);
}

#[test]
fn a_file_that_breaks_before_it_was_recorded_leaves_nothing_in_force() {
    let write = Step::Write { path: 0, goals: vec![0, 1], plans: vec![0] };
    let broken = Step::Spoil { path: 0 };
    check(&[write.clone(), Step::Advance, broken.clone(), Step::Advance]);
    check(&[
        write,
        Step::Record,
        broken,
        Step::Record,
        Step::Advance,
        Step::Forget { tip: 2 },
        Step::Advance,
    ]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn the_index_after_any_history_equals_the_index_from_nothing(
        steps in prop::collection::vec(step(), 1..24),
    ) {
        check(&steps);
    }
}

#[test]
fn what_is_read_on_all_cores_is_stored_in_its_order_up_to_what_fails() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::init_bare(dir.path(), "main").unwrap();
    let items: Vec<usize> = (0..3 * CHUNK).collect();
    let mut stored = Vec::new();
    let store = |item| {
        stored.push(item);
        Ok(())
    };
    in_parallel(&repo, &items, |_, item| Ok(*item), store).unwrap();
    assert_eq!(stored, items);

    let mut stored = 0;
    let read = |_: &Repo, item: &usize| if *item == CHUNK + 7 { Err(IndexError::ReadOnly) } else { Ok(()) };
    let count = |()| {
        stored += 1;
        Ok(())
    };
    assert!(matches!(in_parallel(&repo, &items, read, count), Err(IndexError::ReadOnly)));
    assert_eq!(stored, CHUNK, "the chunk before it is stored, and none after it");

    let mut stored = 0;
    let full = |()| {
        stored += 1;
        if stored == 5 { Err(IndexError::ReadOnly) } else { Ok(()) }
    };
    assert!(matches!(in_parallel(&repo, &items, |_, _| Ok(()), full), Err(IndexError::ReadOnly)));
    assert_eq!(stored, 5, "nothing more is stored once that failed");
}
