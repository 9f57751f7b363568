//! Classifying a failed run of the `git` program. Lost races are not part of this: they are recognised by reading the
//! reference again, never by a message.

use crate::git::GitError;

/// Turns what the program said into an error that says what to do.
pub(super) fn explain(remote: &str, action: &str, said: &str) -> GitError {
    let remote = remote.to_owned();
    let detail = gist(said);
    if is_authentication(said) {
        GitError::Authentication { remote, detail }
    } else if is_refusal(said) {
        GitError::Permission { remote, action: action.to_owned(), detail }
    } else if is_absence(said) {
        GitError::Unreachable { remote, detail }
    } else {
        GitError::Remote { doing: format!("finish {action}"), remote, detail }
    }
}

/// Whether trying again cannot help: who we are, what we may do, or where the remote is must change first.
pub(super) fn is_final(error: &GitError) -> bool {
    matches!(error, GitError::Authentication { .. } | GitError::Permission { .. })
}

fn has(said: &str, parts: &[&str]) -> bool {
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
            "terminal prompts disabled",
            "unable to get password",
            "returned error: 401",
            "permission denied (publickey",
            "host key verification failed",
        ],
    )
}

fn is_refusal(said: &str) -> bool {
    has(
        said,
        &[
            "returned error: 403",
            "gh006",
            "gh013",
            "protected branch",
            "hook declined",
            "permission to ",
            "not allowed to push",
            "you are not allowed",
            "deny updating",
            "branch is currently checked out",
            "insufficient permission",
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

/// The lines that carry the message, in one.
fn gist(said: &str) -> String {
    let noise =
        ["hint:", "To ", "error: failed to push some refs", "and the repository exists", "Please make sure"];
    let lines = said.lines().filter(|line| !noise.iter().any(|noise| line.starts_with(noise)));
    let stripped = lines.map(|line| {
        let line = line.strip_prefix("remote: ").unwrap_or(line);
        line.strip_prefix("fatal: ").or_else(|| line.strip_prefix("error: ")).unwrap_or(line).trim()
    });
    let kept: Vec<&str> = stripped.filter(|line| !line.is_empty()).take(6).collect();
    if kept.is_empty() { "git printed no reason".to_owned() } else { kept.join("; ") }
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
        check("", "Remote");
    }
}
