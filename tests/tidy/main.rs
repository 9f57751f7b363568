//! The rules that the repository keeps besides its behaviour (`ARCHITECTURE.md`, `CONTRIBUTING.md`), each a function
//! over the whole project, and each with a proof in `proofs` that it finds what it is there for.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "all of this is a test: what it cannot read, it reports by failing"
)]

mod boundaries;
mod documents;
mod exceptions;
mod imports;
mod language;
mod licences;
mod paths;
mod project;
mod proofs;
mod reference;
mod settings;
mod sizes;
mod wording;

use crate::exceptions::EXCEPTIONS;
use crate::project::{Finding, Project};

/// A rule: what it asks for, and what finds the places that break it.
type Rule = (&'static str, fn(&Project) -> Vec<Finding>);

const RULES: &[Rule] = &[
    ("imports go downwards", imports::direction),
    ("modules do not import each other in a circle", imports::module_cycles),
    ("files do not import each other in a circle", imports::file_cycles),
    ("files are short", sizes::file_size),
    ("functions are short", sizes::function_size),
    ("names say what is inside", sizes::names),
    ("libraries, environment and processes stay at home", boundaries::reserved),
    ("the pure half does no I/O", boundaries::purity),
    ("the clock is read in one place", boundaries::clock),
    ("the program git is started in one folder", boundaries::git_program),
    ("every file begins with what lives in it", wording::headers),
    ("nothing is unfinished or skipped", wording::unfinished),
    ("production code has no branches for tests", wording::test_branches),
    ("lints are switched off with a reason", wording::reasons),
    ("no file names a place on one machine", wording::machine_paths),
    ("no file names an unknown host", wording::hosts),
    ("every file is compiled", wording::compiled),
    ("a type has one name, and a name one type", language::one_name_one_thing),
    ("references lead somewhere", language::references),
    ("a folder tells its story", language::folder_size),
    ("what happens inside can be watched", language::tracing),
    ("comments say why", language::reasons),
    ("a file is worth opening", language::small_files),
    ("documents name no file that is gone", documents::paths),
    ("documents cite tests that exist", documents::tests),
    ("each point has its test", documents::tested),
    ("every dependency has its line of reason", documents::dependencies),
    ("every dependency is used", documents::idle_dependencies),
    ("every module is on the map", documents::modules),
    ("workflows use only what is pinned", documents::pins),
];

/// One test for all rules, because reading the whole project takes longer than all of them.
#[test]
fn the_project_keeps_its_rules() {
    let project = Project::read();
    let mut broken = String::new();
    for (rule, find) in RULES {
        let (mut standing, needless) = exceptions::judge(rule, find(&project));
        standing.sort();
        let idle = needless.iter().map(|idle| {
            let message = format!("nothing needs the exception for {} ({})", idle.path, idle.about);
            Finding::new("tests/tidy/exceptions.rs", 0, message)
        });
        let all: Vec<Finding> = standing.into_iter().chain(idle).collect();
        if !all.is_empty() {
            let lines: Vec<String> = all.iter().map(|finding| format!("    {finding}\n")).collect();
            broken += &format!("\n{rule}:\n{}", lines.concat());
        }
    }
    assert!(broken.is_empty(), "{broken}");
}

#[test]
fn every_exception_belongs_to_a_rule() {
    for exception in EXCEPTIONS {
        assert!(
            RULES.iter().any(|(rule, _)| *rule == exception.rule),
            "no rule is called {}",
            exception.rule
        );
    }
}
