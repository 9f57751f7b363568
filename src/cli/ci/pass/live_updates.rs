//! What people see while a pass runs: the comments on their pull requests, brought up to date now and then beside
//! the engine, which does not wait for the host.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::cli::ci::host::Host;
use crate::cli::ci::pass::progress::{ReportedState, comment};
use crate::cli::ci::pass::schedule;
use crate::cli::ci::pass_view::PassView;
use crate::cli::error::CliError;
use crate::cli::repo_context::SelectedCommits;
use crate::event::Event;
use crate::model::{Kind, ResourceKey};

/// What happened, between the pass and the thread that reports it.
#[derive(Default)]
pub(crate) struct UpdateQueue {
    state: Mutex<UpdateState>,
    over: Condvar,
}

#[derive(Default, Clone)]
struct UpdateState {
    desired: Option<String>,
    status: Option<String>,
    touched: BTreeSet<ResourceKey>,
    /// Whether something was recorded that was not reported yet.
    fresh: bool,
    over: bool,
}

impl UpdateQueue {
    /// Takes an event in.
    pub(crate) fn note(&self, event: &Event) {
        // A thread that panicked with the lock held leaves plain values behind, which are as good as before.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::PassStarted { desired, .. } => state.desired = Some(desired.clone()),
            // Nothing is shown before it is published (Invariant 4).
            Event::Published { commit, .. } => {
                state.status = Some(commit.clone());
                state.fresh = true;
            }
            Event::Execution { key, .. } | Event::Node { key, .. } if key.kind == Kind::Execution => {
                state.touched.insert(key.clone());
            }
            _ => {}
        }
    }

    /// Says that the pass is over when what this gives is dropped.
    // Not a call at the end: where the pass panics, it would not be made, and the scope that both threads live in would
    // wait for the reporting one for ever.
    pub(crate) fn end_on_drop(&self) -> PassEnd<'_> {
        PassEnd(self)
    }

    /// Waits for the interval to pass, or for the end: what is to be reported then, if it is not the end.
    fn next(&self, interval: Duration) -> Option<UpdateState> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.over.wait_timeout_while(state, interval, |state| !state.over);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.over {
            return None;
        }
        let due = state.clone();
        // What happens while the host is asked makes it fresh again.
        state.fresh = false;
        Some(due)
    }
}

/// The end of a pass, which comes when this is dropped.
#[must_use]
pub(crate) struct PassEnd<'q>(&'q UpdateQueue);

impl Drop for PassEnd<'_> {
    fn drop(&mut self) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).over = true;
        self.0.over.notify_all();
    }
}

/// Reports progress until the pass is over, at most once in an interval. What cannot be reported now is reported at the end.
pub(crate) fn tell(
    news: &UpdateQueue,
    mut view: PassView,
    host: &Host,
    (interval, full, mut schedule): (Duration, Option<&str>, Option<&str>),
    reported: &mut ReportedState,
) {
    while let Some(state) = news.next(interval) {
        if state.fresh
            && let Some(workflow) = schedule.take()
        {
            schedule::turn_on(host, workflow);
        }
        if state.fresh && !state.touched.is_empty() {
            let found = tips(&view, &state).and_then(|tips| view.move_to(tips));
            let done = found
                .and_then(|()| comment(host, &view, (&state.touched, &state.touched), &[], full, reported));
            if let Err(error) = done {
                // The end of the pass reports once more, and a host that is down must not stop work.
                tracing::debug!(%error, "progress not reported yet");
            }
        }
    }
}

/// The commits that the pass has reached. Nothing is fetched: the engine has them.
fn tips(view: &PassView, state: &UpdateState) -> Result<SelectedCommits, CliError> {
    let commit = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
    let desired = commit(&state.desired);
    Ok(SelectedCommits {
        desired,
        status: commit(&state.status),
        config: view.workspace().config_at(desired)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reports_end_with_a_pass_that_panics() {
        let queue = UpdateQueue::default();
        let begun = std::time::Instant::now();
        let passed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| while queue.next(Duration::from_secs(600)).is_some() {});
                let _end = queue.end_on_drop();
                panic!("the pass panics");
            });
        }));
        assert!(passed.is_err() && begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    }
}
