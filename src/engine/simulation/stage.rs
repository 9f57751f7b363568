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
use crate::engine::{BranchChoice, Branches};
use crate::git::{ObjectId, Remote, RemoteOptions, Repo, Transport};

/// How long a lease lasts.
pub(super) const LEASE: Duration = Duration::from_secs(40);
/// How far apart the clocks of two runners may be.
pub(super) const SKEW: Duration = Duration::from_secs(5);

/// The repository that the runners share, and how they publish.
pub(super) struct Stage {
    folder: TempDir,
    pub(super) desired: ObjectId,
    pub(super) strict: bool,
}

impl Stage {
    pub(super) fn new(seed: u64) -> Self {
        // In memory where the system has such a folder: an index syncs its file with every transaction.
        let memory = Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let mut dice = Dice::new(seed, 1);
        let strict = dice.chance(30);
        let repo = Repo::init_bare(&folder.path().join("remote"), "main").unwrap();
        let files = [(".planspec.yaml", configuration(strict, &mut dice)), ("work.yaml", work(&mut dice))];
        let blob = |text: &String| Some(repo.write_blob(text.as_bytes()).unwrap());
        let edits = files.iter().map(|(path, text)| ((*path).to_owned(), blob(text))).collect();
        let tree = repo.edit_tree(None, &edits).unwrap();
        let begin = Timestamp::from_second(1_700_000_000).unwrap();
        let desired = repo.write_commit(tree, &[], "Begin", &repo.runner_identity(), begin).unwrap();
        Self { folder, desired, strict }
    }

    fn remote(&self) -> PathBuf {
        self.folder.path().join("remote")
    }

    /// A handle on the shared repository.
    pub(super) fn shared(&self) -> Repo {
        Repo::open(&self.remote()).unwrap()
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

    /// The clones that were made.
    pub(super) fn clones(&self) -> Vec<Repo> {
        let folders = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let clones = folders.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("clone"));
        clones.map(|path| Repo::open(&path).unwrap()).collect()
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

/// Plans of a few tasks that wait for some of those before them, each with an Execution.
fn work(dice: &mut Dice) -> String {
    let mut text = String::new();
    let mut rules = Vec::new();
    for number in 0..=dice.below(3) {
        let name = format!("p{number}");
        let mut nodes = Vec::new();
        let mut ids: Vec<String> = Vec::new();
        for node in 0..2 + dice.below(4) {
            let after: Vec<&String> = ids.iter().filter(|_| dice.chance(50)).collect();
            // What a node is called says what becomes of it (see `work`).
            let fate = if dice.chance(8) { "fails" } else { "works" };
            let id = format!("{fate}-{node}");
            nodes.push(json!({ "id": id, "kind": "Task", "dependsOn": after }));
            ids.push(id);
        }
        let graph = json!({ "nodes": nodes });
        text += &document("Plan", &name, &json!({ "description": "what to do", "graph": graph }));
        let plan = json!({ "planRef": { "name": name } });
        text += &document("Execution", &name, &plan);
        rules.push(json!({ "selector": plan, "target": { "provider": "tool://simulated" } }));
    }
    text += &document("Binding", "default", &json!({ "rules": rules }));
    text
}

/// The references of a remote.
pub(super) type References = BTreeMap<String, ObjectId>;
