//! What the host says of a branch: its newest commit, and who may push to it.

use serde::Deserialize;

use super::client::ApiRequest;
use super::names::segment;
use super::{GitHub, GitHubError, RepoName};

const WHAT: &str = "read who may push a branch";

/// Who may push a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PushRule {
    /// Whoever a ruleset exempts.
    Restricted,
    /// Whoever the branch protection lets; only administrators are told who that is.
    Protected,
    /// Whoever may write to the repository.
    Open,
}

impl PushRule {
    /// The rule in one word, for programs.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Restricted => "restricted",
            Self::Protected => "protected",
            Self::Open => "open",
        }
    }

    /// The rule that a word says.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        [Self::Restricted, Self::Protected, Self::Open].into_iter().find(|rule| rule.word() == word)
    }
}

/// A branch as the host has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostBranch {
    /// The newest commit; none where there is no such branch.
    pub(crate) tip: Option<String>,
    /// Who may push it.
    pub(crate) pushes: PushRule,
}

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
    /// [`GitHubError`].
    pub(crate) async fn host_branch(&self, repo: &RepoName, branch: &str) -> Result<HostBranch, GitHubError> {
        let path = repo.path(&format!("branches/{}", segment(branch)?));
        let found = match self.ask::<BranchTip>(ApiRequest::get(path, WHAT, "contents: read")).await {
            Ok(found) => found,
            // Rulesets hold for names, and for a branch before there is one.
            Err(GitHubError::NotFound { .. }) => BranchTip { commit: None, protected: false },
            Err(error) => return Err(error),
        };
        let path = repo.path(&format!("rules/branches/{}", segment(branch)?));
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
