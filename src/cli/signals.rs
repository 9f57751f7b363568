//! Signals, in one place: a reconcile stops cleanly at the first and at once at the second; anything else ends at once. Whatever
//! was started ends with this process.

use std::process;
use std::sync::{Mutex, Once, PoisonError};
use std::thread;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::git::end_runs;
use crate::provider::kill_processes;

/// What a shell adds to the number of a signal that ended a process.
const BY_SIGNAL: i32 = 128;

/// What the next signal does.
enum SignalAction {
    /// It ends the process.
    End,
    /// Ctrl-C calls this, as often as it is typed; the others end the process.
    Interrupt(Box<dyn Fn() + Send>),
    /// It asks for a clean stop.
    Stop(Box<dyn Fn() + Send>),
}

// For the process as a whole, as signals are.
static NEXT: Mutex<SignalAction> = Mutex::new(SignalAction::End);

/// Until this is dropped, the first signal does something else than to end the process.
pub(crate) struct SignalsHeld(());

impl Drop for SignalsHeld {
    fn drop(&mut self) {
        set(SignalAction::End);
    }
}

/// The first signal calls `stop`, the second ends the process.
pub(crate) fn stop_with(stop: impl Fn() + Send + 'static) -> SignalsHeld {
    set(SignalAction::Stop(Box::new(stop)));
    SignalsHeld(())
}

/// Ctrl-C calls `heard`, which must not wait: it is an answer to a question, or it is an editor's. Other signals end the process.
pub(crate) fn on_interrupt(heard: impl Fn() + Send + 'static) -> SignalsHeld {
    set(SignalAction::Interrupt(Box::new(heard)));
    SignalsHeld(())
}

fn set(next: SignalAction) {
    *NEXT.lock().unwrap_or_else(PoisonError::into_inner) = next;
}

/// The signals that ask a process to end.
struct EndSignals {
    interrupt: Signal,
    terminate: Signal,
    /// A terminal that is closed, or a lost SSH session: without a handler, tasks would outlive this process.
    hangup: Option<Signal>,
}

/// Heeds signals from here on, on a thread of its own: a command waits for `git` without one to spare. Where the system gives
/// none, signals end the process as they do any other.
pub(crate) fn heed() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
        // Before anything is started, so that no signal comes too early.
        let Some(signals) = EndSignals::take(&runtime) else { return };
        let heeding = thread::Builder::new().name("signals".to_owned());
        if let Err(error) = heeding.spawn(move || runtime.block_on(signals.heed())) {
            tracing::debug!(%error, "no thread for signals");
        }
    });
}

impl EndSignals {
    fn take(runtime: &Runtime) -> Option<Self> {
        let _entered = runtime.enter();
        Some(Self {
            interrupt: signal(SignalKind::interrupt()).ok()?,
            terminate: signal(SignalKind::terminate()).ok()?,
            // Under `nohup`, the signal is ignored, and stays so.
            hangup: if is_hangup_ignored() { None } else { signal(SignalKind::hangup()).ok() },
        })
    }

    async fn heed(mut self) {
        loop {
            let kind = self.next().await;
            let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
            match &*next {
                SignalAction::Interrupt(heard) if kind == SignalKind::interrupt() => heard(),
                SignalAction::Stop(stop) => {
                    stop();
                    // Whoever asks twice does not want to wait.
                    *next = SignalAction::End;
                }
                SignalAction::End | SignalAction::Interrupt(_) => end(kind),
            }
        }
    }

    async fn next(&mut self) -> SignalKind {
        let hung_up = async {
            match self.hangup.as_mut() {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = hung_up => SignalKind::hangup(),
        }
    }
}

/// Ends the process, and what it started: tasks and `git` have process groups of their own, which no signal to this one reaches.
fn end(kind: SignalKind) {
    kill_processes();
    end_runs();
    #[allow(clippy::exit, reason = "somebody asked for it, and nobody else may still be able to")]
    process::exit(BY_SIGNAL + kind.as_raw_value());
}

/// Whether this process was started with SIGHUP ignored, as `nohup` does; the first bit of the kernel's mask.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}
