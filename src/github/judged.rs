//! A host for unit tests that judges every request by GitHub's published description, whatever it is told to answer.

use std::ops::Deref;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::{Access, GitHub};
use crate::host::HostConnection;

#[path = "../../tests/e2e/github_judge.rs"]
pub(crate) mod judge;

/// The host. When it goes away, a mistake fails the test.
pub(crate) struct Judged {
    server: MockServer,
    mistakes: Arc<Mutex<Vec<String>>>,
}

impl Judged {
    pub(crate) async fn start() -> Self {
        // Not one of those that tests hand on to each other: the pace of a host would continue with it.
        let server = MockServer::builder().start().await;
        let mistakes: Arc<Mutex<Vec<String>>> = Arc::default();
        let found = Arc::clone(&mistakes);
        let look = move |request: &Request| {
            let method = request.method.as_str();
            let url = &request.url;
            let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
            let address = format!("{}{query}", url.path());
            // No status of an answer: what the test answers is its own business.
            let wrong = judge::mistakes(method, &address, &request.body, (0, &Value::Null));
            found.lock().unwrap().extend(wrong);
            false
        };
        Mock::given(look).respond_with(ResponseTemplate::new(500)).with_priority(1).mount(&server).await;
        Self { server, mistakes }
    }
}

/// The connection to a host of a test.
pub(crate) fn connection_to(api: String) -> HostConnection {
    let access = Access { api, token: Some("ghs_0123456789abcdef".to_owned()) };
    HostConnection::new(move || Ok(Arc::new(GitHub::new(&access)?)))
}

impl Deref for Judged {
    type Target = MockServer;

    fn deref(&self) -> &MockServer {
        &self.server
    }
}

impl Drop for Judged {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(*self.mistakes.lock().unwrap(), Vec::<String>::new());
        }
    }
}
