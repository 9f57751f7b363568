//! Executions of many small tasks, from an empty status branch to the end.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::bench::{Bench, hermetic};
use super::manifests::{File, tasks as manifests_of};
use super::measure::{Sample, in_turn, run, run_and_watch, spawn_in_turn};
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

/// A long chain next to a short one: what a node costs must not grow with the plan.
pub(crate) fn chain_length(bench: &Bench, table: &mut Table) -> Result<()> {
    let (few, many) = (bench.scaled(500), bench.scaled(2_000));
    let drive = |count: usize| -> Result<(Sample, u64)> {
        let path = bench.fresh("driven");
        let repository = Repository::of_files(&path, &manifests_of(count, true, false))?;
        let sample = run(bench.planspec(&path).args(["reconcile", "--quiet", "--jobs", "2"]))?;
        let done = repository.status_commits()?;
        ensure!(done > count / 2, "{done} commits for {count} nodes");
        Ok((sample, bytes_below(&path.join(".git/objects"))?))
    };
    let (short, short_bytes) = drive(few)?;
    let (long, long_bytes) = drive(many)?;
    let each = |sample: Sample, count: usize| sample.wall.as_secs_f64() * 1e3 / count as f64;
    let bytes = |bytes: u64, count: usize| bytes as f64 / count as f64 / 1024.0;
    let shown = |count: usize, sample: Sample, size: u64| {
        format!("{:.2} ms and {:.1} KiB a node", each(sample, count), bytes(size, count))
    };
    let ratio = format!(
        "{:.2} and {:.2}",
        each(long, many) / each(short, few),
        bytes(long_bytes, many) / bytes(short_bytes, few)
    );
    table.row(
        &format!("a chain of {many} tasks"),
        &format!("ours of {few}: {}", shown(few, short, short_bytes)),
        &shown(many, long, long_bytes),
        &ratio,
        &format!("{:.2}", long.cpu.as_secs_f64() / many as f64 / (short.cpu.as_secs_f64() / few as f64)),
        "≤ 1.3 and 1.5",
    );
    Ok(())
}

/// One plan of very many independent tasks, next to ninja, and the memory that it takes.
pub(crate) fn wide(bench: &Bench, table: &mut Table) -> Result<()> {
    let count = bench.scaled(10_000);
    let folder = bench.fresh("ninja");
    std::fs::create_dir_all(&folder)?;
    let edges: String = (0..count).map(|number| format!("build t{number}: run\n")).collect();
    std::fs::write(folder.join("build.ninja"), format!("rule run\n  command = true\n{edges}"))?;
    let theirs = run(hermetic("ninja", &folder).arg("-j2")).ok();
    let path = bench.fresh("driven");
    let mut files = manifests_of(count, false, false);
    // A plan of this size is a file of more than 1 MiB.
    let content = "limits: {fileBytes: 67108864}\n".to_owned();
    files.push(File { path: ".planspec.yaml".to_owned(), content });
    Repository::of_files(&path, &files)?;
    let own = run_and_watch(bench.planspec(&path).args(["reconcile", "--quiet", "--jobs", "2"]))?;
    table.ratio(&format!("a plan of {count} tasks"), ("ninja -j2", theirs), own, 1.5);
    let peak = format!("{} MiB", own.peak / 1024);
    table.row(&format!("a plan of {count} tasks: memory"), "–", &peak, "–", "–", "≤ 300 MiB");
    Ok(())
}

/// The size of all files below a folder.
fn bytes_below(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata()?;
        sum += if found.is_dir() { bytes_below(&entry.path())? } else { found.len() };
    }
    Ok(sum)
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
