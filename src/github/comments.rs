//! Comments on issues and pull requests, and reactions to them.

use serde::Deserialize;
use serde_json::json;

use super::GitHub;
use super::client::{ApiRequest, Method};
use super::wire::{read_as, repo_path};
use crate::host::{Account, Comment, HostError, Reaction, RepoName};

/// The longest comment that the host takes, in characters.
pub(super) const LONGEST: usize = 65_536;

const NEEDS: &str = "pull-requests: write";

/// Only the host's other API hides comments.
const MINIMIZE: &str =
    "mutation($input: MinimizeCommentInput!) { minimizeComment(input: $input) { clientMutationId } }";

#[derive(Deserialize)]
struct CommentAnswer {
    id: u64,
    #[serde(default)]
    node_id: String,
    user: Option<Account>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    created_at: String,
    #[serde(default)]
    updated_at: String,
    #[serde(default)]
    html_url: String,
    /// The address of its issue or pull request in the API.
    #[serde(default)]
    issue_url: String,
}

impl From<CommentAnswer> for Comment {
    fn from(answer: CommentAnswer) -> Self {
        let CommentAnswer { id, node_id, user, body, created_at, updated_at, html_url, issue_url } = answer;
        let issue = issue_url.rsplit('/').next().and_then(|number| number.parse().ok());
        Self { id, handle: node_id, user, body, created_at, updated_at, url: html_url, issue }
    }
}

read_as!(Comment, CommentAnswer);

fn word(reaction: Reaction) -> &'static str {
    match reaction {
        Reaction::Yes => "+1",
        Reaction::No => "-1",
        Reaction::Confused => "confused",
        Reaction::Seen => "eyes",
    }
}

impl GitHub {
    /// One comment, as it is now.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn comment(&self, repo: &RepoName, id: u64) -> Result<Comment, HostError> {
        let path = repo_path(repo, &format!("issues/comments/{id}"));
        // The event about a comment may arrive before every machine of the host knows the comment.
        self.ask(ApiRequest::get(path, "read a comment", "issues: read").fresh(true)).await
    }

    /// All comments of an issue or pull request, oldest first.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn comments(&self, repo: &RepoName, number: u64) -> Result<Vec<Comment>, HostError> {
        let path = repo_path(repo, &format!("issues/{number}/comments"));
        self.all(&path, &format!("read the comments of #{number}"), "issues: read").await
    }

    /// Writes a comment.
    ///
    /// # Errors
    /// [`HostError`]; after [`HostError::Down`] it may be there all the same.
    pub(crate) async fn add_comment(
        &self,
        repo: &RepoName,
        number: u64,
        body: &str,
    ) -> Result<Comment, HostError> {
        let path = repo_path(repo, &format!("issues/{number}/comments"));
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
    ) -> Result<Comment, HostError> {
        let path = repo_path(repo, &format!("issues/{number}/comments"));
        let what = format!("comment on #{number}");
        // The host asks for another permission here than below a pull request, and the error has to name the right one.
        self.ask(ApiRequest::create(path, json!({ "body": cut(body) }), &what, "issues: write")).await
    }

    /// Replaces the text of a comment.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn edit_comment(
        &self,
        repo: &RepoName,
        id: u64,
        body: &str,
    ) -> Result<Comment, HostError> {
        let path = repo_path(repo, &format!("issues/comments/{id}"));
        let body = json!({ "body": cut(body) });
        self.ask(ApiRequest::change(Method::Patch, path, body, "change a comment", NEEDS).fresh(true)).await
    }

    /// Hides a comment that is outdated.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn hide_comment(&self, comment: &Comment) -> Result<(), HostError> {
        let input = json!({ "subjectId": comment.handle, "classifier": "OUTDATED" });
        self.mutate(MINIMIZE, &input, format!("hide the comment {}", comment.id)).await
    }

    /// Reacts to a comment. The same reaction twice is one.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn react(
        &self,
        repo: &RepoName,
        comment: u64,
        reaction: Reaction,
    ) -> Result<(), HostError> {
        let path = repo_path(repo, &format!("issues/comments/{comment}/reactions"));
        let body = json!({ "content": word(reaction) });
        // A POST, but one that changes: the host takes the same reaction twice for one, so it may be tried again.
        self.tell(ApiRequest::change(Method::Post, path, body, "react to a comment", NEEDS)).await
    }
}

/// A text as long as the host takes it.
fn cut(body: &str) -> String {
    if body.chars().count() <= LONGEST { body.to_owned() } else { body.chars().take(LONGEST).collect() }
}
