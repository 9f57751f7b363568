//! Judging what a process did: its acceptance criteria, where it worked or, where its changes are kept, by another hand.

use std::collections::BTreeMap;

use super::run::{LocalRun, WorkingFolder};
use super::run_folder::RunFolder;
use crate::model::{NodeReason, NodeResult};
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
        if self.attempt.criteria.is_empty() {
            return Ok(());
        }
        let another = self.another_hand(place, report.evidence.result.as_ref())?;
        // Whoever judges runs code that the worker wrote, with nothing that it could send anywhere.
        let (none, all) = (BTreeMap::new(), &self.shared.common.settings.secrets);
        let (place, checked, secrets) = match another {
            Some((ref place, ref checked)) => (place, Some(checked.clone()), &none),
            None => (place, None, all),
        };
        let environment = self.environment(place, folder, secrets);
        let enclosure = self.enclosure(place, folder, &environment)?;
        let mut checker = Checker {
            directory: &place.directory,
            artifacts: folder.artifacts(),
            environment: &environment,
            grace: self.job.config.grace,
            enclosure: enclosure.as_ref(),
            deadline: self.deadline,
            interrupt: self.interrupt,
            log,
            web: &self.shared.common.web,
            redactor: &self.shared.common.redactor,
            checked,
        };
        let results = &mut report.evidence.criteria;
        checker.check_all(&self.attempt.criteria, results).map_err(|cut| cut.outcome(|| self.timed_out()))?;
        match results.iter().find(|result| result.required && !result.passed) {
            Some(result) => {
                let message = format!("acceptance criterion `{}`: {}", result.name, result.evidence);
                Err(AttemptOutcome::failed(NodeReason::CriterionFailed, message))
            }
            None => Ok(()),
        }
    }

    /// A second checkout of what is kept. In the first one the worker may have left what makes any criterion hold: files that
    /// it did not commit, or a process that still writes.
    fn another_hand(
        &self,
        place: &WorkingFolder,
        result: Option<&NodeResult>,
    ) -> Result<Option<(WorkingFolder, CheckedCommit)>, AttemptOutcome> {
        let config = &self.job.config;
        let on_files = self.attempt.criteria.iter().any(|criterion| needs_checkout(&criterion.check));
        // A checkout of a large repository takes longer than the question to a service.
        if !config.changes.keeps() || place.checkout.is_none() || !on_files {
            return Ok(None);
        }
        let work = JudgedWork { result, restore: config.changes.restored() };
        let judged = self.attempt.workspace.prepare_judged(&work);
        let Some(judged) = judged.map_err(|error| error.outcome_after_work())? else { return Ok(None) };
        let JudgedCheckout { checkout, commit, tree, restored } = judged;
        let below = config.working_directory.clone();
        // The worker may have removed the folder, or put a link in its place.
        let refuse = |why| AttemptOutcome::failed(NodeReason::CriterionFailed, why);
        let place = WorkingFolder::of(checkout).below(below.as_deref()).map_err(refuse)?;
        Ok(Some((place, CheckedCommit { commit, tree, below, restored })))
    }
}
