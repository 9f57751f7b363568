//! The slots of a runner: what is claimed, what runs in them, and the start of the next claim as soon as one is free. A slot is
//! given on where its attempt ends, beside the loop: a step of a large plan takes as long as many a task, and every slot would
//! wait for it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use super::{OUTPUT_LINES, forward};
use crate::engine::attempt::claims::ClaimQueue;
use crate::engine::attempt::factory::{AttemptFactory, Claim};
use crate::engine::attempt::fence::{LEASE_OVER, LeaseFence, heed, over_before_it_began, stop_at_fence};
use crate::engine::clock::{Clock, ClockReading};
use crate::engine::message::{AttemptEnd, AttemptMessage};
use crate::model::{NodeId, NodeReason, ResourceKey};
use crate::provider::{Attempt, Control, Provider, Registry};
use crate::run::{AttemptName, AttemptOutcome, AttemptReport, Stop};

/// Why an attempt cannot begin for which the system has no thread.
const NO_THREAD: &str = "the system gave no thread to the attempt";

/// What every start needs.
pub(super) struct StartTerms {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) factory: Arc<AttemptFactory>,
    /// Where the loop is told of ends and of lines.
    pub(super) sender: mpsc::UnboundedSender<AttemptMessage>,
    /// Whether printed lines are passed on.
    pub(super) stream: bool,
}

/// An attempt that was started, until the loop has taken in its end.
pub(super) struct RunningAttempt {
    pub(super) key: ResourceKey,
    pub(super) node: NodeId,
    pub(super) stop: watch::Sender<Option<Stop>>,
    pub(super) provider: String,
    /// How many attempts this runner had started by then, this one included.
    pub(super) number: u32,
    pub(super) begun: Instant,
    /// Its slot was given on. It stays here, because the record says that it runs: without it, planning would take it for one
    /// of a lost runner.
    has_ended: bool,
}

/// What is claimed and what runs.
pub(super) struct SlotState {
    jobs: usize,
    registry: Registry,
    pub(super) claimed: ClaimQueue,
    /// Until when the work of each Execution may run.
    pub(super) fences: BTreeMap<ResourceKey, watch::Sender<LeaseFence>>,
    /// Executions whose lease was over when a node was to start.
    pub(super) fenced: Vec<ResourceKey>,
    // By the whole name: a process that is told to end takes a while, and by then its node may have another attempt, or its
    // Execution may have been deleted and written again.
    running: BTreeMap<AttemptName, RunningAttempt>,
    started: u32,
}

impl SlotState {
    pub(super) fn jobs(&self) -> usize {
        self.jobs
    }

    /// Starts by other terms from now on.
    pub(super) fn reconfigure(&mut self, registry: Registry, jobs: usize) {
        // Without a slot every claim would wait for ever under a lease that is renewed.
        (self.registry, self.jobs) = (registry, jobs.max(1));
    }

    /// Everything that was started and whose end was not taken in.
    pub(super) fn running(&self) -> &BTreeMap<AttemptName, RunningAttempt> {
        &self.running
    }

    /// How many attempts were started so far.
    pub(super) fn started(&self) -> u32 {
        self.started
    }

    /// The loop has taken in the end of an attempt.
    pub(super) fn take_ended(&mut self, name: &AttemptName) -> Option<RunningAttempt> {
        self.running.remove(name)
    }

    fn has_free_slot(&self) -> bool {
        self.running.values().filter(|running| !running.has_ended).count() < self.jobs
    }
}

/// The slots, shared by the loop and by what runs in them.
#[derive(Clone)]
pub(super) struct Slots {
    terms: Arc<StartTerms>,
    state: Arc<Mutex<SlotState>>,
}

impl Slots {
    pub(super) fn new(terms: StartTerms, registry: Registry, jobs: usize) -> Self {
        let state = SlotState {
            jobs: jobs.max(1),
            registry,
            claimed: ClaimQueue::default(),
            fences: BTreeMap::new(),
            fenced: Vec::new(),
            running: BTreeMap::new(),
            started: 0,
        };
        Self { terms: Arc::new(terms), state: Arc::new(Mutex::new(state)) }
    }

    pub(super) fn terms(&self) -> &StartTerms {
        &self.terms
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, SlotState> {
        // Whoever panicked while holding it has changed one field at most, and the others still have to be stopped.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts claimed nodes while there are slots.
    pub(super) fn pump(&self) {
        let mut state = self.lock();
        while state.has_free_slot() {
            let Some(claim) = state.claimed.pop() else { break };
            // The clocks are read for each start: between two of them this process may have been stopped for an hour.
            let reading = ClockReading::of(self.terms.clock.as_ref());
            match state.fences.get(&claim.key).filter(|fence| fence.borrow().is_open(reading)) {
                Some(fence) => {
                    let fence = fence.subscribe();
                    self.start(&mut state, &claim, fence);
                }
                None => {
                    // Nothing of it began, and that is this runner's fault: the attempt does not count.
                    warn!(execution = %claim.key, node = claim.node, "give a claim back: the lease is over");
                    state.fenced.push(claim.key.clone());
                    self.end(&claim, AttemptOutcome::NotStarted { message: LEASE_OVER.to_owned() });
                }
            }
        }
    }

    /// Gives back what was claimed and has not begun, so that nothing starts until more is claimed. How many claims there were.
    pub(super) fn give_back_claims(&self, why: &str) -> usize {
        let claims = self.lock().claimed.take_all();
        let given_back = claims.map(|claim| {
            self.end(&claim, AttemptOutcome::NotStarted { message: why.to_owned() });
        });
        given_back.count()
    }

    /// Says how a claim ended of which nothing began.
    fn end(&self, claim: &Claim, outcome: AttemptOutcome) {
        if let Some(sender) = self.end_sender(claim) {
            sender.send(outcome.into(), None);
        }
    }

    fn end_sender(&self, claim: &Claim) -> Option<EndSender> {
        let clock = Arc::clone(&self.terms.clock);
        let sender = self.terms.sender.clone();
        Some(EndSender { key: claim.key.clone(), attempt: claim.name()?, clock, sender })
    }

    fn start(&self, state: &mut SlotState, claim: &Claim, fence: watch::Receiver<LeaseFence>) {
        let Some(end) = self.end_sender(claim) else { return };
        let id = end.attempt.node.clone();
        let attempt = match self.terms.factory.attempt(claim, &id) {
            Ok(attempt) => attempt,
            Err((reason, message)) => {
                return end.send(AttemptOutcome::permanent(reason, message).into(), None);
            }
        };
        // Of the string with its expressions replaced: the allow-list is about who is really asked.
        let provider = match state.registry.find(&attempt.provider) {
            Ok(provider) => Arc::clone(provider),
            Err(error) => {
                let reason = NodeReason::ProviderUnavailable;
                return end.send(AttemptOutcome::permanent(reason, error.to_string()).into(), None);
            }
        };
        let provider_name = claim.target.provider.clone();
        info!(execution = %claim.key, node = %id, attempt = claim.attempt, provider = provider_name, "start attempt");
        state.started = state.started.saturating_add(1);
        let (stop, stopped) = watch::channel(None);
        // Bounded, and what finds no room is dropped: a process must not wait for a terminal, and the log has
        // every line.
        let (lines, shown) = mpsc::channel(OUTPUT_LINES);
        let running = RunningAttempt {
            key: claim.key.clone(),
            node: id.clone(),
            stop: stop.clone(),
            provider: provider_name,
            number: state.started,
            begun: Instant::now(),
            has_ended: false,
        };
        state.running.insert(end.attempt.clone(), running);
        if self.terms.stream {
            forward(&self.terms.sender, claim.key.clone(), id, shown);
        }
        let control = Control { stop: stopped, output: lines, heed: None };
        if !provider.blocks(&attempt.provider) {
            tokio::spawn(self.clone().run(end, (provider, attempt, control), fence, stop));
            return;
        }
        let (slots, runtime) = (self.clone(), Handle::current());
        let work = move || slots.run_here(&runtime, end, (provider, attempt, control), fence);
        // The runtime panics when the system gives it no thread.
        if catch_unwind(AssertUnwindSafe(|| tokio::task::spawn_blocking(work))).is_err() {
            self.end(claim, AttemptOutcome::broken_off_here(NO_THREAD.to_owned()));
        }
    }

    /// Runs one attempt on this thread, which may be blocked for as long as it takes, tells how it ended, and gives its slot on: from
    /// here the next one begins with one change of threads less.
    fn run_here(
        self,
        runtime: &Handle,
        end: EndSender,
        (provider, attempt, control): (Arc<dyn Provider>, Attempt, Control),
        fence: watch::Receiver<LeaseFence>,
    ) {
        let started = Some(end.clock.now());
        let clock = Arc::clone(&self.terms.clock);
        if let Some(over) = over_before_it_began(&fence, clock.as_ref()) {
            return self.ended(end, over.into(), started);
        }
        let ends = end.sender.clone();
        let heed = heed(end.key.clone(), control.stop.clone(), (fence, clock), move || ends.is_closed());
        let control = Control { heed: Some(heed), ..control };
        let run = || runtime.block_on(provider.run(attempt, control));
        let report = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
            AttemptOutcome::broken_off_here("the attempt was aborted: it panicked".to_owned()).into()
        });
        self.ended(end, report, started);
    }

    /// Runs one attempt, tells how it ended, and gives its slot on.
    async fn run(
        self,
        end: EndSender,
        (provider, attempt, control): (Arc<dyn Provider>, Attempt, Control),
        fence: watch::Receiver<LeaseFence>,
        stop: watch::Sender<Option<Stop>>,
    ) {
        let started = Some(end.clock.now());
        let clock = Arc::clone(&self.terms.clock);
        let guard = stop_at_fence(end.key.clone(), fence.clone(), Arc::clone(&clock), stop);
        // A task of its own: the runtime panics when the system gives it no thread, and that attempt would never end.
        let mut run = tokio::spawn(async move {
            match over_before_it_began(&fence, clock.as_ref()) {
                Some(over) => over.into(),
                None => provider.run(attempt, control).await,
            }
        });
        let report = tokio::select! {
            // In this order and not by lot, here as in every choice of the engine: a run can be repeated exactly.
            biased;
            report = &mut run => report,
            // A provider that was asked to stop still has to end its process and to report how that went.
            () = guard => run.await,
        };
        let report = report.unwrap_or_else(|error| {
            AttemptOutcome::broken_off_here(format!("the attempt was aborted: {error}")).into()
        });
        self.ended(end, report, started);
    }

    /// Tells how an attempt ended, and gives its slot on.
    fn ended(self, end: EndSender, report: AttemptReport, started: Option<Timestamp>) {
        // On a machine that cannot do the work the next claim would end the same way: the loop decides first whether any is made.
        let goes_on = !matches!(report.outcome, AttemptOutcome::RunnerFailed { .. });
        let name = end.attempt.clone();
        // First, so that the loop hears of ends in their order.
        end.send(report, started);
        if goes_on {
            // Not there any more where the loop has taken in the end already.
            if let Some(running) = self.lock().running.get_mut(&name) {
                running.has_ended = true;
            }
            self.pump();
        }
    }
}

/// Which attempt a claim is for, and where its end is told.
struct EndSender {
    key: ResourceKey,
    attempt: AttemptName,
    clock: Arc<dyn Clock>,
    sender: mpsc::UnboundedSender<AttemptMessage>,
}

impl EndSender {
    fn send(self, report: AttemptReport, started: Option<Timestamp>) {
        let finished = AttemptEnd { attempt: self.attempt, report, started, at: self.clock.now() };
        // The receiver lives as long as the driver; when it is gone nobody wants to know.
        let _ = self.sender.send(AttemptMessage::Ended(self.key, Box::new(finished)));
    }
}
