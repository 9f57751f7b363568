//! Checks where a request goes: the address as written, every hop, and every network address that a name leads to.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::addresses::AddressRules;
use super::error::{Refused, WebError};

/// What one client may reach.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    pub(super) rules: Arc<AddressRules>,
    /// A name and a port that are allowed together: the resolver knows no ports.
    pub(super) exempt: Option<(String, u16)>,
}

impl Guard {
    /// Checks what can be seen in an address itself.
    pub(super) fn check(&self, url: &Url) -> Result<(), Refused> {
        let port = url.port_or_known_default().unwrap_or_default();
        let host = url.host_str().unwrap_or_default();
        let refused = || Refused::Address { host: host.to_owned() };
        match literal(host) {
            Some(address) if self.rules.allow_address(address, Some(port)) => Ok(()),
            Some(_) => Err(refused()),
            None => match &self.exempt {
                // A redirect may lead to another port of the same name, for which the exemption of this client does not
                // count.
                Some((name, only)) if name == host && *only != port => Err(refused()),
                _ => Ok(()),
            },
        }
    }

    fn filter(&self, name: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Refused> {
        let free = self.exempt.as_ref().is_some_and(|(exempt, _)| exempt == name)
            || self.rules.allow_name(name, None);
        // One private address among public ones is reason enough: the connection could go to any of them.
        if free || found.iter().all(|address| self.rules.allow_address(address.ip(), None)) {
            Ok(found)
        } else {
            Err(Refused::Name { host: name.to_owned() })
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let asked = host.clone();
            // The system's own resolver, with its hosts file and search list; it blocks, for seconds when a name server
            // is down.
            let looked_up = tokio::task::spawn_blocking(move || (asked.as_str(), 0).to_socket_addrs());
            let found: Vec<SocketAddr> = match looked_up.await {
                Ok(Ok(found)) => found.collect(),
                Ok(Err(_)) | Err(_) => Vec::new(),
            };
            if found.is_empty() {
                return Err(Refused::Unknown { host }.into());
            }
            let addresses: Addrs = Box::new(guard.filter(&host, found)?.into_iter());
            Ok(addresses)
        })
    }
}

/// Reads an address that requests may be made to; where it leads is checked when one is made.
pub(in crate::provider) fn parse_address(text: &str) -> Result<Url, WebError> {
    let url = Url::parse(text).map_err(|_| WebError::NotHttp)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(WebError::NotHttp);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(WebError::Credentials);
    }
    Ok(url)
}

/// The network address that a host is written as.
fn literal(host: &str) -> Option<IpAddr> {
    // The parser of URLs has written every other spelling of an IPv4 address (octal, hexadecimal, one number) in this
    // form.
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::web::origin;

    fn guard(rules: &[&str]) -> Guard {
        let rules: Vec<String> = rules.iter().map(|rule| (*rule).to_owned()).collect();
        Guard { rules: Arc::new(AddressRules::new(&rules)), exempt: None }
    }

    #[test]
    fn an_address_is_known_in_every_spelling() {
        for text in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://[::1]/",
            "http://[::ffff:a9fe:a9fe]/",
        ] {
            let url = parse_address(text).unwrap();
            assert!(guard(&[]).check(&url).is_err(), "{text}");
            assert!(guard(&["0.0.0.0/0", "::1"]).check(&url).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_name_with_one_private_address_is_refused() {
        let found: Vec<SocketAddr> = ["1.1.1.1:0", "10.0.0.1:0"].map(|text| text.parse().unwrap()).to_vec();
        let refused = Refused::Name { host: "x.example".to_owned() };
        assert_eq!(guard(&[]).filter("x.example", found.clone()), Err(refused));
        assert_eq!(guard(&["*.example"]).filter("x.example", found.clone()), Ok(found.clone()));
        assert_eq!(guard(&["10.0.0.0/8"]).filter("x.example", found.clone()), Ok(found.clone()));
        assert!(guard(&["x.example:80"]).filter("x.example", found).is_err(), "a rule for one port");
    }

    #[test]
    fn only_plain_web_addresses_are_read() {
        for text in ["file:///etc/passwd", "ftp://x/", "x", "", "//x", "unix:/x", "data:,x"] {
            assert_eq!(parse_address(text), Err(WebError::NotHttp), "{text}");
        }
        assert_eq!(parse_address("http://mia:hunter22@x.example/"), Err(WebError::Credentials));
        assert_eq!(parse_address("http://mia@x.example/"), Err(WebError::Credentials));
        let url = parse_address("https://x.example:8443/a?token=hunter22").unwrap();
        assert_eq!(origin(&url), "https://x.example:8443");
    }
}
