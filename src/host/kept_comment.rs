//! How one comment is kept up to date, on any host.

use std::time::Duration;

use super::{Comment, CommentUpdate, GitHost, HostError, RepoName};

/// What follows this mark in a comment says where it comes from. A text that differs only there is the same: every job has
/// another address, and an edit for that alone would count for the host's limits.
pub(crate) const FOOT: &str = "<!-- planspec:foot -->";

// On the trait object, and not in the trait: a host implements what it is asked, and this is what is asked of every one.
impl dyn GitHost {
    /// Keeps one comment up to date: the one that begins with `marker` and that `mine` takes for ours. Where there is
    /// none, it is written; where it says the same already, nothing is asked of the host. A comment of ours that begins with
    /// `outdated` is hidden when the new one is written; readers can open it.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn keep_comment(
        &self,
        repo: &RepoName,
        number: u64,
        (marker, outdated): (&str, Option<&str>),
        body: &str,
        mine: impl Fn(&Comment) -> bool,
    ) -> Result<CommentUpdate, HostError> {
        let body = cut(body, self.longest_comment());
        let comments = self.comments(repo, number).await?;
        if let Some(old) = find(&comments, marker, &mine) {
            return self.refresh(repo, old, &body).await;
        }
        let written = match self.add_comment(repo, number, &body).await {
            // It may have been written all the same: searched for before it is tried once more.
            Err(HostError::Down { .. }) => {
                tokio::time::sleep(Duration::from_secs(1)).await;
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
            && let Err(error) = self.hide_comment(old).await
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
    /// [`HostError`].
    pub(crate) async fn refresh_comment(
        &self,
        repo: &RepoName,
        number: u64,
        marker: &str,
        body: &str,
        mine: impl Fn(&Comment) -> bool,
    ) -> Result<Option<CommentUpdate>, HostError> {
        let comments = self.comments(repo, number).await?;
        match find(&comments, marker, &mine) {
            Some(old) => self.refresh(repo, old, &cut(body, self.longest_comment())).await.map(Some),
            None => Ok(None),
        }
    }

    async fn refresh(&self, repo: &RepoName, old: &Comment, body: &str) -> Result<CommentUpdate, HostError> {
        // A host gives line ends back as it likes.
        let same = |text: &str| without_foot(&text.replace("\r\n", "\n")) == without_foot(body);
        // An edit without a change would count for the host's limits all the same.
        if old.body.as_deref().is_some_and(same) {
            return Ok(CommentUpdate::Unchanged(old.id));
        }
        self.edit_comment(repo, old.id, body).await?;
        Ok(CommentUpdate::Updated(old.id))
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

/// A text as long as the host takes it, in characters.
fn cut(body: &str, most: usize) -> String {
    body.chars().take(most).collect()
}
