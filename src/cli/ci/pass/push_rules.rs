//! Whether others than the runner may push the status branch: asked of the host once a day, where nothing on it is signed.

use std::fs;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tracing::debug;

use crate::cli::Context;
use crate::cli::ci::host::Host;
use crate::cli::ci::pass_view::PassView;
use crate::cli::error::CliError;
use crate::host::PushRule;
use crate::markup::code;
use crate::model::Kind;

/// The file of the clone's cache with the last answer: when, the branch, and the answer in a word. A hint that the host gives
/// again at any time.
const KEPT: &str = "push-rules";

/// For how long an answer is good enough.
const A_DAY: SignedDuration = SignedDuration::from_hours(24);

/// How long the host has for it: this is advice, and nothing waits for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is kept where the host does not say.
const UNKNOWN: &str = "unknown";

/// What the summary of a pass says of it; nothing where the host does not tell, or where it does not matter. Not in the log: a
/// runner of the host begins each job with a fresh clone, which remembers no answer, and would warn there at every pass.
pub(super) fn told(host: &Host, view: &PassView, context: &mut Context) -> Result<String, CliError> {
    let config = &view.tips().config;
    // What is not signed by a listed key does not count, whoever pushed it.
    if config.trust.status.is_some() || !view.holds(&[Kind::Gate, Kind::Execution])? {
        return Ok(String::new());
    }
    let branch = config.status_branch.as_str();
    let file = view.workspace().repo.cache_dir().join(KEPT);
    let kept = fs::read_to_string(&file).ok();
    let known = kept.as_deref().and_then(|line| remembered(line, branch, context.now()));
    let rule = match known {
        Some(word) => PushRule::of_word(word),
        None => {
            let found = host.ask(|github, repo| {
                let quick = github.patient(PATIENCE);
                async move { quick.host_branch(repo, branch).await }
            });
            // A token that may not ask is no reason to trouble anybody, and would not be given a better one tomorrow.
            let refused = |error: &_| debug!(%error, branch, "the host does not say who may push");
            let rule = found.inspect_err(refused).ok().map(|found| found.pushes);
            debug!(branch, ?rule, "asked the host who may push");
            let word = rule.map_or(UNKNOWN, PushRule::word);
            // A cache that cannot be written costs two requests at each pass.
            let _ = fs::write(&file, format!("{}\t{branch}\t{word}\n", context.now()));
            rule
        }
    };
    let name = code(branch, 100);
    Ok(match rule {
        Some(PushRule::Open) => format!("\n> [!WARNING]\n> {}. {}.\n", open(&name), remedy()),
        Some(PushRule::Restricted) => format!("\nPushes to {name} are restricted by a ruleset.\n"),
        Some(PushRule::Protected) => {
            format!("\n{name} is protected; the host tells only an administrator who may push there.\n")
        }
        None => String::new(),
    })
}

/// An answer that still counts.
fn remembered<'l>(line: &'l str, branch: &str, now: Timestamp) -> Option<&'l str> {
    let mut parts = line.trim_end().split('\t');
    let at: Timestamp = parts.next()?.parse().ok()?;
    let of = parts.next()?;
    let word = parts.next()?;
    // A time that lies ahead was written by another clock, and would count for ever (Invariant 16).
    let age = now.duration_since(at);
    (of == branch && !age.is_negative() && age < A_DAY).then_some(word)
}

fn open(branch: &str) -> String {
    format!("Whoever may write to this repository may push {branch}, and so decide gates and supply results")
}

fn remedy() -> &'static str {
    "Add a branch ruleset for it with \"Restrict updates\" that exempts the app or account that runs planspec (Settings, Rules), or \
     have the branch signed with `planspec trust init`"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_for_a_day_and_for_its_branch() {
        let line = "2026-01-01T00:00:00Z\tplanspec/status\topen\n";
        let at = |time: &str, branch: &str| remembered(line, branch, time.parse().unwrap());
        assert_eq!(at("2026-01-01T23:59:59Z", "planspec/status"), Some("open"));
        assert_eq!(at("2026-01-02T00:00:00Z", "planspec/status"), None);
        assert_eq!(at("2025-12-31T00:00:00Z", "planspec/status"), None, "a clock was ahead");
        assert_eq!(at("2026-01-01T01:00:00Z", "other"), None);
        for broken in ["", "x\ty\tz", "2026-01-01T00:00:00Z"] {
            assert_eq!(remembered(broken, "y", "2026-01-01T00:00:00Z".parse().unwrap()), None);
        }
    }
}
