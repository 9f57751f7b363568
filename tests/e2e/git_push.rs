//! Pushing several references at once, refusals, and outages: by path with hooks, and over smart HTTP.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use planspec::git::{
    GitError, ObjectId, OutagePatience, PushResult, RefUpdate, Remote, RemoteOptions, Repo, Signature,
    StopSignal, SwapResult,
};

use crate::git_server::{GitServer, over_every_transport};

const STATUS: &str = "refs/heads/planspec/status";
const RESULT: &str = "refs/planspec/results/one";
const OTHER: &str = "refs/planspec/results/two";

fn options() -> RemoteOptions {
    RemoteOptions { retries: 1, backoff: Duration::from_millis(10), ..RemoteOptions::default() }
}

fn patient() -> RemoteOptions {
    RemoteOptions { patience: OutagePatience::new(Duration::from_secs(60), None), ..options() }
}

fn local() -> (tempfile::TempDir, Repo) {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::init(dir.path(), "main").unwrap();
    (dir, repo)
}

fn commit(repo: &Repo, parents: &[ObjectId], content: &str) -> ObjectId {
    let blob = repo.write_blob(content.as_bytes()).unwrap();
    let tree = repo.edit_tree(None, &BTreeMap::from([("file".to_owned(), Some(blob))])).unwrap();
    let person = Signature { name: "Wendy Writer".into(), email: "wendy@example.com".into() };
    repo.write_commit(tree, parents, content, &person, Timestamp::UNIX_EPOCH).unwrap()
}

fn update(reference: &str, expected: Option<ObjectId>, new: ObjectId) -> RefUpdate {
    RefUpdate { reference: reference.to_owned(), expected, new }
}

fn tips(server: &GitServer, references: &[&str]) -> Vec<Option<ObjectId>> {
    let bare = Repo::open(&server.bare()).unwrap();
    references.iter().map(|reference| bare.read_ref(reference).unwrap()).collect()
}

#[test]
fn several_references_move_together_or_not_at_all() {
    over_every_transport(|server, url| {
        let (_dir, repo) = local();
        let remote = Remote::open(&repo, url, options()).unwrap();
        let (first, second) = (commit(&repo, &[], "first"), commit(&repo, &[], "second"));
        let both = [update(STATUS, None, first), update(RESULT, None, second)];
        assert_eq!(remote.push_all(&repo, &both).unwrap(), [PushResult::Done, PushResult::Done]);
        assert_eq!(tips(server, &[STATUS, RESULT]), [Some(first), Some(second)]);
        assert_eq!(repo.read_ref(&remote.local_name(RESULT).unwrap()).unwrap(), Some(second));

        // A lost race of one of them leaves the other where it is.
        let third = commit(&repo, &[first], "third");
        let late = [update(STATUS, Some(first), third), update(RESULT, None, third)];
        let results = remote.push_all(&repo, &late).unwrap();
        assert_eq!(results, [PushResult::Aborted, PushResult::Moved(Some(second))]);
        assert_eq!(tips(server, &[STATUS, RESULT]), [Some(first), Some(second)]);
        assert_eq!(remote.push_all(&repo, &[]).unwrap(), []);
    });
}

#[test]
fn the_reference_that_a_server_refuses_is_named_and_the_others_are_not() {
    over_every_transport(|server, url| {
        let (_dir, repo) = local();
        let remote = Remote::open(&repo, url, options()).unwrap();
        let ours = commit(&repo, &[], "ours");
        server.hook("update", &format!("[ $1 != {RESULT} ] || {{ echo no results here >&2; exit 1; }}"));
        let all = [update(STATUS, None, ours), update(RESULT, None, ours), update(OTHER, None, ours)];
        let results = remote.push_all(&repo, &all).unwrap();
        let PushResult::Refused(reason) = &results[1] else { panic!("{results:?}") };
        assert!(reason.contains("no results here"), "{reason}");
        assert_eq!((&results[0], &results[2]), (&PushResult::Aborted, &PushResult::Aborted));
        assert_eq!(tips(server, &[STATUS, RESULT, OTHER]), [None; 3]);
        // Without it, the others go through.
        let rest = [all[0].clone(), all[2].clone()];
        assert_eq!(remote.push_all(&repo, &rest).unwrap(), [PushResult::Done, PushResult::Done]);
    });
}

#[test]
fn a_hook_that_names_no_reference_makes_all_of_them_suspect_and_is_not_asked_again() {
    over_every_transport(|server, url| {
        let (_dir, repo) = local();
        let remote = Remote::open(&repo, url, options()).unwrap();
        let ours = commit(&repo, &[], "ours");
        server.hook("pre-receive", "echo x >> asked; echo looks like a secret >&2; exit 1");
        let both = [update(STATUS, None, ours), update(RESULT, None, ours)];
        for result in remote.push_all(&repo, &both).unwrap() {
            let PushResult::Refused(reason) = result else { panic!("{result:?}") };
            assert!(reason.contains("looks like a secret"), "{reason}");
        }
        let asked = std::fs::read_to_string(server.bare().join("asked")).unwrap();
        assert_eq!(asked.lines().count(), 1);
        let error = remote.push(&repo, STATUS, None, ours).unwrap_err();
        assert!(matches!(error, GitError::Refused { .. }), "{error}");
        assert!(error.to_string().contains("looks like a secret"), "{error}");
    });
}

#[test]
fn a_lost_acknowledgement_of_several_references_counts_as_done() {
    let server = GitServer::over_http();
    let (_dir, repo) = local();
    let remote = Remote::open(&repo, &server.http_url(Some("tok-write")), options()).unwrap();
    let (first, second) = (commit(&repo, &[], "first"), commit(&repo, &[], "second"));
    server.steer("drop-acknowledgement", "");
    let both = [update(STATUS, None, first), update(RESULT, None, second)];
    assert_eq!(remote.push_all(&repo, &both).unwrap(), [PushResult::Done, PushResult::Done]);
    assert_eq!(tips(&server, &[STATUS, RESULT]), [Some(first), Some(second)]);
}

#[test]
fn a_server_without_atomic_pushes_gets_one_reference_after_the_other() {
    let server = GitServer::new();
    let (_dir, repo) = local();
    let remote = Remote::open(&repo, &server.file_url(), options()).unwrap();
    let (first, second) = (commit(&repo, &[], "first"), commit(&repo, &[], "second"));
    Repo::open(&server.bare()).unwrap();
    git(&server, &["config", "receive.advertiseAtomic", "false"]);
    let all = [update(RESULT, None, second), update(STATUS, None, first)];
    assert_eq!(remote.push_all(&repo, &all).unwrap(), [PushResult::Done, PushResult::Done]);
    // What comes after a failure is not tried.
    let wrong = [update(RESULT, None, first), update(STATUS, Some(first), second)];
    assert_eq!(
        remote.push_all(&repo, &wrong).unwrap(),
        [PushResult::Moved(Some(second)), PushResult::Aborted]
    );
    assert_eq!(tips(&server, &[STATUS, RESULT]), [Some(first), Some(second)]);
}

#[test]
fn an_outage_is_waited_for_and_the_pause_that_a_host_asks_for_is_kept() {
    let server = GitServer::over_http();
    let (_dir, repo) = local();
    let remote = Remote::open(&repo, &server.http_url(Some("tok-write")), patient()).unwrap();
    let (first, second) = (commit(&repo, &[], "first"), commit(&repo, &[], "second"));
    assert_eq!(remote.push(&repo, STATUS, None, first).unwrap(), SwapResult::Done);
    assert_eq!(remote.fetch(&repo, &[STATUS]).unwrap(), [Some(first)]);
    for outage in ["503 Service Unavailable", "401 Unauthorized", "403 Forbidden", "404 Not Found"] {
        server.fail(outage, 3);
        assert_eq!(remote.fetch(&repo, &[STATUS]).unwrap(), [Some(first)], "{outage}");
        assert_eq!(server.failures_left(), 0, "{outage}");
    }
    server.fail("503 Service Unavailable", 3);
    assert_eq!(remote.push(&repo, STATUS, Some(first), second).unwrap(), SwapResult::Done);
    server.fail("429 Too Many Requests\r\nRetry-After: 2", 1);
    let began = Instant::now();
    assert_eq!(remote.tips(&[STATUS]).unwrap(), [Some(second)]);
    assert!(began.elapsed() >= Duration::from_millis(1_900), "{:?}", began.elapsed());
}

#[test]
fn what_is_wrong_from_the_start_is_no_outage() {
    let server = GitServer::over_http();
    let (_dir, repo) = local();
    let ours = commit(&repo, &[], "ours");
    let began = Instant::now();
    let remote = Remote::open(&repo, &server.http_url(Some("tok-read")), patient()).unwrap();
    assert_eq!(remote.fetch(&repo, &[STATUS]).unwrap(), [None], "it may read");
    let error = remote.push(&repo, STATUS, None, ours).unwrap_err();
    assert!(matches!(error, GitError::Permission { .. }), "{error}");
    let remote = Remote::open(&repo, &server.http_url(Some("tok-wrong")), patient()).unwrap();
    let error = remote.tips(&[STATUS]).unwrap_err();
    assert!(matches!(error, GitError::Authentication { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30), "nothing of this was waited for");
}

#[test]
fn a_stop_ends_a_call_that_gets_no_answer_and_a_wait_for_an_outage() {
    let (_dir, repo) = local();
    // Accepts connections, and never says a word.
    let hole = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://127.0.0.1:{}/a.git", hole.local_addr().unwrap().port());
    let dead = "http://127.0.0.1:1/a.git".to_owned();
    for url in [url, dead] {
        let stop = StopSignal::default();
        let remote = Remote::open(&repo, &url, patient()).unwrap();
        let remote = remote.bounded(stop.clone(), OutagePatience::new(Duration::from_secs(600), None));
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(300));
                stop.stop();
            });
            let began = Instant::now();
            let error = remote.tips(&[STATUS]).unwrap_err();
            assert!(matches!(error, GitError::Interrupted), "{url}: {error}");
            assert!(began.elapsed() < Duration::from_secs(20), "{url}: {:?}", began.elapsed());
        });
    }
}

fn git(server: &GitServer, arguments: &[&str]) {
    let status =
        std::process::Command::new("git").current_dir(server.bare()).args(arguments).status().unwrap();
    assert!(status.success(), "git {arguments:?}");
}
