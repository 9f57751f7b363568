//! Executions of many small tasks, from an empty status branch to the end.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::bench::{Bench, hermetic};
use super::manifests::{File, Shape, tasks as manifests_of};
use super::measure::{Sample, in_turn, run, run_and_watch, spawn_in_turn};
use super::repository::Repository;
use super::table::{Table, time};

const TASKS: usize = 2_000;
const CHAIN: usize = 1_000;

/// How chains are driven: as users get it, and with a commit for each task before it starts.
const MODES: [(&str, &str); 2] = [("", ""), (", each start published", "publish: {mode: strict}\n")];

/// Independent tasks, next to ninja; without and with a checkout for each of them.
pub(crate) fn tasks(bench: &Bench, table: &mut Table) -> Result<()> {
    let folder = bench.scratch().join("ninja");
    std::fs::create_dir_all(&folder)?;
    let edges: String = (0..TASKS).map(|number| format!("build t{number}: run\n")).collect();
    std::fs::write(folder.join("build.ninja"), format!("rule run\n  command = true\n{edges}"))?;
    let ninja = || hermetic("ninja", &folder);
    let there = ninja().arg("--version").output().is_ok_and(|output| output.status.success());
    for (checkout, also, wanted) in [(false, "", 1.3), (true, ", each in a checkout", 1.5)] {
        let (theirs, own) = in_turn(
            bench.rounds,
            || if there { run(ninja().arg("-j2")) } else { Ok(Sample::default()) },
            || drive(bench, &manifests_of(TASKS, Shape::Wide, checkout), TASKS),
        )?;
        let work = format!("{TASKS} tasks{also}");
        table.ratio(&work, ("ninja -j2", there.then_some(theirs)), own, wanted);
    }
    Ok(())
}

/// A chain, next to starting the same programs in turn.
pub(crate) fn chain(bench: &Bench, table: &mut Table) -> Result<()> {
    let files = manifests_of(CHAIN, Shape::Chain, false);
    let (theirs, own) =
        in_turn(bench.rounds, || spawn_in_turn(CHAIN, "true"), || drive(bench, &files, CHAIN))?;
    let on_top = |ours: Duration, theirs: Duration| {
        let span = ours.saturating_sub(theirs) / u32::try_from(CHAIN).unwrap_or(1);
        format!("+{:.2} ms a node", span.as_secs_f64() * 1e3)
    };
    let peer = format!("{CHAIN} spawns: {}", time(theirs.wall));
    let (ratio, of_cpu) = (on_top(own.wall, theirs.wall), on_top(own.cpu, theirs.cpu));
    table.row(&format!("a chain of {CHAIN} tasks"), &peer, &time(own.wall), &ratio, &of_cpu, "≤ 5 ms");
    Ok(())
}

/// What DBOS is asked to do: a workflow of so many steps, each of which starts `true`, on SQLite. The time that it prints begins after
/// the start of the interpreter and of DBOS.
const STEPS: &str = r#"
import subprocess, sys, time
from dbos import DBOS
DBOS(config={"name": "chain", "system_database_url": "sqlite:///chain.sqlite", "log_level": "ERROR"})
@DBOS.step()
def step(number):
    subprocess.run(["true"], check=True)
@DBOS.workflow()
def chain(count):
    for number in range(count):
        step(number)
    return count
DBOS.launch()
begun = time.monotonic()
assert chain(int(sys.argv[1])) == int(sys.argv[1])
print(time.monotonic() - begun, flush=True)
DBOS.destroy()
"#;

/// A chain, next to a workflow of as many steps that DBOS keeps in SQLite.
pub(crate) fn dbos(bench: &Bench, table: &mut Table) -> Result<()> {
    let count = bench.scaled(CHAIN);
    let peer = || -> Result<Sample> {
        let Some(python) = bench.dbos() else { return Ok(Sample::default()) };
        let folder = bench.fresh("dbos");
        std::fs::create_dir_all(&folder)?;
        let output = hermetic(python, &folder).args(["-c", STEPS, &count.to_string()]).output()?;
        let printed = String::from_utf8(output.stdout)?;
        let seconds =
            printed.trim().parse().with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        // Its start is no part of the figure, so the time of processors, which counts it, is left out.
        Ok(Sample { wall: Duration::from_secs_f64(seconds), ..Sample::default() })
    };
    for (also, config) in MODES {
        let files = with_config(manifests_of(count, Shape::Chain, false), config);
        let (theirs, own) = in_turn(bench.rounds, peer, || drive(bench, &files, count))?;
        let theirs = bench.dbos().map(|_| theirs);
        table.ratio(&format!("a chain of {count} tasks{also}"), ("DBOS on SQLite", theirs), own, 0.7);
    }
    Ok(())
}

/// A long chain next to a short one: what a node costs must not grow with the plan.
pub(crate) fn chain_length(bench: &Bench, table: &mut Table) -> Result<()> {
    for (also, config) in MODES {
        chain_lengths(bench, table, also, config)?;
    }
    Ok(())
}

fn chain_lengths(bench: &Bench, table: &mut Table, also: &str, config: &str) -> Result<()> {
    let (few, many) = (bench.scaled(500), bench.scaled(2_000));
    let driven = |count: usize| -> Result<(Sample, u64)> {
        let files = with_config(manifests_of(count, Shape::Chain, false), config);
        let path = bench.fresh("driven");
        Ok((drive_in(bench, &path, &files, count)?, bytes_below(&path.join(".git/objects"))?))
    };
    let (short, short_bytes) = driven(few)?;
    let (long, long_bytes) = driven(many)?;
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
        &format!("a chain of {many} tasks{also}"),
        &format!("ours of {few}: {}", shown(few, short, short_bytes)),
        &shown(many, long, long_bytes),
        &ratio,
        &format!("{:.2}", long.cpu.as_secs_f64() / many as f64 / (short.cpu.as_secs_f64() / few as f64)),
        "≤ 1.3 and 1.5",
    );
    Ok(())
}

/// Plans of very many tasks, next to ninja, and the memory that they take: independent ones, and ones in layers of a hundred, each of
/// which waits for two of the layer before.
pub(crate) fn wide(bench: &Bench, table: &mut Table) -> Result<()> {
    let count = bench.scaled(10_000);
    for (shape, also) in [(Shape::Wide, ""), (Shape::Layers, " in layers")] {
        let folder = bench.fresh("ninja");
        std::fs::create_dir_all(&folder)?;
        let edges: String = (0..count)
            .map(|number| {
                let before: String = shape.before(number).map(|before| format!(" t{before}")).collect();
                format!("build t{number}: run{before}\n")
            })
            .collect();
        std::fs::write(folder.join("build.ninja"), format!("rule run\n  command = true\n{edges}"))?;
        let theirs = run(hermetic("ninja", &folder).arg("-j2")).ok();
        let own = watched(bench, count, shape)?;
        let work = format!("a plan of {count} tasks{also}");
        table.ratio(&work, ("ninja -j2", theirs), own, 1.5);
        table.row(&format!("{work}: memory"), "–", &peak(own), "–", "–", "≤ 300 MiB");
    }
    Ok(())
}

/// The largest plan, once: that it ends, and in how much memory.
pub(crate) fn largest(bench: &Bench, table: &mut Table) -> Result<()> {
    let count = bench.scaled(100_000);
    let own = watched(bench, count, Shape::Layers)?;
    let work = format!("a plan of {count} tasks in layers");
    table.row(&work, "–", &format!("{}, {}", time(own.wall), peak(own)), "–", "–", "it ends, ≤ 2 GiB");
    Ok(())
}

fn peak(sample: Sample) -> String {
    format!("{} MiB", sample.peak / 1024)
}

/// Drives a plan of so many tasks to its end, and follows the memory that this takes.
fn watched(bench: &Bench, count: usize, shape: Shape) -> Result<Sample> {
    let path = bench.fresh("driven");
    // A plan of this size is a file of more than 1 MiB.
    let files = with_config(manifests_of(count, shape, false), "limits: {fileBytes: 67108864}\n");
    Repository::of_files(&path, &files)?;
    run_and_watch(bench.planspec(&path).args(["reconcile", "--quiet", "--jobs", "2"]))
}

/// The size of all files below a folder.
pub(crate) fn bytes_below(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata()?;
        sum += if found.is_dir() { bytes_below(&entry.path())? } else { found.len() };
    }
    Ok(sum)
}

/// The same files and a configuration, unless it is empty.
fn with_config(mut files: Vec<File>, config: &str) -> Vec<File> {
    if !config.is_empty() {
        files.push(File { path: ".planspec.yaml".to_owned(), content: config.to_owned() });
    }
    files
}

/// Drives a new repository to the end, and checks that the status branch says so of each of its `count` nodes.
fn drive(bench: &Bench, files: &[File], count: usize) -> Result<Sample> {
    // A new place each time: a file system takes its time with files where others were removed a moment ago.
    drive_in(bench, &bench.fresh("driven"), files, count)
}

/// The same in this place.
fn drive_in(bench: &Bench, path: &Path, files: &[File], count: usize) -> Result<Sample> {
    let repository = Repository::of_files(path, files)?;
    let sample = run(bench.planspec(path).args(["reconcile", "--quiet", "--jobs", "2"]))?;
    // Whole, as a person sees it: on the branch, a large record is in parts.
    let shown = bench.planspec(path).args(["get", "execution/many", "-n", "bench", "-o", "yaml"]).output()?;
    let record = String::from_utf8(shown.stdout)?;
    let done = record.lines().filter(|line| line.trim() == "phase: Succeeded").count();
    ensure!(done == count + 1, "{done} of {} phases are Succeeded", count + 1);
    eprintln!("    {} in {} commits", time(sample.wall), repository.status_commits()?);
    Ok(sample)
}
