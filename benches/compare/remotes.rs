//! Executions on a remote: what the budget of pushes costs one runner, and how several of them share it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::bench::{Bench, git};
use super::manifests::{File, chains};
use super::measure::{Sample, in_turn, run};
use super::repository::Repository;
use super::table::{Table, time};

/// A budget that is never spent.
const FREE: &str = "publish: {burst: 100000, perMinute: 100000}\n";
/// Longer than this nothing here takes, unless a runner gets no turn.
const LONGEST: Duration = Duration::from_secs(1_800);

/// One long chain in the default configuration, next to the same without a limit.
pub(crate) fn chain(bench: &Bench, table: &mut Table) -> Result<()> {
    one_runner(bench, table, 1, bench.scaled(42))
}

/// Many short chains, likewise.
pub(crate) fn many(bench: &Bench, table: &mut Table) -> Result<()> {
    one_runner(bench, table, bench.scaled(24), 3)
}

fn one_runner(bench: &Bench, table: &mut Table, executions: usize, tasks: usize) -> Result<()> {
    let drive = |config: &str| -> Result<Sample> {
        let clones = clones(bench, &chains(executions, tasks, "sleep 0.1", config), 1)?;
        let sample = run(bench.planspec(&clones.runners[0]).args(["reconcile", "--quiet", "--jobs", "2"]))?;
        ensure!(clones.succeeded()? == executions, "not every Execution succeeded");
        Ok(sample)
    };
    let (free, own) = in_turn(bench.rounds, || drive(FREE), || drive(""))?;
    let work = format!("{executions} × {tasks} tasks of 0.1 s on a remote");
    let peer = format!("without a limit: {}", time(free.wall));
    let reach = free.wall.mul_f64(1.5) + Duration::from_secs(12);
    table.row(&work, &peer, &time(own.wall), "–", "–", &format!("≤ {}", time(reach)));
    Ok(())
}

/// Sixteen runners on one remote: how many take part, how often they push, and what the limit costs them.
pub(crate) fn runners(bench: &Bench, table: &mut Table) -> Result<()> {
    let (count, executions) = (bench.scaled(16).max(2), bench.scaled(200));
    let drive = |config: &str| -> Result<(Duration, usize, f64)> {
        let clones = clones(bench, &chains(executions, 5, "sleep 1", config), count)?;
        let begun = Instant::now();
        let started: Result<Vec<Runner>> =
            clones.runners.iter().map(|clone| Runner::start(bench, clone)).collect();
        let started = started?;
        while clones.succeeded()? < executions {
            ensure!(begun.elapsed() < LONGEST, "it does not end");
            std::thread::sleep(Duration::from_secs(1));
        }
        let wall = begun.elapsed();
        let pushes = clones.commits()?;
        // The rest of the budget after the burst, in pushes a minute.
        let rate = pushes.saturating_sub(30) as f64 / (wall.as_secs_f64() / 60.0);
        drop(started);
        Ok((wall, clones.participants()?, rate))
    };
    let (free, _, _) = drive(FREE)?;
    let (own, took_part, rate) = drive("")?;
    let work = format!("{count} runners, {executions} × 5 tasks of 1 s on one remote");
    let peer = format!("without a limit: {}", time(free));
    let shown = format!("{}, {took_part} took part, {rate:.1} pushes a minute", time(own));
    let ratio = format!("{:.2}", own.as_secs_f64() / free.as_secs_f64());
    table.row(&work, &peer, &shown, &ratio, "–", "≤ 1.67, all, ≤ 6");
    Ok(())
}

/// A bare repository and clones of it.
struct Clones {
    bare: PathBuf,
    runners: Vec<PathBuf>,
}

fn clones(bench: &Bench, files: &[File], count: usize) -> Result<Clones> {
    let source = Repository::of_files(&bench.fresh("source"), files)?;
    let bare = bench.fresh("bare");
    let clone = |from: &Path, to: &Path, kind: &[&str]| -> Result<()> {
        let mut command = git(bench.scratch(), &["clone", "--quiet"]);
        run(command.args(kind).arg(from).arg(to)).map(drop)
    };
    clone(&source.path, &bare, &["--bare"])?;
    let runners: Vec<PathBuf> = (0..count).map(|_| bench.fresh("runner")).collect();
    for runner in &runners {
        clone(&bare, runner, &[])?;
    }
    Ok(Clones { bare, runners })
}

impl Clones {
    /// The lines of the records that match.
    fn lines(&self, pattern: &str) -> Result<Vec<String>> {
        let arguments = ["grep", "-h", "-E", pattern, "planspec/status", "--", "bench/executions"];
        let output = git(&self.bare, &arguments).output()?;
        // Before the first push there is no branch, and `git grep` fails.
        Ok(String::from_utf8(output.stdout)?.lines().map(|line| line.trim().to_owned()).collect())
    }

    fn succeeded(&self) -> Result<usize> {
        // Two spaces: the phase of the Execution and not those of its nodes.
        Ok(self.lines("^  phase: Succeeded$")?.len())
    }

    fn participants(&self) -> Result<usize> {
        Ok(self.lines("runner: ")?.into_iter().collect::<BTreeSet<_>>().len())
    }

    fn commits(&self) -> Result<usize> {
        let output = git(&self.bare, &["rev-list", "--count", "planspec/status"]).output()?;
        String::from_utf8(output.stdout)?.trim().parse().context("no status branch")
    }
}

/// A `planspec reconcile --watch`, asked to stop when it is dropped.
struct Runner(Child);

impl Runner {
    fn start(bench: &Bench, clone: &Path) -> Result<Self> {
        let mut command = bench.planspec(clone);
        command.args(["reconcile", "--quiet", "--watch", "1s", "--jobs", "2"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        match child {
            Ok(child) => Ok(Self(child)),
            Err(error) => bail!("cannot start a runner: {error}"),
        }
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // Killed: what they do when they are asked to stop is not what is measured.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
