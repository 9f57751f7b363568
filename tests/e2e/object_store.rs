//! Artifacts and logs in an object store: moto's server for S3, behind a check of every signature (`tests/rig/s3_server.py`).
//! `.ci/run` installs it.

use std::cell::OnceCell;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use planspec::model::{ExecutionPhase, NodePhase, StoredFiles};
use serde_json::json;

use crate::engine_rig::{Graph, QUICK, Stage, status_in};
use crate::mcp::python;
use crate::overdue::{LONG, wait_within};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCY";
const TOKEN: &str = "token/of+the=session";
const REGION: &str = "eu-central-1";

/// A remote with one Execution of two tasks, and an object store. The server ends with it.
struct Depot {
    stage: Stage,
    server: Child,
    port: String,
    python: PathBuf,
    bare: PathBuf,
}

impl Drop for Depot {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Depot {
    /// The first `busy` requests are refused in a way that passes.
    fn new(store: &str, busy: u32, leaves: &str, reads: &str) -> Option<Self> {
        let python = python("s3")?;
        let gate =
            json!({ "id": "gate", "kind": "Gate", "dependsOn": ["build"], "gateRef": { "name": "ok" } });
        let needs = json!({ "needs": ["build/**"] });
        let graph = Graph::new("files").task("build", &[], leaves).node(gate);
        let graph = graph.editor_with("use", &["gate"], reads, &needs);
        let mut stage = Stage::with_graphs(QUICK, &[&graph]);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rig/s3_server.py");
        let mut server = Command::new(&python)
            .arg(script)
            .args(["AKID", SECRET, TOKEN, REGION, "ci-files", &busy.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let port = port.trim().to_owned();
        let config = format!(
            "{QUICK}artifacts: {{store: '{store}', region: {REGION}, endpoint: 'http://127.0.0.1:{port}'}}\n\
             providers: {{network: {{allowPrivate: [127.0.0.1]}}}}\nlimits: {{artifacts: {{fileBytes: 1000, bytes: 1000}}}}\n"
        );
        stage.commit(".planspec.yaml", &config);
        for (name, value) in
            [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", SECRET), ("AWS_SESSION_TOKEN", TOKEN)]
        {
            stage.environment.set(name, value);
        }
        let bare = stage.outside("bare.git");
        stage.environment.git(&["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]).succeeds();
        Some(Self { stage, server, port, python, bare })
    }

    /// A clone on a machine that has nothing of any other.
    fn machine(&self, name: &str) -> PathBuf {
        std::fs::remove_dir_all(self.stage.outside("home/.cache")).ok();
        self.stage.clone_to(self.bare.to_str().unwrap(), name)
    }

    fn says(&self, machine: &Path, arguments: &[&str]) -> String {
        self.stage.environment.planspec_in(machine, arguments).succeeds().stdout
    }

    fn fails(&self, machine: &Path, arguments: &[&str]) -> String {
        let said = self.stage.environment.planspec_in(machine, arguments);
        assert_ne!(said.code, 0, "{}", said.stdout);
        said.stderr
    }

    fn stored(&self) -> StoredFiles {
        let status = status_in(&self.bare, "files");
        let build = status.node_statuses.get("build").unwrap();
        (**build.extensions.stored.as_ref().unwrap()).clone()
    }

    /// The names of all objects, or what is done to one of them without planspec.
    fn objects(&self, method: &str, key: &str, body: &str) -> Vec<String> {
        let script = r#"
import re, sys, urllib.request
port, secret, method, key, body = sys.argv[1:]
url = f"http://127.0.0.1:{port}/ci-files/{key}"
request = urllib.request.Request(url, body.encode() or None, {"X-Test": secret}, method=method)
print("\n".join(re.findall("<Key>([^<]*)</Key>", urllib.request.urlopen(request).read().decode())))
"#;
        let arguments = ["-c", script, &self.port, SECRET, method, key, body];
        let done = Command::new(&self.python).args(arguments).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout)
            .unwrap()
            .lines()
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    }
}

#[test]
fn every_machine_finds_in_an_object_store_what_was_left_there() {
    // Larger than the limits, which are those of Git; names that have to be written otherwise in an address.
    let leaves = "test -z \"$AWS_SECRET_ACCESS_KEY$AWS_SESSION_TOKEN\" || exit 9; cd $PLANSPEC_ARTIFACTS; mkdir -p 'a b'; \
                  seq 1000 > 'a b/x+y%20&ü.txt'; seq 30 > small; : > empty; seq 100000 102000";
    let reads = "cd $PLANSPEC_UPSTREAM/build; test \"$(tail -n 1 'a b/x+y%20&ü.txt')\" = 1000; test -f empty";
    let Some(depot) = Depot::new("s3://ci-files/of/team", 1, leaves, reads) else { return };
    let first = depot.machine("first");
    depot.stage.reconcile_in(&first, &[]).succeeds();
    let stored = depot.stored();
    assert!(stored.left_out.is_empty() && stored.tree.is_none(), "{stored:#?}");
    let objects = depot.objects("GET", "", "");
    assert_eq!(objects.len(), 4, "{objects:?}");
    assert!(objects.iter().all(|key| key.starts_with(&format!("of/team/{}/", stored.path))), "{objects:?}");
    let second = depot.machine("second");
    depot.says(&second, &["approve", "ok", "-n", "team"]);
    depot.stage.reconcile_in(&second, &[]).succeeds();
    let status = status_in(&depot.bare, "files");
    assert_eq!(status.phase, ExecutionPhase::Succeeded, "{status:#?}");
    let refs = ["for-each-ref", "refs/planspec/artifacts"];
    assert_eq!(depot.stage.environment.git_in(&depot.bare, &refs).succeeds().stdout, "");
    // On a machine on which nothing ever ran.
    let third = depot.machine("third");
    let log = depot.says(&third, &["logs", "files/build", "-n", "team"]);
    assert!(log.starts_with("100000\n") && log.ends_with("\n102000\n"), "{}", log.len());
    let list = depot.says(&third, &["artifacts", "list", "files", "-n", "team"]);
    assert!(list.contains("s3://ci-files/of/team"), "{list}");
    depot.says(&third, &["artifacts", "get", "files/build", "-n", "team", "--to", "got"]);
    assert_eq!(std::fs::read(third.join("got/a b/x+y%20&ü.txt")).unwrap().len(), 3893);
    // What was changed there is not what the record names.
    let small = objects.iter().find(|key| key.ends_with("/small")).unwrap();
    depot.objects("PUT", small, "something else");
    let fourth = depot.machine("fourth");
    let refused = depot.fails(&fourth, &["artifacts", "get", "files/build", "small", "-n", "team"]);
    assert!(refused.contains("gone from the store"), "{refused}");
    depot.objects("PUT", "of/other", "is not planspec's");
    let collected = depot.says(&fourth, &["gc", "--older-than", "0s"]);
    assert!(collected.contains("4 objects of logs and artifacts removed"), "{collected}");
    assert_eq!(depot.objects("GET", "", ""), ["of/other"]);
}

#[test]
fn a_store_that_refuses_says_what_to_do_and_the_work_counts_all_the_same() {
    let leaves = "echo hello > $PLANSPEC_ARTIFACTS/a";
    let Some(mut depot) = Depot::new("s3://ci-files", 0, leaves, "test -f $PLANSPEC_UPSTREAM/build/a") else {
        return;
    };
    depot.stage.environment.set("AWS_SECRET_ACCESS_KEY", "another-key-of-somebody");
    let first = depot.machine("first");
    depot.stage.reconcile_in(&first, &[]).succeeds();
    let [left] = depot.stored().left_out.try_into().unwrap();
    assert!(left.why.contains("403 SignatureDoesNotMatch; check AWS_ACCESS_KEY_ID"), "{}", left.why);
    depot.stage.environment.set("AWS_SECRET_ACCESS_KEY", SECRET);
    depot.says(&first, &["retry", "files", "--from", "build", "-n", "team"]);
    depot.stage.reconcile_in(&first, &[]).succeeds();
    assert!(depot.stored().left_out.is_empty());
    depot.stage.environment.set("AWS_ACCESS_KEY_ID", "");
    let second = depot.machine("second");
    let get = ["artifacts", "get", "files/build", "a", "-n", "team"];
    let refused = depot.fails(&second, &get);
    assert!(refused.contains("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"), "{refused}");
    // A task that needs it waits, and nothing of it begins.
    depot.says(&second, &["approve", "ok", "-n", "team"]);
    depot.stage.reconcile_in(&second, &[]);
    let status = status_in(&depot.bare, "files");
    let waits = status.node_statuses.get("use").unwrap();
    assert!(!waits.phase.is_terminal() && waits.extensions.failures == 0, "{waits:#?}");
    assert!(waits.message.contains("set AWS_ACCESS_KEY_ID"), "{}", waits.message);
    // Once: the pass ends instead of asking for a minute what only a person can change.
    assert_eq!(waits.attempt, 1);
    depot.stage.environment.set("AWS_ACCESS_KEY_ID", "AKID");
    let missing = "s3://not-there";
    let config = std::fs::read_to_string(second.join(".planspec.yaml")).unwrap();
    std::fs::write(second.join(".planspec.yaml"), config.replace("s3://ci-files", missing)).unwrap();
    depot.stage.environment.git_in(&second, &["commit", "--quiet", "-am", "Another bucket"]).succeeds();
    depot.stage.environment.git_in(&second, &["push", "--quiet"]).succeeds();
    let refused = depot.fails(&second, &get);
    assert!(refused.contains("404 NoSuchBucket; create the bucket"), "{refused}");
}

#[test]
fn a_task_that_waits_for_an_object_store_without_an_answer_leaves_with_its_runner() {
    let leaves = "echo hello > $PLANSPEC_ARTIFACTS/a";
    let Some(depot) = Depot::new("s3://ci-files", 0, leaves, "test -f $PLANSPEC_UPSTREAM/build/a") else {
        return;
    };
    let first = depot.machine("first");
    depot.stage.reconcile_in(&first, &[]).succeeds();
    depot.says(&first, &["approve", "ok", "-n", "team"]);
    // Takes connections, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = std::fs::read_to_string(first.join(".planspec.yaml")).unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    std::fs::write(first.join(".planspec.yaml"), config.replace(&depot.port, &port)).unwrap();
    depot.stage.environment.git_in(&first, &["commit", "--quiet", "-am", "Another server"]).succeeds();
    depot.stage.environment.git_in(&first, &["push", "--quiet"]).succeeds();
    let second = depot.machine("second");
    let mut runner = depot.stage.start_in(&second, &[]);
    // The listener has the request: the transfer goes on, and would for a minute.
    silent.set_nonblocking(true).unwrap();
    let peer = OnceCell::new();
    wait_within(LONG, "the store is asked", || {
        peer.get().is_some() || silent.accept().is_ok_and(|asking| peer.set(asking).is_ok())
    });
    runner.signal(rustix::process::Signal::TERM);
    // The request alone would take a minute, three times.
    runner.ends();
    let waits = status_in(&depot.bare, "files").node_statuses.get("use").unwrap().clone();
    assert_eq!((waits.phase, waits.extensions.failures), (NodePhase::Pending, 0), "{waits:#?}");
}
