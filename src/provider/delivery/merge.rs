//! `merge://BRANCH`: merges the work of the nodes before it into a branch, without a host. Only into branches that
//! `providers.merge` of the configuration lists, and only work that an approved Gate has seen, unless it says otherwise there.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::{blocked, refuse_impossible, refused, succeeded, unavailable};
use crate::model::{JsonMap, NodeReason};
use crate::provider::output::AttemptLog;
use crate::provider::settings::Settings;
use crate::provider::{
    Attempt, AttemptFuture, AttemptOutcome, AttemptReport, BranchMerge, ConfigError, Control, Provider,
    ProviderContext, Stop, UpstreamWork,
};

const SCHEME: &str = "merge://";

/// Where the configuration lists the branches.
const SECTION: &str = "merge";

/// What a merge gives.
const OUTPUTS: [&str; 2] = ["commit", "branch"];

/// The provider.
#[derive(Clone)]
pub(in crate::provider) struct Merge(ProviderContext);

/// A branch that work may be merged into.
#[derive(Debug, PartialEq, Eq)]
struct MergeTarget<'p> {
    branch: &'p str,
    needs_gate: bool,
}

impl Merge {
    pub(in crate::provider) fn new(context: ProviderContext) -> Self {
        Self(context)
    }

    /// The branch that a provider string names, as far as the configuration lets work be merged there.
    fn target<'p>(&self, provider: &'p str) -> Result<MergeTarget<'p>, ConfigError> {
        let wrong = |why| ConfigError::Provider { provider: provider.to_owned(), why };
        let branch = provider.strip_prefix(SCHEME).unwrap_or_default();
        if branch.is_empty() {
            return Err(wrong("must be `merge://BRANCH`"));
        }
        let listed = self.0.settings.sections.get(SECTION).and_then(Value::as_array);
        // By name alone, never by a pattern: this is the one way in which a reconcile writes to a branch of people, the desired
        // one included (Invariant 2).
        for entry in listed.into_iter().flatten() {
            match entry {
                Value::String(name) if name == branch => return Ok(MergeTarget { branch, needs_gate: true }),
                Value::Object(entry) if entry.get("branch").and_then(Value::as_str) == Some(branch) => {
                    // Whatever is not the one word that opens it keeps it closed.
                    let needs_gate = entry.get("gate").and_then(Value::as_str) != Some("none");
                    return Ok(MergeTarget { branch, needs_gate });
                }
                _ => {}
            }
        }
        Err(wrong(
            "names a branch that nothing may be merged into: list it in `providers.merge` of .planspec.yaml",
        ))
    }

    /// Everything that can be known before anything moves.
    fn refusal(&self, attempt: &Attempt) -> Result<(), AttemptOutcome> {
        self.check(&attempt.provider, &attempt.config).map_err(|error| unavailable(&error))?;
        let target = self.target(&attempt.provider).map_err(|error| unavailable(&error))?;
        refuse_impossible(attempt, &OUTPUTS)?;
        let UpstreamWork { unapproved, .. } = attempt.upstream.as_ref();
        if target.needs_gate && !unapproved.is_empty() {
            let nodes: Vec<String> = unapproved.iter().map(|node| format!("`{node}`")).collect();
            return Err(refused(format!(
                "no approved gate between this node and {} has seen the work; add one, or set `gate: none` for `{}` in `providers.merge` of .planspec.yaml",
                nodes.join(", "),
                target.branch,
            )));
        }
        Ok(())
    }

    /// Merges; blocks.
    fn merge(
        &self,
        attempt: &Attempt,
        stop: &watch::Receiver<Option<Stop>>,
        log: &mut AttemptLog,
    ) -> AttemptOutcome {
        if let Err(outcome) = self.refusal(attempt) {
            return outcome;
        }
        let branch = attempt.provider.strip_prefix(SCHEME).unwrap_or_default();
        let UpstreamWork { commit, merger, .. } = attempt.upstream.as_ref();
        let (Some(commit), Some(merger)) = (commit, merger) else {
            log.write(b"the nodes before it changed no files: there is nothing to merge\n");
            return merged(attempt, None, branch);
        };
        let stopped = || *stop.borrow();
        let begun = Instant::now();
        // Only looked at between two steps: a push that has begun says how it ended, whatever the time is.
        let is_over =
            || attempt.timeout.is_some_and(|longest| attempt.age.saturating_add(begun.elapsed()) >= longest);
        match merger.merge_into(branch, &|| stopped().is_none() && !is_over()) {
            Ok(BranchMerge::Delivered(merge)) => {
                log.write(format!("merged {commit} into {branch} as {merge}\n").as_bytes());
                merged(attempt, Some(&merge), branch)
            }
            Ok(BranchMerge::Conflicts(files)) => {
                let files: Vec<String> = files.iter().map(|file| format!("`{file}`")).collect();
                // The branch is people's, and so is what becomes of both sides: no node runs again for it, as at a pull request. Into
                // the branch, and not the other way round: its first parents are what was in force.
                let message = format!(
                    "the work conflicts with branch `{branch}` in {}; bring it here with `planspec checkout {}/{}`, merge {commit} into \
                     `{branch}` by hand, push that, and run this node again, which finds it there",
                    files.join(", "),
                    attempt.key.name,
                    attempt.node,
                );
                blocked(NodeReason::BranchConflict, message)
            }
            Ok(BranchMerge::Refused(why)) => refused(why),
            // Nothing moved, so that nobody has to decide whether to do it again.
            Ok(BranchMerge::Stopped) => match stopped() {
                Some(Stop::Cancel) => AttemptOutcome::Stopped(Stop::Cancel),
                // Not after a stop: work that somebody else takes over has its time again.
                None => AttemptOutcome::failed(NodeReason::Timeout, took_too_long(attempt)),
                _ => AttemptOutcome::NotStarted { message: "the runner stopped before the merge".to_owned() },
            },
            Err(error) => error.outcome(),
        }
    }
}

impl Provider for Merge {
    fn schemes(&self) -> &'static [&'static str] {
        &["merge"]
    }

    fn check(&self, provider: &str, config: &JsonMap) -> Result<(), ConfigError> {
        Settings::new(config, &[])?;
        self.target(provider).map(|_| ())
    }

    fn run(&self, attempt: Attempt, control: Control) -> AttemptFuture {
        let merge = self.clone();
        Box::pin(async move {
            let Control { stop, output, .. } = control;
            // Git is waited for on a thread that may block. It is not ended early: between two steps the merge looks whether it
            // goes on, and a push that has begun says how it ended.
            let done = tokio::task::spawn_blocking(move || {
                let path = attempt.run_dir.join("log");
                let mut log = AttemptLog::new(path, Arc::clone(&merge.0.redactor), output);
                let outcome = merge.merge(&attempt, &stop, &mut log).cleaned(&merge.0.redactor);
                let mut report = AttemptReport::from(outcome);
                report.evidence.log = log.finish();
                report
            });
            done.await.unwrap_or_else(|error| {
                AttemptOutcome::broken_off_here(format!("the merge was aborted: {error}")).into()
            })
        })
    }
}

fn took_too_long(attempt: &Attempt) -> String {
    let longest = attempt.timeout.unwrap_or_default();
    format!("took longer than {longest:?}; the branch is as it was")
}

/// What a merge gives; `null` where nothing was merged, so that an expression that reads it gets an answer all the same.
fn merged(attempt: &Attempt, commit: Option<&str>, branch: &str) -> AttemptOutcome {
    let outputs = [("branch".to_owned(), json!(branch)), ("commit".to_owned(), json!(commit))];
    succeeded(attempt, JsonMap::from_iter(outputs))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::provider::sample;
    use crate::provider::{BranchMerger, ProviderSettings, WorkspaceError};

    /// Says what came of it, and what it was asked.
    struct Merger(BranchMerge, Mutex<Vec<String>>);

    impl BranchMerger for Merger {
        fn merge_into(
            &self,
            branch: &str,
            goes_on: &dyn Fn() -> bool,
        ) -> Result<BranchMerge, WorkspaceError> {
            self.1.lock().unwrap().push(branch.to_owned());
            Ok(if goes_on() { self.0.clone() } else { BranchMerge::Stopped })
        }
    }

    fn provider() -> Merge {
        let listed = json!({ "merge": ["main", { "branch": "next", "gate": "none" }, { "branch": "old" }] });
        let sections = listed.as_object().unwrap().clone();
        Merge::new(ProviderContext::new(ProviderSettings { sections, ..ProviderSettings::default() }))
    }

    async fn run(
        target: &str,
        unapproved: &[&str],
        came_of_it: BranchMerge,
        stop: Option<Stop>,
    ) -> (AttemptOutcome, usize) {
        let merger = Arc::new(Merger(came_of_it, Mutex::default()));
        let mut attempt = sample::attempt("land");
        attempt.provider = target.to_owned();
        attempt.upstream = Arc::new(UpstreamWork {
            commit: Some("c".repeat(40)),
            unapproved: unapproved.iter().map(|node| node.parse().unwrap()).collect(),
            merger: Some(Arc::clone(&merger) as Arc<dyn BranchMerger>),
            ..UpstreamWork::default()
        });
        let (_keep, stop) = watch::channel(stop);
        let (output, _lines) = tokio::sync::mpsc::channel(8);
        let report = provider().run(attempt, Control { stop, output, heed: None }).await;
        let asked = merger.1.lock().unwrap().len();
        (report.outcome, asked)
    }

    #[test]
    fn only_branches_that_are_listed_by_name_are_merged_into() {
        let provider = provider();
        for (known, needs_gate) in [("main", true), ("next", false), ("old", true)] {
            let name = format!("merge://{known}");
            assert_eq!(provider.target(&name), Ok(MergeTarget { branch: known, needs_gate }));
        }
        for unknown in ["merge://", "merge://mai", "merge://main/x", "merge://*"] {
            assert!(provider.check(unknown, &JsonMap::new()).is_err(), "{unknown}");
        }
    }

    #[tokio::test]
    async fn work_that_no_gate_has_seen_is_merged_only_where_the_configuration_says_so() {
        let delivered = || BranchMerge::Delivered("d".repeat(40));
        let (outcome, asked) = run("merge://main", &["implement"], delivered(), None).await;
        let AttemptOutcome::Blocked { reason, message, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!((reason, asked), (NodeReason::DeliveryRefused, 0));
        assert!(message.contains("`implement`") && message.contains("gate: none"), "{message}");
        let (outcome, asked) = run("merge://next", &["implement"], delivered(), None).await;
        assert!(matches!(outcome, AttemptOutcome::Succeeded { .. }) && asked == 1, "{outcome:?}");
    }

    #[tokio::test]
    async fn what_comes_of_a_merge_is_said_of_the_node() {
        let (outcome, _) = run("merge://main", &[], BranchMerge::Delivered("d".repeat(40)), None).await;
        let AttemptOutcome::Succeeded { outputs } = outcome else { panic!("{outcome:?}") };
        assert_eq!(Value::Object(outputs), json!({ "branch": "main", "commit": "d".repeat(40) }));
        let (outcome, _) =
            run("merge://main", &[], BranchMerge::Conflicts(vec!["a b".to_owned()]), None).await;
        assert!(
            matches!(&outcome, AttemptOutcome::Blocked { reason: NodeReason::BranchConflict, message, .. } if message.contains("`a b`")),
            "{outcome:?}"
        );
        let (outcome, _) = run("merge://main", &[], BranchMerge::Stopped, Some(Stop::Shutdown)).await;
        assert!(matches!(outcome, AttemptOutcome::NotStarted { .. }), "{outcome:?}");
        let (outcome, _) = run("merge://main", &[], BranchMerge::Stopped, Some(Stop::Cancel)).await;
        assert_eq!(outcome, AttemptOutcome::Stopped(Stop::Cancel));
    }
}
