//! What the host remembers of pushes: the tips that a branch lost. Whoever may push can move a branch back, and cannot change this.

use serde::Deserialize;

use super::GitHub;
use super::wire::{encoded, read_as, repo_path};
use crate::host::{Account, HostError, ReplacedTip, ReplacedTips, RepoName};

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
    /// The tips of a branch that forced pushes and deletions of the last month replaced.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn replaced_tips(
        &self,
        repo: &RepoName,
        branch: &str,
    ) -> Result<ReplacedTips, HostError> {
        let name = encoded(&format!("refs/heads/{branch}"));
        let mut found = ReplacedTips { tips: Vec::new(), complete: true };
        // Asked by kind: a status branch has thousands of ordinary pushes, and none of them matters here.
        for kind in ["force_push", "branch_deletion"] {
            let query = format!("activity?ref={name}&activity_type={kind}&time_period=month&per_page=100");
            let path = repo_path(repo, &query);
            let (tips, complete) =
                self.marked(&path, "read how a branch was pushed", "contents: read").await?;
            found.tips.extend::<Vec<ReplacedTip>>(tips);
            found.complete &= complete;
        }
        // All times of the host have one form, so that their texts sort by time.
        found.tips.sort_by(|left, right| right.timestamp.cmp(&left.timestamp));
        Ok(found)
    }
}
