//! Judging what a process did: its acceptance criteria, where it worked or, where its changes are kept, by another hand.

use std::collections::BTreeMap;

use super::job::Job;
use super::run::{LocalRun, WorkingFolder};
use super::run_folder::RunFolder;
use super::verify::Verifier;
use crate::model::{CriterionResult, NodeReason, NodeResult};
use crate::provider::criteria::{CheckedCommit, Checker, needs_checkout};
use crate::provider::output::AttemptLog;
use crate::provider::{AttemptOutcome, AttemptReport, JudgedCheckout, JudgedWork};

impl LocalRun<'_> {
    /// Checks the criteria, and says how the attempt ends when one that is required does not hold.
    pub(super) fn judge(
        &self,
        folder: &RunFolder<'_>,
        place: &WorkingFolder,
        log: &mut AttemptLog,
        report: &mut AttemptReport,
    ) -> Result<(), AttemptOutcome> {
        let verify = self.job.config.verify.as_ref();
        if self.attempt.criteria.is_empty() && verify.is_none() {
            return Ok(());
        }
        // The settings of whoever verifies hold for the criteria, too: their sandbox, their environment, their folder.
        let verifier = verify.map(|settings| self.verifier(settings, report)).transpose()?;
        let run = LocalRun { job: verifier.as_ref().map_or(self.job, Verifier::job), ..*self };
        let another = run.another_hand(place, self.job, report.evidence.result.as_ref())?;
        // Whoever judges runs code that the worker wrote, with nothing that it could send anywhere.
        let none = BTreeMap::new();
        let all = &self.shared.common.settings.secrets;
        let (place, checked, secrets) = match another {
            Some((ref place, ref checked)) => (place, Some(checked.clone()), &none),
            None => (place, None, all),
        };
        let environment = run.environment(place, folder, secrets);
        let enclosure = run.enclosure(place, folder, &environment)?;
        let mut checker = Checker {
            directory: &place.directory,
            artifacts: folder.artifacts(),
            environment: &environment,
            grace: run.job.config.grace,
            enclosure: enclosure.as_ref(),
            deadline: self.deadline,
            interrupt: self.interrupt,
            log,
            web: &self.shared.common.web,
            redactor: &self.shared.common.redactor,
            checked: checked.clone(),
        };
        let results = &mut report.evidence.criteria;
        checker.check_all(&self.attempt.criteria, results).map_err(|cut| cut.outcome(|| self.timed_out()))?;
        if first_failed(results).is_none()
            && let Some(asked) = verify.zip(verifier)
        {
            // Nobody is asked about work that is not as it was asked for: an agent costs more than a test.
            self.verify(asked, (folder, place), checked.as_ref(), log, report)?;
        }
        match first_failed(&report.evidence.criteria) {
            Some(result) => {
                let message = format!("acceptance criterion `{}`: {}", result.name, result.evidence);
                Err(AttemptOutcome::failed(NodeReason::CriterionFailed, message))
            }
            None => Ok(()),
        }
    }

    /// A second checkout of what the worker's job keeps. In the first one the worker may have left what makes any criterion
    /// hold: files that it did not commit, or a process that still writes.
    fn another_hand(
        &self,
        place: &WorkingFolder,
        worker: &Job,
        result: Option<&NodeResult>,
    ) -> Result<Option<(WorkingFolder, CheckedCommit)>, AttemptOutcome> {
        let on_files = self.attempt.criteria.iter().any(|criterion| needs_checkout(&criterion.check));
        // A checkout of a large repository takes longer than the question to a service.
        let is_needed = on_files || worker.config.verify.is_some();
        if !worker.config.changes.keeps() || place.checkout.is_none() || !is_needed {
            return Ok(None);
        }
        // The same part of the files as the worker had: whoever asked for a part of them has no room for all.
        let form = &worker.config.workspace;
        let work = JudgedWork { form, result, restore: worker.config.changes.restored() };
        let judged = self.attempt.workspace.prepare_judged(&work);
        let Some(judged) = judged.map_err(|error| error.outcome_after_work())? else { return Ok(None) };
        let JudgedCheckout { checkout, commit, tree, restored } = judged;
        let below = self.job.config.working_directory.clone();
        // The worker may have removed the folder, or put a link in its place.
        let refuse = |why| AttemptOutcome::failed(NodeReason::CriterionFailed, why);
        let place = WorkingFolder::of(checkout).below(below.as_deref()).map_err(refuse)?;
        Ok(Some((place, CheckedCommit { commit, tree, below, restored })))
    }
}

fn first_failed(results: &[CriterionResult]) -> Option<&CriterionResult> {
    results.iter().find(|result| result.required && !result.passed)
}
