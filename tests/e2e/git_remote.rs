//! Remotes through the library: fetch, exact leases, lost races and lost acknowledgements, permissions,
//! shallow and cache clones. By path, and over smart HTTP with tokens.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use planspec::git::{GitError, NewestCommits, ObjectId, Remote, RemoteOptions, Repo, Signature, SwapResult};

use crate::git_server::{GitServer, over_every_transport, write_hook};

const STATUS: &str = "refs/heads/planspec/status";

fn person() -> Signature {
    Signature { name: "Wendy Writer".into(), email: "wendy@example.com".into() }
}

fn options() -> RemoteOptions {
    RemoteOptions { retries: 2, backoff: Duration::from_millis(10), ..RemoteOptions::default() }
}

/// A local repository with nothing in it.
fn local() -> (tempfile::TempDir, Repo) {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::init(dir.path(), "main").unwrap();
    (dir, repo)
}

/// A commit with one file, on these parents.
fn commit(repo: &Repo, parents: &[ObjectId], content: &str) -> ObjectId {
    let blob = repo.write_blob(content.as_bytes()).unwrap();
    let tree = repo.edit_tree(None, &BTreeMap::from([("file".to_owned(), Some(blob))])).unwrap();
    repo.write_commit(tree, parents, content, &person(), Timestamp::UNIX_EPOCH).unwrap()
}

fn chain(repo: &Repo, length: usize) -> Vec<ObjectId> {
    let mut commits: Vec<ObjectId> = Vec::new();
    for number in 0..length {
        let parents: Vec<ObjectId> = commits.last().copied().into_iter().collect();
        commits.push(commit(repo, &parents, &number.to_string()));
    }
    commits
}

fn tip(server: &GitServer, reference: &str) -> Option<ObjectId> {
    Repo::open(&server.bare()).unwrap().read_ref(reference).unwrap()
}

#[test]
fn what_one_pushes_another_fetches() {
    over_every_transport(|server, url| {
        let (_one, repo) = local();
        let remote = Remote::open(&repo, url, options()).unwrap();
        let commits = chain(&repo, 2);
        assert_eq!(remote.fetch(&repo, &[STATUS]).unwrap(), [None]);
        assert_eq!(remote.push(&repo, STATUS, None, commits[0]).unwrap(), SwapResult::Done);
        assert_eq!(remote.push(&repo, STATUS, Some(commits[0]), commits[1]).unwrap(), SwapResult::Done);
        assert_eq!(tip(server, STATUS), Some(commits[1]));

        let (_two, other) = local();
        let remote = Remote::open(&other, url, options()).unwrap();
        let tips = remote.fetch(&other, &["refs/heads/absent", STATUS]).unwrap();
        assert_eq!(tips, [None, Some(commits[1])]);
        assert_eq!(other.commit(commits[1]).unwrap().parents, [commits[0]]);
        assert_eq!(other.read_ref(&remote.local_name(STATUS).unwrap()).unwrap(), Some(commits[1]));
        assert_eq!(other.read_ref(STATUS).unwrap(), None, "the branches here are left alone");
    });
}

#[test]
fn a_reference_that_vanished_from_the_remote_is_forgotten_and_a_rewritten_one_followed() {
    let server = GitServer::new();
    let (_dir, repo) = local();
    let remote = Remote::open(&repo, &server.file_url(), options()).unwrap();
    let commits = chain(&repo, 2);
    remote.push(&repo, STATUS, None, commits[1]).unwrap();
    let bare = Repo::open(&server.bare()).unwrap();
    let rewritten = commit(&bare, &[], "rewritten");
    assert_eq!(bare.swap_ref(STATUS, Some(commits[1]), Some(rewritten), "test").unwrap(), SwapResult::Done);
    assert_eq!(remote.fetch(&repo, &[STATUS]).unwrap(), [Some(rewritten)]);
    assert_eq!(bare.swap_ref(STATUS, Some(rewritten), None, "test").unwrap(), SwapResult::Done);
    assert_eq!(remote.fetch(&repo, &[STATUS]).unwrap(), [None]);
    assert_eq!(repo.read_ref(&remote.local_name(STATUS).unwrap()).unwrap(), None);
}

#[test]
fn a_race_lost_before_the_push_changes_nothing() {
    over_every_transport(|server, url| {
        let (_dir, repo) = local();
        let remote = Remote::open(&repo, url, options()).unwrap();
        let first = commit(&repo, &[], "first");
        let (theirs, ours) = (commit(&repo, &[first], "theirs"), commit(&repo, &[first], "ours"));
        remote.push(&repo, STATUS, None, first).unwrap();
        remote.push(&repo, STATUS, Some(first), theirs).unwrap();
        let (_other, late) = local();
        let remote = Remote::open(&late, url, options()).unwrap();
        remote.fetch(&late, &[STATUS]).unwrap();
        let ours_there = commit(&late, &[first], "ours");
        assert_eq!(ours, ours_there);
        assert_eq!(remote.push(&late, STATUS, Some(first), ours).unwrap(), SwapResult::Moved(Some(theirs)));
        assert_eq!(remote.push(&late, STATUS, None, ours).unwrap(), SwapResult::Moved(Some(theirs)));
        assert_eq!(tip(server, STATUS), Some(theirs));
    });
}

#[test]
fn of_many_pushes_that_hold_the_same_correct_lease_exactly_one_wins() {
    over_every_transport(|server, url| {
        let (_dir, repo) = local();
        let first = commit(&repo, &[], "first");
        Remote::open(&repo, url, options()).unwrap().push(&repo, STATUS, None, first).unwrap();
        // All are past the lease's check on their side before any of them updates.
        server.steer("hold", "0.3");
        let results: Vec<(ObjectId, SwapResult)> = std::thread::scope(|scope| {
            let run = |number: usize| {
                let repo = repo.reopen().unwrap();
                scope.spawn(move || {
                    let remote = Remote::open(&repo, url, options()).unwrap();
                    let ours = commit(&repo, &[first], &format!("racer {number}"));
                    (ours, remote.push(&repo, STATUS, Some(first), ours).unwrap())
                })
            };
            let racers: Vec<_> = (0..4).map(run).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let winner = tip(server, STATUS).unwrap();
        for (ours, push) in results {
            let expected = if ours == winner { SwapResult::Done } else { SwapResult::Moved(Some(winner)) };
            assert_eq!(push, expected);
        }
    });
}

#[test]
fn a_push_whose_acknowledgement_is_lost_counts_as_done() {
    let server = GitServer::new();
    let (_dir, repo) = local();
    let remote = Remote::open(&repo, &server.file_url(), options()).unwrap();
    let commits = chain(&repo, 3);
    // The references are updated when this hook runs; the answer is never sent.
    server.hook("post-receive", "[ -f once ] || { touch once; kill -9 $PPID; }");
    assert_eq!(remote.push(&repo, STATUS, None, commits[0]).unwrap(), SwapResult::Done);
    assert!(server.bare().join("once").exists());

    let server = GitServer::over_http();
    let remote = Remote::open(&repo, &server.http_url(Some("tok-write")), options()).unwrap();
    server.steer("drop-acknowledgement", "");
    assert_eq!(remote.push(&repo, STATUS, None, commits[0]).unwrap(), SwapResult::Done);
    assert!(!server.bare().join("drop-acknowledgement").exists());
    assert_eq!(tip(&server, STATUS), Some(commits[0]));
}

#[test]
fn a_lost_acknowledgement_counts_even_when_somebody_went_on_from_there() {
    let server = GitServer::new();
    let (_dir, repo) = local();
    let remote = Remote::open(&repo, &server.file_url(), options()).unwrap();
    let commits = chain(&repo, 2);
    let bare = server.bare();
    remote.push(&repo, "refs/heads/next", None, commits[1]).unwrap();
    server.hook(
        "post-receive",
        &format!("git update-ref {STATUS} {} {}; kill -9 $PPID", commits[1], commits[0]),
    );
    assert_eq!(remote.push(&repo, STATUS, None, commits[0]).unwrap(), SwapResult::Done);
    assert_eq!(Repo::open(&bare).unwrap().read_ref(STATUS).unwrap(), Some(commits[1]));
}

#[test]
fn a_failure_in_which_nothing_moved_is_tried_again_and_then_reported() {
    let server = GitServer::new();
    let (_dir, repo) = local();
    let remote = Remote::open(&repo, &server.file_url(), options()).unwrap();
    let commits = chain(&repo, 2);
    server.hook("pre-receive", "echo x >> tries; [ $(wc -l < tries) -ge 3 ] || kill -9 $PPID");
    assert_eq!(remote.push(&repo, STATUS, None, commits[0]).unwrap(), SwapResult::Done);
    server.hook("pre-receive", "echo x >> more; kill -9 $PPID");
    let error = remote.push(&repo, STATUS, Some(commits[0]), commits[1]).unwrap_err();
    assert!(matches!(error, GitError::Remote { .. }), "{error}");
    let tries = std::fs::read_to_string(server.bare().join("more")).unwrap();
    assert_eq!(tries.lines().count(), 3, "once and two retries");
}

#[test]
fn a_protected_branch_is_a_matter_of_permission_and_not_tried_again() {
    let server = GitServer::over_http();
    let (_dir, repo) = local();
    let remote = Remote::open(&repo, &server.http_url(Some("tok-write")), options()).unwrap();
    let ours = commit(&repo, &[], "ours");
    server.steer("protected.list", &format!("{STATUS}\n"));
    let error = remote.push(&repo, STATUS, None, ours).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, GitError::Permission { .. }), "{text}");
    assert!(text.contains("GH006") && text.contains("planspec/status"), "{text}");
    assert_eq!(tip(&server, STATUS), None);
}

#[test]
fn refusals_say_what_must_change_and_never_hold_the_token() {
    let server = GitServer::over_http();
    let (_dir, repo) = local();
    let ours = commit(&repo, &[], "ours");
    let attempt = |url: &str| {
        let remote = Remote::open(&repo, url, options()).unwrap();
        remote.push(&repo, STATUS, None, ours).unwrap_err()
    };
    let error = attempt(&server.http_url(Some("tok-read")));
    assert!(matches!(error, GitError::Permission { .. }), "{error}");
    for token in [Some("tok-wrong-and-secret"), None] {
        let error = attempt(&server.http_url(token));
        assert!(matches!(error, GitError::Authentication { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}

#[test]
fn a_token_may_come_as_a_header() {
    let server = GitServer::over_http();
    let (_dir, repo) = local();
    let authorization = Some("Bearer tok-write".to_owned());
    let with_header = RemoteOptions { authorization, ..options() };
    assert!(!format!("{with_header:?}").contains("tok-write"));
    let remote = Remote::open(&repo, &server.http_url(None), with_header).unwrap();
    let ours = commit(&repo, &[], "ours");
    assert_eq!(remote.push(&repo, STATUS, None, ours).unwrap(), SwapResult::Done);
}

#[test]
fn a_token_in_a_configured_address_reaches_no_argument_of_any_process() {
    let server = GitServer::over_http();
    let (dir, repo) = local();
    let ours = commit(&repo, &[], "ours");
    let url = server.http_url(Some("tok-write"));
    git(dir.path(), &["remote", "add", "origin", &url]);
    // What pushes go through on the other side sees every process of this machine.
    server.hook(
        "post-receive",
        "for d in /proc/[0-9]*; do tr '\\0' ' ' < $d/cmdline; echo; done > processes 2>/dev/null; true",
    );
    for name in ["origin", url.as_str()] {
        let remote = Remote::open(&repo, name, options()).unwrap();
        let before = remote.tips(&[STATUS]).unwrap()[0];
        let next = before.map_or(ours, |before| commit(&repo, &[before], "next"));
        assert_eq!(remote.push(&repo, STATUS, before, next).unwrap(), SwapResult::Done);
        let processes = std::fs::read_to_string(server.bare().join("processes")).unwrap();
        let git: Vec<&str> = processes.lines().filter(|line| line.contains(&server.http_url(None))).collect();
        assert!(!git.is_empty(), "the push itself is among the processes");
        assert!(git.iter().all(|line| !line.contains("tok-write")), "{git:?}");
        assert!(!format!("{remote:?}{}", remote.name()).contains("tok-write"));
    }
}

/// `pushurl` and `pushInsteadOf` may lead over another protocol than fetches take.
/// Pushes a commit to the remote that is configured, and fetches it from there.
#[track_caller]
fn check_goes_there_and_back(repo: &Repo, server: &GitServer) {
    let remote = Remote::open(repo, "origin", options()).unwrap();
    let ours = commit(repo, &[], "ours");
    assert_eq!(remote.push(repo, STATUS, None, ours).unwrap(), SwapResult::Done);
    assert_eq!(tip(server, STATUS), Some(ours));
    assert_eq!(remote.fetch(repo, &[STATUS]).unwrap(), [Some(ours)]);
}

#[test]
fn pushes_go_over_the_protocol_that_is_configured_for_them() {
    for by_rule in [false, true] {
        let server = GitServer::over_http();
        let (dir, repo) = local();
        let (fetched, bare) = (server.http_url(Some("tok-write")), server.bare());
        git(dir.path(), &["remote", "add", "origin", &fetched]);
        let bare = bare.to_str().unwrap();
        match by_rule {
            true => git(dir.path(), &["config", &format!("url.{bare}.pushInsteadOf"), &fetched]),
            false => git(dir.path(), &["remote", "set-url", "--push", "origin", bare]),
        }
        check_goes_there_and_back(&repo, &server);
    }
}

#[test]
fn an_address_is_rewritten_as_the_user_says() {
    let server = GitServer::over_http();
    let (dir, repo) = local();
    git(
        dir.path(),
        &["config", &format!("url.{}.insteadOf", server.http_url(Some("tok-write"))), "work:app"],
    );
    git(dir.path(), &["remote", "add", "origin", "work:app"]);
    check_goes_there_and_back(&repo, &server);
}

#[test]
fn a_remote_that_is_gone_is_named() {
    let (_dir, repo) = local();
    let ours = commit(&repo, &[], "ours");
    let gone = tempfile::tempdir().unwrap();
    let url = format!("file://{}/gone.git", gone.path().display());
    let remote = Remote::open(&repo, &url, options()).unwrap();
    for error in [
        remote.fetch(&repo, &[STATUS]).unwrap_err(),
        remote.push(&repo, STATUS, None, ours).unwrap_err(),
        remote.default_branch().unwrap_err(),
    ] {
        assert!(matches!(error, GitError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains("gone.git"), "{error}");
    }
    let server = GitServer::over_http();
    let url = server.http_url(Some("tok-write")).replace("app.git", "gone.git");
    let error = Remote::open(&repo, &url, options()).unwrap().fetch(&repo, &[STATUS]).unwrap_err();
    assert!(matches!(error, GitError::Unreachable { .. }), "{error}");
    let dead = "http://127.0.0.1:1/a.git";
    let error = Remote::open(&repo, dead, options()).unwrap().fetch(&repo, &[STATUS]).unwrap_err();
    assert!(matches!(error, GitError::Unreachable { .. }), "{error}");
}

#[test]
fn what_is_neither_a_remote_nor_an_address_is_refused() {
    let (_dir, repo) = local();
    for name in ["", "--upload-pack=touch x", "-x", "nowhere", "a\nb", "./nowhere"] {
        let error = Remote::open(&repo, name, options()).unwrap_err();
        assert!(matches!(error, GitError::UnknownRemote { .. }), "{name:?}: {error}");
    }
    let dir = tempfile::tempdir().unwrap();
    let witness = dir.path().join("witness");
    let url = format!("ext::sh -c touch% {}", witness.display());
    let remote = Remote::open(&repo, &url, options()).unwrap();
    remote.fetch(&repo, &[STATUS]).unwrap_err();
    assert!(!witness.exists(), "a command in an address was run");
}

#[test]
fn no_hook_of_the_local_repository_runs() {
    let server = GitServer::new();
    let (dir, repo) = local();
    let hooks = dir.path().join(".git/hooks");
    let witness = dir.path().join("witness");
    for hook in
        ["pre-push", "reference-transaction", "post-checkout", "pre-auto-gc", "post-merge", "pre-commit"]
    {
        write_hook(&hooks, hook, &format!("echo {hook} >> {}", witness.display()));
    }
    let remote = Remote::open(&repo, &server.file_url(), options()).unwrap();
    let commits = chain(&repo, 2);
    remote.push(&repo, STATUS, None, commits[0]).unwrap();
    remote.fetch(&repo, &[STATUS]).unwrap();
    repo.swap_ref("refs/heads/x", None, Some(commits[0]), "test").unwrap();
    repo.swap_ref("refs/heads/x", Some(commits[0]), None, "test").unwrap();
    assert_eq!(std::fs::read_to_string(&witness).unwrap_or_default(), "");
}

#[test]
fn a_branch_whose_name_looks_like_an_option_is_a_branch() {
    let server = GitServer::new();
    let (_dir, repo) = local();
    let remote = Remote::open(&repo, &server.file_url(), options()).unwrap();
    let ours = commit(&repo, &[], "ours");
    let reference = "refs/heads/--upload-pack=x";
    assert_eq!(remote.push(&repo, reference, None, ours).unwrap(), SwapResult::Done);
    assert_eq!(remote.fetch(&repo, &[reference]).unwrap(), [Some(ours)]);
    for bad in ["main", "refs/heads/a b", "refs/heads/*", "refs/heads/a..b", "--all", "refs/heads/x:y"] {
        assert!(remote.fetch(&repo, &[bad]).is_err(), "{bad}");
        assert!(remote.push(&repo, bad, None, ours).is_err(), "{bad}");
    }
}

#[test]
fn a_cache_clone_follows_the_remote_and_holds_no_credentials() {
    let server = GitServer::over_http();
    let (_dir, repo) = local();
    let url = server.http_url(Some("tok-write"));
    let remote = Remote::open(&repo, &url, options()).unwrap();
    let commits = chain(&repo, 4);
    remote.push(&repo, "refs/heads/main", None, commits[2]).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let into = cache.path().join("clones/app");
    let clone = Remote::clone_bare(&url, &into, options()).unwrap();
    assert_eq!(clone.head_branch().unwrap().as_deref(), Some("main"));
    assert_eq!(clone.resolve_commit("main").unwrap(), commits[2]);
    assert!(!std::fs::read_to_string(into.join("config")).unwrap().contains("tok-write"));
    remote.push(&repo, "refs/heads/main", Some(commits[2]), commits[3]).unwrap();
    let again = Remote::clone_bare(&url, &into, options()).unwrap();
    assert_eq!(again.resolve_commit("HEAD").unwrap(), commits[3]);
    assert_eq!(again.is_ancestor(commits[0], commits[3]).unwrap(), Some(true));
    let through_origin = Remote::open(&again, &url, options()).unwrap();
    assert_eq!(
        through_origin.local_name("refs/heads/main").unwrap(),
        "refs/planspec/origin/heads/main",
        "the address of a configured remote is that remote"
    );
}

/// A clone that has one of two commits of `main`, and nothing of the status branch, which ends at `tip`.
fn short_clone(server: &GitServer, tip: ObjectId) -> (tempfile::TempDir, Repo, Remote) {
    let served = Repo::open(&server.bare()).unwrap();
    let first = commit(&served, &[], "desired");
    let main = commit(&served, &[first], "more desired");
    for (branch, tip) in [("refs/heads/main", main), (STATUS, tip)] {
        served.swap_ref(branch, None, Some(tip), "test").unwrap();
    }
    let places = tempfile::tempdir().unwrap();
    git(places.path(), &["clone", "--quiet", "--depth=1", &server.file_url(), "short"]);
    let clone = Repo::open(&places.path().join("short")).unwrap();
    let remote = Remote::open(&clone, "origin", options()).unwrap();
    (places, clone, remote)
}

fn newest(count: u32) -> NewestCommits<'static> {
    NewestCommits { reference: STATUS, count }
}

fn ids(repo: &Repo, tip: ObjectId) -> Vec<ObjectId> {
    repo.log(tip).map(|commit| commit.unwrap().id).collect()
}

#[test]
fn a_shallow_clone_stays_short_and_says_what_it_cannot_know() {
    let server = GitServer::new();
    let served = Repo::open(&server.bare()).unwrap();
    let commits = chain(&served, 6);
    let (_places, clone, remote) = short_clone(&server, commits[3]);
    assert_eq!(remote.fetch_newest(&clone, &[STATUS], newest(2)).unwrap(), [Some(commits[3])]);
    assert_eq!(ids(&clone, commits[3]), [commits[3], commits[2]]);
    let mut log = clone.log(commits[3]);
    assert!(log.by_ref().last().unwrap().unwrap().parents.is_empty());
    assert!(log.is_cut());
    assert_eq!(clone.is_ancestor(commits[2], commits[3]).unwrap(), Some(true));
    assert_eq!(clone.is_ancestor(commits[0], commits[3]).unwrap(), None);
    // What the branch gains is brought in on top.
    served.swap_ref(STATUS, Some(commits[3]), Some(commits[5]), "test").unwrap();
    assert_eq!(remote.fetch_newest(&clone, &[STATUS], newest(1)).unwrap(), [Some(commits[5])]);
    assert_eq!(clone.is_ancestor(commits[3], commits[5]).unwrap(), Some(true));
    assert_eq!(clone.is_ancestor(commits[1], commits[5]).unwrap(), None);
    assert_eq!(ids(&clone, commits[5]).len(), 4);
    // A shallow clone can push on.
    let ours = commit(&clone, &[commits[5]], "ours");
    assert_eq!(remote.push(&clone, STATUS, Some(commits[5]), ours).unwrap(), SwapResult::Done);
}

#[test]
fn the_rest_of_one_branch_comes_alone_and_is_seen_by_whoever_has_the_clone_open() {
    let server = GitServer::new();
    let commits = chain(&Repo::open(&server.bare()).unwrap(), 6);
    let (_places, clone, remote) = short_clone(&server, commits[5]);
    remote.fetch_newest(&clone, &[STATUS], newest(2)).unwrap();
    let opened = clone.reopen().unwrap();
    assert_eq!(ids(&opened, commits[5]).len(), 2);
    remote.fetch_whole(&clone, STATUS).unwrap();
    let main = clone.resolve_commit("HEAD").unwrap();
    for repo in [&clone, &opened] {
        let mut log = repo.log(commits[5]);
        assert_eq!(log.by_ref().count(), 6);
        assert!(!log.is_cut());
        assert_eq!(repo.is_ancestor(commits[0], commits[5]).unwrap(), Some(true));
        assert!(repo.is_shallow());
        assert_eq!(ids(repo, main), [main]);
    }
}

#[test]
fn the_newest_commits_of_a_branch_that_is_not_there_or_short_are_what_there_is() {
    let server = GitServer::new();
    let commits = chain(&Repo::open(&server.bare()).unwrap(), 3);
    let (_places, clone, remote) = short_clone(&server, commits[2]);
    let main = clone.resolve_commit("HEAD").unwrap();
    let both = ["refs/heads/main", "refs/heads/absent"];
    let absent = NewestCommits { reference: both[1], count: 2 };
    assert_eq!(remote.fetch_newest(&clone, &both, absent).unwrap(), [Some(main), None]);
    assert_eq!(remote.fetch_newest(&clone, &[STATUS], newest(50)).unwrap(), [Some(commits[2])]);
    assert_eq!(ids(&clone, commits[2]).len(), 3);
}

#[test]
fn history_that_is_complete_is_never_cut_off() {
    let server = GitServer::new();
    let (_dir, repo) = local();
    let commits = chain(&repo, 4);
    let remote = Remote::open(&repo, &server.file_url(), options()).unwrap();
    remote.push(&repo, STATUS, None, commits[3]).unwrap();
    remote.fetch_newest(&repo, &[STATUS], newest(1)).unwrap();
    let (_other, fresh) = local();
    let there = Remote::open(&fresh, &server.file_url(), options()).unwrap();
    there.fetch_newest(&fresh, &[STATUS], newest(1)).unwrap();
    assert!(!repo.is_shallow() && !fresh.is_shallow());
}

fn git(directory: &Path, arguments: &[&str]) {
    let status = std::process::Command::new("git").current_dir(directory).args(arguments).status().unwrap();
    assert!(status.success(), "git {arguments:?}");
}

#[test]
fn a_lock_that_a_killed_fetch_left_on_our_references_is_removed() {
    let server = GitServer::new();
    let (dir, repo) = local();
    let remote = Remote::open(&repo, &server.file_url(), options()).unwrap();
    let commits = chain(&repo, 1);
    remote.push(&repo, STATUS, None, commits[0]).unwrap();
    let (_other, fresh) = local();
    let remote = Remote::open(&fresh, &server.file_url(), options()).unwrap();
    let ours = remote.local_name(STATUS).unwrap();
    let lock = fresh.common_dir().join(format!("{ours}.lock"));
    std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
    std::fs::write(&lock, "").unwrap();
    assert_eq!(remote.fetch(&fresh, &[STATUS]).unwrap(), [Some(commits[0])]);
    assert!(!lock.exists());
    drop(dir);
}

#[test]
fn a_lock_that_a_killed_shallow_fetch_left_is_removed_from_our_clone_and_explained_elsewhere() {
    let server = GitServer::new();
    let served = Repo::open(&server.bare()).unwrap();
    let commits = chain(&served, 4);
    let (places, theirs, there) = short_clone(&server, commits[3]);
    let ours = Remote::clone_bare(&server.file_url(), &places.path().join("ours"), RemoteOptions::default())
        .unwrap();
    let here = Remote::open(&ours, &server.file_url(), options()).unwrap();
    let other = commit(&served, &[commits[3]], "other");
    served.swap_ref("refs/heads/other", None, Some(other), "test").unwrap();
    for clone in [&ours, &theirs] {
        std::fs::write(clone.common_dir().join("shallow.lock"), "").unwrap();
    }
    here.fetch_commit(&ours, other).unwrap();
    let error = there.fetch_commit(&theirs, other).unwrap_err();
    let lock = theirs.common_dir().join("shallow.lock");
    assert!(matches!(&error, GitError::Locked { path, .. } if *path == lock), "{error}");
    // Nothing has to be cut off for this.
    assert_eq!(there.fetch_newest(&theirs, &[STATUS], newest(1)).unwrap(), [Some(commits[3])]);
    assert_eq!(ids(&theirs, commits[3]).len(), 4);
}
