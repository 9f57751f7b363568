//! Who wrote commits, as the host knows it: an address that belongs to an account is that account's login.

use serde::Deserialize;

use super::GitHub;
use super::client::ApiRequest;
use super::wire::{read_as, repo_path, segment};
use crate::host::{Contributor, HostCommit, HostError, RepoName};

#[derive(Deserialize)]
struct CommitAnswer {
    /// Its id.
    sha: String,
    /// What Git says.
    commit: CommitText,
    /// The account of the author's address; the host gives none, or an empty object, where it knows none.
    #[serde(default)]
    author: Option<MaybeAccount>,
    /// The same of the committer.
    #[serde(default)]
    committer: Option<MaybeAccount>,
}

#[derive(Deserialize)]
struct CommitText {
    #[serde(default)]
    message: String,
    #[serde(default)]
    author: Option<GitPerson>,
    #[serde(default)]
    committer: Option<GitPerson>,
}

#[derive(Deserialize)]
struct GitPerson {
    #[serde(default)]
    email: Option<String>,
}

#[derive(Deserialize)]
struct MaybeAccount {
    #[serde(default)]
    login: Option<String>,
}

/// The account, and the address, that the host itself commits as: merges and edits in the browser.
const HOST_LOGIN: &str = "web-flow";
const HOST_ADDRESS: &str = "noreply@github.com";

/// The end of the addresses that the host gives to people who hide theirs: `LOGIN@` or `NUMBER+LOGIN@` stands before it.
const HIDDEN: &str = "@users.noreply.github.com";

impl From<CommitAnswer> for HostCommit {
    fn from(answer: CommitAnswer) -> Self {
        let subject = answer.subject();
        let contributors = answer.contributors();
        Self { sha: answer.sha, subject, contributors }
    }
}

read_as!(HostCommit, CommitAnswer);

impl CommitAnswer {
    /// The first line of its message.
    fn subject(&self) -> String {
        self.commit.message.lines().next().unwrap_or_default().to_owned()
    }

    /// Everybody who had a hand in it: author, committer, and the co-authors that the message names. The host itself is
    /// nobody where it committed what somebody wrote, or is named as a co-author.
    fn contributors(&self) -> Vec<Contributor> {
        let one = |account: &Option<MaybeAccount>, git: &Option<GitPerson>| {
            let login = account.as_ref().and_then(|account| account.login.clone());
            let email = git.as_ref().and_then(|person| person.email.clone()).unwrap_or_default();
            login.map_or_else(|| of_address(&email), Contributor::Login)
        };
        let is_host = |who: &Contributor| match who {
            Contributor::Login(login) => login == HOST_LOGIN,
            Contributor::Address(address) => address == HOST_ADDRESS,
        };
        let author = one(&self.author, &self.commit.author);
        // Anybody can commit under the address of the host. It writes nothing of its own, so that the author is then unknown.
        let author = if is_host(&author) { Contributor::Address(HOST_ADDRESS.to_owned()) } else { author };
        let others = [one(&self.committer, &self.commit.committer)];
        let others = others.into_iter().chain(co_authors(&self.commit.message).map(of_address));
        [author].into_iter().chain(others.filter(|who| !is_host(who))).collect()
    }
}

/// A hidden address names its login.
fn of_address(address: &str) -> Contributor {
    let address = address.trim().to_ascii_lowercase();
    let hidden = address.strip_suffix(HIDDEN).map(|name| name.rsplit('+').next().unwrap_or(name));
    match hidden {
        Some(login) if !login.is_empty() => Contributor::Login(login.to_owned()),
        _ => Contributor::Address(address),
    }
}

/// The addresses of `Co-authored-by:` lines. Anywhere in the message: a squash puts them below a list of what it joined.
fn co_authors(message: &str) -> impl Iterator<Item = &str> {
    const NAME: &str = "co-authored-by:";
    message.lines().filter_map(|line| {
        let line = line.trim();
        let value = line.get(..NAME.len()).filter(|start| start.eq_ignore_ascii_case(NAME))?;
        let (_, address) = line.get(value.len()..)?.rsplit_once('<')?;
        Some(address.trim_end_matches('>'))
    })
}

impl GitHub {
    /// One commit.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn host_commit(&self, repo: &RepoName, sha: &str) -> Result<HostCommit, HostError> {
        let path = repo_path(repo, &format!("commits/{}", segment(sha)?));
        self.ask(ApiRequest::get(path, "read who wrote a commit", "contents: read")).await
    }

    /// The commits of a pull request. The host lists 250 at most, and says in the pull request how many there are.
    ///
    /// # Errors
    /// [`HostError`].
    pub(crate) async fn pull_commits(
        &self,
        repo: &RepoName,
        number: u64,
    ) -> Result<Vec<HostCommit>, HostError> {
        let path = repo_path(repo, &format!("pulls/{number}/commits"));
        self.all(&path, &format!("read who wrote the commits of #{number}"), "pull-requests: read").await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn commit(author: &serde_json::Value, email: &str, message: &str) -> HostCommit {
        serde_json::from_value(json!({
            "sha": "a", "author": author, "committer": { "login": "web-flow" },
            "commit": { "message": message, "author": { "email": email }, "committer": { "email": HOST_ADDRESS } },
        }))
        .unwrap()
    }

    #[test]
    fn everybody_who_had_a_hand_in_a_commit_is_named() {
        let login = |login: &str| Contributor::Login(login.to_owned());
        let address = |address: &str| Contributor::Address(address.to_owned());
        let message = "Do it (#7)\n\n* one\n\nCo-authored-by: Ann <12+Ann@users.noreply.github.com>\n\nco-authored-by: Bob <bob@example.com>";
        let found = commit(&json!({ "login": "wendy" }), "w@example.com", message);
        assert_eq!(found.contributors, [login("wendy"), login("ann"), address("bob@example.com")]);
        assert_eq!(found.subject, "Do it (#7)");
        // Where the host knows no account it answers with nothing, or with an object without fields.
        for none in [&json!(null), &json!({})] {
            assert_eq!(commit(none, "w@example.com", "x").contributors, [address("w@example.com")]);
        }
        let hidden = commit(&json!(null), "wendy@users.noreply.github.com", "Co-authored-by: <>");
        assert_eq!(hidden.contributors, [login("wendy"), address("")]);
    }

    #[test]
    fn whoever_commits_under_the_address_of_the_host_is_not_nobody() {
        let address = Contributor::Address(HOST_ADDRESS.to_owned());
        for account in [json!({ "login": HOST_LOGIN }), json!(null)] {
            let found = commit(&account, HOST_ADDRESS, "mine");
            assert_eq!(found.contributors, std::slice::from_ref(&address));
        }
    }
}
