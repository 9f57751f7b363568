//! Running a program and measuring it: wall time, processor time, memory. Medians of several rounds.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// What one run took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    /// From start to end.
    pub(crate) wall: Duration,
    /// What it and its children used of processors; in steps of 10 ms, as the system counts.
    pub(crate) cpu: Duration,
    /// The most memory that it held, in KiB; 0 where that is not looked at.
    pub(crate) peak: u64,
}

/// Runs to the end and measures. Fails unless the program says that all is well.
pub(crate) fn run(command: &mut Command) -> Result<Sample> {
    let (before, begun) = (children_cpu()?, Instant::now());
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let output = output.with_context(|| format!("cannot run {command:?}"))?;
    let wall = begun.elapsed();
    if !output.status.success() {
        bail!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(Sample { wall, cpu: children_cpu()? - before, peak: 0 })
}

/// Runs it several times in a row; the mean, which for short programs says more than one run.
pub(crate) fn run_often(times: u32, mut command: impl FnMut() -> Command) -> Result<Sample> {
    let mut sum = Sample::default();
    for _ in 0..times {
        let sample = run(&mut command())?;
        sum = Sample { wall: sum.wall + sample.wall, cpu: sum.cpu + sample.cpu, peak: 0 };
    }
    Ok(Sample { wall: sum.wall / times, cpu: sum.cpu / times, peak: 0 })
}

/// Runs it with this input and reads its output to the end.
pub(crate) fn run_with(command: &mut Command, input: &Path) -> Result<Sample> {
    let (before, begun) = (children_cpu()?, Instant::now());
    let file = std::fs::File::open(input)?;
    let mut child = command.stdin(file).stdout(Stdio::piped()).spawn()?;
    let mut output = child.stdout.take().context("no output")?;
    let mut buffer = vec![0; 1 << 16];
    while output.read(&mut buffer)? > 0 {}
    if !child.wait()?.success() {
        bail!("{command:?} failed");
    }
    Ok(Sample { wall: begun.elapsed(), cpu: children_cpu()? - before, peak: 0 })
}

/// As [`run`], and follows how much memory the program holds.
pub(crate) fn run_and_watch(command: &mut Command) -> Result<Sample> {
    let (before, begun) = (children_cpu()?, Instant::now());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let code = loop {
        if let Some(code) = child.try_wait()? {
            break code;
        }
        peak = high_water(&status).unwrap_or(0).max(peak);
        std::thread::sleep(Duration::from_millis(2));
    };
    if !code.success() {
        bail!("{command:?}: {code}");
    }
    Ok(Sample { wall: begun.elapsed(), cpu: children_cpu()? - before, peak })
}

/// `VmHWM`, the most resident memory so far, in KiB.
fn high_water(status: &str) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// What all children that ended used of processors.
fn children_cpu() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    // The name of the program, in brackets, may hold spaces; 13 fields on from it come the children's times.
    let rest = text.rsplit_once(')').context("no times of processes")?.1;
    let ticks = rest.split_whitespace().skip(13).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

/// Starts the same program again and again, one after the other, the way a shell script would.
pub(crate) fn spawn_in_turn(times: usize, program: &str) -> Result<Sample> {
    let (before, begun) = (children_cpu()?, Instant::now());
    for _ in 0..times {
        let status = Command::new(program).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
        if !status.success() {
            bail!("{program}: {status}");
        }
    }
    Ok(Sample { wall: begun.elapsed(), cpu: children_cpu()? - before, peak: 0 })
}

/// Runs a program that must succeed, with input.
pub(crate) fn feed(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("no input")?;
    let output = std::thread::scope(|scope| -> Result<std::process::Output> {
        let writer = scope.spawn(move || stdin.write_all(input));
        let output = child.wait_with_output()?;
        writer.join().ok().context("the input was not taken")??;
        Ok(output)
    })?;
    if !output.status.success() {
        bail!("{command:?}: {}", output.status);
    }
    Ok(output.stdout)
}

/// The middle of several samples: of wall times, of processor times and of peaks, each by itself.
pub(crate) fn median(samples: &[Sample]) -> Sample {
    let middle = |mut all: Vec<Duration>| {
        all.sort_unstable();
        all[all.len() / 2]
    };
    Sample {
        wall: middle(samples.iter().map(|sample| sample.wall).collect()),
        cpu: middle(samples.iter().map(|sample| sample.cpu).collect()),
        peak: samples.iter().map(|sample| sample.peak).max().unwrap_or(0),
    }
}

/// Measures two works in turn, round after round, so that whatever else the machine does meets both.
pub(crate) fn in_turn(
    rounds: usize,
    mut peer: impl FnMut() -> Result<Sample>,
    mut ours: impl FnMut() -> Result<Sample>,
) -> Result<(Sample, Sample)> {
    let (mut theirs, mut own) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        theirs.push(peer()?);
        own.push(ours()?);
    }
    Ok((median(&theirs), median(&own)))
}
