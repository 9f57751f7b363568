//! Schedule: run this plan at these times.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::PersonRequest;
use crate::model::{Condition, ConditionStatus, Duration, JsonMap, Reference};

/// The spec of a Schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleSpec {
    /// When: minute, hour, day of month, month, day of week.
    pub cron: String,
    /// The IANA time zone in which `cron` is read; UTC when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The plan to run; exactly one of this and `goalRef`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan_ref: Option<Reference>,
    /// The goal whose active plan is run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal_ref: Option<Reference>,
    /// The Binding to use; the namespace's `default` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding_ref: Option<Reference>,
    /// Values that expressions see as `parameters`.
    #[serde(default, skip_serializing_if = "JsonMap::is_empty")]
    pub parameters: JsonMap,
    /// What happens when a time comes while an earlier run is under way.
    #[serde(default)]
    pub concurrency_policy: ConcurrencyPolicy,
    /// How late a run may start; any time when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starting_deadline: Option<Duration>,
    /// Whether nothing is started for now.
    #[serde(default)]
    pub suspend: bool,
    /// How many ended runs keep their record.
    #[serde(default = "ten")]
    pub history_limit: u32,
}

fn ten() -> u32 {
    10
}

/// What happens when a time comes while an earlier run is under way; the words and their meaning are those of a CronJob.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConcurrencyPolicy {
    /// Both run.
    Allow,
    /// The new one waits for its end; of several times that come meanwhile, the last one counts.
    #[default]
    Forbid,
    /// The earlier one is cancelled.
    Replace,
}

/// The status of a Schedule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleStatus {
    /// The time of the last run that was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Timestamp>,
    // Also the memory of the Schedule: what lies between this time and now was missed. A cron expression that is changed
    // therefore counts from the change on, and not from the last run.
    /// The first time for which nothing was started yet. It lies in the past while a run that is due has to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Timestamp>,
    /// The runs that have not ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub active: Vec<Reference>,
    /// Observations; `Ready` is always there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<u64>,
    /// What the contract leaves to the controller.
    #[serde(default, skip_serializing_if = "ScheduleExtensions::is_empty")]
    pub extensions: ScheduleExtensions,
}

/// What this reconciler records on a Schedule beyond the contract.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleExtensions {
    /// Somebody asked that nothing is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<PersonRequest>,
}

impl ScheduleExtensions {
    fn is_empty(&self) -> bool {
        self.suspend.is_none()
    }
}

impl ScheduleStatus {
    /// The type of the condition that says whether the next time will start something.
    pub const READY: &'static str = "Ready";

    /// How it stands, in one word: the contract gives a Schedule no phase, and listings have a column for one.
    #[must_use]
    pub fn word(&self) -> &str {
        match Condition::find(&self.conditions, Self::READY) {
            Some(ready) if ready.status != ConditionStatus::True => ready.reason.as_str(),
            _ if self.active.is_empty() => "Ready",
            _ => "Active",
        }
    }
}
