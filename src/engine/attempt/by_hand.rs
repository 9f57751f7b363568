//! Random plans whose nodes edit, rename, link, allow to run and remove files, and run again: with the commits that are really
//! merged, a node works on what a careful person would have merged by hand, or the conflict is named.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::base::ResultConflict;
use super::collect::ResultTerms;
use super::workspace::{WorkPlace, Workspaces};
use crate::engine::SystemClock;
use crate::git::{EntryMode, ObjectId, Repo};
use crate::model::{ExecutionStatus, NodeId, NodeResult, PinnedGraph};
use crate::plan::built_on;
use crate::record::results_ref;
use crate::run::CompiledPlan;

/// Nodes that change files; behind them is `end`, which looks at what all of them have left.
const NODES: usize = 4;

/// A file in each of two folders and two more, which are edited in every way, and two that become links.
const FILES: [&str; 4] = ["f0", "f1", "dir/f2", "dir/f3"];
const LINKS: [&str; 2] = ["l0", "l1"];

/// The files of a tree, as Git has them.
type Listed = BTreeMap<String, (EntryMode, Vec<u8>)>;

/// An attempt at a node.
type Work = (usize, u32);

/// A property of a file, and the attempts that gave it that; none where it was so from the beginning.
#[derive(Debug, Clone)]
struct Given<T> {
    value: T,
    by: BTreeSet<Work>,
}

impl<T: Clone + PartialEq> Given<T> {
    fn new(value: T, by: impl IntoIterator<Item = Work>) -> Self {
        Self { value, by: by.into_iter().collect() }
    }

    /// Whether whoever holds this work has seen it.
    fn is_known(&self, held: &BTreeSet<Work>) -> bool {
        self.by.is_empty() || !self.by.is_disjoint(held)
    }

    /// What a person takes: what was made by whoever knew the other; nothing where neither did, and both differ.
    fn merged(&self, held: &BTreeSet<Work>, other: &Self, other_held: &BTreeSet<Work>) -> Option<Self> {
        match (self.is_known(other_held), other.is_known(held)) {
            _ if self.value == other.value => {
                Some(Self { value: self.value.clone(), by: &self.by | &other.by })
            }
            (true, false) => Some(other.clone()),
            (false, true) => Some(self.clone()),
            _ => None,
        }
    }
}

/// A file, wherever it was moved to.
#[derive(Debug, Clone)]
struct ModelFile {
    path: Given<String>,
    /// Where it has ever been: of a file that both sides have moved, the merge names all three places.
    places: BTreeSet<String>,
    /// The line that is edited, or where the link leads.
    content: Given<(EntryMode, String)>,
    executable: Given<bool>,
    is_gone: bool,
}

impl ModelFile {
    fn new(path: &str, line: &str, by: Option<Work>) -> Self {
        Self {
            path: Given::new(path.to_owned(), by),
            places: BTreeSet::from([path.to_owned()]),
            content: Given::new((EntryMode::Blob, line.to_owned()), by),
            executable: Given::new(false, by),
            is_gone: false,
        }
    }

    /// Whether whoever holds this work has seen all that was done to it.
    fn is_known(&self, held: &BTreeSet<Work>) -> bool {
        self.path.is_known(held) && self.content.is_known(held) && self.executable.is_known(held)
    }

    /// As Git has it. So much text is in no other file that it stays the same one for Git, whatever becomes of its line.
    fn listed(&self, id: &str) -> (EntryMode, Vec<u8>) {
        let (mode, line) = &self.content.value;
        if *mode == EntryMode::Symlink {
            return (*mode, line.clone().into_bytes());
        }
        let lines = |from: usize| {
            (from..from + 8).map(|n| format!("line {n} of {id}, as it always was\n")).collect::<String>()
        };
        let mode = if self.executable.value { EntryMode::Executable } else { EntryMode::Blob };
        (mode, format!("{}{line}\n{}", lines(0), lines(8)).into_bytes())
    }
}

/// What a commit holds: the work, and the files by what they were called first.
#[derive(Debug, Clone, Default)]
struct ModelTree {
    held: BTreeSet<Work>,
    files: BTreeMap<String, ModelFile>,
}

impl ModelTree {
    fn beginning() -> Self {
        let file = |id: &&str| ((*id).to_owned(), ModelFile::new(id, "the line", None));
        Self { held: BTreeSet::new(), files: FILES.iter().chain(&LINKS).map(file).collect() }
    }

    fn listed(&self) -> Listed {
        let there = self.files.iter().filter(|(_, file)| !file.is_gone);
        there.map(|(id, file)| (file.path.value.clone(), file.listed(id))).collect()
    }

    /// Merges another one in as a person does; or under which names the files may be that conflict.
    fn merged(&self, other: &Self) -> Result<Self, BTreeSet<String>> {
        let mut merged = Self { held: &self.held | &other.held, files: BTreeMap::new() };
        let mut conflicts = BTreeSet::new();
        for id in self.files.keys().chain(other.files.keys()) {
            let file = match (self.files.get(id), other.files.get(id)) {
                (Some(ours), Some(theirs)) => self.merged_file(ours, other, theirs),
                (ours, theirs) => ours.or(theirs).cloned(),
            };
            match file {
                Some(file) => drop(merged.files.insert(id.clone(), file)),
                None => {
                    conflicts
                        .extend([self, other].into_iter().flat_map(|tree| tree.files[id].places.clone()));
                }
            }
        }
        let listed = merged.listed();
        // A folder has taken the name of a file.
        conflicts.extend(listed.keys().filter(|path| is_folder_in(path, &listed)).cloned());
        if conflicts.is_empty() { Ok(merged) } else { Err(conflicts) }
    }

    fn merged_file(&self, ours: &ModelFile, other: &Self, theirs: &ModelFile) -> Option<ModelFile> {
        match (ours.is_gone, theirs.is_gone) {
            (true, false) => theirs.is_known(&self.held).then(|| ours.clone()),
            (false, true) => ours.is_known(&other.held).then(|| theirs.clone()),
            (true, true) => Some(ours.clone()),
            (false, false) => Some(ModelFile {
                path: ours.path.merged(&self.held, &theirs.path, &other.held)?,
                places: &ours.places | &theirs.places,
                content: ours.content.merged(&self.held, &theirs.content, &other.held)?,
                executable: ours.executable.merged(&self.held, &theirs.executable, &other.held)?,
                is_gone: false,
            }),
        }
    }

    /// What one node does to one file, as its attempt does it.
    fn edit(&mut self, edit: Edit, work: Work) {
        let (node, attempt) = work;
        let mark = format!("{node}-{attempt}");
        let line = format!("the line of attempt {attempt} at node {node}");
        let paths = self.listed();
        let file = |of: usize| FILES[of % FILES.len()];
        let any = |of: usize| FILES.iter().chain(&LINKS).nth(of).unwrap();
        match edit {
            Edit::Line(of) => {
                let Some((_, file)) = self.there(any(of)) else { return };
                file.content = Given::new((EntryMode::Blob, line), [work]);
            }
            Edit::MayRun(of) => {
                let Some((_, file)) = self.there(file(of)) else { return };
                if !file.executable.value {
                    file.executable = Given::new(true, [work]);
                }
            }
            Edit::Rename(of) => {
                let Some((path, file)) = self.there(file(of)) else { return };
                let renamed = format!("renamed-{of}-{mark}");
                let path = match path.rsplit_once('/') {
                    Some((folder, _)) => format!("{folder}/{renamed}"),
                    None => renamed,
                };
                file.places.insert(path.clone());
                file.path = Given::new(path, [work]);
            }
            Edit::Remove(of) => {
                let Some((_, file)) = self.there(any(of)) else { return };
                file.is_gone = true;
            }
            Edit::BecomeFolder(of) => {
                let Some((path, file)) = self.there(file(of)) else { return };
                file.is_gone = true;
                self.add(format!("{path}/inner-{mark}"), &line, work);
            }
            Edit::BecomeLink(of) => {
                let Some((_, file)) = self.there(LINKS[of % LINKS.len()]) else { return };
                file.content = Given::new((EntryMode::Symlink, format!("to-{mark}")), [work]);
            }
            Edit::Add(of) => self.add(format!("added-{of}-{mark}"), &line, work),
            Edit::AddShared(of) => {
                let path = format!("shared-{}", of % 2);
                match self.there(&path) {
                    Some((_, file)) => file.content = Given::new((EntryMode::Blob, line), [work]),
                    None if is_folder_in(&path, &paths) => {}
                    None => self.add(path, &line, work),
                }
            }
            Edit::AddBelowShared(of) => {
                let shared = format!("shared-{}", of % 2);
                if !paths.contains_key(&shared) {
                    self.add(format!("{shared}/inner-{mark}"), &line, work);
                }
            }
        }
    }

    /// A file, if it is there, with its path.
    fn there(&mut self, id: &str) -> Option<(String, &mut ModelFile)> {
        let file = self.files.get_mut(id).filter(|file| !file.is_gone)?;
        Some((file.path.value.clone(), file))
    }

    fn add(&mut self, path: String, line: &str, work: Work) {
        let file = ModelFile::new(&path, line, Some(work));
        self.files.insert(path, file);
    }
}

fn is_folder_in(path: &str, listed: &Listed) -> bool {
    let below = format!("{path}/");
    listed.range(below.clone()..).next().is_some_and(|(next, _)| next.starts_with(&below))
}

/// What a node does to a file.
#[derive(Debug, Clone, Copy)]
enum Edit {
    Line(usize),
    MayRun(usize),
    Rename(usize),
    Remove(usize),
    BecomeFolder(usize),
    BecomeLink(usize),
    Add(usize),
    AddShared(usize),
    AddBelowShared(usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let edits: [fn(usize) -> Edit; 9] = [
        Edit::Line,
        Edit::MayRun,
        Edit::Rename,
        Edit::Remove,
        Edit::BecomeFolder,
        Edit::BecomeLink,
        Edit::Add,
        Edit::AddShared,
        Edit::AddBelowShared,
    ];
    (0..edits.len(), 0usize..6).prop_map(move |(kind, of)| edits[kind](of))
}

/// An Execution whose nodes really commit and merge, beside what a person would have.
struct Rig {
    _dir: tempfile::TempDir,
    repo: Repo,
    workspaces: Arc<Workspaces>,
    compiled: CompiledPlan,
    status: ExecutionStatus,
    edits: Vec<Vec<Edit>>,
    attempts: Vec<u32>,
    done: Vec<bool>,
    /// What the result of each node holds, where it has one.
    results: BTreeMap<usize, ModelTree>,
}

impl Rig {
    fn new(edges: u32, edits: Vec<Vec<Edit>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repo = Repo::init_bare(&dir.path().join("repo.git"), "main").unwrap();
        let ids: Vec<String> = (0..NODES).map(|n| format!("n{n}")).chain(["end".to_owned()]).collect();
        let pairs = (0..NODES).flat_map(|to| (0..to).map(move |from| (from, to)));
        let drawn = pairs.enumerate().filter(|(bit, _)| edges >> bit & 1 == 1).map(|(_, pair)| pair);
        let edges: Vec<Value> = drawn
            .chain((0..NODES).map(|from| (from, NODES)))
            .map(|(from, to)| json!({ "from": ids[from], "to": ids[to] }))
            .collect();
        let nodes: Vec<Value> = ids.iter().map(|id| json!({ "id": id, "kind": "Task" })).collect();
        let compiled = CompiledPlan::of_graph(&json!({ "nodes": nodes, "edges": edges }));
        let states: serde_json::Map<String, Value> =
            ids.iter().map(|id| (id.clone(), json!({ "phase": "Succeeded" }))).collect();
        let mut status: ExecutionStatus =
            serde_json::from_value(json!({ "phase": "Running", "nodeStatuses": states })).unwrap();
        let pinned = commit(&repo, &ModelTree::beginning(), None, "Begin");
        status.extensions.pinned = Some(PinnedGraph {
            commit: pinned.to_string(),
            plan: compiled.plan_key.clone(),
            graph_digest: compiled.digest.clone(),
            goal: None,
        });
        let work = dir.path().join("work");
        let place = WorkPlace { root: &work, shared: None };
        let workspaces =
            Workspaces::new(repo.common_dir(), None, place, ResultTerms::default(), Arc::new(SystemClock));
        Self {
            _dir: dir,
            repo,
            workspaces,
            compiled,
            status,
            edits,
            attempts: vec![0; NODES + 1],
            done: vec![false; NODES + 1],
            results: BTreeMap::new(),
        }
    }

    fn id(&self, ix: usize) -> NodeId {
        self.compiled.ids[ix].clone()
    }

    fn ix(&self, id: &NodeId) -> usize {
        self.compiled.topology.find(id.as_str()).unwrap()
    }

    /// What a person merges: of these results, all that no other of them holds already.
    fn by_hand(&self, among: impl IntoIterator<Item = usize>) -> Result<ModelTree, BTreeSet<String>> {
        let results: Vec<&ModelTree> = among.into_iter().filter_map(|ix| self.results.get(&ix)).collect();
        let is_in_another = |tree: &ModelTree| {
            results.iter().any(|other| other.held != tree.held && other.held.is_superset(&tree.held))
        };
        let last = results.iter().filter(|tree| !is_in_another(tree));
        last.into_iter().try_fold(ModelTree::beginning(), |tree, result| tree.merged(result))
    }

    fn before(&self, ix: usize) -> BTreeSet<usize> {
        let onto = &self.status.node_statuses[&self.id(ix)].extensions.onto;
        let also = onto.iter().map(|id| self.ix(id)).collect::<Vec<_>>();
        let upstream = |ix: usize| {
            let before = self.compiled.topology.upstream(ix);
            (0..=NODES).filter(move |other| before[*other])
        };
        also.iter().copied().chain(also.iter().copied().chain([ix]).flat_map(upstream)).collect()
    }

    /// Runs what has not run and can, each on its base; of results that conflict, the later one again on top of the earlier.
    fn run(&mut self) {
        // Bounded by how often a node is made again by itself.
        for _ in 0..4 {
            let Some(conflict) = self.run_until_conflict() else { return };
            let later = self.ix(&conflict.later);
            let mut onto = self.status.node_statuses[&conflict.later].extensions.onto.clone();
            onto.extend(conflict.earlier);
            self.again(later, onto);
        }
    }

    fn run_until_conflict(&mut self) -> Option<ResultConflict> {
        for ix in self.compiled.topology.order().to_vec() {
            if self.done[ix] {
                continue;
            }
            let before = self.before(ix);
            let reference = results_ref(&self.compiled.key);
            let base = self.workspaces.base(&self.compiled, &self.status, ix, &reference).unwrap();
            let start = self.status.start_commit().unwrap().to_owned();
            let base = match (base.commit(&start), self.by_hand(before)) {
                (Ok(base), Ok(tree)) => (base.parse().unwrap(), tree),
                (Err(conflict), Err(_)) => {
                    self.check_names(&conflict);
                    return Some(conflict);
                }
                (base, tree) => panic!("the base of node {ix} is {base:?}, and by hand it is {tree:#?}"),
            };
            assert_eq!(listed(&self.repo, base.0), base.1.listed(), "the base of node {ix}");
            self.work(ix, base);
        }
        None
    }

    fn work(&mut self, ix: usize, (base, mut tree): (ObjectId, ModelTree)) {
        self.done[ix] = true;
        self.attempts[ix] += 1;
        let work = (ix, self.attempts[ix]);
        let there = tree.listed();
        for edit in self.edits.get(ix).cloned().unwrap_or_default() {
            tree.edit(edit, work);
        }
        if tree.listed() == there {
            return;
        }
        tree.held.insert(work);
        // As every result says whose it is: without that, two nodes that did the same would have made the same commit.
        let message = format!("Attempt {} at node {ix}", work.1);
        let result = commit(&self.repo, &tree, Some(base), &message).to_string();
        let result =
            NodeResult { commit: result, base: base.to_string(), files: 1, insertions: 1, deletions: 0 };
        let id = self.id(ix);
        self.status.node_statuses.get_mut(&id).unwrap().extensions.result = Some(Arc::new(result));
        self.results.insert(ix, tree);
    }

    /// Of the two sides that a conflict names, a person finds no merge either, and the files are those.
    #[track_caller]
    fn check_names(&self, conflict: &ResultConflict) {
        let ours = self.by_hand(conflict.earlier.iter().map(|id| self.ix(id))).unwrap();
        let by_hand = ours.merged(&self.results[&self.ix(&conflict.later)]).unwrap_err();
        let (_, files) = conflict.what.split_once(" conflict in ").unwrap();
        for file in files.split(", ").map(|file| file.trim_matches('`')) {
            // What has no room under its name is put beside it, with the side that it comes from.
            let name = file.split('~').next().unwrap();
            assert!(by_hand.contains(name), "{file} is not among {by_hand:?}: {}", conflict.what);
        }
    }

    /// A node runs again, with all that was built on it.
    fn again(&mut self, ix: usize, onto: Vec<NodeId>) {
        let again = built_on(&self.compiled, &self.status, ix);
        for at in (0..=NODES).filter(|at| again[*at]) {
            self.done[at] = false;
            self.results.remove(&at);
            let id = self.id(at);
            let state = self.status.node_statuses.get_mut(&id).unwrap();
            (state.extensions.result, state.extensions.onto) = (None, Vec::new());
        }
        let id = self.id(ix);
        self.status.node_statuses.get_mut(&id).unwrap().extensions.onto = onto;
    }
}

fn commit(repo: &Repo, tree: &ModelTree, base: Option<ObjectId>, message: &str) -> ObjectId {
    let tree = repo.write_listed(&tree.listed());
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    repo.write_commit(tree, base.as_slice(), message, &repo.runner_identity(), at).unwrap()
}

fn listed(repo: &Repo, commit: ObjectId) -> Listed {
    let mut found = Listed::new();
    let mut open = vec![(String::new(), repo.commit(commit).unwrap().tree)];
    while let Some((prefix, tree)) = open.pop() {
        for entry in repo.entries(tree).unwrap() {
            let path = format!("{prefix}{}", String::from_utf8(entry.name).unwrap());
            match entry.mode {
                EntryMode::Tree => open.push((format!("{path}/"), entry.id)),
                mode => drop(found.insert(path, (mode, repo.blob(entry.id, u64::MAX).unwrap()))),
            }
        }
    }
    found
}

proptest! {
    // Each merge is some runs of `git`; what is drawn is new in every run of the tests.
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_node_works_on_what_a_careful_person_would_have_merged_or_the_conflict_is_named(
        edges in any::<u32>(),
        edits in proptest::collection::vec(proptest::collection::vec(edit(), 0..4), NODES),
        retries in proptest::collection::vec(0..NODES, 0..3),
    ) {
        let mut rig = Rig::new(edges, edits);
        rig.run();
        for ix in retries {
            rig.again(ix, Vec::new());
            rig.run();
        }
    }
}
