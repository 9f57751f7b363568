//! Local repositories through the library, judged by the real `git`: private checkouts of hostile trees,
//! commits on branches that are checked out, reading what `git` wrote.

use std::collections::BTreeMap;
use std::fs;

use jiff::Timestamp;
use planspec::git::{BranchCommit, EntryMode, GitError, ObjectId, Repo, Signature};

use crate::environment::TestEnvironment;
use crate::git_server::write_hook;

type Edits = BTreeMap<String, Option<Vec<u8>>>;

fn person() -> Signature {
    Signature { name: "Wendy <Writer>\n".into(), email: "wendy@example.com".into() }
}

fn edits(files: &[(&str, Option<&str>)]) -> Edits {
    files.iter().map(|(path, text)| ((*path).to_owned(), text.map(|text| text.as_bytes().to_vec()))).collect()
}

fn commit_on(world: &TestEnvironment, files: &[(&str, Option<&str>)]) -> Result<BranchCommit, GitError> {
    let repo = Repo::open(&world.repo()).unwrap();
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    repo.commit_on_branch("main", &edits(files), "Subject\n\nBody", &person(), at)
}

#[track_caller]
fn check_committed(world: &TestEnvironment, files: &[(&str, Option<&str>)]) {
    let result = commit_on(world, files).unwrap();
    let head: ObjectId = world.git_output(&["rev-parse", "main"]).parse().unwrap();
    assert_eq!(result, BranchCommit::Committed(head));
    world.git(&["fsck", "--strict", "--no-dangling"]).succeeds();
}

#[track_caller]
fn check_status(world: &TestEnvironment, expected: &str) {
    assert_eq!(world.git_output(&["status", "--porcelain"]), expected);
}

#[track_caller]
fn check_dirty(world: &TestEnvironment, files: &[(&str, Option<&str>)], path: &str) {
    let before = world.git_output(&["rev-parse", "main"]);
    let error = commit_on(world, files).unwrap_err();
    assert!(matches!(&error, GitError::DirtyPath { path: dirty } if dirty == path), "{error}");
    assert_eq!(world.git_output(&["rev-parse", "main"]), before);
}

#[test]
fn the_first_commit_of_an_empty_repository_can_be_made() {
    let world = TestEnvironment::with_repository();
    check_committed(&world, &[("planspec/goal.yaml", Some("goal\n"))]);
    check_status(&world, "");
    assert_eq!(world.read("planspec/goal.yaml"), "goal\n");
    assert_eq!(
        world.git_output(&["log", "--format=%an|%ae|%at|%s|%b"]),
        "Wendy Writer\\n|wendy@example.com|1700000000|Subject|Body"
    );
    assert_eq!(
        commit_on(&world, &[("planspec/goal.yaml", Some("goal\n"))]).unwrap(),
        BranchCommit::Unchanged
    );
}

#[test]
fn index_and_working_tree_follow_and_other_work_in_progress_stays() {
    let world =
        TestEnvironment::with_files(&[("a", "1\n"), ("b/c", "1\n"), ("other", "1\n"), ("staged", "1\n")]);
    world.write("other", "in progress\n");
    world.write("staged", "in progress\n");
    world.git(&["add", "staged"]).succeeds();
    check_committed(&world, &[("a", Some("2\n")), ("b/c", None), ("d/e", Some("new\n"))]);
    check_status(&world, "M other\nM  staged");
    assert_eq!((world.read("a"), world.read("d/e")), ("2\n".into(), "new\n".into()));
    assert!(!world.repo().join("b").exists(), "an empty directory goes with its last file");
    assert_eq!(world.git_output(&["show", "--name-status", "--format="]), "M\ta\nD\tb/c\nA\td/e");
}

#[test]
fn uncommitted_changes_of_these_very_paths_are_never_lost() {
    let world = TestEnvironment::with_files(&[("a", "1\n"), ("b", "1\n")]);
    world.write("a", "mine\n");
    check_dirty(&world, &[("a", Some("2\n"))], "a");
    check_dirty(&world, &[("a", None)], "a");
    world.git(&["add", "a"]).succeeds();
    check_dirty(&world, &[("a", Some("2\n")), ("b", Some("2\n"))], "a");
    world.write("untracked", "mine\n");
    check_dirty(&world, &[("untracked", Some("2\n"))], "untracked");
    assert_eq!(
        (world.read("a"), world.read("b"), world.read("untracked")),
        ("mine\n".into(), "1\n".into(), "mine\n".into())
    );
}

#[test]
fn changes_that_are_what_is_to_be_committed_are_committed() {
    let world = TestEnvironment::with_files(&[("a", "1\n"), ("b", "1\n"), ("gone", "1\n")]);
    world.write("a", "2\n");
    world.write("b", "2\n");
    world.write("new", "2\n");
    world.git(&["add", "b"]).succeeds();
    fs::remove_file(world.repo().join("gone")).unwrap();
    check_committed(&world, &[("a", Some("2\n")), ("b", Some("2\n")), ("gone", None), ("new", Some("2\n"))]);
    check_status(&world, "");
}

#[test]
fn a_run_that_was_killed_before_the_branch_moved_goes_through_when_repeated() {
    let world = TestEnvironment::with_files(&[("a", "1\n"), ("gone", "1\n")]);
    // What a killed run leaves: working tree and index as wanted, the branch as before.
    world.write("a", "2\n");
    world.git(&["add", "a"]).succeeds();
    world.git(&["rm", "--quiet", "gone"]).succeeds();
    check_committed(&world, &[("a", Some("2\n")), ("gone", None)]);
    check_status(&world, "");
}

#[test]
fn links_in_the_working_tree_lead_nowhere() {
    let world = TestEnvironment::with_files(&[("a", "1\n")]);
    let outside = world.root().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "secret").unwrap();
    std::os::unix::fs::symlink(&outside, world.repo().join("link")).unwrap();
    std::os::unix::fs::symlink(outside.join("file"), world.repo().join("direct")).unwrap();
    for path in ["link/file", "link/new", "direct"] {
        for text in [Some("x"), None] {
            let result = commit_on(&world, &[(path, text)]);
            let error = result.unwrap_err();
            assert!(
                matches!(error, GitError::RefusedEntry { mode: EntryMode::Symlink, .. }),
                "{path}: {error}"
            );
            assert!(!error.to_string().contains("secret"));
        }
    }
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "secret");
    assert!(!outside.join("new").exists());
}

#[test]
fn a_branch_that_is_not_checked_out_moves_alone() {
    let world = TestEnvironment::with_files(&[("a", "1\n")]);
    world.git(&["switch", "--quiet", "--create", "elsewhere"]).succeeds();
    check_committed(&world, &[("a", Some("2\n"))]);
    assert_eq!(world.read("a"), "1\n");
    check_status(&world, "");
}

#[test]
fn a_branch_that_another_working_tree_has_checked_out_is_refused() {
    let world = TestEnvironment::with_files(&[("a", "1\n")]);
    let linked = world.root().join("linked");
    world.git(&["worktree", "add", "--quiet", "-b", "side", linked.to_str().unwrap()]).succeeds();
    let at = Timestamp::UNIX_EPOCH;
    let attempt = |repo: &Repo, branch: &str| {
        repo.commit_on_branch(branch, &edits(&[("a", Some("2\n"))]), "x", &person(), at)
    };
    let (main, side) = (Repo::open(&world.repo()).unwrap(), Repo::open(&linked).unwrap());
    for (repo, branch) in [(&main, "side"), (&side, "main")] {
        let error = attempt(repo, branch).unwrap_err();
        assert!(matches!(error, GitError::CheckedOutElsewhere { .. }), "{error}");
    }
    assert!(matches!(attempt(&side, "side").unwrap(), BranchCommit::Committed(_)));
    assert_eq!(fs::read_to_string(linked.join("a")).unwrap(), "2\n");
    assert_eq!(side.reopen().unwrap().head_branch().unwrap().as_deref(), Some("side"));
    assert_eq!(world.git_in(&linked, &["status", "--porcelain"]).succeeds().stdout, "");
}

#[test]
fn nothing_is_committed_in_the_middle_of_a_merge() {
    let world = TestEnvironment::with_files(&[("a", "1\n")]);
    world.git(&["switch", "--quiet", "--create", "side"]).succeeds();
    world.commit_files(&[("a", "side\n")], "Side");
    world.git(&["switch", "--quiet", "main"]).succeeds();
    world.commit_files(&[("a", "main\n")], "Main");
    world.git(&["merge", "side"]).exits(1);
    let error = commit_on(&world, &[("b", Some("x"))]).unwrap_err();
    assert_eq!(error.to_string(), "the working tree is in the middle of a merge; finish or abort it first");
}

#[test]
fn a_leftover_lock_of_the_index_is_explained() {
    let world = TestEnvironment::with_files(&[("a", "1\n")]);
    world.write(".git/index.lock", "");
    let error = commit_on(&world, &[("a", Some("2\n"))]).unwrap_err();
    assert!(matches!(&error, GitError::Locked { path, .. } if path.ends_with("index.lock")), "{error}");
    fs::remove_file(world.repo().join(".git/index.lock")).unwrap();
    check_committed(&world, &[("a", Some("2\n"))]);
    check_status(&world, "");
}

#[test]
fn a_leftover_lock_leaves_nothing_that_git_add_would_commit() {
    let world = TestEnvironment::with_files(&[("a", "1\n")]);
    for lock in [".git/index.lock", ".git/refs/heads/main.lock"] {
        world.write(lock, "");
        let edits = [("a", Some("2\n")), ("new/b", Some("x\n"))];
        let error = commit_on(&world, &edits).unwrap_err();
        assert!(matches!(error, GitError::Locked { .. }), "{error}");
        fs::remove_file(world.repo().join(lock)).unwrap();
        check_status(&world, "");
    }
}

#[test]
fn no_hook_runs_when_a_commit_is_made() {
    let world = TestEnvironment::with_files(&[("a", "1\n")]);
    let witness = world.root().join("witness");
    for hook in ["pre-commit", "commit-msg", "post-commit", "reference-transaction", "post-index-change"] {
        write_hook(&world.repo().join(".git/hooks"), hook, &format!("echo {hook} >> {}", witness.display()));
    }
    commit_on(&world, &[("a", Some("2\n"))]).unwrap();
    assert!(!witness.exists(), "{}", fs::read_to_string(&witness).unwrap_or_default());
}

/// A tree that `git` itself would not make.
fn hostile_tree(world: &TestEnvironment, lines: &[(&str, &str, &str)]) -> String {
    let mut bytes = Vec::new();
    for (mode, name, id) in lines {
        bytes.extend_from_slice(format!("{mode} {name}\0").as_bytes());
        bytes.extend_from_slice(id.parse::<ObjectId>().unwrap().as_bytes());
    }
    fs::write(world.root().join("tree"), bytes).unwrap();
    let file = world.root().join("tree");
    world.git_output(&["hash-object", "-w", "-t", "tree", "--literally", file.to_str().unwrap()])
}

pub(crate) fn hostile_commit(world: &TestEnvironment, lines: &[(&str, &str, &str)]) -> String {
    let tree = hostile_tree(world, lines);
    world.git_output(&["commit-tree", &tree, "-m", "Hostile"])
}

#[test]
fn a_file_is_read_by_its_path_alone_and_links_are_refused_without_their_content() {
    let world = TestEnvironment::with_files(&[("d/file", "0123456789")]);
    std::os::unix::fs::symlink("/secret/target", world.repo().join("link")).unwrap();
    world.git(&["add", "link"]).succeeds();
    world.git(&["commit", "--quiet", "-m", "Link"]).succeeds();
    let repo = Repo::discover(&world.repo().join("d")).unwrap();
    let head = repo.commit(repo.resolve_commit("HEAD").unwrap()).unwrap();
    let blob = repo.file(head.tree, "d/file").unwrap().unwrap();
    assert_eq!(repo.blob(blob, 10).unwrap(), b"0123456789");
    let error = repo.blob(blob, 9).unwrap_err();
    assert!(matches!(error, GitError::TooLarge { size: 10, limit: 9 }), "{error}");
    let error = repo.file(head.tree, "link").unwrap_err();
    assert_eq!(error.to_string(), "`link` is a symbolic link, which is refused here");
    for absent in ["link/x", "d/file/x", "none", "d/none", ""] {
        assert_eq!(repo.entry(head.tree, absent).unwrap(), None, "{absent}");
    }
    assert_eq!(
        repo.file(head.tree, "d").unwrap_err().to_string(),
        "`d` is a directory, which is refused here"
    );
}

#[test]
fn revisions_are_resolved_as_git_does_and_unknown_ones_named() {
    let world = TestEnvironment::with_files(&[("a", "1")]);
    world.commit_files(&[("a", "2")], "Second");
    world.git(&["tag", "--annotate", "-m", "x", "v1", "HEAD~1"]).succeeds();
    let repo = Repo::open(&world.repo()).unwrap();
    for revision in ["HEAD", "main", "HEAD~1", "v1", "refs/heads/main", "main^{commit}"] {
        let expected = world.git_output(&["rev-parse", &format!("{revision}^{{commit}}")]);
        assert_eq!(repo.resolve_commit(revision).unwrap().to_string(), expected);
    }
    for revision in ["nope", "", "-x", "HEAD~5", "main:a", "a b", "HEAD^{tree}", "..", "\u{1b}[31m"] {
        let error = repo.resolve_commit(revision).unwrap_err();
        assert!(matches!(error, GitError::UnknownRevision { .. }), "{revision}: {error:?}");
        assert!(!error.to_string().contains('\u{1b}'));
    }
}

#[test]
fn the_remote_to_work_with_is_the_wanted_the_only_origin_or_the_followed() {
    let world = TestEnvironment::with_files(&[("a", "1")]);
    let repo = Repo::open(&world.repo()).unwrap();
    let default = || repo.default_remote(None).unwrap();
    assert_eq!(default(), None);
    world.git(&["remote", "add", "upstream", "/nowhere"]).succeeds();
    assert_eq!(default().as_deref(), Some("upstream"));
    world.git(&["remote", "add", "fork", "/nowhere"]).succeeds();
    assert_eq!(default(), None);
    world.git(&["config", "branch.main.remote", "fork"]).succeeds();
    assert_eq!(default().as_deref(), Some("fork"));
    // A work branch that follows a fork does not decide whose manifests run.
    world.git(&["remote", "add", "origin", "/nowhere"]).succeeds();
    assert_eq!(default().as_deref(), Some("origin"));
    assert_eq!(repo.default_remote(Some("x")).unwrap().as_deref(), Some("x"));
}

#[test]
fn who_commits_comes_from_the_caller_or_the_repository() {
    let world = TestEnvironment::with_repository();
    world.git(&["config", "user.name", "Rob"]).succeeds();
    world.git(&["config", "user.email", "rob@example.com"]).succeeds();
    let repo = Repo::open(&world.repo()).unwrap();
    assert_eq!(repo.identity().unwrap().name, "Rob");
    let wendy = Signature { name: "Wendy".into(), email: "wendy@example.com".into() };
    let repo = repo.with_identity(Some(wendy.clone()));
    assert_eq!(repo.reopen().unwrap().identity().unwrap(), wendy);
}

#[test]
fn a_directory_without_a_repository_is_named() {
    let directory = tempfile::tempdir().unwrap();
    for result in [Repo::open(directory.path()), Repo::discover(directory.path())] {
        let error = result.err().unwrap();
        assert!(matches!(error, GitError::NotARepository { .. }), "{error}");
    }
}

#[test]
fn a_format_that_is_not_supported_is_named_in_words_with_the_way_out() {
    let world = TestEnvironment::new();
    for (format, name) in [("--object-format=sha256", "sha256"), ("--ref-format=reftable", "refstorage")] {
        let directory = world.root().join(name);
        // Reftables are known to Git 2.45 and newer.
        if world.git(&["init", "--quiet", format, directory.to_str().unwrap()]).code != 0 {
            continue;
        }
        let refused = world.planspec_in(&directory, &["validate"]).exits(3).stderr;
        assert!(refused.contains("not supported") && refused.contains(name), "{refused}");
        assert!(
            refused.contains("hint: planspec supports only SHA-1 objects and file-based references"),
            "{refused}"
        );
        assert!(!refused.contains("class="), "{refused}");
    }
}

/// libgit2 knows neither a parent with `/*` nor what the environment configures; the program does.
#[test]
fn a_repository_of_somebody_else_is_opened_where_git_is_told_that_it_is_safe() {
    let mut world = TestEnvironment::with_files(&[("README", "x")]);
    let given = std::process::Command::new("chown").args(["-R", "12345:12345"]).arg(world.repo()).output();
    // Only root can give files away, and nothing that could be installed helps.
    if !given.is_ok_and(|output| output.status.success()) {
        return;
    }
    let refused = world.planspec(&["validate"]).exits(3).stderr;
    assert!(refused.contains("safe.directory"), "{refused}");
    let parent = world.repo().parent().unwrap().join("*");
    let global = world.root().join("global");
    world.set("GIT_CONFIG_GLOBAL", global.to_str().unwrap());
    // Git 2.46 and newer know a parent; this one may not.
    world.git(&["config", "--global", "safe.directory", parent.to_str().unwrap()]).succeeds();
    if world.git(&["status", "--short"]).code == 0 {
        world.planspec(&["validate"]).succeeds();
    }
    world.git(&["config", "--global", "--unset", "safe.directory"]).succeeds();
    for (name, value) in
        [("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "safe.directory"), ("GIT_CONFIG_VALUE_0", "*")]
    {
        world.set(name, value);
    }
    world.planspec(&["validate"]).succeeds();
}
