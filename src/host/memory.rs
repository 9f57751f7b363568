//! A second host, for tests: it lives in memory, and is not GitHub. What it does not need has the trait's own answer.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::{
    Account, Comment, GitHost, HostBranch, HostCommit, HostError, HostFuture, Issue, IssueChange, NewIssue,
    NewPullRequest, PullRequest, PullRequestChange, PullRequestReview, PullRequestSide, RepoName,
    RepoPermission, TokenIdentity,
};

/// The host. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryHost(Arc<Mutex<HostContents>>);

/// What it has.
#[derive(Debug, Default)]
pub(crate) struct HostContents {
    pub(crate) issues: Vec<Issue>,
    pub(crate) pulls: Vec<PullRequest>,
    pub(crate) reviews: Vec<PullRequestReview>,
    pub(crate) comments: Vec<(u64, Comment)>,
}

/// An account here.
pub(crate) fn account(login: &str) -> Account {
    Account { login: login.to_owned(), id: 0, is_bot: login == "planspec" }
}

impl MemoryHost {
    /// What it has, to look at and to change as people would.
    pub(crate) fn contents(&self) -> MutexGuard<'_, HostContents> {
        self.0.lock().unwrap()
    }

    fn does<'a, T: Send + 'a>(&self, act: impl FnOnce(&mut HostContents) -> Option<T>) -> HostFuture<'a, T> {
        let what = "find it".to_owned();
        let done = act(&mut self.contents()).ok_or(HostError::NotFound { what, needs: "none" });
        Box::pin(std::future::ready(done))
    }
}

impl GitHost for MemoryHost {
    fn patient(&self, _: Duration) -> Arc<dyn GitHost> {
        Arc::new(self.clone())
    }
    fn within(&self, _: Duration) -> Arc<dyn GitHost> {
        Arc::new(self.clone())
    }
    fn settled(&self) -> Arc<dyn GitHost> {
        Arc::new(self.clone())
    }
    fn longest_comment(&self) -> usize {
        1000
    }
    fn myself(&self) -> HostFuture<'_, TokenIdentity> {
        self.does(|_| Some(TokenIdentity::Login("planspec".to_owned())))
    }
    fn permission<'a>(&'a self, _: &'a RepoName, login: &'a str) -> HostFuture<'a, RepoPermission> {
        self.does(|_| Some(if login == "eve" { RepoPermission::Read } else { RepoPermission::Write }))
    }
    fn open_issue<'a>(&'a self, _: &'a RepoName, issue: &'a NewIssue) -> HostFuture<'a, Issue> {
        self.does(|has| {
            let number = 1 + has.issues.len() as u64;
            has.issues.push(Issue {
                number,
                is_open: true,
                closed_as: None,
                title: issue.title.clone(),
                body: Some(issue.body.clone()),
                user: Some(account("planspec")),
                assignees: issue.assignees.iter().map(|login| account(login)).collect(),
                closed_by: None,
                closed_at: None,
                url: format!("memory://issues/{number}"),
                is_pull: false,
            });
            has.issues.last().cloned()
        })
    }
    fn issue<'a>(&'a self, _: &'a RepoName, number: u64) -> HostFuture<'a, Issue> {
        self.does(|has| has.issues.iter().find(|issue| issue.number == number).cloned())
    }
    fn issues<'a>(&'a self, _: &'a RepoName, _: &'a str) -> HostFuture<'a, Vec<Issue>> {
        self.does(|has| Some(has.issues.clone()))
    }
    fn change_issue<'a>(
        &'a self,
        _: &'a RepoName,
        number: u64,
        change: &'a IssueChange,
    ) -> HostFuture<'a, Issue> {
        self.does(|has| {
            let issue = has.issues.iter_mut().find(|issue| issue.number == number)?;
            issue.body = change.body.clone().or(issue.body.take());
            issue.is_open = change.open.unwrap_or(issue.is_open);
            issue.closed_as = change.closed_as.or(issue.closed_as);
            Some(issue.clone())
        })
    }
    fn comment<'a>(&'a self, _: &'a RepoName, id: u64) -> HostFuture<'a, Comment> {
        self.does(|has| {
            has.comments.iter().map(|(_, comment)| comment).find(|comment| comment.id == id).cloned()
        })
    }
    fn comments<'a>(&'a self, _: &'a RepoName, number: u64) -> HostFuture<'a, Vec<Comment>> {
        self.does(|has| {
            Some(has.comments.iter().filter(|(on, _)| *on == number).map(|(_, it)| it.clone()).collect())
        })
    }
    fn add_comment<'a>(&'a self, _: &'a RepoName, number: u64, body: &'a str) -> HostFuture<'a, Comment> {
        self.does(|has| {
            let comment = Comment {
                id: 1 + has.comments.len() as u64,
                handle: String::new(),
                user: Some(account("planspec")),
                body: Some(body.to_owned()),
                created_at: String::new(),
                updated_at: String::new(),
                url: String::new(),
                issue: Some(number),
            };
            has.comments.push((number, comment.clone()));
            Some(comment)
        })
    }
    fn edit_comment<'a>(&'a self, _: &'a RepoName, id: u64, body: &'a str) -> HostFuture<'a, Comment> {
        self.does(|has| {
            let (_, comment) = has.comments.iter_mut().find(|(_, comment)| comment.id == id)?;
            comment.body = Some(body.to_owned());
            Some(comment.clone())
        })
    }
    fn pull<'a>(&'a self, _: &'a RepoName, number: u64) -> HostFuture<'a, PullRequest> {
        self.does(|has| has.pulls.iter().find(|pull| pull.number == number).cloned())
    }
    fn reviews<'a>(&'a self, _: &'a RepoName, _: u64) -> HostFuture<'a, Vec<PullRequestReview>> {
        self.does(|has| Some(has.reviews.clone()))
    }
    fn open_pull<'a>(&'a self, repo: &'a RepoName, pull: &'a NewPullRequest) -> HostFuture<'a, PullRequest> {
        let side = |branch: &str, sha: &str| PullRequestSide {
            branch: branch.to_owned(),
            sha: sha.to_owned(),
            repo: Some(repo.to_string()),
        };
        self.does(|has| {
            let number = 1 + has.pulls.len() as u64;
            has.pulls.push(PullRequest {
                number,
                handle: String::new(),
                is_open: true,
                draft: pull.draft,
                merged_at: None,
                user: Some(account("planspec")),
                merged_by: None,
                commits: Some(1),
                head: side(&pull.head, "c0ffee"),
                base: side(&pull.base, "ba5e"),
                merge_commit: None,
                url: format!("memory://pulls/{number}"),
                title: pull.title.clone(),
                body: Some(pull.body.clone()),
                auto_merge: false,
                obstacle: None,
            });
            has.pulls.last().cloned()
        })
    }
    fn change_pull<'a>(
        &'a self,
        _: &'a RepoName,
        number: u64,
        change: &'a PullRequestChange,
    ) -> HostFuture<'a, PullRequest> {
        self.does(|has| {
            let pull = has.pulls.iter_mut().find(|pull| pull.number == number)?;
            pull.body = change.body.clone().or(pull.body.take());
            pull.is_open = change.open.unwrap_or(pull.is_open);
            Some(pull.clone())
        })
    }
    fn pulls_from<'a>(&'a self, repo: &'a RepoName, origin: &'a str) -> HostFuture<'a, Vec<PullRequest>> {
        let from = |pull: &&PullRequest| format!("{}:{}", repo.owner(), pull.head.branch) == origin;
        self.does(|has| Some(has.pulls.iter().filter(from).cloned().collect()))
    }
    fn pulls_of<'a>(&'a self, _: &'a RepoName, _: &'a str) -> HostFuture<'a, Vec<PullRequest>> {
        self.does(|_| None)
    }
    fn mark_ready<'a>(&'a self, pull: &'a PullRequest) -> HostFuture<'a, ()> {
        self.does(|has| {
            has.pulls.iter_mut().find(|one| one.number == pull.number)?.draft = false;
            Some(())
        })
    }
    fn convert_to_draft<'a>(&'a self, pull: &'a PullRequest) -> HostFuture<'a, ()> {
        self.does(|has| {
            has.pulls.iter_mut().find(|one| one.number == pull.number)?.draft = true;
            Some(())
        })
    }
    fn default_branch<'a>(&'a self, _: &'a RepoName) -> HostFuture<'a, String> {
        self.does(|_| Some("trunk".to_owned()))
    }
    fn host_branch<'a>(&'a self, _: &'a RepoName, _: &'a str) -> HostFuture<'a, HostBranch> {
        self.does(|_| None)
    }
    fn host_commit<'a>(&'a self, _: &'a RepoName, _: &'a str) -> HostFuture<'a, HostCommit> {
        self.does(|_| None)
    }
    fn pull_commits<'a>(&'a self, _: &'a RepoName, _: u64) -> HostFuture<'a, Vec<HostCommit>> {
        self.does(|_| None)
    }
}
