//! What the host's answer means for us: done, wait so long and ask again, or give up and why.

use std::time::Duration;

use crate::host::{HostError, shown};

/// How long to wait when the host limits us and does not say how long; its documentation asks for a minute.
const UNSAID: Duration = Duration::from_secs(60);

/// The longest wait that is believed: the host counts its limits by the hour, and a node that may be tried again would be
/// held for as long as a broken proxy says (Invariant 16).
const LONGEST: Duration = Duration::from_secs(2 * 3600);

/// What matters of an answer.
#[derive(Debug, Clone, Default)]
pub(super) struct HostResponse {
    pub(super) status: u16,
    /// `retry-after`, in seconds.
    pub(super) retry_after: Option<u64>,
    /// `x-ratelimit-remaining`.
    pub(super) remaining: Option<u64>,
    /// `x-ratelimit-reset` minus the host's own `date`, so that our clock does not matter.
    pub(super) reset_in: Option<u64>,
    /// Where the next page of a list begins, by the host's own mark.
    pub(super) next_page: Option<String>,
    pub(super) body: String,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RetryAdvice {
    /// It worked.
    Done,
    /// The host limits us.
    Limited(Duration),
    /// The host fails; the same may work in a moment.
    Failing(String),
    /// It is not there.
    Missing,
    /// It will not work.
    Never(HostError),
}

/// Judges an answer to a request that wants to do `what` and needs a permission.
pub(super) fn judge(answer: &HostResponse, what: &str, needs: &'static str) -> RetryAdvice {
    let what = what.to_owned();
    let said = said(&answer.body);
    match answer.status {
        200..=299 => RetryAdvice::Done,
        // Before the permission: the host answers 403 for both, and only a limit passes.
        403 | 429 if is_limit(answer) => RetryAdvice::Limited(wait(answer)),
        500..=599 => RetryAdvice::Failing(format!("{}: {said}", answer.status)),
        404 => RetryAdvice::Missing,
        401 => RetryAdvice::Never(HostError::Token { what }),
        403 => RetryAdvice::Never(HostError::Permission { what, needs, said }),
        status => RetryAdvice::Never(HostError::Refused { what, status, said }),
    }
}

/// The seconds since 1970 that a `date` header means.
pub(super) fn seconds(date: &str) -> Option<u64> {
    let at = jiff::fmt::rfc2822::parse(date).ok()?;
    u64::try_from(at.timestamp().as_second()).ok()
}

/// The path to which the host sends a request with its body, because the repository was renamed. On the same host alone: the request
/// has the token.
pub(super) fn moved<'a>(status: u16, location: Option<&'a str>, api: &str) -> Option<&'a str> {
    let place = location.filter(|_| matches!(status, 307 | 308))?.strip_prefix(api)?;
    place.starts_with('/').then_some(place)
}

fn is_limit(answer: &HostResponse) -> bool {
    answer.status == 429
        || answer.retry_after.is_some()
        || answer.remaining == Some(0)
        // A secondary limit may come without any of these headers; then only its words say what it is.
        || said(&answer.body).to_lowercase().contains("rate limit")
}

fn wait(answer: &HostResponse) -> Duration {
    let wait = match (answer.retry_after, answer.remaining, answer.reset_in) {
        (Some(seconds), _, _) => Duration::from_secs(seconds),
        // One second more: the reset is given in whole seconds.
        (None, Some(0), Some(seconds)) => Duration::from_secs(seconds.saturating_add(1)),
        _ => UNSAID,
    };
    wait.min(LONGEST)
}

/// The host's own words, as it documents its errors.
fn said(body: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let mut said = value.get("message").and_then(|message| message.as_str()).unwrap_or("no words").to_owned();
    let errors = value.get("errors").and_then(|errors| errors.as_array());
    // The words become part of a message that is recorded, so there are few of them.
    for error in errors.into_iter().flatten().take(3) {
        let words = error.as_str().or_else(|| error.get("message").and_then(|message| message.as_str()));
        if let Some(words) = words {
            said.push_str("; ");
            said.push_str(words);
        }
    }
    shown(&said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(answer: &HostResponse) -> RetryAdvice {
        judge(answer, "comment", "issues: write")
    }

    #[test]
    fn only_the_host_itself_is_followed_with_a_body_and_the_token() {
        let api = "https://api.github.com";
        let place = "https://api.github.com/repositories/1/issues";
        assert_eq!(moved(307, Some(place), api), Some("/repositories/1/issues"));
        assert_eq!(moved(308, Some(place), api), Some("/repositories/1/issues"));
        // What is read is followed by the library, and an answer is no way on.
        assert_eq!(
            (moved(301, Some(place), api), moved(201, Some(place), api), moved(307, None, api)),
            (None, None, None)
        );
        for other in [
            "https://evil.example/x",
            "https://api.github.com.evil.example/x",
            "https://api.github.com@evil.example/x",
        ] {
            assert_eq!(moved(307, Some(other), api), None, "{other}");
        }
    }

    #[test]
    fn limits_are_told_by_headers_and_waited_for_as_they_say() {
        let limited = |answer| match judged(&answer) {
            RetryAdvice::Limited(wait) => wait.as_secs(),
            other => panic!("{other:?}"),
        };
        let base = HostResponse { status: 403, ..HostResponse::default() };
        assert_eq!(limited(HostResponse { retry_after: Some(7), ..base.clone() }), 7);
        assert_eq!(limited(HostResponse { remaining: Some(0), reset_in: Some(30), ..base.clone() }), 31);
        let body = r#"{"message":"You have exceeded a secondary rate limit."}"#.to_owned();
        assert_eq!(limited(HostResponse { body, ..base }), 60);
        assert_eq!(limited(HostResponse { status: 429, ..HostResponse::default() }), 60);
        let base = HostResponse { status: 429, remaining: Some(0), ..HostResponse::default() };
        let forever = Some(u64::MAX);
        assert_eq!(limited(HostResponse { retry_after: forever, ..base.clone() }), LONGEST.as_secs());
        assert_eq!(limited(HostResponse { reset_in: forever, ..base }), LONGEST.as_secs());
    }

    #[test]
    fn a_weak_token_is_told_with_the_permission_that_it_lacks() {
        let body = r#"{"message":"Resource not accessible by integration"}"#.to_owned();
        let answer = HostResponse { status: 403, remaining: Some(4999), body, ..HostResponse::default() };
        let RetryAdvice::Never(error) = judged(&answer) else { panic!("{answer:?}") };
        assert!(error.is_permission());
        assert_eq!(
            error.to_string(),
            "cannot comment: the token needs the permission `issues: write` (Resource not accessible by integration)"
        );
    }

    #[test]
    fn what_is_no_json_is_an_answer_too() {
        let answer = HostResponse { status: 422, body: "<html>".to_owned(), ..HostResponse::default() };
        assert!(matches!(judged(&answer), RetryAdvice::Never(HostError::Refused { status: 422, .. })));
        let answer = HostResponse { status: 502, body: "<html>".to_owned(), ..HostResponse::default() };
        assert_eq!(judged(&answer), RetryAdvice::Failing("502: no words".to_owned()));
    }
}
