//! Who may do what: permissions on a repository, membership of teams.

use serde::Deserialize;

use super::GitHub;
use super::client::ApiRequest;
use super::wire::{read_as, repo_path, segment};
use crate::host::{Account, HostError, RepoName, RepoPermission, TokenIdentity};

#[derive(Deserialize)]
struct AccountAnswer {
    login: String,
    #[serde(default)]
    id: u64,
    /// `User`, `Bot` or `Organization`.
    #[serde(default, rename = "type")]
    kind: String,
}

impl From<AccountAnswer> for Account {
    fn from(AccountAnswer { login, id, kind }: AccountAnswer) -> Self {
        // No person can have a login with brackets, so the ending says it where an answer leaves out the type.
        let is_bot = kind == "Bot" || login.ends_with("[bot]");
        Self { login, id, is_bot }
    }
}

read_as!(Account, AccountAnswer);

#[derive(Deserialize)]
struct PermissionAnswer {
    permission: String,
}

#[derive(Deserialize)]
struct Membership {
    state: String,
}

impl GitHub {
    /// Whose token this is. A host that fails is no answer.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn myself(&self) -> Result<TokenIdentity, HostError> {
        let request = ApiRequest::get("/user".to_owned(), "read whose token this is", "none");
        match self.ask::<Account>(request).await {
            Ok(account) => Ok(TokenIdentity::Login(account.login)),
            // The token of a job belongs to no user, and the host refuses this question of it.
            Err(HostError::Permission { .. } | HostError::NotFound { .. }) => Ok(TokenIdentity::Program),
            Err(error) => Err(error),
        }
    }

    /// What somebody may do in a repository. Words that we do not know count as nothing.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn permission(&self, repo: &RepoName, login: &str) -> Result<RepoPermission, HostError> {
        let path = repo_path(repo, &format!("collaborators/{}/permission", segment(login)?));
        let what = format!("read the permission of {login}");
        match self.ask::<PermissionAnswer>(ApiRequest::get(path, &what, "metadata: read")).await {
            Ok(answer) => Ok(match answer.permission.as_str() {
                "admin" => RepoPermission::Admin,
                // The host documents `admin`, `write`, `read` and `none`, and folds the other roles into them; older
                // words mean the same.
                "write" | "maintain" | "push" => RepoPermission::Write,
                "read" | "triage" | "pull" => RepoPermission::Read,
                _ => RepoPermission::None,
            }),
            Err(HostError::NotFound { .. }) => Ok(RepoPermission::None),
            Err(error) => Err(error),
        }
    }

    /// Whether the token may read a team, and with it who is in it.
    ///
    /// # Errors
    /// [`HostError`]; a refusal is no error, but the answer.
    pub(crate) async fn can_read_team(&self, organisation: &str, team: &str) -> Result<bool, HostError> {
        let path = format!("/orgs/{}/teams/{}/members?per_page=1", segment(organisation)?, segment(team)?);
        let what = format!("read who is in team {team}");
        match self.tell(ApiRequest::get(path, &what, "members: read")).await {
            Ok(()) => Ok(true),
            // The host refuses the token of a job with 403, and hides secret teams with 404.
            Err(HostError::Permission { .. } | HostError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether somebody is an active member of a team. A team that the token cannot see has no members.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn is_member(
        &self,
        organisation: &str,
        team: &str,
        login: &str,
    ) -> Result<bool, HostError> {
        // Every part comes from a manifest or from the host, and becomes a segment of an address.
        let organisation = segment(organisation)?;
        let slug = segment(team)?;
        let who = segment(login)?;
        let path = format!("/orgs/{organisation}/teams/{slug}/memberships/{who}");
        let what = format!("read whether {login} is in team {team}");
        match self.ask::<Membership>(ApiRequest::get(path, &what, "members: read")).await {
            // `pending` is an invitation that nobody has accepted.
            Ok(membership) => Ok(membership.state == "active"),
            Err(HostError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
