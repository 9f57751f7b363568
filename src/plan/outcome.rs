//! What follows from the end of an attempt: success, another attempt with backoff, or failure for good.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::model::{JsonMap, Node, NodePhase, NodeReason, NodeStatus};
use crate::run::{Evidence, NodeChange};

/// How an attempt ended, as a provider reports it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AttemptResult {
    /// The work is done.
    Succeeded {
        /// What it gave.
        outputs: JsonMap,
    },
    /// The work failed.
    Failed {
        /// Why, for programs.
        reason: NodeReason,
        /// Why, in words.
        message: String,
        /// Whether trying again could help.
        retryable: bool,
        /// How long to wait before that, at least.
        retry_after: Option<Duration>,
    },
    /// The runner stopped the attempt for reasons of its own; it does not count.
    Interrupted {
        /// Why, in words.
        message: String,
        /// Whether it may have done anything by then.
        begun: bool,
    },
    /// The work went on elsewhere and is no longer to be found there.
    Lost {
        /// What is gone, in words.
        message: String,
    },
    /// It waits for the outside world.
    Blocked {
        /// For what, for programs.
        reason: NodeReason,
        /// For what, in words.
        message: String,
        /// What the provider needs to go on.
        handle: Option<String>,
        /// When to ask again.
        retry_at: Option<Timestamp>,
    },
}

impl AttemptResult {
    /// A failure that another attempt may overcome.
    #[must_use]
    pub(crate) fn failed(reason: NodeReason, message: String) -> Self {
        Self::Failed { reason, message, retryable: true, retry_after: None }
    }

    /// A failure that every attempt would meet.
    #[must_use]
    pub(crate) fn hopeless(reason: NodeReason, message: String) -> Self {
        Self::Failed { reason, message, retryable: false, retry_after: None }
    }
}

/// The first delay before another attempt; doubled for each further failure.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// The longest delay before another attempt.
const LONGEST_DELAY: Duration = Duration::from_secs(300);

/// The change that follows from the end of an attempt. `key` is the idempotency key: it seeds the jitter, so that
/// the same attempt always waits for the same time and planning stays pure.
#[must_use]
pub(crate) fn after_attempt(
    node: &Node,
    state: &NodeStatus,
    result: AttemptResult,
    evidence: Evidence,
    key: &str,
    now: Timestamp,
) -> NodeChange {
    match result {
        AttemptResult::Succeeded { outputs } => {
            NodeChange::Succeed { reason: None, message: String::new(), outputs, evidence }
        }
        AttemptResult::Blocked { reason, message, handle, retry_at } => {
            NodeChange::Block { reason, message, retry_at, handle }
        }
        AttemptResult::Interrupted { message, begun } if node.repeatable() || !begun => {
            let reason = NodeReason::RunnerLost;
            NodeChange::Retry { reason, message, at: now, counted: false, evidence }
        }
        // A provider that loses everything must not be asked without end and pause.
        AttemptResult::Lost { message } if node.repeatable() => {
            let at = after(now, delay(state.attempt.saturating_sub(1), key));
            NodeChange::Retry { reason: NodeReason::RunnerLost, message, at, counted: false, evidence }
        }
        AttemptResult::Interrupted { message, .. } | AttemptResult::Lost { message } => NodeChange::Block {
            reason: NodeReason::RunnerLost,
            message: format!("{message}; not repeatable, so a person must decide"),
            retry_at: None,
            handle: None,
        },
        AttemptResult::Failed { reason, message, retryable, retry_after } => {
            let failures = state.extensions.failures;
            if retryable && failures < node.retries {
                // Whoever asks to be left alone for longer is.
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

/// The changes that follow from another look at work that goes on elsewhere; none when all is as it was.
#[must_use]
pub(crate) fn after_look(
    node: &Node,
    state: &NodeStatus,
    result: AttemptResult,
    evidence: Evidence,
    key: &str,
    now: Timestamp,
) -> Vec<NodeChange> {
    if let AttemptResult::Blocked { reason, message, handle, .. } = &result
        && state.phase == NodePhase::Blocked
        && state.extensions.reason == Some(*reason)
        && state.message == *message
        && state.extensions.handle == *handle
    {
        return Vec::new();
    }
    let change = after_attempt(node, state, result, evidence, key, now);
    match &change {
        // What was never blocked, such as an address at the first look, cannot be tried again right away.
        NodeChange::Retry { message, .. } if state.phase == NodePhase::Pending => {
            let (reason, message) = (NodeReason::AwaitingEvent, message.clone());
            vec![NodeChange::Block { reason, message, retry_at: None, handle: None }, change]
        }
        _ => vec![change],
    }
}

fn after(at: Timestamp, span: Duration) -> Timestamp {
    let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
    at.saturating_add(span).unwrap_or(Timestamp::MAX)
}

/// Exponential backoff with jitter between half and the whole of the delay.
fn delay(failures: u32, key: &str) -> Duration {
    let whole = FIRST_DELAY.saturating_mul(1u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX));
    let whole = whole.min(LONGEST_DELAY);
    let byte = Sha256::digest(key.as_bytes()).first().copied().unwrap_or(0);
    whole / 2 + (whole / 2).saturating_mul(u32::from(byte)) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(retries: u32) -> Node {
        serde_json::from_value(serde_json::json!({"id": "a", "kind": "Task", "retries": retries})).unwrap()
    }

    fn failed(retryable: bool) -> AttemptResult {
        let (reason, message) = (NodeReason::ProviderFailed, "exit 1".to_owned());
        AttemptResult::Failed { reason, message, retryable, retry_after: None }
    }

    #[test]
    fn a_failure_is_retried_as_often_as_the_node_allows() {
        let now = Timestamp::UNIX_EPOCH;
        let mut state = NodeStatus::default();
        let change = |state: &NodeStatus, result| {
            after_attempt(&node(1), state, result, Evidence::default(), "k", now).name()
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
            let (reason, message) = (NodeReason::ProviderFailed, "busy".to_owned());
            let retry_after = retry_after.map(Duration::from_secs);
            let result = AttemptResult::Failed { reason, message, retryable: true, retry_after };
            let state = NodeStatus::default();
            match after_attempt(&node(1), &state, result, Evidence::default(), "k", now) {
                NodeChange::Retry { at, .. } => Duration::try_from(at.duration_since(now)).unwrap(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(wait(Some(90)), Duration::from_secs(90));
        assert_eq!(wait(Some(0)), wait(None));
        assert!(wait(Some(u64::MAX)) > Duration::from_secs(1_000_000), "an absurd time is no panic");
    }

    #[test]
    fn what_never_began_is_started_again_even_where_it_may_not_be_repeated() {
        let mut once = node(0);
        once.annotations.insert("planspec.io/repeatable".to_owned(), "false".to_owned());
        let change = |node: &Node, begun| {
            let result = AttemptResult::Interrupted { message: String::new(), begun };
            let state = NodeStatus::default();
            after_attempt(node, &state, result, Evidence::default(), "k", Timestamp::UNIX_EPOCH).name()
        };
        assert_eq!([change(&once, false), change(&once, true)], ["retry", "block"]);
        assert_eq!([change(&node(0), false), change(&node(0), true)], ["retry", "retry"]);
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
