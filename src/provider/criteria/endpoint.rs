//! Acceptance criteria that an address on the network decides: `endpoint_responds` and `custom`.

use std::time::{Duration, Instant};

use regex::bytes::Regex;
use reqwest::Method;

use crate::model::{CriterionCheck, ExpectedResponse};
use crate::provider::web::{Request, Web, origin, parse_address};

/// How much of an answer is searched.
const SEARCHED: usize = 1 << 20;

/// A question to an address, and the answer that is expected.
#[derive(Debug)]
pub(in crate::provider) struct Endpoint {
    request: Request,
    status: u16,
    body_match: Option<Regex>,
}

/// What came back.
#[derive(Debug)]
pub(in crate::provider) struct Response {
    /// The status, and how long it took, in words.
    pub(in crate::provider) seen: String,
    /// What the pattern is searched for in, if there is one.
    pub(in crate::provider) body: Option<(Regex, Vec<u8>)>,
    /// Whether the body is longer than what was taken of it.
    pub(in crate::provider) cut: bool,
}

impl Endpoint {
    /// The question that a criterion asks; none if it asks no address.
    pub(in crate::provider) fn of(check: &CriterionCheck) -> Option<Result<Self, String>> {
        match check {
            CriterionCheck::EndpointResponds { url, method, expected_status, body_match } => {
                Some(Self::read(url, method.as_deref(), *expected_status, body_match.as_deref()))
            }
            CriterionCheck::Custom { webhook_url, payload, expected_response } => {
                let ExpectedResponse { status_code, body_match } = expected_response
                    .clone()
                    .unwrap_or(ExpectedResponse { status_code: None, body_match: None });
                let endpoint = Self::read(webhook_url, Some("POST"), status_code, body_match.as_deref());
                Some(endpoint.map(|mut endpoint| {
                    // An object also where no payload is given: a webhook that reads JSON would refuse an empty body.
                    endpoint.request.body = Some(payload.clone().unwrap_or_else(|| serde_json::json!({})));
                    endpoint
                }))
            }
            _ => None,
        }
    }

    fn read(
        url: &str,
        method: Option<&str>,
        status: Option<u16>,
        body: Option<&str>,
    ) -> Result<Self, String> {
        let url =
            parse_address(url).map_err(|error| format!("has an address that cannot be used: {error}"))?;
        let method = match method.unwrap_or("GET") {
            // A closed list, because the client would send any word as a method.
            word @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") => {
                word.parse::<Method>().map_err(|error| error.to_string())?
            }
            _ => return Err("has a `method` that is none of HTTP".to_owned()),
        };
        let pattern = body.map(|text| {
            Regex::new(text).map_err(|_| "has a `bodyMatch` that is not a regular expression".to_owned())
        });
        let mut request = Request::new(method, url);
        // The status counts whatever the size of the answer, so a large one is searched in part and is no error.
        (request.limit, request.cut) = (SEARCHED, true);
        Ok(Self { request, status: status.unwrap_or(200), body_match: pattern.transpose()? })
    }

    /// Asks, within `limit` if there is one.
    ///
    /// # Errors
    /// Says why the answer is not the expected one.
    pub(in crate::provider) async fn ask(
        mut self,
        web: &Web,
        limit: Option<Duration>,
    ) -> Result<Response, String> {
        // The time of the criterion or of the attempt takes the place of the 30 s that a request has otherwise.
        if let Some(limit) = limit {
            self.request.timeout = limit;
        }
        let from = origin(&self.request.url);
        let started = Instant::now();
        let answer = web.send(self.request).await.map_err(|error| error.to_string())?;
        let seen = format!("{from} answers {} after {} ms", answer.status, started.elapsed().as_millis());
        if answer.status.as_u16() != self.status {
            return Err(format!("{seen}, expected {}", self.status));
        }
        Ok(Response { seen, body: self.body_match.map(|pattern| (pattern, answer.body)), cut: answer.cut })
    }
}
