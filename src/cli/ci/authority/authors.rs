//! Whose work a gate is asked about, where authors may not approve: everybody who had a hand in it, by the host's logins.

use std::collections::{BTreeMap, BTreeSet};

use tracing::debug;

use crate::cli::ci::authority::authorize::waiting_at;
use crate::cli::ci::host::Host;
use crate::cli::ci::pass_view::{PassView, merged_pulls};
use crate::cli::error::CliError;
use crate::config::Config;
use crate::git::{Commit, ObjectId};
use crate::host::{Contributor, HostCommit, PullRequest};
use crate::model::ResourceKey;

/// How many commits of the desired branch are asked about: each takes three requests or more, and the job has to end.
const MOST_COMMITS: usize = 50;

/// How many commits of a merge that no pull request made are asked about one by one.
const MOST_MERGED: usize = 100;

/// The ending of each refusal.
const RULE: &str = "and `gates.authorMayApprove` is false";

/// Where the configuration does not let authors approve: whether the login had a hand in what waits at a gate, or in the
/// Execution that was named. A line for the one who asked; also where that cannot be known, since it might be this person.
pub(crate) fn refuse_author(
    host: &Host,
    view: &PassView,
    gate: &ResourceKey,
    execution: Option<&ResourceKey>,
    login: &str,
) -> Result<Option<String>, CliError> {
    let config = &view.tips().config;
    if config.gates.author_may_approve {
        return Ok(None);
    }
    let waiting = match execution {
        // It may not have come that far yet, and counts all the same.
        Some(key) => vec![key.clone()],
        None => waiting_at(view, gate)?,
    };
    let mut authors = Authors::of(host, config);
    for key in &waiting {
        let range = match view.change_range(key, MOST_COMMITS)? {
            Ok(range) => range,
            Err(why) => return Ok(Some(unknown(&key.to_string(), why))),
        };
        debug!(execution = %key, commits = range.len(), "authors are asked for");
        for commit in &range {
            authors.add(view, commit)?;
        }
    }
    let part = authors.logins.get(&login.to_lowercase()).map(|part| format!("{login} {part}, {RULE}"));
    // Last: whoever is known to be one of them need not hear of the others.
    Ok(part.or(authors.unknown))
}

/// What is said where nobody knows who wrote something, and what helps.
fn unknown(what: &str, why: &str) -> String {
    format!("the author of {what} is unknown, {RULE}: {why}")
}

/// Everybody who had a hand in some commits.
struct Authors<'a> {
    host: &'a Host,
    config: &'a Config,
    /// What each login did, in words.
    logins: BTreeMap<String, String>,
    /// What is said where somebody who had a hand in it is not known.
    unknown: Option<String>,
    seen_commits: BTreeSet<String>,
    seen_pulls: BTreeSet<u64>,
}

impl<'a> Authors<'a> {
    fn of(host: &'a Host, config: &'a Config) -> Self {
        Self {
            host,
            config,
            logins: BTreeMap::new(),
            unknown: None,
            seen_commits: BTreeSet::new(),
            seen_pulls: BTreeSet::new(),
        }
    }

    /// Takes in a commit of the desired branch, with the pull requests that it belongs to and what it merged.
    fn add(&mut self, view: &PassView, commit: &Commit) -> Result<(), CliError> {
        let sha = commit.id.to_string();
        if self.seen_commits.contains(&sha) {
            return Ok(());
        }
        let subject = self.add_commit(commit.id)?;
        let mut pulls: BTreeSet<u64> =
            merged_pulls(self.host, &sha)?.into_iter().map(|pull| pull.number).collect();
        if pulls.is_empty() {
            // Right after a merge the host lists no pull request for a commit, but its own subject names it.
            pulls.extend(self.named_pull(&subject, &sha)?);
        }
        let of_pull = !pulls.is_empty();
        for number in pulls {
            self.add_pull(number)?;
        }
        // What somebody merged and pushed without a pull request; the host lists those of one.
        if !of_pull {
            match view.workspace().repo.merged_by(commit, MOST_MERGED)? {
                Some(brought) => {
                    for id in brought {
                        self.add_commit(id)?;
                    }
                }
                None => self.miss(
                    &format!("all that commit {} merged", commit.id.short()),
                    "it is too much, or not in this clone; check out with `fetch-depth: 0`",
                ),
            }
        }
        Ok(())
    }

    /// The merged pull request that made a commit, by the number that the host put into its subject.
    fn named_pull(&self, subject: &str, sha: &str) -> Result<Option<u64>, CliError> {
        let merge = subject.strip_prefix("Merge pull request #").and_then(|rest| rest.split(' ').next());
        let squash = subject.rsplit_once("(#").and_then(|(_, rest)| rest.strip_suffix(')'));
        let Some(number) = merge.or(squash).and_then(|number| number.parse().ok()) else { return Ok(None) };
        match self.host.ask(|github, repo| github.pull(repo, number)) {
            Ok(pull) if pull.merge_commit.as_deref() == Some(sha) => Ok(Some(number)),
            // Anybody can write any number.
            Ok(_) => Ok(None),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes in who wrote one commit; its subject.
    fn add_commit(&mut self, id: ObjectId) -> Result<String, CliError> {
        if !self.seen_commits.insert(id.to_string()) {
            return Ok(String::new());
        }
        let sha = id.to_string();
        match self.host.ask(|github, repo| github.host_commit(repo, &sha)) {
            Ok(commit) => {
                self.add_contributors(&commit);
                Ok(commit.subject)
            }
            Err(error) if error.is_not_found() => {
                self.miss(&format!("commit {}", id.short()), "the host does not have it");
                Ok(String::new())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes in who opened, wrote and merged a pull request.
    fn add_pull(&mut self, number: u64) -> Result<(), CliError> {
        if !self.seen_pulls.insert(number) {
            return Ok(());
        }
        // A list of pull requests does not say who merged them.
        let pull = self.host.ask(|github, repo| github.pull(repo, number))?;
        let PullRequest { user, merged_by, .. } = &pull;
        for (who, part) in [(merged_by, "the one who merged"), (user, "the author of")] {
            match who {
                // In place of what is known by a commit: people know the number of their pull request.
                Some(account) => {
                    self.logins.insert(account.login.to_lowercase(), format!("is {part} #{number}"));
                }
                // The account is gone, and its owner may have another one.
                None => self.miss(&format!("#{number}"), &format!("the host does not name {part} it")),
            }
        }
        let commits = self.host.ask(|github, repo| github.pull_commits(repo, number))?;
        if pull.commits.is_none_or(|all| commits.len() < all) {
            self.miss(&format!("all commits of #{number}"), "it has more than the host lists");
        }
        for commit in &commits {
            if self.seen_commits.insert(commit.sha.clone()) {
                self.add_contributors(commit);
            }
        }
        Ok(())
    }

    fn add_contributors(&mut self, commit: &HostCommit) {
        let short: String = commit.sha.chars().take(8).collect();
        for who in &commit.contributors {
            match who {
                Contributor::Login(login) => self.wrote(login, &short),
                Contributor::Address(address) => self.address(address, &short),
            }
        }
    }

    fn wrote(&mut self, login: &str, commit: &str) {
        let part = || format!("is an author of commit {commit}");
        self.logins.entry(login.to_lowercase()).or_insert_with(part);
    }

    /// An address that the host knows no account for counts where the configuration says whose it is, and which login that
    /// person has: a name without one could be anybody on the host.
    fn address(&mut self, address: &str, commit: &str) {
        let mine = |mail: &String| mail.trim().eq_ignore_ascii_case(address);
        let known = self.config.identities.values().find(|who| who.emails.iter().any(mine));
        match known.and_then(|who| who.login.as_ref()) {
            Some(login) => self.wrote(login, commit),
            // The address itself is not shown: comments are public.
            None => self.miss(
                &format!("commit {commit}"),
                "the host has no account for an address in it; list it under `identities`, with the `login` of its owner",
            ),
        }
    }

    /// Something that cannot be known; the first one is shown.
    fn miss(&mut self, what: &str, why: &str) {
        self.unknown.get_or_insert_with(|| unknown(what, why));
    }
}
