//! Who is asked: the part of `human://…` after the scheme.

use std::fmt;

use crate::host::RepoName;

/// Who is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Assignee {
    /// A login of the Git host.
    Login(String),
    /// A team of an organisation on the Git host.
    Team { organisation: Option<String>, slug: String },
    /// Anything else: words for people. On the host, whoever may write may answer.
    Words(String),
}

impl Assignee {
    /// Reads what stands after `human://`.
    pub(super) fn parse(text: &str) -> Self {
        let text = text.trim();
        let sound = |name: &str| {
            let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            // These become segments of addresses of the API, and anything else would lead to another place there.
            !name.is_empty() && name.len() <= 100 && name.chars().all(inner)
        };
        if let Some(team) = text.strip_prefix("team:").map(str::trim) {
            match team.split_once('/') {
                Some((organisation, slug)) if sound(organisation) && sound(slug) => {
                    return Self::Team { organisation: Some(organisation.to_owned()), slug: slug.to_owned() };
                }
                None if sound(team) => return Self::Team { organisation: None, slug: team.to_owned() },
                _ => {}
            }
        }
        let login = text.strip_prefix("user:").unwrap_or(text).trim();
        // No error for the rest: where there is no Git host, the words are for whoever reads the status.
        if sound(login) { Self::Login(login.to_owned()) } else { Self::Words(text.to_owned()) }
    }

    /// Whether an account of the host is the person that is named.
    pub(super) fn is_login(&self, login: &str) -> bool {
        // The host takes logins that differ in case alone for the same.
        matches!(self, Self::Login(named) if named.eq_ignore_ascii_case(login))
    }

    /// The team, with the organisation that it is in: the owner of the repository where none is named.
    pub(super) fn team<'a>(&'a self, repo: &'a RepoName) -> Option<(&'a str, &'a str)> {
        match self {
            Self::Team { organisation, slug } => {
                Some((organisation.as_deref().unwrap_or_else(|| repo.owner()), slug))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Assignee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Login(text) | Self::Words(text) => f.write_str(text),
            Self::Team { organisation: None, slug } => write!(f, "team {slug}"),
            Self::Team { organisation: Some(organisation), slug } => write!(f, "team {organisation}/{slug}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_teams_and_other_words_are_told_apart() {
        let login = |name: &str| Assignee::Login(name.to_owned());
        let team = |organisation: Option<&str>, slug: &str| Assignee::Team {
            organisation: organisation.map(str::to_owned),
            slug: slug.to_owned(),
        };
        assert_eq!(Assignee::parse(" mia "), login("mia"));
        assert_eq!(Assignee::parse("user:mia"), login("mia"));
        assert_eq!(Assignee::parse("team:security"), team(None, "security"));
        assert_eq!(Assignee::parse("team:acme/security"), team(Some("acme"), "security"));
        for words in ["mia@example.com", "whoever is there", "team:a/b/c", "team:", "@mia"] {
            assert_eq!(Assignee::parse(words), Assignee::Words(words.to_owned()));
        }
        let repo: RepoName = "acme/app".parse().unwrap();
        assert_eq!(Assignee::parse("team:ops").team(&repo), Some(("acme", "ops")));
        assert!(Assignee::parse("Mia").is_login("mIA") && !Assignee::parse("team:mia").is_login("mia"));
    }
}
