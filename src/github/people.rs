//! Who may do what: permissions on a repository, membership of teams.

use serde::Deserialize;

use super::client::Request;
use super::names::segment;
use super::{GitHub, GitHubError, RepoName};

/// An account on the host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Account {
    /// The login: what the host vouches for.
    pub login: String,
    /// `User`, `Bot` or `Organization`.
    #[serde(default, rename = "type")]
    pub kind: String,
}

impl Account {
    /// Whether it is a program.
    #[must_use]
    pub fn is_bot(&self) -> bool {
        self.kind == "Bot" || self.login.ends_with("[bot]")
    }
}

/// Whose token this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Myself {
    /// A person's, or a program's that has an account of its own.
    Login(String),
    /// The token of a job, which cannot say whose it is.
    Program,
}

impl Myself {
    /// Whether an account is this one, as far as can be told.
    #[must_use]
    pub fn is(&self, account: &Account) -> bool {
        match self {
            Self::Login(login) => account.login.eq_ignore_ascii_case(login),
            Self::Program => account.is_bot(),
        }
    }
}

/// What somebody may do in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
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
    pub async fn viewer(&self) -> Option<String> {
        let request = Request::get("/user".to_owned(), "read whose token this is", "none");
        let quick = self.clone().patient(std::time::Duration::from_secs(5));
        quick.ask::<Account>(request).await.ok().map(|account| account.login)
    }

    /// Whose token this is. Other than [`Self::viewer`], a host that fails is no answer.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub async fn myself(&self) -> Result<Myself, GitHubError> {
        let request = Request::get("/user".to_owned(), "read whose token this is", "none");
        match self.ask::<Account>(request).await {
            Ok(account) => Ok(Myself::Login(account.login)),
            Err(GitHubError::Permission { .. } | GitHubError::NotFound { .. }) => Ok(Myself::Program),
            Err(error) => Err(error),
        }
    }

    /// What somebody may do in a repository. Words that we do not know count as nothing.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub async fn permission(&self, repo: &RepoName, login: &str) -> Result<Permission, GitHubError> {
        let path = repo.path(&format!("collaborators/{}/permission", segment(login)?));
        let what = format!("read the permission of {login}");
        match self.ask::<PermissionAnswer>(Request::get(path, &what, "metadata: read")).await {
            Ok(answer) => Ok(match answer.permission.as_str() {
                "admin" => Permission::Admin,
                "write" | "maintain" | "push" => Permission::Write,
                "read" | "triage" | "pull" => Permission::Read,
                _ => Permission::None,
            }),
            Err(GitHubError::NotFound { .. }) => Ok(Permission::None),
            Err(error) => Err(error),
        }
    }

    /// Whether somebody is an active member of a team. A team that the token cannot see has no members.
    ///
    /// # Errors
    /// [`GitHubError`].
    pub async fn is_member(&self, organisation: &str, team: &str, login: &str) -> Result<bool, GitHubError> {
        let (organisation, slug, who) = (segment(organisation)?, segment(team)?, segment(login)?);
        let path = format!("/orgs/{organisation}/teams/{slug}/memberships/{who}");
        let what = format!("read whether {login} is in team {team}");
        match self.ask::<Membership>(Request::get(path, &what, "members: read")).await {
            Ok(membership) => Ok(membership.state == "active"),
            Err(GitHubError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
