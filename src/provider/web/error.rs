//! Why a request came to nothing. Messages name the origin of an address, never its path, query or user.

use std::error::Error;

use super::{REDIRECTS, origin};

/// Why a request may not go somewhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::provider) enum Refused {
    #[error(
        "`{host}` is a private address, which `providers.network.allowPrivate` of .planspec.yaml does not allow"
    )]
    Address { host: String },
    #[error(
        "`{host}` leads to a private address, which `providers.network.allowPrivate` of .planspec.yaml does not allow"
    )]
    Name { host: String },
    #[error("`{host}` is not a known name")]
    Unknown { host: String },
}

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::provider) enum WebError {
    #[error("the address is not an http or https URL")]
    NotHttp,
    #[error("the address holds a user or a password; name a variable in `secretHeaders` instead")]
    Credentials,
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("{from} redirects more than {limit} times")]
    TooManyRedirects { from: String, limit: usize },
    #[error("{from} redirects to another place, {to}, which is not followed with a body")]
    RedirectedAway { from: String, to: String },
    #[error("{from} answers with more than {limit} bytes")]
    TooLarge { from: String, limit: usize },
    #[error("{from} did not answer in time")]
    TimedOut { from: String },
    #[error("{from} cannot be reached: {why}")]
    Unreachable { from: String, why: String },
    #[error("{from}: {why}")]
    Broken { from: String, why: String },
    #[error("header `{name}` cannot be sent")]
    BadHeader { name: String },
    #[error("no client for HTTP: {0}")]
    NoClient(String),
}

impl WebError {
    /// Takes an error of the client for what it is, without the URL that it may hold.
    pub(in crate::provider) fn of(error: reqwest::Error, url: &reqwest::Url) -> Self {
        let from = origin(url);
        // The client writes the whole URL into its messages, with the query, which may hold a key.
        let error = error.without_url();
        if let Some(refused) = causes(&error).find_map(|cause| cause.downcast_ref::<Refused>()) {
            return Self::Refused(refused.clone());
        }
        if error.is_timeout() {
            return Self::TimedOut { from };
        }
        if error.is_redirect() {
            return Self::TooManyRedirects { from, limit: REDIRECTS };
        }
        // The innermost cause says what happened, such as a refused connection; the outer ones say that a request
        // failed.
        let why = causes(&error).last().map(ToString::to_string).unwrap_or_default();
        if error.is_connect() { Self::Unreachable { from, why } } else { Self::Broken { from, why } }
    }

    /// Whether another try may end otherwise.
    pub(in crate::provider) fn may_pass(&self) -> bool {
        matches!(self, Self::TimedOut { .. } | Self::Unreachable { .. } | Self::Broken { .. })
            // A name server that is down makes every name unknown. A private address stays one until the configuration
            // changes.
            || matches!(self, Self::Refused(Refused::Unknown { .. }))
    }
}

/// An error and what caused it, from the outside to the inside.
fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
