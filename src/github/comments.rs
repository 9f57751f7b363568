//! Comments on issues and pull requests, and reactions to them.

use serde::Deserialize;
use serde_json::json;

use super::client::{ApiRequest, Method};
use super::people::Account;
use super::{GitHub, GitHubError, RepoName};

/// The longest comment that the host takes, in characters.
const LONGEST: usize = 65_536;

const NEEDS: &str = "pull-requests: write";

/// What follows this mark in a comment says where it comes from. A text that differs only there is the same: every job has
/// another address, and an edit for that alone would count for the host's limits.
pub(crate) const FOOT: &str = "<!-- planspec:foot -->";

/// Only the host's other API hides comments.
const MINIMIZE: &str =
    "mutation($input: MinimizeCommentInput!) { minimizeComment(input: $input) { clientMutationId } }";

/// A comment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Comment {
    /// Its number, unique on the host.
    pub id: u64,
    /// Its name in the host's other API.
    #[serde(default)]
    pub node_id: String,
    /// Who wrote it; nobody when the account is gone.
    pub user: Option<Account>,
    /// The text.
    #[serde(default)]
    pub body: Option<String>,
    /// When it was written.
    #[serde(default)]
    pub created_at: String,
    /// When it was changed last.
    #[serde(default)]
    pub updated_at: String,
    /// Where to read it.
    #[serde(default)]
    pub html_url: String,
    /// The address of its issue or pull request in the API.
    #[serde(default)]
    pub issue_url: String,
}

impl Comment {
    /// Whether it was changed after it was written.
    #[must_use]
    pub(crate) fn is_edited(&self) -> bool {
        // Anybody who may write can change what others wrote, so an edited comment decides nothing.
        self.created_at != self.updated_at
    }

    /// The number of the issue or pull request that it stands below.
    #[must_use]
    pub(crate) fn issue_number(&self) -> Option<u64> {
        // From the host's own answer: the event that names a comment may name another issue.
        self.issue_url.rsplit('/').next()?.parse().ok()
    }
}

/// A reaction to a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// Thumbs up.
    Yes,
    /// Thumbs down.
    No,
    /// A confused face.
    Confused,
    /// Eyes.
    Seen,
}

impl Reaction {
    fn word(self) -> &'static str {
        match self {
            Self::Yes => "+1",
            Self::No => "-1",
            Self::Confused => "confused",
            Self::Seen => "eyes",
        }
    }
}

/// What became of a comment that is kept up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommentUpdate {
    /// It is new.
    Created(u64),
    /// Its text was replaced.
    Updated(u64),
    /// It said the same already; the host was not asked to change anything.
    Unchanged(u64),
}

impl CommentUpdate {
    /// The number of the comment.
    #[must_use]
    pub(crate) fn id(self) -> u64 {
        match self {
            Self::Created(id) | Self::Updated(id) | Self::Unchanged(id) => id,
        }
    }
}

impl GitHub {
    /// One comment, as it is now.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn comment(&self, repo: &RepoName, id: u64) -> Result<Comment, GitHubError> {
        let path = repo.path(&format!("issues/comments/{id}"));
        // The event about a comment may arrive before every machine of the host knows the comment.
        self.ask(ApiRequest::get(path, "read a comment", "issues: read").fresh(true)).await
    }

    /// All comments of an issue or pull request, oldest first.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn comments(&self, repo: &RepoName, number: u64) -> Result<Vec<Comment>, GitHubError> {
        let path = repo.path(&format!("issues/{number}/comments"));
        self.all(&path, &format!("read the comments of #{number}"), "issues: read").await
    }

    /// Writes a comment.
    ///
    /// # Errors
    /// [`GitHubError`]; after [`GitHubError::Down`] it may be there all the same.
    pub(crate) async fn add_comment(
        &self,
        repo: &RepoName,
        number: u64,
        body: &str,
    ) -> Result<Comment, GitHubError> {
        let path = repo.path(&format!("issues/{number}/comments"));
        let what = format!("comment on #{number}");
        self.ask(ApiRequest::create(path, json!({ "body": cut(body) }), &what, NEEDS)).await
    }

    /// Writes a comment below an issue that is no pull request.
    ///
    /// # Errors
    /// As [`Self::add_comment`].
    pub(crate) async fn comment_on_issue(
        &self,
        repo: &RepoName,
        number: u64,
        body: &str,
    ) -> Result<Comment, GitHubError> {
        let path = repo.path(&format!("issues/{number}/comments"));
        let what = format!("comment on #{number}");
        // The host asks for another permission here than below a pull request, and the error has to name the right one.
        self.ask(ApiRequest::create(path, json!({ "body": cut(body) }), &what, "issues: write")).await
    }

    /// Replaces the text of a comment.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn edit_comment(
        &self,
        repo: &RepoName,
        id: u64,
        body: &str,
    ) -> Result<Comment, GitHubError> {
        let path = repo.path(&format!("issues/comments/{id}"));
        let body = json!({ "body": cut(body) });
        self.ask(ApiRequest::change(Method::Patch, path, body, "change a comment", NEEDS).fresh(true)).await
    }

    /// Keeps one comment up to date: the one that begins with `marker` and that `mine` takes for ours. Where there is
    /// none, it is written; where it says the same already, nothing is asked of the host. A comment of ours that begins with
    /// `outdated` is hidden when the new one is written; readers can open it.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn keep_comment(
        &self,
        repo: &RepoName,
        number: u64,
        (marker, outdated): (&str, Option<&str>),
        body: &str,
        mine: impl Fn(&Comment) -> bool,
    ) -> Result<CommentUpdate, GitHubError> {
        let body = cut(body);
        let comments = self.comments(repo, number).await?;
        if let Some(old) = find(&comments, marker, &mine) {
            return self.refresh(repo, old, &body).await;
        }
        let written = match self.add_comment(repo, number, &body).await {
            // It may have been written all the same: searched for before it is tried once more.
            Err(GitHubError::Down { .. }) => {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                let there = self.comments(repo, number).await?;
                match find(&there, marker, &mine) {
                    Some(comment) => comment.id,
                    None => self.add_comment(repo, number, &body).await?.id,
                }
            }
            answer => answer?.id,
        };
        // Among the comments that were listed for this one: another list would be another request in every pass.
        if let Some(old) = outdated.and_then(|outdated| find(&comments, outdated, &mine))
            && let Err(error) = self.minimize(old).await
        {
            // The old one says which commits it is about; nobody needs it hidden.
            tracing::debug!(%error, number, "an outdated comment was not hidden");
        }
        Ok(CommentUpdate::Created(written))
    }

    /// Brings the comment up to date that begins with `marker` and that `mine` takes for ours; none where there is no such
    /// comment.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn refresh_comment(
        &self,
        repo: &RepoName,
        number: u64,
        marker: &str,
        body: &str,
        mine: impl Fn(&Comment) -> bool,
    ) -> Result<Option<CommentUpdate>, GitHubError> {
        let comments = self.comments(repo, number).await?;
        match find(&comments, marker, &mine) {
            Some(old) => self.refresh(repo, old, &cut(body)).await.map(Some),
            None => Ok(None),
        }
    }

    async fn refresh(
        &self,
        repo: &RepoName,
        old: &Comment,
        body: &str,
    ) -> Result<CommentUpdate, GitHubError> {
        // The host gives line ends back as it likes.
        let same = |text: &str| without_foot(&text.replace("\r\n", "\n")) == without_foot(body);
        // An edit without a change would count for the host's limits all the same.
        if old.body.as_deref().is_some_and(same) {
            return Ok(CommentUpdate::Unchanged(old.id));
        }
        self.edit_comment(repo, old.id, body).await?;
        Ok(CommentUpdate::Updated(old.id))
    }

    async fn minimize(&self, comment: &Comment) -> Result<(), GitHubError> {
        let input = json!({ "subjectId": comment.node_id, "classifier": "OUTDATED" });
        self.mutate(MINIMIZE, &input, format!("hide the comment {}", comment.id)).await
    }

    /// Reacts to a comment. The same reaction twice is one.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn react(
        &self,
        repo: &RepoName,
        comment: u64,
        reaction: Reaction,
    ) -> Result<(), GitHubError> {
        let path = repo.path(&format!("issues/comments/{comment}/reactions"));
        let body = json!({ "content": reaction.word() });
        // A POST, but one that changes: the host takes the same reaction twice for one, so it may be tried again.
        self.tell(ApiRequest::change(Method::Post, path, body, "react to a comment", NEEDS)).await
    }
}

/// Our comment with this marker. A marker alone proves nothing, for anybody can copy it: `mine` judges the author.
fn find<'c>(comments: &'c [Comment], marker: &str, mine: &impl Fn(&Comment) -> bool) -> Option<&'c Comment> {
    let begins =
        |comment: &Comment| comment.body.as_deref().is_some_and(|text| text.trim_start().starts_with(marker));
    comments.iter().find(|comment| begins(comment) && mine(comment))
}

/// What a comment says, without where it comes from.
fn without_foot(text: &str) -> &str {
    text.split_once(FOOT).map_or(text, |(body, _)| body).trim_end()
}

/// A text as long as the host takes it.
fn cut(body: &str) -> String {
    if body.chars().count() <= LONGEST { body.to_owned() } else { body.chars().take(LONGEST).collect() }
}
