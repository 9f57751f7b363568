//! The Git host as providers see it: one client for all of them, opened when it is first needed, so that they share its
//! connection. That all clients together keep within the host's limits is `github`'s business.

use std::sync::{Arc, OnceLock};

use crate::github::{Access, GitHub, GitHubError};

/// The Git host, where there is one.
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
