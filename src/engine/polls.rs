//! Looking at work that goes on elsewhere, and calling it off: what is asked of providers without a claim and without a
//! commit.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::AbortHandle;

use super::attempt_factory::{AttemptFactory, Claim};
use super::attempts::{AttemptMessage, Attempts, OUTPUT_LINES, forward};
use super::clock::Clock;
use super::poll_result::{PollResult, PollTimes, handle_of};
use crate::model::{NodeId, NodeReason, ResourceKey, after};
use crate::plan::CancelResult;
use crate::provider::{Attempt, Control, Provider, Registry};
use crate::run::{AttemptOutcome, AttemptReport};

/// How much is asked at a time.
const AT_A_TIME: usize = 16;
/// How long one look may take.
const LONGEST_LOOK: Duration = Duration::from_secs(300);
/// How long calling off may take.
const LONGEST_CALL_OFF: Duration = Duration::from_secs(60);
/// When to look again where the provider does not say.
const POLL_AFTER: Duration = Duration::from_secs(60);
/// When to look again at what has ended, should its end get lost.
const SOON: Duration = Duration::from_secs(1);

/// What is being asked of providers.
pub(super) struct Polls {
    clock: Arc<dyn Clock>,
    registry: Registry,
    maker: Arc<AttemptFactory>,
    sender: mpsc::UnboundedSender<AttemptMessage>,
    stream: bool,
    turns: Arc<Semaphore>,
    asked: HashMap<(ResourceKey, NodeId), AbortHandle>,
    pub(super) times: PollTimes,
}

impl Polls {
    /// Asks the same providers as `attempts`, and answers where they do.
    pub(super) fn beside(attempts: &Attempts, times: PollTimes) -> Self {
        Self {
            clock: Arc::clone(&attempts.clock),
            registry: attempts.registry.clone(),
            maker: Arc::clone(&attempts.maker),
            sender: attempts.sender.clone(),
            stream: attempts.stream,
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
            asked: HashMap::new(),
            times,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }

    /// Whether something is being asked about an execution.
    pub(super) fn works_on(&self, key: &ResourceKey) -> bool {
        self.asked.keys().any(|(owner, _)| owner == key)
    }

    /// Takes in that an answer came.
    pub(super) fn answered(&mut self, key: &ResourceKey, node: &NodeId) {
        self.asked.remove(&(key.clone(), node.clone()));
    }

    /// Stops asking: a look changes nothing, and calling off may be asked again.
    pub(super) fn shut_down(&mut self) {
        for (_, asked) in self.asked.drain() {
            asked.abort();
        }
    }

    /// Looks at what goes on elsewhere, unless it is being asked about.
    pub(super) fn look(&mut self, claim: Claim, interval: Option<Duration>) {
        let Some(id) = self.free(&claim) else { return };
        let handle = claim.record.execution().and_then(|status| handle_of(status, &id));
        let uid = claim.record.metadata.uid.clone();
        let state = claim.record.execution().and_then(|status| status.node_statuses.get(&id));
        let started = state.and_then(|state| state.start_time);
        let (clock, sender, turns) = (Arc::clone(&self.clock), self.sender.clone(), Arc::clone(&self.turns));
        let made = self.made(&claim, &id);
        let (lines, shown) = mpsc::channel(OUTPUT_LINES);
        if self.stream {
            forward(&self.sender, claim.key.clone(), id.clone(), shown);
        }
        let (key, node) = (claim.key.clone(), id.clone());
        let task = tokio::spawn(async move {
            let report = match made {
                Err((reason, message)) => Some(AttemptOutcome::permanent(reason, message).into()),
                Ok((provider, mut attempt)) => {
                    let _turn = turns.acquire_owned().await;
                    attempt.age = since(started, clock.now());
                    let (_keep, stop) = watch::channel(None);
                    let looking = provider.poll(attempt, Control { stop, output: lines });
                    match tokio::time::timeout(LONGEST_LOOK, looking).await {
                        Ok(report) if !matches!(report.outcome, AttemptOutcome::Stopped(_)) => Some(report),
                        _ => None,
                    }
                }
            };
            let at = clock.now();
            let (report, next) = next_look(report, interval, at);
            let looked = PollResult { uid, node: id, attempt: claim.attempt, handle, report, next, at };
            // The receiver lives as long as the driver; when it is gone nobody wants to know.
            let _ = sender.send(AttemptMessage::Polled(claim.key, Box::new(looked)));
        });
        self.asked.insert((key, node), task.abort_handle());
    }

    /// Calls off what goes on elsewhere, unless it is being asked about.
    pub(super) fn call_off(&mut self, claim: Claim) {
        let Some(id) = self.free(&claim) else { return };
        let (sender, made) = (self.sender.clone(), self.made(&claim, &id));
        let (key, node) = (claim.key.clone(), id.clone());
        let task = tokio::spawn(async move {
            let error = match made {
                Err((_, message)) => Some(message),
                Ok((provider, attempt)) => {
                    match tokio::time::timeout(LONGEST_CALL_OFF, provider.cancel_remote(attempt)).await {
                        Ok(done) => done.err(),
                        Err(_) => Some(format!("no answer within {} s", LONGEST_CALL_OFF.as_secs())),
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
        (!self.asked.contains_key(&(claim.key.clone(), id.clone()))).then_some(id)
    }

    /// Whom to ask, and what.
    #[allow(clippy::type_complexity, reason = "a provider and what it is given")]
    fn made(&self, claim: &Claim, id: &NodeId) -> Result<(Arc<dyn Provider>, Attempt), (NodeReason, String)> {
        let attempt = self.maker.attempt(claim, id)?;
        let external = claim.compiled.node(claim.node).is_some_and(|node| node.external_ref.is_some());
        let provider = if external {
            self.registry.external().ok_or_else(|| "nothing here can look at an address".to_owned())
        } else {
            self.registry.find(&claim.target.provider).map_err(|error| error.to_string())
        };
        let provider = provider.map_err(|message| (NodeReason::ProviderUnavailable, message))?;
        Ok((Arc::clone(provider), attempt))
    }
}

/// How long ago something began.
fn since(started: Option<Timestamp>, now: Timestamp) -> Duration {
    started.and_then(|started| Duration::try_from(now.duration_since(started)).ok()).unwrap_or_default()
}

/// When to look next, and the report with that time in it.
fn next_look(
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
