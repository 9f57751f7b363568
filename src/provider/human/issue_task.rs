//! One task as an issue: opened once, polled, closed when it is cancelled.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::assignee::Assignee;
use super::issue_page::{IssueMarker, body, form, title};
use super::responders::AllowedResponders;
use super::{IssueContext, answer};
use crate::host::{
    Account, Comment, GitHost, HostError, Issue, IssueChange, IssueEnd, NewIssue, TokenIdentity,
};
use crate::markup::{code, cut, sentence};
use crate::model::{JsonMap, NextStep, NodeReason};
use crate::provider::output::{OutputForm, check_outputs, plain_line};
use crate::provider::{Attempt, AttemptOutcome};

/// The label of every issue of planspec.
const LABEL: &str = "planspec";

/// How long an issue may take to appear in the host's list.
const APPEARS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// When to poll again. What was just recorded is polled at once by whoever comes next, so that a job that starts when
/// the issue is closed finds it due.
const AGAIN: Duration = Duration::from_secs(120);

/// How much of somebody's words is kept as the reason of a failure, in characters.
const WORDS: usize = 500;

const REMINDER: &str = "<!-- planspec:reminder -->";
const OFF: &str = "<!-- planspec:called-off -->";

/// What is recorded of an issue. The message of the node is made of it alone, so that runners that learn nothing new say
/// the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct IssueHandle {
    pub(super) issue: u64,
    url: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    reminded: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl IssueHandle {
    fn of(issue: &Issue) -> Self {
        let url = plain_line(issue.url.as_bytes());
        Self { issue: issue.number, url, reminded: false, note: None }
    }

    /// What an attempt was given before.
    pub(super) fn read(attempt: &Attempt) -> Option<Self> {
        serde_json::from_str(attempt.handle.as_deref()?).ok()
    }
}

/// One attempt, and what it needs.
pub(super) struct IssueTask {
    pub(super) attempt: Attempt,
    pub(super) office: Arc<IssueContext>,
    pub(super) person: Assignee,
    pub(super) host: Arc<dyn GitHost>,
}

impl IssueTask {
    /// Opens the issue, unless an earlier start did.
    pub(super) async fn start(&self) -> AttemptOutcome {
        match self.opened().await {
            Ok(issue) => self.waits(&IssueHandle::of(&issue), Duration::ZERO),
            // Another attempt finds what this one may have opened, so it need not count as a retry.
            Err(error) if error.is_passing() => AttemptOutcome::Lost { message: error.to_string() },
            Err(error) => AttemptOutcome::permanent(NodeReason::ProviderFailed, error.to_string()),
        }
    }

    async fn opened(&self) -> Result<Issue, HostError> {
        let me = self.host.myself().await?;
        if let Some(issue) = self.find(&me, self.host.issues(&self.office.home.repo, LABEL).await?) {
            return Ok(issue);
        }
        let opened = match self.open().await {
            Ok(issue) => issue,
            // It may be there all the same; the list may take a moment to show it.
            Err(down @ HostError::Down { .. }) => {
                for pause in APPEARS {
                    tokio::time::sleep(pause).await;
                    if let Some(issue) = self.find(&me, self.open_issues().await?) {
                        return Ok(issue);
                    }
                }
                return Err(down);
            }
            Err(error) => return Err(error),
        };
        // A runner that lost its lease without noticing may have opened one at the same time: the first one stays.
        match self.open_issues().await.map(|issues| self.find(&me, issues)) {
            Ok(Some(first)) if first.number < opened.number => {
                self.close(&opened).await?;
                Ok(first)
            }
            _ => Ok(opened),
        }
    }

    async fn open_issues(&self) -> Result<Vec<Issue>, HostError> {
        self.host.open_issues(&self.office.home.repo, LABEL).await
    }

    /// The issue of this task that is not over: that of an attempt whose runner was lost counts, too.
    fn find(&self, me: &TokenIdentity, issues: Vec<Issue>) -> Option<Issue> {
        let ours = |issue: &Issue| {
            let mark = issue.body.as_deref().and_then(IssueMarker::read);
            mark.is_some_and(|mark| !mark.over && mark.is_of(&self.attempt))
                // Anybody can open an issue with a copied mark: only its author shows whether it is ours.
                && issue.user.as_ref().is_some_and(|user| me.is(user))
        };
        // The first one, so that runners that see several agree.
        issues.into_iter().filter(ours).min_by_key(|issue| issue.number)
    }

    async fn open(&self) -> Result<Issue, HostError> {
        let home = &self.office.home;
        let text = body(&self.attempt, &self.person, home.dashboard.as_deref());
        // Everybody who can read the repository can read the issue, and an input may hold what another task printed.
        let redact = |text: &str| self.office.common.redactor.text(text);
        let mut issue = NewIssue {
            title: redact(&title(&self.attempt)),
            body: redact(&text),
            labels: vec![LABEL.to_owned()],
            assignees: Vec::new(),
        };
        if let Assignee::Login(login) = &self.person {
            issue.assignees.push(login.clone());
        }
        match self.host.open_issue(&home.repo, &issue).await {
            // Somebody who cannot be assigned is still asked: the text names them.
            Err(HostError::Refused { status: 422, .. }) if !issue.assignees.is_empty() => {
                issue.assignees.clear();
                self.host.open_issue(&home.repo, &issue).await
            }
            answer => answer,
        }
    }

    /// Polls the issue that was opened before. Nothing was learned while the host cannot be asked.
    pub(super) async fn look(&self, handle: &IssueHandle) -> Result<AttemptOutcome, HostError> {
        let issue = match self.host.issue(&self.office.home.repo, handle.issue).await {
            Ok(issue) => issue,
            Err(error) if is_gone(&error) => {
                let message = format!("the issue {} no longer exists", handle.url);
                return Ok(AttemptOutcome::Lost { message });
            }
            Err(error) => return Err(error),
        };
        if !self.is_ours(&issue) {
            return Ok(self.cannot_tell(handle));
        }
        // First, for nearly every poll ends here and costs one request.
        if issue.is_open {
            return self.remind(&issue, handle).await;
        }
        let mut who =
            AllowedResponders::new(self.host.as_ref(), &self.office.home.repo, &self.person, &issue);
        let comments = self.host.comments(&self.office.home.repo, issue.number).await?;
        let Some(closer) = &issue.closed_by else {
            return self.reopen(&issue, &comments, handle, "the host does not say who closed it").await;
        };
        if !who.may_answer(closer).await? {
            let why = format!("{} closed it but may not answer", closer.login);
            return self.reopen(&issue, &comments, handle, &why).await;
        }
        if issue.closed_as.is_some_and(IssueEnd::is_refusal) {
            let words = self.last_words(&comments, &mut who).await?;
            let login = plain_line(closer.login.as_bytes());
            let said = words.map_or(String::new(), |words| format!(": {words}"));
            let message = format!("{login} closed {} as not planned{said}", handle.url);
            // A person's no is an answer; asking again is for a person to decide.
            return Ok(AttemptOutcome::permanent(NodeReason::ProviderFailed, message));
        }
        match self.answer(&issue, &comments, &mut who).await? {
            Ok(outputs) => Ok(AttemptOutcome::Succeeded { outputs }),
            Err(why) => self.reopen(&issue, &comments, handle, &why).await,
        }
    }

    /// Whether an issue was opened for this task. Its number comes from a record, which anybody who can push the status branch may
    /// have written: no other issue is closed, opened or commented on, and nothing there is an answer (Invariant 14).
    fn is_ours(&self, issue: &Issue) -> bool {
        let mark = issue.body.as_deref().and_then(IssueMarker::read);
        let ours = mark.is_some_and(|mark| mark.is_of(&self.attempt));
        if !ours {
            tracing::warn!(node = %self.attempt.node, issue = issue.number, "the issue lacks the mark of this task");
        }
        ours
    }

    /// What the node waits for while its issue does not say that it is that of this task.
    fn cannot_tell(&self, handle: &IssueHandle) -> AttemptOutcome {
        let mut outcome = self.waits(handle, AGAIN);
        if let AttemptOutcome::Blocked { message, .. } = &mut outcome {
            let complete = NextStep::complete(&self.attempt.key, &self.attempt.node);
            message.push_str(&format!(
                "; its text does not begin with the mark of this task, so that nothing counts there: restore that hidden line, or use `{complete}`"
            ));
        }
        outcome
    }

    /// What was answered, or what is wrong with it.
    async fn answer(
        &self,
        issue: &Issue,
        comments: &[Comment],
        who: &mut AllowedResponders<'_>,
    ) -> Result<Result<JsonMap, String>, HostError> {
        let asked = !self.attempt.declared_outputs.is_empty();
        let mut found = None;
        for comment in comments.iter().rev() {
            let (Some(user), Some(text)) = (&comment.user, &comment.body) else { continue };
            let Some(answer) = answer::outputs(text, asked) else { continue };
            if who.may_answer(user).await? {
                found = Some(answer);
                break;
            }
        }
        // Only people who may write can change the text of an issue that somebody else opened.
        let filled_in =
            || issue.body.as_deref().filter(|_| asked).and_then(|body| answer::outputs(form(body), asked));
        let given = found.or_else(filled_in).unwrap_or_else(|| Ok(JsonMap::new()));
        Ok(given.and_then(|given| {
            let given = self.attempt.output_contract.check(given)?;
            check_outputs(given, &self.attempt.declared_outputs, OutputForm::Answer)
                .map_err(|error| error.to_string())
        }))
    }

    /// The beginning of the last comment by somebody who may answer.
    async fn last_words(
        &self,
        comments: &[Comment],
        who: &mut AllowedResponders<'_>,
    ) -> Result<Option<String>, HostError> {
        for comment in comments.iter().rev() {
            let (Some(user), Some(text)) = (&comment.user, &comment.body) else { continue };
            if who.may_answer(user).await? {
                let words =
                    text.lines().map(|line| plain_line(line.as_bytes())).collect::<Vec<_>>().join(" ");
                return Ok(Some(cut(words.trim(), WORDS)).filter(|words| !words.is_empty()));
            }
        }
        Ok(None)
    }

    /// Says once what is wrong with an answer, and waits for another.
    async fn reopen(
        &self,
        issue: &Issue,
        comments: &[Comment],
        handle: &IssueHandle,
        why: &str,
    ) -> Result<AttemptOutcome, HostError> {
        let repo = &self.office.home.repo;
        // The time comes from the host, and becomes part of a hidden comment that it must not be able to end.
        let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.');
        let closed: String =
            issue.closed_at.iter().flat_map(|at| at.chars()).filter(plain).take(40).collect();
        // One comment for each time that it was closed; a second wrong answer gets its own.
        let marker = format!("<!-- planspec:answer {closed} -->");
        if !self.said(comments, &marker).await? {
            let text = format!(
                "{marker}\nThe answer does not count: {}.\n\nThe issue was reopened; its last section says how to answer.",
                sentence(&self.office.common.redactor.text(why), WORDS)
            );
            // The comment comes before the change: a runner that is lost in between leaves an issue that is still
            // closed, and the next poll finds the comment and only opens it.
            self.host.comment_on_issue(repo, issue.number, &text).await?;
        }
        self.host
            .change_issue(repo, issue.number, &IssueChange { open: Some(true), ..IssueChange::default() })
            .await?;
        let mut handle = handle.clone();
        handle.note = Some(format!("the last answer does not count: {}", plain_line(why.as_bytes())));
        Ok(self.waits(&handle, Duration::ZERO))
    }

    /// Reminds once, when half of the time is over.
    async fn remind(&self, issue: &Issue, handle: &IssueHandle) -> Result<AttemptOutcome, HostError> {
        let Some(half) = self.attempt.timeout.map(|timeout| timeout / 2).filter(|_| !handle.reminded) else {
            return Ok(self.waits(handle, AGAIN));
        };
        if let Some(left) = half.checked_sub(self.attempt.age).filter(|left| !left.is_zero()) {
            return Ok(self.waits(handle, left.min(AGAIN)));
        }
        let comments = self.host.comments(&self.office.home.repo, issue.number).await?;
        if !self.said(&comments, REMINDER).await? {
            let text = format!(
                "{REMINDER}\nReminder for {}: half of the time for this task is over.",
                code(&self.person.to_string(), 200)
            );
            self.host.comment_on_issue(&self.office.home.repo, issue.number, &text).await?;
        }
        let mut handle = handle.clone();
        handle.reminded = true;
        Ok(self.waits(&handle, Duration::ZERO))
    }

    /// Whether a comment of planspec begins with a marker.
    async fn said(&self, comments: &[Comment], marker: &str) -> Result<bool, HostError> {
        let begins =
            |comment: &&Comment| comment.body.as_deref().is_some_and(|text| text.starts_with(marker));
        let authors: Vec<&Account> =
            comments.iter().filter(begins).filter_map(|comment| comment.user.as_ref()).collect();
        if authors.is_empty() {
            return Ok(false);
        }
        let me = self.host.myself().await?;
        Ok(authors.into_iter().any(|author| me.is(author)))
    }

    /// Closes the issue that was opened before: nobody has to do it any more.
    pub(super) async fn cancel(&self, handle: &IssueHandle) -> Result<(), HostError> {
        let repo = &self.office.home.repo;
        let issue = match self.host.issue(repo, handle.issue).await {
            Err(error) if is_gone(&error) => return Ok(()),
            answer => answer?,
        };
        if !self.is_ours(&issue) {
            return Ok(());
        }
        if issue.is_open {
            let comments = self.host.comments(repo, issue.number).await?;
            if !self.said(&comments, OFF).await? {
                let text = format!(
                    "{OFF}\nThis task has ended: it was settled in another way, cancelled, or timed out. Nothing remains to be done, and answers no longer count."
                );
                self.host.comment_on_issue(repo, issue.number, &text).await?;
            }
        }
        self.close(&issue).await
    }

    /// Closes an issue that is open, and marks it as over.
    async fn close(&self, issue: &Issue) -> Result<(), HostError> {
        let ended = issue.body.as_deref().and_then(IssueMarker::ended);
        let closing = issue.is_open;
        if closing || ended.is_some() {
            // Not as completed, which would be an answer. The mark changes in the same request, so that no poll sees
            // one without the other.
            let closed_as = closing.then_some(IssueEnd::NotPlanned);
            let change = IssueChange { body: ended, open: closing.then_some(false), closed_as };
            self.host.change_issue(&self.office.home.repo, issue.number, &change).await?;
        }
        Ok(())
    }

    /// Marks the issue as over, so that another attempt opens one of its own. Whether that can be done is nobody's
    /// concern but the host's, unless it may be done later.
    pub(super) async fn end(&self, handle: &IssueHandle) -> Result<(), HostError> {
        let repo = &self.office.home.repo;
        let marked = async {
            let issue = self.host.issue(repo, handle.issue).await?;
            if self.is_ours(&issue) { self.close(&issue).await } else { Ok(()) }
        };
        match marked.await {
            Err(error) if error.is_passing() => Err(error),
            _ => Ok(()),
        }
    }

    /// What the node waits for while the token is too weak to read the issue.
    pub(super) fn cannot_look(&self, handle: &IssueHandle, error: &HostError) -> AttemptOutcome {
        // Blocked and not failed: somebody can give the token what it lacks, and the answer may be there already.
        let mut outcome = self.waits(handle, AGAIN);
        if let AttemptOutcome::Blocked { message, .. } = &mut outcome {
            message.push_str("; it cannot be polled: ");
            message.push_str(&plain_line(error.to_string().as_bytes()));
        }
        outcome
    }

    /// What the node waits for.
    pub(super) fn waits(&self, handle: &IssueHandle, after: Duration) -> AttemptOutcome {
        let mut message =
            format!("waits for {} to close {}", plain_line(self.person.to_string().as_bytes()), handle.url);
        if !self.attempt.declared_outputs.is_empty() {
            message.push_str(" with the outputs ");
            message.push_str(&self.attempt.declared_outputs.join(", "));
        }
        if let Some(note) = &handle.note {
            message.push_str("; ");
            message.push_str(note);
        }
        AttemptOutcome::Blocked {
            reason: NodeReason::AwaitingPerson,
            message: self.office.common.redactor.text(&message),
            handle: serde_json::to_string(handle).ok(),
            poll_after: Some(after),
        }
    }
}

fn is_gone(error: &HostError) -> bool {
    error.is_not_found() || matches!(error, HostError::Refused { status: 410, .. })
}
