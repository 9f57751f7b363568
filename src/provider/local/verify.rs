//! `config.verify`: another provider judges what a command changed, in the second workspace, and says whether it is as it was
//! asked for.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;
use tracing::debug;

use super::job::Job;
use super::run::{LocalRun, WorkingFolder};
use super::run_folder::RunFolder;
use super::verify_settings::VerifySettings;
use crate::model::{CriterionResult, JsonMap, NodeReason};
use crate::provider::criteria::CheckedCommit;
use crate::provider::output::{AttemptLog, plain_line};
use crate::provider::settings::has_expression;
use crate::provider::{Attempt, AttemptOutcome, AttemptReport, ConfigError, Stop};

/// How many characters of what a verifier says are kept: it goes into the record.
const REASON: usize = 500;

/// Makes the jobs of those who verify the work of others: what a provider string stands for is not known to local commands.
pub(in crate::provider) trait Verifiers: Send + Sync {
    /// Checks who verifies, and their settings, in which expressions may stand for values that are not known yet.
    ///
    /// # Errors
    /// Says why it cannot be used.
    fn check(&self, provider: &str, config: &JsonMap) -> Result<(), ConfigError>;

    /// The job of verifying, without its brief: `attempt` is the attempt at the work, with the provider string and the settings
    /// of the verifier.
    ///
    /// # Errors
    /// Says why it cannot be used.
    fn job(&self, attempt: &Attempt) -> Result<Job, ConfigError>;

    /// What the verifier is asked to do, where it is one that reads; `done` is what is to be judged.
    fn brief(&self, attempt: &Attempt, done: &DoneWork<'_>) -> Option<String>;

    /// Whether a verifier has to say that the work passed; else its exit code says so.
    fn has_to_say(&self, provider: &str) -> bool;
}

/// Work that is to be verified.
pub(in crate::provider) struct DoneWork<'w> {
    /// Who did it.
    pub(in crate::provider) by: &'w str,
    /// The commit that it became, and what it worked on, where it is a commit.
    pub(in crate::provider) commits: Option<(&'w str, &'w str)>,
    /// How its acceptance criteria came out.
    pub(in crate::provider) criteria: &'w [CriterionResult],
}

/// Checks who verifies with those who know what the provider is.
pub(super) fn check_verifier(
    settings: &VerifySettings,
    verifiers: &dyn Verifiers,
) -> Result<(), ConfigError> {
    if has_expression(&Value::String(settings.provider.clone())) {
        return Ok(());
    }
    check_known_verifier(settings, verifiers)
}

/// The same when all values are known: what still looks like an expression came out of one, as data, and is no reason to let a
/// provider past the allow-list.
pub(super) fn check_known_verifier(
    settings: &VerifySettings,
    verifiers: &dyn Verifiers,
) -> Result<(), ConfigError> {
    let checked = settings.check_keys().and_then(|()| verifiers.check(&settings.provider, &settings.config));
    checked.map_err(VerifySettings::below)
}

/// The other hand: the attempt as it is for whoever verifies, and what they are asked to do.
pub(super) struct Verifier {
    attempt: Attempt,
    job: Job,
}

impl LocalRun<'_> {
    /// Asks the other provider about the work, and adds its verdict to those on the criteria. After them: whatever it changes in
    /// the workspace, no criterion is judged by it.
    pub(super) fn verify(
        &self,
        (settings, verifier): (&VerifySettings, Verifier),
        (folder, place): (&RunFolder<'_>, &WorkingFolder),
        checked: Option<&CheckedCommit>,
        log: &mut AttemptLog,
        report: &mut AttemptReport,
    ) -> Result<(), AttemptOutcome> {
        let started = Instant::now();
        let Verifier { attempt, job } = self.asked(verifier, report);
        let run = LocalRun { attempt: &attempt, job: &job, ..*self };
        // A folder of its own: the worker knows the names in the first one, and a process that it left behind could write the
        // verdict there.
        let own = run.shared.folders.open(&attempt.run_dir, &attempt.inputs).map_err(|error| {
            AttemptOutcome::broken_off_here(format!("no folder to verify the work in: {error}"))
        })?;
        let own = own.with_artifacts_of(folder);
        if let Some(brief) = &job.brief {
            std::fs::write(own.brief(), brief).map_err(|error| {
                AttemptOutcome::broken_off_here(format!("the brief cannot be written: {error}"))
            })?;
        }
        // An agent cannot think without its key. A command runs what the worker wrote, and needs none.
        let none = BTreeMap::new();
        let has_to_say = self.shared.verifiers.has_to_say(&settings.provider);
        let secrets = if has_to_say { &self.shared.common.settings.secrets } else { &none };
        log.write(format!("[planspec: {}]\n", settings.name()).as_bytes());
        let mut seen = AttemptReport::from(AttemptOutcome::Succeeded { outputs: JsonMap::new() });
        let ended = run.process((&own, place), secrets, log, &mut seen);
        report.evidence.usage = match (report.evidence.usage, seen.evidence.usage) {
            (Some(work), Some(verify)) => Some(work.plus(verify)),
            (work, verify) => work.or(verify),
        };
        let verdict = verdict(ended, has_to_say)?;
        debug!(node = %attempt.node, provider = settings.provider, passed = verdict.is_ok(), "work verified");
        let passed = verdict.is_ok();
        let (Ok(evidence) | Err(evidence)) = verdict;
        let evidence: String = evidence.chars().take(REASON).collect();
        report.evidence.criteria.push(CriterionResult {
            name: settings.name(),
            passed,
            required: true,
            // Somebody's words, which go into the record, to terminals and pages (Invariant 8).
            evidence: plain_line(self.shared.common.redactor.text(&evidence).as_bytes()),
            duration_millis: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            checked: checked.map(|checked| settings.checked(checked)),
        });
        Ok(())
    }

    /// The settings of whoever verifies, as far as they say where and how something runs.
    pub(super) fn verifier(
        &self,
        settings: &VerifySettings,
        report: &AttemptReport,
    ) -> Result<Verifier, AttemptOutcome> {
        let mut attempt = self.attempt.clone();
        attempt.provider.clone_from(&settings.provider);
        attempt.config.clone_from(&settings.config);
        attempt.run_dir.push("verify");
        // Not those of the work: what a verifier gives is its verdict.
        attempt.declared_outputs.clear();
        let refused =
            |error: ConfigError| AttemptOutcome::permanent(NodeReason::ProviderFailed, error.to_string());
        let mut job = self.shared.verifiers.job(&attempt).map_err(refused)?;
        if let Some(result) = &report.evidence.result {
            let commits =
                [("PLANSPEC_VERIFY_COMMIT", &result.commit), ("PLANSPEC_VERIFY_BASE", &result.base)];
            job.config.env.extend(commits.map(|(name, value)| (name.to_owned(), value.clone())));
        }
        Ok(Verifier { attempt, job })
    }

    /// The verifier with what it is asked to do, which says how the criteria came out: known only after they were checked with
    /// its settings.
    fn asked(&self, Verifier { attempt, job }: Verifier, report: &AttemptReport) -> Verifier {
        let result = report.evidence.result.as_ref();
        let done = DoneWork {
            by: &self.attempt.provider,
            commits: result.map(|result| (result.commit.as_str(), result.base.as_str())),
            criteria: &report.evidence.criteria,
        };
        let job = match self.shared.verifiers.brief(&attempt, &done) {
            Some(brief) => job.with_brief(brief),
            None => job,
        };
        Verifier { attempt, job }
    }
}

impl Verifier {
    /// What it is asked to do.
    pub(super) fn job(&self) -> &Job {
        &self.job
    }
}

/// What the end of a verifier says of the work: a verdict, or how the attempt ends without one.
fn verdict(
    ended: Result<JsonMap, AttemptOutcome>,
    has_to_say: bool,
) -> Result<Result<String, String>, AttemptOutcome> {
    let outputs = match ended {
        Ok(outputs) => outputs,
        // A verifier that does not succeed has not found the work good, whyever.
        Err(AttemptOutcome::Failed {
            reason: NodeReason::ProviderFailed | NodeReason::OutputInvalid,
            message,
            retryable: true,
            ..
        }) => {
            return Ok(Err(message));
        }
        Err(outcome) => return Err(after_work(outcome)),
    };
    let reason = match outputs.get("reason") {
        Some(Value::String(reason)) => reason.clone(),
        _ => String::new(),
    };
    let said = |word: &str| if reason.is_empty() { word.to_owned() } else { reason.clone() };
    Ok(match outputs.get("passed") {
        Some(Value::Bool(true)) => Ok(said("passed")),
        Some(Value::String(text)) if text == "true" => Ok(said("passed")),
        Some(Value::Bool(false)) => Err(said("not passed")),
        Some(Value::String(text)) if text == "false" => Err(said("not passed")),
        Some(_) => Err("its output `passed` is neither true nor false".to_owned()),
        // An agent ends with 0 whatever it thinks of the work.
        None if has_to_say => Err("gave no verdict: its output `passed` is missing".to_owned()),
        None => Ok(said("exit code 0")),
    })
}

/// How an attempt ends that got no verdict, the work of which was done.
fn after_work(outcome: AttemptOutcome) -> AttemptOutcome {
    match outcome {
        AttemptOutcome::RunnerFailed { fault, message, .. } => {
            AttemptOutcome::RunnerFailed { fault, message, begun: true }
        }
        AttemptOutcome::NotStarted { .. } => AttemptOutcome::Stopped(Stop::Shutdown),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(outputs: &Value, has_to_say: bool) -> Result<String, String> {
        verdict(Ok(outputs.as_object().unwrap().clone()), has_to_say).unwrap()
    }

    #[test]
    fn an_agent_has_to_say_that_the_work_passed_and_a_command_says_it_by_its_exit_code() {
        assert!(said(&json!({}), true).unwrap_err().contains("`passed` is missing"));
        assert_eq!(said(&json!({}), false), Ok("exit code 0".to_owned()));
        assert_eq!(said(&json!({"passed": "true", "reason": "fine"}), true), Ok("fine".to_owned()));
        assert_eq!(said(&json!({"passed": false, "reason": "no test"}), false), Err("no test".to_owned()));
        assert!(said(&json!({"passed": "perhaps"}), false).is_err());
    }

    #[test]
    fn what_is_no_verdict_ends_the_attempt_as_work_that_was_done() {
        let broken = AttemptOutcome::not_possible_here("no process".to_owned());
        let ended = verdict(Err(broken), false).unwrap_err();
        assert!(matches!(ended, AttemptOutcome::RunnerFailed { begun: true, .. }), "{ended:?}");
        let late = AttemptOutcome::failed(NodeReason::Timeout, "took longer than 1m");
        assert_eq!(verdict(Err(late.clone()), false).unwrap_err(), late);
    }
}
