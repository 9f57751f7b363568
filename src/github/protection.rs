//! What the host says of a branch: its newest commit, and who may push to it.

use serde::Deserialize;

use super::GitHub;
use super::client::ApiRequest;
use super::wire::{repo_path, segment};
use crate::host::{HostBranch, HostError, PushRule, RepoName};

const WHAT: &str = "read who may push a branch";

#[derive(Deserialize)]
struct BranchTip {
    #[serde(default)]
    commit: Option<TipCommit>,
    #[serde(default)]
    protected: bool,
}

#[derive(Deserialize)]
struct TipCommit {
    sha: String,
}

#[derive(Deserialize)]
struct RuleKind {
    #[serde(default, rename = "type")]
    kind: String,
}

impl GitHub {
    /// The newest commit of a branch, and who may push to it.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn host_branch(&self, repo: &RepoName, branch: &str) -> Result<HostBranch, HostError> {
        let path = repo_path(repo, &format!("branches/{}", segment(branch)?));
        let found = match self.ask::<BranchTip>(ApiRequest::get(path, WHAT, "contents: read")).await {
            Ok(found) => found,
            // Rulesets hold for names, and for a branch before there is one.
            Err(HostError::NotFound { .. }) => BranchTip { commit: None, protected: false },
            Err(error) => return Err(error),
        };
        let path = repo_path(repo, &format!("rules/branches/{}", segment(branch)?));
        let rules: Vec<RuleKind> = self.all(&path, WHAT, "metadata: read").await?;
        // A ruleset against deletions or forced pushes, or for checks, lets everybody push. Both of these rules keep a push out that
        // is not exempt: "Restrict updates", and "Require a pull request before merging".
        let restricts = |rule: &RuleKind| matches!(rule.kind.as_str(), "update" | "pull_request");
        let pushes = match (rules.iter().any(restricts), found.protected) {
            (true, _) => PushRule::Restricted,
            (false, true) => PushRule::Protected,
            (false, false) => PushRule::Open,
        };
        Ok(HostBranch { tip: found.commit.map(|commit| commit.sha), pushes })
    }
}
