//! What the host remembers of pushes: the tips that a branch lost. Whoever may push can move a branch back, and cannot change this.

use serde::Deserialize;

use super::client::ApiRequest;
use super::names::encoded;
use super::people::Account;
use super::{GitHub, GitHubError, RepoName};

/// A tip that a branch had, and that a push or a deletion replaced by one that does not follow from it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ReplacedTip {
    /// The tip before.
    pub(crate) before: String,
    /// When it was replaced.
    #[serde(default)]
    pub(crate) timestamp: String,
    /// Who did it.
    #[serde(default)]
    pub(crate) actor: Option<Account>,
}

impl GitHub {
    /// The tips of a branch that forced pushes and deletions of the last month replaced, newest first; at most a hundred of each.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn replaced_tips(
        &self,
        repo: &RepoName,
        branch: &str,
    ) -> Result<Vec<ReplacedTip>, GitHubError> {
        let name = encoded(&format!("refs/heads/{branch}"));
        let mut found: Vec<ReplacedTip> = Vec::new();
        // Asked by kind: a status branch has thousands of ordinary pushes, and none of them matters here.
        for kind in ["force_push", "branch_deletion"] {
            let query = format!("activity?ref={name}&activity_type={kind}&time_period=month&per_page=100");
            let request =
                ApiRequest::get(repo.path(&query), "read how a branch was pushed", "contents: read");
            found.extend(self.ask::<Vec<ReplacedTip>>(request).await?);
        }
        // All times of the host have one form, so that their texts sort by time.
        found.sort_by(|left, right| right.timestamp.cmp(&left.timestamp));
        Ok(found)
    }
}
