//! Workspaces: as in a clone for the task, and out of its reach for everything of the user's.

use std::fs;
use std::path::Path;

use planspec::git::{CheckoutForm, GitError, Leftovers, ObjectCache, Repo, WorkingCopy};
use planspec::model::NodePhase;
use serde_json::json;

use crate::engine_rig::{Graph, QUICK, Stage, manifests};
use crate::environment::TestEnvironment;

/// A stage with files of every kind, and tasks that run these scripts one after the other.
fn stage(scripts: &[&str]) -> Stage {
    let mut graph = Graph::new("w");
    for (number, script) in scripts.iter().enumerate() {
        let before = number.checked_sub(1).map(|before| format!("n{before}"));
        let after: Vec<&str> = before.iter().map(String::as_str).collect();
        graph = graph.task(&format!("n{number}"), &after, script);
    }
    let stage = Stage::new(
        QUICK,
        &[("dir/file", "hello\n"), ("run.sh", "#!/bin/sh\necho ran\n"), ("crlf.txt", "a\n")],
    );
    std::os::unix::fs::symlink("dir", stage.environment.repo().join("link")).unwrap();
    stage.environment.write(".gitattributes", "crlf.txt text eol=crlf\n");
    stage.environment.git(&["add", "--all"]).succeeds();
    stage.environment.git(&["update-index", "--chmod=+x", "run.sh"]).succeeds();
    stage.environment.git(&["commit", "--quiet", "-m", "Files"]).succeeds();
    stage.environment.git(&["tag", "-a", "v1", "-m", "One"]).succeeds();
    stage.environment.git(&["checkout", "--quiet", "--", "."]).succeeds();
    let documents =
        [graph.plan(), crate::engine_rig::execution("w", "w"), crate::engine_rig::bindings(&[&graph])];
    stage.commit("work.yaml", &crate::engine_rig::yaml(&documents));
    stage
}

#[track_caller]
fn check_all_succeed(stage: &Stage, count: usize) {
    stage.reconcile(&[]).succeeds();
    for number in 0..count {
        let node = stage.node("w", &format!("n{number}"));
        assert_eq!(node.phase, NodePhase::Succeeded, "n{number}: {node:#?}");
    }
}

#[test]
fn a_workspace_is_a_working_tree_as_in_a_clone() {
    let script = r#"set -e
        test "$(cat link/file)" = hello; test "$(./run.sh)" = ran; test "$(od -c crlf.txt | grep -c '\\r')" = 1
        test -z "$(git status --porcelain)"; git log -1 --format=%s | grep -q Change; git describe | grep -q ^v1-1-
        echo more >> dir/file; git commit -qam "From a task"; test -z "$(git status --porcelain)""#;
    check_all_succeed(&stage(&[script]), 1);
}

#[test]
fn nothing_that_git_does_in_a_workspace_reaches_the_repository() {
    let hostile = "git branch mine; git update-ref refs/heads/main HEAD~1; git config user.name Mallory; \
        git config core.hooksPath /tmp; git worktree add ../x -q; rm -rf .git; git branch walked-up; git config a.b c; true";
    let stage = stage(&[hostile]);
    let repo = stage.environment.repo();
    let state = || {
        let refs = stage.environment.git_output(&[
            "for-each-ref",
            "refs/heads/main",
            "refs/heads/mine",
            "refs/heads/walked-up",
        ]);
        (
            refs,
            fs::read_to_string(repo.join(".git/config")).unwrap(),
            fs::read(repo.join(".git/index")).unwrap(),
        )
    };
    let before = state();
    check_all_succeed(&stage, 1);
    assert_eq!(state(), before);
}

#[test]
fn what_a_task_plants_never_runs_and_never_reaches_the_next_task() {
    let witness = tempfile::NamedTempFile::new().unwrap();
    let path = witness.path().display().to_string();
    let plant = format!(
        "printf '#!/bin/sh\\necho ran >> {path}\\n' > /tmp/planted-$$; chmod +x /tmp/planted-$$; \
         git config core.fsmonitor /tmp/planted-$$; git config filter.x.clean /tmp/planted-$$; git config filter.x.smudge /tmp/planted-$$; \
         echo '* filter=x' >> .gitattributes; mkdir -p .git/hooks; cp /tmp/planted-$$ .git/hooks/post-index-change; \
         cp /tmp/planted-$$ .git/hooks/reference-transaction; echo planted > extra; rm run.sh; ln -sf /etc dir2; \
         echo /tmp > .git/objects/info/alternates; echo junk > .git/index"
    );
    let clean =
        "set -e; test ! -e extra; test -x run.sh; test ! -e dir2; test -z \"$(git status --porcelain)\"";
    let replace = "rm -rf .git; echo 'gitdir: /tmp/elsewhere' > .git; rm -rf dir; ln -s /etc dir";
    let stage = stage(&[
        &plant,
        clean,
        replace,
        clean,
        "chmod 000 dir; mkdir -p x/y; echo 1 > x/y/z; chmod 000 x/y x",
        clean,
    ]);
    check_all_succeed(&stage, 6);
    assert_eq!(fs::read_to_string(witness.path()).unwrap(), "", "something that a task planted ran");
}

#[test]
fn a_process_that_was_left_behind_spoils_its_own_workspace_alone() {
    let leave = "setsid sh -c 'while :; do echo x > intruder; sleep 0.05; done' > /dev/null 2>&1 & echo $! > \"$PLANSPEC_ARTIFACTS/pid\"; sleep 0.2";
    let clean = "set -e; sleep 0.3; test ! -e intruder; test -z \"$(git status --porcelain)\"";
    let stage = stage(&[leave, clean]);
    check_all_succeed(&stage, 2);
    for line in stage.environment.git_in(stage.environment.root(), &["--version"]).succeeds().lines() {
        assert!(line.starts_with("git version"));
    }
    end_left_behind(stage.environment.root());
}

#[test]
fn a_linked_working_tree_with_few_files_checked_out_gives_whole_workspaces() {
    let graph = Graph::new("w").editor("n0", &[], "test \"$(cat dir/file)\" = hello && echo new > new");
    let stage = Stage::with_graphs(QUICK, &[&graph]);
    stage.commit("dir/file", "hello\n");
    let linked = stage.outside("linked");
    stage.environment.git(&["worktree", "add", "--quiet", "--detach", linked.to_str().unwrap()]).succeeds();
    stage.environment.git_in(&linked, &["sparse-checkout", "set", "elsewhere"]).succeeds();
    assert!(!linked.join("dir").exists());
    stage.reconcile_in(&linked, &["--ref", "main"]).succeeds();
    let node = stage.node("w", "n0");
    assert_eq!(node.phase, NodePhase::Succeeded, "{node:#?}");
    let result = node.extensions.result.unwrap();
    assert_eq!((result.files, result.deletions), (1, 0), "what is not checked out there was not deleted");
    assert!(!linked.join("dir").exists() && !linked.join("new").exists());
}

#[test]
fn thousands_of_files_that_a_task_leaves_are_counted_and_gone_for_the_next_one() {
    let leave =
        "mkdir -p many/deep; cd many; seq 3000 | xargs touch; cd deep; seq 3000 | xargs touch; chmod 500 .";
    let clean = "set -e; test ! -e many; test -z \"$(git status --porcelain --ignored)\"";
    let stage = stage(&[leave, clean]);
    check_all_succeed(&stage, 2);
    assert_eq!(stage.node("w", "n0").extensions.discarded.map(|discarded| discarded.files), Some(6000));
}

/// Ends processes that work below a folder of this test.
fn end_left_behind(root: &Path) {
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let inside = fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(root));
        let pid = process.file_name().to_str().and_then(|name| name.parse().ok());
        if let (true, Some(pid)) = (inside, pid.and_then(rustix::process::Pid::from_raw)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

#[test]
fn a_partial_clone_fetches_what_it_needs_and_a_missing_object_is_no_deletion() {
    let graph = Graph::new("w").editor("n0", &[], "test \"$(cat dir/file)\" = hello && echo new > new");
    let stage = Stage::with_graphs(QUICK, &[&graph]);
    stage.commit("dir/file", "hello\n");
    let bare = stage.outside("bare.git");
    stage.environment.git(&["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]).succeeds();
    for setting in ["uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"] {
        stage.environment.git_in(&bare, &["config", setting, "true"]).succeeds();
    }
    let clone = stage.outside("clone");
    let url = format!("file://{}", bare.display());
    let arguments = ["clone", "--quiet", "--sparse", "--filter=blob:none", &url, clone.to_str().unwrap()];
    stage.environment.git_in(stage.environment.root(), &arguments).succeeds();
    stage.reconcile_in(&clone, &[]).succeeds();
    let status = crate::engine_rig::status_in(&bare, "w");
    let node = status.node_statuses.values().next().unwrap();
    assert_eq!(node.phase, NodePhase::Succeeded, "{node:#?}");
    let result = node.extensions.result.as_ref().unwrap();
    assert_eq!((result.files, result.deletions), (1, 0));
}

/// A request for each file would take a team with thousands of manifests half an hour.
#[test]
fn a_partial_clone_fetches_the_manifests_that_it_reads_at_once() {
    let environment = TestEnvironment::with_repository();
    let goal = |number| {
        let metadata = format!("metadata: {{name: g{number}, namespace: team}}");
        let text =
            format!("apiVersion: planspec.io/v1alpha1\nkind: Goal\n{metadata}\nspec: {{description: d}}\n");
        (format!("goals/{number}.yaml"), text)
    };
    let goals: Vec<(String, String)> = (0..20).map(goal).collect();
    let files: Vec<(&str, &str)> = goals.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    environment.commit_files(&files, "goals");
    let bare = environment.root().join("bare.git");
    environment.git(&["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]).succeeds();
    for setting in ["uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"] {
        environment.git_in(&bare, &["config", setting, "true"]).succeeds();
    }
    let url = format!("file://{}", bare.display());
    let reads: [&[&str]; 2] = [&["reconcile"], &["validate", "--ref", "HEAD"]];
    for (number, command) in reads.into_iter().enumerate() {
        let clone = environment.root().join(format!("clone-{number}"));
        let arguments =
            ["clone", "--quiet", "--no-checkout", "--filter=blob:none", &url, clone.to_str().unwrap()];
        environment.git_in(environment.root(), &arguments).succeeds();
        environment.planspec_in(&clone, command).succeeds();
        let packs = fs::read_dir(clone.join(".git/objects/pack")).unwrap().flatten();
        // Git keeps what one request brings in a pack of its own: the clone, the configuration, the manifests, and the status.
        let requests =
            packs.filter(|pack| pack.path().extension().is_some_and(|kind| kind == "promisor")).count();
        assert!((2..=6).contains(&requests), "{requests} requests for {command:?}");
    }
}

fn check_out(world: &TestEnvironment, revision: &str) -> Result<std::path::PathBuf, GitError> {
    let repo = Repo::open(&world.repo()).unwrap();
    let commit = repo.resolve_commit(revision).unwrap();
    let cache = ObjectCache::open(&world.root().join("objects.git")).unwrap();
    cache.import(&repo, commit)?;
    let mut copy = WorkingCopy::take(&world.root().join("pool")).unwrap();
    let form = CheckoutForm { leftovers: Leftovers::Remove, sparse: &[], depth: None };
    copy.check_out(&cache, commit, "", &form)?;
    Ok(copy.tree())
}

#[test]
fn a_hostile_tree_writes_nothing_outside_its_workspace() {
    let world = TestEnvironment::with_files(&[("a", "secret-content\n")]);
    let blob = world.git_output(&["rev-parse", "HEAD:a"]);
    for name in ["..", ".git", ".GIT", "."] {
        let commit = crate::git_local::hostile_commit(&world, &[("100644", name, &blob)]);
        let error = check_out(&world, &commit).unwrap_err().to_string();
        assert!(!error.contains("secret-content"), "{error}");
        assert!(!world.root().join("pool/a").exists());
    }
    let tree = check_out(&world, "HEAD").unwrap();
    assert_eq!(fs::read_to_string(tree.join("a")).unwrap(), "secret-content\n");
}

#[test]
fn ignored_files_stay_for_the_same_node_and_for_nobody_else() {
    // Each run of `build` finds the cache of the last one; a file that only its own rules hid is no change of the next one.
    let script = "test ! -e hidden || exit 7; mkdir -p cache; n=$(cat cache/n 2>/dev/null || echo 0); echo $((n+1)) > cache/n; \
                  echo hidden >> .gitignore; echo x > hidden; cp cache/n $PLANSPEC_ARTIFACTS/n";
    let keep = json!({ "workspace": { "clean": "keep-ignored" } });
    let judged = json!([{ "type": "command_succeeds", "name": "clean", "command": "test ! -e cache" }]);
    let graph = Graph::new("one")
        .editor_with("build", &[], script, &keep)
        .field("acceptanceCriteria", judged)
        .editor_with("other", &["build"], "test ! -e cache && test ! -e hidden", &keep);
    let documents = manifests(&[&graph]);
    let stage = Stage::new(QUICK, &[("work.yaml", &documents), (".gitignore", "cache\n")]);
    for round in 1..=3 {
        stage.reconcile(&[]).succeeds();
        let build = stage.node("one", "build");
        assert_eq!(build.phase, NodePhase::Succeeded, "{}", build.message);
        assert_eq!(stage.node("one", "other").phase, NodePhase::Succeeded);
        let to = format!("got{round}");
        stage.environment.planspec(&["artifacts", "get", "one/build", "-n", "team", "--to", &to]).succeeds();
        let count = fs::read_to_string(stage.environment.repo().join(&to).join("n")).unwrap();
        assert_eq!(count.trim(), round.to_string());
        fs::remove_dir_all(stage.environment.repo().join(&to)).unwrap();
        stage.environment.planspec(&["retry", "one", "-n", "team", "--from", "build"]).succeeds();
    }
    let collects = |arguments: &[&str]| stage.environment.planspec(arguments).succeeds().stdout;
    let fresh = collects(&["gc", "--older-than", "1d"]);
    assert!(!fresh.contains("workspaces"), "{fresh}");
    let said = collects(&["gc", "--older-than", "0s", "--dry-run"]);
    assert!(said.contains("2 workspaces with ignored files would be removed"), "{said}");
    let said = collects(&["gc", "--older-than", "0s"]);
    assert!(said.contains("2 workspaces with ignored files removed"), "{said}");
    stage.reconcile(&[]).succeeds();
    let get = ["artifacts", "get", "one/build", "-n", "team", "--to", "got"];
    stage.environment.planspec(&get).succeeds();
    assert_eq!(fs::read_to_string(stage.environment.repo().join("got/n")).unwrap().trim(), "1");
}
