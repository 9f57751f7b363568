//! A clone that is shallow and new has only the newest commits of the status branch. Whoever asks for older ones gets them, and nothing
//! is decided without them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use planspec::model::ExecutionPhase;

use crate::engine_rig::{Graph, QUICK, Stage, bindings, execution, status_in, yaml};
use crate::environment::TestEnvironment;
use crate::git_server::GitServer;
use crate::signing::{STATUS, STATUS_REF, Signed};

/// Where a clone keeps the status branch of its remote.
const KEPT: &str = "refs/planspec/origin/heads/planspec/status";

/// More status commits than a new shallow clone gets.
const MANY: usize = 2_100;

/// An Execution that ended, on a remote.
struct Done {
    server: GitServer,
    stage: Stage,
    graph: Graph,
    /// How many status commits there are.
    commits: usize,
}

impl Done {
    fn new() -> Self {
        let server = GitServer::new();
        let stage = Stage::new(QUICK, &[]);
        let graph = Graph::new("work").task("a", &[], &Stage::leaves_its_key(&stage.outside("trace")));
        stage.commit("readme.txt", "first");
        stage.commit("work.yaml", &yaml(&[graph.plan(), bindings(&[&graph]), execution("run", "work")]));
        stage.environment.git(&["push", "--quiet", &server.file_url(), "main"]).succeeds();
        let clone = stage.clone_to(&server.file_url(), "clone");
        stage.reconcile_to_the_end(&clone);
        assert_eq!(stage.trace("trace").len(), 1);
        let commits = count(&stage.environment, &server.bare(), STATUS);
        assert!(commits > 1, "{commits}");
        Self { server, stage, graph, commits }
    }

    /// A shallow clone in which nothing of the status branch is yet.
    fn shallow(&self, name: &str) -> PathBuf {
        shallow(&self.stage.environment, &self.server, name)
    }

    /// Breaks the record of the Execution by hand.
    fn break_record(&self) {
        let bare = self.server.bare();
        let file = self.stage.outside("broken");
        std::fs::write(&file, "status: [\n").unwrap();
        let hash = ["hash-object", "-w", file.to_str().unwrap()];
        let blob = self.stage.environment.git_in(&bare, &hash).succeeds().stdout;
        let script = format!(
            "export GIT_INDEX_FILE='{}'; git read-tree {STATUS} && \
             git update-index --cacheinfo 100644,{},team/executions/run.yaml && \
             git update-ref {STATUS_REF} $(git commit-tree -p {STATUS} -m Break $(git write-tree))",
            self.stage.outside("index").display(),
            blob.trim()
        );
        let mut shell = self.stage.environment.command("sh", &bare);
        assert!(shell.args(["-c", &script]).status().unwrap().success());
    }

    /// Adds commits to the status branch that change nothing.
    fn add_commits(&mut self, added: usize) {
        let tree =
            self.stage.environment.git_in(&self.server.bare(), &["rev-parse", "planspec/status^{tree}"]);
        let tree = tree.succeeds().stdout;
        let mut commands = String::new();
        for number in 0..added {
            let from = if number == 0 { format!("from {STATUS_REF}^0\n") } else { String::new() };
            let message = format!("note {number}\n\nPlanspec-Runner: test\n");
            commands.push_str(&format!(
                "commit {STATUS_REF}\ncommitter T <t@example.com> 1700000000 +0000\ndata {}\n{message}\n{from}",
                message.len()
            ));
        }
        let mut import = self.stage.environment.command("git", &self.server.bare());
        let mut import = import.args(["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn().unwrap();
        import.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
        assert!(import.wait().unwrap().success());
        let after =
            self.stage.environment.git_in(&self.server.bare(), &["rev-parse", "planspec/status^{tree}"]);
        assert_eq!(after.stdout, tree);
        self.commits += added;
    }
}

fn shallow(environment: &TestEnvironment, server: &GitServer, name: &str) -> PathBuf {
    let place = environment.root().join(name);
    let arguments = ["clone", "--quiet", "--depth=1", &server.file_url(), place.to_str().unwrap()];
    environment.git_in(environment.root(), &arguments).succeeds();
    place
}

fn count(environment: &TestEnvironment, repository: &Path, reference: &str) -> usize {
    let counted = environment.git_in(repository, &["rev-list", "--count", reference]).succeeds();
    counted.stdout.trim().parse().unwrap()
}

/// Leaves a shallow clone the tip of the status branch alone, as one has it after thousands of commits.
fn cut(environment: &TestEnvironment, clone: &Path) {
    let spec = format!("+{STATUS_REF}:{KEPT}");
    environment.git_in(clone, &["fetch", "--quiet", "--depth=1", "origin", &spec]).succeeds();
    assert_eq!(count(environment, clone, KEPT), 1);
}

#[test]
fn a_new_shallow_clone_gets_the_newest_status_commits_and_the_rest_for_whoever_asks() {
    let mut done = Done::new();
    done.add_commits(MANY);
    let clone = done.shallow("shallow");
    let here = |reference: &str| count(&done.stage.environment, &clone, reference);
    done.stage.reconcile_in(&clone, &[]).succeeds();
    assert_eq!(here(KEPT), 2_000);
    let planspec =
        |arguments: &[&str]| done.stage.environment.planspec_in(&clone, arguments).succeeds().stdout;
    assert!(planspec(&["get", "executions"]).contains("Succeeded"));
    assert_eq!(here(KEPT), 2_000);
    // Work goes on from what is here, and is pushed.
    done.stage.commit("second.yaml", &yaml(&[execution("second", "work")]));
    done.stage.environment.git(&["push", "--quiet", &done.server.file_url(), "main"]).succeeds();
    done.stage.reconcile_to_the_end(&clone);
    assert_eq!(status_in(&done.server.bare(), "second").phase, ExecutionPhase::Succeeded);
    assert!(planspec(&["history", "--limit", "2"]).contains("second"));
    assert!(here(KEPT) < MANY);
    let history = planspec(&["history", "run"]);
    assert!(history.contains("Pending") && history.contains("Succeeded"), "{history}");
    assert_eq!(here(KEPT), count(&done.stage.environment, &done.server.bare(), STATUS));
    // The user's own branch stays as short as it was.
    assert_eq!(here("HEAD"), 1);
}

#[test]
fn history_shows_what_is_here_where_the_rest_cannot_be_had() {
    let done = Done::new();
    let clone = done.shallow("shallow");
    done.stage.reconcile_in(&clone, &[]).succeeds();
    cut(&done.stage.environment, &clone);
    std::fs::rename(done.server.bare(), done.stage.outside("gone")).unwrap();
    let shown = done.stage.environment.planspec_in(&clone, &["history"]).succeeds();
    assert!(shown.stdout.contains("Succeeded"), "{shown:?}");
    assert!(shown.stderr.contains("showing what was fetched last"), "{shown:?}");
    assert!(
        shown.stderr.contains("older commits of the status branch are not in this shallow clone"),
        "{shown:?}"
    );
    let none = done.stage.environment.planspec_in(&clone, &["history", "--node", "no-such-node"]).succeeds();
    assert!(none.stderr.contains("no entries found"), "{none:?}");
}

#[test]
fn what_a_broken_record_was_is_found_beyond_the_newest_commits() {
    let done = Done::new();
    done.break_record();
    let clone = done.shallow("shallow");
    // What the clone has of the branch when it reads it first.
    cut(&done.stage.environment, &clone);
    done.stage.reconcile_in(&clone, &[]);
    assert_eq!(done.stage.trace("trace").len(), 1, "ended work ran again");
    let status = status_in(&done.server.bare(), "run");
    assert_eq!(status.phase, ExecutionPhase::Succeeded, "{status:?}");
}

#[test]
fn what_stays_of_a_broken_record_is_found_beyond_the_newest_commits_when_its_manifest_goes() {
    let done = Done::new();
    let clone = done.shallow("shallow");
    // It knows the record, and finds both changes at once.
    done.stage.reconcile_in(&clone, &[]).succeeds();
    done.break_record();
    done.stage.commit("work.yaml", &yaml(&[done.graph.plan(), bindings(&[&done.graph])]));
    done.stage.environment.git(&["push", "--quiet", &done.server.file_url(), "main"]).succeeds();
    cut(&done.stage.environment, &clone);
    done.stage.reconcile_in(&clone, &["--allow-mass-delete"]);
    let listed = ["ls-tree", "-r", "--name-only", STATUS];
    let files = done.stage.environment.git_in(&done.server.bare(), &listed).succeeds().stdout;
    assert!(!files.contains("executions/run.yaml"), "{files}");
    let kept = files.lines().find(|path| path.contains("/removed/") && path.ends_with("/record.yaml"));
    let record = format!("{STATUS}:{}", kept.unwrap_or_else(|| panic!("{files}")));
    let record = done.stage.environment.git_in(&done.server.bare(), &["show", &record]).succeeds().stdout;
    assert!(record.contains("phase: Succeeded"), "{record}");
}

#[test]
fn collecting_squashes_all_history_and_not_only_the_newest_commits() {
    let mut done = Done::new();
    done.add_commits(10);
    let clone = done.shallow("shallow");
    done.stage.reconcile_in(&clone, &[]).succeeds();
    cut(&done.stage.environment, &clone);
    let arguments = ["gc", "--older-than", "0s", "-o", "json"];
    let report = done.stage.environment.planspec_in(&clone, &arguments).succeeds().json();
    let squashed = usize::try_from(report["squashed"].as_u64().unwrap()).unwrap();
    assert!(squashed >= done.commits, "{report}");
    // A commit that was made in this very second is kept.
    let left = 1 + usize::try_from(report["kept"].as_u64().unwrap()).unwrap();
    assert_eq!(count(&done.stage.environment, &done.server.bare(), STATUS), left);
    done.stage.reconcile_in(&clone, &[]).succeeds();
    assert_eq!(done.stage.trace("trace").len(), 1);
}

#[test]
fn a_tip_that_was_seen_long_ago_is_looked_for_in_the_whole_history() {
    let done = Done::new();
    let clone = done.shallow("shallow");
    done.stage.reconcile_in(&clone, &[]).succeeds();
    // By its content alone, the branch has lost the record of an Execution whose file is still there.
    done.stage.commit("work.yaml", &yaml(&[done.graph.plan(), bindings(&[&done.graph])]));
    done.stage.environment.git(&["push", "--quiet", &done.server.file_url(), "main"]).succeeds();
    let other = done.stage.clone_to(&done.server.file_url(), "other");
    done.stage.reconcile_in(&other, &["--allow-mass-delete"]).succeeds();
    cut(&done.stage.environment, &clone);
    done.stage.reconcile_in(&clone, &[]).succeeds();
}

#[test]
fn a_signature_that_vouches_for_the_rest_is_found_beyond_the_newest_commits() {
    let Some(signed) = Signed::new() else { return };
    signed.runner(&["reconcile"]);
    signed.decides("wendy", &["suspend", "e", "-n", "team"]);
    let server = GitServer::new();
    let environment = &signed.environment;
    environment.git(&["push", "--quiet", &server.file_url(), "main", STATUS]).succeeds();
    let clone = shallow(environment, &server, "shallow");
    cut(environment, &clone);
    // A person signed the tip: without what lies below, it would be one more history that no runner vouches for.
    let mut pass = environment.planspec_command(&clone);
    let key = std::fs::read_to_string(environment.root().join("ci")).unwrap();
    let outcome = Signed::finish({
        pass.arg("reconcile").env("PLANSPEC_SIGNING_KEY", key.trim_end());
        pass
    });
    assert_ne!(outcome.code, 3, "{outcome:?}");
    let verified = environment.planspec_in(&clone, &["verify"]).succeeds();
    assert!(verified.stdout.contains("wendy") && verified.stdout.contains("ci"), "{verified:?}");
}
