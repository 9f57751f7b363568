//! The progress of Executions, for the people who introduced them: one comment on each pull request, and the summary of
//! the job.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use super::push_rules;
use crate::cli::Context;
use crate::cli::ci::host::Host;
use crate::cli::ci::pass::mentions::Mentions;
use crate::cli::ci::pass::pass_report::PassReport;
use crate::cli::ci::pass_view::{PassView, RemovedExecution, merged_pull};
use crate::cli::error::CliError;
use crate::git::ObjectId;
use crate::host::{CommentUpdate, PullRequest};
use crate::model::{Kind, ResourceKey};
use crate::report::preview;
use crate::report::progress_comment::{ExecutionProgress, MARKER, PageSubject};
use crate::report::text;

/// The most comments that are written at once: the next pass writes the rest.
const MOST_WRITTEN: usize = 30;

/// For how many commits the host is asked at once which pull request introduced them.
const MOST_ASKED: usize = 100;

/// How long a pass comes back to what has ended, for the two scheduled passes that follow in the written workflow.
const RECENT: SignedDuration = SignedDuration::from_hours(1);

/// What this job has asked and reported already, so that it is not asked again.
#[derive(Default)]
pub(crate) struct ReportedState {
    /// The merged pull request that introduced a commit.
    pulls: BTreeMap<ObjectId, Option<PullRequest>>,
    /// Our comment on a pull request, and what it says.
    comments: BTreeMap<u64, (u64, String)>,
    /// Who was mentioned already.
    mentions: Mentions,
    /// For how many commits the host was asked, since the count began again.
    asked: usize,
    /// Whether something could not be reported and is left to the next pass.
    incomplete: bool,
}

impl ReportedState {
    /// Takes nothing for granted that others may have changed since, or that the host did not know yet.
    pub(crate) fn ask_again(&mut self) {
        self.pulls.retain(|_, pull| pull.is_some());
        self.comments.clear();
    }

    /// Whether the next pass has something left to report.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.incomplete
    }

    fn pull(&mut self, host: &Host, commit: ObjectId) -> Result<Option<PullRequest>, CliError> {
        if let Some(pull) = self.pulls.get(&commit) {
            return Ok(pull.clone());
        }
        // Not remembered, so that the next pass asks.
        if self.asked >= MOST_ASKED {
            self.incomplete = true;
            return Ok(None);
        }
        self.asked += 1;
        let pull = merged_pull(host, &commit.to_string())?;
        self.pulls.insert(commit, pull.clone());
        Ok(pull)
    }

    /// Writes or edits our comment, unless it says the same already; whether it did not.
    fn write(&mut self, host: &Host, number: u64, body: &str) -> Result<bool, CliError> {
        if let Some((id, said)) = self.comments.get(&number) {
            let id = *id;
            if said == body {
                return Ok(false);
            }
            match host.ask(|github, repo| github.edit_comment(repo, id, body)) {
                Ok(_) => {
                    self.comments.insert(number, (id, body.to_owned()));
                    return Ok(true);
                }
                // Somebody deleted it.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        // What merging would do is answered once it has happened.
        let written = host.keep_comment(number, (MARKER, Some(preview::MARKER)), body)?;
        self.comments.insert(number, (written.id(), body.to_owned()));
        Ok(!matches!(written, CommentUpdate::Unchanged(_)))
    }
}

/// Reports to every pull request the progress of what it introduced, and gives the summary of the job and the phases for later
/// steps.
pub(crate) fn publish(
    host: Option<&Host>,
    view: &PassView,
    passed: &PassReport,
    full: Option<&str>,
    reported: &mut ReportedState,
    context: &mut Context,
) -> Result<(String, Value), CliError> {
    let mut page = view.page(&passed.touched, PageSubject::Pass)?.summary;
    if !passed.timeline.is_empty() {
        page.push_str("\n## Timeline\n\n| Time | What | Became | Why |\n| --- | --- | --- | --- |\n");
        page.extend(passed.timeline.iter().map(String::as_str));
        if passed.left_out > 0 {
            page.push_str(&format!("\n… and {} more.\n", passed.left_out));
        }
    }
    if let Some(host) = host {
        page.push_str(&push_rules::told(host, view, context)?);
    }
    reported.ask_again();
    // What was cut while the pass ran is reported now.
    reported.incomplete = false;
    // The host may not have known, right after a merge, which pull request a commit belongs to, or may have refused the last
    // comment. Nothing happens any more to what has ended, so no later pass would come back to it by itself.
    let ended = view.ended_since(context.now() - RECENT)?;
    let touched: BTreeSet<ResourceKey> = passed.touched.union(&ended).cloned().collect();
    let told = host.map_or(Ok(()), |host| {
        let removed = view.removed(&touched.union(&passed.removed).cloned().collect())?;
        comment(host, view, (&passed.changed, &touched), &removed, full, reported)
    });
    if let Err(error) = told {
        reported.incomplete = true;
        // The work is recorded; a comment that is missing is no reason to fail.
        let why = error.to_string();
        context.out.warning(format!("cannot report progress on the host: {}", text::line(&why)))?;
    }
    Ok((page, phases(view, passed)?))
}

/// Brings the comments on the pull requests up to date that introduced these Executions; those that something happened to
/// come first.
pub(crate) fn comment(
    host: &Host,
    view: &PassView,
    (changed, touched): (&BTreeSet<ResourceKey>, &BTreeSet<ResourceKey>),
    removed: &[RemovedExecution],
    full: Option<&str>,
    reported: &mut ReportedState,
) -> Result<(), CliError> {
    let first = executions_only(changed);
    let touched = executions_only(touched);
    if touched.is_empty() && removed.is_empty() {
        return Ok(());
    }
    let waiting: Vec<&ResourceKey> = touched.difference(&first).collect();
    // Where there are more than one pass can ask about, each one begins at another place.
    let begin = (uuid::Uuid::new_v4().as_u128() % (waiting.len().max(1) as u128)) as usize;
    let begin = if waiting.len() > MOST_ASKED { begin } else { 0 };
    let waiting = waiting.iter().cycle().skip(begin).take(waiting.len()).copied();
    let order: Vec<&ResourceKey> = first.iter().chain(waiting).collect();
    reported.asked = 0;
    let mut written = 0;
    for share in by_pull(host, view, (&order, removed), reported)? {
        let number = share.pull.number;
        if written == MOST_WRITTEN {
            reported.incomplete = true;
            break;
        }
        let (found, subject) = share.page(view, removed)?;
        written += usize::from(reported.write(host, number, &view.render(&found, subject, full).comment)?);
        // After the comment that shows what waits: whoever is called finds it up to date.
        if view.tips().config.publish.mention_reviewers {
            let config = &view.tips().config;
            written += usize::from(reported.mentions.tell(host, number, &found, config)?);
        }
    }
    Ok(())
}

/// The pull requests that introduced these Executions, with everything else that they introduced; in the same order.
fn by_pull(
    host: &Host,
    view: &PassView,
    (order, removed): (&[&ResourceKey], &[RemovedExecution]),
    reported: &mut ReportedState,
) -> Result<Vec<PullShare>, CliError> {
    // A comment shows everything that its pull request introduced, not only what this pass touched.
    let mut rest: BTreeSet<ResourceKey> = view.executions()?.into_iter().collect();
    rest.extend(order.iter().map(|key| (*key).clone()));
    let mut origins = view.brought(&rest)?;
    let mut found = PullShares::default();
    let mut moves = BTreeSet::new();
    for key in order {
        let Some(seeming) = origins.remove(*key) else { continue };
        let commit = view.before_moves(key, seeming)?;
        if commit != seeming {
            moves.insert(seeming);
        }
        let Some(pull) = reported.pull(host, commit)? else { continue };
        found.of(pull).keys.insert((*key).clone());
    }
    for (index, gone) in removed.iter().enumerate() {
        if let Some(pull) = reported.pull(host, gone.introduced)? {
            found.of(pull).introduced.push(index);
        }
        if let Some(pull) = reported.pull(host, gone.removed)? {
            found.of(pull).removed.push(index);
        }
    }
    // The host is asked only about commits that can be of one of these pull requests.
    let near: BTreeSet<ObjectId> = found.0.values().flat_map(|share| view.between(&share.pull)).collect();
    for (key, seeming) in origins {
        if !reported.pulls.contains_key(&seeming) && !near.contains(&seeming) && !moves.contains(&seeming) {
            continue;
        }
        let commit = view.before_moves(&key, seeming)?;
        if (reported.pulls.contains_key(&commit) || near.contains(&commit))
            && let Some(pull) = reported.pull(host, commit)?
            && let Some(share) = found.0.get_mut(&pull.number)
        {
            share.keys.insert(key);
        }
    }
    Ok(found.in_order())
}

/// The pull requests that are told, by number.
#[derive(Default)]
struct PullShares(BTreeMap<u64, PullShare>);

impl PullShares {
    fn of(&mut self, pull: PullRequest) -> &mut PullShare {
        let place = self.0.len();
        let new = |pull| PullShare {
            pull,
            place,
            keys: BTreeSet::new(),
            introduced: Vec::new(),
            removed: Vec::new(),
        };
        self.0.entry(pull.number).or_insert_with(|| new(pull))
    }

    fn in_order(self) -> Vec<PullShare> {
        let mut shares: Vec<PullShare> = self.0.into_values().collect();
        shares.sort_by_key(|share| share.place);
        shares
    }
}

/// What one pull request is told about.
struct PullShare {
    pull: PullRequest,
    /// When it was found: what something happened to comes first.
    place: usize,
    /// What it introduced and is still there.
    keys: BTreeSet<ResourceKey>,
    /// Which of those that are gone it introduced.
    introduced: Vec<usize>,
    /// Which of those that are gone it removed.
    removed: Vec<usize>,
}

impl PullShare {
    /// The progress to tell, and what it is about.
    fn page(
        &self,
        view: &PassView,
        gone: &[RemovedExecution],
    ) -> Result<(Vec<ExecutionProgress>, PageSubject), CliError> {
        let mut found = view.progress(&self.keys)?;
        let places: BTreeSet<&usize> = self.introduced.iter().chain(&self.removed).collect();
        found.extend(places.into_iter().filter_map(|at| gone.get(*at)).map(|one| one.progress.clone()));
        let introduces = !self.keys.is_empty() || !self.introduced.is_empty();
        let subject = match (introduces, self.removed.is_empty()) {
            (_, true) => PageSubject::Change,
            (false, false) => PageSubject::Removal,
            (true, false) => PageSubject::Replacement,
        };
        Ok((found, subject))
    }
}

fn executions_only(keys: &BTreeSet<ResourceKey>) -> BTreeSet<ResourceKey> {
    keys.iter().filter(|key| key.kind == Kind::Execution).cloned().collect()
}

/// The phases of the Executions of a pass, for later steps.
fn phases(view: &PassView, passed: &PassReport) -> Result<Value, CliError> {
    let mut phases = Map::new();
    for key in executions_only(&passed.touched) {
        let record = view.record(&key)?;
        let phase = record.as_ref().and_then(|record| record.execution()).map(|status| status.phase.as_str());
        phases.insert(format!("{}/{}", key.namespace, key.name), json!(phase.unwrap_or("Deleted")));
    }
    Ok(Value::Object(phases))
}
