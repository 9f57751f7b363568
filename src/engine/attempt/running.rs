//! Attempts: what was claimed, what runs, and how its end comes back to the driver.

mod slots;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{debug, info, trace};

use self::slots::{Slots, StartTerms};
use super::factory::{AttemptFactory, Claim};
use super::fence::LeaseFence;
use super::health::RunnerHealth;
use crate::engine::clock::{Clock, ClockReading};
use crate::engine::message::{AttemptEnd, AttemptMessage};
use crate::model::{NodeId, ResourceKey};
use crate::provider::Registry;
use crate::run::{AttemptName, AttemptOutcome, Stop};

/// How many lines of a provider may wait to be shown.
pub(crate) const OUTPUT_LINES: usize = 256;

/// How long the end of an attempt waits for its last lines at most.
const LAST_LINES: Duration = Duration::from_secs(1);

/// How long an attempt takes as far as a runner knows that has seen none end.
const FIRST_GUESS: Duration = Duration::from_secs(1);

/// Everything that is claimed or runs.
pub(crate) struct Attempts {
    /// The providers, as planning asks for them.
    registry: Registry,
    slots: Slots,
    /// A moving average of how long attempts take.
    mean: Option<Duration>,
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
        let terms = StartTerms { clock, factory, sender, stream };
        let slots = Slots::new(terms, registry.clone(), jobs);
        (Self { registry, slots, mean: None, health: RunnerHealth::default() }, receiver)
    }

    /// Starts by other terms from now on.
    pub(crate) fn reconfigure(&mut self, registry: Registry, jobs: usize) {
        self.slots.lock().reconfigure(registry.clone(), jobs);
        self.registry = registry;
    }

    /// The providers.
    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.slots.terms().clock
    }

    pub(crate) fn factory(&self) -> &Arc<AttemptFactory> {
        &self.slots.terms().factory
    }

    /// Where to send what the loop has to take in.
    pub(crate) fn sender(&self) -> &mpsc::UnboundedSender<AttemptMessage> {
        &self.slots.terms().sender
    }

    /// Whether printed lines are passed on.
    pub(crate) fn streams(&self) -> bool {
        self.slots.terms().stream
    }

    /// How many attempts were started so far.
    pub(crate) fn started(&self) -> u32 {
        self.slots.lock().started()
    }

    pub(crate) fn is_idle(&self) -> bool {
        let slots = self.slots.lock();
        slots.running().is_empty() && slots.claimed.is_empty()
    }

    /// How many attempts run, those counted whose end was not taken in.
    pub(crate) fn running(&self) -> usize {
        self.slots.lock().running().len()
    }

    /// Whether an attempt of an execution is claimed or runs.
    pub(crate) fn works_on(&self, key: &ResourceKey) -> bool {
        let slots = self.slots.lock();
        slots.running().values().any(|running| running.key == *key)
            || slots.claimed.iter().any(|(_, claim)| claim.key == *key)
    }

    /// How many nodes may be claimed now. Beyond free slots, claims are taken ahead for as many attempts as will
    /// probably end within `span`, until the next commit is published, so that no slot waits for a publication.
    pub(crate) fn room(&self, span: Duration) -> usize {
        // Nothing ahead before the first attempt has ended: how long one takes is unknown, and a claim that
        // waits here keeps other runners from the node.
        let slots = self.slots.lock();
        let ahead = self.mean.map_or(0, |mean| {
            let per_slot = span.as_secs_f64() / mean.as_secs_f64().max(0.000_1);
            // A bound, so that a runner that dies leaves no more behind than it could have finished soon.
            (per_slot * 1.5 * slots.jobs() as f64).ceil().min(512.0) as usize
        });
        let most = (slots.jobs() + ahead).min(self.health.most());
        most.saturating_sub(slots.running().len() + slots.claimed.len())
    }

    /// How many attempts will probably end here within `span`.
    pub(crate) fn within(&self, span: Duration) -> usize {
        // As long as none has ended, how long one takes is unknown, but for how long they have run by now. Guessed long, a
        // runner that begins could do nothing but its first claims until its next turn; guessed short, others have what it
        // leased in vain after one round.
        let slots = self.slots.lock();
        let running = slots.running().values().map(|running| running.begun.elapsed()).max();
        let mean = self.mean.unwrap_or_else(|| running.unwrap_or_default().max(FIRST_GUESS));
        let per_slot = (span.as_secs_f64() / mean.as_secs_f64().max(0.001)).max(1.0);
        (per_slot * slots.jobs() as f64).ceil().min(100_000.0) as usize
    }

    /// Whether what is claimed probably keeps every slot busy for longer than `span`.
    pub(crate) fn last_for(&self, span: Duration) -> bool {
        let slots = self.slots.lock();
        let per_slot = slots.claimed.len() as f64 / slots.jobs() as f64;
        self.mean.is_some_and(|mean| mean.as_secs_f64() * per_slot > span.as_secs_f64())
    }

    /// How many attempts of each provider are claimed or run.
    pub(crate) fn by_provider(&self) -> BTreeMap<String, u32> {
        let mut counts = BTreeMap::new();
        // What is claimed counts too: it was chosen within the limits, and will need its place.
        let slots = self.slots.lock();
        let claimed = slots.claimed.iter().map(|(_, claim)| &claim.target.provider);
        for provider in slots.running().values().map(|running| &running.provider).chain(claimed) {
            let count: &mut u32 = counts.entry(provider.clone()).or_default();
            *count += 1;
        }
        counts
    }

    /// Takes a claim, unless that very attempt is under way: it may have gone ahead of a commit that then
    /// lost its race and was made again.
    pub(crate) fn claim(&mut self, claim: Claim) {
        let Some(name) = claim.name() else { return };
        let mut slots = self.slots.lock();
        if slots.running().contains_key(&name) {
            return;
        }
        let (key, node, attempt) = (claim.key.clone(), claim.node, claim.attempt);
        if slots.claimed.push(name, claim) {
            trace!(execution = %key, node, attempt, "claim is published");
        }
    }

    /// Moves the fence of an Execution, after its lease was taken or renewed.
    pub(crate) fn set_fence(&mut self, key: &ResourceKey, fence: LeaseFence) {
        let mut slots = self.slots.lock();
        match slots.fences.get(key) {
            Some(sender) => {
                // What runs watches this very channel, so that a renewal reaches it.
                sender.send_replace(fence);
            }
            None => {
                slots.fences.insert(key.clone(), watch::Sender::new(fence));
            }
        }
    }

    /// Forgets the fence of an Execution whose lease is given back or lost. What runs keeps the fence that it has.
    pub(crate) fn remove_fence(&mut self, key: &ResourceKey) {
        self.slots.lock().fences.remove(key);
    }

    /// Executions whose lease has to be renewed now: by the boot clock, or because it was over when a node was to start.
    pub(crate) fn take_renewals(&mut self) -> Vec<ResourceKey> {
        let reading = ClockReading::of(self.clock().as_ref());
        let mut slots = self.slots.lock();
        let due = slots.fences.iter().filter(|(_, fence)| fence.borrow().is_renewal_due(reading));
        let due: Vec<ResourceKey> = due.map(|(key, _)| key.clone()).collect();
        due.into_iter().chain(std::mem::take(&mut slots.fenced)).collect()
    }

    /// Starts claimed nodes while there are slots.
    pub(crate) fn pump(&self) {
        self.slots.pump();
    }

    /// The attempts of an execution that are claimed or run here.
    pub(crate) fn of(&self, key: &ResourceKey) -> BTreeSet<AttemptName> {
        let slots = self.slots.lock();
        let running = slots.running().iter().filter(|(_, running)| running.key == *key);
        let claimed = slots.claimed.iter().filter(|(_, claim)| claim.key == *key);
        let running = running.map(|(name, _)| name);
        running.chain(claimed.map(|(name, _)| name)).cloned().collect()
    }

    /// Ends every attempt of an execution that `keep` does not want.
    pub(crate) fn stop_where(&mut self, key: &ResourceKey, keep: impl Fn(&AttemptName) -> bool) {
        // Dropped without an end: the record that does not know them any more says what becomes of their
        // nodes.
        let mut slots = self.slots.lock();
        slots.claimed.retain_of(key, &keep);
        for (name, running) in slots.running() {
            if running.key == *key && !keep(name) {
                info!(execution = %key, node = %running.node, attempt = name.id, "stop attempt: the record does not know it any more");
                // Also over an earlier shutdown: the record has given this very attempt up.
                running.stop.send_replace(Some(Stop::Cancel));
            }
        }
    }

    /// The runner goes away: what runs is ended, what was only claimed is given back.
    pub(crate) fn shut_down(&mut self) {
        // First, so that a slot which falls free meanwhile is not given on. Recorded as given back in the last commit, they start at
        // the next runner at once instead of being found lost.
        let claimed = self.slots.give_back_claims("the runner stopped before it began");
        let slots = self.slots.lock();
        debug!(running = slots.running().len(), claimed, "stop all attempts");
        for running in slots.running().values() {
            // A cancellation stays one; a shutdown would let the attempt be made again.
            running.stop.send_if_modified(|stop| {
                let first = stop.is_none();
                if first {
                    *stop = Some(Stop::Shutdown);
                }
                first
            });
        }
    }

    /// Whether this machine can do work.
    pub(crate) fn health(&mut self) -> &mut RunnerHealth {
        &mut self.health
    }

    /// Takes in that an attempt ended. Says why nothing more is claimed, when that follows from it.
    pub(crate) fn ended(&mut self, key: &ResourceKey, finished: &AttemptEnd) -> Option<String> {
        // The slot is free before the end is published: the next claim may start during the push that records
        // this one.
        let (running, filled) = {
            let mut slots = self.slots.lock();
            (slots.take_ended(&finished.attempt), slots.filled())
        };
        let ill = running
            .and_then(|running| self.health.note(running.number, filled, &finished.report, Instant::now()));
        if ill.is_some() {
            self.slots.give_back_claims("the runner stopped claiming before it began");
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
}

/// Passes on what an attempt prints, until nobody can print any more.
pub(crate) fn forward(
    sender: &mpsc::UnboundedSender<AttemptMessage>,
    key: ResourceKey,
    node: NodeId,
    mut lines: mpsc::Receiver<String>,
) -> JoinHandle<()> {
    let sender = sender.clone();
    tokio::spawn(async move {
        while let Some(line) = lines.recv().await {
            if sender.send(AttemptMessage::Line(key.clone(), node.clone(), line)).is_err() {
                break;
            }
        }
    })
}

/// Waits until what an attempt printed is passed on, where that is done at all: its end is told after its last line.
pub(crate) async fn passed_on(forwarding: Option<JoinHandle<()>>) {
    if let Some(forwarding) = forwarding {
        // Not for ever: what a provider left running may hold on to the channel.
        let _ = tokio::time::timeout(LAST_LINES, forwarding).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_an_attempt_is_told_after_its_last_line() {
        let (sender, mut told) = mpsc::unbounded_channel();
        let (lines, printed) = mpsc::channel(OUTPUT_LINES);
        let (key, node) = ("a/execution/b".parse().unwrap(), NodeId::new("n").unwrap());
        let line = |line: &str| {
            AttemptMessage::Line(ResourceKey::clone(&key), NodeId::clone(&node), line.to_owned())
        };
        let forwarding = forward(&sender, key.clone(), node.clone(), printed);
        lines.try_send("the last line".to_owned()).unwrap();
        drop(lines);
        passed_on(Some(forwarding)).await;
        sender.send(line("the end")).unwrap();
        for expected in ["the last line", "the end"] {
            let Some(AttemptMessage::Line(.., said)) = told.recv().await else { panic!("no line") };
            assert_eq!(said, expected);
        }
    }
}
