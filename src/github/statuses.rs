//! Commit statuses: the plainer form of a check, for tokens that may not write check runs.

use serde::Serialize;
use serde_json::json;

use super::client::{ApiRequest, Method};
use super::names::segment;
use super::{GitHub, GitHubError, RepoName};

/// The longest description that the host takes.
const LONGEST: usize = 140;

/// How a commit fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CommitState {
    /// All is well.
    Success,
    /// Something is wrong with it.
    Failure,
}

impl GitHub {
    /// Sets a status of a commit. The last one of a name counts.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn set_status(
        &self,
        repo: &RepoName,
        sha: &str,
        name: &str,
        state: CommitState,
        description: &str,
    ) -> Result<(), GitHubError> {
        let path = repo.path(&format!("statuses/{}", segment(sha)?));
        // The host refuses a longer one, and the status would be missing.
        let description: String = description.chars().take(LONGEST).collect();
        let body = json!({ "state": state, "context": name, "description": description });
        let needs = "statuses: write";
        // A POST, but one that changes: of a name the last status counts, so it may be tried again.
        self.tell(ApiRequest::change(Method::Post, path, body, "set a commit status", needs)).await
    }
}
