//! HTTP for everything in here that speaks it: bounded in time and size, and kept away from private addresses.

mod addresses;
mod client;
mod error;
mod guard;
mod headers;
mod retry_after;
#[cfg(test)]
mod tests;

pub(super) use client::{Answer, Request, Web};
pub(super) use error::WebError;
pub(super) use guard::parse_address;
pub(super) use headers::Headers;
pub(super) use retry_after::retry_after;

/// How many redirects are followed.
const REDIRECTS: usize = 5;

/// `scheme://host:port`, the part of an address that is no secret.
pub(super) fn origin(url: &reqwest::Url) -> String {
    url.origin().ascii_serialization()
}
