//! What every provider gets from the runner: its settings, and the few things that all of them share.

use std::sync::{Arc, OnceLock};

use super::ProviderSettings;
use super::output::Redactor;
use super::web::Web;
use crate::github::{Access, GitHub, GitHubError};

/// What every provider gets from the runner. A clone is the same context: connections, limits and needles are shared.
#[derive(Clone)]
pub(super) struct ProviderContext {
    pub(super) settings: Arc<ProviderSettings>,
    /// Knows every secret of the settings. One for all, because the automaton over the needles is the dear part of it.
    pub(super) redactor: Arc<Redactor>,
    /// Makes requests. One for all, so that the rule about private addresses has no second reading.
    pub(super) web: Arc<Web>,
    /// The Git host, where there is one.
    pub(super) host: GitHost,
}

impl ProviderContext {
    pub(super) fn new(settings: ProviderSettings) -> Self {
        // The host's token too, although no task gets it: one that came by it all the same must not spread it.
        let token = settings.github.as_ref().and_then(|access| access.token.as_deref());
        let secrets = settings.secrets.values().map(|value| value.as_encoded_bytes());
        let withheld = settings.withheld.iter().map(String::as_bytes);
        let secrets = secrets.chain(token.map(str::as_bytes)).chain(withheld);
        Self {
            redactor: Arc::new(Redactor::new(secrets)),
            web: Arc::new(Web::new(&settings.allow_private)),
            host: GitHost::new(settings.github.clone()),
            settings: Arc::new(settings),
        }
    }
}

/// The Git host as providers see it, where there is one: one client for all of them, opened when it is first needed, so that
/// they share its connection. That all clients together keep within the host's limits is `github`'s business.
#[derive(Clone)]
pub(super) struct GitHost {
    access: Option<Access>,
    // An error is kept, too: a token that cannot be sent, or an address that is none, stays one for as long as the
    // process runs.
    client: Arc<OnceLock<Result<GitHub, GitHubError>>>,
}

impl GitHost {
    /// The host that the settings name.
    pub(super) fn new(access: Option<Access>) -> Self {
        Self { access, client: Arc::default() }
    }

    /// Whether there is one.
    pub(super) fn is_known(&self) -> bool {
        self.access.is_some()
    }

    /// The client; within a tokio runtime.
    pub(super) fn open(&self) -> Result<GitHub, GitHubError> {
        let access = self.access.as_ref().ok_or(GitHubError::NoToken)?;
        // Not when it is made: the client needs a running tokio runtime, and a pass without work on the host needs no
        // client.
        self.client.get_or_init(|| GitHub::new(access)).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use wiremock::matchers::any;
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;
    use crate::github::NewIssue;

    #[tokio::test]
    async fn all_tasks_together_create_no_more_than_the_host_allows() {
        let server = MockServer::start().await;
        let issue = json!({ "number": 1, "state": "open", "user": null });
        let opened = ResponseTemplate::new(201).set_body_json(issue);
        Mock::given(any()).respond_with(opened).expect(75).mount(&server).await;
        let host = GitHost::new(Some(Access { api: server.uri(), token: Some("ghs_0123456789".to_owned()) }));
        let repo = "acme/app".parse().unwrap();
        let mut refused = 0;
        for _ in 0..80 {
            let client = host.open().unwrap().within(Duration::from_secs(20));
            match client.open_issue(&repo, &NewIssue::default()).await {
                Ok(_) => {}
                Err(GitHubError::RateLimited { wait, .. }) => {
                    refused += 1;
                    // What is refused takes no place from those who come later.
                    assert!(wait <= Duration::from_secs(60), "{wait:?}");
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(refused, 5);
        assert!(matches!(GitHost::new(None).open(), Err(GitHubError::NoToken)));
    }
}
