//! `planspec reconcile` in a large repository: with nothing to do, and with one changed Goal.

use std::cell::Cell;

use anyhow::Result;

use super::bench::{Bench, git};
use super::manifests::changed_goal;
use super::measure::{Sample, in_turn, run, run_and_watch, run_often};
use super::repository::Repository;
use super::table::{Table, time};

/// How often a short program is run for one sample.
const OFTEN: u32 = 10;

/// Nothing to do, next to Git comparing the last two commits.
pub(crate) fn idle(bench: &Bench, table: &mut Table) -> Result<()> {
    let count = bench.large();
    let repository = Repository::of_size(bench, count)?;
    repository.settle(bench)?;
    let commits = repository.status_commits()?;
    let (theirs, own) = in_turn(
        bench.rounds,
        || run_often(OFTEN, || git(&repository.path, &["diff-tree", "-r", "HEAD~1", "HEAD"])),
        || {
            run_often(OFTEN, || {
                let mut command = bench.planspec(&repository.path);
                command.args(["reconcile", "--quiet"]);
                command
            })
        },
    )?;
    anyhow::ensure!(commits == repository.status_commits()?, "there was something to do");
    let work = format!("reconcile, {count} manifests, nothing to do");
    table.ratio(&work, ("git diff-tree", Some(theirs)), own, 2.0);
    Ok(())
}

/// The first reconcile of the large repository: all of it is read, judged and recorded.
pub(crate) fn first(bench: &Bench, table: &mut Table) -> Result<()> {
    let count = bench.large();
    // Never in a kept repository, which has its records already.
    let repository = Repository::of_manifests(&bench.fresh("first"), count)?;
    let own = run_and_watch(bench.planspec(&repository.path).args(["reconcile", "--quiet"]))?;
    let shown = format!("{}, {} of CPU, {} MiB", time(own.wall), time(own.cpu), own.peak / 1024);
    table.row(&format!("the first reconcile of {count} manifests"), "–", &shown, "–", "–", "≤ 40 s of CPU");
    Ok(())
}

/// One changed Goal, next to the same in the small repository.
pub(crate) fn one_goal(bench: &Bench, table: &mut Table) -> Result<()> {
    let edit = Cell::new(seconds());
    let change = |repository: &Repository, count: usize| -> Result<Sample> {
        let mut sum = Sample::default();
        for _ in 0..OFTEN {
            edit.set(edit.get() + 1);
            repository.change(&[changed_goal(edit.get() % (count / 4), edit.get())])?;
            let commits = repository.status_commits()?;
            let sample = run(bench.planspec(&repository.path).args(["reconcile", "--quiet"]))?;
            anyhow::ensure!(repository.status_commits()? > commits, "the change was not seen");
            sum = Sample { wall: sum.wall + sample.wall, cpu: sum.cpu + sample.cpu, peak: 0 };
        }
        Ok(Sample { wall: sum.wall / OFTEN, cpu: sum.cpu / OFTEN, peak: 0 })
    };
    let (small, large) = (bench.small(), bench.large());
    let (few, many) = (Repository::of_size(bench, small)?, Repository::of_size(bench, large)?);
    few.settle(bench)?;
    many.settle(bench)?;
    let (theirs, own) = in_turn(bench.rounds, || change(&few, small), || change(&many, large))?;
    let work = format!("reconcile, {large} manifests, one changed Goal");
    table.ratio(&work, (&format!("ours at {small}"), Some(theirs)), own, 1.5);
    Ok(())
}

/// Edits differ from run to run where repositories are kept.
fn seconds() -> usize {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    usize::try_from(now.as_secs()).unwrap_or(0)
}
