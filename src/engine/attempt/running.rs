//! Attempts: what was claimed, what runs, and how its end comes back to the driver.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{debug, info, trace, warn};

use super::claims::ClaimQueue;
use super::factory::{AttemptFactory, Claim};
use super::fence::{LEASE_OVER, LeaseFence, stop_at_fence};
use super::health::RunnerHealth;
use crate::engine::clock::{Clock, ClockReading};
use crate::engine::message::{AttemptEnd, AttemptMessage};
use crate::model::{NodeId, NodeReason, ResourceKey};
use crate::provider::{Control, Registry};
use crate::run::{AttemptName, AttemptOutcome, AttemptReport, Stop};

/// How many lines of a provider may wait to be shown.
pub(crate) const OUTPUT_LINES: usize = 256;

/// How long an attempt takes as far as a runner knows that has seen none end.
const FIRST_GUESS: Duration = Duration::from_secs(1);

struct RunningAttempt {
    key: ResourceKey,
    node: NodeId,
    stop: watch::Sender<Option<Stop>>,
    provider: String,
    /// How many attempts this runner had started by then, this one included.
    number: u32,
    begun: Instant,
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

/// Everything that is claimed or runs.
pub(crate) struct Attempts {
    jobs: usize,
    clock: Arc<dyn Clock>,
    registry: Registry,
    factory: Arc<AttemptFactory>,
    claimed: ClaimQueue,
    /// Until when the work of each Execution may run.
    fences: BTreeMap<ResourceKey, watch::Sender<LeaseFence>>,
    /// Executions whose lease was over when a node was to start.
    fenced: Vec<ResourceKey>,
    // By the whole name: a process that is told to end takes a while, and by then its node may have another attempt, or its
    // Execution may have been deleted and written again.
    running: BTreeMap<AttemptName, RunningAttempt>,
    sender: mpsc::UnboundedSender<AttemptMessage>,
    stream: bool,
    /// A moving average of how long attempts take.
    mean: Option<Duration>,
    started: u32,
    health: RunnerHealth,
}

impl Attempts {
    pub(crate) fn new(
        jobs: usize,
        clock: Arc<dyn Clock>,
        registry: Registry,
        factory: Arc<AttemptFactory>,
        stream: bool,
    ) -> (Self, mpsc::UnboundedReceiver<AttemptMessage>) {
        // Unbounded: an attempt that waited for room to send its end would keep its slot for as long as the
        // loop is in a push.
        let (sender, receiver) = mpsc::unbounded_channel();
        let claimed = ClaimQueue::default();
        let running = BTreeMap::new();
        let attempts = Self {
            // Without a slot every claim would wait for ever under a lease that is renewed.
            jobs: jobs.max(1),
            clock,
            registry,
            factory,
            claimed,
            fences: BTreeMap::new(),
            fenced: Vec::new(),
            running,
            sender,
            stream,
            mean: None,
            started: 0,
            health: RunnerHealth::default(),
        };
        (attempts, receiver)
    }

    /// Starts by other terms from now on.
    pub(crate) fn reconfigure(&mut self, registry: Registry, jobs: usize) {
        self.registry = registry;
        self.jobs = jobs.max(1);
    }

    /// The providers.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(crate) fn factory(&self) -> &Arc<AttemptFactory> {
        &self.factory
    }

    /// Where to send what the loop has to take in.
    pub(crate) fn sender(&self) -> &mpsc::UnboundedSender<AttemptMessage> {
        &self.sender
    }

    /// Whether printed lines are passed on.
    pub(crate) fn streams(&self) -> bool {
        self.stream
    }

    /// How many attempts were started so far.
    pub(crate) fn started(&self) -> u32 {
        self.started
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty() && self.claimed.is_empty()
    }

    /// How many attempts run.
    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    /// Whether an attempt of an execution is claimed or runs.
    pub(crate) fn works_on(&self, key: &ResourceKey) -> bool {
        self.running.values().any(|running| running.key == *key)
            || self.claimed.iter().any(|(_, claim)| claim.key == *key)
    }

    /// How many nodes may be claimed now. Beyond free slots, claims are taken ahead for as many attempts as will
    /// probably end within `span`, until the next commit is published, so that no slot waits for a publication.
    pub(crate) fn room(&self, span: Duration) -> usize {
        // Nothing ahead before the first attempt has ended: how long one takes is unknown, and a claim that
        // waits here keeps other runners from the node.
        let ahead = self.mean.map_or(0, |mean| {
            let per_slot = span.as_secs_f64() / mean.as_secs_f64().max(0.000_1);
            // A bound, so that a runner that dies leaves no more behind than it could have finished soon.
            (per_slot * 1.5 * self.jobs as f64).ceil().min(512.0) as usize
        });
        let most = (self.jobs + ahead).min(self.health.most());
        most.saturating_sub(self.running.len() + self.claimed.len())
    }

    /// How many attempts will probably end here within `span`.
    pub(crate) fn within(&self, span: Duration) -> usize {
        // As long as none has ended, how long one takes is unknown, but for how long they have run by now. Guessed long, a
        // runner that begins could do nothing but its first claims until its next turn; guessed short, others have what it
        // leased in vain after one round.
        let running = self.running.values().map(|running| running.begun.elapsed()).max();
        let mean = self.mean.unwrap_or_else(|| running.unwrap_or_default().max(FIRST_GUESS));
        let per_slot = (span.as_secs_f64() / mean.as_secs_f64().max(0.001)).max(1.0);
        (per_slot * self.jobs as f64).ceil().min(100_000.0) as usize
    }

    /// Whether what is claimed probably keeps every slot busy for longer than `span`.
    pub(crate) fn last_for(&self, span: Duration) -> bool {
        let per_slot = self.claimed.len() as f64 / self.jobs as f64;
        self.mean.is_some_and(|mean| mean.as_secs_f64() * per_slot > span.as_secs_f64())
    }

    /// How many attempts of each provider are claimed or run.
    pub(crate) fn by_provider(&self) -> BTreeMap<String, u32> {
        let mut counts = BTreeMap::new();
        // What is claimed counts too: it was chosen within the limits, and will need its place.
        let claimed = self.claimed.iter().map(|(_, claim)| &claim.target.provider);
        for provider in self.running.values().map(|running| &running.provider).chain(claimed) {
            let count: &mut u32 = counts.entry(provider.clone()).or_default();
            *count += 1;
        }
        counts
    }

    /// Takes a claim, unless that very attempt is under way: it may have gone ahead of a commit that then
    /// lost its race and was made again.
    pub(crate) fn claim(&mut self, claim: Claim) {
        let Some(name) = claim.name() else { return };
        if self.running.contains_key(&name) {
            return;
        }
        let (key, node, attempt) = (claim.key.clone(), claim.node, claim.attempt);
        if self.claimed.push(name, claim) {
            trace!(execution = %key, node, attempt, "claim is published");
        }
    }

    /// Moves the fence of an Execution, after its lease was taken or renewed.
    pub(crate) fn set_fence(&mut self, key: &ResourceKey, fence: LeaseFence) {
        match self.fences.get(key) {
            Some(sender) => {
                // What runs watches this very channel, so that a renewal reaches it.
                sender.send_replace(fence);
            }
            None => {
                self.fences.insert(key.clone(), watch::Sender::new(fence));
            }
        }
    }

    /// Forgets the fence of an Execution whose lease is given back or lost. What runs keeps the fence that it has.
    pub(crate) fn remove_fence(&mut self, key: &ResourceKey) {
        self.fences.remove(key);
    }

    /// Executions whose lease has to be renewed now: by the boot clock, or because it was over when a node was to start.
    pub(crate) fn take_renewals(&mut self) -> Vec<ResourceKey> {
        let reading = ClockReading::of(self.clock.as_ref());
        let due = self.fences.iter().filter(|(_, fence)| fence.borrow().is_renewal_due(reading));
        let due: Vec<ResourceKey> = due.map(|(key, _)| key.clone()).collect();
        due.into_iter().chain(std::mem::take(&mut self.fenced)).collect()
    }

    /// Starts claimed nodes while there are slots.
    pub(crate) fn pump(&mut self) {
        while self.running.len() < self.jobs {
            let Some(claim) = self.claimed.pop() else { break };
            // The clocks are read for each start: between two of them this process may have been stopped for an hour.
            let reading = ClockReading::of(self.clock.as_ref());
            match self.fences.get(&claim.key).filter(|fence| fence.borrow().is_open(reading)) {
                Some(fence) => {
                    let fence = fence.subscribe();
                    self.start(claim, fence);
                }
                None => {
                    // Nothing of it began, and that is this runner's fault: the attempt does not count.
                    warn!(execution = %claim.key, node = claim.node, "give a claim back: the lease is over");
                    self.fenced.push(claim.key.clone());
                    self.end(&claim, AttemptOutcome::NotStarted { message: LEASE_OVER.to_owned() });
                }
            }
        }
    }

    /// The attempts of an execution that are claimed or run here.
    pub(crate) fn of(&self, key: &ResourceKey) -> BTreeSet<AttemptName> {
        let running = self.running.iter().filter(|(_, running)| running.key == *key);
        let claimed = self.claimed.iter().filter(|(_, claim)| claim.key == *key);
        let running = running.map(|(name, _)| name);
        running.chain(claimed.map(|(name, _)| name)).cloned().collect()
    }

    /// Ends every attempt of an execution that `keep` does not want.
    pub(crate) fn stop_where(&mut self, key: &ResourceKey, keep: impl Fn(&AttemptName) -> bool) {
        // Dropped without an end: the record that does not know them any more says what becomes of their
        // nodes.
        self.claimed.retain_of(key, &keep);
        for (name, running) in &self.running {
            if running.key == *key && !keep(name) {
                info!(execution = %key, node = %running.node, attempt = name.id, "stop attempt: the record does not know it any more");
                // Also over an earlier shutdown: the record has given this very attempt up.
                running.stop.send_replace(Some(Stop::Cancel));
            }
        }
    }

    /// The runner goes away: what runs is ended, what was only claimed is given back.
    pub(crate) fn shut_down(&mut self) {
        debug!(running = self.running.len(), claimed = self.claimed.len(), "stop all attempts");
        for running in self.running.values() {
            // A cancellation stays one; a shutdown would let the attempt be made again.
            running.stop.send_if_modified(|stop| {
                let first = stop.is_none();
                if first {
                    *stop = Some(Stop::Shutdown);
                }
                first
            });
        }
        // Recorded as given back in the last commit, they start at the next runner at once instead of being found lost.
        self.give_back_claims("the runner stopped before it began");
    }

    /// Whether this machine can do work.
    pub(crate) fn health(&mut self) -> &mut RunnerHealth {
        &mut self.health
    }

    /// Gives back what was claimed and has not begun.
    fn give_back_claims(&mut self, why: &str) {
        for claim in self.claimed.take_all() {
            self.end(&claim, AttemptOutcome::NotStarted { message: why.to_owned() });
        }
    }

    /// Takes in that an attempt ended. Says why nothing more is claimed, when that follows from it.
    pub(crate) fn ended(&mut self, key: &ResourceKey, finished: &AttemptEnd) -> Option<String> {
        // The slot is free before the end is published: the next claim may start during the push that records
        // this one.
        let running = self.running.remove(&finished.attempt);
        let ill = running.and_then(|running| {
            self.health.note(running.number, self.started, &finished.report, Instant::now())
        });
        if ill.is_some() {
            self.give_back_claims("the runner stopped claiming before it began");
        }
        let AttemptName { node, id: attempt, .. } = &finished.attempt;
        // A claim that was given back says nothing about how long attempts take.
        if let Some(started) = finished.started {
            let span = Duration::try_from(finished.at.duration_since(started)).unwrap_or_default();
            let outcome: &str = (&finished.report.outcome).into();
            info!(execution = %key, %node, attempt, outcome, duration_ms = span.as_millis(), "attempt ended");
            // What could not be done here says nothing about how long work takes. One slow task among short ones moves the
            // average by an eighth, and does not stop claiming ahead.
            if !matches!(finished.report.outcome, AttemptOutcome::RunnerFailed { .. }) {
                self.mean = Some(self.mean.map_or(span, |mean| (mean * 7 + span) / 8));
            }
        }
        ill
    }

    fn end_sender(&self, claim: &Claim) -> Option<EndSender> {
        let clock = Arc::clone(&self.clock);
        let sender = self.sender.clone();
        Some(EndSender { key: claim.key.clone(), attempt: claim.name()?, clock, sender })
    }

    fn end(&self, claim: &Claim, outcome: AttemptOutcome) {
        if let Some(sender) = self.end_sender(claim) {
            sender.send(outcome.into(), None);
        }
    }

    fn start(&mut self, claim: Claim, fence: watch::Receiver<LeaseFence>) {
        let Some(end) = self.end_sender(&claim) else { return };
        let id = end.attempt.node.clone();
        let attempt = match self.factory.attempt(&claim, &id) {
            Ok(attempt) => attempt,
            Err((reason, message)) => {
                return end.send(AttemptOutcome::permanent(reason, message).into(), None);
            }
        };
        // Of the string with its expressions replaced: the allow-list is about who is really asked.
        let provider = match self.registry.find(&attempt.provider) {
            Ok(provider) => Arc::clone(provider),
            Err(error) => {
                let reason = NodeReason::ProviderUnavailable;
                return end.send(AttemptOutcome::permanent(reason, error.to_string()).into(), None);
            }
        };
        let provider_name = &claim.target.provider;
        info!(execution = %claim.key, node = %id, attempt = claim.attempt, provider = provider_name, "start attempt");
        self.started = self.started.saturating_add(1);
        let (stop, stopped) = watch::channel(None);
        let guard = stop_at_fence(claim.key.clone(), fence.clone(), Arc::clone(&self.clock), stop.clone());
        let clock = Arc::clone(&self.clock);
        // Bounded, and what finds no room is dropped: a process must not wait for a terminal, and the log has
        // every line.
        let (lines, shown) = mpsc::channel(OUTPUT_LINES);
        let key = claim.key.clone();
        let provider_name = claim.target.provider;
        let number = self.started;
        let begun = Instant::now();
        let running = RunningAttempt {
            key: key.clone(),
            node: id.clone(),
            stop,
            provider: provider_name,
            number,
            begun,
        };
        self.running.insert(end.attempt.clone(), running);
        if self.stream {
            forward(&self.sender, key, id, shown);
        }
        tokio::spawn(async move {
            let started = Some(end.clock.now());
            // A task of its own: the runtime panics when the system gives it no thread, and that attempt would never end.
            let control = Control { stop: stopped, output: lines };
            let mut run = tokio::spawn(async move {
                // Once more where it begins: since it was decided, the loop may have planned for seconds, and the machine
                // may have slept or been given another time.
                if !fence.borrow().is_open(ClockReading::of(clock.as_ref())) {
                    return AttemptOutcome::NotStarted { message: LEASE_OVER.to_owned() }.into();
                }
                provider.run(attempt, control).await
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
            end.send(report, started);
        });
    }
}

/// Passes on what an attempt prints.
pub(crate) fn forward(
    sender: &mpsc::UnboundedSender<AttemptMessage>,
    key: ResourceKey,
    node: NodeId,
    mut lines: mpsc::Receiver<String>,
) {
    let sender = sender.clone();
    tokio::spawn(async move {
        while let Some(line) = lines.recv().await {
            if sender.send(AttemptMessage::Line(key.clone(), node.clone(), line)).is_err() {
                break;
            }
        }
    });
}
