//! Who somebody is: email addresses and logins mapped to people, and people to the reviewers that a gate names.

use std::collections::{BTreeMap, BTreeSet};

/// Why somebody may not review.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReviewRefusal {
    /// What Git gives as an email address is none. It must be one, so that it can never be taken for a login.
    #[error("`{0}` is not an email address; set `user.email`")]
    NotAnAddress(String),
    /// What the host gives as a login is none.
    #[error("`{0}` is not a login")]
    NotALogin(String),
    /// Somebody on the host has the login that is a person's name here, and may be anybody.
    #[error("login `{0}` is not linked to the identity of that name; set `identities.{0}.login`")]
    UnlinkedLogin(String),
    /// The configuration says which account is meant, and this is another one: a login that was given up is anybody's.
    #[error(
        "login `{login}` is account {now} on the host, and `identities.{name}.id` is {known}: whoever has the login now may be somebody else"
    )]
    OtherAccount {
        /// The login.
        login: String,
        /// The name that it is linked to.
        name: String,
        /// The number of the account that has it.
        now: u64,
        /// The number that the configuration gives.
        known: u64,
    },
    /// The account is somebody whom the configuration knows by another login: authors are known by their logins, so whoever
    /// decides under another one could approve what they wrote, or count twice.
    #[error(
        "login `{login}` is the account of `{name}`, known by another login here; change `identities.{name}.login`"
    )]
    OtherLogin {
        /// The login.
        login: String,
        /// The name that the account is linked to.
        name: String,
    },
    /// The gate names its reviewers, and this is none of them.
    #[error("{reviewer} is not a reviewer of this gate; reviewers: {}", .reviewers.join(", "))]
    NotAReviewer {
        /// Who asked.
        reviewer: String,
        /// Whom the gate names.
        reviewers: Vec<String>,
    },
    /// The gate asks owners of files, and shows none yet.
    #[error(
        "{0} is not a reviewer of this gate; its reviewers are the owners of the files that it shows, which are not known yet"
    )]
    NotShownYet(String),
    /// The gate asks owners of files, and nobody is known to be one.
    #[error("{reviewer} is not a reviewer of this gate: {why}")]
    NoOwners {
        /// Who asked.
        reviewer: String,
        /// Why there is no owner.
        why: String,
    },
    /// The configuration does not let the author of a change approve it.
    #[error("{0} is the author, and `gates.authorMayApprove` is false")]
    Author(String),
}

/// A person that the configuration knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownPerson<'a> {
    /// The name, which only the configuration and gates use.
    pub name: &'a str,
    /// The login on the Git host.
    pub login: Option<&'a str>,
    /// The number of the account on the Git host.
    pub account: Option<u64>,
    /// Email addresses.
    pub emails: &'a [String],
    /// Teams.
    pub teams: &'a [String],
}

/// The people that the configuration knows (`identities`): a name, and the login, addresses and teams that are theirs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct People {
    /// Names by address, in lower case.
    by_email: BTreeMap<String, String>,
    /// Names by login, in lower case.
    by_login: BTreeMap<String, String>,
    /// Names by the number of the account, and the other way round.
    by_account: BTreeMap<u64, String>,
    accounts: BTreeMap<String, u64>,
    /// Names by their own lower case.
    names: BTreeMap<String, String>,
    /// Teams by name, both in lower case.
    teams: BTreeMap<String, BTreeSet<String>>,
}

impl People {
    /// Takes over `identities`.
    pub(crate) fn new<'a>(identities: impl IntoIterator<Item = KnownPerson<'a>>) -> Self {
        let mut people = Self::default();
        for KnownPerson { name, login, account, emails, teams } in identities {
            if let Some(account) = account {
                people.by_account.entry(account).or_insert_with(|| name.to_owned());
                people.accounts.entry(name.to_owned()).or_insert(account);
            }
            for email in emails {
                // The first name that claims an address keeps it. Two claims are an error of the configuration's
                // schema, and must not depend on the order of a map here.
                people.by_email.entry(fold(email)).or_insert_with(|| name.to_owned());
            }
            if let Some(login) = login {
                people.by_login.entry(fold(login)).or_insert_with(|| name.to_owned());
            }
            people.names.entry(fold(name)).or_insert_with(|| name.to_owned());
            people.teams.entry(fold(name)).or_default().extend(teams.iter().map(|team| fold(team)));
        }
        people
    }

    /// The reviewer that Git's author or committer stands for: the name that the configuration gives the address, else
    /// the address itself. The name that Git gives is only text: anybody may write anything there.
    ///
    /// # Errors
    /// [`ReviewRefusal::NotAnAddress`].
    pub(crate) fn identify(&self, email: &str) -> Result<String, ReviewRefusal> {
        let email = fold(email);
        let address = email.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
        if !address || email.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(ReviewRefusal::NotAnAddress(
                email.chars().filter(|c| !c.is_control()).take(80).collect(),
            ));
        }
        Ok(self.by_email.get(&email).cloned().unwrap_or(email))
    }

    /// The reviewer that a login of the Git host stands for, which the host has verified: the name of the
    /// configuration that is this login, else the login itself. A login holds no `@`, so it is never taken for an address.
    ///
    /// # Errors
    /// [`ReviewRefusal::NotALogin`], [`ReviewRefusal::UnlinkedLogin`].
    pub(crate) fn identify_login(&self, login: &str) -> Result<String, ReviewRefusal> {
        let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '[' | ']');
        if login.is_empty() || login.len() > 100 || !login.chars().all(sound) {
            return Err(ReviewRefusal::NotALogin(
                login.chars().filter(|c| !c.is_control()).take(80).collect(),
            ));
        }
        let login = fold(login);
        match self.by_login.get(&login) {
            Some(name) => Ok(name.clone()),
            // Anybody may take a login that is free, also one that is somebody's name here.
            None if self.names.contains_key(&login) => Err(ReviewRefusal::UnlinkedLogin(login)),
            None => Ok(login),
        }
    }

    /// The same for an account of the host, by its number where the configuration has that: a login can be given up, and taken
    /// by anybody, while the number stays. Both have to be of the same person.
    ///
    /// # Errors
    /// Those of [`People::identify_login`], [`ReviewRefusal::OtherAccount`], [`ReviewRefusal::OtherLogin`].
    pub(crate) fn identify_account(&self, login: &str, account: u64) -> Result<String, ReviewRefusal> {
        let name = self.identify_login(login)?;
        if let Some(&known) = self.accounts.get(&name).filter(|known| **known != account) {
            return Err(ReviewRefusal::OtherAccount { login: fold(login), name, now: account, known });
        }
        match self.by_account.get(&account) {
            Some(other) if *other != name => {
                Err(ReviewRefusal::OtherLogin { login: fold(login), name: other.clone() })
            }
            _ => Ok(name),
        }
    }

    /// What makes two reviewers the same person: the name for each of a person's addresses and for their login, without regard
    /// to case. What is a person's name is never another one's login.
    #[must_use]
    pub(crate) fn person(&self, reviewer: &str) -> String {
        let reviewer = fold(reviewer);
        if self.names.contains_key(&reviewer) {
            return reviewer;
        }
        let name = self.by_email.get(&reviewer).or_else(|| self.by_login.get(&reviewer));
        name.map_or(reviewer, |name| fold(name))
    }

    /// Whether an entry of a gate's `reviewers` means this reviewer: `user:NAME`, `team:NAME`, an address, or a login.
    #[must_use]
    pub(crate) fn means(&self, entry: &str, reviewer: &str) -> bool {
        let person = self.person(reviewer);
        match entry.trim().split_once(':') {
            // Teams of the configuration; those that the host has verified are compared in `is_team`, because only the
            // entry point knows them.
            Some(("team", team)) => self.teams.get(&person).is_some_and(|teams| teams.contains(&fold(team))),
            Some(("user", user)) => self.person(user) == person,
            _ => self.person(entry) == person,
        }
    }
}

/// Whether an entry of a gate's `reviewers` is one of these teams.
pub(super) fn is_team(entry: &str, teams: &[String]) -> bool {
    let team = entry.trim().strip_prefix("team:").map(fold);
    // An entry `team:` with nothing behind it names no team.
    team.is_some_and(|team| !team.is_empty() && teams.iter().any(|known| fold(known) == team))
}

/// Logins, teams and addresses are compared without regard to case, as Git hosts do.
fn fold(text: &str) -> String {
    text.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn people() -> People {
        let emails = ["Wendy@Example.com".to_owned(), "w@home.example".to_owned()];
        let teams = ["Security".to_owned()];
        People::new([
            KnownPerson {
                name: "wendy",
                login: Some("Wendy-W"),
                account: None,
                emails: &emails,
                teams: &teams,
            },
            KnownPerson { name: "max", login: None, account: None, emails: &[], teams: &[] },
        ])
    }

    #[test]
    fn every_address_of_a_person_is_that_person() {
        let people = people();
        assert_eq!(people.identify("wendy@example.com").as_deref(), Ok("wendy"));
        assert_eq!(people.identify(" W@HOME.example ").as_deref(), Ok("wendy"));
        assert_eq!(people.identify("Other@Example.com").as_deref(), Ok("other@example.com"));
        assert_eq!(people.person("W@home.example"), people.person("Wendy"));
    }

    #[test]
    fn a_login_that_somebody_else_has_by_now_is_not_that_person_any_more() {
        let person = |name, login, account| KnownPerson { name, login, account, emails: &[], teams: &[] };
        let people =
            People::new([person("rosa", Some("rosa-r"), Some(7)), person("wendy", Some("wendy-w"), None)]);
        assert_eq!(people.identify_account("Rosa-R", 7).as_deref(), Ok("rosa"));
        assert_eq!(
            people.identify_account("rosa-renamed", 7).unwrap_err().to_string(),
            "login `rosa-renamed` is the account of `rosa`, known by another login here; change `identities.rosa.login`"
        );
        assert_eq!(
            people.identify_account("Rosa-R", 8).unwrap_err().to_string(),
            "login `rosa-r` is account 8 on the host, and `identities.rosa.id` is 7: whoever has the login now may be somebody else"
        );
        assert_eq!(people.identify_account("wendy-w", 8).as_deref(), Ok("wendy"));
        assert_eq!(people.identify_account("octocat", 8).as_deref(), Ok("octocat"));
        assert!(people.identify_account("rosa", 8).is_err());
    }

    #[test]
    fn a_login_is_a_person_only_where_it_is_linked_and_never_an_address() {
        let people = people();
        assert_eq!(people.identify_login("wendy-w").as_deref(), Ok("wendy"));
        assert_eq!(people.identify_login("Octocat").as_deref(), Ok("octocat"));
        for name in ["wendy", "Max"] {
            let refused = people.identify_login(name).unwrap_err();
            assert_eq!(refused, ReviewRefusal::UnlinkedLogin(name.to_lowercase()));
        }
        assert_eq!(
            people.identify_login("max").unwrap_err().to_string(),
            "login `max` is not linked to the identity of that name; set `identities.max.login`"
        );
        for bad in ["", "wendy@example.com", "user:wendy", "a b", "a\u{1b}"] {
            assert!(matches!(people.identify_login(bad), Err(ReviewRefusal::NotALogin(_))), "{bad}");
        }
    }

    #[test]
    fn a_name_is_never_the_login_of_another_person() {
        let person = |name, login| KnownPerson { name, login, account: None, emails: &[], teams: &[] };
        let people = People::new([person("rosa", None), person("eve", Some("rosa"))]);
        assert_eq!(people.identify_login("rosa").as_deref(), Ok("eve"));
        assert!(people.means("user:rosa", "rosa") && !people.means("user:rosa", "eve"));
    }

    #[test]
    fn what_is_no_address_is_nobody() {
        for bad in ["wendy", "", "@", "wendy@", "@example.com", "a b@c", "a@b\u{1b}[0m"] {
            assert!(matches!(people().identify(bad), Err(ReviewRefusal::NotAnAddress(_))), "{bad}");
        }
    }

    #[test]
    fn entries_mean_users_teams_addresses_and_logins() {
        let people = people();
        for entry in ["user:wendy", "user:Wendy", "wendy", "team:security", "w@home.example", "user:wendy-w"]
        {
            assert!(people.means(entry, "wendy"), "{entry}");
            assert!(!people.means(entry, "max"), "{entry}");
            assert!(!people.means(entry, "stranger@example.com"), "{entry}");
        }
        assert!(people.means("stranger@example.com", "Stranger@Example.com"));
        assert!(!people.means("team:wendy", "wendy"));
        assert!(!people.means("team:", "stranger@example.com"));
    }
}
