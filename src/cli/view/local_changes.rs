//! What of the working tree is not in force yet: manifests that are not committed, and commits that are not pushed.

use std::path::Path;

use crate::cli::desired::{self, input};
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::repo_context::{RepoContext, full};
use crate::config::Config;
use crate::report::text;

/// How many files that are not committed the command for them names.
const NAMED_FILES: usize = 3;

/// What a reconcile does not see.
#[derive(Debug, Default)]
pub(crate) struct LocalChanges {
    /// The paths of manifests that are not committed as they are.
    uncommitted: Vec<String>,
    /// The command that commits those.
    apply: String,
    /// The branch, where it holds commits here that the remote does not have.
    unpushed: Option<String>,
}

impl LocalChanges {
    /// Reads the working tree.
    pub(crate) fn of(workspace: &RepoContext, config: &Config) -> Result<Self, CliError> {
        let uncommitted = uncommitted(workspace, config)?;
        let apply = apply_command(&uncommitted, workspace.repo.work_tree(), &workspace.here);
        let unpushed = is_unpushed(workspace)?.then(|| workspace.branch()).transpose()?;
        Ok(Self { uncommitted, apply, unpushed })
    }

    /// The manifests that are not committed.
    pub(crate) fn uncommitted(&self) -> &[String] {
        &self.uncommitted
    }

    /// Whether the branch here holds commits that the remote does not have.
    pub(crate) fn is_unpushed(&self) -> bool {
        self.unpushed.is_some()
    }

    /// In words, each with the command that changes it.
    pub(crate) fn said(&self) -> Vec<(String, String)> {
        let mut said = Vec::new();
        if !self.uncommitted.is_empty() {
            let paths = text::line(&self.uncommitted.join(", ")).into_owned();
            said.push((format!("not committed: {}", text::shortened(&paths, 200)), self.apply.clone()));
        }
        if let Some(branch) = &self.unpushed {
            let push = format!("git push origin {}", text::line(branch));
            said.push(("not pushed: a reconcile reads the remote".to_owned(), push));
        }
        said
    }

    /// Adds hints to the error of a search: what is not found is most often only not committed.
    pub(crate) fn hinted<T>(
        found: Result<T, CliError>,
        workspace: &RepoContext,
        config: &Config,
    ) -> Result<T, CliError> {
        let Err(error) = found else { return found };
        let said = Self::of(workspace, config)?.said().into_iter();
        Err(said.fold(error, |error, (what, command)| error.hint(format!("{what}; run `{command}`"))))
    }

    /// Says it where something was looked for and is not there: most often it is only not committed.
    pub(crate) fn note(&self, out: &mut Output) -> Result<(), CliError> {
        for (what, command) in self.said() {
            out.note(what)?;
            out.note(format!("  run: {command}"))?;
        }
        Ok(())
    }
}

/// The manifests of the working tree that differ from the desired commit; nothing where another branch is checked out, on
/// which other files are right.
fn uncommitted(workspace: &RepoContext, config: &Config) -> Result<Vec<String>, CliError> {
    let Some(root) = workspace.repo.work_tree().map(Path::to_owned) else { return Ok(Vec::new()) };
    if workspace.repo.head_branch()?.as_deref() != Some(&*workspace.branch()?) {
        return Ok(Vec::new());
    }
    // Before the first commit, nothing is committed.
    let commit = workspace.local_desired()?;
    let limits = &config.limits;
    let mut found = Vec::new();
    for file in input::read_work_tree(&workspace.repo, &root, config)? {
        // The bytes first: most files are as they were, and then nothing has to be parsed.
        let committed =
            commit.and_then(|commit| desired::read_at(&workspace.repo, commit, &file.path, limits));
        if committed.as_ref() != Some(&file.bytes) && file.parse(limits).manifest {
            found.push(file.path);
        }
    }
    Ok(found)
}

/// The command that commits these files, as it works in the folder where somebody asks.
fn apply_command(paths: &[String], root: Option<&Path>, here: &Path) -> String {
    let below = root.and_then(|root| here.strip_prefix(root).ok()).unwrap_or(Path::new(""));
    let up = "../".repeat(below.components().count());
    if paths.len() > NAMED_FILES {
        let top = up.trim_end_matches('/');
        return format!("planspec apply -R -f {}", if top.is_empty() { "." } else { top });
    }
    let way = |path: &String| match Path::new(path).strip_prefix(below) {
        Ok(near) => near.display().to_string(),
        Err(_) => format!("{up}{path}"),
    };
    // Quoted as a shell needs it: this is copied and run.
    let files = paths.iter().map(|path| format!(" -f {}", shell_words::quote(&text::line(&way(path)))));
    format!("planspec apply{}", files.collect::<String>())
}

/// A reconcile takes the branch of the remote (Invariant 13), so what is only here does not count yet.
fn is_unpushed(workspace: &RepoContext) -> Result<bool, CliError> {
    let Some(remote) = &workspace.remote else { return Ok(false) };
    let theirs = workspace.repo.read_ref(&remote.local_name(&full(&workspace.branch()?))?)?;
    let (Some(ours), theirs) = (workspace.local_desired()?, theirs) else { return Ok(false) };
    match theirs {
        Some(theirs) => Ok(ours != theirs && workspace.repo.is_ancestor(theirs, ours)? == Some(true)),
        None => Ok(true),
    }
}
