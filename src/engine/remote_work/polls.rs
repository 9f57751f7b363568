//! Polling and cancelling remote work: what is asked of providers without a claim and without a commit.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::AbortHandle;
use tracing::{debug, warn};

use crate::engine::attempt::factory::{AttemptFactory, Claim};
use crate::engine::attempt::running::{Attempts, OUTPUT_LINES, forward, passed_on};
use crate::engine::clock::Clock;
use crate::engine::message::{AttemptMessage, PollResult};
use crate::engine::remote_work::poll_times::PollTimes;
use crate::model::{AcceptanceCriterion, NodeId, NodeReason, ResourceKey, after};
use crate::plan::CancelResult;
use crate::provider::{Attempt, Control, Provider, Registry};
use crate::run::{AttemptOutcome, AttemptReport};

/// How many providers are asked at a time: a pass over thousands of waiting nodes must not open as many connections.
const AT_A_TIME: usize = 16;
/// How long one poll may take, apart from the acceptance criteria of work that is done.
const LONGEST_POLL: Duration = Duration::from_secs(300);
/// How long a criterion without a `timeout` may take at the end of remote work.
// Nobody else ends it: such a poll holds one of the places for all polls.
const LONGEST_CHECK: Duration = Duration::from_secs(3600);
/// How long a cancellation may take.
const LONGEST_CANCEL: Duration = Duration::from_secs(60);
/// When to poll again where the provider does not say.
const POLL_AFTER: Duration = Duration::from_secs(60);
/// When to poll again what has ended, should the commit that says so never get through.
const SOON: Duration = Duration::from_secs(1);

/// What the record says of work whose provider panicked.
const PANICKED: &str = "the provider broke off by a fault in planspec; please report it";

/// What is being asked of providers.
pub(crate) struct Polls {
    clock: Arc<dyn Clock>,
    registry: Registry,
    factory: Arc<AttemptFactory>,
    sender: mpsc::UnboundedSender<AttemptMessage>,
    stream: bool,
    turns: Arc<Semaphore>,
    /// By uid and node, as two Executions that have the same name one after the other are two.
    asked: HashMap<(String, NodeId), (ResourceKey, AbortHandle)>,
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

    /// Asks these providers from now on.
    pub(crate) fn reconfigure(&mut self, registry: Registry) {
        self.registry = registry;
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }

    /// Whether something is being asked about an execution.
    pub(crate) fn works_on(&self, key: &ResourceKey) -> bool {
        self.asked.values().any(|(owner, _)| owner == key)
    }

    /// Takes in that an answer came.
    pub(crate) fn answered(&mut self, uid: &str, node: &NodeId) {
        self.asked.remove(&(uid.to_owned(), node.clone()));
    }

    /// When an attempt, or what is shown before it, is to be polled on this machine; not before `recorded`.
    pub(crate) fn due(
        &self,
        uid: &str,
        node: &NodeId,
        attempt: impl Display,
        recorded: Timestamp,
    ) -> Timestamp {
        self.times.due(&PollTimes::name(uid, node, attempt), recorded)
    }

    /// Takes in the result of a poll.
    pub(crate) fn polled(&mut self, result: &PollResult) {
        self.answered(&result.uid, &result.node);
        let name = match &result.shown {
            // By the commit: another one is shown at once, however recently its predecessor was.
            Some(base) => PollTimes::name(&result.uid, &result.node, base),
            None => PollTimes::name(&result.uid, &result.node, result.attempt),
        };
        self.times.set(name, result.next);
    }

    /// Keeps the times of the next polls for the next run.
    pub(crate) fn save_times(&mut self, now: Timestamp) {
        self.times.save(now);
    }

    /// Stops asking: a poll changes nothing, and the next runner asks for the cancellation again.
    pub(crate) fn shut_down(&mut self) {
        for (_, (_, asked)) in self.asked.drain() {
            asked.abort();
        }
    }

    /// Polls remote work, unless it is being asked about already.
    pub(crate) fn poll(&mut self, claim: Claim, interval: Option<Duration>) {
        self.question(claim, interval, None);
    }

    /// Has people shown this commit, which a delivery behind a Gate would hand over.
    pub(crate) fn propose(&mut self, claim: Claim, base: String) {
        self.question(claim, None, Some(base));
    }

    fn question(&mut self, claim: Claim, interval: Option<Duration>, shown: Option<String>) {
        let Some(id) = self.free(&claim) else { return };
        let uid = claim.record.metadata.uid.clone();
        let state = claim.record.execution().and_then(|status| status.node_statuses.get(&id));
        let started = state.and_then(|state| state.start_time);
        // Kept with the result: a node that got another handle meanwhile must not take this answer for its
        // own.
        let handle = state.and_then(|state| state.extensions.handle.clone());
        debug!(execution = %claim.key, node = %id, attempt = claim.attempt, shown, "poll remote work");
        let clock = Arc::clone(&self.clock);
        let sender = self.sender.clone();
        let turns = Arc::clone(&self.turns);
        let made = self.made(&claim, &id);
        let (lines, printed) = mpsc::channel(OUTPUT_LINES);
        let forwarding = self.stream.then(|| forward(&self.sender, claim.key.clone(), id.clone(), printed));
        let key = claim.key.clone();
        let name = (uid.clone(), id.clone());
        let is_proposal = shown.is_some();
        let task = tokio::spawn(async move {
            let said = move |report, at: Timestamp| {
                let report = if shown.is_some() { proposed(report) } else { report };
                let (report, next) = next_poll(report, interval, at);
                let attempt = claim.attempt;
                let polled = PollResult { uid, node: id, attempt, shown, handle, report, next, at };
                // The receiver lives as long as the driver; when it is gone nobody wants to know.
                let _ = sender.send(AttemptMessage::Polled(claim.key, Box::new(polled)));
            };
            let broken_off = (clock.clone(), said.clone());
            // A poll that broke off learned nothing, and the work may be well.
            let _told = OnPanic::new(move || broken_off.1(None, broken_off.0.now()));
            let report = match made {
                Err((reason, message)) => Some(AttemptOutcome::permanent(reason, message).into()),
                Ok((provider, mut attempt)) => {
                    // Before the time limit begins: waiting behind others is not the fault of this provider.
                    let _turn = turns.acquire_owned().await;
                    attempt.age = since(started, clock.now());
                    ask(provider.as_ref(), attempt, lines, is_proposal).await
                }
            };
            passed_on(forwarding).await;
            said(report, clock.now());
        });
        self.asked.insert(name, (key, task.abort_handle()));
    }

    /// Cancels remote work, unless it is being asked about already.
    pub(crate) fn cancel(&mut self, claim: Claim) {
        let Some(id) = self.free(&claim) else { return };
        debug!(execution = %claim.key, node = %id, attempt = claim.attempt, "cancel remote work");
        let sender = self.sender.clone();
        let made = self.made(&claim, &id);
        let uid = claim.record.metadata.uid.clone();
        let key = claim.key.clone();
        let name = (uid.clone(), id.clone());
        let task = tokio::spawn(async move {
            let said = move |error| {
                let done = CancelResult { attempt: claim.attempt, error };
                let _ = sender.send(AttemptMessage::RemoteCancelled(claim.key, uid, id, done));
            };
            let broken_off = said.clone();
            let _told = OnPanic::new(move || broken_off(Some(PANICKED.to_owned())));
            let error = match made {
                Err((_, message)) => Some(message),
                Ok((provider, attempt)) => {
                    // Without a turn, so that a cancellation does not wait behind slow polls, and bounded, so
                    // that a provider that is gone does not hold its Execution for ever.
                    match tokio::time::timeout(LONGEST_CANCEL, provider.cancel_remote(attempt)).await {
                        Ok(done) => done.err(),
                        Err(_) => Some(format!("no response within {} s", LONGEST_CANCEL.as_secs())),
                    }
                }
            };
            said(error);
        });
        self.asked.insert(name, (key, task.abort_handle()));
    }

    /// The node of a claim, if nothing is being asked about it.
    fn free(&self, claim: &Claim) -> Option<NodeId> {
        let id = claim.compiled.ids.get(claim.node)?.clone();
        // One question about a node at a time: two answers would be about two states of it.
        let name = (claim.record.metadata.uid.clone(), id.clone());
        (!self.asked.contains_key(&name)).then_some(id)
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

/// Polls once, or has the work shown that an attempt would deliver; nothing where nothing was learned.
async fn ask(
    provider: &dyn Provider,
    attempt: Attempt,
    output: mpsc::Sender<String>,
    is_proposal: bool,
) -> Option<AttemptReport> {
    let left = attempt.timeout.map(|timeout| timeout.saturating_sub(attempt.age));
    let longest = longest_poll(&attempt.criteria, left);
    // Nobody stops a poll, but the sender has to live: a provider that waits for a stop would see a closed channel.
    let (_keep, stop) = watch::channel(None);
    let node = attempt.node.clone();
    let asked = if is_proposal {
        provider.propose(attempt)
    } else {
        provider.poll(attempt, Control { stop, output, heed: None })
    };
    match tokio::time::timeout(longest, asked).await {
        // The remote work is as it was; what this machine lacks for checking it says nothing of it.
        Ok(AttemptReport { outcome: AttemptOutcome::RunnerFailed { message, .. }, .. }) => {
            warn!(%node, message, "cannot check remote work here; it is polled again");
            None
        }
        Ok(report) if !matches!(report.outcome, AttemptOutcome::Stopped(_)) => Some(report),
        // One that was stopped or took too long learned nothing, and that is no failure of the work.
        _ => None,
    }
}

/// What came of showing work: it is shown, or it cannot be. Everything else was not learned, and is tried again.
fn proposed(report: Option<AttemptReport>) -> Option<AttemptReport> {
    let AttemptReport { outcome, evidence } = report?;
    let outcome = match outcome {
        AttemptOutcome::Blocked { .. } => outcome,
        // No failure of the node, which has not begun: the approval can be given otherwise.
        AttemptOutcome::Failed { reason, message, .. } => {
            AttemptOutcome::Blocked { reason, message, handle: None, poll_after: None }
        }
        _ => return None,
    };
    Some(AttemptReport { outcome, evidence })
}

/// How long a poll of an attempt with these criteria may take that has so much of its time left.
fn longest_poll(criteria: &[AcceptanceCriterion], left: Option<Duration>) -> Duration {
    // The poll that finds the work done also checks its criteria, such as a test suite. Cut off after the time of a
    // question, they would begin anew at every poll and never come to an end.
    let checks = criteria
        .iter()
        .map(|criterion| criterion.timeout.as_ref().map_or(LONGEST_CHECK, crate::model::Duration::span));
    let checks = checks.fold(Duration::ZERO, Duration::saturating_add);
    // The `timeout` of a node covers the work and its checks together.
    LONGEST_POLL.saturating_add(left.map_or(checks, |left| checks.min(left)))
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
            // A question waits for a person, and whoever asked it is not asked again.
            if reason == NodeReason::InputRequired && poll_after.is_none() {
                let outcome = AttemptOutcome::Blocked { reason, message, handle, poll_after };
                return (Some(AttemptReport { outcome, evidence }), after(at, usual));
            }
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

/// Does something when the task that holds it panics.
// The loop waits for one message of each task: a task that ended without it would keep its slot, and the reconcile would
// never come to an end.
struct OnPanic<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnPanic<F> {
    fn new(panicked: F) -> Self {
        Self(Some(panicked))
    }
}

impl<F: FnOnce()> Drop for OnPanic<F> {
    fn drop(&mut self) {
        // Not for a task that is aborted at the end of a reconcile, of which nobody waits for anything any more.
        if std::thread::panicking()
            && let Some(panicked) = self.0.take()
        {
            panicked();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_has_time_for_the_criteria_of_work_that_is_done() {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let criteria = serde_json::json!([
            { "type": "test_passes", "name": "a", "command": "true", "timeout": "20m" },
            { "type": "test_passes", "name": "b", "command": "true" },
        ]);
        let criteria: Vec<AcceptanceCriterion> = serde_json::from_value(criteria).unwrap();
        assert_eq!(longest_poll(&[], Some(minutes(60))), LONGEST_POLL);
        assert_eq!(longest_poll(&criteria, None), LONGEST_POLL + minutes(20) + LONGEST_CHECK);
        assert_eq!(longest_poll(&criteria, Some(minutes(10))), LONGEST_POLL + minutes(10));
    }
}
