//! The providers that work with people through a Git host, on a host that is not GitHub: what they do is up to the trait alone.

use tokio::sync::{mpsc, watch};

use super::delivery::PullRequests;
use super::external::External;
use super::human::Human;
use super::{
    Attempt, AttemptOutcome, Control, HostRepository, Provider, ProviderContext, ProviderSettings,
    UpstreamWork,
};
use super::{github_actions::GitHubActions, sample};
use crate::host::memory::{MemoryHost, account};
use crate::host::{HostConnection, IssueEnd, PullRequestReview, ReviewVerdict};
use crate::model::{JsonMap, NodeReason};

fn stage() -> (MemoryHost, ProviderContext) {
    let host = MemoryHost::default();
    let opened = host.clone();
    let settings = ProviderSettings {
        host: Some(HostConnection::new(move || Ok(std::sync::Arc::new(opened.clone())))),
        home: Some(HostRepository { repo: "acme/app".parse().unwrap(), dashboard: None }),
        ..ProviderSettings::default()
    };
    (host, ProviderContext::new(settings))
}

fn control() -> Control {
    Control { stop: watch::channel(None).1, output: mpsc::channel(1).0, heed: None }
}

fn config(value: &serde_json::Value) -> JsonMap {
    value.as_object().unwrap().clone()
}

/// What a node waits for, and the handle of it.
fn blocked(outcome: AttemptOutcome) -> (NodeReason, String, Option<String>) {
    let AttemptOutcome::Blocked { reason, message, handle, .. } = outcome else { panic!("{outcome:?}") };
    (reason, message, handle)
}

#[tokio::test]
async fn a_delivery_is_drafted_reviewed_and_merged_on_any_host() {
    let (host, context) = stage();
    let provider = PullRequests::new(context);
    let upstream = UpstreamWork {
        commit: Some("c0ffee".to_owned()),
        branch: Some("planspec/work/team/exec-1/ship".to_owned()),
        ..UpstreamWork::default()
    };
    let attempt = |handle: Option<String>| Attempt {
        provider: "pull-request://".to_owned(),
        upstream: upstream.clone().into(),
        handle,
        ..sample::attempt("ship")
    };
    let (reason, _, shown) = blocked(provider.propose(attempt(None)).await.outcome);
    assert_eq!((reason, host.contents().pulls[0].draft), (NodeReason::AwaitingApproval, true));
    let (_, message, handle) = blocked(provider.run(attempt(shown), control()).await.outcome);
    assert_eq!(message, "pull request #1 waits to be merged: memory://pulls/1");
    let pull = host.contents().pulls[0].clone();
    assert_eq!((pull.draft, pull.base.branch.as_str(), host.contents().pulls.len()), (false, "trunk", 1));
    let review = |login: &str, verdict| PullRequestReview {
        id: 1,
        user: Some(account(login)),
        verdict,
        commit: Some("c0ffee".to_owned()),
        submitted_at: None,
        body: Some("no tests".to_owned()),
    };
    host.contents().reviews.push(review("mia", ReviewVerdict::ChangesRequested));
    let (reason, ..) = blocked(provider.poll(attempt(handle.clone()), control()).await.outcome);
    assert_eq!(reason, NodeReason::ChangesRequested);
    host.contents().reviews.push(review("mia", ReviewVerdict::Approved));
    {
        let pull = &mut host.contents().pulls[0];
        (pull.is_open, pull.merge_commit) = (false, Some("f00d".to_owned()));
        pull.merged_at = Some("2026-01-01T00:00:00Z".to_owned());
    }
    let merged = provider.poll(attempt(handle), control()).await.outcome;
    let AttemptOutcome::Succeeded { outputs } = merged else { panic!("{merged:?}") };
    assert_eq!(outputs["mergeCommit"], "f00d");
}

#[tokio::test]
async fn a_task_of_a_person_is_an_issue_on_any_host_and_only_who_may_answers() {
    let (host, context) = stage();
    let provider = Human::new(context.clone());
    let attempt = |handle| Attempt {
        provider: "human://mia".to_owned(),
        config: config(&serde_json::json!({ "instructions": "read it" })),
        handle,
        ..sample::attempt("sign")
    };
    let (_, _, handle) = blocked(provider.run(attempt(None), control()).await.outcome);
    let close = |login: &str| {
        let issue = &mut host.contents().issues[0];
        (issue.is_open, issue.closed_as) = (false, Some(IssueEnd::Completed));
        issue.closed_by = Some(account(login));
    };
    close("eve");
    let (reason, message, handle) = blocked(provider.poll(attempt(handle), control()).await.outcome);
    assert!(reason == NodeReason::AwaitingPerson && message.contains("eve closed it"), "{message}");
    assert!(host.contents().issues[0].is_open && host.contents().comments.len() == 1);
    // The same issue, as something that another plan waits for.
    let external = External::new(context);
    let waits = Attempt {
        config: config(&serde_json::json!({ "type": "issue", "number": 1 })),
        ..sample::attempt("wait")
    };
    let (_, message, _) = blocked(external.run(waits.clone(), control()).await.outcome);
    assert_eq!(message, "issue #1 is still open: memory://issues/1");
    close("mia");
    for outcome in [
        provider.poll(attempt(handle), control()).await.outcome,
        external.run(waits, control()).await.outcome,
    ] {
        assert!(matches!(outcome, AttemptOutcome::Succeeded { .. }), "{outcome:?}");
    }
}

#[tokio::test]
async fn workflows_are_refused_where_the_host_has_none() {
    let (_, context) = stage();
    let attempt = Attempt {
        provider: "github-actions://acme/app/deploy.yml@refs/heads/main".to_owned(),
        ..sample::attempt("deploy")
    };
    let outcome = GitHubActions::new(context).run(attempt, control()).await.outcome;
    let AttemptOutcome::Failed { message, .. } = &outcome else { panic!("{outcome:?}") };
    assert_eq!(message, "the Git host of this runner has no workflows");
}
