//! Whether processes that a task left behind still work in its workspace. Reading where each process of a machine works costs
//! more than the start of a small task, so that after a look at all of them, those that began since are enough for a while.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a look at all processes counts: one that was elsewhere may have moved in since.
const ALL_SEEN: Duration = Duration::from_secs(1);
/// How many numbers are tried one by one. With more, the list of what runs is the shorter one.
const FEW: u32 = 256;

/// What is known of the processes of this machine.
#[derive(Debug, Default)]
pub(super) struct ProcessWatch {
    seen: Option<SeenProcesses>,
    newest: NewestProcess,
}

/// No process up to a number was in the folder.
#[derive(Debug, Clone, Copy)]
struct SeenProcesses {
    /// The number that was given out last.
    newest: u32,
    /// When all of them were looked at.
    all: Instant,
}

impl ProcessWatch {
    /// Whether a process works in a folder, or below it.
    pub(super) fn is_in(&mut self, folder: &Path) -> bool {
        // Before the look: what begins meanwhile is looked at the next time.
        let (at, newest) = (Instant::now(), self.newest.read());
        let begun = newest
            .and_then(|newest| Some((self.seen?, newest)))
            .and_then(|(seen, newest)| Some((seen, seen.begun_since(newest, seen.all.elapsed())?)));
        let found = match &begun {
            Some((_, numbers)) => numbers.clone().any(|number| works_in(&process(number), folder)),
            None => any_process_in(folder),
        };
        tracing::trace!(folder = %folder.display(), all = begun.is_none(), found, "looked for processes that stayed");
        let all = begun.map_or(at, |(seen, _)| seen.all);
        self.seen = newest.filter(|_| !found).map(|newest| SeenProcesses { newest, all });
        found
    }
}

impl SeenProcesses {
    /// The numbers given out since; none where only a look at everything tells.
    fn begun_since(self, newest: u32, age: Duration) -> Option<std::ops::Range<u32>> {
        // A smaller one: the system began anew with small numbers, and any may belong to somebody else by now.
        let count = newest.checked_sub(self.newest)?;
        (count <= FEW && age < ALL_SEEN).then_some(self.newest + 1..newest + 1)
    }
}

/// The number that the system gave to a process or thread last.
#[derive(Debug, Default)]
struct NewestProcess {
    /// Where the system says so; kept open, because it is asked after each task.
    file: Option<File>,
}

impl NewestProcess {
    fn read(&mut self) -> Option<u32> {
        if self.file.is_none() {
            self.file = Some(File::open("/proc/loadavg").ok()?);
        }
        // From the beginning, and so as of now: three averages, two counts, and the number.
        let mut line = [0; 128];
        let length = self.file.as_ref()?.read_at(&mut line, 0).ok()?;
        let line = std::str::from_utf8(line.get(..length)?).ok()?;
        line.split_whitespace().next_back()?.parse().ok().filter(|number| (1..u32::MAX).contains(number))
    }
}

fn any_process_in(folder: &Path) -> bool {
    // Where the system does not list its processes, the next reset finds what they changed.
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        let is_process = process.file_name().as_bytes().first().is_some_and(u8::is_ascii_digit);
        is_process && works_in(&process.path(), folder)
    })
}

fn process(number: u32) -> PathBuf {
    Path::new("/proc").join(number.to_string())
}

fn works_in(process: &Path, folder: &Path) -> bool {
    fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    fn sleeper(folder: &Path) -> Child {
        Command::new("sleep").arg("60").current_dir(folder).spawn().unwrap()
    }

    fn end(mut process: Child) {
        process.kill().unwrap();
        process.wait().unwrap();
    }

    #[test]
    fn a_process_that_stays_is_found_by_the_first_look_and_by_each_later_one() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap();
        let mut watch = ProcessWatch::default();
        let process = sleeper(&folder);
        assert!(watch.is_in(&folder));
        assert!(watch.is_in(&folder), "what was found is not taken as seen");
        end(process);
        assert!(!watch.is_in(&folder));
        let process = sleeper(&folder);
        assert!(watch.is_in(&folder), "begun after a look at all");
        end(process);
        assert!(!watch.is_in(&folder));
    }

    #[test]
    fn only_what_began_since_is_looked_at_for_a_while() {
        let seen = SeenProcesses { newest: 100, all: Instant::now() };
        assert_eq!(seen.begun_since(103, Duration::ZERO), Some(101..104));
        assert_eq!(seen.begun_since(100, Duration::ZERO), Some(101..101));
        assert_eq!(seen.begun_since(99, Duration::ZERO), None, "numbers began anew");
        assert_eq!(seen.begun_since(101 + FEW, Duration::ZERO), None, "many began");
        assert_eq!(seen.begun_since(103, ALL_SEEN), None, "long ago");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_says_which_number_it_gave_out_last() {
        let mut newest = NewestProcess::default();
        let before = newest.read().unwrap();
        let process = sleeper(Path::new("/"));
        let after = newest.read().unwrap();
        // Numbers may have begun anew between the two.
        assert!(after < before || (before + 1..=after).contains(&process.id()), "{before} {after}");
        end(process);
    }
}
