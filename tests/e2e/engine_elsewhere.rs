//! Work that goes on elsewhere: looked at without a claim and without a commit, until it ends, takes too long or is
//! called off. The provider is one of the tests' own, and the clock is set forward instead of waited for.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use planspec::engine::{
    BranchChoice, Branches, Clock, ReconcileInputs, ReconcileOptions, ReconcileSummary, SystemClock,
    reconcile,
};
use planspec::git::Repo;
use planspec::index::Index;
use planspec::model::{ExecutionPhase, JsonMap, NodePhase, NodeReason};
use planspec::provider::{
    Attempt, AttemptFuture, AttemptOutcome, AttemptReport, CancelFuture, ConfigError, Control, Provider,
    ProviderSettings, Registry,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::engine_rig::{QUICK, STATUS, Stage, check_history, document, execution, status_in, yaml};

/// A provider whose work goes on elsewhere, and what it was asked.
#[derive(Clone)]
struct Fake(Arc<Mutex<Inside>>);

struct Inside {
    asked: Vec<String>,
    /// What the next looks find; the work goes on when there is nothing more.
    finds: VecDeque<AttemptOutcome>,
    poll_after: Duration,
    call_off: Result<(), String>,
    /// A look never comes to an end.
    hangs: bool,
    /// How many of the next requests end in a panic.
    panics: u32,
}

impl Fake {
    fn new(finds: impl IntoIterator<Item = AttemptOutcome>) -> Self {
        let (asked, finds) = (Vec::new(), finds.into_iter().collect());
        let poll_after = Duration::from_secs(1000);
        Self(Arc::new(Mutex::new(Inside {
            asked,
            finds,
            poll_after,
            call_off: Ok(()),
            hangs: false,
            panics: 0,
        })))
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }

    fn will_find(&self, outcome: AttemptOutcome) {
        self.0.lock().unwrap().finds.push_back(outcome);
    }

    /// Whether this request is one that panics.
    fn panics(&self) -> bool {
        let mut inside = self.0.lock().unwrap();
        let panics = inside.panics > 0;
        inside.panics = inside.panics.saturating_sub(1);
        panics
    }

    fn ask(&self, what: &str, attempt: &Attempt) -> AttemptOutcome {
        let mut inside = self.0.lock().unwrap();
        let handle = attempt.handle.as_deref().unwrap_or("-");
        inside.asked.push(format!("{what} {}/{} {handle}", attempt.node, attempt.attempt));
        let going = going_on(attempt.attempt, inside.poll_after);
        if what == "poll" { inside.finds.pop_front().unwrap_or(going) } else { going }
    }
}

fn going_on(attempt: u32, poll_after: Duration) -> AttemptOutcome {
    AttemptOutcome::Blocked {
        reason: NodeReason::AwaitingProvider,
        message: "the job runs".to_owned(),
        handle: Some(format!("job-{attempt}")),
        poll_after: Some(poll_after),
    }
}

fn done() -> AttemptOutcome {
    AttemptOutcome::Succeeded { outputs: JsonMap::from_iter([("place".to_owned(), json!("there"))]) }
}

impl Provider for Fake {
    fn schemes(&self) -> &'static [&'static str] {
        &["fake", "external"]
    }

    fn check(&self, _: &str, _: &JsonMap) -> Result<(), ConfigError> {
        Ok(())
    }

    fn run(&self, attempt: Attempt, _: Control) -> AttemptFuture {
        let outcome = self.ask("run", &attempt);
        if self.panics() {
            return Box::pin(async { panic!("the provider has a fault") });
        }
        Box::pin(std::future::ready(AttemptReport::from(outcome)))
    }

    fn poll(&self, attempt: Attempt, _: Control) -> AttemptFuture {
        if let Some(url) = attempt.config.get("url").and_then(Value::as_str) {
            self.0.lock().unwrap().asked.push(format!("{} {url}", attempt.config["type"]));
        }
        let outcome = self.ask("poll", &attempt);
        if self.0.lock().unwrap().hangs {
            return Box::pin(std::future::pending());
        }
        if self.panics() {
            return Box::pin(async { panic!("the provider has a fault") });
        }
        Box::pin(std::future::ready(AttemptReport::from(outcome)))
    }

    fn cancel_remote(&self, attempt: Attempt) -> CancelFuture {
        self.ask("call off", &attempt);
        let answer = self.0.lock().unwrap().call_off.clone();
        if self.panics() {
            return Box::pin(async { panic!("the provider has a fault") });
        }
        Box::pin(std::future::ready(answer))
    }
}

/// A clock that is ahead of the machine's.
struct Ahead(SignedDuration);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now().saturating_add(self.0).unwrap()
    }

    fn since_boot(&self) -> Duration {
        SystemClock.since_boot()
    }
}

/// Reconciles a repository within this process, `ahead` seconds from now.
fn pass(repository: &Path, fake: &Fake, ahead: i64) -> ReconcileSummary {
    pass_until(repository, fake, ahead, std::future::pending()).unwrap()
}

/// The same, dropped as if the runner were killed as soon as `killed` comes.
fn pass_until(
    repository: &Path,
    fake: &Fake,
    ahead: i64,
    killed: impl Future<Output = ()>,
) -> Option<ReconcileSummary> {
    let repo = Repo::open(repository).unwrap();
    let index = Index::open_to_read(&repo.cache_dir()).unwrap();
    let branches = Branches::open(repo, None, BranchChoice::Repository).unwrap();
    let fake: Arc<dyn Provider> = Arc::new(fake.clone());
    let environment = [("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".into())].into();
    let runs = std::path::absolute(Repo::open(repository).unwrap().cache_dir().join("runs")).unwrap();
    let settings = ProviderSettings { environment, runs, ..ProviderSettings::default() };
    let registry = Box::new(move |_: &planspec::config::Config| {
        let mut registry = Registry::standard(settings.clone());
        registry.register(&fake);
        registry
    });
    let (_keep, stop) = watch::channel(false);
    let clock = Arc::new(Ahead(SignedDuration::from_secs(ahead)));
    let runner = format!("tester-{ahead}-{:?}", std::thread::current().id());
    let options = ReconcileOptions { default_jobs: 2, runner, ..ReconcileOptions::default() };
    let parts = ReconcileInputs { branches, index, registry, clock, stop, sink: Box::new(|_| {}) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::select! {
            summary = reconcile(parts, options) => Some(summary.unwrap()),
            () = killed => None,
        }
    })
}

/// A plan of one task with these fields that is given to the provider.
fn stage(fields: &Value) -> Stage {
    let mut node = json!({ "id": "job", "kind": "Task" });
    for (name, value) in fields.as_object().unwrap() {
        node[name] = value.clone();
    }
    stage_of(&[node])
}

fn stage_of(nodes: &[Value]) -> Stage {
    let plan = document("Plan", "away", &json!({ "description": "x", "graph": { "nodes": nodes } }));
    let rule =
        json!({ "selector": { "planRef": { "name": "away" } }, "target": { "provider": "fake://cluster" } });
    let binding = document("Binding", "default", &json!({ "rules": [rule] }));
    let work = yaml(&[plan, execution("away", "away"), binding]);
    Stage::new(QUICK, &[("work.yaml", &work)])
}

#[test]
fn work_elsewhere_is_looked_at_across_runs_without_a_commit_until_it_ends() {
    let stage = stage(&json!({ "outputs": ["place"] }));
    let (repo, fake) = (stage.environment.repo(), Fake::new([]));
    let first = pass(&repo, &fake, 0);
    assert_eq!(first.waiting[0].reason, "AwaitingProvider");
    assert_eq!(fake.asked(), ["run job/1 -"]);
    assert_eq!(stage.status("away").extensions.lease, None, "nobody has to hold it");
    let tip = stage.status_tip();
    for (ahead, asked) in [(500, 0), (1010, 1), (1500, 0), (2020, 1), (3030, 1)] {
        let summary = pass(&repo, &fake, ahead);
        assert_eq!((summary.commits, fake.asked().len()), (0, asked), "after {ahead} s");
        assert!(summary.waiting[0].until.is_some_and(|until| until > SystemClock.now()));
    }
    assert_eq!(stage.status_tip(), tip);
    fake.will_find(done());
    let last = pass(&repo, &fake, 5000);
    assert_eq!((last.commits, fake.asked()), (1, vec!["poll job/1 job-1".to_owned()]));
    let node = stage.node("away", "job");
    assert_eq!((node.phase, node.attempt, node.extensions.handle), (NodePhase::Succeeded, 1, None));
    assert_eq!(node.outputs["place"], json!("there"));
    assert_eq!(stage.status("away").phase, ExecutionPhase::Succeeded);
    check_history(&repo);
}

#[test]
fn the_next_look_is_kept_in_a_file_that_may_be_deleted() {
    let stage = stage(&json!({}));
    let (repo, fake) = (stage.environment.repo(), Fake::new([]));
    pass(&repo, &fake, 0);
    pass(&repo, &fake, 1010);
    let cache = repo.join(".git/planspec");
    fake.asked();
    // The index is a cache as well; without it the file alone keeps the interval.
    for entry in std::fs::read_dir(&cache).unwrap().flatten() {
        if entry.path().is_file() && entry.file_name() != "polls.json" {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    pass(&repo, &fake, 1500);
    assert_eq!(fake.asked(), [""; 0]);
    std::fs::remove_dir_all(&cache).unwrap();
    pass(&repo, &fake, 1500);
    assert_eq!(fake.asked(), ["poll job/1 job-1"]);
}

#[test]
fn another_message_is_recorded_once() {
    let stage = stage(&json!({}));
    let (repo, fake) = (stage.environment.repo(), Fake::new([]));
    pass(&repo, &fake, 0);
    let half = |handle: &str| AttemptOutcome::Blocked {
        reason: NodeReason::AwaitingProvider,
        message: "half done".to_owned(),
        handle: Some(handle.to_owned()),
        poll_after: Some(Duration::from_secs(1000)),
    };
    for (ahead, outcome, commits) in
        [(1010, half("job-1"), 1), (2020, half("job-1"), 0), (3030, half("job-1b"), 1)]
    {
        fake.will_find(outcome);
        assert_eq!(pass(&repo, &fake, ahead).commits, commits, "after {ahead} s");
    }
    let node = stage.node("away", "job");
    assert_eq!((node.message.as_str(), node.extensions.handle.as_deref()), ("half done", Some("job-1b")));
}

#[test]
fn a_failure_elsewhere_is_retried_as_often_as_the_node_allows() {
    let stage = stage(&json!({ "retries": 1 }));
    let (repo, fake) = (stage.environment.repo(), Fake::new([]));
    pass(&repo, &fake, 0);
    fake.will_find(AttemptOutcome::failed(NodeReason::ProviderFailed, "it broke"));
    pass(&repo, &fake, 1010);
    assert_eq!(fake.asked(), ["run job/1 -", "poll job/1 job-1", "run job/2 -"]);
    fake.will_find(AttemptOutcome::failed(NodeReason::ProviderFailed, "it broke again"));
    pass(&repo, &fake, 3030);
    let node = stage.node("away", "job");
    assert_eq!((node.phase, node.message.as_str()), (NodePhase::Failed, "it broke again"));
    check_history(&repo);
}

#[test]
fn work_that_was_lost_is_begun_again_where_it_may_be_and_does_not_count() {
    for (repeatable, phase, reason) in
        [("true", NodePhase::Blocked, "AwaitingProvider"), ("false", NodePhase::Blocked, "RunnerLost")]
    {
        let stage = stage(&json!({ "annotations": { "planspec.io/repeatable": repeatable } }));
        let (repo, fake) = (stage.environment.repo(), Fake::new([]));
        pass(&repo, &fake, 0);
        fake.will_find(AttemptOutcome::Lost { message: "the job is gone".to_owned() });
        pass(&repo, &fake, 1010);
        let node = stage.node("away", "job");
        let attempts = if repeatable == "true" { 2 } else { 1 };
        assert_eq!((node.phase, node.attempt, node.extensions.failures), (phase, attempts, 0));
        assert_eq!(node.extensions.reason.unwrap().to_string(), reason);
    }
}

#[test]
fn what_is_cancelled_is_called_off_first_whatever_that_says() {
    for (answer, said) in [
        (Ok(()), "cancelled by wendy@example.com: enough"),
        (
            Err("no such job".to_owned()),
            "cancelled by wendy@example.com: enough; cancelling it failed: no such job",
        ),
    ] {
        let stage = stage(&json!({}));
        let (repo, fake) = (stage.environment.repo(), Fake::new([]));
        fake.0.lock().unwrap().call_off = answer;
        pass(&repo, &fake, 0);
        let cancelled =
            stage.environment.planspec(&["cancel", "away", "-n", "team", "-m", "enough"]).succeeds();
        assert!(cancelled.stdout.contains("which the next reconcile cancels: job"), "{}", cancelled.stdout);
        assert_eq!(stage.node("away", "job").phase, NodePhase::Blocked);
        fake.asked();
        pass(&repo, &fake, 1);
        assert_eq!(fake.asked(), ["call off job/1 job-1"]);
        let node = stage.node("away", "job");
        assert_eq!((node.phase, node.message.as_str()), (NodePhase::Cancelled, said));
        assert_eq!(stage.status("away").phase, ExecutionPhase::Cancelled);
        assert_eq!(stage.status("away").extensions.lease, None);
        pass(&repo, &fake, 5000);
        assert_eq!(fake.asked(), [""; 0]);
        check_history(&repo);
    }
}

#[test]
fn what_a_person_decides_about_work_elsewhere_counts_once_that_is_called_off() {
    for (arguments, phase) in [
        (&["complete", "away/job", "place=here", "-n", "team"] as &[&str], NodePhase::Succeeded),
        (&["fail", "away/job", "--reason", "enough", "-n", "team"], NodePhase::Failed),
    ] {
        let stage = stage(&json!({ "outputs": ["place"], "retries": 2 }));
        let (fake, repo) = (Fake::new([]), stage.environment.repo());
        pass(&repo, &fake, 0);
        let said = stage.environment.planspec(arguments).succeeds().stdout;
        assert!(said.contains("as soon as the next reconcile has cancelled its remote work"), "{said}");
        let node = stage.node("away", "job");
        assert_eq!((node.phase, node.extensions.handle.as_deref()), (NodePhase::Blocked, Some("job-1")));
        let again = stage.environment.planspec(arguments).exits(1);
        assert!(again.stderr.contains("already"), "{}", again.stderr);
        fake.asked();
        // What the job itself says is not asked any more.
        fake.will_find(done());
        pass(&repo, &fake, 5000);
        assert_eq!(fake.asked(), ["call off job/1 job-1"]);
        let node = stage.node("away", "job");
        assert_eq!((node.phase, node.extensions.reason), (phase, Some(NodeReason::CompletedByPerson)));
        assert_eq!((node.attempt, &node.extensions.handle, &node.extensions.decided), (1, &None, &None));
        if phase == NodePhase::Succeeded {
            assert_eq!(node.outputs["place"], "here");
        }
        pass(&repo, &fake, 6000);
        assert_eq!(fake.asked(), [] as [&str; 0]);
        check_history(&repo);
    }
}

#[test]
fn what_is_no_longer_declared_is_called_off() {
    let stage = stage(&json!({}));
    let (repo, fake) = (stage.environment.repo(), Fake::new([]));
    pass(&repo, &fake, 0);
    let text = std::fs::read_to_string(repo.join("work.yaml")).unwrap();
    let others: Vec<&str> =
        text.split("---\n").filter(|one| !one.contains("\"kind\":\"Execution\"")).collect();
    stage.commit("work.yaml", &others.join("---\n"));
    fake.asked();
    pass(&repo, &fake, 1);
    assert_eq!(fake.asked(), ["call off job/1 job-1"]);
    assert!(crate::engine_rig::record_in(&repo, planspec::model::Kind::Execution, "away").is_none());
}

#[test]
fn an_attempt_that_takes_too_long_elsewhere_is_called_off_and_has_failed() {
    let stage = stage(&json!({ "timeout": "1500s", "retries": 1 }));
    let (repo, fake) = (stage.environment.repo(), Fake::new([]));
    pass(&repo, &fake, 0);
    pass(&repo, &fake, 1010);
    fake.asked();
    pass(&repo, &fake, 1501);
    assert_eq!(fake.asked(), ["call off job/1 job-1", "run job/2 -"]);
    pass(&repo, &fake, 3020);
    assert_eq!(fake.asked(), ["call off job/2 job-2"]);
    let node = stage.node("away", "job");
    assert_eq!((node.phase, node.extensions.reason), (NodePhase::Failed, Some(NodeReason::Timeout)));
    assert_eq!(node.message, "took longer than 1500s");
    check_history(&repo);
}

#[test]
fn work_elsewhere_is_gone_on_with_from_a_fresh_clone() {
    let stage = stage(&json!({ "outputs": ["place"] }));
    let (repo, fake) = (stage.environment.repo(), Fake::new([]));
    pass(&repo, &fake, 0);
    let clone = stage.clone_to(repo.to_str().unwrap(), "clone");
    let from = format!("refs/remotes/origin/{STATUS}");
    stage.environment.git_in(&clone, &["branch", STATUS, &from]).succeeds();
    fake.asked();
    fake.will_find(done());
    pass(&clone, &fake, 1010);
    assert_eq!(fake.asked(), ["poll job/1 job-1"]);
    assert_eq!(status_in(&clone, "away").phase, ExecutionPhase::Succeeded);
    check_history(&clone);
}

#[test]
fn a_runner_that_is_killed_while_it_looks_leaves_nothing_behind() {
    let stage = stage(&json!({ "outputs": ["place"] }));
    let (repo, fake) = (stage.environment.repo(), Fake::new([]));
    pass(&repo, &fake, 0);
    let tip = stage.status_tip();
    fake.0.lock().unwrap().hangs = true;
    let killed = pass_until(&repo, &fake, 1010, async {
        tokio::time::sleep(Duration::from_millis(500)).await;
    });
    assert!(killed.is_none() && fake.asked().contains(&"poll job/1 job-1".to_owned()));
    assert_eq!((stage.status_tip(), stage.status("away").extensions.lease), (tip, None));
    fake.0.lock().unwrap().hangs = false;
    fake.will_find(done());
    let clone = stage.clone_to(repo.to_str().unwrap(), "clone");
    let from = format!("refs/remotes/origin/{STATUS}");
    stage.environment.git_in(&clone, &["branch", STATUS, &from]).succeeds();
    pass(&clone, &fake, 1010);
    let status = status_in(&clone, "away");
    assert_eq!(
        (status.phase, status.node_statuses.values().map(|node| node.attempt).max()),
        (ExecutionPhase::Succeeded, Some(1))
    );
    check_history(&clone);
}

#[test]
fn looks_that_are_due_soon_are_waited_for_and_go_on_beside_other_work() {
    let stage = stage_of(&[
        json!({ "id": "job", "kind": "Task", "outputs": ["place"] }),
        json!({ "id": "here", "kind": "Task", "capabilityRefs": [{ "name": "shell" }] }),
    ]);
    let repo = stage.environment.repo();
    let text = std::fs::read_to_string(repo.join("work.yaml")).unwrap();
    let shell = json!({
        "selector": { "capabilityRef": { "name": "shell" } }, "priority": 5,
        "target": { "provider": "tool://sh", "config": { "command": "sleep 2", "shell": true } },
    });
    stage.commit("work.yaml", &text.replace("{\"rules\":[", &format!("{{\"rules\":[{shell},")));
    let going = || going_on(1, Duration::from_millis(200));
    let fake = Fake::new([going(), going(), done()]);
    fake.0.lock().unwrap().poll_after = Duration::from_millis(200);
    let begun = std::time::Instant::now();
    let summary = pass(&repo, &fake, 0);
    assert_eq!(fake.asked().len(), 4, "begun, and looked at three times");
    let status = stage.status("away");
    assert_eq!((summary.waiting_count, status.phase), (0, ExecutionPhase::Succeeded), "{status:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    check_history(&repo);
    let (job, here) = (stage.node("away", "job"), stage.node("away", "here"));
    assert!(job.completion_time < here.completion_time, "{job:?} {here:?}");
}

#[test]
fn two_runners_that_look_at_once_record_one_end() {
    for _ in 0..5 {
        let stage = stage(&json!({ "outputs": ["place"] }));
        let (repo, fake) = (stage.environment.repo(), Fake::new([]));
        pass(&repo, &fake, 0);
        let tip = stage.status_tip();
        fake.will_find(done());
        fake.will_find(done());
        std::thread::scope(|scope| {
            let other = scope.spawn(|| pass(&repo, &fake, 1010));
            pass(&repo, &fake, 1010);
            other.join().unwrap();
        });
        assert_eq!(stage.status("away").phase, ExecutionPhase::Succeeded);
        let count = stage.environment.git_output(&["rev-list", "--count", &format!("{tip}..{STATUS}")]);
        assert_eq!(count, "1", "one commit for one end");
        check_history(&repo);
    }
}

#[test]
fn a_provider_that_panics_holds_up_nothing() {
    let stage = stage(&json!({}));
    let (repo, fake) = (stage.environment.repo(), Fake::new([]));
    fake.0.lock().unwrap().panics = 1;
    pass(&repo, &fake, 0);
    assert_eq!(fake.asked(), ["run job/1 -", "run job/2 -"], "what was lost is made again");
    fake.0.lock().unwrap().panics = 1;
    pass(&repo, &fake, 1010);
    let node = stage.node("away", "job");
    assert_eq!(
        (fake.asked().len(), node.message.as_str()),
        (1, "the job runs"),
        "a poll that breaks off learns nothing"
    );
    stage.environment.planspec(&["cancel", "away", "-n", "team"]).succeeds();
    fake.0.lock().unwrap().panics = 1;
    pass(&repo, &fake, 1020);
    let node = stage.node("away", "job");
    assert_eq!(node.phase, NodePhase::Cancelled);
    assert!(node.message.contains("a fault in planspec"), "{}", node.message);
    check_history(&repo);
}

#[test]
fn an_address_is_looked_at_in_the_interval_of_its_node() {
    let address =
        json!({ "type": "uri", "uri": "https://x.test/${{ parameters.name }}", "pollInterval": "30s" });
    let node = json!({ "id": "ready", "kind": "External", "externalRef": address });
    let stage = stage_of(&[node]);
    let (repo, fake) = (stage.environment.repo(), Fake::new([]));
    let text = std::fs::read_to_string(repo.join("work.yaml")).unwrap();
    let with = r#""planRef":{"name":"away"},"parameters":{"name":"a"}}"#;
    stage.commit("work.yaml", &text.replace(r#""planRef":{"name":"away"}}}"#, &format!("{with}}}")));
    let wait = || AttemptOutcome::Blocked {
        reason: NodeReason::AwaitingEvent,
        message: "answers 404".to_owned(),
        handle: None,
        poll_after: None,
    };
    for (ahead, commits, asked) in [(0, true, 2), (20, false, 0), (31, false, 2), (50, false, 0)] {
        fake.will_find(wait());
        let summary = pass(&repo, &fake, ahead);
        let seen = fake.asked();
        assert_eq!((summary.commits > 0, seen.len()), (commits, asked), "after {ahead} s: {seen:?}");
        if asked > 0 {
            assert_eq!(seen, ["\"uri\" https://x.test/a", "poll ready/0 -"]);
        } else {
            fake.0.lock().unwrap().finds.clear();
        }
        let node = stage.node("away", "ready");
        assert_eq!((node.phase, node.message.as_str()), (NodePhase::Blocked, "answers 404"));
    }
    fake.will_find(done());
    pass(&repo, &fake, 62);
    assert_eq!(stage.node("away", "ready").outputs["place"], json!("there"));
    check_history(&repo);
}
