//! Whether this machine can do work at all: faults of the runner are counted, and after the second in a row it claims nothing
//! more. Otherwise a full disk would take every Execution in its hands, one after the other, and give each one back.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use crate::run::{AttemptOutcome, AttemptReport, RunnerFault};

/// How long a runner that keeps running claims nothing after a second fault; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// The longest such pause: a disk that somebody cleaned up is found within this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// How this machine did of late.
#[derive(Debug)]
pub(crate) struct RunnerHealth {
    state: HealthState,
    pause: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HealthState {
    Well,
    /// One fault. Attempts up to this number were under way when it was seen, and may have met the same moment.
    Suspect {
        up_to: u32,
    },
    /// Claims nothing.
    Ill {
        cause: String,
        until: Instant,
    },
    /// Claims one node, to see whether it works again.
    Trying {
        cause: String,
    },
}

impl Default for RunnerHealth {
    fn default() -> Self {
        Self { state: HealthState::Well, pause: FIRST_PAUSE }
    }
}

impl RunnerHealth {
    /// Takes in how the attempt that was given the slot number `number` ended; `started` were given one by now. Says why no more is claimed, at
    /// the moment when that is decided.
    pub(super) fn note(
        &mut self,
        number: u32,
        started: u32,
        report: &AttemptReport,
        now: Instant,
    ) -> Option<String> {
        match &report.outcome {
            AttemptOutcome::RunnerFailed { fault: RunnerFault::Machine, message, .. } => {
                self.fault(number, started, message, now)
            }
            // Only a process of this machine proves that folders, disk and processes are there.
            _ if report.evidence.exit_code.is_some() => {
                self.works();
                None
            }
            _ => None,
        }
    }

    fn fault(&mut self, number: u32, started: u32, message: &str, now: Instant) -> Option<String> {
        warn!(message, "this machine cannot do the work");
        match &self.state {
            HealthState::Well => {
                self.state = HealthState::Suspect { up_to: started };
                None
            }
            HealthState::Suspect { up_to } if number <= *up_to => None,
            HealthState::Ill { .. } => None,
            HealthState::Suspect { .. } => Some(self.give_up(message, now)),
            HealthState::Trying { .. } => {
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                Some(self.give_up(message, now))
            }
        }
    }

    fn give_up(&mut self, message: &str, now: Instant) -> String {
        let until = now + self.pause;
        self.state = HealthState::Ill { cause: message.to_owned(), until };
        message.to_owned()
    }

    fn works(&mut self) {
        // What was started before the faults and ends well says nothing about them.
        if !matches!(self.state, HealthState::Ill { .. }) {
            if matches!(self.state, HealthState::Trying { .. }) {
                info!("this machine works again");
            }
            *self = Self::default();
        }
    }

    /// After its pause, lets a runner that is ill try again.
    pub(crate) fn try_again(&mut self, now: Instant) {
        if let HealthState::Ill { cause, until } = &self.state
            && *until <= now
        {
            self.state = HealthState::Trying { cause: cause.clone() };
        }
    }

    /// Why nothing is claimed.
    pub(crate) fn illness(&self) -> Option<&str> {
        match &self.state {
            HealthState::Ill { cause, .. } | HealthState::Trying { cause } => Some(cause),
            HealthState::Well | HealthState::Suspect { .. } => None,
        }
    }

    /// How long nothing is claimed from now on.
    pub(crate) fn pause(&self, now: Instant) -> Option<Duration> {
        match &self.state {
            HealthState::Ill { until, .. } => Some(until.saturating_duration_since(now)),
            _ => None,
        }
    }

    /// How many attempts may be under way at most.
    pub(super) fn most(&self) -> usize {
        match &self.state {
            HealthState::Well | HealthState::Suspect { .. } => usize::MAX,
            HealthState::Trying { .. } => 1,
            HealthState::Ill { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::JsonMap;
    use crate::run::Evidence;

    fn fault() -> AttemptReport {
        AttemptOutcome::not_possible_here("the disk is full").into()
    }

    fn success() -> AttemptReport {
        let outcome = AttemptOutcome::Succeeded { outputs: JsonMap::new() };
        AttemptReport { outcome, evidence: Evidence { exit_code: Some(0), ..Evidence::default() } }
    }

    #[test]
    fn what_was_under_way_at_the_first_fault_met_the_same_moment() {
        let mut health = RunnerHealth::default();
        let now = Instant::now();
        assert_eq!(health.note(1, 4, &fault(), now), None);
        assert_eq!(health.note(3, 4, &fault(), now), None);
        assert_eq!(health.most(), usize::MAX);
        assert_eq!(health.note(5, 6, &fault(), now).as_deref(), Some("the disk is full"));
        assert_eq!(health.note(6, 6, &fault(), now), None, "it is said once");
        assert_eq!((health.most(), health.illness()), (0, Some("the disk is full")));
    }

    #[test]
    fn a_process_that_ran_in_between_shows_that_the_machine_works() {
        let mut health = RunnerHealth::default();
        let now = Instant::now();
        assert_eq!(health.note(1, 1, &fault(), now), None);
        assert_eq!(health.note(2, 2, &success(), now), None);
        assert_eq!(health.note(3, 3, &fault(), now), None);
        let remote = AttemptOutcome::Succeeded { outputs: JsonMap::new() }.into();
        assert_eq!(health.note(4, 4, &remote, now), None, "work elsewhere proves nothing");
        assert!(health.note(5, 5, &fault(), now).is_some());
    }

    #[test]
    fn a_commit_that_cannot_be_had_says_nothing_about_the_machine() {
        let mut health = RunnerHealth::default();
        let now = Instant::now();
        for number in 1..10 {
            let message = "503".to_owned();
            let report = AttemptOutcome::RunnerFailed { fault: RunnerFault::Commit, message, begun: false };
            assert_eq!(health.note(number, number, &report.into(), now), None);
        }
        assert_eq!(health.most(), usize::MAX);
    }

    #[test]
    fn a_runner_that_stays_tries_one_node_after_ever_longer_pauses() {
        let mut health = RunnerHealth::default();
        let now = Instant::now();
        health.note(1, 1, &fault(), now);
        health.note(2, 2, &fault(), now);
        health.try_again(now);
        assert_eq!(health.most(), 0);
        let now = now + FIRST_PAUSE;
        health.try_again(now);
        assert_eq!(health.most(), 1);
        assert!(health.note(3, 3, &fault(), now).is_some());
        assert_eq!(health.pause(now), Some(FIRST_PAUSE * 2));
        let now = now + FIRST_PAUSE * 2;
        health.try_again(now);
        health.note(4, 4, &success(), now);
        assert_eq!((health.most(), health.illness()), (usize::MAX, None));
    }
}
