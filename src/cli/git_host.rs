//! Which Git host this is, and which repository there: the one place that chooses among the folders that implement a host.

use std::sync::Arc;

use crate::cli::error::CliError;
use crate::config::{Actions, Environment};
use crate::github::{Access, GitHub};
use crate::host::{GitHost, HostConnection, HostError, RepoName};
use crate::provider::HostRepository;

/// The API of GitHub itself; a server of one's own is named by the environment.
const PUBLIC_API: &str = "https://api.github.com";

/// Opens the host whose API this is; within a tokio runtime.
pub(crate) fn open(api: &str, token: Option<&str>) -> Result<Arc<dyn GitHost>, HostError> {
    let access = Access { api: api.to_owned(), token: token.map(str::to_owned) };
    Ok(Arc::new(GitHub::new(&access)?))
}

/// The host that the environment names, as a workflow's runner does; only with a token.
pub(crate) fn connection(environment: &Environment) -> Option<HostConnection> {
    let token = token(environment)?.to_owned();
    let api = environment.text("GITHUB_API_URL").unwrap_or(PUBLIC_API).to_owned();
    Some(HostConnection::new(move || open(&api, Some(&token))))
}

/// The repository that a job is about.
pub(crate) fn repository(actions: &Actions) -> Result<RepoName, CliError> {
    let name = actions.repository.as_deref();
    let name = name.ok_or_else(|| CliError::environment("GITHUB_REPOSITORY is not set"))?;
    Ok(name.parse()?)
}

/// The token of the host: a secret of the runner.
pub(crate) fn token(environment: &Environment) -> Option<&str> {
    environment.text("GITHUB_TOKEN")
}

/// The repository that a workflow's runner works for.
pub(crate) fn home(environment: &Environment, status_branch: &str) -> Option<HostRepository> {
    let actions = environment.actions();
    let repo: RepoName = actions.repository.as_deref()?.parse().ok()?;
    // These become an address in issues on the host; only what an address is made of may pass (Invariant 8).
    let plain = |text: &&str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-._/:".contains(c));
    let server = actions.server.as_deref().filter(plain);
    let dashboard = server
        .filter(|_| plain(&status_branch))
        .map(|server| format!("{}/{repo}/tree/{status_branch}", server.trim_end_matches('/')));
    Some(HostRepository { repo, dashboard })
}
