//! Which branch is reconciled: one for each repository, whatever is checked out. No situation may delete a record or run
//! anything twice.

use std::path::PathBuf;

use crate::engine_rig::{Graph, bindings, execution, yaml};
use crate::environment::{Outcome, TestEnvironment};
use crate::fixtures::goal;

const STATUS: &str = "refs/heads/planspec/status";

/// A repository whose branch `main` runs one task that leaves a line outside.
struct World {
    environment: TestEnvironment,
}

impl World {
    fn new() -> Self {
        let world = Self { environment: TestEnvironment::with_repository() };
        let text = world.run_of("main");
        world.environment.commit_files(&[("work.yaml", &text)], "Begin");
        world
    }

    /// With a bare remote called `origin`, as `git clone` sets it up.
    fn with_remote() -> Self {
        let world = Self::new();
        let bare = world.bare();
        let environment = &world.environment;
        environment.git(&["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]).succeeds();
        environment.git_in(&bare, &["remote", "remove", "origin"]).succeeds();
        environment.git(&["remote", "add", "origin", bare.to_str().unwrap()]).succeeds();
        environment.git(&["fetch", "--quiet", "origin"]).succeeds();
        environment.git(&["remote", "set-head", "origin", "main"]).succeeds();
        world
    }

    fn bare(&self) -> PathBuf {
        self.environment.root().join("origin.git")
    }

    fn log(&self) -> PathBuf {
        self.environment.root().join("log")
    }

    /// Manifests of an execution that leaves `word` in the log.
    fn run_of(&self, word: &str) -> String {
        let graph = Graph::new(word).task("a", &[], &format!("echo {word} >> {}", self.log().display()));
        yaml(&[graph.plan(), execution(word, word), bindings(&[&graph])])
    }

    fn git(&self, arguments: &[&str]) {
        self.environment.git(arguments).succeeds();
    }

    /// Checks a new branch out on which `main`'s execution is gone and another one is there.
    fn switch_to_unmerged(&self, branch: &str) {
        self.git(&["switch", "--quiet", "-c", branch]);
        self.git(&["rm", "--quiet", "work.yaml"]);
        self.environment.commit_files(&[("other.yaml", &self.run_of("unmerged"))], "Not merged");
    }

    fn reconcile(&self, arguments: &[&str]) -> Outcome {
        let words = [&["reconcile"], arguments].concat();
        self.environment.planspec(&words)
    }

    /// The tip of the status branch: here, or on the remote.
    fn status(&self) -> String {
        let place = if self.bare().exists() { self.bare() } else { self.environment.repo() };
        self.environment.git_in(&place, &["rev-parse", "--verify", "--quiet", STATUS]).stdout
    }

    /// Asserts that `main` ran once and nothing else ran.
    #[track_caller]
    fn check_only_main_ran(&self) {
        assert_eq!(std::fs::read_to_string(self.log()).unwrap(), "main\n");
    }

    /// Asserts that a reconcile reads `main`, says so, and changes nothing.
    #[track_caller]
    fn check_reads_main(&self) {
        let before = self.status();
        let outcome = self.reconcile(&[]).succeeds();
        assert!(outcome.stderr.contains("reading branch `main`"), "{outcome:?}");
        assert_eq!(self.status(), before, "{outcome:?}");
        self.check_only_main_ran();
    }

    /// Asserts that a reconcile is refused with these words, and changes nothing.
    #[track_caller]
    fn check_refused(&self, arguments: &[&str], words: &[&str]) {
        let before = self.status();
        let outcome = self.reconcile(arguments).exits(3);
        for word in words.iter().chain(&["hint: "]) {
            assert!(outcome.stderr.contains(word), "{word}: {outcome:?}");
        }
        assert_eq!(self.status(), before);
    }
}

#[test]
fn another_branch_that_is_checked_out_is_not_read() {
    for world in [World::with_remote(), World::new()] {
        world.reconcile(&[]).succeeds();
        world.switch_to_unmerged("feature");
        world.check_reads_main();
        world.git(&["switch", "--quiet", "main"]);
        world.reconcile(&[]).succeeds();
        world.check_only_main_ran();
    }
}

#[test]
fn a_branch_that_follows_another_remote_is_not_read() {
    let world = World::with_remote();
    world.reconcile(&[]).succeeds();
    world.switch_to_unmerged("feature");
    let fork = world.environment.root().join("fork.git");
    world.git(&["clone", "--quiet", "--bare", ".", fork.to_str().unwrap()]);
    world.git(&["remote", "add", "fork", fork.to_str().unwrap()]);
    world.git(&["config", "branch.feature.remote", "fork"]);
    world.check_reads_main();
}

#[test]
fn a_detached_head_reads_the_desired_branch_or_is_an_error() {
    let world = World::new();
    world.git(&["switch", "--quiet", "--detach"]);
    world.check_refused(&[], &["HEAD is detached", "--ref BRANCH"]);
    world.git(&["switch", "--quiet", "main"]);
    world.reconcile(&[]).succeeds();
    world.git(&["switch", "--quiet", "--detach"]);
    world.check_reads_main();
    let remote = World::with_remote();
    remote.git(&["switch", "--quiet", "--detach"]);
    remote.reconcile(&[]).succeeds();
    remote.check_reads_main();
}

#[test]
fn a_linked_working_tree_reads_the_desired_branch() {
    let world = World::new();
    world.reconcile(&[]).succeeds();
    let place = world.environment.root().join("linked");
    world.git(&["worktree", "add", "--quiet", "-b", "side", place.to_str().unwrap()]);
    std::fs::write(place.join("other.yaml"), world.run_of("unmerged")).unwrap();
    world.environment.git_in(&place, &["add", "--all"]).succeeds();
    world.environment.git_in(&place, &["commit", "--quiet", "-m", "Not merged"]).succeeds();
    let outcome = world.environment.planspec_in(&place, &["reconcile"]).succeeds();
    assert!(outcome.stderr.contains("not the checked-out branch `side`"), "{outcome:?}");
    world.check_only_main_ran();
}

#[test]
fn commits_that_are_not_pushed_are_not_run() {
    let world = World::with_remote();
    world.reconcile(&[]).succeeds();
    world.environment.commit_files(&[("other.yaml", &world.run_of("unpushed"))], "Not pushed");
    world.reconcile(&[]).succeeds();
    world.check_only_main_ran();
}

#[test]
fn the_status_branch_and_work_branches_are_never_reconciled() {
    let world = World::new();
    world.reconcile(&[]).succeeds();
    world.git(&["switch", "--quiet", "planspec/status"]);
    world.check_refused(&[], &["the status branch `planspec/status` is checked out"]);
    world.git(&["switch", "--quiet", "main"]);
    world.check_refused(&["--ref", "planspec/status"], &["`planspec/status` is the status branch"]);
    world.git(&["branch", "records", "planspec/status"]);
    world.check_refused(&["--ref", "records"], &["`records` is the status branch"]);
    world.git(&["branch", "planspec/work/team/main/a", "main"]);
    world.check_refused(&["--ref", "planspec/work/team/main/a"], &["is a work branch of planspec"]);
    world.check_only_main_ran();
}

#[test]
fn another_ref_is_read_loudly_and_for_one_command_only() {
    let world = World::new();
    world.reconcile(&[]).succeeds();
    world.git(&["switch", "--quiet", "-c", "trial"]);
    world.environment.commit_files(&[("goal.yaml", &goal("ship", "Ship it"))], "Try");
    let outcome = world.reconcile(&["--ref", "trial"]).succeeds();
    assert!(
        outcome.stderr.contains("warning: --ref: reading `trial` instead of the desired branch `main`"),
        "{outcome:?}"
    );
    world.environment.planspec(&["get", "goal/ship", "-n", "team", "--ref", "trial"]).succeeds();
    let next = world.reconcile(&[]).succeeds();
    assert!(next.stderr.contains("reading branch `main`"), "{next:?}");
    world.check_only_main_ran();
    let typo = world.reconcile(&["--ref", "tiral"]).exits(3);
    assert!(typo.stderr.contains("there is no branch `tiral`"), "{typo:?}");
}

#[test]
fn a_desired_branch_that_was_renamed_is_not_taken_for_an_empty_one() {
    let environment =
        TestEnvironment::with_files(&[(".planspec.yaml", ""), ("goal.yaml", &goal("g", "Stay"))]);
    environment.planspec(&["reconcile"]).succeeds();
    environment.git(&["branch", "--quiet", "-m", "main", "trunk"]).succeeds();
    let refused = environment.planspec(&["reconcile"]).exits(3);
    assert!(refused.stderr.contains("there is no branch `main`"), "{refused:?}");
    assert!(refused.stderr.contains("desiredBranch"), "{refused:?}");
}

#[test]
fn a_default_branch_that_is_renamed_or_deleted_on_the_remote_is_asked_for_again() {
    let world = World::with_remote();
    world.reconcile(&[]).succeeds();
    let before = world.status();
    world.environment.git_in(&world.bare(), &["branch", "-m", "main", "trunk"]).succeeds();
    world.reconcile(&[]).succeeds();
    assert_eq!(world.status(), before);
    world.check_only_main_ran();
    world.environment.git_in(&world.bare(), &["update-ref", "-d", "refs/heads/trunk"]).succeeds();
    world.check_refused(&[], &["`origin` has no branch yet"]);
    world.check_only_main_ran();
}

#[test]
fn where_the_remote_names_no_branch_its_only_one_is_read() {
    let world = World::with_remote();
    world.git(&["remote", "set-head", "origin", "--delete"]);
    world.environment.git_in(&world.bare(), &["symbolic-ref", "HEAD", "refs/heads/master"]).succeeds();
    world.reconcile(&[]).succeeds();
    world.check_only_main_ran();
    world.git(&["push", "--quiet", "origin", "main:refs/heads/second"]);
    world.check_refused(&[], &["cannot tell which branch of `origin`", "`main`, `second`", "desiredBranch"]);
}

#[test]
fn the_configuration_names_another_branch() {
    for world in [World::with_remote(), World::new()] {
        world.git(&["switch", "--quiet", "-c", "release"]);
        world.git(&["switch", "--quiet", "main"]);
        world.git(&["rm", "--quiet", "work.yaml"]);
        let files = [(".planspec.yaml", "desiredBranch: release\n"), ("x.yaml", &world.run_of("unreleased"))];
        world.environment.commit_files(&files, "Release from a branch");
        if world.bare().exists() {
            world.git(&["push", "--quiet", "origin", "main", "release"]);
        }
        for _ in 0..2 {
            let outcome = world.reconcile(&[]).succeeds();
            world.check_only_main_ran();
            assert!(!outcome.stdout.contains("unreleased"), "{outcome:?}");
        }
        world.environment.planspec(&["get", "execution/main", "-n", "team"]).succeeds();
    }
}

#[test]
fn two_branches_that_name_each_other_are_an_error() {
    let world = World::new();
    world.git(&["switch", "--quiet", "-c", "release"]);
    world.environment.commit_files(&[(".planspec.yaml", "desiredBranch: main\n")], "Back to main");
    world.git(&["switch", "--quiet", "main"]);
    world.environment.commit_files(&[(".planspec.yaml", "desiredBranch: release\n")], "Release");
    world.check_refused(&[], &["`desiredBranch` on branch `main` names `release`", "names `main`"]);
    world.environment.commit_files(&[(".planspec.yaml", "desiredBranch: nowhere\n")], "Nowhere");
    world.check_refused(&[], &["there is no branch `nowhere`"]);
    assert!(!world.log().exists());
}

#[test]
fn a_status_branch_that_cannot_exist_beside_another_is_refused() {
    for world in [World::with_remote(), World::new()] {
        let remote = world.bare().exists();
        world.git(&["branch", "planspec"]);
        if remote {
            world.git(&["push", "--quiet", "origin", "planspec"]);
        }
        world.check_refused(&[], &["cannot be used beside the branch `planspec`", "statusBranch"]);
        world.environment.commit_files(&[(".planspec.yaml", "statusBranch: main\n")], "The same");
        if remote {
            world.git(&["push", "--quiet", "origin", "main"]);
        }
        world.check_refused(&[], &["`statusBranch` `main` cannot be used beside the branch `main`"]);
        assert!(!world.log().exists());
        world.environment.commit_files(&[(".planspec.yaml", "statusBranch: ops/status\n")], "Elsewhere");
        if remote {
            world.git(&["push", "--quiet", "origin", "main"]);
        }
        world.reconcile(&[]).succeeds();
        world.check_only_main_ran();
    }
}

#[test]
fn changes_are_committed_to_the_desired_branch() {
    let world = World::new();
    world.reconcile(&[]).succeeds();
    world.git(&["switch", "--quiet", "-c", "feature"]);
    let input = world.environment.root().join("goal.yaml");
    std::fs::write(&input, goal("ship", "Ship it")).unwrap();
    let outcome = world.environment.planspec(&["apply", "-f", input.to_str().unwrap()]).succeeds();
    assert!(outcome.stderr.contains("the change goes to branch `main`"), "{outcome:?}");
    let path = "main:planspec/team/goals/ship.yaml";
    assert!(world.environment.git_output(&["show", path]).contains("Ship it"));
    assert_eq!(world.environment.git_output(&["status", "--porcelain"]), "");
}

#[test]
fn a_squashed_status_branch_still_names_the_desired_branch() {
    let world = World::new();
    world.reconcile(&[]).succeeds();
    world.environment.commit_files(&[("goal.yaml", &goal("ship", "Ship it"))], "More");
    world.reconcile(&[]).succeeds();
    world.environment.planspec(&["gc", "--older-than", "0s"]).succeeds();
    world.switch_to_unmerged("feature");
    world.check_reads_main();
}
