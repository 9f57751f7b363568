//! What is to be done in a simulation: a few small plans from a seed, a repository that holds them, and clones of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::dice::Dice;
use crate::config::CONFIG_FILE;
use crate::engine::{BranchChoice, Branches};
use crate::git::{ObjectId, Remote, RemoteOptions, Repo, Transport};

/// How long a lease lasts.
pub(super) const LEASE: Duration = Duration::from_secs(40);
/// How far apart the clocks of two runners may be.
pub(super) const SKEW: Duration = Duration::from_secs(5);

/// How many Executions there are where all have something to do.
pub(super) const CROWD: usize = 24;
/// How many changes people merge while work goes on.
const EDITS: usize = 2;

/// The repository that the runners share, and how they publish.
pub(super) struct Stage {
    folder: TempDir,
    pub(super) desired: ObjectId,
    pub(super) strict: bool,
    /// How many Executions there are from the beginning.
    pub(super) executions: usize,
    /// The Executions that people cancel.
    pub(super) cancelled: Vec<String>,
    /// What the nodes of an Execution wait for.
    pub(super) sources: Sources,
    /// How many changes people merge while work goes on.
    pub(super) edits: usize,
    pub(super) pace: Pace,
}

/// How fast things go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Within how many seconds the machines begin.
    pub(super) begin: u64,
    /// From when on shares are compared.
    pub(super) compared_from: Duration,
    /// How often a runner that stays reads the branches.
    pub(super) watch: Duration,
    /// How long each task takes, where that is not left to the seed.
    pub(super) task: Option<Duration>,
}

impl Pace {
    /// Machines begin one after the other, and some tasks outlast a lease.
    const USUAL: Self = Self {
        begin: 20,
        compared_from: Duration::from_secs(30),
        watch: Duration::from_secs(10),
        task: None,
    };
    /// Machines begin together, and all tasks take a second.
    const STEADY: Self = Self {
        begin: 1,
        compared_from: Duration::ZERO,
        watch: Duration::from_secs(1),
        task: Some(Duration::from_secs(1)),
    };
}

/// Of each Execution and node, by name, the nodes that it waits for.
pub(super) type Sources = BTreeMap<(String, String), Vec<String>>;

impl Stage {
    pub(super) fn new(shape: u64) -> Self {
        let mut dice = Dice::new(shape, 1);
        let strict = dice.chance(30);
        let configuration = configuration(strict, &mut dice);
        let (plans, nodes) = if is_small(shape) { (2, 2) } else { (3, 4) };
        let WorkToDo { mut files, cancelled, sources } = work(&mut dice, plans, nodes);
        files.insert(CONFIG_FILE.to_owned(), configuration);
        Self { cancelled, sources, ..Self::with(&files, strict) }
    }

    /// Many Executions of a few tasks each, so that there is work for all.
    pub(super) fn crowded() -> Self {
        let mut files = of_one_plan(CROWD, &["works-0", "works-1", "works-2"].map(|id| task(id, &[])));
        files.insert(CONFIG_FILE.to_owned(), configuration(false, &mut Dice::new(1, 1)));
        Self::with(&files, false)
    }

    /// So many Executions of five tasks of a second, one after the other, in the default configuration.
    pub(super) fn steady(executions: usize) -> Self {
        let ids = [0, 1, 2, 3, 4].map(|number| format!("works-{number}"));
        let nodes = ids.iter().enumerate().map(|(at, id)| {
            let before: Vec<&String> = at.checked_sub(1).and_then(|at| ids.get(at)).into_iter().collect();
            task(id, &before)
        });
        let files = of_one_plan(executions, &nodes.collect::<Vec<_>>());
        Self { edits: 0, pace: Pace::STEADY, ..Self::with(&files, false) }
    }

    fn with(files: &Files, strict: bool) -> Self {
        // An index syncs its file with every transaction, which takes no time in memory.
        let folder = memory().map_or_else(tempfile::tempdir, tempfile::tempdir_in).unwrap();
        let repo = Repo::init_bare(&folder.path().join("remote"), "main").unwrap();
        let blob = |text: &String| Some(repo.write_blob(text.as_bytes()).unwrap());
        let edits = files.iter().map(|(path, text)| (path.clone(), blob(text))).collect();
        let executions = files.keys().filter(|path| path.starts_with(EXECUTION)).count();
        let tree = repo.edit_tree(None, &edits).unwrap();
        let begin = Timestamp::from_second(1_700_000_000).unwrap();
        let desired = repo.write_commit(tree, &[], "Begin", &repo.runner_identity(), begin).unwrap();
        let (cancelled, sources) = (Vec::new(), Sources::new());
        Self { folder, desired, strict, executions, cancelled, sources, edits: EDITS, pace: Pace::USUAL }
    }

    /// Merges one of the changes on top of a commit: a new plan with an Execution, or other words in a plan that may be under way.
    pub(super) fn merge(&self, tip: ObjectId, edit: usize) -> ObjectId {
        let repo = self.shared();
        let tree = repo.commit(tip).unwrap().tree;
        let (path, text) = match edit {
            0 => ("late.yaml", plan("late", &[task("works-0", &[])]) + &execution("late", "late")),
            _ => {
                let plan = repo.file(tree, "p0.yaml").unwrap().unwrap();
                let text = String::from_utf8(repo.blob(plan, 1 << 20).unwrap()).unwrap();
                ("p0.yaml", text.replacen("what to do", "what to do, in other words", 1))
            }
        };
        let blob = repo.write_blob(text.as_bytes()).unwrap();
        let edits = [(path.to_owned(), Some(blob))].into_iter().collect();
        let tree = repo.edit_tree(Some(tree), &edits).unwrap();
        let at = Timestamp::from_second(1_700_000_010).unwrap();
        repo.write_commit(tree, &[tip], "Edit", &repo.runner_identity(), at).unwrap()
    }

    fn remote(&self) -> PathBuf {
        self.folder.path().join("remote")
    }

    /// A handle on the shared repository.
    pub(super) fn shared(&self) -> Repo {
        Repo::open(&self.remote()).unwrap()
    }

    /// Whether there is a clone of this name.
    pub(super) fn has_clone(&self, name: &str) -> bool {
        self.folder.path().join(name).exists()
    }

    /// What a clone remembers of the status branch.
    pub(super) fn last_seen(&self, name: &str) -> String {
        let file = self.folder.path().join(name).join(".git/planspec/status-tips.json");
        fs::read_to_string(file).unwrap_or_default()
    }

    /// A new clone, or the one of this name that is there.
    pub(super) fn clone_of(&self, name: &str) -> Repo {
        let path = self.folder.path().join(name);
        if path.exists() {
            return Repo::open(&path).unwrap();
        }
        let repo = Repo::init(&path, "main").unwrap();
        // One store of objects for all clones: what is tested is who may move which reference, and copies cost time.
        let objects = repo.common_dir().join("objects");
        fs::remove_dir_all(&objects).unwrap();
        symlink(self.remote().join("objects"), &objects).unwrap();
        drop(repo);
        Repo::open(&path).unwrap()
    }

    /// One of the clones that machines worked in.
    pub(super) fn some_clone(&self, dice: &mut Dice) -> Option<Repo> {
        let folders = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let is_clone = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("clone");
        let mut clones: Vec<PathBuf> = folders.filter(is_clone).collect();
        clones.sort();
        let chosen = dice.below(clones.len() as u64) as usize;
        clones.get(chosen).map(|path| Repo::open(path).unwrap())
    }

    /// The branches as a clone sees them through this transport.
    pub(super) fn branches(&self, repo: Repo, transport: Arc<dyn Transport>) -> Branches {
        let options = RemoteOptions {
            transport: Some(transport),
            retries: 1,
            // Real time, which nothing here may depend on.
            backoff: Duration::ZERO,
            ..RemoteOptions::default()
        };
        let remote = Remote::open(&repo, self.remote().to_str().unwrap(), options).unwrap();
        Branches::open(repo, Some(remote), BranchChoice::HostDefault("main".to_owned())).unwrap()
    }
}

/// The folder whose files are in memory, where the system has one.
pub(super) fn memory() -> Option<&'static Path> {
    Some(Path::new("/dev/shm")).filter(|memory| memory.is_dir())
}

/// Whether a stage has few plans of few nodes.
pub(super) fn is_small(shape: u64) -> bool {
    !shape.is_multiple_of(4)
}

fn configuration(strict: bool, dice: &mut Dice) -> String {
    let mode = if strict { "strict" } else { "adaptive" };
    // A budget that is soon spent, so that work goes ahead of its publication.
    let (burst, per_minute) = if dice.chance(70) { (3, 8) } else { (1_000, 6_000) };
    format!(
        "lease: {{duration: {}s, skew: {}s}}\npublish: {{mode: {mode}, burst: {burst}, perMinute: {per_minute}}}\n",
        LEASE.as_secs(),
        SKEW.as_secs()
    )
}

fn document(kind: &str, name: &str, spec: &Value) -> String {
    let metadata = json!({ "name": name, "namespace": "team" });
    let document =
        json!({ "apiVersion": "planspec.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec });
    format!("---\n{document}\n")
}

fn task(id: &str, after: &[&String]) -> Value {
    json!({ "id": id, "kind": "Task", "dependsOn": after })
}

fn plan(name: &str, nodes: &[Value]) -> String {
    document("Plan", name, &json!({ "description": "what to do", "graph": { "nodes": nodes } }))
}

fn execution(name: &str, plan: &str) -> String {
    document("Execution", name, &json!({ "planRef": { "name": plan } }))
}

fn bindings(plans: &[&str]) -> String {
    let rule = |name: &&str| json!({ "selector": { "planRef": { "name": name } }, "target": { "provider": "tool://simulated" } });
    document("Binding", "default", &json!({ "rules": plans.iter().map(rule).collect::<Vec<_>>() }))
}

/// The files of a commit, one for each resource: what is pinned is read file by file.
type Files = BTreeMap<String, String>;

/// How the name of a file with an Execution begins.
const EXECUTION: &str = "run-";

/// So many Executions of one plan of these nodes.
fn of_one_plan(executions: usize, nodes: &[Value]) -> Files {
    let mut files = Files::from([
        ("p0.yaml".to_owned(), plan("p0", nodes)),
        ("bindings.yaml".to_owned(), bindings(&["p0", "late"])),
    ]);
    for number in 0..executions {
        let name = format!("e{number}");
        files.insert(format!("{EXECUTION}{name}.yaml"), execution(&name, "p0"));
    }
    files
}

/// What is to be done.
struct WorkToDo {
    files: Files,
    cancelled: Vec<String>,
    sources: Sources,
}

/// So many plans at most, of two tasks and fewer than so many more, that wait for some of those before them, each with an Execution,
/// and which of these are cancelled.
fn work(dice: &mut Dice, plans_at_most: u64, nodes_more: u64) -> WorkToDo {
    let mut files = Files::new();
    let mut plans = vec!["late".to_owned()];
    let mut cancelled = Vec::new();
    let mut sources = Sources::new();
    for number in 0..=dice.below(plans_at_most) {
        let name = format!("p{number}");
        let mut nodes = Vec::new();
        let mut ids: Vec<String> = Vec::new();
        let count = 2 + dice.below(nodes_more);
        // One of them changes files: with two, their changes would have to be merged, which is another test's matter.
        let makes = dice.below(2 * count);
        for node in 0..count {
            let after: Vec<&String> = ids.iter().filter(|_| dice.chance(50)).collect();
            // What a node is called says what becomes of it (see `SimulatedWork::end`).
            let (fails, asks) = (dice.chance(8), dice.chance(12));
            let fate = match () {
                () if node == makes => "makes",
                () if fails => "fails",
                () if asks => "asks",
                () => "works",
            };
            let id = format!("{fate}-{node}");
            let mut node = task(&id, &after);
            if fate == "asks" {
                node["kind"] = json!("Gate");
                node["gateRef"] = json!({ "name": format!("{name}-{id}") });
            }
            sources.insert((name.clone(), id.clone()), after.into_iter().cloned().collect());
            nodes.push(node);
            ids.push(id);
        }
        files.insert(format!("{name}.yaml"), plan(&name, &nodes));
        files.insert(format!("{EXECUTION}{name}.yaml"), execution(&name, &name));
        if dice.chance(20) {
            cancelled.push(name.clone());
        }
        plans.push(name);
    }
    let plans: Vec<&str> = plans.iter().map(String::as_str).collect();
    files.insert("bindings.yaml".to_owned(), bindings(&plans));
    WorkToDo { files, cancelled, sources }
}

/// The references of a remote.
pub(super) type References = BTreeMap<String, ObjectId>;
