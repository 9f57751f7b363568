//! Machines that cannot do the work: a cache or a disk that takes nothing, a remote that does not give the pinned commit.
//! None of it is a failure of the work; the runner stops claiming, says so, and a healthy one finishes everything.

use std::fs;
use std::process::Command;

use planspec::model::{ExecutionPhase, NodePhase};

use crate::engine_rig::{Graph, QUICK, Stage, bindings, check_history, execution, status_in, yaml};
use crate::git_server::GitServer;

/// A plan of two tasks, and as many Executions of it.
fn documents(stage: &Stage, executions: usize) -> String {
    let key = Stage::leaves_its_key(&stage.outside("trace"));
    let graph = Graph::new("work").task("a", &[], &key).task("b", &["a"], &key);
    let mut documents = vec![graph.plan(), bindings(&[&graph])];
    documents.extend((0..executions).map(|number| execution(&format!("e{number:02}"), "work")));
    yaml(&documents)
}

/// Checks that a machine that cannot work failed nothing, and that everything ends well once `mend` was called.
#[track_caller]
fn check_given_back(stage: &Stage, executions: usize, cause: &str, mend: impl FnOnce()) {
    let outcome = stage.reconcile(&["--jobs", "2"]);
    assert_eq!(outcome.code, 3, "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.stderr.contains("this machine cannot do the work"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains(cause) && outcome.stderr.contains("hint:"), "{}", outcome.stderr);
    assert_eq!(stage.trace("trace").len(), 0, "nothing could run");
    for number in 0..executions {
        let name = format!("e{number:02}");
        let Some(record) =
            crate::engine_rig::record_in(&stage.environment.repo(), planspec::model::Kind::Execution, &name)
        else {
            continue;
        };
        let status = record.execution().unwrap();
        assert!(!status.phase.is_terminal() && status.extensions.lease.is_none(), "{name}: {status:?}");
        for node in status.node_statuses.values() {
            assert_eq!((node.phase, node.extensions.failures), (NodePhase::Pending, 0), "{name}");
            assert!(node.attempt <= 2, "{name} was claimed {} times", node.attempt);
        }
    }
    mend();
    stage.reconcile_to_the_end(&stage.environment.repo());
    for number in 0..executions {
        assert_eq!(stage.status(&format!("e{number:02}")).phase, ExecutionPhase::Succeeded);
    }
    assert_eq!(stage.trace("trace").len(), 2 * executions);
    check_history(&stage.environment.repo());
}

#[test]
fn a_cache_that_cannot_be_written_fails_no_execution() {
    let stage = Stage::new(QUICK, &[]);
    stage.commit("work.yaml", &documents(&stage, 20));
    let cache = stage.environment.repo().join(".git/planspec");
    fs::create_dir_all(&cache).unwrap();
    // A file in the place of the folder: the superuser, who may run this, can write to any folder.
    fs::write(cache.join("runs"), "").unwrap();
    check_given_back(&stage, 20, "no folder for the attempt", || {
        fs::remove_file(cache.join("runs")).unwrap();
    });
}

#[test]
fn a_folder_for_checkouts_that_cannot_be_made_fails_no_execution() {
    let stage = Stage::new(QUICK, &[]);
    stage.commit("work.yaml", &documents(&stage, 4));
    let work = stage.outside("home/.cache/planspec/work");
    fs::create_dir_all(work.parent().unwrap()).unwrap();
    fs::write(&work, "").unwrap();
    check_given_back(&stage, 4, "no checkout of the pinned commit", || fs::remove_file(&work).unwrap());
}

/// A file system of a few kilobytes; `None` where this user may not mount one.
fn small_disk(at: &std::path::Path) -> Option<MountedDisk> {
    fs::create_dir_all(at).unwrap();
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", "size=16k", "planspec-test"]).arg(at);
    let mounted = mount.output().is_ok_and(|output| output.status.success());
    mounted.then(|| MountedDisk(at.to_owned()))
}

struct MountedDisk(std::path::PathBuf);

impl Drop for MountedDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_fails_no_execution() {
    let stage = Stage::new(QUICK, &[]);
    stage.commit("work.yaml", &documents(&stage, 4));
    let runs = stage.environment.repo().join(".git/planspec/runs");
    let Some(disk) = small_disk(&runs) else {
        // The other tests meet the same fault by other means.
        return;
    };
    let full = fs::write(runs.join("ballast"), vec![0_u8; 1 << 20]);
    assert_eq!(full.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    check_given_back(&stage, 4, "No space left on device", || drop(disk));
}

#[test]
fn a_task_that_fails_on_a_full_disk_is_not_judged() {
    let stage = Stage::new(QUICK, &[]);
    let runs = stage.environment.repo().join(".git/planspec/runs");
    // The first attempts find the disk full when they end, the last one does not.
    let fill = format!(
        "[ -e '{0}' ] || exit 0; head -c 1048576 /dev/zero > '{1}/ballast'; echo spoilt; exit 1",
        stage.outside("full").display(),
        runs.display()
    );
    let graph = Graph::new("work").task("a", &[], &fill);
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("work", "work"), bindings(&[&graph])]));
    let Some(disk) = small_disk(&runs) else { return };
    fs::write(stage.outside("full"), "").unwrap();
    let outcome = stage.reconcile(&[]);
    assert_eq!(outcome.code, 3, "{}{}", outcome.stdout, outcome.stderr);
    let node = stage.node("work", "a");
    assert_eq!((node.phase, node.extensions.failures), (NodePhase::Pending, 0), "{}", node.message);
    assert!(outcome.stderr.contains("exited with code 1"), "{}", outcome.stderr);
    fs::remove_file(stage.outside("full")).unwrap();
    drop(disk);
    stage.reconcile_to_the_end(&stage.environment.repo());
    assert_eq!(stage.status("work").phase, ExecutionPhase::Succeeded);
}

#[test]
fn a_remote_that_does_not_give_the_pinned_commit_fails_no_execution() {
    let server = GitServer::over_http();
    let url = server.http_url(Some("tok-write"));
    let stage = Stage::new("publish: {burst: 1000, perMinute: 6000}\n", &[]);
    let graph = Graph::new("work").task("a", &[], &Stage::leaves_its_key(&stage.outside("trace")));
    stage.commit("work.yaml", &yaml(&[graph.plan(), execution("work", "work")]));
    let pinned = stage.environment.git_output(&["rev-parse", "HEAD"]);
    stage.environment.git(&["push", "--quiet", &url, "main"]).succeeds();
    // Without a Binding the Execution is pinned, and waits.
    let first = stage.clone_to(&url, "first");
    assert_eq!(stage.reconcile_in(&first, &[]).code, 0);
    stage.commit("binding.yaml", &yaml(&[bindings(&[&graph])]));
    stage.environment.git(&["push", "--quiet", &url, "main"]).succeeds();
    // In this clone the pinned commit is cut off.
    let second = stage.outside("second");
    let shallow = ["clone", "--quiet", "--depth=1", &url, second.to_str().unwrap()];
    stage.environment.git_in(stage.environment.root(), &shallow).succeeds();
    server.steer("fail-want", &format!("{pinned}\n503 Service Unavailable"));
    let outcome = stage.reconcile_in(&second, &["--max-duration", "4s"]);
    assert_eq!(outcome.code, 0, "{}{}", outcome.stdout, outcome.stderr);
    let status = status_in(&server.bare(), "work");
    let node = status.node_statuses.values().next().unwrap();
    assert_eq!((node.phase, node.extensions.failures), (NodePhase::Blocked, 0), "{}", node.message);
    assert!(
        outcome.stdout.contains("503") && outcome.stdout.contains("waiting: team/work"),
        "{}",
        outcome.stdout
    );
    assert!(status.extensions.lease.is_none());
    fs::remove_file(server.bare().join("fail-want")).unwrap();
    // Another runner, which has asked for nothing in vain yet.
    let third = stage.outside("third");
    let shallow = ["clone", "--quiet", "--depth=1", &url, third.to_str().unwrap()];
    stage.environment.git_in(stage.environment.root(), &shallow).succeeds();
    stage.start_in(&third, &[]).succeeds();
    assert_eq!(status_in(&server.bare(), "work").phase, ExecutionPhase::Succeeded);
}
