//! Repositories to measure in: made by `git fast-import`, packed as a clone would be.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::bench::{Bench, git};
use super::manifests::{File, capabilities, changed_goal, manifests};
use super::measure::{feed, run};

/// A repository.
pub(crate) struct Repository {
    pub(crate) path: PathBuf,
}

impl Repository {
    /// The repository with `count` manifests in two commits, the second of which changes one Goal. With a working tree.
    pub(crate) fn of_size(bench: &Bench, count: usize) -> Result<Self> {
        let path = bench.place().join(format!("manifests-{count}"));
        if path.join(".git/complete").exists() {
            return Ok(Self { path });
        }
        let repository = Self::of_manifests(&path, count)?;
        std::fs::write(repository.path.join(".git/complete"), "")?;
        Ok(repository)
    }

    /// The same at this path, made anew.
    pub(crate) fn of_manifests(path: &Path, count: usize) -> Result<Self> {
        eprintln!("  making a repository of {count} manifests");
        let repository = Self { path: path.to_owned() };
        repository.begin(&manifests(count).chain(capabilities(count)).collect::<Vec<_>>())?;
        repository.change(&[changed_goal(0, 1)])?;
        repository.pack_and_check_out()?;
        Ok(repository)
    }

    /// Packs it as a clone would be, and checks its files out.
    pub(crate) fn pack_and_check_out(&self) -> Result<()> {
        run(&mut git(&self.path, &["gc", "--quiet"]))?;
        run(&mut git(&self.path, &["reset", "--hard", "--quiet"])).map(drop)
    }

    /// A small repository of these files, without a working tree of them.
    pub(crate) fn of_files(path: &Path, files: &[File]) -> Result<Self> {
        let repository = Self { path: path.to_owned() };
        repository.begin(files)?;
        Ok(repository)
    }

    fn begin(&self, files: &[File]) -> Result<()> {
        if self.path.exists() {
            std::fs::remove_dir_all(&self.path)?;
        }
        std::fs::create_dir_all(&self.path)?;
        run(&mut git(&self.path, &["init", "--quiet", "--initial-branch=main"]))?;
        self.import(files, None)
    }

    /// Commits changed files.
    pub(crate) fn change(&self, files: &[File]) -> Result<()> {
        self.import(files, Some("refs/heads/main^0"))
    }

    fn import(&self, files: &[File], from: Option<&str>) -> Result<()> {
        let mut text = String::from("commit refs/heads/main\ncommitter Wendy Writer <wendy@example.com> ");
        let from = from.map(|from| format!("from {from}\n")).unwrap_or_default();
        // Commits of one second are fine; the time is fixed so that the repository is always the same.
        let _ = write!(text, "1767225600 +0000\ndata 6\nChange\n{from}");
        for File { path, content } in files {
            let _ = write!(text, "M 100644 inline {path}\ndata {}\n{content}\n", content.len());
        }
        let mut command = git(&self.path, &["fast-import", "--quiet", "--force"]);
        feed(&mut command, text.as_bytes()).map(drop)
    }

    /// Removes the caches of planspec.
    pub(crate) fn forget(&self) -> Result<()> {
        match std::fs::remove_dir_all(self.path.join(".git/planspec")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Reconciles until everything rests.
    pub(crate) fn settle(&self, bench: &Bench) -> Result<()> {
        if self.has_status() {
            return self.reconcile(bench).map(drop);
        }
        eprintln!("  the first reconcile of {}", self.path.display());
        let first = self.reconcile(bench)?;
        eprintln!("  took {:.1} s, {:.1} s of CPU", first.wall.as_secs_f64(), first.cpu.as_secs_f64());
        // What a host would do once the branch has grown.
        run(&mut git(&self.path, &["gc", "--quiet"]))?;
        self.reconcile(bench).map(drop)
    }

    fn reconcile(&self, bench: &Bench) -> Result<super::measure::Sample> {
        run(bench.planspec(&self.path).args(["reconcile", "--quiet"]))
    }

    fn has_status(&self) -> bool {
        let mut command =
            git(&self.path, &["rev-parse", "--verify", "--quiet", "refs/heads/planspec/status"]);
        run(&mut command).is_ok()
    }

    /// How many commits the status branch has.
    pub(crate) fn status_commits(&self) -> Result<usize> {
        let output = git(&self.path, &["rev-list", "--count", "planspec/status"]).output()?;
        Ok(String::from_utf8(output.stdout)?.trim().parse()?)
    }
}
