//! Tasks and messages as the protocol writes them; what we do not know of them is left alone.

use serde::Deserialize;
use serde_json::Value;

use crate::provider::plain_text::plain_line;

/// How many characters of what an agent says are shown.
const SHOWN: usize = 1000;

/// The answer to a message: the task that it began, or all that there is to say.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Answered {
    Task(Task),
    Message(Message),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Task {
    pub(super) id: String,
    #[serde(default)]
    pub(super) context_id: Option<String>,
    pub(super) status: Status,
    #[serde(default)]
    pub(super) artifacts: Option<Vec<Artifact>>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Status {
    #[serde(default)]
    state: String,
    #[serde(default)]
    pub(super) message: Option<Message>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Message {
    #[serde(default)]
    pub(super) parts: Option<Vec<Part>>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Artifact {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) parts: Option<Vec<Part>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Part {
    pub(super) text: Option<String>,
    pub(super) data: Option<Value>,
    pub(super) url: Option<String>,
    pub(super) filename: Option<String>,
    pub(super) media_type: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Listed {
    #[serde(default)]
    pub(super) tasks: Option<Vec<Task>>,
}

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Working,
    Completed,
    Failed,
    Rejected,
    Canceled,
    InputRequired,
    AuthRequired,
}

impl Status {
    /// A state that we do not know is one in which the task goes on.
    pub(super) fn state(&self) -> State {
        match self.state.as_str() {
            "TASK_STATE_COMPLETED" => State::Completed,
            "TASK_STATE_FAILED" => State::Failed,
            "TASK_STATE_REJECTED" => State::Rejected,
            "TASK_STATE_CANCELED" => State::Canceled,
            "TASK_STATE_INPUT_REQUIRED" => State::InputRequired,
            "TASK_STATE_AUTH_REQUIRED" => State::AuthRequired,
            _ => State::Working,
        }
    }

    /// Whether it waits for an answer.
    pub(super) fn asks(&self) -> bool {
        matches!(self.state(), State::InputRequired | State::AuthRequired)
    }

    /// What the agent says of it, as one line.
    pub(super) fn words(&self) -> String {
        self.message.as_ref().map(Message::text).map_or_else(String::new, |text| {
            plain_line(text.trim().replace(['\r', '\n'], " ").as_bytes()).chars().take(SHOWN).collect()
        })
    }
}

impl Message {
    /// Its text.
    pub(super) fn text(&self) -> String {
        text_of(self.parts.iter().flatten())
    }
}

/// The texts of parts, one below the other.
pub(super) fn text_of<'a>(parts: impl Iterator<Item = &'a Part>) -> String {
    parts.filter_map(|part| part.text.as_deref()).collect::<Vec<_>>().join("\n")
}
