//! What a year of work leaves behind: at the remote, in the clone of a runner that stays, and for one that begins.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::bench::{Bench, git};
use super::graphs::bytes_below;
use super::manifests::{File, chains};
use super::measure::run;
use super::repository::Repository;
use super::table::{Table, time};

/// Executions that are added one a pass, each of which ends within it.
const EXECUTIONS: usize = 10_000;
/// A year takes less than one, so nothing of the budget for pushes is kept.
const CONFIG: &str = "publish: {burst: 1000000, perMinute: 1000000}\n";

/// A simulated year on a remote.
pub(crate) fn year(bench: &Bench, table: &mut Table) -> Result<()> {
    let count = bench.scaled(EXECUTIONS);
    let source = Repository::of_files(&bench.fresh("source"), &chains(0, 2, "true", CONFIG))?;
    let (bare, clone) = (bench.fresh("bare"), bench.fresh("runner"));
    let in_scratch = |arguments: &[&str]| git(bench.scratch(), arguments);
    run(in_scratch(&["clone", "--quiet", "--bare"]).args([&source.path, &bare]))?;
    run(in_scratch(&["clone", "--quiet"]).args([&bare, &clone]))?;
    let remote = Repository { path: bare.clone() };
    let begun = Instant::now();
    for number in 0..count {
        remote.change(&[execution(number)])?;
        run(bench.planspec(&clone).args(["reconcile", "--quiet"]))?;
    }
    let took = begun.elapsed();
    ensure!(remote.status_commits()? >= count, "not every Execution ran");
    // What a host does by itself; a runner that stays packs what it wrote.
    run(&mut git(&bare, &["gc", "--quiet"]))?;
    let (there, kept) = (bytes_below(&bare)?, bytes_below(&clone.join(".git"))?);
    let fresh_runner = |name: &str| -> Result<Duration> {
        let fresh = bench.fresh(name);
        let begun = Instant::now();
        run(in_scratch(&["clone", "--quiet", "--depth", "1"])
            .arg(format!("file://{}", bare.display()))
            .arg(&fresh))?;
        run(bench.planspec(&fresh).args(["reconcile", "--quiet"]))?;
        Ok(begun.elapsed())
    };
    let ready = fresh_runner("fresh")?;
    // As somebody does who keeps the history of a while.
    run(bench.planspec(&clone).args(["gc", "--older-than", "5m"]))?;
    run(&mut git(&bare, &["gc", "--quiet", "--prune=now"]))?;
    let ready_after_gc = fresh_runner("fresh-after-gc")?;
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let work = format!("a year: {count} Executions, one a pass");
    let shown = format!(
        "{} at the remote, {} in the clone, a fresh shallow runner in {}, after `planspec gc` in {}",
        mib(there),
        mib(kept),
        time(ready),
        time(ready_after_gc)
    );
    table.row(&work, &format!("all passes: {}", time(took)), &shown, "–", "–", "≤ 200 MB, ≤ 2 s");
    Ok(())
}

fn execution(number: usize) -> File {
    let content = format!(
        "apiVersion: planspec.io/v1alpha1\nkind: Execution\nmetadata:\n  name: y{number:05}\n  namespace: bench\nspec:\n  \
         planRef:\n    name: chain\n  bindingRef:\n    name: chain\n"
    );
    File { path: format!("year/{:03}/y{number:05}.yaml", number / 100), content }
}
