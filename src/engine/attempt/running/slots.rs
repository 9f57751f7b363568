//! The slots of a runner: what is claimed, what runs in them, and the start of the next claim as soon as one is free. A slot is
//! given on where its attempt ends, beside the loop: a step of a large plan takes as long as many a task, and every slot would
//! wait for it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{OUTPUT_LINES, forward, passed_on};
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

/// How an attempt ends in which planspec itself fails.
const PANICKED: &str = "the attempt was aborted: it panicked";

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
    /// How many attempts this runner had given a slot by then, this one included.
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
    /// How many slots were filled so far.
    filled: u32,
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

    /// How many attempts were given a slot so far, those counted that could not begin in it.
    pub(super) fn filled(&self) -> u32 {
        self.filled
    }

    fn has_free_slot(&self) -> bool {
        self.running.values().filter(|running| !running.has_ended).count() < self.jobs
    }

    /// Gives a slot to the attempt of this name, which `stop` asks to end early.
    fn fill(&mut self, claim: &Claim, name: &AttemptName, stop: watch::Sender<Option<Stop>>) {
        self.filled = self.filled.saturating_add(1);
        let running = RunningAttempt {
            key: claim.key.clone(),
            node: name.node.clone(),
            stop,
            provider: claim.target.provider.clone(),
            number: self.filled,
            begun: Instant::now(),
            has_ended: false,
        };
        self.running.insert(name.clone(), running);
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
            filled: 0,
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
        while let Some(work) = self.next() {
            self.launch(work);
        }
    }

    /// Starts claimed nodes while there are slots, all but one for which a thread is to be blocked: that one is the caller's.
    fn pump_but_one(&self) -> Option<SlotWork> {
        let mut own = None;
        while let Some(work) = self.next() {
            if own.is_none() && work.blocks() {
                own = Some(work);
            } else {
                self.launch(work);
            }
        }
        own
    }

    /// What is to begin now, in a slot of its own. A claim that cannot begin has ended by then.
    fn next(&self) -> Option<SlotWork> {
        loop {
            let (claim, place) = self.take_slot()?;
            // The slots are not held meanwhile: whoever ends an attempt in this moment needs them.
            let prepare = || self.prepare(&claim, &place.end.attempt.node);
            // A slot that is filled has to be emptied, or the loop waits for its end for ever.
            let outcome = match catch_unwind(AssertUnwindSafe(prepare)) {
                Ok(Ok((provider, attempt))) => return Some(SlotWork { place, provider, attempt }),
                Ok(Err((reason, message))) => AttemptOutcome::permanent(reason, message),
                Err(_) => AttemptOutcome::broken_off_here(PANICKED.to_owned()),
            };
            self.ended(place.end, outcome.into(), None);
        }
    }

    /// A slot for the claim that has waited longest.
    fn take_slot(&self) -> Option<(Claim, SlotPlace)> {
        let mut state = self.lock();
        while state.has_free_slot() {
            let claim = state.claimed.pop()?;
            let Some(end) = self.end_sender(&claim) else { continue };
            // The clocks are read for each start: between two of them this process may have been stopped for an hour.
            let reading = ClockReading::of(self.terms.clock.as_ref());
            match state.fences.get(&claim.key).filter(|fence| fence.borrow().is_open(reading)) {
                Some(fence) => {
                    let (fence, stop) = (fence.subscribe(), watch::Sender::new(None));
                    state.fill(&claim, &end.attempt, stop.clone());
                    return Some((claim, SlotPlace { end, fence, stop }));
                }
                None => {
                    // Nothing of it began, and that is this runner's fault: the attempt does not count.
                    warn!(execution = %claim.key, node = claim.node, "give a claim back: the lease is over");
                    state.fenced.push(claim.key.clone());
                    end.send(AttemptOutcome::NotStarted { message: LEASE_OVER.to_owned() }.into(), None);
                }
            }
        }
        None
    }

    /// What an attempt needs, and who makes it.
    fn prepare(
        &self,
        claim: &Claim,
        node: &NodeId,
    ) -> Result<(Arc<dyn Provider>, Attempt), (NodeReason, String)> {
        let attempt = self.terms.factory.attempt(claim, node)?;
        let mut state = self.lock();
        // Of the string with its expressions replaced: the allow-list is about who is really asked.
        let provider = state.registry.find(&attempt.provider).map(Arc::clone);
        let provider = provider.map_err(|error| (NodeReason::ProviderUnavailable, error.to_string()))?;
        state.started = state.started.saturating_add(1);
        info!(execution = %claim.key, %node, attempt = claim.attempt, provider = claim.target.provider, "start attempt");
        Ok((provider, attempt))
    }

    /// What the provider is told while it works, and what passes its lines on.
    fn control(&self, place: &SlotPlace) -> (Control, Option<JoinHandle<()>>) {
        // Bounded, and what finds no room is dropped: a process must not wait for a terminal, and the log has
        // every line.
        let (output, shown) = mpsc::channel(OUTPUT_LINES);
        let (key, node) = (&place.end.key, &place.end.attempt.node);
        let forwarding =
            self.terms.stream.then(|| forward(&self.terms.sender, key.clone(), node.clone(), shown));
        (Control { stop: place.stop.subscribe(), output, heed: None }, forwarding)
    }

    /// Begins an attempt beside the caller.
    fn launch(&self, work: SlotWork) {
        let slots = self.clone();
        if !work.blocks() {
            tokio::spawn(slots.run(work));
            return;
        }
        let (runtime, end) = (Handle::current(), work.place.end.clone());
        // The runtime panics when the system gives it no thread.
        let on_thread = || tokio::task::spawn_blocking(move || slots.run_here(&runtime, work));
        if catch_unwind(AssertUnwindSafe(on_thread)).is_err() {
            end.send(AttemptOutcome::broken_off_here(NO_THREAD.to_owned()).into(), None);
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

    /// Runs an attempt on this thread, which may be blocked for as long as it takes, and then the next ones, as long as there are
    /// claims: from the end of one to the start of the next no other thread has to wake.
    fn run_here(self, runtime: &Handle, first: SlotWork) {
        let mut next = Some(first);
        while let Some(work) = next {
            next = if self.run_blocking(runtime, work) { self.pump_but_one() } else { None };
        }
    }

    /// Runs one attempt on this thread, and tells how it ended. Whether its slot may be given on.
    fn run_blocking(&self, runtime: &Handle, work: SlotWork) -> bool {
        let (control, forwarding) = self.control(&work.place);
        let SlotWork { place: SlotPlace { end, fence, .. }, provider, attempt } = work;
        let started = Some(end.clock.now());
        let clock = Arc::clone(&self.terms.clock);
        if let Some(over) = over_before_it_began(&fence, clock.as_ref()) {
            return self.ended(end, over.into(), started);
        }
        let ends = end.sender.clone();
        let heed = heed(end.key.clone(), control.stop.clone(), (fence, clock), move || ends.is_closed());
        let control = Control { heed: Some(heed), ..control };
        let run = || runtime.block_on(provider.run(attempt, control));
        let report = catch_unwind(AssertUnwindSafe(run))
            .unwrap_or_else(|_| AttemptOutcome::broken_off_here(PANICKED.to_owned()).into());
        runtime.block_on(passed_on(forwarding));
        self.ended(end, report, started)
    }

    /// Runs one attempt, tells how it ended, and gives its slot on.
    async fn run(self, work: SlotWork) {
        let (control, forwarding) = self.control(&work.place);
        let SlotWork { place: SlotPlace { end, fence, stop }, provider, attempt } = work;
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
        passed_on(forwarding).await;
        if self.ended(end, report, started) {
            self.pump();
        }
    }

    /// Tells how an attempt ended. Whether its slot may be given on from here.
    fn ended(&self, end: EndSender, report: AttemptReport, started: Option<Timestamp>) -> bool {
        // On a machine that cannot do the work the next claim would end the same way: the loop decides first whether any is made.
        let goes_on = !matches!(report.outcome, AttemptOutcome::RunnerFailed { .. });
        let name = end.attempt.clone();
        // First, so that the loop hears of ends in their order.
        end.send(report, started);
        // Not there any more where the loop has taken in the end already.
        if goes_on && let Some(running) = self.lock().running.get_mut(&name) {
            running.has_ended = true;
        }
        goes_on
    }
}

/// A slot that is filled.
struct SlotPlace {
    end: EndSender,
    /// Until when the work may run.
    fence: watch::Receiver<LeaseFence>,
    /// Asks the work to end early.
    stop: watch::Sender<Option<Stop>>,
}

/// An attempt that begins in its slot.
struct SlotWork {
    place: SlotPlace,
    provider: Arc<dyn Provider>,
    attempt: Attempt,
}

impl SlotWork {
    /// Whether a thread is blocked for as long as the work takes.
    fn blocks(&self) -> bool {
        self.provider.blocks(&self.attempt.provider)
    }
}

/// Which attempt a claim is for, and where its end is told.
#[derive(Clone)]
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
