//! Executions of many small tasks, from an empty status branch to the end.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::bench::{Bench, hermetic};
use super::manifests::tasks as manifests_of;
use super::measure::{Sample, in_turn, run, spawn_in_turn};
use super::repository::Repository;
use super::table::{Table, time};

const TASKS: usize = 2_000;
const CHAIN: usize = 1_000;

/// Independent tasks, next to ninja; without and with a checkout for each of them.
pub(crate) fn tasks(bench: &Bench, table: &mut Table) -> Result<()> {
    let folder = bench.scratch().join("ninja");
    std::fs::create_dir_all(&folder)?;
    let edges: String = (0..TASKS).map(|number| format!("build t{number}: run\n")).collect();
    std::fs::write(folder.join("build.ninja"), format!("rule run\n  command = true\n{edges}"))?;
    let ninja = || hermetic("ninja", &folder);
    let there = ninja().arg("--version").output().is_ok_and(|output| output.status.success());
    for (checkout, also) in [(false, ""), (true, ", each in a checkout")] {
        let (theirs, own) = in_turn(
            bench.rounds,
            || if there { run(ninja().arg("-j2")) } else { Ok(Sample::default()) },
            || drive(bench, TASKS, false, checkout),
        )?;
        let work = format!("{TASKS} tasks{also}");
        table.ratio(&work, ("ninja -j2", there.then_some(theirs)), own, 1.5);
    }
    Ok(())
}

/// A chain, next to starting the same programs in turn.
pub(crate) fn chain(bench: &Bench, table: &mut Table) -> Result<()> {
    let (theirs, own) =
        in_turn(bench.rounds, || spawn_in_turn(CHAIN, "true"), || drive(bench, CHAIN, true, false))?;
    let on_top = |ours: Duration, theirs: Duration| {
        let span = ours.saturating_sub(theirs) / u32::try_from(CHAIN).unwrap_or(1);
        format!("+{:.2} ms a node", span.as_secs_f64() * 1e3)
    };
    let peer = format!("{CHAIN} spawns: {}", time(theirs.wall));
    let (ratio, of_cpu) = (on_top(own.wall, theirs.wall), on_top(own.cpu, theirs.cpu));
    table.row(&format!("a chain of {CHAIN} tasks"), &peer, &time(own.wall), &ratio, &of_cpu, "≤ 5 ms");
    Ok(())
}

/// Drives a new repository to the end, and checks that the status branch says so of every node.
fn drive(bench: &Bench, count: usize, chained: bool, checkout: bool) -> Result<Sample> {
    // A new place each time: a file system takes its time with files where others were removed a moment ago.
    let path = bench.fresh("driven");
    let repository = Repository::of_files(&path, &manifests_of(count, chained, checkout))?;
    let sample = run(bench.planspec(&path).args(["reconcile", "--quiet", "--jobs", "2"]))?;
    // Whole, as a person sees it: on the branch, a large record is in parts.
    let shown =
        bench.planspec(&path).args(["get", "execution/many", "-n", "bench", "-o", "yaml"]).output()?;
    let record = String::from_utf8(shown.stdout)?;
    let done = record.lines().filter(|line| line.trim() == "phase: Succeeded").count();
    ensure!(done == count + 1, "{done} of {} phases are Succeeded", count + 1);
    eprintln!("    {} in {} commits", time(sample.wall), repository.status_commits()?);
    Ok(sample)
}
