//! What every Git host does for planspec, as a trait; and how the host is reached by whoever needs it.

use std::any::Any;
use std::fmt::{self, Debug};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::{
    Comment, HostBranch, HostCommit, HostError, Issue, IssueChange, MergeMethod, NewIssue, NewPullRequest,
    PullRequest, PullRequestChange, PullRequestReview, Reaction, ReplacedTips, RepoName, RepoPermission,
    TokenIdentity,
};

/// What a request comes to.
pub(crate) type HostFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, HostError>> + Send + 'a>>;

/// A Git host: its pull requests, issues, comments, accounts and branches.
///
/// A host limits itself: it waits as long as its own limits ask, repeats only what may be repeated, and reports
/// [`HostError::Down`] where something may have been done all the same. What a host does not offer has an answer here that makes
/// planspec ask for less or leave something out; everything without one is needed.
// `Any`, for what one host alone has: the provider for its own jobs asks for that host by type.
pub(crate) trait GitHost: Any + Debug + Send + Sync {
    /// The same host, whose requests are tried again for so long each.
    fn patient(&self, patience: Duration) -> Arc<dyn GitHost>;

    /// The same host, which is waited for no longer than this from now.
    fn within(&self, time: Duration) -> Arc<dyn GitHost>;

    /// The same host, for what was not created a moment ago: that something is not there is an answer, and is not waited out.
    fn settled(&self) -> Arc<dyn GitHost>;

    // ---- identity

    /// Whose token this is. A host that fails is no answer.
    fn myself(&self) -> HostFuture<'_, TokenIdentity>;

    /// What somebody may do in a repository. Words that are unknown count as nothing.
    fn permission<'a>(&'a self, repo: &'a RepoName, login: &'a str) -> HostFuture<'a, RepoPermission>;

    /// Whether the token may read a team, and with it who is in it.
    fn can_read_team<'a>(&'a self, _organisation: &'a str, _team: &'a str) -> HostFuture<'a, bool> {
        answer(Ok(false))
    }

    /// Whether somebody is an active member of a team. A team that the token cannot see has no members.
    fn is_member<'a>(
        &'a self,
        _organisation: &'a str,
        _team: &'a str,
        _login: &'a str,
    ) -> HostFuture<'a, bool> {
        answer(Ok(false))
    }

    // ---- issues

    /// Opens an issue. After [`HostError::Down`] it may be there all the same: [`Self::issues`] shows it.
    fn open_issue<'a>(&'a self, repo: &'a RepoName, issue: &'a NewIssue) -> HostFuture<'a, Issue>;

    /// One issue.
    fn issue<'a>(&'a self, repo: &'a RepoName, number: u64) -> HostFuture<'a, Issue>;

    /// The issues with a label: all that are open, and at least those that were closed lately. No pull requests.
    fn issues<'a>(&'a self, repo: &'a RepoName, label: &'a str) -> HostFuture<'a, Vec<Issue>>;

    /// The open issues with a label; no pull requests.
    fn open_issues<'a>(&'a self, repo: &'a RepoName, label: &'a str) -> HostFuture<'a, Vec<Issue>> {
        Box::pin(async move {
            let mut issues = self.issues(repo, label).await?;
            issues.retain(|issue| issue.is_open);
            Ok(issues)
        })
    }

    /// Changes an issue.
    fn change_issue<'a>(
        &'a self,
        repo: &'a RepoName,
        number: u64,
        change: &'a IssueChange,
    ) -> HostFuture<'a, Issue>;

    /// Writes a comment below an issue that is no pull request: a host may ask for another permission there.
    fn comment_on_issue<'a>(
        &'a self,
        repo: &'a RepoName,
        number: u64,
        body: &'a str,
    ) -> HostFuture<'a, Comment> {
        self.add_comment(repo, number, body)
    }

    // ---- comments

    /// The longest comment that the host takes, in characters.
    fn longest_comment(&self) -> usize;

    /// One comment, as it is now.
    fn comment<'a>(&'a self, repo: &'a RepoName, id: u64) -> HostFuture<'a, Comment>;

    /// All comments of an issue or pull request, oldest first.
    fn comments<'a>(&'a self, repo: &'a RepoName, number: u64) -> HostFuture<'a, Vec<Comment>>;

    /// Writes a comment. After [`HostError::Down`] it may be there all the same.
    fn add_comment<'a>(&'a self, repo: &'a RepoName, number: u64, body: &'a str) -> HostFuture<'a, Comment>;

    /// Replaces the text of a comment.
    fn edit_comment<'a>(&'a self, repo: &'a RepoName, id: u64, body: &'a str) -> HostFuture<'a, Comment>;

    /// Hides a comment that is outdated; readers can open it. Nobody depends on it.
    fn hide_comment<'a>(&'a self, _comment: &'a Comment) -> HostFuture<'a, ()> {
        answer(Ok(()))
    }

    /// Reacts to a comment. The same reaction twice is one.
    fn react<'a>(&'a self, _repo: &'a RepoName, _comment: u64, _reaction: Reaction) -> HostFuture<'a, ()> {
        answer(Ok(()))
    }

    // ---- pull requests

    /// One pull request.
    fn pull<'a>(&'a self, repo: &'a RepoName, number: u64) -> HostFuture<'a, PullRequest>;

    /// The reviews of a pull request, oldest first.
    fn reviews<'a>(&'a self, repo: &'a RepoName, number: u64) -> HostFuture<'a, Vec<PullRequestReview>>;

    /// Opens a pull request. After [`HostError::Down`] it may be there all the same: [`Self::pulls_from`] shows it.
    fn open_pull<'a>(&'a self, repo: &'a RepoName, pull: &'a NewPullRequest) -> HostFuture<'a, PullRequest>;

    /// Changes a pull request.
    fn change_pull<'a>(
        &'a self,
        repo: &'a RepoName,
        number: u64,
        change: &'a PullRequestChange,
    ) -> HostFuture<'a, PullRequest>;

    /// All pull requests from a branch, `OWNER:BRANCH`, whatever became of them.
    fn pulls_from<'a>(&'a self, repo: &'a RepoName, origin: &'a str) -> HostFuture<'a, Vec<PullRequest>>;

    /// The open pull requests from a branch, `OWNER:BRANCH`.
    fn open_pulls_from<'a>(
        &'a self,
        repo: &'a RepoName,
        origin: &'a str,
    ) -> HostFuture<'a, Vec<PullRequest>> {
        Box::pin(async move {
            let mut pulls = self.pulls_from(repo, origin).await?;
            pulls.retain(|pull| pull.is_open);
            Ok(pulls)
        })
    }

    /// The pull requests that a commit belongs to: those that brought it, or that have it as their head.
    fn pulls_of<'a>(&'a self, repo: &'a RepoName, sha: &'a str) -> HostFuture<'a, Vec<PullRequest>>;

    /// Says that a draft is ready to be merged; of one that is ready already, it changes nothing.
    fn mark_ready<'a>(&'a self, pull: &'a PullRequest) -> HostFuture<'a, ()>;

    /// Makes a pull request a draft, which nobody can merge by mistake.
    fn convert_to_draft<'a>(&'a self, pull: &'a PullRequest) -> HostFuture<'a, ()>;

    /// Asks the host to merge a pull request as soon as its rules allow that, if its head is this commit.
    fn merge_when_allowed<'a>(&'a self, pull: &'a PullRequest, _method: MergeMethod) -> HostFuture<'a, ()> {
        let what = format!("enable auto-merge of pull request #{}", pull.number);
        answer(Err(HostError::NotOffered { what }))
    }

    /// Whether the base of a pull request asks for checks that nobody is going to start, because of who opened it.
    fn checks_cannot_start<'a>(
        &'a self,
        _repo: &'a RepoName,
        _pull: &'a PullRequest,
    ) -> HostFuture<'a, bool> {
        answer(Ok(false))
    }

    // ---- the repository

    /// The branch that a repository shows first.
    fn default_branch<'a>(&'a self, repo: &'a RepoName) -> HostFuture<'a, String>;

    /// The newest commit of a branch, and who may push to it.
    fn host_branch<'a>(&'a self, repo: &'a RepoName, branch: &'a str) -> HostFuture<'a, HostBranch>;

    /// The tips of a branch that forced pushes and deletions replaced lately.
    fn replaced_tips<'a>(&'a self, _repo: &'a RepoName, _branch: &'a str) -> HostFuture<'a, ReplacedTips> {
        let what = "read how a branch was pushed".to_owned();
        answer(Err(HostError::NotOffered { what }))
    }

    /// One commit, and who wrote it.
    fn host_commit<'a>(&'a self, repo: &'a RepoName, sha: &'a str) -> HostFuture<'a, HostCommit>;

    /// The commits of a pull request, and who wrote them. A host may list fewer than there are; the pull request says how many.
    fn pull_commits<'a>(&'a self, repo: &'a RepoName, number: u64) -> HostFuture<'a, Vec<HostCommit>>;
}

/// An answer that needs no request.
fn answer<'a, T: Send + 'a>(answer: Result<T, HostError>) -> HostFuture<'a, T> {
    Box::pin(std::future::ready(answer))
}

type Opened = Result<Arc<dyn GitHost>, HostError>;

/// The Git host, for everything in this process that may need it: one client for all, opened when it is first needed, so that they
/// share its connection. That all clients together keep within the host's limits is the host's own business.
#[derive(Clone)]
pub struct HostConnection {
    // Not opened when this is made: a client needs a running tokio runtime, and a pass without work on the host needs no client.
    open: Arc<dyn Fn() -> Opened + Send + Sync>,
    // An error is kept, too: a token that cannot be sent, or an address that is none, stays one for as long as the process runs.
    client: Arc<OnceLock<Opened>>,
}

impl HostConnection {
    /// A connection that is opened by `open`, once.
    pub(crate) fn new(open: impl Fn() -> Opened + Send + Sync + 'static) -> Self {
        Self { open: Arc::new(open), client: Arc::default() }
    }

    /// The client; within a tokio runtime.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub(crate) fn open(&self) -> Result<Arc<dyn GitHost>, HostError> {
        self.client.get_or_init(|| (self.open)()).clone()
    }
}

impl Debug for HostConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostConnection").field("client", &self.client.get()).finish_non_exhaustive()
    }
}
