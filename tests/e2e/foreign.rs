//! The functions of the fuzz targets in `fuzz/`, on the stable toolchain: over the committed corpus, and over changes of it that
//! follow from a fixed seed. What a long run of the fuzzers finds becomes a file of the corpus, and is tried here from then on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use planspec::cli::foreign::PARSERS;

/// How many changed inputs each parser gets.
const CHANGES: usize = 400;

/// How long a parser may take for one of them, on a machine that is busy.
const LONGEST: Duration = Duration::from_secs(20);

/// Pieces that mean something to one of the parsers.
const PIECES: [&[u8]; 16] = [
    b"{",
    b"[",
    b"\"",
    b"&a ",
    b"*a",
    b"<<: *a\n",
    b"${{ ",
    b"}}",
    b"\n",
    b"\0",
    b"\xff",
    b"\xe2\x80\xa8",
    b"99999999999999999999",
    b"-1e999",
    b"---\n",
    b"../",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The files of a corpus, in the order of their names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder().join("corpus").join(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Numbers that are the same at every run.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, limit: usize) -> usize {
        // The constants of Knuth's MMIX.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    /// The input with one to six changes: a byte, a piece, a part that is gone, doubled or nested.
    fn change(&mut self, input: &[u8]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..=self.below(6) {
            let at = self.below(bytes.len() + 1);
            let end = (at + self.below(40)).min(bytes.len());
            match self.below(5) {
                0 => bytes.insert(at, u8::try_from(self.below(256)).unwrap()),
                1 => drop(bytes.splice(at..at, PIECES[self.below(PIECES.len())].iter().copied())),
                2 => drop(bytes.drain(at..end)),
                3 => {
                    let part = bytes[at..end].to_vec();
                    drop(bytes.splice(at..at, part));
                }
                _ => {
                    let many = PIECES[self.below(3)].repeat(1 + self.below(2_000));
                    drop(bytes.splice(at..at, many));
                }
            }
        }
        bytes
    }
}

#[test]
fn whatever_strangers_write_is_read_or_refused() {
    for (name, parse) in PARSERS {
        let corpus = corpus(name);
        assert!(!corpus.is_empty(), "{name} has no corpus");
        let mut seeded = Seeded(7);
        let changed = (0..CHANGES).map(|at| seeded.change(&corpus[at % corpus.len()])).collect::<Vec<_>>();
        for input in corpus.iter().chain(&changed) {
            let begun = Instant::now();
            if std::panic::catch_unwind(|| parse(input)).is_err() {
                panic!("{name} fails for {:?}", String::from_utf8_lossy(input));
            }
            assert!(
                begun.elapsed() < LONGEST,
                "{name} takes {:?} for {} bytes",
                begun.elapsed(),
                input.len()
            );
        }
    }
}

#[test]
fn every_parser_has_a_fuzz_target_that_runs() {
    let parsers: BTreeSet<&str> = PARSERS.iter().map(|(name, _)| *name).collect();
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    let workflow = Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/workflows/fuzz.yml");
    let workflow = fs::read_to_string(workflow).unwrap();
    for name in &parsers {
        let target = fs::read_to_string(folder().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(target.contains(&format!("parse(\"{name}\", bytes)")), "{target}");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in fuzz/Cargo.toml");
        assert!(workflow.contains(&format!("- {name}\n")), "{name} is not in fuzz.yml");
    }
    let targets = fs::read_dir(folder().join("fuzz_targets")).unwrap().count();
    assert_eq!(targets, parsers.len());
}
