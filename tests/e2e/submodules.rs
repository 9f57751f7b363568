//! Submodules in workspaces: fetched by the runner, at the commits that belong there, and not a task's to change.

use std::path::PathBuf;

use planspec::model::{ExecutionPhase, NodeReason};
use serde_json::{Value, json};

use crate::engine_rig::{Graph, QUICK, Stage, manifests, status_in};
use crate::git_server::GitServer;

/// A repository on a server, with another one beside it as its submodule `libs/lib`.
struct WithSubmodule {
    stage: Stage,
    server: GitServer,
    clone: PathBuf,
    /// The commit of the submodule.
    commit: String,
}

impl WithSubmodule {
    /// With this address in `.gitmodules`.
    fn new(url: &str, graph: &Graph) -> Self {
        let server = GitServer::over_http();
        let stage = Stage::new(QUICK, &[]);
        let environment = &stage.environment;
        let lib = server.bare().with_file_name("lib.git");
        environment.git(&[
            "clone",
            "--quiet",
            "--bare",
            server.bare().to_str().unwrap(),
            lib.to_str().unwrap(),
        ]);
        environment.git_in(&lib, &["config", "uploadpack.allowAnySHA1InWant", "true"]).succeeds();
        let work = stage.clone_to(lib.to_str().unwrap(), "lib");
        let git = |arguments: &[&str]| environment.git_in(&work, arguments).succeeds().stdout;
        for (file, content) in [("inside", "first\n"), ("inside", "pinned\n"), ("inside", "newest\n")] {
            std::fs::write(work.join(file), content).unwrap();
            git(&["add", "--all"]);
            git(&["commit", "--quiet", "-m", content.trim()]);
        }
        git(&["push", "--quiet", "origin", "HEAD:main"]);
        let commit = git(&["rev-parse", "HEAD~1"]).trim().to_owned();
        let modules = format!("[submodule \"the lib\"]\n\tpath = libs/lib\n\turl = {url}\n");
        stage.commit(".gitmodules", &modules);
        // An empty folder, as in a clone without its submodules.
        std::fs::create_dir_all(environment.repo().join("libs/lib")).unwrap();
        let entry = format!("160000,{commit},libs/lib");
        environment.git(&["update-index", "--add", "--cacheinfo", &entry]);
        environment.git(&["commit", "--quiet", "-m", "Add the lib"]);
        stage.commit("work.yaml", &manifests(&[graph]));
        environment.git(&["push", "--quiet", server.bare().to_str().unwrap(), "HEAD:main"]);
        let clone = stage.clone_to(&server.http_url(Some("tok-write")), "clone");
        Self { stage, server, clone, commit }
    }

    fn node(&self, id: &str) -> planspec::model::NodeStatus {
        let status = status_in(&self.server.bare(), "one");
        status
            .node_statuses
            .iter()
            .find(|(node, _)| node.as_str() == id)
            .map(|(_, state)| state.clone())
            .unwrap()
    }

    #[track_caller]
    fn check_refused(&self, id: &str, path: &str) {
        let node = self.node(id);
        assert_eq!(node.extensions.reason, Some(NodeReason::ChangeRefused), "{node:#?}");
        let why = format!("changed files of submodules, which belong to other repositories: `{path}`");
        assert!(node.message.contains(&why), "{}", node.message);
    }
}

fn with_modules(more: &Value) -> Value {
    let mut settings = json!({ "workspace": { "submodules": true } });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

#[test]
fn a_task_finds_submodules_at_the_commits_that_belong_there_and_no_credentials() {
    let script = "differs=$(git status --porcelain); echo \"$differs\" > status; git submodule --quiet update --init; \
                  git submodule status > modules; git -C libs/lib log -1 --format=%s > subject; \
                  cat libs/lib/inside > seen; grep -rl tok- .git libs/lib/.git > secrets";
    let criterion =
        json!([{ "type": "test_passes", "name": "lib", "command": "grep -q pinned libs/lib/inside" }]);
    let graph = Graph::new("one")
        .editor_with("with", &[], &format!("{script}; true"), &with_modules(&json!({})))
        .field("acceptanceCriteria", criterion)
        .editor("without", &["with"], "test -z \"$(ls -A libs/lib)\"; echo x > last");
    let with = WithSubmodule::new("../lib.git", &graph);
    with.stage.reconcile_in(&with.clone, &[]).succeeds();
    let status = status_in(&with.server.bare(), "one");
    assert_eq!(status.phase, ExecutionPhase::Succeeded, "{status:#?}");
    let commit = with.node("without").extensions.result.unwrap().commit.clone();
    let show = |file: &str| {
        let file = format!("{commit}:{file}");
        with.stage.environment.git_in(&with.server.bare(), &["show", &file]).succeeds().stdout
    };
    assert_eq!([show("status").trim(), &show("secrets")], ["", ""]);
    assert_eq!([show("subject"), show("seen")], ["pinned\n", "pinned\n"]);
    assert_eq!(
        show("modules").trim_end().split(' ').take(3).collect::<Vec<_>>(),
        ["", &with.commit, "libs/lib"]
    );
}

#[test]
fn what_a_task_changes_inside_of_a_submodule_is_no_result_and_is_not_lost_in_silence() {
    // What is behind a link that a task made is not ours to touch.
    let outside = tempfile::tempdir().unwrap();
    std::fs::create_dir(outside.path().join(".git")).unwrap();
    let moves = "cd libs/lib; echo y > inside; git commit --quiet --all -m Y";
    let graph = Graph::new("one")
        .editor_with("changes", &[], "echo x >> libs/lib/inside", &with_modules(&json!({})))
        .editor_with("adds", &[], "echo x > libs/lib/new", &with_modules(&json!({})))
        .editor_with("moves", &[], moves, &with_modules(&json!({})))
        .editor_with("removes", &[], "rm -rf libs/lib", &with_modules(&json!({})))
        .editor_with(
            "links",
            &[],
            &format!("rm -rf libs/lib; ln -s '{}' libs/lib", outside.path().display()),
            &with_modules(&json!({})),
        )
        .editor_with("drops", &[], "echo x > libs/lib/new", &with_modules(&json!({ "changes": "discard" })));
    let with = WithSubmodule::new("../lib.git", &graph);
    with.stage.reconcile_in(&with.clone, &[]);
    with.check_refused("changes", "libs/lib/inside");
    with.check_refused("adds", "libs/lib/new");
    with.check_refused("moves", "libs/lib/inside");
    for id in ["removes", "links"] {
        let node = with.node(id);
        assert_eq!(node.extensions.reason, Some(NodeReason::ChangeRefused), "{node:#?}");
        assert!(node.message.contains("`libs/lib` (a submodule)"), "{}", node.message);
    }
    assert!(outside.path().join(".git").is_dir());
    assert_eq!(with.node("drops").extensions.discarded.map(|discarded| discarded.files), Some(1));
}

#[test]
fn a_submodule_that_is_not_to_be_had_is_named_with_its_address() {
    let graph = || Graph::new("one").editor_with("with", &[], "true", &with_modules(&json!({})));
    // A path of this machine is nothing that a repository may name.
    let with = WithSubmodule::new("/srv/lib.git", &graph());
    with.stage.reconcile_in(&with.clone, &[]);
    let node = with.node("with");
    assert_eq!(node.extensions.reason, Some(NodeReason::ProviderFailed), "{node:#?}");
    assert!(node.message.contains("submodule `libs/lib`: its address is none of https"), "{}", node.message);
    // Nor is a repository that is not there a fault of the task.
    let with = WithSubmodule::new("../gone.git", &graph());
    let mut runner = with.stage.start_in(&with.clone, &[]);
    let says = "submodule `libs/lib` cannot be fetched from http://127.0.0.1";
    with.stage.wait_until("the node says which", || {
        let status =
            crate::engine_rig::record_in(&with.server.bare(), planspec::model::Kind::Execution, "one");
        status.is_some() && with.node("with").message.contains(says)
    });
    runner.kill();
    assert_eq!(with.node("with").extensions.failures, 0);
}
