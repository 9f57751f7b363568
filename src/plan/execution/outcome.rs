//! What follows from the end of an attempt: success, another attempt with backoff, or failure for good.

use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::model::{Node, NodePhase, NodeReason, NodeStatus, after};
use crate::run::{AttemptOutcome, AttemptReport, Evidence, NodeChange, RunnerFault};

/// What is recorded of an attempt that was stopped early.
const STOPPED: &str = "the runner stopped";
/// The first delay before another attempt; doubled for each further failure.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// The first delay where a runner was refused what the work needs: longer than a pass without `--watch` waits for anything, so that
/// it ends and people see why.
const REFUSED_PAUSE: Duration = Duration::from_secs(120);
/// The longest delay before another attempt.
pub(super) const LONGEST_DELAY: Duration = Duration::from_secs(300);

/// The change that follows from the end of an attempt. `key` is the idempotency key: it seeds the jitter, so that
/// the same attempt always waits for the same time and planning stays pure (Invariant 5).
#[must_use]
pub(crate) fn after_attempt(
    node: &Node,
    state: &NodeStatus,
    report: AttemptReport,
    key: &str,
    now: Timestamp,
) -> NodeChange {
    let AttemptReport { outcome, evidence } = report;
    let lost = |message: String, at: Timestamp, evidence: Evidence| {
        let reason = NodeReason::RunnerLost;
        NodeChange::Retry { reason, message, at, counted: false, evidence }
    };
    match outcome {
        AttemptOutcome::Succeeded { outputs } => {
            NodeChange::Succeed { reason: None, message: String::new(), outputs, evidence }
        }
        AttemptOutcome::Blocked { reason, message, handle, poll_after } => {
            let Evidence { usage, unfinished, .. } = evidence;
            let retry_at = poll_after.map(|span| after(now, span));
            NodeChange::Block { reason, message, retry_at, handle, usage, unfinished }
        }
        // Also where the node is not repeatable: whoever does the work asks to be begun again.
        AttemptOutcome::Postponed { message, retry_after } => {
            postponed(state, message, retry_after, evidence, key, now)
        }
        // At once, uncounted, and also where the node is not repeatable: nothing of it began, so nothing can have
        // happened twice.
        AttemptOutcome::NotStarted { message } => lost(message, now, evidence),
        // Without a pause: the fault was not the work's. The next runner takes it up where a one-shot pass left it.
        AttemptOutcome::Stopped(_) if node.repeatable() => lost(STOPPED.to_owned(), now, evidence),
        AttemptOutcome::Stopped(_) => undecided(STOPPED),
        // Only as long as a momentary lack of processes or memory may last: a healthy runner waits for this time, too.
        AttemptOutcome::RunnerFailed { fault: RunnerFault::Machine, message, begun: false } => {
            lost(message, after(now, delay(0, key)), evidence)
        }
        // A commit that is gone from the remote is asked for without end, but ever more seldom.
        AttemptOutcome::RunnerFailed { fault: RunnerFault::Commit, message, begun: false } => {
            lost(message, after(now, delay(state.attempt.saturating_sub(1), key)), evidence)
        }
        // Without a pause, a provider that loses everything would be asked without end.
        AttemptOutcome::RunnerFailed { fault: RunnerFault::Access, message, begun: false } => {
            lost(message, after(now, refused_delay(state, key)), evidence)
        }
        AttemptOutcome::Lost { message } | AttemptOutcome::RunnerFailed { message, begun: true, .. }
            if node.repeatable() =>
        {
            lost(message, after(now, delay(state.attempt.saturating_sub(1), key)), evidence)
        }
        AttemptOutcome::Lost { message } | AttemptOutcome::RunnerFailed { message, .. } => {
            undecided(&message)
        }
        AttemptOutcome::Failed { reason, message, retryable, retry_after } => {
            let failures = state.extensions.failures;
            if retryable && failures < node.retries {
                // `Retry-After` may lengthen a pause and never shortens it: a service that says 0 must not be hammered.
                let at = after(now, delay(failures, key).max(retry_after.unwrap_or_default()));
                let left = node.retries - failures;
                let message =
                    format!("{message}; {left} {} left", if left == 1 { "retry" } else { "retries" });
                NodeChange::Retry { reason, message, at, counted: true, evidence }
            } else {
                NodeChange::Fail { reason, message, evidence }
            }
        }
    }
}

/// Asked again every second, a pass would stay for a minute and learn nothing.
fn refused_delay(state: &NodeStatus, key: &str) -> Duration {
    delay(state.attempt.saturating_sub(1), key).max(REFUSED_PAUSE)
}

/// Another attempt when the work asks for it, uncounted.
fn postponed(
    state: &NodeStatus,
    message: String,
    retry_after: Option<Duration>,
    evidence: Evidence,
    key: &str,
    now: Timestamp,
) -> NodeChange {
    // Without a time the pause grows, as a limit may last for seconds or for days.
    let usual = delay(state.attempt.saturating_sub(1), key);
    let at = after(now, retry_after.map_or(usual, |asked| asked.max(FIRST_DELAY)));
    NodeChange::Retry { reason: NodeReason::RetryBackoff, message, at, counted: false, evidence }
}

/// Nobody knows how far the work came, and it must not be done twice.
fn undecided(message: &str) -> NodeChange {
    NodeChange::block(NodeReason::RunnerLost, format!("{message}; not repeatable, so a person must decide"))
}

/// The changes that follow from a poll of remote work; none when all is as it was.
#[must_use]
pub(crate) fn after_poll(
    node: &Node,
    state: &NodeStatus,
    report: AttemptReport,
    key: &str,
    now: Timestamp,
) -> Vec<NodeChange> {
    // A poll that learned nothing new is not recorded: thousands of polled nodes would make a commit each minute.
    if let AttemptOutcome::Blocked { reason, message, handle, .. } = &report.outcome
        && state.phase == NodePhase::Blocked
        && state.extensions.reason == Some(*reason)
        && state.message == *message
        && state.extensions.handle == *handle
    {
        return Vec::new();
    }
    let change = after_attempt(node, state, report, key, now);
    match &change {
        // An address fails its first poll while it is still Pending, and no transition leads from there to a retry.
        NodeChange::Retry { message, .. } if state.phase == NodePhase::Pending => {
            let reason = NodeReason::AwaitingEvent;
            let message = message.clone();
            vec![NodeChange::block(reason, message), change]
        }
        _ => vec![change],
    }
}

/// Exponential backoff with jitter between half and the whole of the delay.
fn delay(failures: u32, key: &str) -> Duration {
    // Capped before the shift, which would overflow; 2^16 seconds are far above the longest delay.
    let whole = FIRST_DELAY.saturating_mul(1u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX));
    let whole = whole.min(LONGEST_DELAY);
    // From the attempt's name and not from a random source: planning again, here or on another runner, must give the
    // same time (Invariant 5), while nodes that failed together still spread out.
    let byte = Sha256::digest(key.as_bytes()).first().copied().unwrap_or(0);
    whole / 2 + (whole / 2).saturating_mul(u32::from(byte)) / 255
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Stop;

    fn node(retries: u32) -> Node {
        serde_json::from_value(serde_json::json!({"id": "a", "kind": "Task", "retries": retries})).unwrap()
    }

    fn failed(retryable: bool) -> AttemptOutcome {
        let reason = NodeReason::ProviderFailed;
        let message = "exit 1".to_owned();
        AttemptOutcome::Failed { reason, message, retryable, retry_after: None }
    }

    #[test]
    fn a_failure_is_retried_as_often_as_the_node_allows() {
        let now = Timestamp::UNIX_EPOCH;
        let mut state = NodeStatus::default();
        let change = |state: &NodeStatus, result: AttemptOutcome| {
            after_attempt(&node(1), state, result.into(), "k", now).name()
        };
        assert_eq!(change(&state, failed(true)), "retry");
        assert_eq!(change(&state, failed(false)), "fail");
        state.extensions.failures = 1;
        assert_eq!(change(&state, failed(true)), "fail");
    }

    #[test]
    fn a_retry_waits_for_as_long_as_it_was_asked_to_and_never_shorter_than_usual() {
        let now = Timestamp::UNIX_EPOCH;
        let wait = |retry_after: Option<u64>| {
            let reason = NodeReason::ProviderFailed;
            let message = "busy".to_owned();
            let retry_after = retry_after.map(Duration::from_secs);
            let result = AttemptOutcome::Failed { reason, message, retryable: true, retry_after };
            let state = NodeStatus::default();
            match after_attempt(&node(1), &state, result.into(), "k", now) {
                NodeChange::Retry { at, .. } => Duration::try_from(at.duration_since(now)).unwrap(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(wait(Some(90)), Duration::from_secs(90));
        assert_eq!(wait(Some(0)), wait(None));
        assert!(wait(Some(u64::MAX)) > Duration::from_secs(1_000_000), "an absurd time is no panic");
    }

    #[test]
    fn what_asks_to_be_done_later_uses_up_no_retry() {
        let now = Timestamp::UNIX_EPOCH;
        let wait = |attempt, seconds: Option<u64>| {
            let retry_after = seconds.map(Duration::from_secs);
            let result = AttemptOutcome::Postponed { message: "limit".to_owned(), retry_after };
            let state = NodeStatus { attempt, ..NodeStatus::default() };
            match after_attempt(&node(0), &state, result.into(), "k", now) {
                NodeChange::Retry { at, counted: false, .. } => {
                    Duration::try_from(at.duration_since(now)).unwrap()
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(wait(1, Some(7200)), Duration::from_secs(7200));
        assert_eq!(wait(1, Some(0)), FIRST_DELAY, "nobody is asked without a pause");
        assert_eq!(wait(5, None), delay(4, "k"));
    }

    #[test]
    fn what_never_began_is_started_again_even_where_it_may_not_be_repeated() {
        let mut once = node(0);
        once.annotations.insert("planspec.io/repeatable".to_owned(), "false".to_owned());
        let change = |node: &Node, begun| {
            let message = String::new();
            let result = if begun {
                AttemptOutcome::Stopped(Stop::Shutdown)
            } else {
                AttemptOutcome::NotStarted { message }
            };
            let state = NodeStatus::default();
            after_attempt(node, &state, result.into(), "k", Timestamp::UNIX_EPOCH).name()
        };
        assert_eq!([change(&once, false), change(&once, true)], ["retry", "block"]);
        assert_eq!([change(&node(0), false), change(&node(0), true)], ["retry", "retry"]);
    }

    #[test]
    fn what_this_machine_could_not_do_is_no_failure_of_the_work() {
        let mut once = node(0);
        once.annotations.insert("planspec.io/repeatable".to_owned(), "false".to_owned());
        let change = |node: &Node, result: AttemptOutcome| {
            let change =
                after_attempt(node, &NodeStatus::default(), result.into(), "k", Timestamp::UNIX_EPOCH);
            match change {
                NodeChange::Retry { counted, at, .. } => {
                    assert!(!counted && at > Timestamp::UNIX_EPOCH, "it is left alone for a moment");
                    "retry"
                }
                other => other.name(),
            }
        };
        for node in [&node(0), &once] {
            assert_eq!(change(node, AttemptOutcome::not_possible_here("no folder")), "retry");
        }
        assert_eq!(change(&node(0), AttemptOutcome::broken_off_here("the disk is full")), "retry");
        assert_eq!(change(&once, AttemptOutcome::broken_off_here("the disk is full")), "block");
    }

    #[test]
    fn delays_double_up_to_a_limit_and_are_the_same_for_the_same_attempt() {
        for (failures, low, high) in
            [(0, 500, 1_000), (1, 1_000, 2_000), (4, 8_000, 16_000), (30, 150_000, 300_000)]
        {
            for key in ["a", "b", "c"] {
                let millis = delay(failures, key).as_millis();
                assert!((low..=high).contains(&millis), "{failures} {millis}");
                assert_eq!(delay(failures, key), delay(failures, key));
            }
        }
    }
}
