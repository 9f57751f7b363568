//! Acceptance criteria: what is checked after a task's work, on the way to calling it done.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::Duration;

/// Something that is checked after a task's work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AcceptanceCriterion {
    /// A name for people.
    pub name: String,
    /// What it means, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether its failure fails the attempt.
    #[serde(default = "yes")]
    pub required: bool,
    /// How long the check may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// What is checked.
    #[serde(flatten)]
    pub check: CriterionCheck,
}

fn yes() -> bool {
    true
}

/// The check of an acceptance criterion, by its `type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum CriterionCheck {
    /// A file is there.
    ArtifactExists {
        /// Its path, relative to the working directory.
        path: String,
        /// A regular expression that its content must match.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content_match: Option<String>,
    },
    /// A test command exits as expected.
    TestPasses {
        /// The program; a shell line when it holds spaces and `args` is empty.
        command: String,
        /// Its arguments.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        args: Vec<String>,
        /// The exit code that counts as success.
        #[serde(default)]
        expected_exit_code: i32,
    },
    /// A command exits as expected, and says what is expected.
    CommandSucceeds {
        /// The program; a shell line when it holds spaces and `args` is empty.
        command: String,
        /// Its arguments.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        args: Vec<String>,
        /// The exit code that counts as success.
        #[serde(default)]
        expected_exit_code: i32,
        /// A regular expression that the output must match.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output_match: Option<String>,
    },
    /// An HTTP endpoint answers as expected.
    EndpointResponds {
        /// The address.
        url: String,
        /// The method; GET when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        method: Option<String>,
        /// The status that counts as success; 200 when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expected_status: Option<u16>,
        /// A regular expression that the body must match.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body_match: Option<String>,
    },
    /// A webhook judges.
    Custom {
        /// The address.
        // The contract says `webhookUrl` and accepts `webhook` too.
        #[serde(alias = "webhook")]
        webhook_url: String,
        /// What is posted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payload: Option<Value>,
        /// The answer that counts as success.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expected_response: Option<ExpectedResponse>,
    },
}

/// The answer of a webhook that counts as success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExpectedResponse {
    /// The HTTP status; 200 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
    /// A regular expression that the body must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_match: Option<String>,
}

/// How one acceptance criterion came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CriterionResult {
    /// Its name.
    pub name: String,
    /// Whether it holds.
    pub passed: bool,
    /// Whether its failure fails the attempt.
    pub required: bool,
    /// What was seen: exit code, status, matched text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub evidence: String,
    /// How long the check took, in milliseconds.
    pub duration_millis: u64,
}
