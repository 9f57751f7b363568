//! Conditions: the observations of a controller, one per type, in the style of Kubernetes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It is not known.
    Unknown,
}

/// One observation about a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What is observed, in CamelCase; unique within a resource.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, as one CamelCase word for programs.
    pub reason: String,
    /// Why, as a sentence for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When `status` last changed.
    pub last_transition_time: Timestamp,
    /// The generation of the spec that was observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<u64>,
}

impl Condition {
    /// Sets a condition in `list`: replaces the one of the same type and keeps its transition time
    /// while the status stays the same. Says whether anything changed.
    pub fn set(list: &mut Vec<Self>, mut new: Self) -> bool {
        match list.iter_mut().find(|old| old.kind == new.kind) {
            Some(old) => {
                // As in Kubernetes: the time is that of the last change of `status`, not of the reason or the message.
                // It also keeps a pass that finds nothing new from making a commit (Invariant 5).
                if old.status == new.status {
                    new.last_transition_time = old.last_transition_time;
                }
                let changed = *old != new;
                *old = new;
                changed
            }
            None => {
                list.push(new);
                true
            }
        }
    }

    /// The condition of type `kind`, if `list` has it.
    #[must_use]
    pub fn find<'a>(list: &'a [Self], kind: &str) -> Option<&'a Self> {
        list.iter().find(|condition| condition.kind == kind)
    }
}
