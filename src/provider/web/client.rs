//! The client: bounded answers, few redirects, no proxy of the environment, addresses checked.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, Method, StatusCode, Url, redirect};
use serde_json::Value;

use super::addresses::AddressRules;
use super::error::WebError;
use super::guard::{Guard, parse_address};
use super::retry_after::retry_after;
use super::{REDIRECTS, origin};
use crate::provider::Attempt;

/// How many bytes of an answer are taken unless a request says otherwise.
const ANSWER: usize = 1 << 20;

const CONNECT: Duration = Duration::from_secs(10);

/// How long a whole exchange may take unless a request says otherwise.
const EXCHANGE: Duration = Duration::from_secs(30);

const AGENT: &str = concat!("planspec/", env!("CARGO_PKG_VERSION"));

/// Makes requests; shared by all that speak HTTP.
pub(in crate::provider) struct Web {
    rules: Arc<AddressRules>,
    /// Made when first needed: one for everybody, and one for each name that is allowed on one port.
    clients: Mutex<BTreeMap<Option<(String, u16)>, Client>>,
}

/// What is asked.
#[derive(Debug, Clone)]
pub(in crate::provider) struct Request {
    pub(in crate::provider) method: Method,
    pub(in crate::provider) url: Url,
    pub(in crate::provider) headers: HeaderMap,
    pub(in crate::provider) body: Option<Value>,
    /// The limit of the whole exchange.
    pub(in crate::provider) timeout: Duration,
    /// How many bytes of the answer are taken.
    pub(in crate::provider) limit: usize,
    /// Whether the beginning of an answer that is too large will do.
    pub(in crate::provider) cut: bool,
}

/// What was answered.
#[derive(Debug, Clone)]
pub(in crate::provider) struct Answer {
    pub(in crate::provider) status: StatusCode,
    pub(in crate::provider) headers: HeaderMap,
    pub(in crate::provider) body: Vec<u8>,
    /// Whether more than the body that was taken came.
    pub(in crate::provider) cut: bool,
    /// The address that answered, after redirects.
    pub(in crate::provider) url: Url,
}

impl Request {
    /// A request without headers and body.
    pub(in crate::provider) fn new(method: Method, url: Url) -> Self {
        let headers = HeaderMap::new();
        Self { method, url, headers, body: None, timeout: EXCHANGE, limit: ANSWER, cut: false }
    }

    /// Adds a header; its value is kept out of debug output.
    pub(in crate::provider) fn header(&mut self, name: &str, value: &str) -> Result<(), WebError> {
        let bad = || WebError::BadHeader { name: name.to_owned() };
        let key: HeaderName = name.parse().map_err(|_| bad())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| bad())?;
        // Any header may be a secret: it is not known here which.
        value.set_sensitive(true);
        self.headers.insert(key, value);
        Ok(())
    }

    /// Adds the headers by which whoever is asked recognises what it has done already, and which lease is over.
    pub(in crate::provider) fn identify(&mut self, attempt: &Attempt) -> Result<(), WebError> {
        self.header("Idempotency-Key", &attempt.idempotency_key)?;
        self.header("Planspec-Work-Key", &attempt.work)?;
        self.header("Planspec-Fencing-Token", &attempt.fencing_token.to_string())
    }
}

impl Answer {
    /// How long the one who answered asks to be left alone.
    pub(in crate::provider) fn retry_after(&self) -> Option<Duration> {
        let text = |name| self.headers.get(name).and_then(|value| value.to_str().ok());
        retry_after(text(RETRY_AFTER)?, text(DATE))
    }
}

impl Web {
    /// `allow_private` is `providers.network.allowPrivate`.
    pub(in crate::provider) fn new(allow_private: &[String]) -> Self {
        Self { rules: Arc::new(AddressRules::new(allow_private)), clients: Mutex::default() }
    }

    /// A client for requests to `url`, for those who bring their own protocol. It follows redirects only within the
    /// origin, and has no limit on the size of an answer or the time of a whole exchange.
    pub(in crate::provider) fn client(&self, url: &Url) -> Result<Client, WebError> {
        let url = &parse_address(url.as_str())?;
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or_default();
        // The resolver knows no port. A name that is allowed on one port only needs a client of its own, whose
        // guard knows it.
        let named = self.rules.allow_name(host, Some(port)) && !self.rules.allow_name(host, None);
        let exempt = named.then(|| (host.to_owned(), port));
        let guard = Guard { rules: Arc::clone(&self.rules), exempt };
        guard.check(url)?;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&guard.exempt) {
            return Ok(client.clone());
        }
        let client = build(&guard)?;
        clients.insert(guard.exempt, client.clone());
        Ok(client)
    }

    /// Makes a request and takes the answer. Redirects to another origin are followed when nothing is sent there: no
    /// headers, no body.
    pub(in crate::provider) async fn send(&self, mut request: Request) -> Result<Answer, WebError> {
        let from = origin(&request.url);
        let limit = request.timeout;
        let exchange = async {
            for _ in 0..=REDIRECTS {
                let answer = self.exchange(&request).await?;
                let Some(next) = redirected(&answer) else { return Ok(answer) };
                // A body holds inputs of the work, which were meant for the first origin.
                if request.method != Method::GET && request.method != Method::HEAD {
                    return Err(WebError::RedirectedAway { from: origin(&answer.url), to: origin(&next) });
                }
                // They may hold secrets for the first origin, and this one never was named by the configuration.
                request.headers.clear();
                request.url = parse_address(next.as_str())?;
            }
            Err(WebError::TooManyRedirects { from: from.clone(), limit: REDIRECTS })
        };
        // Around all redirects and the whole body: a server that sends a byte now and then never is late for a single
        // read.
        match tokio::time::timeout(limit, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(WebError::TimedOut { from }),
        }
    }

    async fn exchange(&self, request: &Request) -> Result<Answer, WebError> {
        let url = &request.url;
        let mut building = self.client(url)?.request(request.method.clone(), url.clone());
        building = building.headers(request.headers.clone());
        if let Some(body) = &request.body {
            building = building.json(body);
        }
        let mut response = building.send().await.map_err(|error| WebError::of(error, url))?;
        let mut answer = Answer {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body: Vec::new(),
            cut: false,
            url: response.url().clone(),
        };
        while let Some(piece) = response.chunk().await.map_err(|error| WebError::of(error, url))? {
            // This cannot be less than zero: never more than the limit was taken.
            let room = request.limit - answer.body.len();
            answer.body.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
            if piece.len() > room {
                answer.cut = true;
                if request.cut {
                    break;
                }
                return Err(WebError::TooLarge { from: origin(url), limit: request.limit });
            }
        }
        Ok(answer)
    }
}

/// Where an answer sends us, when the client did not follow by itself: another origin.
fn redirected(answer: &Answer) -> Option<Url> {
    if !matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    answer.url.join(answer.headers.get(LOCATION)?.to_str().ok()?).ok()
}

fn build(guard: &Guard) -> Result<Client, WebError> {
    // Whoever was first has chosen the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = || {
        let hops = guard.clone();
        Client::builder()
            .user_agent(AGENT)
            // A proxy would resolve names itself, out of reach of the guard.
            .no_proxy()
            .connect_timeout(CONNECT)
            // A redirect must not show another origin the path and the query of the first.
            .referer(false)
            // What is checked is what is connected to: a name that is resolved twice may lead to another address the
            // second time.
            .dns_resolver(guard.clone())
            .redirect(redirect::Policy::custom(move |hop| follow(&hops, hop)))
    };
    let made = builder().build();
    // A machine without certificates can still speak to services without encryption.
    made.or_else(|_| builder().tls_certs_only([]).build())
        .map_err(|error| WebError::NoClient(error.without_url().to_string()))
}

fn follow(guard: &Guard, hop: redirect::Attempt<'_>) -> redirect::Action {
    let previous = hop.previous();
    if previous.len() > REDIRECTS {
        return hop.error("too many redirects");
    }
    if previous.last().is_none_or(|last| last.origin() != hop.url().origin()) {
        // No error: `send` goes on from here, without the headers.
        return hop.stop();
    }
    if let Err(refused) = guard.check(hop.url()) {
        return hop.error(refused);
    }
    hop.follow()
}
