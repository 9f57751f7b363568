//! The client: one request at a time, waited for as the host wants it, within the time that there is.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use octocrab::Octocrab;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::pacer::{RequestPacer, pace_of};
use super::retry::{HostResponse, RetryAdvice, judge, moved, seconds};
use super::wire::{after_mark, encoded};
use crate::host::{HostError, shown};

/// How long one request may take.
const ONE: Duration = Duration::from_secs(30);

/// How long a request is tried again, where the caller says nothing.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long something that was just created may be missing: the host is only eventually consistent.
const FRESH: Duration = Duration::from_secs(15);

/// The first pause before a request is tried again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// How many entries a page holds, the most that the host allows.
const PAGE: usize = 100;

/// How many pages are read at most.
// Anybody may comment: without a limit, one issue could hold up a pass for as long as somebody writes.
const MOST_PAGES: usize = 300;

/// How many pages are read of a list that nobody needs whole.
const MOST_MARKED: usize = 10;

/// How often a request that changes something is sent on to another address.
const MOST_MOVES: usize = 3;

/// How to give planspec a token.
pub(super) const TOKEN: &str = "set GITHUB_TOKEN, as with `env: { GITHUB_TOKEN: ${{ github.token }} }`";

/// Where the API is, and what opens it. `Debug` never shows the token.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Access {
    /// The address of the API, as `GITHUB_API_URL` gives it.
    pub(crate) api: String,
    /// The token.
    pub(crate) token: Option<String>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "***");
        f.debug_struct("Access").field("api", &self.api).field("token", &token).finish()
    }
}

/// The API of a host. Clones share the connection; all clients of one process share the pace.
#[derive(Clone)]
pub(crate) struct GitHub {
    pub(super) inner: Arc<Inner>,
    patience: Duration,
    deadline: Option<Instant>,
    settled: bool,
}

pub(super) struct Inner {
    crab: Octocrab,
    /// The same for the host's other API, GraphQL.
    graph: Octocrab,
    pub(super) access: Access,
    pace: Arc<Mutex<RequestPacer>>,
}

impl fmt::Debug for GitHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GitHub").field("access", &self.inner.access).finish_non_exhaustive()
    }
}

/// What a request does to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Reads.
    Read,
    /// Changes something; twice is as good as once.
    Change,
    /// Creates something; twice would be one too many, so it is not tried again when it may have happened.
    Create,
}

/// One request.
pub(super) struct ApiRequest<'a> {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) body: Option<Value>,
    /// In words, after "to": `comment on #12`.
    pub(super) what: &'a str,
    /// The permission that it needs, as a workflow file writes it.
    pub(super) needs: &'static str,
    pub(super) effect: Effect,
    /// What it is about was just created, so a 404 may pass.
    pub(super) fresh: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
    Patch,
    Put,
    /// A request to the host's other API, which takes nothing else.
    Graph,
}

impl<'a> ApiRequest<'a> {
    pub(super) fn get(path: String, what: &'a str, needs: &'static str) -> Self {
        Self { method: Method::Get, path, body: None, what, needs, effect: Effect::Read, fresh: false }
    }

    pub(super) fn create(path: String, body: Value, what: &'a str, needs: &'static str) -> Self {
        let method = Method::Post;
        let effect = Effect::Create;
        Self { method, path, body: Some(body), what, needs, effect, fresh: false }
    }

    /// A change by the host's other API.
    pub(super) fn graph(body: Value, what: &'a str, needs: &'static str) -> Self {
        Self::change(Method::Graph, "/graphql".to_owned(), body, what, needs)
    }

    pub(super) fn change(
        method: Method,
        path: String,
        body: Value,
        what: &'a str,
        needs: &'static str,
    ) -> Self {
        Self { method, path, body: Some(body), what, needs, effect: Effect::Change, fresh: false }
    }

    /// A change that needs no more words than its address.
    pub(super) fn put(path: String, what: &'a str, needs: &'static str) -> Self {
        Self { method: Method::Put, path, body: None, what, needs, effect: Effect::Change, fresh: false }
    }

    pub(super) fn fresh(mut self, fresh: bool) -> Self {
        self.fresh = fresh;
        self
    }
}

impl GitHub {
    /// A client; within a tokio runtime.
    ///
    /// # Errors
    /// [`HostError::NoToken`], [`HostError::Address`].
    pub(crate) fn new(access: &Access) -> Result<Self, HostError> {
        // A secret often ends with a line break. What else cannot appear in a header is refused here, before anything is
        // sent.
        let token = access.token.as_deref().map(str::trim).unwrap_or_default().to_owned();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(HostError::NoToken(TOKEN));
        }
        let bad = || HostError::Address(shown(&access.api));
        let api = access.api.trim().trim_end_matches('/').to_owned();
        // A user or a password in the address would appear in errors and logs.
        if !(api.starts_with("https://") || api.starts_with("http://")) || api.contains('@') {
            return Err(bad());
        }
        let open = |address: &str| {
            let builder = Octocrab::builder().base_uri(address).map_err(|_| bad())?;
            // In a header and nowhere else: an address with a token in it would be logged on the way.
            let builder = builder.personal_token(token.clone());
            let builder = builder.set_connect_timeout(Some(Duration::from_secs(10)));
            builder.set_read_timeout(Some(ONE)).build().map_err(|error| HostError::Down {
                what: "open a connection".to_owned(),
                said: reason(&error),
            })
        };
        let crab = open(&api)?;
        // GitHub Enterprise Server has its two APIs side by side, at `/api/v3` and `/api/graphql`. A client of its own, because
        // the library puts the path of its address before every request.
        let graph = match api.strip_suffix("/v3") {
            Some(beside) => open(beside)?,
            None => crab.clone(),
        };
        let pace = pace_of(&api, &token);
        let access = Access { api, token: Some(token) };
        let inner = Inner { crab, graph, access, pace };
        Ok(Self { inner: Arc::new(inner), patience: PATIENCE, deadline: None, settled: false })
    }

    /// The same client, which tries each request again for so long.
    #[must_use]
    pub(crate) fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The same client, which waits for nothing beyond this time from now.
    #[must_use]
    pub(crate) fn within(mut self, time: Duration) -> Self {
        self.deadline = Instant::now().checked_add(time);
        self
    }

    /// The same client, for what was not created a moment ago: a 404 is an answer, and is not waited out.
    #[must_use]
    pub(crate) fn settled(mut self) -> Self {
        self.settled = true;
        self
    }

    /// Does a request and reads its answer.
    pub(super) async fn ask<T: DeserializeOwned>(&self, request: ApiRequest<'_>) -> Result<T, HostError> {
        let what = request.what.to_owned();
        let answer = self.send(request).await?;
        self.parse(&answer, &what)
    }

    /// Does a request whose answer says nothing.
    pub(super) async fn tell(&self, request: ApiRequest<'_>) -> Result<(), HostError> {
        self.send(request).await.map(|_| ())
    }

    /// All entries of a list. `path` has no page in it.
    pub(super) async fn all<T: DeserializeOwned>(
        &self,
        path: &str,
        what: &str,
        needs: &'static str,
    ) -> Result<Vec<T>, HostError> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let mut all = Vec::new();
        for page in 1..=MOST_PAGES {
            let path = format!("{path}{joint}per_page={PAGE}&page={page}");
            let entries: Vec<T> = self.ask(ApiRequest::get(path, what, needs)).await?;
            // A page that is not full is the last one, which saves a request for nearly every list.
            let full = entries.len() == PAGE;
            all.extend(entries);
            if !full {
                return Ok(all);
            }
        }
        // Never a part of it: lists of comments begin with the oldest, so what is missing is the newest, and a comment of
        // ours that is not found would be written once more at each pass.
        Err(HostError::TooMany { what: what.to_owned(), most: MOST_PAGES * PAGE })
    }

    /// A list whose pages begin at marks of the host's own, as far as its first [`MOST_MARKED`] pages; whether that is all of it.
    /// `path` has a query, with the size of a page in it.
    pub(super) async fn marked<T: DeserializeOwned>(
        &self,
        path: &str,
        what: &str,
        needs: &'static str,
    ) -> Result<(Vec<T>, bool), HostError> {
        let mut all = Vec::new();
        let mut page = path.to_owned();
        for _ in 0..MOST_MARKED {
            let answer = self.send(ApiRequest::get(page, what, needs)).await?;
            let entries: Vec<T> = self.parse(&answer, what)?;
            all.extend(entries);
            match answer.next_page {
                // Only the mark of the address that the host gives: the rest of it could lead anywhere.
                Some(mark) => page = format!("{path}&after={}", encoded(&mark)),
                None => return Ok((all, true)),
            }
        }
        Ok((all, false))
    }

    fn parse<T: DeserializeOwned>(&self, answer: &HostResponse, what: &str) -> Result<T, HostError> {
        serde_json::from_str(&answer.body).map_err(|error| HostError::Answer {
            what: what.to_owned(),
            said: self.redacted(&shown(&error.to_string())),
        })
    }

    async fn send(&self, request: ApiRequest<'_>) -> Result<HostResponse, HostError> {
        let begun = Instant::now();
        let mut end = begun + self.patience;
        if let Some(deadline) = self.deadline {
            end = end.min(deadline);
        }
        // The library's own retries are left out of the build: only here is it known what may be repeated.
        let mut pause = FIRST_PAUSE;
        loop {
            // Each try counts for the host, so each takes a place of its own. Reading does not count for this limit.
            if request.effect != Effect::Read {
                self.keep_pace(&request, end).await?;
            }
            let (verdict, answer) = match self.once(&request, end).await {
                Ok(answer) => (judge(&answer, request.what, request.needs), answer),
                Err(said) => (RetryAdvice::Failing(said), HostResponse::default()),
            };
            let what = request.what.to_owned();
            let (wait, error) = match verdict {
                RetryAdvice::Done => return Ok(answer),
                RetryAdvice::Never(error) => return Err(self.clean(error)),
                // What was limited was not done: also a request that creates something is made again.
                RetryAdvice::Limited(wait) => (wait, HostError::RateLimited { what, wait }),
                RetryAdvice::Failing(said) => {
                    let error = HostError::Down { what, said };
                    // It may have happened. Only the caller knows how to find out, by a marker or by a key in a title.
                    if request.effect == Effect::Create {
                        return Err(self.clean(error));
                    }
                    (pause, error)
                }
                RetryAdvice::Missing => {
                    let error = HostError::NotFound { what, needs: request.needs };
                    // The host answers 404 also for what the token may not see, so a 404 is waited out only where
                    // something was just created.
                    if !request.fresh || self.settled || begun.elapsed() > FRESH {
                        return Err(error);
                    }
                    (pause, error)
                }
            };
            // A wait that does not fit is an answer at once: whoever asked has other things to do in the time that is
            // left.
            // Compared as spans: the host's word added to an instant could overflow.
            if wait > end.saturating_duration_since(Instant::now()) {
                return Err(self.clean(error));
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(Duration::from_secs(10));
        }
    }

    /// Waits for the next place among the requests that create or change something.
    async fn keep_pace(&self, request: &ApiRequest<'_>, end: Instant) -> Result<(), HostError> {
        let now = Instant::now();
        let place = self.inner.pace.lock().unwrap_or_else(PoisonError::into_inner).next(now, end);
        let at = place.map_err(|at| {
            let what = request.what.to_owned();
            let wait = at - now;
            HostError::RateLimited { what, wait }
        })?;
        tokio::time::sleep_until(at).await;
        Ok(())
    }

    async fn once(&self, request: &ApiRequest<'_>, end: Instant) -> Result<HostResponse, String> {
        // At least a second, so that a last try is not cut off before the host could have answered.
        let limit = (Instant::now() + ONE).min(end.max(Instant::now() + Duration::from_secs(1)));
        let crab = &self.inner.crab;
        let mut path = request.path.clone();
        let body = request.body.as_ref();
        let exchange = async {
            // Only the library's transport: its models demand fields that the host may leave out, and its
            // `update_comment` sends POST where the host documents PATCH.
            let send = async |path: &str| match request.method {
                Method::Get => crab._get(path).await,
                Method::Post => crab._post(path, body).await,
                Method::Patch => crab._patch(path, body).await,
                Method::Put => crab._put(path, body).await,
                Method::Graph => self.inner.graph._post(path, body).await,
            };
            let mut response = send(&path).await.map_err(|error| reason(&error))?;
            // The library follows what is read, but sends no body twice. The host asks for just that, and did nothing yet.
            for _ in 0..MOST_MOVES {
                let location = response.headers().get("location").and_then(|value| value.to_str().ok());
                let status = response.status().as_u16();
                let Some(place) = moved(status, location, &self.inner.access.api) else { break };
                tracing::debug!(from = path, to = place, "the host has it under another name");
                path = place.to_owned();
                response = send(&path).await.map_err(|error| reason(&error))?;
            }
            let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            let number = |name: &str| header(name).and_then(|value| value.trim().parse::<u64>().ok());
            let mut answer = HostResponse {
                status: response.status().as_u16(),
                retry_after: number("retry-after"),
                remaining: number("x-ratelimit-remaining"),
                reset_in: number("x-ratelimit-reset")
                    .zip(header("date").and_then(seconds))
                    .map(|(at, now)| at.saturating_sub(now)),
                next_page: header("link").and_then(after_mark),
                body: String::new(),
            };
            answer.body = crab.body_to_string(response).await.map_err(|error| reason(&error))?;
            Ok(answer)
        };
        match tokio::time::timeout_at(limit, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err("no response in time".to_owned()),
        }
    }

    // The words of a host, or of a proxy in front of it, may quote the request with its header.
    fn clean(&self, error: HostError) -> HostError {
        match error {
            HostError::Permission { what, needs, said } => {
                HostError::Permission { what, needs, said: self.redacted(&said) }
            }
            HostError::Down { what, said } => HostError::Down { what, said: self.redacted(&said) },
            HostError::Refused { what, status, said } => {
                HostError::Refused { what, status, said: self.redacted(&said) }
            }
            other => other,
        }
    }

    pub(super) fn redacted(&self, text: &str) -> String {
        match &self.inner.access.token {
            Some(token) => text.replace(token.as_str(), "***"),
            None => text.to_owned(),
        }
    }
}

/// The causes of a failure, in one line.
fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    shown(&last.to_string())
}
