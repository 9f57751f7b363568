//! Records in parts against real repositories: what they cost, and what hostile ones break.

use std::path::PathBuf;

use jiff::Timestamp;

use super::*;
use crate::git::Signature;
use crate::model::{ExecutionPhase, ExecutionStatus, Kind, Name, NodePhase, StatusMetadata};
use crate::record::{Batch, RecordEdit, StatusPath, StatusTree, Writer, key_of_path};

struct Bench {
    _dir: tempfile::TempDir,
    repo: Repo,
    writer: Writer,
    tip: StatusTree,
}

fn author() -> Signature {
    Signature { name: "runner".into(), email: "runner@example.org".into() }
}

fn key() -> ResourceKey {
    ResourceKey::new(Kind::Execution, Name::new("team").unwrap(), Name::new("run").unwrap())
}

fn id(number: usize) -> NodeId {
    NodeId::new(&format!("n{number}")).unwrap()
}

fn record(nodes: usize) -> Arc<StatusRecord> {
    let metadata = StatusMetadata::bare(&key(), "6f0f58a4-6b1d-5c4e-9a53-0d1c3f0b77d2");
    let status = ExecutionStatus {
        phase: ExecutionPhase::Running,
        node_statuses: (0..nodes).map(|number| (id(number), NodeStatus::default())).collect(),
        ..ExecutionStatus::default()
    };
    Arc::new(StatusRecord { metadata, status: ResourceStatus::Execution(Box::new(status)) })
}

/// The record after node `number` has succeeded.
fn moved(record: &StatusRecord, number: usize) -> Arc<StatusRecord> {
    let mut next = record.clone();
    let ResourceStatus::Execution(status) = &mut next.status else { panic!("an Execution") };
    let node = status.node_statuses.get_mut(&id(number)).unwrap();
    (node.phase, node.attempt, node.message) = (NodePhase::Succeeded, 1, format!("node {number}"));
    Arc::new(next)
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repo::init_bare(dir.path(), "main").unwrap();
        Self { _dir: dir, repo, writer: Writer::new(), tip: StatusTree::default() }
    }

    fn write(&mut self, changes: Vec<RecordEdit>) {
        let batch = Batch {
            desired: None,
            runner: "ci".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            changes,
            transitions: Vec::new(),
            dashboard: None,
        };
        let made = self.writer.write(&self.repo, &self.tip, &batch, &author()).unwrap();
        self.tip = made.map(|made| made.status()).unwrap_or_default();
    }

    fn put(&mut self, record: &Arc<StatusRecord>) {
        self.write(vec![RecordEdit::Put { record: Arc::clone(record), pins: None }]);
    }

    fn read(&self) -> Result<Option<StatusRecord>, RecordError> {
        self.tip.get(&self.repo, &key())
    }

    fn paths(&self) -> Vec<String> {
        let changes = self.repo.compare(None, self.tip.tree).unwrap();
        changes.into_iter().map(|change| String::from_utf8(change.path).unwrap()).collect()
    }

    /// The loose objects of the repository, and the packs that large commits are.
    fn objects(&self) -> Vec<PathBuf> {
        let folders = std::fs::read_dir(self.repo.common_dir().join("objects")).unwrap();
        let folders =
            folders.map(|folder| folder.unwrap().path()).filter(|path| path.to_str().unwrap().len() >= 2);
        let inside = |folder: PathBuf| std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        folders.filter(|path| path.is_dir()).flat_map(inside).filter(|path| path.is_file()).collect()
    }

    /// The status tree with one path set by hand, in a commit like any other.
    fn tamper(&mut self, path: &str, blob: Option<ObjectId>) {
        let tree = self.repo.edit_tree(self.tip.tree, &BTreeMap::from([(path.to_owned(), blob)])).unwrap();
        let parents: Vec<ObjectId> = self.tip.commit.into_iter().collect();
        let commit =
            self.repo.write_commit(tree, &parents, "by hand", &author(), Timestamp::UNIX_EPOCH).unwrap();
        self.tip = StatusTree::at(&self.repo, Some(commit)).unwrap();
    }

    fn part(&self, number: usize) -> String {
        let wanted = StatusPath::Part(key(), Some(id(number)));
        let found = self
            .paths()
            .into_iter()
            .find(|path| StatusPath::parse(path.as_bytes()).as_ref() == Some(&wanted));
        found.unwrap()
    }
}

#[test]
fn a_record_has_one_form_by_its_number_of_nodes() {
    for (count, parts) in [(PARTS_FROM - 1, 0), (PARTS_FROM, PARTS_FROM), (1_001, 1_001)] {
        let mut bench = Bench::new();
        let run = record(count);
        bench.put(&run);
        let paths = bench.paths();
        assert_eq!(paths.len(), 1 + parts);
        assert_eq!(paths.iter().filter(|path| key_of_path(path).is_some()).count(), 1);
        // A part where there are some: `run.nodes` comes before `run.yaml`.
        assert_eq!(paths[0].split('/').count(), if parts > 0 { 6 } else { 3 }, "{}", paths[0]);
        assert_eq!(bench.read().unwrap().as_ref(), Some(&*run));
    }
}

#[test]
fn a_record_moves_between_the_forms_in_one_commit_and_leaves_nothing_behind() {
    let mut bench = Bench::new();
    bench.put(&record(3));
    for count in [300, 1_500, 300, 3] {
        bench.put(&record(count));
        assert_eq!(bench.read().unwrap().as_ref(), Some(&*record(count)));
        assert_eq!(bench.paths().len(), if count > 3 { count + 1 } else { 1 });
    }
    bench.put(&record(300));
    bench.write(vec![RecordEdit::Remove(key())]);
    // What stays of it is one file, whatever its form was.
    assert_eq!(bench.paths(), ["team/removed/6f/6f0f58a4-6b1d-5c4e-9a53-0d1c3f0b77d2/record.yaml"]);
}

#[test]
fn a_transition_reads_and_writes_what_it_changes_however_many_nodes_there_are() {
    let mut written = Vec::new();
    for count in [1_200, 12_000] {
        let mut bench = Bench::new();
        let first = record(count);
        bench.put(&first);
        let started = moved(&first, 8);
        bench.put(&started);
        let before = bench.objects();
        // Whatever the next transition does not change may be gone: it is neither read nor written again. The first commit is
        // a pack, and what this one added is loose.
        let other = bench.repo.file(bench.tip.tree.unwrap(), &bench.part(8)).unwrap().unwrap().to_string();
        let gone = before.iter().find(|path| {
            let name = format!(
                "{}{}",
                path.parent().unwrap().file_name().unwrap().to_str().unwrap(),
                path.file_name().unwrap().to_str().unwrap()
            );
            name == other
        });
        std::fs::remove_file(gone.unwrap()).unwrap();
        bench.repo = bench.repo.reopen().unwrap();
        let before_tip = bench.tip;
        let next = moved(&started, 9);
        bench.put(&next);
        written.push(bench.objects().len() + 1 - before.len());
        // So does another runner that takes in what this one wrote.
        let read = bench.tip.get_after(&bench.repo, &key(), &before_tip, &started).unwrap();
        assert_eq!(read.as_ref(), Some(&*next));
        assert!(
            matches!(bench.read(), Err(RecordError::Git(GitError::Missing { .. }))),
            "all of it was not here"
        );
    }
    // The node; its three directories, that of executions, of the namespace, the root; the record; the commit.
    assert_eq!(written, [9, 9]);
}

#[test]
fn a_lost_race_is_written_again_from_what_is_on_the_branch() {
    let mut bench = Bench::new();
    let first = record(300);
    bench.put(&first);
    let published = bench.tip;
    bench.put(&moved(&first, 1));
    // The branch did not move to that commit.
    bench.tip = published;
    let second = moved(&first, 2);
    bench.put(&second);
    assert_eq!(bench.read().unwrap().as_ref(), Some(&*second));
}

#[test]
fn what_is_wrong_among_the_parts_breaks_this_record_and_its_last_good_version_is_found() {
    let good = moved(&record(300), 3);
    let node = |bench: &Bench| bench.repo.write_blob(b"phase: Succeeded\n").unwrap();
    type Tampering = fn(&mut Bench, ObjectId);
    let tamperings: [(&str, Tampering); 4] = [
        ("a missing part", |bench, _| bench.tamper(&bench.part(4), None)),
        ("another part", |bench, blob| bench.tamper(&bench.part(4), Some(blob))),
        ("a part too many", |bench, blob| bench.tamper("team/executions/run.nodes/x.yaml", Some(blob))),
        ("no part", |bench, blob| bench.tamper("team/executions/run.nodes/sub/x.txt", Some(blob))),
    ];
    for (what, tamper) in tamperings {
        let mut bench = Bench::new();
        bench.put(&good);
        let blob = node(&bench);
        tamper(&mut bench, blob);
        assert!(matches!(bench.read(), Err(RecordError::Unreadable { .. })), "{what}");
        let log = bench.repo.log(bench.tip.commit.unwrap()).map(|commit| commit.map_err(RecordError::from));
        let last = StatusTree::last_sound(&bench.repo, log, &key()).unwrap();
        assert_eq!(last.as_ref(), Some(&*good), "{what}");
        // Written again, it is whole.
        bench.writer = Writer::new();
        bench.put(&good);
        assert_eq!(bench.read().unwrap().as_ref(), Some(&*good), "{what}");
    }
}

#[test]
fn a_record_that_names_hostile_parts_is_broken_and_nothing_else() {
    let mut bench = Bench::new();
    bench.put(&record(300));
    let nodes = |bench: &Bench| {
        bench.repo.entry(bench.tip.tree.unwrap(), "team/executions/run.nodes").unwrap().unwrap().id
    };
    let head = |bench: &Bench| {
        let blob = bench.repo.file(bench.tip.tree.unwrap(), "team/executions/run.yaml").unwrap().unwrap();
        String::from_utf8(bench.repo.blob(blob, 1 << 20).unwrap()).unwrap()
    };
    let sound = (head(&bench), nodes(&bench).to_string());
    for (what, path, text, head) in [
        ("a node that is none", "8/8/n4.yaml", "phase: Odd\n", None),
        ("a file that is no node", "UP.yaml", "phase: Pending\n", None),
        ("another number", "8/8/n4.yaml", "phase: Pending\n", Some(("nodes: 300", "nodes: 299"))),
        ("a tree that is none", "8/8/n4.yaml", "phase: Pending\n", Some((sound.1.as_str(), "main"))),
        (
            "a tree that is not here",
            "8/8/n4.yaml",
            "phase: Pending\n",
            Some((sound.1.as_str(), "0123456789012345678901234567890123456789")),
        ),
        (
            "nodes in both places",
            "8/8/n4.yaml",
            "phase: Pending\n",
            Some(("status:\n", "status:\n  nodeStatuses:\n    a:\n      phase: Pending\n")),
        ),
    ] {
        let mut bench = Bench::new();
        bench.put(&record(300));
        let blob = bench.repo.write_blob(text.as_bytes()).unwrap();
        bench.tamper(&format!("team/executions/run.nodes/{path}"), Some(blob));
        // The record names what was made of its parts, as whoever can push the branch would have it.
        let mut text = sound.0.replace(&sound.1, &nodes(&bench).to_string());
        if let Some((from, to)) = head {
            text = sound.0.replace(from, to);
        }
        let blob = bench.repo.write_blob(text.as_bytes()).unwrap();
        bench.tamper("team/executions/run.yaml", Some(blob));
        let read = bench.read();
        assert!(matches!(read, Err(RecordError::Unreadable { .. })), "{what}: {read:?}");
    }
}
