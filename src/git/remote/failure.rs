//! Classifying a failed run of the `git` program. Lost races are not part of this: they are recognised by reading the
//! reference again, never by a message.

use std::io::ErrorKind;

use crate::git::GitError;

/// Turns what the program said into an error that says what to do.
pub(super) fn explain(remote: &str, action: &str, said: &str) -> GitError {
    let remote = remote.to_owned();
    let detail = gist(said);
    // The most specific first: a host that refuses credentials often says `not found`, too.
    if is_authentication(said) {
        GitError::Authentication { remote, detail }
    } else if is_denied(said) {
        GitError::Permission { remote, action: action.to_owned(), detail }
    } else if is_refusal(said) {
        GitError::Refused { remote, action: action.to_owned(), detail }
    } else if is_absence(said) {
        GitError::Unreachable { remote, detail }
    } else {
        GitError::Remote { doing: format!("finish {action}"), remote, detail }
    }
}

/// Whether trying again cannot help: who we are, what we may do, or where the remote is must change first.
pub(super) fn is_final(error: &GitError) -> bool {
    matches!(error, GitError::Authentication { .. } | GitError::Permission { .. } | GitError::Interrupted)
}

/// Whether a failure usually passes by itself: the network, an overloaded or restarting host.
pub(super) fn is_transient(error: &GitError) -> bool {
    match error {
        // A host that accepts a connection and then says nothing is most often an overloaded one.
        GitError::TimedOut { .. } => true,
        // By wording, since `git` has one exit code for all of these. A wording that is missing here ends the wait for
        // an outage early and never gives a wrong result: lost races are seen by reading back.
        GitError::Unreachable { detail, .. } | GitError::Remote { detail, .. } => has(
            detail,
            &[
                "could not resolve",
                "temporary failure in name resolution",
                "couldn't connect",
                "could not connect",
                "failed to connect",
                "connection refused",
                "connection reset",
                "connection closed",
                "connection timed out",
                "timed out",
                "no route to host",
                "network is unreachable",
                "broken pipe",
                "empty reply from server",
                "transfer closed",
                "hung up",
                "early eof",
                "unexpected disconnect",
                "operation too slow",
                "service unavailable",
                // Of the 4xx, only these two mean a passing condition by themselves.
                "returned error: 408",
                "returned error: 429",
                "returned error: 5",
            ],
        ),
        _ => false,
    }
}

/// Whether what could not be had may be had at another time: the remote, the way to it or this machine is the reason, and not the
/// objects.
#[must_use]
pub fn may_come_later(error: &GitError) -> bool {
    match error {
        GitError::TimedOut { .. }
        | GitError::Unreachable { .. }
        | GitError::Authentication { .. }
        | GitError::Permission { .. }
        | GitError::Locked { .. } => true,
        // A reference or an object that the remote does not have is gone for good, and it has one wording for both.
        GitError::Remote { .. } => is_transient(error),
        // A name that this file system cannot hold stays what it is.
        GitError::Io { source, .. } => {
            !matches!(source.kind(), ErrorKind::AlreadyExists | ErrorKind::InvalidFilename)
        }
        _ => false,
    }
}

/// Whether a failure that is permanent by itself is what hosts answer during an outage, too.
pub(super) fn may_be_an_outage(error: &GitError) -> bool {
    match error {
        // While a host fails over it may answer so to everybody; whether it worked a moment ago is known to the caller
        // alone.
        GitError::Authentication { .. } | GitError::Unreachable { .. } => true,
        GitError::Permission { detail, .. } => has(detail, &["returned error: 403"]),
        _ => false,
    }
}

/// Whether a server's reason for not moving a reference is another writer, and not the content.
pub(super) fn is_contention(reason: &str) -> bool {
    has(
        reason,
        // Taken for a refusal of the content, one of these would have the node of an innocent Execution blocked for
        // good.
        &["lock", "failed to update ref", "incorrect old value", "reference already exists", "stale info"],
    )
}

fn has(said: &str, parts: &[&str]) -> bool {
    // Versions of Git and of hosts differ in capitals, as in `Connection refused`.
    let said = said.to_ascii_lowercase();
    parts.iter().any(|part| said.contains(part))
}

fn is_authentication(said: &str) -> bool {
    has(
        said,
        &[
            "authentication failed",
            "could not read username",
            "could not read password",
            // The program could not ask for credentials because prompts are off, so there are none; for a person that
            // is the same fault.
            "terminal prompts disabled",
            "unable to get password",
            "returned error: 401",
            "permission denied (publickey",
            // No refusal by the host. It belongs here because the way out is the same: the set-up of who talks to whom.
            "host key verification failed",
        ],
    )
}

/// A hook, a rule or a limit that judges what was pushed.
fn is_refusal(said: &str) -> bool {
    has(
        said,
        &[
            "hook declined",
            "unpacker error",
            "pack exceeds maximum allowed size",
            "returned error: 413",
            // Codes of GitHub: files that are too large (GH001), secrets (GH009), rules of the repository (GH013). They
            // stay when the words around them change.
            "gh001",
            "gh009",
            "gh013",
            "push rule",
        ],
    )
}

/// A refusal because of who pushes and where to, whatever the content.
fn is_denied(said: &str) -> bool {
    has(
        said,
        &[
            "returned error: 403",
            // GH006 is a protected branch: another user could push the same content there.
            "gh006",
            "protected branch",
            "permission to ",
            "not allowed to push",
            "you are not allowed",
            "deny updating",
            "branch is currently checked out",
            "insufficient permission",
            // What Git says on the other side of a local path or of SSH, where it runs as somebody else.
            "detected dubious ownership",
        ],
    )
}

fn is_absence(said: &str) -> bool {
    has(
        said,
        &[
            "does not appear to be a git repository",
            "repository not found",
            "not found",
            "could not resolve host",
            "couldn't connect",
            "failed to connect",
            "could not connect",
            "connection refused",
            "connection timed out",
            "no such file or directory",
            "transport '",
        ],
    )
}

/// The same failure with these reasons for single references, where the program said nothing else.
pub(super) fn or_reasons(error: GitError, reasons: &[String]) -> GitError {
    match error {
        GitError::Remote { doing, remote, detail } if detail == NO_REASON && !reasons.is_empty() => {
            GitError::Remote { doing, remote, detail: reasons.join("; ") }
        }
        error => error,
    }
}

/// What a lease that the remote refused means where the reference has the very value that it expects: it was read from one
/// repository and pushed to another.
pub(super) fn of_two_repositories(error: GitError) -> GitError {
    match error {
        GitError::Remote { doing, remote, detail } if detail.contains(STALE) => {
            let why = "the repository that is pushed to has another value there than the one that is fetched from; `url` and `pushurl` of the remote have to name the same one";
            GitError::Remote { doing, remote, detail: format!("{detail}: {why}") }
        }
        error => error,
    }
}

/// What Git says of a lease that does not hold.
const STALE: &str = "stale info";

const NO_REASON: &str = "git printed no reason";

/// The lines that carry the message, in one.
fn gist(said: &str) -> String {
    // Advice for people at a terminal, and lines that only repeat the address.
    let noise =
        ["hint:", "To ", "error: failed to push some refs", "and the repository exists", "Please make sure"];
    let lines = said.lines().filter(|line| !noise.iter().any(|noise| line.starts_with(noise)));
    let stripped = lines.map(|line| {
        let line = line.strip_prefix("remote: ").unwrap_or(line);
        // These prefixes mean the `git` program. In a message of planspec they would read as if this program had crashed.
        line.strip_prefix("fatal: ").or_else(|| line.strip_prefix("error: ")).unwrap_or(line).trim()
    });
    // A server may print pages; what it means is in the first lines.
    let kept: Vec<&str> = stripped.filter(|line| !line.is_empty()).take(6).collect();
    if kept.is_empty() { NO_REASON.to_owned() } else { kept.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(said: &str, kind: &str) {
        let error = format!("{:?}", explain("origin", "pushing", said));
        assert!(error.starts_with(kind), "{said}: {error}");
    }

    #[test]
    fn a_failure_is_named_after_what_must_change() {
        check("fatal: Authentication failed for 'http://h/a'", "Authentication");
        check(
            "git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.",
            "Authentication",
        );
        check("fatal: unable to access 'http://h/a/': The requested URL returned error: 403", "Permission");
        check("remote: error: GH006: Protected branch update failed for refs/heads/main.", "Permission");
        check("fatal: '/x' does not appear to be a git repository", "Unreachable");
        check("fatal: unable to access 'http://h/': Could not resolve host: h", "Unreachable");
        check("fatal: the remote end hung up unexpectedly", "Remote");
        check("remote: no secrets here\npre-receive hook declined", "Refused");
        check(
            "remote: error: GH013: Repository rule violations found for refs/heads/x.\npush declined",
            "Refused",
        );
        check("error: RPC failed; HTTP 413 curl 22 The requested URL returned error: 413", "Refused");
        check("", "Remote");
    }

    #[test]
    fn what_may_be_had_later_is_told_from_what_is_gone() {
        let check = |said: &str, later: bool| {
            assert_eq!(may_come_later(&explain("origin", "fetching", said)), later, "{said}");
        };
        check("error: RPC failed; HTTP 503 curl 22 The requested URL returned error: 503", true);
        check("fatal: unable to access 'http://h/': Failed to connect to h port 80", true);
        check("fatal: Authentication failed for 'http://h/a'", true);
        check("fatal: couldn't find remote ref refs/planspec/results/team/first", false);
        check("fatal: remote error: upload-pack: not our ref 0123456789", false);
        let io = |kind: ErrorKind| GitError::Io { doing: "write", path: "x".into(), source: kind.into() };
        assert!(may_come_later(&io(ErrorKind::StorageFull)));
        assert!(!may_come_later(&io(ErrorKind::InvalidFilename)));
    }

    #[test]
    fn what_passes_by_itself_is_told_from_what_a_person_must_change() {
        let check = |said: &str, transient: bool, outage: bool| {
            let error = explain("origin", "pushing", said);
            assert_eq!((is_transient(&error), may_be_an_outage(&error)), (transient, outage), "{said}");
        };
        check("fatal: unable to access 'http://h/': The requested URL returned error: 503", true, false);
        check("error: RPC failed; HTTP 429 curl 22 The requested URL returned error: 429", true, false);
        check("fatal: unable to access 'http://h/': Could not resolve host: h", true, true);
        check("fatal: unable to access 'http://h/': Failed to connect to h port 80", true, true);
        check("fatal: the remote end hung up unexpectedly", true, false);
        check("fatal: repository 'http://h/a/' not found", false, true);
        check("fatal: unable to access 'http://h/': The requested URL returned error: 403", false, true);
        check("fatal: Authentication failed for 'http://h/a'", false, true);
        check("remote: error: GH006: Protected branch update failed for refs/heads/main.", false, false);
        check("remote: no secrets here\npre-receive hook declined", false, false);
        check("fatal: couldn't find remote ref refs/heads/x", false, false);
    }
}
