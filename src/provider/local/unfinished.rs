//! What becomes of the files that a command changed which asks to be run again later, or asks a person: they are kept for the
//! next attempt, and are no result.

use std::sync::Arc;

use tracing::{debug, info};

use super::run::{LocalRun, WorkingFolder};
use crate::model::{NodeReason, UnfinishedWork};
use crate::provider::workspace::chain;
use crate::provider::{AttemptOutcome, AttemptReport, CollectError, UnfinishedChanges};

impl LocalRun<'_> {
    /// Keeps what was changed so far by work that goes on later.
    pub(super) fn keep_unfinished(&self, place: &mut WorkingFolder, report: &mut AttemptReport) {
        let (AttemptOutcome::Postponed { message, .. }
        | AttemptOutcome::Blocked { reason: NodeReason::InputRequired, message, .. }) = &mut report.outcome
        else {
            return;
        };
        let changes = &self.job.config.changes;
        // A question about remote work changes nothing; of a job that discards what it changes, nobody wants any of it.
        if self.job.is_question || !changes.keeps() {
            return;
        }
        let Some(checkout) = &mut place.checkout else { return };
        let taken = match report.evidence.result.take() {
            // Whoever was to judge it asks for more time. It was done, and is not done once more.
            Some(result) => Ok(Some(result)),
            None => changes.collect_unfinished(checkout, &self.shared.common.redactor),
        };
        let (node, attempt) = (&self.attempt.node, self.attempt.attempt);
        match taken {
            Ok(result) => {
                let left = result.filter(|result| result.files > 0);
                let left = left.map(|result| Arc::new(UnfinishedWork::of(result, attempt)));
                debug!(%node, attempt, kept = ?left, "unfinished changes taken in");
                report.evidence.unfinished = UnfinishedChanges::Left(left);
            }
            // Neither is a reason to end work that is to go on. What it found itself stays for the next attempt.
            Err(error) => {
                info!(%node, attempt, %error, "unfinished changes are not kept");
                let why = match &error {
                    CollectError::Refused(why) => why.clone(),
                    CollectError::Runner(_) => chain(&error),
                };
                message.push_str(&format!("; what it changed so far is not kept: {why}"));
            }
        }
    }
}
