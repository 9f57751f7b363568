//! The groups of all processes that run now, and how one is started so that it is known among them.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process_group};

/// How often a program that is still being written is tried again, and how long it is left alone in between.
const BUSY_TRIES: u32 = 200;
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// The groups of all processes that run now.
static GROUPS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Held to read from before a process is started until its group is known, by as many threads as start one, and to write
/// while all are killed: what was just started would else outlive the runner.
static STARTING: RwLock<()> = RwLock::new(());

/// Kills every group of processes that runs, for a runner that ends at once.
pub(in crate::provider) fn kill_all() {
    let _started = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    let groups = GROUPS.lock().unwrap_or_else(PoisonError::into_inner);
    for pid in groups.iter().filter_map(|&raw| Pid::from_raw(raw)) {
        // Errors mean that there is nobody left.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// Starts a process. A program that was just checked out may still be open for writing, for as long as it takes another
/// thread to start a process that inherited it; the system then calls it busy.
pub(super) fn start(command: &mut Command, filter: Option<&OwnedFd>) -> io::Result<Child> {
    for _ in 0..BUSY_TRIES {
        match spawn(command, filter) {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => thread::sleep(BUSY_PAUSE),
            started => return started,
        }
    }
    spawn(command, filter)
}

/// Starts a process and notes its group.
fn spawn(command: &mut Command, filter: Option<&OwnedFd>) -> io::Result<Child> {
    let child = match filter {
        None => {
            let _starting = STARTING.read().unwrap_or_else(PoisonError::into_inner);
            note(command.spawn()?)
        }
        // Alone: another process that is started meanwhile would inherit the descriptor as well, and could move the place
        // in the file at which this one begins to read.
        Some(filter) => {
            let _starting = STARTING.write().unwrap_or_else(PoisonError::into_inner);
            fcntl_setfd(filter, FdFlags::empty())?;
            let child = command.spawn().map(note);
            fcntl_setfd(filter, FdFlags::CLOEXEC)?;
            child?
        }
    };
    Ok(child)
}

/// Notes the group of a process that was just started.
fn note(child: Child) -> Child {
    if let Some(group) = group_of(&child) {
        GROUPS.lock().unwrap_or_else(PoisonError::into_inner).insert(group.as_raw_nonzero().get());
    }
    child
}

/// The group that a process was started in: its own.
pub(super) fn group_of(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

/// Forgets a group whose process is about to be reaped: from then on its id may be somebody else's.
pub(super) fn forget(group: Pid) {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner).remove(&group.as_raw_nonzero().get());
}
