//! A stage for the engine: manifests made of a few words, tasks that leave a trace outside the repository, and
//! what must hold of a status branch whatever happened while it was written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use planspec::git::Repo;
use planspec::model::{ExecutionStatus, Kind, Name, NodePhase, NodeStatus, ResourceKey, StatusRecord};
use planspec::record::StatusTree;
use serde_json::{Value, json};

use crate::environment::{Outcome, TestEnvironment};
use crate::overdue::{self, LONG};

pub(crate) const STATUS: &str = "planspec/status";

/// Leases that a test can wait out and that a runner on a busy machine keeps, and no spacing of pushes.
pub(crate) const QUICK: &str =
    "lease: {duration: 3s, skew: 100ms}\npublish: {burst: 1000, perMinute: 6000}\n";

/// A manifest.
pub(crate) fn document(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "planspec.io/v1alpha1",
        "kind": kind,
        "metadata": { "name": name, "namespace": "team" },
        "spec": spec,
    })
}

/// Manifests as the text of one YAML file.
pub(crate) fn yaml(documents: &[Value]) -> String {
    documents.iter().map(|one| format!("---\n{one}\n")).collect()
}

/// An Execution of the plan of the same name.
pub(crate) fn execution(name: &str, plan: &str) -> Value {
    document("Execution", name, &json!({ "planRef": { "name": plan } }))
}

/// A plan, and the Binding rules that say what its tasks do.
#[derive(Clone)]
pub(crate) struct Graph {
    name: String,
    nodes: Vec<Value>,
    edges: Vec<Value>,
    rules: Vec<Value>,
}

impl Graph {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), nodes: Vec::new(), edges: Vec::new(), rules: Vec::new() }
    }

    /// A task that runs a shell line after these others.
    pub(crate) fn task(self, id: &str, after: &[&str], script: &str) -> Self {
        self.task_with(id, after, script, &json!({}))
    }

    /// The same, with more fields.
    pub(crate) fn task_with(mut self, id: &str, after: &[&str], script: &str, fields: &Value) -> Self {
        self.rules.push(json!({
            "selector": { "planRef": { "name": self.name }, "nodeId": id },
            "target": { "provider": "tool://sh", "config": { "command": script, "shell": true, "grace": "500ms" } },
        }));
        let mut node = json!({ "id": id, "kind": "Task", "dependsOn": after });
        for (name, value) in fields.as_object().unwrap() {
            node[name] = value.clone();
        }
        self.node(node)
    }

    /// A task that runs a shell line in the repository's files and keeps what it changes.
    pub(crate) fn editor(self, id: &str, after: &[&str], script: &str) -> Self {
        self.editor_with(id, after, script, &json!({}))
    }

    /// The same, with more settings.
    pub(crate) fn editor_with(mut self, id: &str, after: &[&str], script: &str, settings: &Value) -> Self {
        let mut config = json!({ "command": script, "shell": true, "grace": "500ms", "changes": "commit" });
        config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        self.rules.push(json!({
            "selector": { "planRef": { "name": self.name }, "nodeId": id },
            "target": { "provider": "tool://sh", "config": config },
        }));
        self.node(json!({ "id": id, "kind": "Task", "dependsOn": after, "description": format!("Do {id}") }))
    }

    /// One more field of the node that was added last.
    pub(crate) fn field(mut self, name: &str, value: Value) -> Self {
        self.nodes.last_mut().unwrap()[name] = value;
        self
    }

    /// A task that this provider does.
    pub(crate) fn provided(mut self, id: &str, after: &[&str], provider: &str, config: &Value) -> Self {
        self.rules.push(json!({
            "selector": { "planRef": { "name": self.name }, "nodeId": id },
            "target": { "provider": provider, "config": config },
        }));
        self.node(json!({ "id": id, "kind": "Task", "dependsOn": after }))
    }

    /// Any node.
    pub(crate) fn node(mut self, node: Value) -> Self {
        self.nodes.push(node);
        self
    }

    /// A soft edge.
    pub(crate) fn soft(mut self, from: &str, to: &str) -> Self {
        self.edges.push(json!({ "from": from, "to": to, "type": "soft" }));
        self
    }

    /// The Plan.
    pub(crate) fn plan(&self) -> Value {
        let mut graph = json!({ "nodes": self.nodes });
        if !self.edges.is_empty() {
            graph["edges"] = json!(self.edges);
        }
        document("Plan", &self.name, &json!({ "description": "what to do", "graph": graph }))
    }
}

/// The Binding `default` with the rules of these plans.
pub(crate) fn bindings(graphs: &[&Graph]) -> Value {
    let rules: Vec<&Value> = graphs.iter().flat_map(|graph| &graph.rules).collect();
    document("Binding", "default", &json!({ "rules": rules }))
}

/// Everything that these graphs take to be run, each by an Execution of the same name.
pub(crate) fn manifests(graphs: &[&Graph]) -> String {
    let mut documents: Vec<Value> = graphs.iter().map(|graph| graph.plan()).collect();
    documents.extend(graphs.iter().map(|graph| execution(&graph.name, &graph.name)));
    documents.push(bindings(graphs));
    yaml(&documents)
}

/// The repository, a place outside it for traces, and what is expected of both.
pub(crate) struct Stage {
    pub(crate) environment: TestEnvironment,
}

impl Stage {
    /// A repository with this configuration and these files in its first commit.
    pub(crate) fn new(config: &str, files: &[(&str, &str)]) -> Self {
        let environment = TestEnvironment::with_repository();
        environment.write(".planspec.yaml", config);
        environment.commit_files(files, "Begin");
        Self { environment }
    }

    /// With an Execution of the same name for each graph.
    pub(crate) fn with_graphs(config: &str, graphs: &[&Graph]) -> Self {
        Self::new(config, &[("work.yaml", &manifests(graphs))])
    }

    /// A path outside the repository.
    pub(crate) fn outside(&self, name: &str) -> PathBuf {
        self.environment.root().join(name)
    }

    /// Commits one more file.
    #[track_caller]
    pub(crate) fn commit(&self, path: &str, content: &str) {
        self.environment.commit_files(&[(path, content)], "Change");
    }

    /// Commits the removal of a file.
    #[track_caller]
    pub(crate) fn remove(&self, path: &str) {
        fs::remove_file(self.environment.repo().join(path)).unwrap();
        self.environment.commit_files(&[], "Remove");
    }

    /// Runs `planspec reconcile` in the repository to its end.
    pub(crate) fn reconcile(&self, arguments: &[&str]) -> Outcome {
        self.reconcile_in(&self.environment.repo(), arguments)
    }

    /// The same in another clone.
    pub(crate) fn reconcile_in(&self, directory: &Path, arguments: &[&str]) -> Outcome {
        let all: Vec<&str> = ["reconcile"].iter().chain(arguments).copied().collect();
        self.environment.planspec_in(directory, &all)
    }

    /// Starts `planspec reconcile` and leaves it running; its output goes to a file.
    pub(crate) fn start_in(&self, directory: &Path, arguments: &[&str]) -> Runner {
        let mut command = self.environment.planspec_command(directory);
        let name = format!("output-{:x}", std::process::id() ^ unique());
        let output = self.outside(&name);
        let errors = self.outside(&format!("{name}.errors"));
        command.arg("reconcile").args(arguments);
        command.stdin(Stdio::null());
        command.stdout(fs::File::create(&output).unwrap());
        command.stderr(fs::File::create(&errors).unwrap());
        Runner { child: command.spawn().unwrap(), output, errors }
    }

    /// The same in the repository.
    pub(crate) fn start(&self, arguments: &[&str]) -> Runner {
        self.start_in(&self.environment.repo(), arguments)
    }

    /// A clone on another machine, which has neither the repository nor the caches of the first one.
    #[track_caller]
    pub(crate) fn on_another_machine(&self) -> PathBuf {
        let _ = fs::remove_dir_all(self.outside("home/.cache"));
        self.clone_to(&format!("file://{}", self.environment.repo().display()), "other")
    }

    /// A bare clone of the repository, which knows nothing of where it came from: the place of a remote.
    #[track_caller]
    pub(crate) fn bare(&self) -> PathBuf {
        let bare = self.outside("bare.git");
        self.environment.git(&["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]).succeeds();
        self.environment.git_in(&bare, &["remote", "remove", "origin"]).succeeds();
        bare
    }

    /// Clones a repository to a new path.
    #[track_caller]
    pub(crate) fn clone_to(&self, url: &str, name: &str) -> PathBuf {
        let place = self.outside(name);
        let target = place.to_str().unwrap();
        self.environment.git_in(self.environment.root(), &["clone", "--quiet", url, target]).succeeds();
        place
    }

    /// Reconciles, again and again, until nothing is leased to a runner that is gone. The last outcome.
    #[track_caller]
    pub(crate) fn reconcile_to_the_end(&self, directory: &Path) -> Outcome {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let outcome = self.reconcile_in(directory, &[]).succeeds();
            if !outcome.stdout.contains(" drives it") {
                return outcome;
            }
            assert!(Instant::now() < deadline, "it never ends:\n{}", outcome.stdout);
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The trace that tasks leave in `name`, by line.
    pub(crate) fn trace(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.outside(name)).unwrap_or_default();
        text.lines().map(ToOwned::to_owned).collect()
    }

    /// A shell line that leaves the idempotency key of its attempt in `trace`.
    pub(crate) fn leaves_its_key(trace: &Path) -> String {
        format!("printf '%s\\n' \"$PLANSPEC_IDEMPOTENCY_KEY\" >> '{}'", trace.display())
    }

    /// The tip of the status branch.
    pub(crate) fn status_tip(&self) -> String {
        self.environment.git_output(&["rev-parse", STATUS])
    }

    /// The status of an Execution in the repository.
    #[track_caller]
    pub(crate) fn status(&self, name: &str) -> ExecutionStatus {
        status_in(&self.environment.repo(), name)
    }

    /// The status of one node.
    #[track_caller]
    pub(crate) fn node(&self, execution: &str, node: &str) -> NodeStatus {
        let status = self.status(execution);
        let found = status.node_statuses.iter().find(|(id, _)| id.as_str() == node);
        found.unwrap_or_else(|| panic!("no node {node}")).1.clone()
    }

    /// Waits until something becomes true.
    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, condition: impl Fn() -> bool) {
        self.wait_within(LONG, what, condition);
    }

    /// One short pass after another until something becomes true: on a busy machine one may end before it came to it.
    #[track_caller]
    pub(crate) fn reconcile_until(&self, what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + LONG;
        while !condition() {
            assert!(Instant::now() < deadline, "reconciled in vain until {what}");
            self.reconcile(&["--max-duration", "3s"]).succeeds();
        }
    }

    /// The same for what takes its time.
    #[track_caller]
    pub(crate) fn wait_within(&self, longest: Duration, what: &str, condition: impl Fn() -> bool) {
        overdue::wait_within(longest, what, condition);
    }
}

fn unique() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(0x1000_0000 >> 8, Ordering::Relaxed)
}

/// A `planspec reconcile` that runs. Killed when it is dropped.
pub(crate) struct Runner {
    pub(crate) child: Child,
    output: PathBuf,
    errors: PathBuf,
}

impl Runner {
    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, signal);
    }

    /// What it has written so far.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Waits for its end, for a while.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> ExitStatus {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.output());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end; it succeeds and complains of nothing.
    #[track_caller]
    pub(crate) fn succeeds(&mut self) -> String {
        let status = self.ends();
        let errors = fs::read_to_string(&self.errors).unwrap_or_default();
        assert!(status.success(), "{status}\nstdout:\n{}\nstderr:\n{errors}", self.output());
        assert_eq!(errors, "", "\nstdout:\n{}", self.output());
        self.output()
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The key of an Execution in the namespace of these tests.
pub(crate) fn key(kind: Kind, name: &str) -> ResourceKey {
    ResourceKey::new(kind, Name::new("team").unwrap(), Name::new(name).unwrap())
}

/// A record on the status branch of a repository, if there is one.
pub(crate) fn record_in(repository: &Path, kind: Kind, name: &str) -> Option<StatusRecord> {
    let repo = Repo::open(repository).unwrap();
    let tip = repo.read_ref(&format!("refs/heads/{STATUS}")).unwrap();
    let tree = StatusTree::at(&repo, tip).unwrap();
    tree.get(&repo, &key(kind, name)).unwrap()
}

/// The status of an Execution on the status branch of a repository.
#[track_caller]
pub(crate) fn status_in(repository: &Path, name: &str) -> ExecutionStatus {
    let record =
        record_in(repository, Kind::Execution, name).unwrap_or_else(|| panic!("no record of {name}"));
    record.execution().unwrap().clone()
}

/// What a status says but for times, attempts and the names of runners.
pub(crate) fn essence(status: &ExecutionStatus) -> Value {
    let nodes: BTreeMap<&str, Value> = status
        .node_statuses
        .iter()
        .map(|(id, node)| {
            let essence = json!({
                "phase": node.phase.as_str(),
                "outputs": node.outputs,
                "message": node.message,
                "reason": node.extensions.reason,
                "failures": node.extensions.failures,
                "exitCode": node.extensions.exit_code,
                "log": node.extensions.log,
                "binding": node.extensions.binding,
            });
            (id.as_str(), essence)
        })
        .collect();
    json!({
        "phase": status.phase.as_str(),
        "reason": status.reason,
        "message": status.message,
        "specHash": status.spec_hash,
        "graph": status.extensions.pinned.as_ref().map(|pinned| &pinned.graph_digest),
        "leased": status.extensions.lease.is_some(),
        "nodes": nodes,
    })
}

/// Reads the whole history of a status branch, oldest first, and checks what must hold of it in any case: nothing
/// terminal changes, attempts and fencing tokens only grow, an attempt has one runner, and commits are in a line.
#[track_caller]
pub(crate) fn check_history(repository: &Path) {
    check_history_with_reruns(repository, &[]);
}

/// The same of a history in which these nodes ran again after their end, because a conflict or a reviewer asked for it.
#[track_caller]
pub(crate) fn check_history_with_reruns(repository: &Path, again: &[&str]) {
    let repo = Repo::open(repository).unwrap();
    let Some(tip) = repo.read_ref(&format!("refs/heads/{STATUS}")).unwrap() else { return };
    let mut commits: Vec<_> = repo.log(tip).map(Result::unwrap).collect();
    commits.reverse();
    let mut last: BTreeMap<String, ExecutionStatus> = BTreeMap::new();
    let mut runners: BTreeMap<String, String> = BTreeMap::new();
    for commit in commits {
        assert!(commit.parents.len() <= 1, "a merge on the status branch: {}", commit.id);
        let tree = StatusTree::at(&repo, Some(commit.id)).unwrap();
        for (key, path, blob) in tree.list(&repo, Some(Kind::Execution), None).unwrap() {
            let record = StatusTree::read(&repo, &key, &path, blob).unwrap();
            let status = record.execution().unwrap().clone();
            let uid = record.metadata.uid.clone();
            if let Some(before) = last.get(&uid) {
                check_successor(&uid, before, &status, again);
            }
            for (id, node) in &status.node_statuses {
                if let (NodePhase::Running, Some(runner)) = (node.phase, &node.extensions.runner) {
                    let attempt = format!("{uid}/{id}/{}", node.attempt);
                    let known = runners.entry(attempt.clone()).or_insert_with(|| runner.clone());
                    assert_eq!(known, runner, "{attempt} ran twice");
                }
            }
            last.insert(uid, status);
        }
    }
}

#[track_caller]
fn check_successor(uid: &str, before: &ExecutionStatus, after: &ExecutionStatus, again: &[&str]) {
    assert!(after.extensions.last_token >= before.extensions.last_token, "{uid}: the token fell");
    for (id, old) in &before.node_statuses {
        let new = after.node_statuses.get(id).unwrap_or_else(|| panic!("{uid}/{id} vanished"));
        assert!(new.attempt >= old.attempt, "{uid}/{id}: the attempt fell");
        let group = old.attempt == 0 && old.phase.is_terminal() && new.phase.is_terminal();
        if old.phase.is_terminal() && !group && !again.contains(&id.as_str()) {
            assert_eq!((new.phase, new.attempt), (old.phase, old.attempt), "{uid}/{id} was over");
        }
    }
}

/// Checks a trace of idempotency keys against the records: no key twice, none unknown, and every attempt whose end is
/// recorded as its own has left its key.
#[track_caller]
pub(crate) fn check_trace(repository: &Path, executions: &[&str], trace: &[String]) {
    let mut seen = BTreeSet::new();
    for line in trace {
        assert!(seen.insert(line.clone()), "{line} ran twice");
    }
    let mut known = BTreeSet::new();
    for name in executions {
        let record = record_in(repository, Kind::Execution, name).unwrap();
        let uid = &record.metadata.uid;
        let status = record.execution().unwrap();
        for (id, node) in &status.node_statuses {
            let tokens = 1..=status.extensions.last_token;
            let attempts = tokens.flat_map(|token| (1..=node.attempt).map(move |n| format!("{token}.{n}")));
            known.extend(attempts.map(|attempt| format!("{uid}/{id}/{attempt}")));
            if node.attempt > 0 && node.phase == NodePhase::Succeeded {
                let last = node.attempt_name(uid, id);
                assert!(seen.contains(&last), "{last} never ran");
            }
        }
    }
    let unknown: Vec<_> = seen.difference(&known).collect();
    assert!(unknown.is_empty(), "nobody claimed {unknown:?}");
}
