//! What a run was asked for, and the programs that it compares.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// A run.
pub(crate) struct Bench {
    /// The numbers of manifests, ascending.
    sizes: Vec<usize>,
    only: Vec<String>,
    /// The share of the work that is done where the numbers of manifests play no part: less than 1 to try a row out.
    scale: f64,
    /// How often everything is measured.
    pub(crate) rounds: usize,
    planspec: PathBuf,
    peer: Option<PathBuf>,
    dbos: Option<PathBuf>,
    keep: Option<PathBuf>,
    scratch: tempfile::TempDir,
    used: Cell<usize>,
}

const USAGE: &str = "arguments: [--size 1000,10000,100000] [--only NAME]… [--scale 1] [--rounds 5] [--peer PATH of planspec 0.1.0] \
[--dbos PYTHON that has DBOS] [--planspec PATH] [--keep DIR for generated repositories]";

impl Bench {
    /// Reads the arguments. Environment: `PLANSPEC_PEER` and `PLANSPEC_DBOS` are the defaults of `--peer` and `--dbos`.
    pub(crate) fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut bench = Self {
            sizes: vec![1_000, 10_000, 100_000],
            only: Vec::new(),
            scale: 1.0,
            rounds: 5,
            planspec: PathBuf::from(env!("CARGO_BIN_EXE_planspec")),
            peer: std::env::var_os("PLANSPEC_PEER").map(PathBuf::from),
            dbos: std::env::var_os("PLANSPEC_DBOS").map(PathBuf::from),
            keep: None,
            scratch: tempfile::Builder::new().prefix("planspec-bench-").tempdir()?,
            used: Cell::new(0),
        };
        while let Some(name) = arguments.next() {
            // Cargo says so to every benchmark.
            if name == "--bench" {
                continue;
            }
            let value = arguments.next().context(USAGE)?;
            match name.as_str() {
                "--size" => {
                    bench.sizes =
                        value.split(',').map(str::parse).collect::<Result<_, _>>().context(USAGE)?;
                    bench.sizes.sort_unstable();
                }
                "--only" => bench.only.push(value),
                "--scale" => bench.scale = value.parse().context(USAGE)?,
                "--rounds" => bench.rounds = value.parse::<usize>().context(USAGE)?.max(1),
                "--peer" => bench.peer = Some(value.into()),
                "--dbos" => bench.dbos = Some(value.into()),
                "--planspec" => bench.planspec = std::path::absolute(value)?,
                "--keep" => bench.keep = Some(std::path::absolute(value)?),
                _ => bail!("unknown argument {name}; {USAGE}"),
            }
        }
        if bench.sizes.is_empty() || bench.sizes.contains(&0) {
            bail!(USAGE);
        }
        Ok(bench)
    }

    /// Whether a work is to be measured.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    /// The smallest number of manifests.
    pub(crate) fn small(&self) -> usize {
        self.sizes[0]
    }

    /// The number in the middle.
    pub(crate) fn middle(&self) -> usize {
        self.sizes[self.sizes.len() / 2]
    }

    /// The largest number.
    pub(crate) fn large(&self) -> usize {
        self.sizes[self.sizes.len() - 1]
    }

    /// A number of tasks, Executions or runners, scaled.
    pub(crate) fn scaled(&self, number: usize) -> usize {
        ((number as f64 * self.scale).round() as usize).max(1)
    }

    /// Where repositories are made; those in the folder of `--keep` are found again by the next run.
    pub(crate) fn place(&self) -> &Path {
        self.keep.as_deref().unwrap_or_else(|| self.scratch.path())
    }

    /// A folder that is gone after the run.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// A path below [`Self::scratch`] that was not used before.
    pub(crate) fn fresh(&self, name: &str) -> PathBuf {
        self.used.set(self.used.get() + 1);
        self.scratch.path().join(format!("{name}-{}", self.used.get()))
    }

    /// Our program, in a directory.
    pub(crate) fn planspec(&self, directory: &Path) -> Command {
        hermetic(&self.planspec, directory)
    }

    /// A Python interpreter that has DBOS, if it was named and is there.
    pub(crate) fn dbos(&self) -> Option<&Path> {
        self.dbos.as_deref().filter(|path| path.is_file())
    }

    /// The published planspec 0.1.0, if it was named and can be run.
    pub(crate) fn peer(&self, directory: &Path) -> Option<Command> {
        let peer = self.peer.as_ref().filter(|path| path.is_file())?;
        Some(hermetic(peer, directory))
    }
}

/// A program with nothing of the machine's configuration.
pub(crate) fn hermetic(program: impl AsRef<std::ffi::OsStr>, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    for (kind, name) in [("AUTHOR", "Wendy Writer"), ("COMMITTER", "Wendy Writer")] {
        command.env(format!("GIT_{kind}_NAME"), name).env(format!("GIT_{kind}_EMAIL"), "wendy@example.com");
    }
    command
}

/// Git, in a directory.
pub(crate) fn git(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = hermetic("git", directory);
    command.args(arguments);
    command
}
