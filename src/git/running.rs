//! The runs of `git` that are in progress. Each has a process group of its own where there is no terminal, which a signal to this
//! process does not reach: whoever ends it at once ends them too, or a fetch from a host that does not answer outlives it by
//! minutes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::process::Child;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How long a run may take to remove its lock files and temporary packs.
pub(super) const GRACE: Duration = Duration::from_millis(200);

/// By process id, whether it leads a group.
// For the process as a whole, as signals are. Locked while a run is started: one that began during the end would be missed.
static RUNNING: Mutex<BTreeMap<i32, bool>> = Mutex::new(BTreeMap::new());

/// A run that is known, until this is dropped.
#[derive(Debug)]
pub(super) struct KnownRun(i32);

/// Starts a run.
pub(super) fn start(
    spawn: impl FnOnce() -> io::Result<Child>,
    leads_group: bool,
) -> io::Result<(Child, KnownRun)> {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let child = spawn()?;
    // A process id of the system is positive and fits.
    let id = i32::try_from(child.id()).unwrap_or_default();
    running.insert(id, leads_group);
    Ok((child, KnownRun(id)))
}

impl Drop for KnownRun {
    fn drop(&mut self) {
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// Ends every run of `git`, for a process that ends at once: no other starts after this, and whoever waits for one waits until
/// the process is gone.
pub fn end_runs() {
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    if !running.is_empty() {
        signal(&running, Signal::TERM);
        thread::sleep(GRACE);
        signal(&running, Signal::KILL);
    }
    std::mem::forget(running);
}

fn signal(running: &BTreeMap<i32, bool>, signal: Signal) {
    for (&id, &leads_group) in running {
        if let Some(pid) = Pid::from_raw(id) {
            send(pid, leads_group, signal);
        }
    }
}

/// Sends a signal to a run and to its helpers: to its group, or, where it shares the group of this process, to its children one by
/// one. Those are known on Linux; elsewhere a helper is left to notice that git is gone.
pub(super) fn send(pid: Pid, leads_group: bool, signal: Signal) {
    let sent = if leads_group {
        kill_process_group(pid, signal)
    } else {
        // Before their parent: once it is gone, nobody knows whose they were.
        for helper in children(pid) {
            send(helper, false, signal);
        }
        kill_process(pid, signal)
    };
    if let Err(error) = sent {
        tracing::debug!(%error, "git exited before it was ended");
    }
}

/// The processes that a process has started, as far as the system says.
fn children(pid: Pid) -> Vec<Pid> {
    let id = pid.as_raw_nonzero();
    let listed = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|child| Pid::from_raw(child.parse().ok()?)).collect()
}
