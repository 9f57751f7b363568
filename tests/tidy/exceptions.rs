//! Every exception from a rule, with its reason. One that is no longer needed fails the test too.

use crate::project::Finding;

/// One place where a rule does not hold.
pub(crate) struct Exception {
    /// The rule, as `main.rs` names it.
    pub(crate) rule: &'static str,
    pub(crate) path: &'static str,
    /// A part of the message, where a file has several findings.
    pub(crate) about: &'static str,
    #[allow(dead_code, reason = "written down for whoever reads the list")]
    pub(crate) reason: &'static str,
}

pub(crate) const EXCEPTIONS: &[Exception] = &[
    Exception {
        rule: "libraries, environment and processes stay at home",
        path: "src/main.rs",
        about: "std::env::args_os",
        reason: "the entry reads the arguments of the process; they are no environment variables",
    },
    Exception {
        rule: "libraries, environment and processes stay at home",
        path: "src/main.rs",
        about: "std::env::current_exe",
        reason: "the entry knows which program it is, as it knows its arguments",
    },
    Exception {
        rule: "libraries, environment and processes stay at home",
        path: "src/cli/repo_context.rs",
        about: "std::env::current_dir",
        reason: "where a command starts to look for a repository is an argument that the shell gives",
    },
    Exception {
        rule: "libraries, environment and processes stay at home",
        path: "src/provider/process/command_line.rs",
        about: "std::env::split_paths",
        reason: "takes a value of PATH apart that was passed in; it reads no variable",
    },
    Exception {
        rule: "libraries, environment and processes stay at home",
        path: "src/cli/commands/write/edit.rs",
        about: "std::process::Command",
        reason: "the user's editor, on the user's terminal: neither Git nor the work of a plan",
    },
    Exception {
        rule: "libraries, environment and processes stay at home",
        path: "src/cli/commands/setup/trust.rs",
        about: "std::process::Command",
        reason: "`ssh-keygen`, which asks for a passphrase on the user's terminal: neither Git nor the work of a plan",
    },
    Exception {
        rule: "a file is worth opening",
        path: "src/engine/merged/fetch.rs",
        about: "belongs to a neighbour",
        reason: "what is fetched, and that it is only the desired branch's history, is read apart from what the answers are",
    },
    Exception {
        rule: "a file is worth opening",
        path: "src/git/remote/transport.rs",
        about: "belongs to a neighbour",
        reason: "the one seam at which something else than the `git` program carries references is found by its name",
    },
];

/// The findings that stand, and the exceptions of this rule that nothing needs.
pub(crate) fn judge(rule: &str, findings: Vec<Finding>) -> (Vec<Finding>, Vec<&'static Exception>) {
    let mine = EXCEPTIONS.iter().filter(|exception| exception.rule == rule);
    let covers = |exception: &Exception, finding: &Finding| {
        finding.path == exception.path && finding.message.contains(exception.about)
    };
    let needless =
        mine.clone().filter(|exception| !findings.iter().any(|finding| covers(exception, finding)));
    let needless = needless.collect();
    let standing =
        findings.into_iter().filter(|finding| !mine.clone().any(|exception| covers(exception, finding)));
    (standing.collect(), needless)
}
