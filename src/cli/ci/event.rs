//! The event that started the job. Only numbers, commits and branches are taken from it: whoever wrote a title or a
//! comment has no say here, and what is wrong with the file is an answer.

use serde::{Deserialize, de::DeserializeOwned};

use super::event_bytes;
use crate::cli::error::CliError;
use crate::config::Actions;
use crate::git::is_branch_name;
use crate::host::{Account, PullRequest};
use crate::model::WORK_BRANCHES;
use crate::report::text;

/// The events that a workflow may start `planspec ci` on.
pub(crate) const HANDLED: [&str; 11] = [
    "pull_request",
    "pull_request_target",
    "merge_group",
    "push",
    "schedule",
    "workflow_dispatch",
    "repository_dispatch",
    "issues",
    "issue_comment",
    "pull_request_review",
    "workflow_run",
];

/// What happened, as far as it concerns us.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HostEvent {
    /// A pull request was opened or changed.
    PullRequest(PullRef),
    /// The merge queue asks whether a group of pull requests may be merged.
    MergeGroup(GroupRef),
    /// It is time for a pass; with the host's default branch, when the event says.
    Pass(Option<String>),
    /// A branch was pushed that is not the default one: time for a pass if it is the desired branch.
    Push {
        /// The branch.
        pushed: String,
        /// The host's default branch.
        default: String,
    },
    /// A task for a person was closed or opened again: time for a pass that polls remote work.
    Answer(Option<String>),
    /// Somebody wrote a comment.
    Comment(CommentRef),
    /// Somebody approved a pull request.
    Review(ReviewRef),
    /// Another workflow ended and may have left a report.
    Report(TriggeringRun),
    /// Nothing that concerns us, and why.
    Nothing(String),
}

/// A pull request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PullRef {
    pub(crate) number: u64,
    /// The branch that it is to be merged into.
    pub(crate) base: String,
    /// The newest commit of the change.
    pub(crate) head: String,
    /// Whether it comes from another repository.
    pub(crate) fork: bool,
    /// Whether the job runs with the rights of the base (`pull_request_target`).
    pub(crate) trusted: bool,
    /// The host's default branch, when the event says.
    pub(crate) default: Option<String>,
}

/// A group of pull requests that the merge queue has put together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct GroupRef {
    /// The branch that it is to be merged into.
    pub(crate) base: String,
    /// The commit that would become the tip of that branch.
    pub(crate) head: String,
    /// The host's default branch, when the event says.
    pub(crate) default: Option<String>,
}

/// The address of a comment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CommentRef {
    pub(crate) id: u64,
    /// The issue or pull request.
    pub(crate) number: u64,
    pub(crate) branch: Option<String>,
}

/// The address of a review.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReviewRef {
    pub(crate) number: u64,
    pub(crate) branch: Option<String>,
}

/// A run of another workflow.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TriggeringRun {
    /// The commit that it ran on.
    pub(crate) head: String,
    /// `OWNER:BRANCH` of its head, when it says.
    pub(crate) origin: Option<String>,
    /// The repository of its head, when it says.
    pub(crate) repository: Option<String>,
}

#[derive(Deserialize)]
struct Action {
    action: String,
}

#[derive(Deserialize, Default)]
struct Repository {
    #[serde(default)]
    default_branch: Option<String>,
}

#[derive(Deserialize)]
struct PullEvent {
    action: String,
    pull_request: PullRequest,
    #[serde(default)]
    repository: Repository,
}

#[derive(Deserialize)]
struct GroupEvent {
    action: String,
    merge_group: GroupFacts,
    #[serde(default)]
    repository: Repository,
}

#[derive(Deserialize)]
struct GroupFacts {
    head_sha: String,
    base_ref: String,
}

#[derive(Deserialize)]
struct PassEvent {
    #[serde(default, rename = "ref")]
    reference: Option<String>,
    #[serde(default)]
    repository: Repository,
}

#[derive(Deserialize)]
struct Numbered {
    number: u64,
    #[serde(default)]
    head: serde_json::Value,
}

#[derive(Deserialize)]
struct Identified {
    id: u64,
}

#[derive(Deserialize)]
struct CommentEvent {
    issue: Numbered,
    comment: Identified,
    #[serde(default)]
    repository: Repository,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct LabelledIssue {
    #[serde(default)]
    labels: Vec<Named>,
}

#[derive(Deserialize)]
struct IssueEvent {
    issue: LabelledIssue,
    #[serde(default)]
    repository: Repository,
}

#[derive(Deserialize)]
struct ReviewState {
    state: String,
}

#[derive(Deserialize)]
struct ReviewEvent {
    review: ReviewState,
    pull_request: Numbered,
    #[serde(default)]
    repository: Repository,
}

#[derive(Deserialize)]
struct RunEvent {
    workflow_run: RunFacts,
    #[serde(default)]
    repository: Option<FullyNamed>,
}

#[derive(Deserialize)]
struct FullyNamed {
    full_name: String,
}

#[derive(Deserialize)]
struct RunFacts {
    event: String,
    head_sha: String,
    #[serde(default)]
    head_branch: Option<String>,
    #[serde(default)]
    head_repository: Option<Owned>,
}

#[derive(Deserialize)]
struct Owned {
    owner: Account,
    #[serde(default)]
    full_name: Option<String>,
}

/// Reads the event that the environment names.
pub(crate) fn read(actions: &Actions) -> Result<HostEvent, CliError> {
    let name = actions.event_name.as_deref().ok_or_else(|| {
        CliError::environment("GITHUB_EVENT_NAME is not set")
            .hint("`planspec ci` runs in a job of GitHub Actions")
    })?;
    understand(name, &event_bytes(actions)?)
}

/// Makes sense of an event.
pub(crate) fn understand(name: &str, bytes: &[u8]) -> Result<HostEvent, CliError> {
    match name {
        "pull_request" | "pull_request_target" => {
            let event: PullEvent = parse(name, bytes)?;
            if event.action == "closed" {
                return Ok(HostEvent::Nothing(
                    "the pull request was closed; its merge is an event of its own".to_owned(),
                ));
            }
            let fork = event.pull_request.is_from_fork();
            Ok(HostEvent::PullRequest(PullRef {
                number: event.pull_request.number,
                // Both become arguments of Git, so that nothing but a branch and a commit may pass
                // (Invariant 8).
                base: branch(&event.pull_request.base.branch)?,
                head: commit(&event.pull_request.head.sha)?,
                fork,
                trusted: name == "pull_request_target",
                default: default_branch(&event.repository)?,
            }))
        }
        "merge_group" => group(name, bytes),
        "push" => {
            let event: PassEvent = parse(name, bytes)?;
            let pushed = event.reference.as_deref().and_then(|name| name.strip_prefix("refs/heads/"));
            match (pushed, event.repository.default_branch.as_deref()) {
                (Some(pushed), Some(default)) if pushed == default => {
                    Ok(HostEvent::Pass(Some(branch(default)?)))
                }
                // With the token of an App, unlike that of a job, our own pushes start workflows. Before the arm for
                // events without a default branch: nothing that we write is ever desired state.
                (Some(ours), _) if ours.starts_with("planspec/") => {
                    Ok(HostEvent::Nothing(format!("{ours} was pushed, which planspec writes itself")))
                }
                // Not that what was pushed is the default: the remote says which branch is.
                (Some(pushed), None) => branch(pushed).map(|_| HostEvent::Pass(None)),
                (Some(pushed), Some(default)) => {
                    Ok(HostEvent::Push { pushed: branch(pushed)?, default: branch(default)? })
                }
                // A tag, which never holds desired state.
                (None, _) => Ok(HostEvent::Nothing("no branch was pushed".to_owned())),
            }
        }
        "schedule" | "workflow_dispatch" | "repository_dispatch" => {
            let event: PassEvent = parse(name, bytes)?;
            Ok(HostEvent::Pass(default_branch(&event.repository)?))
        }
        "issues" => issue(name, bytes),
        "issue_comment" => comment(name, bytes),
        "pull_request_review" => review(name, bytes),
        "workflow_run" => report(name, bytes),
        // A green job would look like a check that was made; a required one would let everything through.
        other => Err(CliError::usage(format!("unknown event `{}`", text::line(other)))
            .hint(format!("`planspec ci` handles {}; start the job on one of these", HANDLED.join(", ")))),
    }
}

fn group(name: &str, bytes: &[u8]) -> Result<HostEvent, CliError> {
    let event: GroupEvent = parse(name, bytes)?;
    // `destroyed` follows when the group was merged, or fell apart: there is nothing left to ask about.
    if event.action != "checks_requested" {
        return Ok(HostEvent::Nothing("the merge queue asks for no check".to_owned()));
    }
    // The queue names its branch as a whole reference, unlike the event of a pull request.
    let base = event.merge_group.base_ref.trim_start_matches("refs/heads/");
    Ok(HostEvent::MergeGroup(GroupRef {
        base: branch(base)?,
        head: commit(&event.merge_group.head_sha)?,
        default: default_branch(&event.repository)?,
    }))
}

fn issue(name: &str, bytes: &[u8]) -> Result<HostEvent, CliError> {
    let action = parse::<Action>(name, bytes)?.action;
    let event: IssueEvent = parse(name, bytes)?;
    // What the issue is, the pass asks the host; here it is only about saving one.
    let ours = event.issue.labels.iter().any(|label| label.name == "planspec");
    if !ours || !matches!(action.as_str(), "closed" | "reopened") {
        return Ok(HostEvent::Nothing("no issue of planspec was closed or reopened".to_owned()));
    }
    Ok(HostEvent::Answer(default_branch(&event.repository)?))
}

fn comment(name: &str, bytes: &[u8]) -> Result<HostEvent, CliError> {
    // People with write permission can edit the comments of others, and the host still names the first
    // author.
    if parse::<Action>(name, bytes)?.action != "created" {
        return Ok(HostEvent::Nothing("edited and deleted comments are not commands".to_owned()));
    }
    let event: CommentEvent = parse(name, bytes)?;
    let branch = default_branch(&event.repository)?;
    Ok(HostEvent::Comment(CommentRef { id: event.comment.id, number: event.issue.number, branch }))
}

fn review(name: &str, bytes: &[u8]) -> Result<HostEvent, CliError> {
    let event: ReviewEvent = parse(name, bytes)?;
    let submitted = parse::<Action>(name, bytes)?.action == "submitted";
    let approves = event.review.state.eq_ignore_ascii_case("approved");
    // Of a delivery, other reviews are news, too. The name only saves a request: what it is, the pass asks the host.
    let head = event.pull_request.head.get("ref").and_then(serde_json::Value::as_str);
    let delivers = head.is_some_and(|head| head.starts_with(WORK_BRANCHES));
    if !submitted || !(approves || delivers) {
        return Ok(HostEvent::Nothing("only an approving review can count for a gate".to_owned()));
    }
    let branch = default_branch(&event.repository)?;
    Ok(HostEvent::Review(ReviewRef { number: event.pull_request.number, branch }))
}

fn report(name: &str, bytes: &[u8]) -> Result<HostEvent, CliError> {
    let action = parse::<Action>(name, bytes)?.action;
    let RunEvent { workflow_run: run, repository: own } = parse(name, bytes)?;
    if action == "completed" && run.event == "workflow_dispatch" {
        // What a pass started may be over: the next one looks, and asks the host for everything that counts.
        return Ok(HostEvent::Answer(None));
    }
    if action != "completed" || run.event != "pull_request" {
        return Ok(HostEvent::Nothing("only a completed run of a pull request leaves a report".to_owned()));
    }
    let repository = run.head_repository.as_ref().and_then(|repository| repository.full_name.clone());
    if let (Some(head), Some(own)) = (&repository, own)
        && head.eq_ignore_ascii_case(&own.full_name)
    {
        return Ok(HostEvent::Nothing(
            "runs for branches of this repository comment by themselves".to_owned(),
        ));
    }
    let owner = run.head_repository.map(|repository| repository.owner.login);
    // The form in which the host's API is asked for pull requests by their head.
    let origin = owner.zip(run.head_branch).map(|(owner, branch)| format!("{owner}:{branch}"));
    Ok(HostEvent::Report(TriggeringRun { head: commit(&run.head_sha)?, origin, repository }))
}

fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, CliError> {
    // Fields that are not known are no error: the host adds some at any time.
    serde_json::from_slice(bytes).map_err(|error| {
        let why = error.to_string();
        CliError::environment(format!("cannot read the event `{name}`: {}", text::line(&why)))
            .hint("GITHUB_EVENT_PATH names the file, which GitHub writes")
    })
}

/// The id of a commit, and nothing else.
fn commit(sha: &str) -> Result<String, CliError> {
    // SHA-1 or SHA-256 in full; anything shorter could also be the name of a branch.
    if matches!(sha.len(), 40 | 64) && sha.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(sha.to_ascii_lowercase());
    }
    Err(CliError::environment("the event names an invalid commit id"))
}

/// The host's default branch, when the event says.
fn default_branch(repository: &Repository) -> Result<Option<String>, CliError> {
    repository.default_branch.as_deref().map(branch).transpose()
}

/// The name of a branch, and no option, revision or path in disguise.
fn branch(name: &str) -> Result<String, CliError> {
    if !is_branch_name(name) {
        return Err(CliError::environment("the event names an invalid branch"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::error::Exit;
    use serde_json::{Value, json};

    fn event(name: &str, value: &Value) -> Result<HostEvent, String> {
        understand(name, value.to_string().as_bytes()).map_err(|error| error.to_string())
    }

    fn pull(action: &str, base: &str, head: &str) -> Value {
        let side =
            |branch: &str, repo: &str| json!({ "ref": branch, "sha": head, "repo": { "full_name": repo } });
        json!({ "action": action, "number": 7, "pull_request": {
            "number": 7, "user": { "login": "wendy" }, "title": "::error::x",
            "head": side("feat", "eve/app"), "base": side(base, "acme/app"),
        } })
    }

    #[test]
    fn a_pull_request_is_taken_by_number_commit_and_base() {
        let head = "a".repeat(40);
        let found = event("pull_request", &pull("opened", "main", &head)).unwrap();
        let expected = PullRef {
            number: 7,
            base: "main".to_owned(),
            head: head.clone(),
            fork: true,
            trusted: false,
            default: None,
        };
        assert_eq!(found, HostEvent::PullRequest(expected));
        assert!(matches!(event("pull_request", &pull("closed", "main", &head)), Ok(HostEvent::Nothing(_))));
    }

    #[test]
    fn hostile_names_are_answers_and_not_arguments() {
        for bad in ["--upload-pack=x", "a b", "a..b", "", "x\u{1b}", "a:b"] {
            assert!(event("pull_request", &pull("opened", bad, &"a".repeat(40))).is_err(), "{bad}");
        }
        assert!(event("pull_request", &pull("opened", "main", "HEAD~1")).is_err());
    }

    #[test]
    fn a_malformed_event_is_an_answer_and_never_a_panic() {
        let texts: [&[u8]; 6] =
            [b"", b"{", b"[]", b"\xff\xfe", b"{\"action\":1}", b"{\"pull_request\":{\"number\":-1}}"];
        for name in HANDLED {
            for text in texts {
                if let Err(error) = understand(name, text) {
                    assert_eq!(error.exit().code(), 3, "{name}");
                }
            }
        }
    }

    #[test]
    fn an_event_that_nobody_handles_is_an_error_that_says_which_are() {
        let error = understand("star", b"{}").unwrap_err();
        assert_eq!((error.exit(), error.to_string()), (Exit::Usage, "unknown event `star`".to_owned()));
        assert!(
            error.hints()[0].contains("pull_request, pull_request_target, merge_group, push"),
            "{error:?}"
        );
        for name in HANDLED {
            let found = understand(name, b"{}");
            assert!(!found.is_err_and(|error| error.to_string().contains("unknown event")), "{name}");
        }
    }

    #[test]
    fn the_merge_queue_asks_about_a_commit_and_a_branch() {
        let group = |action: &str, base: &str| {
            json!({ "action": action, "repository": { "default_branch": "main" }, "merge_group": {
            "head_sha": "a".repeat(40), "head_ref": "refs/heads/gh-readonly-queue/main/pr-7-b", "base_ref": base, "base_sha": "b".repeat(40),
        } })
        };
        let asked =
            GroupRef { base: "main".to_owned(), head: "a".repeat(40), default: Some("main".to_owned()) };
        assert_eq!(
            event("merge_group", &group("checks_requested", "refs/heads/main")),
            Ok(HostEvent::MergeGroup(asked))
        );
        assert!(matches!(
            event("merge_group", &group("destroyed", "refs/heads/main")),
            Ok(HostEvent::Nothing(_))
        ));
        assert!(event("merge_group", &group("checks_requested", "refs/heads/--upload-pack=x")).is_err());
    }

    #[test]
    fn only_a_push_to_the_desired_branch_starts_a_pass() {
        let push = |name: &str| json!({ "ref": name, "repository": { "default_branch": "main" } });
        assert_eq!(event("push", &push("refs/heads/main")), Ok(HostEvent::Pass(Some("main".to_owned()))));
        assert!(matches!(event("push", &push("refs/heads/planspec/status")), Ok(HostEvent::Nothing(_))));
        let other = HostEvent::Push { pushed: "release".to_owned(), default: "main".to_owned() };
        assert_eq!(event("push", &push("refs/heads/release")), Ok(other));
        assert!(matches!(event("push", &push("refs/tags/main")), Ok(HostEvent::Nothing(_))));
        assert_eq!(event("schedule", &json!({ "schedule": "1 * * * *" })), Ok(HostEvent::Pass(None)));
        let silent = |name: &str| event("push", &json!({ "ref": name }));
        assert!(matches!(silent("refs/heads/planspec/status"), Ok(HostEvent::Nothing(_))));
        assert_eq!(
            silent("refs/heads/topic"),
            Ok(HostEvent::Pass(None)),
            "nobody said that it is the default"
        );
    }

    #[test]
    fn only_the_end_of_a_task_for_a_person_asks_for_a_look() {
        let issue = |action: &str, label: &str| json!({ "action": action, "issue": { "number": 3, "labels": [{ "name": label }] }, "repository": { "default_branch": "main" } });
        let answer = HostEvent::Answer(Some("main".to_owned()));
        assert_eq!(event("issues", &issue("closed", "planspec")), Ok(answer));
        assert!(matches!(event("issues", &issue("closed", "bug")), Ok(HostEvent::Nothing(_))));
        assert!(matches!(event("issues", &issue("labeled", "planspec")), Ok(HostEvent::Nothing(_))));
    }

    #[test]
    fn only_the_end_of_a_fork_s_run_is_a_report() {
        let run = |action: &str, event: &str, from: &str| {
            let owner = json!({ "login": "eve" });
            let head = json!({ "full_name": from, "owner": owner });
            json!({ "action": action, "repository": { "full_name": "acme/app" }, "workflow_run": {
                "event": event, "head_sha": "a".repeat(40), "head_branch": "feat", "head_repository": head,
            } })
        };
        let report = event("workflow_run", &run("completed", "pull_request", "eve/app"));
        let expected = TriggeringRun {
            head: "a".repeat(40),
            origin: Some("eve:feat".to_owned()),
            repository: Some("eve/app".to_owned()),
        };
        assert_eq!(report, Ok(HostEvent::Report(expected)));
        for other in [
            run("requested", "pull_request", "eve/app"),
            run("completed", "push", "eve/app"),
            run("completed", "pull_request", "Acme/App"),
        ] {
            assert!(matches!(event("workflow_run", &other), Ok(HostEvent::Nothing(_))), "{other}");
        }
        // What a pass started is over: another one looks.
        let work = run("completed", "workflow_dispatch", "acme/app");
        assert_eq!(event("workflow_run", &work), Ok(HostEvent::Answer(None)));
        assert!(matches!(
            event("workflow_run", &run("requested", "workflow_dispatch", "a/b")),
            Ok(HostEvent::Nothing(_))
        ));
    }

    #[test]
    fn edited_comments_and_other_reviews_are_nothing() {
        let comment = |action: &str| json!({ "action": action, "issue": { "number": 3 }, "comment": { "id": 9, "body": "/planspec help" } });
        let place = CommentRef { id: 9, number: 3, branch: None };
        assert_eq!(event("issue_comment", &comment("created")), Ok(HostEvent::Comment(place)));
        assert!(matches!(event("issue_comment", &comment("edited")), Ok(HostEvent::Nothing(_))));
        let review = |state: &str| json!({ "action": "submitted", "review": { "state": state }, "pull_request": { "number": 3 } });
        assert!(matches!(event("pull_request_review", &review("approved")), Ok(HostEvent::Review(_))));
        assert!(matches!(event("pull_request_review", &review("commented")), Ok(HostEvent::Nothing(_))));
        let mut delivery = review("changes_requested");
        assert!(matches!(event("pull_request_review", &delivery), Ok(HostEvent::Nothing(_))));
        delivery["pull_request"]["head"] = json!({ "ref": "planspec/work/team/ship/offer" });
        assert!(matches!(event("pull_request_review", &delivery), Ok(HostEvent::Review(_))));
    }
}
