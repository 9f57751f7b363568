//! The workflow that `providers.commands` names: that it is there, and that its job gets no token that can write, is said before the
//! merge. What it does otherwise is for whoever reviews it.

use serde_json::Value;

use crate::config::{CONFIG_FILE, Config};
use crate::diagnostic::{Diagnostic, Location};
use crate::manifest::{self, codes};
use crate::provider::worker_workflow;

/// Where a host looks for workflows.
const FOLDER: &str = ".github/workflows";

/// Checks the workflow, if one is named. `read` gives the content of a path.
pub(crate) fn check(config: &Config, mut read: impl FnMut(&str) -> Option<Vec<u8>>) -> Vec<Diagnostic> {
    let Some(name) = worker_workflow(&config.providers.sections) else { return Vec::new() };
    let path = format!("{FOLDER}/{name}");
    let place = Location {
        path: CONFIG_FILE.to_owned(),
        pointer: "/providers/commands/workflow".to_owned(),
        ..Location::default()
    };
    let wrong = match read(&path) {
        None => Some(Diagnostic::error(codes::UNUSABLE_VALUE, place, format!("there is no `{path}`"))
            .with_hint("`planspec init --github --split` writes one named `planspec-work.yml`")),
        Some(bytes) => doubt(&bytes).map(|why| {
            let message = format!("`{path}` {why}, so that a command could come by a token that can write");
            Diagnostic::warning(codes::UNUSABLE_VALUE, place, message)
                .with_hint("give the job `permissions: {contents: read}`, start it by `workflow_dispatch` alone, and check out with `persist-credentials: false`")
        }),
    };
    let mut found: Vec<Diagnostic> = wrong.into_iter().collect();
    manifest::locate(&mut found, &config.limits, read);
    found
}

/// Why the job of a workflow may have a token that can write.
fn doubt(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let Ok(workflow) = serde_yaml::from_str::<Value>(&text) else {
        return Some("cannot be read".to_owned());
    };
    // `on` is true to readers of YAML 1.1.
    let on = workflow.get("on").or_else(|| workflow.get("true"));
    let dangerous = ["pull_request_target", "pull_request", "push", "workflow_run", "issue_comment"];
    let starts = |event: &&&str| match on {
        Some(Value::String(one)) => one == **event,
        Some(Value::Array(all)) => all.iter().any(|one| one == **event),
        Some(Value::Object(all)) => all.contains_key(**event),
        _ => false,
    };
    if let Some(event) = dangerous.iter().find(starts) {
        return Some(format!("starts on `{event}`"));
    }
    let jobs: Vec<&Value> = workflow
        .get("jobs")
        .and_then(Value::as_object)
        .map(|jobs| jobs.values().collect())
        .unwrap_or_default();
    for job in jobs {
        // Without a word of its own, a job has what the workflow says; without that, what the repository's settings say.
        match job.get("permissions").or_else(|| workflow.get("permissions")) {
            None => return Some("says nothing of `permissions`".to_owned()),
            Some(Value::String(all)) if all == "write-all" => return Some("has `write-all`".to_owned()),
            Some(Value::Object(each)) => {
                if let Some((scope, _)) = each.iter().find(|(_, right)| *right == "write") {
                    return Some(format!("has `{scope}: write`"));
                }
            }
            Some(_) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: &str = include_str!("../scaffold/github/work.yml");

    #[track_caller]
    fn check_text(text: Option<&str>, expected: &str) {
        let commands =
            serde_json::json!({ "providers": { "commands": { "workflow": "planspec-work.yml" } } });
        let config: Config = serde_json::from_value(commands).unwrap();
        let read = |path: &str| {
            (path == ".github/workflows/planspec-work.yml")
                .then(|| text.map(|text| text.as_bytes().to_vec()))?
        };
        let found: Vec<String> = check(&config, read).into_iter().map(|found| found.message).collect();
        let expected: Vec<String> = (!expected.is_empty()).then(|| expected.to_owned()).into_iter().collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_workflow_that_could_write_is_named_before_the_merge() {
        let could = |why: &str| {
            format!(
                "`.github/workflows/planspec-work.yml` {why}, so that a command could come by a token that can write"
            )
        };
        check_text(Some(WRITTEN), "");
        check_text(None, "there is no `.github/workflows/planspec-work.yml`");
        let writes = WRITTEN.replace("contents: read", "contents: write");
        check_text(Some(&writes), &could("has `contents: write`"));
        let silent = "on: workflow_dispatch\njobs: {work: {runs-on: x}}\n";
        check_text(Some(silent), &could("says nothing of `permissions`"));
        let target = WRITTEN.replace("on: #", "on:\n  pull_request_target: #");
        check_text(Some(&target), &could("starts on `pull_request_target`"));
        check_text(Some(&WRITTEN.replace("permissions: {}", "permissions: write-all")), "");
        check_text(Some("{"), &could("cannot be read"));
    }
}
