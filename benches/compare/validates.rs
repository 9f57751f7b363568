//! `planspec validate`: of files, the same again, and of a commit.

use anyhow::Result;

use super::bench::{Bench, git};
use super::measure::{Sample, in_turn, run, run_and_watch, run_with};
use super::repository::Repository;
use super::table::Table;

/// Files of a working tree, next to the published CLI, which checks schemas only.
pub(crate) fn files(bench: &Bench, table: &mut Table) -> Result<()> {
    let count = bench.middle();
    let repository = Repository::of_size(bench, count)?;
    let peer = || {
        let Some(mut peer) = bench.peer(&repository.path) else { return Ok(Sample::default()) };
        run(peer.args(["validate", "-R", "-d", "teams"]))
    };
    let ours = || run(bench.planspec(&repository.path).args(["validate", "--quiet"]));
    let there = bench.peer(&repository.path).is_some();
    let named = |theirs: Sample| ("planspec 0.1.0", there.then_some(theirs));
    ours()?;
    let (theirs, own) = in_turn(bench.rounds, peer, || {
        repository.forget()?;
        ours()
    })?;
    table.ratio(&format!("validate, {count} files"), named(theirs), own, 0.6);
    let (theirs, own) = in_turn(bench.rounds, peer, ours)?;
    table.ratio(&format!("validate, {count} files, again"), named(theirs), own, 0.2);
    Ok(())
}

/// Every document of a commit, next to Git reading the same blobs.
pub(crate) fn commit(bench: &Bench, table: &mut Table) -> Result<()> {
    let count = bench.large();
    let repository = Repository::of_size(bench, count)?;
    let listed = git(&repository.path, &["ls-tree", "-r", "--object-only", "HEAD"]).output()?;
    let ids = bench.scratch().join("ids");
    std::fs::write(&ids, listed.stdout)?;
    let (theirs, own) = in_turn(
        bench.rounds.min(3),
        || run_with(&mut git(&repository.path, &["cat-file", "--batch"]), &ids),
        || {
            repository.forget()?;
            run_and_watch(bench.planspec(&repository.path).args(["validate", "--quiet", "--ref", "HEAD"]))
        },
    )?;
    let work = format!("validate, {count} documents of a commit");
    table.ratio(&work, ("git cat-file --batch", Some(theirs)), own, 5.0);
    let peak = format!("{} MB", own.peak / 1024);
    table.row(&format!("{work}: memory"), "–", &peak, "–", "–", "≤ 400 MB");
    Ok(())
}
