//! `planspec init`: the first files of a repository.

use std::fs::Permissions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use clap::Args;

use crate::cli::Context;
use crate::cli::commands::setup::workflows::{self, WorkflowVariant};
use crate::cli::error::{CliError, Exit};
use crate::cli::repo_context::here;
use crate::config::CONFIG_FILE;
use crate::git::{GitError, Repo};
use crate::report::style::Tone;

/// The files, by path in the repository, and the schemas of their content. The configuration comes with every default in a comment.
const FILES: [(&str, &str, &str); 2] = [
    (CONFIG_FILE, "config", include_str!("../../scaffold/planspec.yaml")),
    ("planspec/hello.yaml", "manifest", include_str!("../../scaffold/hello.yaml")),
];

/// Write .planspec.yaml and an example below planspec/
///
/// Creates a Git repository if there is none. Existing files are left unchanged, and nothing is
/// committed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec init
  planspec -C new-project init --no-example
  planspec init --github --no-example
  planspec init --github --app
  planspec init --github --split
  planspec init --github --schedule auto")]
pub(crate) struct InitArguments {
    /// The branch of a new repository, and the one that workflows follow (default: `main`, or the current branch)
    #[arg(long, value_name = "NAME")]
    branch: Option<String>,
    /// Do not write the example
    #[arg(long)]
    no_example: bool,
    /// Also write the workflows for GitHub, and print what to protect there
    #[arg(long)]
    github: bool,
    /// The action that the workflows use: OWNER/planspec/action@COMMIT, or ./PATH (default: that of this release)
    #[arg(long, value_name = "ACTION", requires = "github")]
    action: Option<String>,
    /// Drive what was merged with the token of a GitHub App, which may read teams and whose pull requests start checks
    #[arg(long, requires = "github")]
    app: bool,
    /// When a pass starts by itself, as a cron expression in UTC, or `auto`: only while something is due (default: every half hour)
    #[arg(long, value_name = "CRON", requires = "github")]
    schedule: Option<String>,
    /// The host that has the releases of the action, for a repository on another one: `https://github.com` on GitHub Enterprise
    /// Server (default: the repository's own host)
    #[arg(long, value_name = "URL", requires = "github")]
    server: Option<String>,
    /// Run local commands in a workflow of their own, whose job has no token that can write
    #[arg(long, requires = "github")]
    split: bool,
    /// Overwrite existing workflows
    #[arg(long, requires = "github")]
    force: bool,
}

pub(crate) fn run(arguments: &InitArguments, context: &mut Context) -> Result<Exit, CliError> {
    let start = here(context)?;
    let repo = match Repo::discover(&start) {
        Ok(repo) => repo,
        // Any other error, such as a repository of another user, must not lead to a second one inside of it.
        Err(GitError::NotARepository { .. }) => {
            let repo = Repo::init(&start, arguments.branch.as_deref().unwrap_or("main"))?;
            context.out.line(format!("made a Git repository in {}", start.display()))?;
            repo
        }
        Err(error) => return Err(error.into()),
    };
    let Some(root) = repo.work_tree() else {
        return Err(CliError::environment("this repository has no working tree")
            .hint("run it in a clone, and push what it writes"));
    };
    // Whatever is wrong with the arguments shows before the first file is written.
    let workflows = workflows(arguments, &repo)?;
    for (path, schema, content) in FILES {
        if !arguments.no_example || path == CONFIG_FILE {
            let line = workflows::modeline(arguments.action.as_deref(), schema).unwrap_or_default();
            let more = if arguments.split && path == CONFIG_FILE { workflows::WORKER } else { "" };
            if !write(root, path, &format!("{line}{content}{more}"), false, context)? && !more.is_empty() {
                let setting = "`providers: {commands: {workflow: planspec-work.yml}}`";
                context
                    .out
                    .note(format!("{path} was there: add {setting} to it, or nothing uses the workflow"))?;
            }
        }
    }
    for (path, content) in &workflows {
        write(root, path, content, arguments.force, context)?;
    }
    if let Some(action) = arguments.action.as_deref().filter(|action| !workflows::is_pinned(action)) {
        context.out.note(format!("`{action}` is not pinned, so its owner can change it; name a commit"))?;
    }
    if arguments.github {
        context.out.note(workflows::next_steps(arguments.action.as_deref(), &variant(arguments)))?;
    } else {
        context.out.note("next: planspec validate, then commit, then planspec reconcile")?;
    }
    Ok(Exit::Done)
}

fn workflows(arguments: &InitArguments, repo: &Repo) -> Result<Vec<(&'static str, String)>, CliError> {
    if !arguments.github {
        return Ok(Vec::new());
    }
    let branch = match &arguments.branch {
        Some(branch) => branch.clone(),
        None => repo.head_branch()?.unwrap_or_else(|| "main".to_owned()),
    };
    workflows::files(&branch, arguments.action.as_deref(), &variant(arguments))
}

fn variant(arguments: &InitArguments) -> WorkflowVariant<'_> {
    WorkflowVariant {
        app: arguments.app,
        schedule: arguments.schedule.as_deref(),
        server: arguments.server.as_deref(),
        split: arguments.split,
    }
}

/// Writes a file, and says so; one that is there is kept, unless it is to be replaced and is another.
/// Says whether it was written.
fn write(
    root: &Path,
    path: &str,
    content: &str,
    force: bool,
    context: &mut Context,
) -> Result<bool, CliError> {
    let place = root.join(path);
    let created = Tone::Good.paint("created");
    let mut written = true;
    let word = if write_new(&place, content)? {
        created
    } else if force && std::fs::read(&place).is_ok_and(|found| found != content.as_bytes()) {
        // Removed and made again, so that a link at this path is replaced instead of what it leads to.
        std::fs::remove_file(&place)
            .map_err(|error| CliError::caused(&format!("cannot replace {path}"), &error))?;
        write_new(&place, content)?;
        Tone::Good.paint("replaced")
    } else {
        written = false;
        "kept".to_owned()
    };
    context.out.line(format!("{path} {word}"))?;
    Ok(written)
}

/// Writes a file that is not there yet; `false` when it is.
fn write_new(path: &Path, content: &str) -> Result<bool, CliError> {
    let failed =
        |error: std::io::Error| CliError::caused(&format!("cannot write {}", path.display()), &error);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Elsewhere first, or a full disk would leave an empty file, which the next try would take for the user's.
    let mut file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(parent)
        .map_err(failed)?;
    file.write_all(content.as_bytes()).map_err(failed)?;
    // One step decides: a file that appears meanwhile is kept, and no link is followed.
    match file.persist_noclobber(path) {
        Ok(_) => Ok(true),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed(error.error)),
    }
}
