//! A new comment when a gate begins to wait for people, with real mentions: a comment that is edited notifies nobody.

use std::collections::BTreeSet;

use crate::cli::ci::host::Host;
use crate::cli::error::CliError;
use crate::config::Config;
use crate::host::RepoName;
use crate::markup::{code, fence};
use crate::model::{Digest, ResourceKey};
use crate::report::progress_comment::{ExecutionProgress, WaitLine};

/// The most people and teams in one comment; the host itself notifies no more than fifty.
const MOST_MENTIONED: usize = 20;

/// What was mentioned, as far as this job knows.
#[derive(Debug, Default)]
pub(crate) struct Mentions {
    /// The marks of what was asked about.
    told: BTreeSet<String>,
}

impl Mentions {
    /// Mentions the reviewers of what waits below a pull request and was not mentioned yet; whether that took a comment.
    pub(crate) fn tell(
        &mut self,
        host: &Host,
        number: u64,
        found: &[ExecutionProgress],
        config: &Config,
    ) -> Result<bool, CliError> {
        let waits = found.iter().flat_map(|one| one.waits.iter().map(move |wait| (&one.key, wait)));
        let mut new: Vec<(String, String)> = waits
            .filter_map(|(key, wait)| Some((mark(key, wait)?, words(key, wait, &host.repo, config)?)))
            .filter(|(mark, _)| !self.told.contains(mark))
            .collect();
        if new.is_empty() {
            return Ok(false);
        }
        // Another job may have told it; only our own comments count, because anybody can copy a mark and keep people
        // from being told.
        let comments = host.ask(|github, repo| github.comments(repo, number))?;
        let own: Vec<String> =
            comments.into_iter().filter(|one| host.is_mine(one)).filter_map(|one| one.body).collect();
        self.told.extend(new.iter().map(|(mark, _)| mark.clone()));
        new.retain(|(mark, _)| !own.iter().any(|text| text.contains(mark.as_str())));
        if new.is_empty() {
            return Ok(false);
        }
        let (marks, words): (Vec<String>, Vec<String>) = new.into_iter().unzip();
        let body = format!("{}\n{}", marks.join("\n"), words.join("\n"));
        host.ask(|github, repo| async move { github.add_comment(repo, number, &body).await })?;
        Ok(true)
    }
}

/// What a gate asks about, as a mark: another commit or another target is another question, and is told anew.
fn mark(key: &ResourceKey, wait: &WaitLine) -> Option<String> {
    let node = wait.node.as_ref()?;
    let asked = wait.asked.as_ref()?;
    let text = format!("{key}\0{node}\0{}", asked.digest.as_str());
    Some(format!("<!-- planspec:mention {} -->", Digest::of_bytes(text.as_bytes())))
}

/// Who is asked for what; none where nobody can be mentioned.
fn words(key: &ResourceKey, wait: &WaitLine, home: &RepoName, config: &Config) -> Option<String> {
    let mut people: Vec<String> =
        wait.people.iter().flat_map(|reviewer| mentioned(reviewer, home, config)).collect();
    people.sort();
    people.dedup();
    let more = people.split_off(MOST_MENTIONED.min(people.len())).len();
    if people.is_empty() {
        return None;
    }
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let what = match &wait.node {
        Some(node) => format!("{}/{node}", key.name),
        None => key.name.to_string(),
    };
    let command = wait.command.as_deref().map(|command| format!("\n{}\n", fence("text", command, 300)));
    let people = people.join(", ");
    Some(format!(
        "{people}{more}: {} waits for your approval.\n{}",
        code(&what, 200),
        command.unwrap_or_default()
    ))
}

/// The accounts and teams that a reviewer of a gate stands for. A name is never taken for a login: somebody else may have it.
fn mentioned(reviewer: &str, home: &RepoName, config: &Config) -> Vec<String> {
    let reviewer = reviewer.trim();
    if let Some(team) = reviewer.strip_prefix("team:").map(str::trim) {
        let is_in = |teams: &[String]| teams.iter().any(|own| own.trim().eq_ignore_ascii_case(team));
        let known: Vec<String> = config
            .identities
            .values()
            .filter(|person| is_in(&person.teams))
            .filter_map(|person| person.login.clone())
            .collect();
        if !known.is_empty() {
            return known.iter().filter_map(|login| mention(&[login.as_str()])).collect();
        }
        let (owner, slug) = team.split_once('/').unwrap_or((home.owner(), team));
        return mention(&[owner, slug]).into_iter().collect();
    }
    // An owner of files, as CODEOWNERS names them: the host's own names, which nothing here stands for.
    if let Some(owner) = reviewer.strip_prefix('@') {
        return mention(&owner.split('/').collect::<Vec<_>>()).into_iter().collect();
    }
    if let Some(login) = reviewer.strip_prefix("login:") {
        return mention(&[login.trim()]).into_iter().collect();
    }
    let name = reviewer.strip_prefix("user:").unwrap_or(reviewer).trim();
    let login = config.identities.get(name).and_then(|person| person.login.as_deref());
    login.and_then(|login| mention(&[login])).into_iter().collect()
}

/// `@LOGIN` or `@OWNER/TEAM`, where it is made of nothing else than such names are (Invariant 8).
fn mention(parts: &[&str]) -> Option<String> {
    let plain = |part: &&str| {
        !part.is_empty()
            && part.len() <= 100
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    parts.iter().all(plain).then(|| format!("@{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Identity;

    #[test]
    fn only_verified_logins_and_teams_are_mentioned() {
        let home: RepoName = "acme/app".parse().unwrap();
        let rosa = Identity {
            login: Some("rosa-l".to_owned()),
            teams: vec!["core".to_owned()],
            ..Identity::default()
        };
        let mut config = Config::default();
        config.identities.insert("rosa".to_owned(), rosa);
        let of = |reviewer: &str| mentioned(reviewer, &home, &config).join(" ");
        assert_eq!(of("user:rosa"), "@rosa-l");
        assert_eq!(of("rosa"), "@rosa-l");
        assert_eq!(of("login:wendy"), "@wendy");
        assert_eq!(of("team:core"), "@rosa-l");
        assert_eq!(of("team:security"), "@acme/security");
        assert_eq!(of("team:other/sre"), "@other/sre");
        for nobody in ["user:stranger", "stranger", "login:a b", "team:x @all", "login:a/b", "team:"] {
            assert_eq!(of(nobody), "", "{nobody:?}");
        }
    }
}
