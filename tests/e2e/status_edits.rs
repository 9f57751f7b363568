//! Random edits of the status tree, by somebody who may push it and merge nothing: whatever they do, nothing runs that was not
//! merged, nothing hangs, and other Executions go on (Invariants 6 and 14).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use planspec::model::ExecutionPhase;
use serde_json::json;

use crate::engine_rig::{Graph, QUICK, Stage, bindings, execution, yaml};
use crate::pins::forge;

/// How long a pass may take, whatever the branch holds.
const LONGEST: Duration = Duration::from_secs(30);

/// Numbers that are the same at every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below this one.
    pub(crate) fn roll(&mut self, below: usize) -> usize {
        // The constants of Knuth's MMIX.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }
}

/// A gate and a job behind it, another Execution beside it, and a commit that nobody merged.
fn stage() -> (Stage, String) {
    let stage = Stage::new(QUICK, &[("job.sh", "echo merged >> \"$1\"\n")]);
    let job = format!("sh job.sh '{}'", stage.outside("trace").display());
    let gated = Graph::new("work")
        .task("a", &[], "echo \"x=1\" >> \"$PLANSPEC_OUTPUT\"")
        .node(json!({ "id": "ok", "kind": "Gate", "gateRef": { "name": "ok" }, "dependsOn": ["a"] }))
        .task("b", &["ok"], &job);
    let other = Graph::new("other").task("a", &[], "true");
    let work = [gated.plan(), other.plan(), execution("run", "work"), bindings(&[&gated, &other])];
    stage.commit("work.yaml", &yaml(&work));
    stage.reconcile(&[]).succeeds();
    let git = |arguments: &[&str]| stage.environment.git(arguments).succeeds();
    git(&["checkout", "--quiet", "-b", "evil"]);
    stage.commit("job.sh", "echo evil >> \"$1\"\n");
    let evil = stage.environment.git_output(&["rev-parse", "HEAD"]);
    git(&["checkout", "--quiet", "main"]);
    (stage, evil)
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries.into_iter().filter(|path| path.file_name().is_some_and(|name| name != ".git")) {
        if path.is_dir() && !path.is_symlink() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// One edit of the tree.
fn spoil(tree: &Path, evil: &str, dice: &mut Dice) -> String {
    let mut all = Vec::new();
    files(tree, &mut all);
    if all.is_empty() {
        return "nothing is left".to_owned();
    }
    let pick = |dice: &mut Dice| all[dice.roll(all.len())].clone();
    let (path, other) = (pick(dice), pick(dice));
    let bytes = fs::read(&path).unwrap_or_default();
    let what = dice.roll(9);
    match what {
        0 => fs::remove_file(&path).unwrap(),
        1 => fs::rename(&path, &other).unwrap(),
        2 => drop(fs::copy(&path, &other)),
        3 => {
            let mut bytes = bytes;
            for _ in 0..4 {
                if !bytes.is_empty() {
                    let at = dice.roll(bytes.len());
                    bytes[at] = u8::try_from(dice.roll(256)).unwrap();
                }
            }
            fs::write(&path, bytes).unwrap();
        }
        4 => fs::write(&path, &bytes[..dice.roll(bytes.len() + 1)]).unwrap(),
        5 => {
            fs::remove_file(&path).unwrap();
            std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        }
        6 => {
            fs::remove_file(&path).unwrap();
            fs::create_dir(&path).unwrap();
            fs::write(path.join("x.yaml"), bytes).unwrap();
        }
        7 => fs::write(&path, "[".repeat(60_000)).unwrap(),
        // Whatever commit it names, the unmerged one takes its place.
        _ => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let commit = regex::Regex::new(r"\b[0-9a-f]{40}\b").unwrap();
            fs::write(&path, commit.replace_all(&text, evil).as_bytes()).unwrap();
        }
    }
    format!("{what} {} {}", path.display(), other.display())
}

#[track_caller]
fn check(seed: u64) {
    let (stage, evil) = stage();
    let mut dice = Dice(seed);
    let mut done = Vec::new();
    for round in 0..3 {
        forge(&stage, |tree| {
            for _ in 0..=dice.roll(3) {
                done.push(spoil(tree, &evil, &mut dice));
            }
        });
        stage.environment.planspec(&["approve", "ok", "-n", "team"]);
        let name = format!("later-{round}");
        stage.commit(&format!("{name}.yaml"), &yaml(&[execution(&name, "other")]));
        let begun = Instant::now();
        let outcome = stage.reconcile(&["--max-duration", "60s"]);
        assert!(begun.elapsed() < LONGEST, "seed {seed}, {done:#?}: {outcome:?}");
        assert!(outcome.code <= 1, "seed {seed}, {done:#?}: {outcome:?}");
        assert_eq!(
            stage.status(&name).phase,
            ExecutionPhase::Succeeded,
            "seed {seed}, {done:#?}: {outcome:?}"
        );
        let ran = stage.trace("trace");
        assert!(ran.iter().all(|line| line == "merged"), "seed {seed}, {done:#?}: {ran:?}");
    }
}

#[test]
fn no_edit_of_the_status_tree_makes_anything_run_that_was_not_merged() {
    for seed in 1..=6 {
        check(seed);
    }
}

#[test]
fn sixty_thousand_brackets_in_a_record_hold_up_nobody() {
    let (stage, _) = stage();
    forge(&stage, |tree| fs::write(tree.join("team/executions/run.yaml"), "[".repeat(60_000)).unwrap());
    stage.commit("later.yaml", &yaml(&[execution("later", "other")]));
    let begun = Instant::now();
    stage.reconcile(&[]).succeeds();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(stage.status("later").phase, ExecutionPhase::Succeeded);
    assert_eq!(stage.status("run").phase, ExecutionPhase::Blocked, "as it was before");
}

#[test]
fn folders_without_end_on_the_status_branch_hold_up_nobody() {
    let (stage, _) = stage();
    forge(&stage, |tree| {
        // Where records are and where none are, deeper than trees are read that hold manifests.
        for place in ["team/executions", "team/goals/00", "Notes"] {
            let deep = tree.join(place).join("d/".repeat(300));
            fs::create_dir_all(&deep).unwrap();
            fs::write(deep.join("run.yaml"), "x").unwrap();
        }
    });
    stage.commit("later.yaml", &yaml(&[execution("later", "other")]));
    // Also where nothing is in the cache, so that the whole tree is read.
    for cached in [true, false] {
        if !cached {
            fs::remove_dir_all(stage.environment.repo().join(".git/planspec")).unwrap();
        }
        let outcome = stage.reconcile(&[]).succeeds();
        assert!(!outcome.stderr.contains("error"), "{outcome:?}");
        assert_eq!(stage.status("later").phase, ExecutionPhase::Succeeded);
        stage.environment.planspec(&["get", "executions", "-n", "team"]).succeeds();
    }
}
