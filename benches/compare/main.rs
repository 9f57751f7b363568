//! The figures of planspec next to those of its peers, measured in turn in one run: `cargo bench --bench compare`.
//! No test, and no judge: it prints a table. `docs/benchmarks.md` explains the rows and how to read them.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints a table")]
#![allow(clippy::disallowed_methods, reason = "a program of its own, with its own environment")]
#![allow(clippy::indexing_slicing, reason = "its own lists, of known lengths")]

mod bench;
mod graphs;
mod growth;
mod manifests;
mod measure;
mod reconciles;
mod remotes;
mod repository;
mod table;
mod validates;
mod workspaces;

use anyhow::Result;

use self::bench::Bench;
use self::table::Table;

/// One line of the table or more.
type Work = fn(&Bench, &mut Table) -> Result<()>;

fn main() -> Result<()> {
    let bench = Bench::from_arguments(std::env::args().skip(1))?;
    let mut table = Table::default();
    let works: [(&str, Work); 16] = [
        ("validate-files", validates::files),
        ("validate-commit", validates::commit),
        ("idle", reconciles::idle),
        ("one-goal", reconciles::one_goal),
        ("tasks", graphs::tasks),
        ("chain", graphs::chain),
        ("dbos", graphs::dbos),
        ("chain-length", graphs::chain_length),
        ("wide", graphs::wide),
        ("largest", graphs::largest),
        ("workspaces", workspaces::chain),
        ("first", reconciles::first),
        ("remote-chain", remotes::chain),
        ("remote-many", remotes::many),
        ("runners", remotes::runners),
        ("year", growth::year),
    ];
    for (name, work) in works {
        if bench.wants(name) {
            eprintln!("{name} …");
            work(&bench, &mut table)?;
        }
    }
    println!("{table}");
    Ok(())
}
