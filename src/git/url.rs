//! Addresses of remotes: their credentials split off, and the transport that they need.

use sha2::{Digest as _, Sha256};

/// What stands for an address where it cannot stand itself, as in the name of a reference or a folder. 64 bits keep the few addresses of
/// one clone apart.
pub(super) fn short_digest(url: &str) -> String {
    let digest = Sha256::digest(url.as_bytes());
    hex::encode(digest.get(..8).unwrap_or_default())
}

/// A remote's address, with the credentials in it split off.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct RemoteUrl {
    /// The address without a password.
    pub(super) url: String,
    /// `user:password`, percent-decoded, when the address of an HTTP remote held both.
    pub(super) credentials: Option<String>,
}

impl RemoteUrl {
    pub(super) fn parse(text: &str) -> Self {
        let whole = Self { url: text.to_owned(), credentials: None };
        // `host:path` and plain paths: Git reads no password in them.
        let Some((scheme, rest)) = text.split_once("://") else { return whole };
        // Cut at the first of these, as browsers and curl do it, so that an `@` in a path is not taken for the end of a
        // password.
        let (authority, path) = match rest.find(['/', '?', '#']) {
            Some(end) => rest.split_at_checked(end).unwrap_or((rest, "")),
            None => (rest, ""),
        };
        // The last `@`: a password may hold one that nobody encoded.
        let Some((userinfo, host)) = authority.rsplit_once('@') else { return whole };
        let http = matches!(scheme, "http" | "https");
        match userinfo.split_once(':') {
            Some((user, password)) => Self {
                url: if http || user.is_empty() {
                    format!("{scheme}://{host}{path}")
                } else {
                    format!("{scheme}://{user}@{host}{path}")
                },
                // Other transports have no header to carry them. SSH asks an agent, and a password in its address is
                // dropped.
                credentials: http.then(|| format!("{}:{}", decode(user), decode(password))),
            },
            // On HTTP a user name without a password is often a token.
            None if http => Self {
                url: format!("{scheme}://{host}{path}"),
                credentials: Some(format!("{}:", decode(userinfo))),
            },
            None => whole,
        }
    }

    /// The part of an HTTP address up to the path, which a header may be bound to.
    pub(super) fn origin(&self) -> Option<String> {
        let (scheme, rest) = self.url.split_once("://")?;
        let host = rest.split(['/', '?', '#']).next()?;
        // Git compares scheme, host and port of such a setting exactly and its path as a prefix: this covers every
        // repository of the host, and no other host.
        matches!(scheme, "http" | "https").then(|| format!("{scheme}://{host}/"))
    }

    /// The value of `GIT_ALLOW_PROTOCOL` for this remote: the file transport only when the user named a path.
    pub(super) fn protocols(&self) -> String {
        let network = "http:https:ssh:git";
        // `file` only for a path that the user named: a server that redirects there could read this machine.
        if self.is_local() {
            return "file".to_owned();
        }
        match self.url.split_once("::") {
            // A remote helper by name; `ext` and `fd` run whatever the address says.
            Some((helper, _))
                if !matches!(helper, "ext" | "fd")
                    && helper.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') =>
            {
                format!("{network}:{helper}")
            }
            _ => network.to_owned(),
        }
    }

    /// The directory, when it is one of this machine; relative when it was given so.
    pub(super) fn local_path(&self) -> Option<String> {
        let path = || match self.url.split_once("://") {
            // Git decodes an address, and takes a path as it stands.
            Some((_, path)) => decode(path),
            None => self.url.clone(),
        };
        self.is_local().then(path)
    }

    /// Whether it is a directory of this machine, as Git distinguishes them.
    pub(super) fn is_local(&self) -> bool {
        if let Some((scheme, _)) = self.url.split_once("://") {
            return scheme == "file";
        }
        // `host:path` is SSH, unless a slash comes before the colon, as Git decides it.
        match (self.url.find(':'), self.url.find('/')) {
            (Some(colon), Some(slash)) => slash < colon,
            (Some(_), None) => false,
            (None, _) => true,
        }
    }
}

/// A text with the userinfo of every address in it replaced.
pub(super) fn redact(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        result.push_str(before);
        result.push_str("://");
        // Messages quote addresses in several ways; an authority that ends nowhere would swallow the sentence behind
        // it.
        let end = after.find(|c: char| c.is_whitespace() || matches!(c, '/' | '\'' | '"' | '?' | '#'));
        let (authority, tail) = match end {
            Some(end) => after.split_at_checked(end).unwrap_or((after, "")),
            None => (after, ""),
        };
        match authority.rsplit_once('@') {
            // The user name goes as well as the password: on hosts a token often takes its place.
            Some((_, host)) => {
                result.push_str("***@");
                result.push_str(host);
            }
            None => result.push_str(authority),
        }
        rest = tail;
    }
    result.push_str(rest);
    result
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
        match (*first, hex(tail.first()), hex(tail.get(1))) {
            (b'%', Some(high), Some(low)) => {
                bytes.extend(u8::try_from(high * 16 + low));
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                // A `%` that starts no code stays, as people also write passwords without encoding them.
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_taken_out_of_an_address() {
        let check = |text: &str, url: &str, credentials: Option<&str>| {
            let address = RemoteUrl::parse(text);
            assert_eq!((address.url.as_str(), address.credentials.as_deref()), (url, credentials), "{text}");
        };
        check("https://u:p%40x@h:8443/a/b.git", "https://h:8443/a/b.git", Some("u:p@x"));
        check("https://token@h/a", "https://h/a", Some("token:"));
        check("https://h/a@b", "https://h/a@b", None);
        check("ssh://git@h/a", "ssh://git@h/a", None);
        check("ssh://git:secret@h/a", "ssh://git@h/a", None);
        check("git@h:a/b.git", "git@h:a/b.git", None);
        check("/srv/a@b:c", "/srv/a@b:c", None);
    }

    #[test]
    fn every_address_in_a_text_is_redacted() {
        assert_eq!(
            redact("fatal: 'https://u:p@h/a' and http://tok@h:1?x http://h/a@b"),
            "fatal: 'https://***@h/a' and http://***@h:1?x http://h/a@b"
        );
        assert_eq!(redact("://a@"), "://***@");
    }

    #[test]
    fn the_file_transport_is_for_paths_alone() {
        for local in ["/srv/a.git", "../a", "a", "file:///srv/a.git", "./a:b"] {
            assert_eq!(RemoteUrl::parse(local).protocols(), "file", "{local}");
        }
        let path = |text: &str| RemoteUrl::parse(text).local_path();
        assert_eq!(path("file:///srv/a%20b.git").as_deref(), Some("/srv/a b.git"));
        assert_eq!(path("../a%20b").as_deref(), Some("../a%20b"));
        assert_eq!(path("h:a"), None);
        for other in ["https://h/a", "git@h:a", "h:a", "ext::sh -c true", "fd::1"] {
            assert_eq!(RemoteUrl::parse(other).protocols(), "http:https:ssh:git", "{other}");
        }
        assert_eq!(RemoteUrl::parse("codecommit::eu://a").protocols(), "http:https:ssh:git:codecommit");
    }
}
