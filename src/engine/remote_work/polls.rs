//! Polling and cancelling remote work: what is asked of providers without a claim and without a commit.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::AbortHandle;
use tracing::{debug, warn};

use crate::engine::attempt::factory::{AttemptFactory, Claim};
use crate::engine::attempt::running::{Attempts, OUTPUT_LINES, forward};
use crate::engine::clock::Clock;
use crate::engine::message::{AttemptMessage, PollResult};
use crate::engine::remote_work::poll_times::PollTimes;
use crate::model::{NodeId, NodeReason, ResourceKey, after};
use crate::plan::CancelResult;
use crate::provider::{Attempt, Control, Provider, Registry};
use crate::run::{AttemptOutcome, AttemptReport};

/// How many providers are asked at a time: a pass over thousands of waiting nodes must not open as many connections.
const AT_A_TIME: usize = 16;
/// How long one poll may take.
const LONGEST_POLL: Duration = Duration::from_secs(300);
/// How long a cancellation may take.
const LONGEST_CANCEL: Duration = Duration::from_secs(60);
/// When to poll again where the provider does not say.
const POLL_AFTER: Duration = Duration::from_secs(60);
/// When to poll again what has ended, should the commit that says so never get through.
const SOON: Duration = Duration::from_secs(1);

/// What is being asked of providers.
pub(crate) struct Polls {
    clock: Arc<dyn Clock>,
    registry: Registry,
    factory: Arc<AttemptFactory>,
    sender: mpsc::UnboundedSender<AttemptMessage>,
    stream: bool,
    turns: Arc<Semaphore>,
    asked: HashMap<(ResourceKey, NodeId), AbortHandle>,
    times: PollTimes,
}

impl Polls {
    /// Asks the same providers as `attempts`, and answers where they do.
    pub(crate) fn beside(attempts: &Attempts, times: PollTimes) -> Self {
        Self {
            clock: Arc::clone(attempts.clock()),
            registry: attempts.registry().clone(),
            factory: Arc::clone(attempts.factory()),
            sender: attempts.sender().clone(),
            stream: attempts.streams(),
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
            asked: HashMap::new(),
            times,
        }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }

    /// Whether something is being asked about an execution.
    pub(crate) fn works_on(&self, key: &ResourceKey) -> bool {
        self.asked.keys().any(|(owner, _)| owner == key)
    }

    /// Takes in that an answer came.
    pub(crate) fn answered(&mut self, key: &ResourceKey, node: &NodeId) {
        self.asked.remove(&(key.clone(), node.clone()));
    }

    /// When an attempt is to be polled on this machine; not before `recorded`.
    pub(crate) fn due(&self, uid: &str, node: &NodeId, attempt: u32, recorded: Timestamp) -> Timestamp {
        self.times.due(&PollTimes::name(uid, node, attempt), recorded)
    }

    /// Takes in the result of a poll.
    pub(crate) fn polled(&mut self, key: &ResourceKey, result: &PollResult) {
        self.answered(key, &result.node);
        self.times.set(PollTimes::name(&result.uid, &result.node, result.attempt), result.next);
    }

    /// Keeps the times of the next polls for the next run.
    pub(crate) fn save_times(&mut self, now: Timestamp) {
        self.times.save(now);
    }

    /// Stops asking: a poll changes nothing, and the next runner asks for the cancellation again.
    pub(crate) fn shut_down(&mut self) {
        for (_, asked) in self.asked.drain() {
            asked.abort();
        }
    }

    /// Polls remote work, unless it is being asked about already.
    pub(crate) fn poll(&mut self, claim: Claim, interval: Option<Duration>) {
        let Some(id) = self.free(&claim) else { return };
        let uid = claim.record.metadata.uid.clone();
        let state = claim.record.execution().and_then(|status| status.node_statuses.get(&id));
        let started = state.and_then(|state| state.start_time);
        // Kept with the result: a node that got another handle meanwhile must not take this answer for its
        // own.
        let handle = state.and_then(|state| state.extensions.handle.clone());
        debug!(execution = %claim.key, node = %id, attempt = claim.attempt, "poll remote work");
        let clock = Arc::clone(&self.clock);
        let sender = self.sender.clone();
        let turns = Arc::clone(&self.turns);
        let made = self.made(&claim, &id);
        let (lines, shown) = mpsc::channel(OUTPUT_LINES);
        if self.stream {
            forward(&self.sender, claim.key.clone(), id.clone(), shown);
        }
        let key = claim.key.clone();
        let node = id.clone();
        let task = tokio::spawn(async move {
            let report = match made {
                Err((reason, message)) => Some(AttemptOutcome::permanent(reason, message).into()),
                Ok((provider, mut attempt)) => {
                    // Before the time limit begins: waiting behind others is not the fault of this provider.
                    let _turn = turns.acquire_owned().await;
                    attempt.age = since(started, clock.now());
                    // Nobody stops a poll, but the sender has to live: a provider that waits for a stop would
                    // see a closed channel.
                    let (_keep, stop) = watch::channel(None);
                    let polling = provider.poll(attempt, Control { stop, output: lines });
                    match tokio::time::timeout(LONGEST_POLL, polling).await {
                        // The remote work is as it was; what this machine lacks for checking it says nothing of it.
                        Ok(AttemptReport {
                            outcome: AttemptOutcome::RunnerFailed { message, .. }, ..
                        }) => {
                            warn!(node = %id, message, "cannot check remote work here; it is polled again");
                            None
                        }
                        Ok(report) if !matches!(report.outcome, AttemptOutcome::Stopped(_)) => Some(report),
                        // One that was stopped or took too long learned nothing, and that is no failure of
                        // the work.
                        _ => None,
                    }
                }
            };
            let at = clock.now();
            let (report, next) = next_poll(report, interval, at);
            let polled = PollResult { uid, node: id, attempt: claim.attempt, handle, report, next, at };
            // The receiver lives as long as the driver; when it is gone nobody wants to know.
            let _ = sender.send(AttemptMessage::Polled(claim.key, Box::new(polled)));
        });
        self.asked.insert((key, node), task.abort_handle());
    }

    /// Cancels remote work, unless it is being asked about already.
    pub(crate) fn cancel(&mut self, claim: Claim) {
        let Some(id) = self.free(&claim) else { return };
        debug!(execution = %claim.key, node = %id, attempt = claim.attempt, "cancel remote work");
        let sender = self.sender.clone();
        let made = self.made(&claim, &id);
        let key = claim.key.clone();
        let node = id.clone();
        let task = tokio::spawn(async move {
            let error = match made {
                Err((_, message)) => Some(message),
                Ok((provider, attempt)) => {
                    // Without a turn, so that a cancellation does not wait behind slow polls, and bounded, so
                    // that a provider that is gone does not hold its Execution for ever.
                    match tokio::time::timeout(LONGEST_CANCEL, provider.cancel_remote(attempt)).await {
                        Ok(done) => done.err(),
                        Err(_) => Some(format!("no answer within {} s", LONGEST_CANCEL.as_secs())),
                    }
                }
            };
            let done = CancelResult { attempt: claim.attempt, error };
            let _ = sender.send(AttemptMessage::RemoteCancelled(claim.key, id, done));
        });
        self.asked.insert((key, node), task.abort_handle());
    }

    /// The node of a claim, if nothing is being asked about it.
    fn free(&self, claim: &Claim) -> Option<NodeId> {
        let id = claim.compiled.ids.get(claim.node)?.clone();
        // One question about a node at a time: two answers would be about two states of it.
        (!self.asked.contains_key(&(claim.key.clone(), id.clone()))).then_some(id)
    }

    /// Whom to ask, and what.
    #[allow(clippy::type_complexity, reason = "a provider and what it is given")]
    fn made(&self, claim: &Claim, id: &NodeId) -> Result<(Arc<dyn Provider>, Attempt), (NodeReason, String)> {
        let attempt = self.factory.attempt(claim, id)?;
        // An External node has no Binding; one provider polls all addresses.
        let external = claim.compiled.node(claim.node).is_some_and(|node| node.external_ref.is_some());
        let provider = if external {
            self.registry.external().ok_or_else(|| "no provider here polls addresses".to_owned())
        } else {
            self.registry.find(&attempt.provider).map_err(|error| error.to_string())
        };
        let provider = provider.map_err(|message| (NodeReason::ProviderUnavailable, message))?;
        Ok((Arc::clone(provider), attempt))
    }
}

/// How long ago something began.
fn since(started: Option<Timestamp>, now: Timestamp) -> Duration {
    started.and_then(|started| Duration::try_from(now.duration_since(started)).ok()).unwrap_or_default()
}

/// When to poll next, and the report with that time in it.
fn next_poll(
    report: Option<AttemptReport>,
    interval: Option<Duration>,
    at: Timestamp,
) -> (Option<AttemptReport>, Timestamp) {
    let usual = interval.unwrap_or(POLL_AFTER);
    match report {
        Some(AttemptReport {
            outcome: AttemptOutcome::Blocked { reason, message, handle, poll_after },
            evidence,
        }) => {
            let pause = match (poll_after, interval) {
                // An interval in the manifest says how often to ask at most, so a provider can only lengthen
                // it.
                (Some(asked), Some(_)) => asked.max(usual),
                (Some(asked), None) => asked,
                (None, _) => usual,
            };
            let outcome = AttemptOutcome::Blocked { reason, message, handle, poll_after: Some(pause) };
            (Some(AttemptReport { outcome, evidence }), after(at, pause))
        }
        Some(ended) => (Some(ended), after(at, SOON)),
        None => (None, after(at, usual)),
    }
}
