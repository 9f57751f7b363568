//! A bucket of an object store that speaks S3, as a place for artifacts. Requests are signed here and made by `web`, which keeps
//! them from private addresses that the configuration does not allow.

use std::fs::File;
use std::io;
use std::time::Duration;

use reqwest::header::CONTENT_LENGTH;
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode, Url};
use rusty_s3::actions::ListObjectsV2;
use rusty_s3::{Bucket, Credentials, S3Action as _, UrlStyle};
use tokio::runtime::Runtime;
use tracing::debug;

use super::web::{Web, WebError, parse_address};
use crate::config::{ArtifactStore, BucketAccess, Config};

/// For how long a signature is valid; the clock of a runner may be off by minutes.
const VALID: Duration = Duration::from_secs(15 * 60);

/// How long one request may take besides the time for its bytes.
const EXCHANGE: Duration = Duration::from_secs(60);

/// The slowest transfer that is waited for, in bytes a second.
const SLOWEST: u64 = 128 << 10;

/// How often a request is made that failed in a way that passes, and how long the first pause is.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(300);

/// How often it is asked whether a transfer may go on.
const LISTEN: Duration = Duration::from_millis(100);

/// The most that is read of an error, and of one page of a list.
const ANSWER: usize = 4 << 20;

/// The most pages of a list that are asked for, of a thousand names each.
const PAGES: usize = 1000;

/// The region of services that have none.
const NO_REGION: &str = "us-east-1";

/// Why an object store could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObjectStoreError {
    /// The configuration names no address that can be used.
    #[error("`artifacts.endpoint` of .planspec.yaml cannot be used: {0}")]
    Endpoint(String),
    /// The store said no.
    #[error("`{place}` refuses: {answer}; {step}")]
    Refused {
        /// The store.
        place: String,
        /// What it answered.
        answer: String,
        /// What a person can do.
        step: &'static str,
    },
    /// The store cannot be reached.
    #[error("`{place}`: {why}")]
    Unreachable {
        /// The store.
        place: String,
        /// Why, in words.
        why: String,
    },
    /// This machine could not read or write.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It was told to stop.
    #[error("it was stopped")]
    Stopped,
}

/// A bucket.
#[derive(Debug, Clone)]
pub(crate) struct ObjectStore {
    place: String,
    bucket: String,
    prefix: String,
    endpoint: Option<String>,
    region: String,
    access: BucketAccess,
    allow_private: Vec<String>,
}

impl ObjectStore {
    /// The bucket that the configuration names, if it names one.
    pub(crate) fn of(config: &Config, access: &BucketAccess) -> Option<Self> {
        let store = &config.artifacts.store;
        let ArtifactStore::Bucket { bucket, prefix } = store else { return None };
        let region = config.artifacts.region.clone().or_else(|| access.region.clone());
        Some(Self {
            place: String::from(store.clone()),
            bucket: bucket.clone(),
            prefix: prefix.clone(),
            endpoint: config.artifacts.endpoint.clone(),
            region: region.unwrap_or_else(|| NO_REGION.to_owned()),
            access: access.clone(),
            allow_private: config.providers.network.allow_private.clone(),
        })
    }

    /// Gets ready to make requests, each of which is given up as soon as `goes_on` says no. To be used, and dropped, where
    /// blocking is allowed.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub(crate) fn open<'s>(
        &'s self,
        goes_on: &'s dyn Fn() -> bool,
    ) -> Result<OpenBucket<'s>, ObjectStoreError> {
        let unusable = |why: String| ObjectStoreError::Endpoint(why);
        let (endpoint, style) = match &self.endpoint {
            // Servers that are not AWS often have no name for each bucket.
            Some(endpoint) => {
                let url = parse_address(endpoint).map_err(|error| unusable(error.to_string()))?;
                (url, UrlStyle::Path)
            }
            // A certificate of AWS is for one label before the service.
            None if self.bucket.contains('.') => (aws(&self.region)?, UrlStyle::Path),
            None => (aws(&self.region)?, UrlStyle::VirtualHost),
        };
        let bucket = Bucket::new(endpoint, style, self.bucket.clone(), self.region.clone());
        let bucket = bucket.map_err(|error| unusable(error.to_string()))?;
        let credentials = self.access.credentials.as_ref().map(|known| match &known.token {
            Some(token) => {
                Credentials::new_with_token(known.key_id.clone(), known.secret.clone(), token.clone())
            }
            None => Credentials::new(known.key_id.clone(), known.secret.clone()),
        });
        // A runtime of its own, because commands that only read have none; and with it a client of its own, whose connections
        // belong to the runtime.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let web = Web::new(&self.allow_private);
        Ok(OpenBucket { store: self, bucket, credentials, web, runtime, goes_on })
    }
}

fn aws(region: &str) -> Result<Url, ObjectStoreError> {
    let is_plain = region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let url = is_plain.then(|| Url::parse(&format!("https://s3.{region}.amazonaws.com")).ok()).flatten();
    url.ok_or_else(|| ObjectStoreError::Endpoint(format!("`{region}` is no region")))
}

/// A bucket to which requests can be made. Everything blocks.
pub(crate) struct OpenBucket<'s> {
    store: &'s ObjectStore,
    bucket: Bucket,
    credentials: Option<Credentials>,
    web: Web,
    runtime: Runtime,
    /// Whether there is still somebody who waits for the answer.
    goes_on: &'s dyn Fn() -> bool,
}

impl OpenBucket<'_> {
    /// Writes a file of `size` bytes as an object; `file` gives it, from its beginning, for each try.
    ///
    /// # Errors
    /// [`ObjectStoreError`].
    pub(crate) fn put(
        &self,
        name: &str,
        size: u64,
        file: impl Fn() -> io::Result<File>,
    ) -> Result<(), ObjectStoreError> {
        let key = self.key(name);
        let url = || self.bucket.put_object(self.credentials.as_ref(), &key).sign(VALID);
        let request = || {
            let body = Body::from(tokio::fs::File::from_std(file()?));
            // Without its length the body would be sent in chunks, which S3 does not take.
            let request = self.request(Method::PUT, url())?.header(CONTENT_LENGTH, size).body(body);
            Ok(request.timeout(time_for(size)))
        };
        self.wait_for(self.exchange(request, false))?;
        Ok(())
    }

    /// Reads an object, of which no more than `limit` bytes are taken. Whether there is one.
    ///
    /// # Errors
    /// [`ObjectStoreError`].
    pub(crate) fn get(
        &self,
        name: &str,
        limit: u64,
        write: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<bool, ObjectStoreError> {
        let key = self.key(name);
        let url = || self.bucket.get_object(self.credentials.as_ref(), &key).sign(VALID);
        let request = || Ok(self.request(Method::GET, url())?.timeout(time_for(limit)));
        self.wait_for(async {
            let Some(mut answer) = self.exchange(request, true).await? else { return Ok(false) };
            let mut room = limit;
            while let Some(piece) = answer.chunk().await.map_err(|error| self.fault(error, answer.url()))? {
                let taken = usize::try_from(room).unwrap_or(usize::MAX).min(piece.len());
                write(piece.get(..taken).unwrap_or_default())?;
                room -= taken as u64;
                if room == 0 {
                    break;
                }
            }
            Ok(true)
        })
    }

    /// The names of all objects that begin so.
    ///
    /// # Errors
    /// [`ObjectStoreError`].
    pub(crate) fn list(&self, below: &str) -> Result<Vec<String>, ObjectStoreError> {
        let prefix = self.key(below);
        let mut names = Vec::new();
        let mut next: Option<String> = None;
        for _ in 0..PAGES {
            let url = || {
                let mut list = self.bucket.list_objects_v2(self.credentials.as_ref());
                list.with_prefix(prefix.clone());
                if let Some(next) = &next {
                    list.with_continuation_token(next.clone());
                }
                list.sign(VALID)
            };
            let request = || Ok(self.request(Method::GET, url())?.timeout(EXCHANGE));
            let page = self.wait_for(async {
                match self.exchange(request, false).await? {
                    Some(answer) => self.text(answer).await,
                    None => Ok(String::new()),
                }
            })?;
            let page = ListObjectsV2::parse_response(&page)
                .map_err(|_| self.refused("its list of objects cannot be read", OTHER))?;
            // `gc` removes what is listed: a server that ignores the prefix would lose what belongs to others.
            let own = page.contents.iter().filter(|object| object.key.starts_with(&prefix));
            let own = own.filter_map(|object| object.key.strip_prefix(&self.store.prefix));
            names.extend(own.map(str::to_owned));
            next = page.next_continuation_token;
            if next.is_none() {
                return Ok(names);
            }
        }
        // A server that goes on for ever would fill the memory.
        Err(self.refused("its list of objects has no end", OTHER))
    }

    /// Removes an object; one that is not there is no error.
    ///
    /// # Errors
    /// [`ObjectStoreError`].
    pub(crate) fn remove(&self, name: &str) -> Result<(), ObjectStoreError> {
        let key = self.key(name);
        let url = || self.bucket.delete_object(self.credentials.as_ref(), &key).sign(VALID);
        let request = || Ok(self.request(Method::DELETE, url())?.timeout(EXCHANGE));
        self.wait_for(self.exchange(request, true)).map(drop)
    }

    /// Waits for an exchange with the store. All of them go through here, so that none outlives the wish for it: the time that
    /// a transfer may take follows from its size, and may be hours.
    fn wait_for<T>(
        &self,
        exchange: impl Future<Output = Result<T, ObjectStoreError>>,
    ) -> Result<T, ObjectStoreError> {
        let stopped = async {
            while (self.goes_on)() {
                tokio::time::sleep(LISTEN).await;
            }
        };
        self.runtime.block_on(async {
            tokio::select! {
                done = exchange => done,
                () = stopped => {
                    debug!(store = self.store.place, "an exchange with the object store was stopped");
                    Err(ObjectStoreError::Stopped)
                }
            }
        })
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.store.prefix)
    }

    fn request(&self, method: Method, url: Url) -> Result<RequestBuilder, ObjectStoreError> {
        let client = self.web.client(&url).map_err(|error| self.unreachable(&error))?;
        Ok(client.request(method, url))
    }

    /// Makes a request, again after what passes. Nothing where `may_be_missing` and the object is not there.
    async fn exchange(
        &self,
        request: impl Fn() -> Result<RequestBuilder, ObjectStoreError>,
        may_be_missing: bool,
    ) -> Result<Option<Response>, ObjectStoreError> {
        let mut attempt = 1;
        let mut pause = PAUSE;
        loop {
            let (failed, passes) = match request()?.send().await {
                Ok(answer) if answer.status().is_success() => return Ok(Some(answer)),
                Ok(answer) => {
                    let status = answer.status();
                    let code = code_of(&self.text(answer).await.unwrap_or_default());
                    // A bucket that is not there is never a file that is not there.
                    if may_be_missing
                        && status == StatusCode::NOT_FOUND
                        && code.as_deref() != Some("NoSuchBucket")
                    {
                        return Ok(None);
                    }
                    let passes = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                    (self.answered(status, code.as_deref()), passes)
                }
                Err(error) => {
                    let url = error.url().cloned();
                    let error = WebError::of(error, &url.unwrap_or_else(|| self.bucket.base_url().clone()));
                    (self.unreachable(&error), error.may_pass())
                }
            };
            if !passes || attempt == ATTEMPTS {
                return Err(failed);
            }
            debug!(store = self.store.place, attempt, error = %failed, "object store asked again");
            tokio::time::sleep(pause).await;
            attempt += 1;
            pause *= 4;
        }
    }

    /// The body of an answer, as far as it is read.
    async fn text(&self, mut answer: Response) -> Result<String, ObjectStoreError> {
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| self.fault(error, answer.url()))? {
            let room = ANSWER - bytes.len();
            bytes.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
            if piece.len() >= room {
                break;
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn answered(&self, status: StatusCode, code: Option<&str>) -> ObjectStoreError {
        let answer = match code {
            Some(code) => format!("{} {code}", status.as_u16()),
            None => format!("status {}", status.as_u16()),
        };
        let step = match (status.as_u16(), code) {
            (_, Some("NoSuchBucket")) => "create the bucket, or correct `artifacts.store` of .planspec.yaml",
            (301 | 307 | 400, _) => "check `artifacts.region` (or AWS_REGION) and `artifacts.endpoint`",
            (401 | 403, _) if self.credentials.is_none() => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment of planspec"
            }
            (401 | 403, Some("RequestTimeTooSkewed")) => "set the clock of this machine",
            (401 | 403, _) => {
                "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and that they may get, put, list and delete objects there"
            }
            _ => OTHER,
        };
        self.refused(&answer, step)
    }

    fn refused(&self, answer: &str, step: &'static str) -> ObjectStoreError {
        ObjectStoreError::Refused { place: self.store.place.clone(), answer: answer.to_owned(), step }
    }

    fn fault(&self, error: reqwest::Error, url: &Url) -> ObjectStoreError {
        self.unreachable(&WebError::of(error, url))
    }

    fn unreachable(&self, error: &WebError) -> ObjectStoreError {
        ObjectStoreError::Unreachable { place: self.store.place.clone(), why: error.to_string() }
    }
}

/// What to do about an answer that says nothing of its cause.
const OTHER: &str = "try again later";

/// How long a transfer may take.
fn time_for(bytes: u64) -> Duration {
    EXCHANGE + Duration::from_secs(bytes / SLOWEST)
}

/// The code in an error of S3. Only a plain word: it is shown to people (Invariant 8).
fn code_of(body: &str) -> Option<String> {
    let (_, rest) = body.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    (code.len() < 64 && code.chars().all(|c| c.is_ascii_alphanumeric())).then(|| code.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_an_error_is_a_plain_word() {
        let error = |code: &str| {
            format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m</Message></Error>")
        };
        assert_eq!(code_of(&error("AccessDenied")).as_deref(), Some("AccessDenied"));
        assert_eq!(code_of(&error("\u{1b}[31m")), None);
        assert_eq!(code_of("<html>"), None);
    }

    /// A server that answers every request with one page of a list, and the store that asks it.
    fn store_listing(page: &str) -> ObjectStore {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let answer =
            format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{page}", page.len());
        std::thread::spawn(move || {
            for peer in server.incoming() {
                let mut peer = peer.unwrap();
                let _ = io::Read::read(&mut peer, &mut [0; 8192]);
                let _ = io::Write::write_all(&mut peer, answer.as_bytes());
            }
        });
        let config = format!(
            r#"{{"artifacts": {{"store": "s3://acme/x", "endpoint": "http://{address}"}},
                "providers": {{"network": {{"allowPrivate": ["127.0.0.1"]}}}}}}"#
        );
        ObjectStore::of(&serde_json::from_str(&config).unwrap(), &BucketAccess::default()).unwrap()
    }

    fn page(keys: &[&str], next: &str) -> String {
        let object = |key: &&str| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>e</ETag><Size>1</Size></Contents>"
            )
        };
        let objects: String = keys.iter().map(object).collect();
        format!(
            "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><IsTruncated>{}</IsTruncated>{objects}{next}</ListBucketResult>",
            !next.is_empty()
        )
    }

    #[test]
    fn only_names_that_were_asked_for_are_listed() {
        let store = store_listing(&page(&["x/mine/1", "x/other/1", "mine/1"], ""));
        assert_eq!(store.open(&|| true).unwrap().list("mine/").unwrap(), ["mine/1"]);
    }

    #[test]
    fn a_list_without_an_end_is_refused() {
        let store = store_listing(&page(&[], "<NextContinuationToken>n</NextContinuationToken>"));
        let error = store.open(&|| true).unwrap().list("mine/").unwrap_err().to_string();
        assert!(error.contains("no end"), "{error}");
    }

    /// A store that takes requests, and the first bytes of what is sent, and answers nothing.
    #[test]
    fn an_exchange_ends_with_the_wish_for_it() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let config = format!(
            r#"{{"artifacts": {{"store": "s3://acme/x", "endpoint": "http://{}"}},
                "providers": {{"network": {{"allowPrivate": ["127.0.0.1"]}}}}}}"#,
            server.local_addr().unwrap()
        );
        let store =
            ObjectStore::of(&serde_json::from_str(&config).unwrap(), &BucketAccess::default()).unwrap();
        let began = std::time::Instant::now();
        let goes_on = || began.elapsed() < Duration::from_millis(200);
        let open = store.open(&goes_on).unwrap();
        let ends: [&dyn Fn() -> Result<(), ObjectStoreError>; 4] = [
            &|| open.get("a", 1 << 40, &mut |_| Ok(())).map(drop),
            &|| open.list("a").map(drop),
            &|| open.remove("a"),
            &|| open.put("a", 9, || File::open("/dev/null")),
        ];
        for end in ends {
            assert!(matches!(end(), Err(ObjectStoreError::Stopped)));
        }
        assert!(began.elapsed() < EXCHANGE, "{:?}", began.elapsed());
    }

    #[test]
    fn an_address_is_made_of_the_region_or_is_the_one_that_is_configured() {
        let config = |text: &str| -> Config { serde_json::from_str(text).unwrap() };
        let base = |text: &str| {
            let store = ObjectStore::of(&config(text), &BucketAccess::default()).unwrap();
            let open = store.open(&|| true);
            open.map(|open| open.bucket.base_url().to_string()).map_err(|error| error.to_string())
        };
        let known = |artifacts: &str| base(&format!("{{\"artifacts\": {artifacts}}}"));
        assert_eq!(known(r#"{"store": "s3://acme"}"#).unwrap(), "https://acme.s3.us-east-1.amazonaws.com/");
        assert_eq!(
            known(r#"{"store": "s3://a.b", "region": "eu-west-1"}"#).unwrap(),
            "https://s3.eu-west-1.amazonaws.com/a.b/"
        );
        assert_eq!(
            known(r#"{"store": "s3://acme/x", "endpoint": "https://minio.example:9000"}"#).unwrap(),
            "https://minio.example:9000/acme/"
        );
        assert!(
            known(r#"{"store": "s3://acme", "endpoint": "ftp://x"}"#)
                .unwrap_err()
                .contains("artifacts.endpoint")
        );
        assert!(known(r#"{"store": "s3://acme", "region": "x.evil/"}"#).unwrap_err().contains("no region"));
    }
}
