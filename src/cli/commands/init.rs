//! `planspec init`: the first files of a repository.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use clap::Args;

use crate::cli::Context;
use crate::cli::error::{CliError, Exit};
use crate::cli::workspace::here;
use crate::config::CONFIG_FILE;
use crate::git::{GitError, Repo};
use crate::report::style::Tone;

/// The files, by path in the repository. The configuration comes with every default in a comment.
const FILES: [(&str, &str); 2] = [
    (CONFIG_FILE, include_str!("../scaffold/planspec.yaml")),
    ("planspec/hello.yaml", include_str!("../scaffold/hello.yaml")),
];

/// Begin: write .planspec.yaml and an example below planspec/
///
/// Makes a Git repository where there is none. Files that are there are left as they are, and nothing is
/// committed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  planspec init
  planspec -C new-project init --no-example")]
pub(crate) struct Arguments {
    /// The branch of a new repository
    #[arg(long, value_name = "NAME", default_value = "main")]
    branch: String,
    /// Leave the example out
    #[arg(long)]
    no_example: bool,
}

pub(crate) fn run(arguments: &Arguments, context: &mut Context) -> Result<Exit, CliError> {
    let start = here(context)?;
    let repo = match Repo::discover(&start) {
        Ok(repo) => repo,
        Err(GitError::NotARepository { .. }) => {
            let repo = Repo::init(&start, &arguments.branch)?;
            context.out.line(format!("made a Git repository in {}", start.display()))?;
            repo
        }
        Err(error) => return Err(error.into()),
    };
    let Some(root) = repo.work_tree() else {
        return Err(CliError::environment("this repository has no working tree")
            .hint("run it in a clone, and push what it writes"));
    };
    for (path, content) in FILES {
        if arguments.no_example && path != CONFIG_FILE {
            continue;
        }
        let word = if write_new(&root.join(path), content)? {
            Tone::Good.paint("created")
        } else {
            "kept".to_owned()
        };
        context.out.line(format!("{path} {word}"))?;
    }
    context.out.note("next: planspec validate, then commit, then planspec reconcile")?;
    Ok(Exit::Done)
}

/// Writes a file that is not there yet; `false` when it is.
fn write_new(path: &Path, content: &str) -> Result<bool, CliError> {
    let failed =
        |error: std::io::Error| CliError::caused(&format!("cannot write {}", path.display()), &error);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => file.write_all(content.as_bytes()).map(|()| true).map_err(failed),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed(error)),
    }
}
