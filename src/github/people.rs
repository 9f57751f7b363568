//! Who may do what: permissions on a repository, membership of teams.

use serde::Deserialize;

use super::client::ApiRequest;
use super::names::segment;
use super::{GitHub, GitHubError, RepoName};

/// An account on the host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Account {
    /// The login: what the host has verified.
    pub login: String,
    /// The number, which stays when the login changes.
    #[serde(default)]
    pub id: u64,
    /// `User`, `Bot` or `Organization`.
    #[serde(default, rename = "type")]
    pub kind: String,
}

impl Account {
    /// Whether it is a program.
    #[must_use]
    pub(crate) fn is_bot(&self) -> bool {
        // No person can have a login with brackets, so the ending says it where an answer leaves out the type.
        self.kind == "Bot" || self.login.ends_with("[bot]")
    }
}

/// Whose token this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenIdentity {
    /// A person's, or a program's that has an account of its own.
    Login(String),
    /// The token of a job, which cannot say whose it is.
    Program,
}

impl TokenIdentity {
    /// Whether an account is this one, as far as is known.
    #[must_use]
    pub(crate) fn is(&self, account: &Account) -> bool {
        match self {
            Self::Login(login) => account.login.eq_ignore_ascii_case(login),
            // The token of a job is refused when it asks who it is. Any program is as near as it comes; people are kept
            // out by it.
            Self::Program => account.is_bot(),
        }
    }
}

/// What somebody may do in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RepoPermission {
    /// Nothing.
    None,
    /// Read.
    Read,
    /// Push.
    Write,
    /// Everything.
    Admin,
}

#[derive(Deserialize)]
struct PermissionAnswer {
    permission: String,
}

#[derive(Deserialize)]
struct Membership {
    state: String,
}

impl GitHub {
    /// The login that the token belongs to; none for the token of a job, which is a program's.
    pub(crate) async fn viewer(&self) -> Option<String> {
        let request = ApiRequest::get("/user".to_owned(), "read whose token this is", "none");
        let quick = self.clone().patient(std::time::Duration::from_secs(5));
        quick.ask::<Account>(request).await.ok().map(|account| account.login)
    }

    /// Whose token this is. Other than [`Self::viewer`], a host that fails is no answer.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn myself(&self) -> Result<TokenIdentity, GitHubError> {
        let request = ApiRequest::get("/user".to_owned(), "read whose token this is", "none");
        match self.ask::<Account>(request).await {
            Ok(account) => Ok(TokenIdentity::Login(account.login)),
            // The token of a job belongs to no user, and the host refuses this question of it.
            Err(GitHubError::Permission { .. } | GitHubError::NotFound { .. }) => Ok(TokenIdentity::Program),
            Err(error) => Err(error),
        }
    }

    /// What somebody may do in a repository. Words that we do not know count as nothing.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn permission(
        &self,
        repo: &RepoName,
        login: &str,
    ) -> Result<RepoPermission, GitHubError> {
        let path = repo.path(&format!("collaborators/{}/permission", segment(login)?));
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
            Err(GitHubError::NotFound { .. }) => Ok(RepoPermission::None),
            Err(error) => Err(error),
        }
    }

    /// Whether the token may read a team, and with it who is in it.
    ///
    /// # Errors
    /// [`GitHubError`]; a refusal is no error, but the answer.
    pub(crate) async fn can_read_team(&self, organisation: &str, team: &str) -> Result<bool, GitHubError> {
        let path = format!("/orgs/{}/teams/{}/members?per_page=1", segment(organisation)?, segment(team)?);
        let what = format!("read who is in team {team}");
        match self.tell(ApiRequest::get(path, &what, "members: read")).await {
            Ok(()) => Ok(true),
            // The host refuses the token of a job with 403, and hides secret teams with 404.
            Err(GitHubError::Permission { .. } | GitHubError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether somebody is an active member of a team. A team that the token cannot see has no members.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub(crate) async fn is_member(
        &self,
        organisation: &str,
        team: &str,
        login: &str,
    ) -> Result<bool, GitHubError> {
        // Every part comes from a manifest or from the host, and becomes a segment of an address.
        let organisation = segment(organisation)?;
        let slug = segment(team)?;
        let who = segment(login)?;
        let path = format!("/orgs/{organisation}/teams/{slug}/memberships/{who}");
        let what = format!("read whether {login} is in team {team}");
        match self.ask::<Membership>(ApiRequest::get(path, &what, "members: read")).await {
            // `pending` is an invitation that nobody has accepted.
            Ok(membership) => Ok(membership.state == "active"),
            Err(GitHubError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
