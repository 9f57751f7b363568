//! The Git host as a command sees it: the client, in a runtime of its own, and failures in words.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::cli::ci::CiOptions;
use crate::cli::error::CliError;
use crate::cli::git_host;
use crate::config::Actions;
use crate::host::{Account, Comment, CommentUpdate, GitHost, HostError, RepoName, TokenIdentity};

/// How long a job has for reporting what a pass did, when the pass has taken all of its time.
const TELLING: Duration = Duration::from_secs(5 * 60);

/// How long the host is asked whose token this is: without an answer, it counts as that of a job.
const WHOSE: Duration = Duration::from_secs(5);

/// The host, and which repository this is about.
pub(crate) struct Host {
    runtime: Runtime,
    host: Arc<dyn GitHost>,
    pub(crate) repo: RepoName,
    /// Our own login, where the token says it.
    login: Option<String>,
}

impl Host {
    /// Opens the host that the environment names.
    pub(crate) fn open(actions: &Actions) -> Result<Self, CliError> {
        let repo = git_host::repository(actions)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| CliError::caused("cannot start the runtime", &error))?;
        // The client starts a worker when it is built, and needs a runtime around it for that.
        let entered = runtime.enter();
        let host = git_host::open(&actions.api, actions.token.as_deref())?;
        drop(entered);
        let login = match runtime.block_on(host.patient(WHOSE).myself()) {
            Ok(TokenIdentity::Login(login)) => Some(login),
            Ok(TokenIdentity::Program) | Err(_) => None,
        };
        Ok(Self { runtime, host, repo, login })
    }

    /// The same host, which is waited for no longer than the job lasts.
    pub(crate) fn within(mut self, choices: &CiOptions) -> Self {
        if let Some(most) = &choices.bounds.max_duration {
            // Waiting for a limit of the host has to end before the job does, or nothing is reported at all.
            self.host = self.host.within(most.span() + TELLING);
        }
        self
    }

    /// Asks the host something, and waits for the answer.
    pub(crate) fn ask<'a, T, F>(
        &'a self,
        question: impl FnOnce(&'a dyn GitHost, &'a RepoName) -> F,
    ) -> Result<T, HostError>
    where
        F: Future<Output = Result<T, HostError>>,
    {
        self.runtime.block_on(question(self.host.as_ref(), &self.repo))
    }

    /// Keeps our one comment with this marker up to date; when it is new, it takes the place of the outdated one.
    pub(crate) fn keep_comment(
        &self,
        number: u64,
        (marker, outdated): (&str, Option<&str>),
        body: &str,
    ) -> Result<CommentUpdate, HostError> {
        let mine = |comment: &Comment| self.is_mine(comment);
        self.runtime.block_on(self.host.keep_comment(&self.repo, number, (marker, outdated), body, mine))
    }

    /// The same where there is such a comment; none is written where there is not.
    pub(crate) fn refresh_comment(
        &self,
        number: u64,
        marker: &str,
        body: &str,
    ) -> Result<Option<CommentUpdate>, HostError> {
        let mine = |comment: &Comment| self.is_mine(comment);
        self.runtime.block_on(self.host.refresh_comment(&self.repo, number, marker, body, mine))
    }

    /// Anybody may write our marker; only a comment of our own account is ours.
    pub(crate) fn is_mine(&self, comment: &Comment) -> bool {
        comment.user.as_ref().is_some_and(|user| self.is_own(user))
    }

    /// Whether this is our own account, as far as that can be known.
    pub(crate) fn is_own(&self, user: &Account) -> bool {
        match &self.login {
            Some(login) => user.login.eq_ignore_ascii_case(login),
            // The token of a job is a program's, and cannot say whose.
            None => user.is_bot,
        }
    }
}

impl From<HostError> for CliError {
    fn from(error: HostError) -> Self {
        let reported = Self::environment(error.to_string());
        match error {
            HostError::Permission { needs, .. } => {
                reported.hint(format!("give the job `permissions: {{ {needs} }}` in its workflow file"))
            }
            _ => reported,
        }
    }
}
