//! Where Executions stand, as the people see it who brought them: one comment on each pull request, and the summary of
//! the job.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::host::Host;
use super::passed::Passed;
use super::standing::Standing;
use crate::cli::Context;
use crate::cli::error::CliError;
use crate::model::{Kind, ResourceKey};
use crate::report::progress_comment::MARKER;
use crate::report::text;

/// The most pull requests that one pass comments on: the rest is told by the next one.
const MOST_PULLS: usize = 30;

/// Tells every pull request what became of what it brought, and gives the summary of the job and the phases for later
/// steps.
pub(super) fn publish(
    host: Option<&Host>,
    passed: &Passed,
    full: Option<&str>,
    context: &mut Context,
) -> Result<(String, Value), CliError> {
    let standing = Standing::open(context)?;
    let mut page = standing.page(&passed.touched, None)?.summary;
    if !passed.timeline.is_empty() {
        page.push_str("\n## Timeline\n\n| Time | What | Became | Why |\n| --- | --- | --- | --- |\n");
        page.extend(passed.timeline.iter().map(String::as_str));
        if passed.left_out > 0 {
            page.push_str(&format!("\n… and {} more.\n", passed.left_out));
        }
    }
    if let Some(host) = host
        && let Err(error) = comment(host, &standing, passed, full)
    {
        // The work is recorded; a comment that is missing is no reason to fail.
        let why = error.to_string();
        context.out.warning(format!("progress is not told on the host: {}", text::line(&why)))?;
    }
    Ok((page, phases(&standing, passed)?))
}

fn comment(host: &Host, standing: &Standing, passed: &Passed, full: Option<&str>) -> Result<(), CliError> {
    let touched = executions_only(&passed.touched);
    if touched.is_empty() {
        return Ok(());
    }
    let mut by_pull: BTreeMap<u64, BTreeSet<ResourceKey>> = BTreeMap::new();
    for (key, pull) in standing.pulls(host, &touched)? {
        by_pull.entry(pull.number).or_default().insert(key);
    }
    if by_pull.is_empty() {
        return Ok(());
    }
    // A comment is about everything that its pull request brought, also what this pass did not touch.
    let rest: BTreeSet<ResourceKey> =
        standing.executions()?.into_iter().filter(|key| !touched.contains(key)).collect();
    for (key, pull) in standing.pulls(host, &rest)? {
        if let Some(keys) = by_pull.get_mut(&pull.number) {
            keys.insert(key);
        }
    }
    for (number, keys) in by_pull.into_iter().take(MOST_PULLS) {
        let page = standing.page(&keys, full)?;
        host.keep_comment(number, MARKER, &page.comment)?;
    }
    Ok(())
}

fn executions_only(keys: &BTreeSet<ResourceKey>) -> BTreeSet<ResourceKey> {
    keys.iter().filter(|key| key.kind == Kind::Execution).cloned().collect()
}

/// The phases of the Executions of a pass, for later steps.
fn phases(standing: &Standing, passed: &Passed) -> Result<Value, CliError> {
    let mut phases = Map::new();
    for key in executions_only(&passed.touched) {
        let record = standing.record(&key)?;
        let phase = record.as_ref().and_then(|record| record.execution()).map(|status| status.phase.as_str());
        phases.insert(format!("{}/{}", key.namespace, key.name), json!(phase.unwrap_or("Deleted")));
    }
    Ok(Value::Object(phases))
}
