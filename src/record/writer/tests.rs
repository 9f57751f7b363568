//! The writer against real repositories.

use jiff::Timestamp;

use super::*;
use crate::model::{
    ExecutionPhase, ExecutionStatus, GoalStatus, NodeId, NodePhase, NodeStatus, ResourceStatus,
    StatusMetadata,
};
use crate::record::{DashboardInput, Pinned, StatusPath};

struct Bench {
    _dir: tempfile::TempDir,
    repo: Repo,
    writer: Writer,
    tip: StatusTree,
}

fn author() -> Signature {
    Signature { name: "runner".into(), email: "runner@example.org".into() }
}

fn key(kind: Kind, name: &str) -> ResourceKey {
    ResourceKey::new(kind, Name::new("team").unwrap(), Name::new(name).unwrap())
}

fn record(name: &str, status: ResourceStatus) -> Arc<StatusRecord> {
    let metadata = StatusMetadata::bare(&key(status.kind(), name), "6f0f58a4-6b1d-5c4e-9a53-0d1c3f0b77d2");
    Arc::new(StatusRecord { metadata, status })
}

fn execution(name: &str, nodes: &[(&str, NodePhase)]) -> Arc<StatusRecord> {
    let node = |(id, phase): &(&str, NodePhase)| {
        (NodeId::new(id).unwrap(), NodeStatus { phase: *phase, ..NodeStatus::default() })
    };
    let status = ExecutionStatus {
        phase: ExecutionPhase::Running,
        node_statuses: nodes.iter().map(node).collect(),
        ..ExecutionStatus::default()
    };
    record(name, ResourceStatus::Execution(Box::new(status)))
}

fn goal(name: &str) -> Arc<StatusRecord> {
    record(name, ResourceStatus::Goal(GoalStatus::default()))
}

fn put(record: Arc<StatusRecord>) -> RecordEdit {
    RecordEdit::Put { record, pins: None }
}

fn batch(changes: Vec<RecordEdit>) -> Batch {
    Batch {
        desired: None,
        runner: "ci".to_owned(),
        at: Timestamp::UNIX_EPOCH,
        changes,
        transitions: Vec::new(),
        dashboard: None,
    }
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repo::init_bare(dir.path(), "main").unwrap();
        Self { _dir: dir, repo, writer: Writer::new(), tip: StatusTree::default() }
    }

    /// Writes, and continues from what was written.
    fn write(&mut self, changes: Vec<RecordEdit>) -> Option<ObjectId> {
        let made = self.writer.write(&self.repo, &self.tip, &batch(changes), &author()).unwrap()?;
        self.tip = StatusTree::at(&self.repo, Some(made.commit)).unwrap();
        assert_eq!(self.tip, made.status());
        assert_eq!(self.repo.commit(made.commit).unwrap().subject(), made.subject);
        Some(made.commit)
    }

    fn paths(&self) -> Vec<String> {
        let changes = self.repo.compare(None, self.tip.tree).unwrap();
        changes.into_iter().map(|change| String::from_utf8(change.path).unwrap()).collect()
    }

    fn blob(&self, text: &str) -> ObjectId {
        self.repo.write_blob(text.as_bytes()).unwrap()
    }
}

#[test]
fn a_blob_that_garbage_collection_removed_between_two_attempts_is_written_again() {
    let mut bench = Bench::new();
    let run = execution("run", &[("a", NodePhase::Running)]);
    let lost =
        bench.writer.write(&bench.repo, &bench.tip, &batch(vec![put(Arc::clone(&run))]), &author()).unwrap();
    assert!(lost.is_some());
    // What `git gc --prune=now` does to objects that no reference names.
    for entry in std::fs::read_dir(bench.repo.common_dir().join("objects")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name.len() == 2) {
            std::fs::remove_dir_all(path).unwrap();
        }
    }
    let reopened = bench.repo.reopen().unwrap();
    bench.repo = reopened;
    bench.write(vec![put(Arc::clone(&run))]).unwrap();
    assert_eq!(bench.tip.get(&bench.repo, &key(Kind::Execution, "run")).unwrap().as_ref(), Some(&*run));
}

#[test]
fn what_is_written_is_read_back_with_its_pins() {
    let mut bench = Bench::new();
    let run = execution("run", &[("a", NodePhase::Running)]);
    let own = bench.blob("execution");
    let plan = bench.blob("plan");
    let pins = Some(vec![(PinKind::Execution, own), (PinKind::Plan, plan)]);
    bench.write(vec![RecordEdit::Put { record: Arc::clone(&run), pins }, put(goal("win"))]).unwrap();
    assert_eq!(
        bench.paths(),
        [
            "team/executions/run.pinned/execution.yaml",
            "team/executions/run.pinned/plan.yaml",
            "team/executions/run.yaml",
            "team/goals/win.yaml",
        ]
    );
    let key = key(Kind::Execution, "run");
    let pinned = Pinned { execution: Some(own), plan: Some(plan), ..Pinned::default() };
    assert_eq!(bench.tip.pinned(&bench.repo, &key).unwrap(), pinned);
    assert_eq!(bench.tip.get(&bench.repo, &key).unwrap().as_ref(), Some(&*run));

    let next = execution("run", &[("a", NodePhase::Succeeded)]);
    bench.write(vec![put(Arc::clone(&next))]).unwrap();
    assert_eq!(bench.tip.pinned(&bench.repo, &key).unwrap(), pinned, "pins stay when none are given");
    assert_eq!(bench.tip.get(&bench.repo, &key).unwrap().as_ref(), Some(&*next));
    let log: Vec<_> = bench.repo.log(bench.tip.commit.unwrap()).map(Result::unwrap).collect();
    assert_eq!(log.len(), 2);
    assert_eq!(log[0].parents, [log[1].id]);
    assert!(log[1].parents.is_empty(), "the status branch is an orphan");

    bench.write(vec![RecordEdit::Remove(key.clone())]).unwrap();
    let stays = |file: &str| format!("team/removed/6f/6f0f58a4-6b1d-5c4e-9a53-0d1c3f0b77d2/{file}");
    let files = [stays("execution.yaml"), stays("plan.yaml"), stays("record.yaml")];
    assert_eq!(bench.paths()[1..], files);
    assert_eq!(bench.paths()[0], "team/goals/win.yaml");
    assert_eq!(bench.tip.get(&bench.repo, &key).unwrap(), None);
    let uid = &next.metadata.uid;
    let removed = bench.tip.removed(&bench.repo, &key, uid).unwrap().unwrap();
    assert_eq!(removed.record.unwrap().execution().unwrap().phase, next.execution().unwrap().phase);
    assert_eq!(removed.pins, [(PinKind::Execution, own), (PinKind::Plan, plan)]);
    let other = "5f0c3a1e-0000-5000-8000-000000000000";
    assert!(bench.tip.removed(&bench.repo, &key, other).unwrap().is_none());
}

#[test]
fn a_batch_that_changes_nothing_makes_no_commit() {
    let mut bench = Bench::new();
    assert_eq!(bench.write(Vec::new()), None);
    assert_eq!(bench.write(vec![RecordEdit::Remove(key(Kind::Goal, "gone"))]), None);
    bench.write(vec![put(goal("win"))]).unwrap();
    assert_eq!(bench.write(vec![put(goal("win"))]), None);
    bench.writer = Writer::new();
    assert_eq!(bench.write(vec![put(goal("win"))]), None);
    assert_eq!(bench.write(vec![RecordEdit::Remove(key(Kind::Plan, "gone"))]), None);
}

#[test]
fn the_same_batch_can_be_written_again_on_a_moved_tip() {
    let mut bench = Bench::new();
    let run = execution("run", &[("a", NodePhase::Running)]);
    let lost = bench.writer.write(&bench.repo, &bench.tip, &batch(vec![put(Arc::clone(&run))]), &author());
    let lost = lost.unwrap().unwrap();
    let other = Writer::new().write(&bench.repo, &bench.tip, &batch(vec![put(goal("win"))]), &author());
    bench.tip = other.unwrap().unwrap().status();
    let won = bench.write(vec![put(run)]).unwrap();
    assert_ne!(lost.commit, won);
    assert_eq!(bench.paths(), ["team/executions/run.yaml", "team/goals/win.yaml"]);
}

#[test]
fn only_the_changed_paths_differ_and_the_dashboard_is_one_of_them() {
    let mut bench = Bench::new();
    bench.write(vec![put(goal("a")), put(goal("b"))]).unwrap();
    let before = bench.tip;
    let mut next = batch(vec![put(execution("run", &[]))]);
    next.dashboard = Some(DashboardInput::default());
    let made = bench.writer.write(&bench.repo, &bench.tip, &next, &author()).unwrap();
    let after = made.unwrap().status();
    let changes = bench.repo.compare(before.tree, after.tree).unwrap();
    let paths: Vec<_> = changes.iter().map(|change| StatusPath::parse(&change.path).unwrap()).collect();
    assert_eq!(paths, [StatusPath::Dashboard, StatusPath::Record(key(Kind::Execution, "run"))]);
}

#[test]
fn a_large_directory_is_split_stays_split_and_is_read_in_both_layouts() {
    let mut bench = Bench::new();
    let name = |i: usize| format!("g{i}");
    bench.write((0..layout::SPLIT_LIMIT).map(|i| put(goal(&name(i)))).collect()).unwrap();
    assert!(bench.paths().contains(&"team/goals/g7.yaml".to_owned()));
    let read = |bench: &Bench, i| bench.tip.get(&bench.repo, &key(Kind::Goal, &name(i))).unwrap();
    assert_eq!(read(&bench, 7).as_ref(), Some(&*goal("g7")));

    bench.write(vec![put(goal("one-more"))]).unwrap();
    let paths = bench.paths();
    assert_eq!(paths.len(), layout::SPLIT_LIMIT + 1);
    assert!(paths.iter().all(|path| path.split('/').count() == 4), "{:?}", paths.first());
    assert_eq!(read(&bench, 7).as_ref(), Some(&*goal("g7")));
    let listed = bench.tip.list(&bench.repo, Some(Kind::Goal), None).unwrap();
    assert_eq!(listed.len(), layout::SPLIT_LIMIT + 1);
    for (key, path, blob) in listed {
        assert_eq!(bench.tip.locate(&bench.repo, &key).unwrap(), Some((path, blob)));
    }

    bench.write((10..layout::SPLIT_LIMIT).map(|i| RecordEdit::Remove(key(Kind::Goal, &name(i)))).collect());
    bench.write(vec![put(goal("later"))]).unwrap();
    let paths = bench.paths();
    assert_eq!(paths.len(), 12);
    assert!(paths.iter().all(|path| path.split('/').count() == 4), "{paths:?}");
}

#[test]
fn pins_move_along_when_a_directory_is_split() {
    let mut bench = Bench::new();
    let blob = bench.blob("manifest");
    let run = |i: usize| {
        let pins = Some(vec![(PinKind::Execution, blob), (PinKind::Goal, blob)]);
        RecordEdit::Put { record: execution(&format!("r{i}"), &[]), pins }
    };
    bench.write((0..layout::SPLIT_LIMIT / 2).map(run).collect()).unwrap();
    assert!(bench.paths().contains(&"team/executions/r3.pinned/goal.yaml".to_owned()));
    bench.write(vec![run(9_999)]).unwrap();
    assert!(bench.paths().iter().all(|path| StatusPath::parse(path.as_bytes()).is_some()));
    for name in ["r3", "r9999"] {
        let pinned = bench.tip.pinned(&bench.repo, &key(Kind::Execution, name)).unwrap();
        assert_eq!(pinned, Pinned { execution: Some(blob), goal: Some(blob), ..Pinned::default() });
    }
    bench.write(vec![RecordEdit::Remove(key(Kind::Execution, "r3"))]).unwrap();
    assert!(!bench.paths().iter().any(|path| path.contains("/r3.")));
}

#[test]
fn an_unreadable_record_is_an_error_of_its_own_and_hides_no_other() {
    let mut bench = Bench::new();
    bench.write(vec![put(goal("good")), put(goal("bad")), put(goal("other"))]).unwrap();
    let stolen = bench.tip.locate(&bench.repo, &key(Kind::Goal, "good")).unwrap().unwrap().1;
    let edits = BTreeMap::from([
        ("team/goals/bad.yaml".to_owned(), Some(bench.blob("status: [\n"))),
        ("team/goals/other.yaml".to_owned(), Some(stolen)),
        ("team/goals/Not A Name.yaml".to_owned(), Some(stolen)),
        ("notes.txt".to_owned(), Some(stolen)),
        ("team/goals/00/good.yaml".to_owned(), Some(stolen)),
    ]);
    let tree = bench.repo.edit_tree(bench.tip.tree, &edits).unwrap();
    let tip = StatusTree { tree: Some(tree), ..bench.tip };
    let names: Vec<String> =
        tip.list(&bench.repo, None, None).unwrap().iter().map(|(_, path, _)| path.clone()).collect();
    assert_eq!(names, ["team/goals/bad.yaml", "team/goals/good.yaml", "team/goals/other.yaml"]);
    assert!(tip.get(&bench.repo, &key(Kind::Goal, "good")).unwrap().is_some());
    let error = tip.get(&bench.repo, &key(Kind::Goal, "bad")).unwrap_err().to_string();
    assert!(error.starts_with("the status record `team/goals/bad.yaml` cannot be read: "), "{error}");
    let error = tip.get(&bench.repo, &key(Kind::Goal, "other")).unwrap_err().to_string();
    assert_eq!(
        error,
        "the status record `team/goals/other.yaml` cannot be read: it is the record of team/goal/good"
    );
}
