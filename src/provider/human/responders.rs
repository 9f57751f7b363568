//! Who may answer: the person who was asked, whoever is assigned, members of the team, and people who may write to the
//! repository. It rests on logins that the host has verified; no text is asked.

use std::collections::BTreeMap;

use super::assignee::Assignee;
use crate::host::{Account, GitHost, HostError, Issue, RepoName, RepoPermission};

/// How many people the host is asked about in one poll.
const MOST: usize = 20;

/// Who may answer an issue; what the host answered is kept for one poll.
pub(super) struct AllowedResponders<'a> {
    host: &'a dyn GitHost,
    repo: &'a RepoName,
    person: &'a Assignee,
    issue: &'a Issue,
    known: BTreeMap<String, bool>,
}

impl<'a> AllowedResponders<'a> {
    pub(super) fn new(
        host: &'a dyn GitHost,
        repo: &'a RepoName,
        person: &'a Assignee,
        issue: &'a Issue,
    ) -> Self {
        Self { host, repo, person, issue, known: BTreeMap::new() }
    }

    /// Whether somebody may answer.
    pub(super) async fn may_answer(&mut self, account: &Account) -> Result<bool, HostError> {
        if account.is_bot {
            return Ok(false);
        }
        let assigned = |assignee: &Account| assignee.login.eq_ignore_ascii_case(&account.login);
        if self.person.is_login(&account.login) || self.issue.assignees.iter().any(assigned) {
            return Ok(true);
        }
        let login = account.login.to_lowercase();
        if let Some(&known) = self.known.get(&login) {
            return Ok(known);
        }
        // Many strangers who comment cost no more requests than a few; those named above count whatever others do.
        if self.known.len() >= MOST {
            return Ok(false);
        }
        let may = self.is_in_team(&login).await?
            || self.host.permission(self.repo, &login).await? >= RepoPermission::Write;
        self.known.insert(login, may);
        Ok(may)
    }

    async fn is_in_team(&self, login: &str) -> Result<bool, HostError> {
        let Some((organisation, slug)) = self.person.team(self.repo) else { return Ok(false) };
        match self.host.is_member(organisation, slug, login).await {
            Err(HostError::Name(_)) => Ok(false),
            // The token of a job cannot read teams; the members then need to be assigned, or to be people who may write.
            Err(error) if error.is_permission() => Ok(false),
            answer => answer,
        }
    }
}
