//! What a run left, fetched into a file: the host only says where it is, and that place never gets the token.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, LOCATION};
use reqwest::{Client, Response, StatusCode, Url, redirect};

use crate::github::client::{Access, GitHub, TOKEN};
use crate::github::wire::repo_path;
use crate::host::{HostError, RepoName, shown};

/// How long a whole download may take.
const LONGEST: Duration = Duration::from_secs(180);

const WHAT: &str = "download an artifact";

const AGENT: &str = concat!("planspec/", env!("CARGO_PKG_VERSION"));

impl GitHub {
    /// Fetches the archive of an artifact into a file, unless it has more than `most` bytes.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn download(
        &self,
        repo: &RepoName,
        artifact: u64,
        (into, most): (&mut File, u64),
    ) -> Result<(), HostError> {
        match tokio::time::timeout(LONGEST, self.fetch_archive(repo, artifact, (into, most))).await {
            Ok(fetched) => fetched,
            Err(_) => Err(down("no response in time")),
        }
    }

    async fn fetch_archive(
        &self,
        repo: &RepoName,
        artifact: u64,
        (into, most): (&mut File, u64),
    ) -> Result<(), HostError> {
        // A client of its own that follows nothing by itself: where the host sends it is another host's storage, and the token is
        // for nobody but the host.
        // Whoever was first has chosen the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().redirect(redirect::Policy::none()).user_agent(AGENT);
        let client = client.connect_timeout(Duration::from_secs(10)).no_proxy().build();
        let client = client.map_err(|error| down(&self.redacted(&error.to_string())))?;
        let place = repo_path(repo, &format!("actions/artifacts/{artifact}/zip"));
        let Access { api, token } = &self.inner.access;
        let token = token.as_deref().unwrap_or_default();
        let asked = client.get(format!("{api}{place}")).header(ACCEPT, "application/vnd.github+json");
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| HostError::NoToken(TOKEN))?;
        authorization.set_sensitive(true);
        let answer = self.answered(asked.header(AUTHORIZATION, authorization).send().await)?;
        let answer = if answer.status().is_redirection() {
            let place = answer.headers().get(LOCATION).and_then(|place| place.to_str().ok());
            let place = place
                .and_then(|place| answer.url().join(place).ok())
                .filter(|place| may_follow(answer.url(), place));
            let place = place.ok_or_else(|| down("it is said to be at an address that cannot be used"))?;
            self.answered(client.get(place).send().await)?
        } else {
            answer
        };
        self.judged(answer.status())?;
        self.save(answer, (into, most)).await
    }

    async fn save(&self, mut answer: Response, (into, most): (&mut File, u64)) -> Result<(), HostError> {
        let mut left = most;
        loop {
            let piece = answer
                .chunk()
                .await
                .map_err(|error| down(&self.redacted(&shown(&error.without_url().to_string()))))?;
            let Some(piece) = piece else { return Ok(()) };
            // Counted as it comes: what the host says of the size is said by whoever uploaded it.
            left = u64::try_from(piece.len()).ok().and_then(|bytes| left.checked_sub(bytes)).ok_or_else(
                || HostError::Refused {
                    what: WHAT.to_owned(),
                    status: 200,
                    said: format!("it has more than {most} bytes"),
                },
            )?;
            into.write_all(&piece).map_err(|error| down(&format!("it cannot be written: {error}")))?;
        }
    }

    fn answered(&self, answer: Result<Response, reqwest::Error>) -> Result<Response, HostError> {
        // Without the address: that of the storage opens what is there for whoever knows it.
        answer.map_err(|error| down(&self.redacted(&shown(&error.without_url().to_string()))))
    }

    fn judged(&self, status: StatusCode) -> Result<(), HostError> {
        let what = WHAT.to_owned();
        match status.as_u16() {
            200..300 => Ok(()),
            404 | 410 => Err(HostError::NotFound { what, needs: "actions: read" }),
            500.. => Err(down(&format!("it answered {status}"))),
            429 => Err(HostError::RateLimited { what, wait: Duration::from_secs(60) }),
            status => Err(HostError::Refused { what, status, said: String::new() }),
        }
    }
}

/// Whether a download may go on at an address: never from a connection that nobody reads to one that everybody can.
fn may_follow(from: &Url, to: &Url) -> bool {
    to.scheme() == "https" || (to.scheme() == "http" && from.scheme() == "http")
}

fn down(said: &str) -> HostError {
    HostError::Down { what: WHAT.to_owned(), said: said.to_owned() }
}
