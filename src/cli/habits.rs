//! What people type who know other tools, and what it is called here: advice for flags and commands that planspec does not
//! have.

use std::ffi::OsString;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// A flag of another tool, the commands for which the advice is right (all where there are none), and the advice.
type FlagHabit = (&'static [&'static str], &'static [&'static str], &'static str);

/// The first that fits is shown.
const FLAGS: &[FlagHabit] = &[
    (&["-w", "--watch"], &["logs"], "`planspec logs EXECUTION/NODE -f` follows a log"),
    (
        &["-w", "--watch"],
        &["run", "apply"],
        "`planspec run … --wait` waits; `planspec watch executions` shows changes",
    ),
    (
        &["-w"],
        &["reconcile"],
        "`planspec reconcile --watch` keeps driving; `planspec watch executions` shows changes",
    ),
    (
        &["-w", "--watch"],
        &[],
        "`planspec watch KIND` shows objects whenever they change, and so does `planspec get KIND -w`",
    ),
    (
        &["-f", "--filename", "--file"],
        &["get", "list", "describe", "edit"],
        "name resources, as in `planspec get plan/NAME`; `planspec diff -f FILE` compares a file with the branch",
    ),
    (
        &["-f", "--follow"],
        &["run"],
        "`planspec run … --wait` waits; `planspec logs EXECUTION -f` follows its log",
    ),
    (
        &["-f", "--follow"],
        &[],
        "`planspec logs EXECUTION/NODE -f` follows a log, `planspec watch KIND` shows changes",
    ),
    (
        &["--server", "--context", "--kubeconfig", "--host"],
        &[],
        "there is no server, the repository is the store: `--repo PATH|URL`",
    ),
    (
        &["--set", "--param", "--parameters", "--field", "--raw-field", "-F", "--input", "--var", "-v"],
        &["run"],
        "`-p NAME=TEXT` or `-p NAME:=JSON` gives a parameter, `--params FILE` several",
    ),
    (
        &["--show-labels", "-L", "--label-columns"],
        &["get", "list"],
        "`-o custom-columns=NAME:.metadata.name,LABELS:.metadata.labels`",
    ),
    (&["--json"], &[], "`-o json`"),
    (&["--yaml"], &[], "`-o yaml`"),
    (
        &["--format", "--template", "--jq", "-q"],
        &["get", "describe", "status"],
        "`-o json`, `-o yaml`, `-o jsonpath=TEMPLATE`",
    ),
    (
        &["--comment", "--reason", "--body", "-b", "-c"],
        &["approve", "reject", "cancel", "retry", "complete", "suspend"],
        "`-m TEXT`",
    ),
    (&["--branch", "-b", "--revision"], &[], "`--ref REV` reads another branch or commit"),
    (&["--repository", "--git-dir"], &[], "`--repo PATH|URL`, or `-C DIR`"),
    (&["-L", "-n", "--max-count"], &["history"], "`--limit COUNT`"),
    (
        &["--limit", "--chunk-size"],
        &["get", "list"],
        "a list is always whole: `--sort-by`, `-l` and `--field-selector` order and choose",
    ),
    (&["--timeout"], &["get", "list"], "`planspec watch KIND --timeout 10s` ends by itself"),
    (
        &["--ignore-not-found"],
        &["get", "list", "delete"],
        "what is not there is exit code 1, and an error on standard error",
    ),
    (
        &["--wait", "--grace-period", "--force", "--now"],
        &["delete"],
        "the next reconcile cancels what runs of it; `planspec wait KIND/NAME --for=delete` waits for that",
    ),
    (
        &["--all"],
        &["delete", "wait", "cancel", "retry", "suspend", "resume"],
        "each is named: `planspec get KIND -o name` prints the names",
    ),
    (
        &["--failed", "--log-failed"],
        &["logs"],
        "`planspec logs EXECUTION` of one that failed shows what failed",
    ),
    (&["--failed"], &["retry"], "`planspec retry EXECUTION` reruns what failed and what it stopped"),
    (&["--failed"], &["get", "list", "watch"], "`--field-selector status.phase=Failed`"),
    (&["--prefix"], &["logs"], "a line `==> NODE <==` is before the log of each node"),
    (
        &["-l", "--selector", "--all-containers"],
        &["logs"],
        "`planspec logs EXECUTION --all` shows every node",
    ),
    (
        &["--dry-run"],
        &["retry", "cancel", "approve", "complete", "suspend"],
        "`planspec describe execution/NAME` and `planspec explain EXECUTION/NODE` show where it stands",
    ),
    (
        &["--prune"],
        &["apply"],
        "`planspec delete -f FILE` removes what a file declares, and so does deleting the file and committing that",
    ),
    (
        &["-k", "--kustomize", "--server-side", "--field-manager", "--overwrite", "--save-config"],
        &["apply", "create", "delete"],
        "`-f FILE|DIR` names manifests, `-R` reads subdirectories; what is committed is what counts",
    ),
    (&["--rm"], &["run"], "`planspec run -f FILE --here` tries a plan and keeps nothing"),
    (&["-s", "--short", "--porcelain"], &["status"], "`-q` prints less, `-o json` is for scripts"),
    (
        &["--svg", "--dot", "--mermaid", "--png"],
        &["graph"],
        "`-f svg`, `-f dot` or `-f mermaid` chooses the format",
    ),
    (
        &["--name-only", "--name-status", "--cached", "--staged"],
        &["diff"],
        "`planspec diff` shows what a change means, `git diff` its lines",
    ),
    (
        &["-y", "--yes", "--auto-approve", "--force", "--now"],
        &["apply", "delete", "run", "cancel", "retry", "edit"],
        "nothing asks, so nothing has to be confirmed; `--dry-run` shows what would happen",
    ),
    (&["--wait"], &["apply", "retry", "cancel"], "`planspec wait KIND/NAME --for=phase=Succeeded` waits"),
    (
        &["--phase", "--status", "--state"],
        &["describe", "list", "status"],
        "`planspec get executions --phase Failed`",
    ),
    (&["--container", "-c", "--job"], &["logs"], "write EXECUTION/NODE"),
    (
        &["--once", "--interval"],
        &["reconcile"],
        "`planspec reconcile` ends when nothing more can progress; `--watch INTERVAL` goes on",
    ),
];

/// A command of another tool, and what does the same here.
const COMMANDS: &[(&[&str], &str)] = &[
    (
        &["serve", "server", "daemon", "controller", "agent"],
        "there is no server: `planspec reconcile --watch` keeps driving what is committed",
    ),
    (
        &["submit", "start", "exec", "trigger", "dispatch"],
        "`planspec run plan/NAME` runs a plan, `planspec run -f FILE --here` tries one",
    ),
    (&["sync", "converge", "drive"], "`planspec reconcile` drives what is committed"),
    (
        &["plan", "preview"],
        "`planspec diff` shows what a change means, `planspec reconcile --dry-run` what a reconcile begins with",
    ),
    (&["lint", "check", "verify-manifests"], "`planspec validate` checks manifests"),
    (&["rerun", "resubmit", "restart"], "`planspec retry EXECUTION` runs again what failed"),
    (
        &["stop", "terminate", "kill", "abort"],
        "`planspec cancel EXECUTION` ends it, `planspec suspend EXECUTION` pauses it",
    ),
    (
        &["pause", "hold"],
        "`planspec suspend EXECUTION` starts nothing more until `planspec resume EXECUTION`",
    ),
    (&["unsuspend", "continue"], "`planspec resume EXECUTION` goes on"),
    (
        &["ps", "top", "dashboard", "tui"],
        "`planspec status` shows what is going on, `planspec watch executions` as it changes",
    ),
    (&["show", "view", "inspect"], "`planspec describe KIND/NAME`"),
    (&["events", "audit"], "`planspec history [KIND/NAME]` shows what happened, when, and who did it"),
    (&["tree", "dag", "visualize"], "`planspec graph PLAN|EXECUTION` draws the graph"),
    (&["rm", "remove"], "`planspec delete KIND/NAME`"),
    (&["login", "auth"], "there is nothing to log in to: Git's own access is used"),
    (
        &["api-resources", "kinds"],
        "the kinds are goal, plan, capability, binding, gate, execution and schedule",
    ),
    (&["version"], "`planspec --version`"),
    (
        &["rollout"],
        "`planspec wait execution/NAME` waits, `planspec history`, `retry`, `suspend` and `resume` are what it has",
    ),
    (
        &["scale", "patch", "label", "annotate", "set", "replace"],
        "`planspec edit KIND/NAME`, or edit the file and commit it",
    ),
    (
        &["commit", "push", "pull", "fetch", "merge", "add"],
        "manifests are files: use `git`, or `planspec apply -f FILE`, which commits them (`--push` pushes)",
    ),
    (
        &["config", "configure", "use-context"],
        "`.planspec.yaml` holds the configuration; `planspec init` writes one",
    ),
    (&["test", "try"], "`planspec run -f FILE --here` tries a plan in the working tree and commits nothing"),
    (&["ls"], "`planspec get`"),
    (&["log"], "`planspec logs EXECUTION` is what the work printed, `planspec history` what happened"),
    (&["workflow", "pipeline", "job", "release"], "`planspec get plans`, `planspec get executions`"),
];

/// A second word where one is taken, as in `cancel execution NAME`.
const ONE_WORD: &str = "one name is taken, written as one word: KIND/NAME, EXECUTION or EXECUTION/NODE";

/// The error with advice that is meant, for what other tools call otherwise. `arguments` is the whole command line.
pub(crate) fn explain(mut error: clap::Error, arguments: &[OsString]) -> clap::Error {
    let advice = match error.kind() {
        ErrorKind::UnknownArgument => {
            // No argument of ours begins with a dash, so nobody means "to pass '-w' as a value, use '-- -w'".
            error.remove(ContextKind::Suggested);
            let flag = text(&error, ContextKind::InvalidArg);
            flag.and_then(|flag| {
                if !flag.starts_with('-') {
                    return Some(ONE_WORD);
                }
                let advice = flag_advice(&flag, &command_of(arguments));
                // `--prefix` and `--ref` share letters and nothing else; a slip is one letter or two.
                if advice.is_none()
                    && !text(&error, ContextKind::SuggestedArg).is_some_and(|near| is_slip(&flag, &near))
                {
                    error.remove(ContextKind::SuggestedArg);
                }
                advice
            })
        }
        ErrorKind::InvalidSubcommand => {
            error.remove(ContextKind::Suggested);
            let word = text(&error, ContextKind::InvalidSubcommand);
            word.and_then(|word| COMMANDS.iter().find(|(words, _)| words.contains(&word.as_str())))
                .map(|(_, advice)| *advice)
        }
        _ => None,
    };
    if let Some(advice) = advice {
        // What looks alike is a guess, and this is knowledge.
        error.remove(ContextKind::SuggestedArg);
        error.remove(ContextKind::SuggestedSubcommand);
        let advice = vec![StyledStr::from(advice)];
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(advice));
    }
    error
}

/// Whether one is the other, mistyped: with one or two letters too many, too few or swapped, or cut short.
fn is_slip(flag: &str, near: &str) -> bool {
    let flag = flag.split('=').next().unwrap_or(flag);
    near.starts_with(flag) || flag.starts_with(near) || strsim::damerau_levenshtein(flag, near) <= 2
}

fn flag_advice(flag: &str, command: &str) -> Option<&'static str> {
    // `--set=x` and `-w5` name the flag too.
    let flag = flag.split('=').next().unwrap_or(flag);
    let fits = |(flags, commands, _): &&FlagHabit| {
        flags.contains(&flag) && (commands.is_empty() || commands.contains(&command))
    };
    FLAGS.iter().find(fits).map(|(_, _, advice)| *advice)
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    }
}

/// The command that was typed: the first word that is one.
fn command_of(arguments: &[OsString]) -> String {
    let known = crate::cli::command();
    let words = arguments.iter().skip(1).filter_map(|word| word.to_str());
    let mut commands = words.filter(|word| known.find_subcommand(word).is_some());
    commands.next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::Cli;

    fn answer(line: &str) -> String {
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let error = Cli::try_parse_from(&arguments).unwrap_err();
        anstream::adapter::strip_str(&explain(error, &arguments).render().to_string()).to_string()
    }

    #[test]
    fn a_habit_of_another_tool_gets_the_word_that_is_right_here() {
        for (line, advice) in [
            ("planspec describe executions -w", "planspec watch KIND"),
            ("planspec reconcile -w", "planspec reconcile --watch"),
            ("planspec logs x -w", "-f` follows a log"),
            ("planspec run plan/x --set a=b", "-p NAME=TEXT"),
            ("planspec get goals --server=http://x", "--repo PATH|URL"),
            ("planspec serve", "reconcile --watch"),
            ("planspec rerun x", "planspec retry EXECUTION"),
            ("planspec version", "planspec --version"),
            ("planspec get goals --show-labels", "LABELS:.metadata.labels"),
            ("planspec get -f plan.yaml", "planspec get plan/NAME"),
            ("planspec wait execution --all", "-o name"),
            ("planspec cancel execution x", "KIND/NAME"),
            ("planspec logs x --log-failed", "what failed"),
            ("planspec graph x --svg", "-f svg"),
            ("planspec retry x --failed", "reruns what failed"),
            ("planspec rollout status x", "planspec wait"),
            ("planspec commit", "planspec apply -f FILE"),
        ] {
            let text = answer(line);
            assert!(text.contains(advice), "{line}: {text}");
        }
    }

    #[test]
    fn nobody_is_told_to_pass_a_flag_as_a_value() {
        for line in ["planspec describe executions -w", "planspec get goals --no-such", "planspec nothing"] {
            assert!(!answer(line).contains("as a value"), "{}", answer(line));
        }
        assert!(answer("planspec get goals --no-heders").contains("--no-headers"));
    }

    #[test]
    fn a_flag_that_only_looks_alike_is_not_suggested() {
        for line in ["planspec delete goal/x --al1", "planspec logs x --perfix", "planspec run plan/x --rm"] {
            let text = answer(line);
            assert!(!text.contains("similar"), "{line}: {text}");
        }
        assert!(answer("planspec apply --dryrun").contains("--dry-run"));
    }
}
