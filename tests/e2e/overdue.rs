//! Ends this program where a test never ends: nobody waits an hour for a machine to give up, and the test that hangs has a name.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once};
use std::time::{Duration, Instant};

/// How long what takes a moment may take under load.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// Waits until something becomes true, for a while.
#[track_caller]
pub(crate) fn wait_within(longest: Duration, what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + longest;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Far longer than any test takes on a busy machine; the longest needs about a minute on an idle one.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// A test, and since when it runs.
type Begun = (String, Instant);

/// What is in progress, by number.
static IN_PROGRESS: Mutex<BTreeMap<u64, Begun>> = Mutex::new(BTreeMap::new());

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A part of a test that has to end, until it is dropped.
pub(crate) struct MustEnd(u64);

impl MustEnd {
    /// Called by the thread of the test, which has the test's name.
    pub(crate) fn begin() -> Self {
        static WATCH: Once = Once::new();
        WATCH.call_once(|| {
            std::thread::spawn(watch);
        });
        let test = std::thread::current().name().unwrap_or("a thread of a test").to_owned();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        IN_PROGRESS.lock().unwrap().insert(number, (test, Instant::now()));
        Self(number)
    }
}

impl Drop for MustEnd {
    fn drop(&mut self) {
        if let Ok(mut in_progress) = IN_PROGRESS.lock() {
            in_progress.remove(&self.0);
        }
    }
}

fn watch() {
    loop {
        std::thread::sleep(Duration::from_secs(5));
        let overdue = {
            let in_progress = IN_PROGRESS.lock().unwrap();
            in_progress.values().find(|(_, begun)| begun.elapsed() > LONGEST).map(|(test, _)| test.clone())
        };
        if let Some(test) = overdue {
            // Not `eprintln`: what a test prints is shown when it ends.
            let _ = writeln!(
                std::io::stderr().lock(),
                "test {test} does not end; what it waits for:\n{}",
                started()
            );
            #[allow(
                clippy::exit,
                reason = "the thread of the test does not come back, and nobody else can end it"
            )]
            std::process::exit(1);
        }
    }
}

/// The processes below this one: those of others are nobody's business in a log.
fn started() -> String {
    let listed = Command::new("ps").args(["axfo", "pid,ppid,etime,stat,args"]).output();
    let listed =
        listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let mut known = vec![std::process::id().to_string()];
    let mut shown = String::new();
    // Parents come before what they started.
    for line in listed.lines() {
        let mut words = line.split_whitespace();
        if let (Some(id), Some(parent)) = (words.next(), words.next())
            && known.iter().any(|one| one == parent)
        {
            known.push(id.to_owned());
            shown.push_str(line);
            shown.push('\n');
        }
    }
    shown
}
