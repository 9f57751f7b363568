//! Fetching a submodule: from where `.gitmodules` says, which is not the user's word, so that only what goes over the network is
//! reached, and credentials stay with their host.

use super::{Remote, RemoteOptions};
use crate::git::url::RemoteUrl;
use crate::git::{GitError, ObjectId, Repo, Submodule};

impl Remote {
    /// The address of a submodule; a relative one counts from that of the remote, as Git counts it.
    ///
    /// # Errors
    /// [`GitError::BadSubmodule`] where it is none that a repository may name.
    pub fn submodule_address(beside: Option<&Self>, module: &Submodule) -> Result<String, GitError> {
        let url = &module.url;
        let is_relative = url.starts_with("./") || url.starts_with("../");
        let address = match (is_relative, beside) {
            (false, _) => url.clone(),
            (true, Some(remote)) => relative(&remote.address.url, url)
                .ok_or_else(|| module.bad("its relative address leads nowhere"))?,
            (true, None) => {
                return Err(module.bad("its address is relative, and this repository has no remote"));
            }
        };
        // A path would let whoever writes `.gitmodules` read repositories of this machine, and a helper runs what the address says.
        // Git refuses both for submodules, too.
        if !is_on_network(&address) {
            return Err(module.bad("its address is none of https, ssh, git or http"));
        }
        Ok(address)
    }

    /// Brings the commit of a submodule into its cache, from an address that [`Self::submodule_address`] has given.
    ///
    /// # Errors
    /// When it is not to be had.
    pub fn fetch_submodule(
        beside: Option<&Self>,
        (cache, address): (&Repo, &str),
        commit: ObjectId,
    ) -> Result<(), GitError> {
        if cache.contains(commit)? {
            return Ok(());
        }
        let mut options = beside.map(|remote| remote.options.clone()).unwrap_or_default();
        options.transport = None;
        let mut remote = Self::open(cache, address, RemoteOptions { authorization: None, ..options })?;
        // What opens the repository opens those beside it on the same host, and is shown to no other.
        if let Some(beside) = beside.filter(|beside| beside.address.origin() == remote.address.origin()) {
            remote.options.authorization.clone_from(&beside.options.authorization);
            if remote.address.credentials.is_none() {
                remote.address.credentials.clone_from(&beside.address.credentials);
            }
        }
        let by_id = match remote.fetch_commit(cache, commit) {
            Ok(()) => return Ok(()),
            Err(GitError::Interrupted) => return Err(GitError::Interrupted),
            Err(error) => error,
        };
        // Some servers give no commit that is not the tip of a branch.
        let branches: Vec<String> =
            remote.branches()?.iter().map(|branch| format!("refs/heads/{branch}")).collect();
        let branches: Vec<&str> = branches.iter().map(String::as_str).collect();
        if !branches.is_empty() {
            remote.fetch(cache, &branches)?;
        }
        if cache.contains(commit)? { Ok(()) } else { Err(by_id) }
    }

    /// An address as people may see it.
    #[must_use]
    pub fn without_credentials(address: &str) -> String {
        RemoteUrl::parse(address).url
    }
}

/// Whether an address is of a kind that Git follows for submodules by itself.
fn is_on_network(address: &str) -> bool {
    let is_plain =
        !address.starts_with('-') && !address.contains(char::is_control) && !address.contains("::");
    let scheme = address.split_once("://").map(|(scheme, _)| scheme);
    let host = |address: &str| {
        address.split(':').next().is_some_and(|host| {
            // `user@host:path`; a host that begins with a dash would be an option of `ssh`.
            let host = host.rsplit('@').next().unwrap_or_default();
            !host.is_empty() && !host.starts_with('-')
        })
    };
    is_plain
        && match scheme {
            Some(scheme) => matches!(scheme, "https" | "http" | "ssh" | "git"),
            None => !RemoteUrl::parse(address).is_local() && host(address),
        }
}

/// An address that counts from another one.
fn relative(from: &str, url: &str) -> Option<String> {
    let mut base = from.trim_end_matches('/').to_owned();
    let mut rest = url;
    let mut joint = '/';
    loop {
        if let Some(below) = rest.strip_prefix("./") {
            rest = below;
        } else if let Some(above) = rest.strip_prefix("../") {
            // `host:path` ends at its colon.
            let cut = base.rfind(['/', ':'])?;
            joint = if base.get(cut..=cut) == Some(":") { ':' } else { '/' };
            base.truncate(cut);
            rest = above;
        } else {
            break;
        }
    }
    // Not beyond the host.
    let host = from.find("://").map_or(0, |scheme| scheme + "://".len());
    if base.len() <= host {
        return None;
    }
    Some(format!("{base}{joint}{}", rest.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_address_counts_from_that_of_the_remote() {
        for (from, url, expected) in [
            ("https://host/acme/app.git", "../lib.git", Some("https://host/acme/lib.git")),
            ("https://host/acme/app.git/", "./lib", Some("https://host/acme/app.git/lib")),
            ("https://host/acme/app", "../../other/lib/", Some("https://host/other/lib")),
            ("git@host:acme/app.git", "../lib.git", Some("git@host:acme/lib.git")),
            ("git@host:app.git", "../lib.git", Some("git@host:lib.git")),
            ("https://host/app", "../../../lib", None),
        ] {
            assert_eq!(relative(from, url).as_deref(), expected, "{from} {url}");
        }
    }

    #[test]
    fn only_what_goes_over_the_network_is_an_address() {
        for good in
            ["https://host/x", "ssh://git@host/x", "git@host:x", "host:x", "git://host/x", "http://host/x"]
        {
            assert!(is_on_network(good), "{good}");
        }
        for bad in [
            "/srv/x",
            "file:///srv/x",
            "x",
            "ext::sh -c id",
            "https::x",
            "-uhost:x",
            "u@-oProxyCommand=id:x",
            "ftp://host/x",
            "https://host/\nx",
        ] {
            assert!(!is_on_network(bad), "{bad}");
        }
    }
}
