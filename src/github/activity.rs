//! What the host remembers of pushes: the tips that a branch lost. Whoever may push can move a branch back, and cannot change this.

use serde::Deserialize;

use super::GitHub;
use super::client::ApiRequest;
use super::wire::{encoded, read_as, repo_path};
use crate::host::{Account, HostError, ReplacedTip, RepoName};

#[derive(Deserialize)]
struct TipAnswer {
    before: String,
    #[serde(default)]
    timestamp: String,
    #[serde(default)]
    actor: Option<Account>,
}

impl From<TipAnswer> for ReplacedTip {
    fn from(TipAnswer { before, timestamp, actor }: TipAnswer) -> Self {
        Self { before, timestamp, actor }
    }
}

read_as!(ReplacedTip, TipAnswer);

impl GitHub {
    /// The tips of a branch that forced pushes and deletions of the last month replaced, newest first; at most a hundred of each.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn replaced_tips(
        &self,
        repo: &RepoName,
        branch: &str,
    ) -> Result<Vec<ReplacedTip>, HostError> {
        let name = encoded(&format!("refs/heads/{branch}"));
        let mut found: Vec<ReplacedTip> = Vec::new();
        // Asked by kind: a status branch has thousands of ordinary pushes, and none of them matters here.
        for kind in ["force_push", "branch_deletion"] {
            let query = format!("activity?ref={name}&activity_type={kind}&time_period=month&per_page=100");
            let request =
                ApiRequest::get(repo_path(repo, &query), "read how a branch was pushed", "contents: read");
            found.extend(self.ask::<Vec<ReplacedTip>>(request).await?);
        }
        // All times of the host have one form, so that their texts sort by time.
        found.sort_by(|left, right| right.timestamp.cmp(&left.timestamp));
        Ok(found)
    }
}
