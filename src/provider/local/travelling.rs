//! Files that travel: those of the nodes before an attempt are brought to it, and what it leaves itself is handed in.

use super::changes::secrets;
use super::run::LocalRun;
use super::run_folder::RunFolder;
use crate::provider::{AttemptOutcome, AttemptReport, LeftFiles};

impl LocalRun<'_> {
    /// Brings what the nodes before it left. Blocks.
    pub(super) fn bring_upstream(&self, folder: &mut RunFolder<'_>) -> Result<(), AttemptOutcome> {
        let files = &self.attempt.files;
        let needs = &self.job.config.needs;
        if !files.has_upstream() && needs.is_empty() {
            return Ok(());
        }
        let upstream = folder.make_upstream().map_err(|error| {
            AttemptOutcome::not_possible_here(format!("no folder for the artifacts before it: {error}"))
        })?;
        // Besides a stop nothing ends it but its own limits: the time of the attempt has not begun.
        let goes_on = || self.interrupt.heard().is_none();
        files.bring(&upstream, needs, &goes_on).map_err(|error| {
            // A stop interrupts the transfer, and then that is why there is none.
            self.go_on().err().unwrap_or_else(|| error.outcome())
        })
    }

    /// Hands in what the attempt left, where its end is recorded with it.
    pub(super) fn store(&self, report: &mut AttemptReport) {
        // What was stopped is begun again, and what waits keeps no evidence.
        if matches!(report.outcome, AttemptOutcome::Stopped(_) | AttemptOutcome::Blocked { .. }) {
            return;
        }
        let left = LeftFiles {
            run_dir: &self.attempt.run_dir,
            artifacts: &report.evidence.artifacts,
            log: report.evidence.log.as_ref(),
            is_secret: secrets(&self.shared.common.redactor),
            goes_on: &|| self.interrupt.heard().is_none(),
        };
        report.evidence.stored = self.attempt.files.keep(&left);
    }
}
