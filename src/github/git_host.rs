//! GitHub as one of the hosts: each request that planspec makes of a host, by the method of this folder that has the same name.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use super::GitHub;
use super::comments::LONGEST;
use crate::host::{
    Comment, GitHost, HostBranch, HostCommit, HostFuture, Issue, IssueChange, MergeMethod, NewIssue,
    NewPullRequest, PullRequest, PullRequestChange, PullRequestReview, Reaction, ReplacedTips, RepoName,
    RepoPermission, TokenIdentity,
};

impl GitHub {
    /// The host as GitHub, for what GitHub alone has; none where it is another.
    pub(crate) fn of(host: &dyn GitHost) -> Option<&Self> {
        (host as &dyn Any).downcast_ref()
    }
}

impl GitHost for GitHub {
    fn patient(&self, patience: Duration) -> Arc<dyn GitHost> {
        Arc::new(self.clone().patient(patience))
    }

    fn within(&self, time: Duration) -> Arc<dyn GitHost> {
        Arc::new(self.clone().within(time))
    }

    fn settled(&self) -> Arc<dyn GitHost> {
        Arc::new(self.clone().settled())
    }

    fn longest_comment(&self) -> usize {
        LONGEST
    }

    fn myself(&self) -> HostFuture<'_, TokenIdentity> {
        Box::pin(GitHub::myself(self))
    }

    fn permission<'a>(&'a self, repo: &'a RepoName, login: &'a str) -> HostFuture<'a, RepoPermission> {
        Box::pin(GitHub::permission(self, repo, login))
    }

    fn can_read_team<'a>(&'a self, organisation: &'a str, team: &'a str) -> HostFuture<'a, bool> {
        Box::pin(GitHub::can_read_team(self, organisation, team))
    }

    fn is_member<'a>(&'a self, organisation: &'a str, team: &'a str, login: &'a str) -> HostFuture<'a, bool> {
        Box::pin(GitHub::is_member(self, organisation, team, login))
    }

    fn open_issue<'a>(&'a self, repo: &'a RepoName, issue: &'a NewIssue) -> HostFuture<'a, Issue> {
        Box::pin(GitHub::open_issue(self, repo, issue))
    }

    fn issue<'a>(&'a self, repo: &'a RepoName, number: u64) -> HostFuture<'a, Issue> {
        Box::pin(GitHub::issue(self, repo, number))
    }

    fn issues<'a>(&'a self, repo: &'a RepoName, label: &'a str) -> HostFuture<'a, Vec<Issue>> {
        Box::pin(GitHub::issues(self, repo, label))
    }

    fn open_issues<'a>(&'a self, repo: &'a RepoName, label: &'a str) -> HostFuture<'a, Vec<Issue>> {
        Box::pin(GitHub::open_issues(self, repo, label))
    }

    fn change_issue<'a>(
        &'a self,
        repo: &'a RepoName,
        number: u64,
        change: &'a IssueChange,
    ) -> HostFuture<'a, Issue> {
        Box::pin(GitHub::change_issue(self, repo, number, change))
    }

    fn comment_on_issue<'a>(
        &'a self,
        repo: &'a RepoName,
        number: u64,
        body: &'a str,
    ) -> HostFuture<'a, Comment> {
        Box::pin(GitHub::comment_on_issue(self, repo, number, body))
    }

    fn comment<'a>(&'a self, repo: &'a RepoName, id: u64) -> HostFuture<'a, Comment> {
        Box::pin(GitHub::comment(self, repo, id))
    }

    fn comments<'a>(&'a self, repo: &'a RepoName, number: u64) -> HostFuture<'a, Vec<Comment>> {
        Box::pin(GitHub::comments(self, repo, number))
    }

    fn add_comment<'a>(&'a self, repo: &'a RepoName, number: u64, body: &'a str) -> HostFuture<'a, Comment> {
        Box::pin(GitHub::add_comment(self, repo, number, body))
    }

    fn edit_comment<'a>(&'a self, repo: &'a RepoName, id: u64, body: &'a str) -> HostFuture<'a, Comment> {
        Box::pin(GitHub::edit_comment(self, repo, id, body))
    }

    fn hide_comment<'a>(&'a self, comment: &'a Comment) -> HostFuture<'a, ()> {
        Box::pin(GitHub::hide_comment(self, comment))
    }

    fn react<'a>(&'a self, repo: &'a RepoName, comment: u64, reaction: Reaction) -> HostFuture<'a, ()> {
        Box::pin(GitHub::react(self, repo, comment, reaction))
    }

    fn pull<'a>(&'a self, repo: &'a RepoName, number: u64) -> HostFuture<'a, PullRequest> {
        Box::pin(GitHub::pull(self, repo, number))
    }

    fn reviews<'a>(&'a self, repo: &'a RepoName, number: u64) -> HostFuture<'a, Vec<PullRequestReview>> {
        Box::pin(GitHub::reviews(self, repo, number))
    }

    fn open_pull<'a>(&'a self, repo: &'a RepoName, pull: &'a NewPullRequest) -> HostFuture<'a, PullRequest> {
        Box::pin(GitHub::open_pull(self, repo, pull))
    }

    fn change_pull<'a>(
        &'a self,
        repo: &'a RepoName,
        number: u64,
        change: &'a PullRequestChange,
    ) -> HostFuture<'a, PullRequest> {
        Box::pin(GitHub::change_pull(self, repo, number, change))
    }

    fn pulls_from<'a>(&'a self, repo: &'a RepoName, origin: &'a str) -> HostFuture<'a, Vec<PullRequest>> {
        Box::pin(GitHub::pulls_from(self, repo, origin))
    }

    fn open_pulls_from<'a>(
        &'a self,
        repo: &'a RepoName,
        origin: &'a str,
    ) -> HostFuture<'a, Vec<PullRequest>> {
        Box::pin(GitHub::open_pulls_from(self, repo, origin))
    }

    fn pulls_of<'a>(&'a self, repo: &'a RepoName, sha: &'a str) -> HostFuture<'a, Vec<PullRequest>> {
        Box::pin(GitHub::pulls_of(self, repo, sha))
    }

    fn mark_ready<'a>(&'a self, pull: &'a PullRequest) -> HostFuture<'a, ()> {
        Box::pin(GitHub::mark_ready(self, pull))
    }

    fn convert_to_draft<'a>(&'a self, pull: &'a PullRequest) -> HostFuture<'a, ()> {
        Box::pin(GitHub::convert_to_draft(self, pull))
    }

    fn merge_when_allowed<'a>(&'a self, pull: &'a PullRequest, method: MergeMethod) -> HostFuture<'a, ()> {
        Box::pin(GitHub::merge_when_allowed(self, pull, method))
    }

    fn checks_cannot_start<'a>(&'a self, repo: &'a RepoName, pull: &'a PullRequest) -> HostFuture<'a, bool> {
        Box::pin(async move { Ok(GitHub::checks_cannot_start(self, repo, pull).await) })
    }

    fn default_branch<'a>(&'a self, repo: &'a RepoName) -> HostFuture<'a, String> {
        Box::pin(GitHub::default_branch(self, repo))
    }

    fn host_branch<'a>(&'a self, repo: &'a RepoName, branch: &'a str) -> HostFuture<'a, HostBranch> {
        Box::pin(GitHub::host_branch(self, repo, branch))
    }

    fn replaced_tips<'a>(&'a self, repo: &'a RepoName, branch: &'a str) -> HostFuture<'a, ReplacedTips> {
        Box::pin(GitHub::replaced_tips(self, repo, branch))
    }

    fn host_commit<'a>(&'a self, repo: &'a RepoName, sha: &'a str) -> HostFuture<'a, HostCommit> {
        Box::pin(GitHub::host_commit(self, repo, sha))
    }

    fn pull_commits<'a>(&'a self, repo: &'a RepoName, number: u64) -> HostFuture<'a, Vec<HostCommit>> {
        Box::pin(GitHub::pull_commits(self, repo, number))
    }
}
