//! Tasks and messages as the protocol writes them; what we do not know of them is left alone.

use serde::Deserialize;
use serde_json::Value;

use crate::provider::output::plain_line;

/// How many characters of what an agent says are shown.
const SHOWN: usize = 1000;

/// The answer to a message: the task that it began, or all that there is to say.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum SendMessageResponse {
    Task(A2aTask),
    Message(A2aMessage),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct A2aTask {
    pub(super) id: String,
    #[serde(default)]
    pub(super) context_id: Option<String>,
    pub(super) status: A2aTaskStatus,
    #[serde(default)]
    // An `Option` with a default: `null`, an empty list and nothing at all mean the same, here as in the fields below.
    pub(super) artifacts: Option<Vec<A2aArtifact>>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct A2aTaskStatus {
    #[serde(default)]
    state: String,
    #[serde(default)]
    pub(super) message: Option<A2aMessage>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct A2aMessage {
    #[serde(default)]
    pub(super) parts: Option<Vec<A2aPart>>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct A2aArtifact {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) parts: Option<Vec<A2aPart>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct A2aPart {
    pub(super) text: Option<String>,
    pub(super) data: Option<Value>,
    pub(super) url: Option<String>,
    pub(super) filename: Option<String>,
    pub(super) media_type: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct A2aTaskList {
    #[serde(default)]
    pub(super) tasks: Option<Vec<A2aTask>>,
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum A2aTaskState {
    Working,
    Completed,
    Failed,
    Rejected,
    Canceled,
    InputRequired,
    AuthRequired,
}

impl A2aTaskStatus {
    /// A state that we do not know is one in which the task goes on.
    pub(super) fn state(&self) -> A2aTaskState {
        match self.state.as_str() {
            "TASK_STATE_COMPLETED" => A2aTaskState::Completed,
            "TASK_STATE_FAILED" => A2aTaskState::Failed,
            "TASK_STATE_REJECTED" => A2aTaskState::Rejected,
            "TASK_STATE_CANCELED" => A2aTaskState::Canceled,
            "TASK_STATE_INPUT_REQUIRED" => A2aTaskState::InputRequired,
            "TASK_STATE_AUTH_REQUIRED" => A2aTaskState::AuthRequired,
            // A state that a later version adds must not end work that goes on; the node's `timeout` does in any case.
            _ => A2aTaskState::Working,
        }
    }

    /// Whether it waits for an answer.
    pub(super) fn asks(&self) -> bool {
        matches!(self.state(), A2aTaskState::InputRequired | A2aTaskState::AuthRequired)
    }

    /// What the agent says of it, as one line.
    pub(super) fn words(&self) -> String {
        self.message.as_ref().map(A2aMessage::text).map_or_else(String::new, |text| {
            // The words become the message of a node: one line, in the record and on terminals (Invariant 8).
            plain_line(text.trim().replace(['\r', '\n'], " ").as_bytes()).chars().take(SHOWN).collect()
        })
    }
}

impl A2aMessage {
    /// Its text.
    pub(super) fn text(&self) -> String {
        text_of(self.parts.iter().flatten())
    }
}

/// The texts of parts, one below the other.
pub(super) fn text_of<'a>(parts: impl Iterator<Item = &'a A2aPart>) -> String {
    parts.filter_map(|part| part.text.as_deref()).collect::<Vec<_>>().join("\n")
}
