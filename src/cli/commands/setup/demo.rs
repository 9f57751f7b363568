//! `planspec demo`: a throw-away repository with the embedded example, driven from start to end.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::drive::{cores, drive, runner_name, verdict};
use crate::cli::error::{CliError, Exit};
use crate::cli::repo_context::{RepoContext, identified};
use crate::cli::{Context, question, run_line};
use crate::engine::ReconcileOptions;
use crate::git::{Repo, Signature};
use crate::report::style::Tone;
use crate::report::text::line;

/// The example, by path in the repository.
const FILES: [(&str, &str); 9] = [
    ("README.md", include_str!("../../../../examples/sso/README.md")),
    ("planspec/goal.yaml", include_str!("../../../../examples/sso/planspec/goal.yaml")),
    ("planspec/plan.yaml", include_str!("../../../../examples/sso/planspec/plan.yaml")),
    ("planspec/bindings.yaml", include_str!("../../../../examples/sso/planspec/bindings.yaml")),
    ("planspec/execution.yaml", include_str!("../../../../examples/sso/planspec/execution.yaml")),
    ("tools/analyse.sh", include_str!("../../../../examples/sso/tools/analyse.sh")),
    ("tools/generate.sh", include_str!("../../../../examples/sso/tools/generate.sh")),
    ("app/login.js", include_str!("../../../../examples/sso/app/login.js")),
    ("app/button.template", include_str!("../../../../examples/sso/app/button.template")),
];

/// What makes a task of the example slow enough to be seen at work, and where in its script.
const BEGIN: &str = "set -eu\n";
const SLOWLY: &str = "set -eu\nsleep 1 # to be seen on a terminal\n";

const GATE: &str = "sso-security-review";
const EXECUTION: &str = "execution/sso-exec-001";
const WORK_BRANCH: &str = "planspec/work/team-platform/sso-exec-001/review";

/// See it work: create a throw-away repository and drive its example from start to finish
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec demo
  planspec demo --approve --dir /tmp/sso")]
pub(crate) struct DemoArguments {
    /// Approve the gate without asking
    #[arg(long)]
    approve: bool,
    /// Where to create the repository (default: a new temporary directory)
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(arguments: &DemoArguments, context: &mut Context) -> Result<Exit, CliError> {
    let dir = directory(arguments.dir.as_deref())?;
    make_repository(&dir, context)?;
    context.options.directory = Some(dir.clone());
    // A flag or a variable that names another repository must not lead the demo there.
    context.options.repo = None;
    context.options.reference = None;
    context.options.remote = None;
    context.out.line(format!("made {} with a goal, a plan, a binding and an execution\n", dir.display()))?;

    step("planspec reconcile", context)?;
    go_on(context)?;
    context.out.line("")?;
    step(&format!("planspec diff {EXECUTION} --node review"), context)?;
    run_line(&["diff", EXECUTION, "--node", "review"], context)?;
    context.out.line("")?;
    let command = format!("planspec approve {GATE}");
    if !wants_approval(arguments, &command, context)? {
        context.out.line(format!(
            "The execution waits at its gate. To go on:\n\n  cd {}\n  {command}\n  planspec reconcile",
            dir.display()
        ))?;
        return Ok(Exit::Done);
    }
    step(&command, context)?;
    run_line(&["approve", GATE], context)?;
    context.out.line("")?;
    step("planspec reconcile", context)?;
    go_on(context)?;
    context.out.line("")?;

    for line in [vec!["graph", EXECUTION], vec!["history", EXECUTION]] {
        step(&format!("planspec {}", line.join(" ")), context)?;
        run_line(&line, context)?;
        context.out.line("")?;
    }
    step("git log --oneline planspec/status", context)?;
    show_log(context)?;
    context.out.line("")?;
    step(&format!("git diff --stat main {WORK_BRANCH}"), context)?;
    show_branch(context)?;
    context.out.line(format!("\nTo look around:\n\n  cd {}", dir.display()))?;
    context
        .out
        .line(format!("  planspec get all\n  planspec describe {EXECUTION}\n  planspec logs sso-exec-001"))?;
    Ok(Exit::Done)
}

fn directory(wanted: Option<&Path>) -> Result<PathBuf, CliError> {
    let failed = |error: std::io::Error| CliError::caused("cannot make a directory for the demo", &error);
    let Some(dir) = wanted else {
        // Kept, because the last lines name commands to run in it.
        return Ok(tempfile::Builder::new().prefix("planspec-demo-").tempdir().map_err(failed)?.keep());
    };
    std::fs::create_dir_all(dir).map_err(failed)?;
    if std::fs::read_dir(dir).map_err(failed)?.next().is_some() {
        return Err(CliError::no(format!("{} is not empty", dir.display()))
            .hint("name a directory that is empty or does not exist"));
    }
    std::path::absolute(dir).map_err(failed)
}

/// The repository with one commit; by whoever Git says, else by nobody in particular.
fn make_repository(dir: &Path, context: &mut Context) -> Result<(), CliError> {
    let repo = identified(Repo::init(dir, "main")?, &context.environment);
    // Where Git is set up to sign, it could ask for a passphrase, which a throw-away repository is not worth.
    repo.never_sign()?;
    let author = match repo.identity() {
        Ok(person) => person,
        Err(_) => {
            // A machine on which Git was never used has no identity, and the demo has to run there too.
            let person = Signature { name: "PlanSpec demo".to_owned(), email: "demo@example.com".to_owned() };
            repo.set_local_identity(&person)?;
            person
        }
    };
    // Nobody watches a pipe, and a test or a script only wants the end.
    let pace = if std::io::stdout().is_terminal() { SLOWLY } else { BEGIN };
    let edits: BTreeMap<String, Option<Vec<u8>>> = FILES
        .iter()
        .map(|(path, text)| ((*path).to_owned(), Some(text.replacen(BEGIN, pace, 1).into_bytes())))
        .collect();
    repo.commit_on_branch("main", &edits, "Add sign-in with Google", &author, context.now())?;
    Ok(())
}

fn step(command: &str, context: &mut Context) -> Result<(), CliError> {
    context.out.line(Tone::Active.paint(format!("$ {command}")))?;
    context.out.flush()
}

fn go_on(context: &mut Context) -> Result<(), CliError> {
    let options = ReconcileOptions {
        default_jobs: cores(),
        runner: runner_name(),
        work_dir: context.environment.work_home(),
        bucket: context.environment.bucket_access(),
        ..ReconcileOptions::default()
    };
    verdict(&drive(RepoContext::open(context)?, options, context)?)?;
    Ok(())
}

/// On a terminal the user is asked; without one, only `--approve` approves.
fn wants_approval(arguments: &DemoArguments, command: &str, context: &mut Context) -> Result<bool, CliError> {
    if arguments.approve {
        return Ok(true);
    }
    // Nobody would see the question, and an approval is never assumed.
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Ok(false);
    }
    let question = format!("The execution waits at its gate. Run `{command}` now? [y/N] ");
    let answer = question::ask(&question, context)?.unwrap_or_default();
    // An approval is given by a word, and never by a key that was pressed too often.
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn show_log(context: &mut Context) -> Result<(), CliError> {
    let workspace = RepoContext::open(context)?;
    let Some(tip) = workspace.tips(context)?.status else { return Ok(()) };
    for commit in workspace.repo.log(tip) {
        let commit = commit?;
        context.out.line(format!("{} {}", commit.id.short(), line(commit.subject())))?;
    }
    Ok(())
}

/// What the branch holds that was approved.
fn show_branch(context: &mut Context) -> Result<(), CliError> {
    let repo = RepoContext::open(context)?.repo;
    let main = repo.resolve_commit("main")?;
    let work = repo.resolve_commit(WORK_BRANCH)?;
    for text in String::from_utf8_lossy(&repo.difference(main, work, true)?).lines() {
        context.out.line(line(text))?;
    }
    Ok(())
}
