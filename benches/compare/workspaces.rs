//! Tasks in workspaces of a large repository: the first, which has to be made, and those that find it again.

use anyhow::{Result, ensure};

use super::bench::{Bench, git};
use super::manifests::{File, Shape, tasks};
use super::measure::{Sample, in_turn, run, run_often};
use super::repository::Repository;
use super::table::{Table, time};

/// The tasks of the chain.
const TASKS: usize = 8;
/// How many tasks follow the first one where the later ones are measured.
const LATER: usize = 20;

/// A chain of tasks, each in a workspace, next to one `git worktree add`; and what another task on top costs next to `git status`.
pub(crate) fn chain(bench: &Bench, table: &mut Table) -> Result<()> {
    let files = bench.scaled(20_000);
    let drive = |count: usize| -> Result<Sample> {
        let repository = made(bench, files, count)?;
        let sample = run(bench.planspec(&repository.path).args(["reconcile", "--quiet", "--jobs", "2"]))?;
        ensure!(repository.status_commits()? >= count, "not every task ran");
        Ok(sample)
    };
    let peer = made(bench, files, 1)?;
    let worktree = || {
        let place = bench.fresh("worktree");
        run(git(&peer.path, &["worktree", "add", "--quiet", "--detach"]).arg(place))
    };
    let (theirs, own) = in_turn(bench.rounds, worktree, || drive(TASKS))?;
    table.ratio(&format!("{TASKS} tasks in {files} files"), ("git worktree add", Some(theirs)), own, 3.0);
    // By difference, and of several, as one of them is shorter than the rest of a run.
    let (first, all) = in_turn(bench.rounds, || drive(1), || drive(1 + LATER))?;
    let later = all.wall.saturating_sub(first.wall) / u32::try_from(LATER).unwrap_or(1);
    let status = run_often(10, || git(&peer.path, &["status", "--porcelain"]))?;
    let ratio = format!("{:.2}", later.as_secs_f64() / status.wall.as_secs_f64());
    let work = format!("each later task in {files} files");
    table.row(&work, &format!("git status: {}", time(status.wall)), &time(later), &ratio, "–", "≤ 1.5");
    Ok(())
}

/// A repository of so many files with a chain of tasks that work in it.
fn made(bench: &Bench, files: usize, count: usize) -> Result<Repository> {
    let mut all = tasks(count, Shape::Chain, true);
    all.extend((0..files).map(|number| File {
        path: format!("src/part-{:03}/file-{number:05}.txt", number / 100),
        content: format!("file {number}\n").repeat(20),
    }));
    let repository = Repository::of_files(&bench.fresh("workspaces"), &all)?;
    repository.pack_and_check_out()?;
    Ok(repository)
}
