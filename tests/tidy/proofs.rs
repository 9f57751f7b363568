//! Each rule finds what it is there for, shown on a few lines that break it and, beside them, on lines that do not.

use crate::project::{Finding, Project};
use crate::{boundaries, documents, imports, language, sizes, wording};

fn find(rule: fn(&Project) -> Vec<Finding>, files: &[(&str, &str)]) -> Vec<String> {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
    rule(&Project::of(files)).into_iter().map(|found| found.to_string()).collect()
}

fn check_finds(rule: fn(&Project) -> Vec<Finding>, files: &[(&str, &str)], expected: &[&str]) {
    assert_eq!(find(rule, files), expected);
}

#[test]
fn an_import_upwards_is_found_wherever_it_stands() {
    let lib = ("src/lib.rs", "mod model; mod git; mod record;");
    let git = ("src/git/mod.rs", "pub struct Repo;");
    let expected = |line: usize| format!("src/model/mod.rs:{line}: `model` may not import `git`");
    for (line, text) in [
        (1, "use crate::git::Repo;"),
        (1, "use crate::{record, git::{self, Repo}};"),
        (2, "\nfn f() -> crate::git::Repo { todo() }"),
        (1, "fn f() { println!(\"{:?}\", crate::git::Repo); }"),
        (2, "fn f() {\n super::git::call(); }"),
        (1, "#[derive(with = crate::git::Repo)] struct S;"),
    ] {
        let found = find(imports::direction, &[lib, git, ("src/model/mod.rs", text)]);
        assert!(found.contains(&expected(line)), "{text}: {found:?}");
    }
    check_finds(
        imports::direction,
        &[lib, ("src/model/mod.rs", ""), ("src/git/mod.rs", "use crate::model::X;")],
        &[],
    );
}

#[test]
fn what_tests_import_does_not_count() {
    let tests = "#[cfg(test)]\nmod tests { use crate::git::Repo; }\n";
    check_finds(imports::direction, &[("src/model/mod.rs", tests), ("src/git/mod.rs", "")], &[]);
    let declared = [
        ("src/model/mod.rs", "#[cfg(test)]\nmod samples;\n"),
        ("src/model/samples.rs", "use crate::git::Repo;"),
        ("src/git/mod.rs", ""),
    ];
    check_finds(imports::direction, &declared, &[]);
}

#[test]
fn a_module_outside_of_the_list_is_found() {
    let files = [("src/extra/mod.rs", "use crate::model::X;"), ("src/model/mod.rs", "")];
    let expected = "src/extra/mod.rs:1: `extra` has no place in the list of modules (tests/tidy/imports.rs)";
    check_finds(imports::direction, &files, &[expected]);
}

#[test]
fn circles_are_found_through_names_that_are_passed_on() {
    let parent = ("src/model/mod.rs", "mod a; mod b; pub use a::A; pub use b::B;");
    let circle = [parent, ("src/model/a.rs", "use super::B;"), ("src/model/b.rs", "use crate::model::A;")];
    let expected = "src/model/a.rs:1: import cycle: model::a → model::b → model::a";
    check_finds(imports::file_cycles, &circle, &[expected]);
    let line = [parent, ("src/model/a.rs", "use super::B;"), ("src/model/b.rs", "pub struct B;")];
    check_finds(imports::file_cycles, &line, &[]);
    let modules = [
        ("src/run/mod.rs", "use crate::plan::P;"),
        ("src/plan/x.rs", "use crate::run::R;"),
        ("src/plan/mod.rs", "mod x; pub use x::P;"),
    ];
    let expected = "src/plan/x.rs:1: import cycle: plan → run → plan";
    check_finds(imports::module_cycles, &modules, &[expected]);
}

#[test]
fn long_files_and_functions_are_found() {
    let lines = |count: usize| "const _: () = ();\n".repeat(count);
    let tests = "#[cfg(test)]\nmod tests {\n".to_owned() + &lines(500) + "}\n";
    check_finds(sizes::file_size, &[("src/model/a.rs", &(lines(400) + &tests))], &[]);
    check_finds(sizes::file_size, &[("src/model/a.rs", &(lines(400) + "// Because.\n" + &tests))], &[]);
    let expected = "src/model/a.rs: 401 lines before its tests; 400 are enough: split it";
    check_finds(sizes::file_size, &[("src/model/a.rs", &(lines(401) + &tests))], &[expected]);

    let function = |inside: usize| format!("struct S;\nimpl S {{\nfn f() {{\n{}}}\n}}\n", lines(inside));
    check_finds(sizes::function_size, &[("src/model/a.rs", &function(58))], &[]);
    let explained = function(58).replacen("\n", "\n// Because.\n", 2);
    check_finds(sizes::function_size, &[("src/model/a.rs", &explained)], &[]);
    let expected = "src/model/a.rs:3: `f` has 61 lines; 60 are enough: split it";
    check_finds(sizes::function_size, &[("src/model/a.rs", &function(59))], &[expected]);
}

#[test]
fn empty_names_are_found() {
    let files = [("src/git/utils.rs", ""), ("tests/common/mod.rs", ""), ("src/git/commonly.rs", "")];
    let found = find(sizes::names, &files);
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn reserved_things_are_found_elsewhere_and_allowed_at_home() {
    for (home, text) in [
        ("src/git/a.rs", "use git2::Repository;"),
        ("src/index/a.rs", "fn f(d: redb::Database) {}"),
        ("src/config/a.rs", "fn f() { std::env::var(\"HOME\"); }"),
        ("src/provider/process/child.rs", "use std::process::{Command, Stdio};"),
        ("src/cli/a.rs", "use clap::Parser;"),
    ] {
        check_finds(boundaries::reserved, &[(home, text)], &[]);
        assert_eq!(find(boundaries::reserved, &[("src/engine/a.rs", text)]).len(), 1, "{text}");
    }
}

#[test]
fn io_and_async_are_found_in_the_pure_half_only() {
    for text in ["use std::fs;", "fn f() { tokio::spawn(x); }", "async fn f() {}", "fn f() { async { 1 }; }"]
    {
        assert_eq!(find(boundaries::purity, &[("src/plan/a.rs", text)]).len(), 1, "{text}");
        check_finds(boundaries::purity, &[("src/engine/a.rs", text)], &[]);
    }
}

#[test]
fn readings_of_the_clock_are_found() {
    for text in [
        "fn f() { Timestamp::now(); }",
        "fn f() { jiff::Timestamp::now(); }",
        "fn f() { g(SystemTime::now) }",
    ] {
        assert_eq!(find(boundaries::clock, &[("src/engine/a.rs", text)]).len(), 1, "{text}");
        check_finds(boundaries::clock, &[("src/engine/clock.rs", text)], &[]);
    }
}

#[test]
fn the_program_git_is_found() {
    for text in
        ["fn f() { Command::new(\"git\"); }", "fn f() { std::process::Command::new(\"/usr/bin/git\"); }"]
    {
        assert_eq!(find(boundaries::git_program, &[("src/cli/a.rs", text)]).len(), 1, "{text}");
        check_finds(boundaries::git_program, &[("src/git/a.rs", text)], &[]);
    }
    check_finds(boundaries::git_program, &[("src/cli/a.rs", "fn f() { Command::new(\"gitk\"); }")], &[]);
}

#[test]
fn missing_headers_are_found() {
    let found = find(
        wording::headers,
        &[("src/a.rs", "use x;"), ("tests/e2e/b.rs", "//!\n"), ("src/c.rs", "//! What lives here.")],
    );
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn unfinished_work_and_skipped_tests_are_found() {
    let mark = ["TO", "DO"].concat();
    for text in [
        "fn f() { todo!() }",
        "fn f() { unimplemented!() }",
        "#[ignore]\nfn f() {}",
        &format!("// {mark}: later"),
    ] {
        assert_eq!(find(wording::unfinished, &[("tests/e2e/a.rs", text)]).len(), 1, "{text}");
    }
}

#[test]
fn branches_for_tests_are_found() {
    let branch = "fn f() { if cfg!(test) { } }";
    let attribute = "fn f() { #[cfg(test)] let x = 1; }";
    for text in [branch, attribute] {
        assert_eq!(find(wording::test_branches, &[("src/a.rs", text)]).len(), 1, "{text}");
    }
    check_finds(
        wording::test_branches,
        &[("src/a.rs", "#[cfg(test)]\nmod tests {}\n#[cfg(unix)]\nfn f() {}")],
        &[],
    );
}

#[test]
fn lints_without_a_reason_are_found() {
    let given = "#[allow(dead_code, reason = \"why\")]\nfn f() {}";
    let missing = "#[allow(dead_code)]\nfn f() {}";
    check_finds(wording::reasons, &[("src/a.rs", given)], &[]);
    assert_eq!(find(wording::reasons, &[("src/a.rs", missing)]).len(), 1);
}

#[test]
fn places_on_one_machine_and_unknown_hosts_are_found() {
    let place = ["see /wo", "rk/main"].concat();
    assert_eq!(find(wording::machine_paths, &[("docs/a.md", &place)]).len(), 1);
    check_finds(
        wording::machine_paths,
        &[("docs/a.md", "as in network/root/cause, or homework/here, or /home/wendy/demo")],
        &[],
    );
    let host = ["https", "://mirror.corp.internal/index"].concat();
    assert_eq!(find(wording::hosts, &[("a.toml", &host)]).len(), 1);
    check_finds(wording::hosts, &[("a.md", "https://docs.github.com/x and http://127.0.0.1:80")], &[]);
}

#[test]
fn files_that_nobody_names_are_found() {
    let files =
        [("src/lib.rs", "pub mod a;"), ("src/a/mod.rs", "mod b;"), ("src/a/b.rs", ""), ("src/a/c.rs", "")];
    check_finds(
        wording::compiled,
        &files,
        &["src/a/c.rs: no parent has a line `mod c;`, so it is never compiled"],
    );
    let own = find(
        wording::compiled,
        &[("tests/alone.rs", ""), ("tests/e2e/main.rs", "mod x;"), ("tests/e2e/x.rs", "")],
    );
    assert_eq!(own.len(), 1, "{own:?}");
}

#[test]
fn unpinned_actions_are_found() {
    let workflow = |used: &str| format!("permissions: {{}}\njobs:\n  - uses: {used}\n");
    let found = |used: &str| find(documents::pins, &[(".github/workflows/a.yml", &workflow(used))]).len();
    assert_eq!(found("actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0"), 0);
    assert_eq!(found("./action"), 0);
    for loose in [
        "actions/checkout@v5",
        "actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8",
        "a/b@08c6903 # v1",
    ] {
        assert_eq!(found(loose), 1, "{loose}");
    }
    assert_eq!(find(documents::pins, &[(".github/workflows/a.yml", "on: push")]).len(), 1);
}

#[test]
fn documents_that_name_what_is_gone_are_found() {
    let code = ("src/git/mod.rs", "#[test]\nfn a_test_that_is_there() {}");
    let good = "See `src/git/`, [this](git.md#part), `a_test_that_is_there`, [that](https://example.com).";
    let files = [code, ("docs/a.md", good), ("docs/git.md", "")];
    check_finds(documents::paths, &files, &[]);
    check_finds(documents::tests, &files, &[]);
    let bad = "See `src/github/`, [this](gone.md), `a_test_that_is_gone`.";
    assert_eq!(find(documents::paths, &[code, ("docs/a.md", bad)]).len(), 2);
    assert_eq!(find(documents::tests, &[code, ("docs/a.md", bad)]).len(), 1);
}

#[test]
fn points_without_a_test_are_found() {
    let code = ("tests/e2e/pins.rs", "#[test]\nfn it_holds() {}");
    let head = "| point | test |\n|---|---|\n";
    let page = |rows: &str| [code, ("docs/tested/a.md", &*format!("{head}{rows}\n").leak())];
    check_finds(documents::tested, &page("| a \\| b | `pins::it_holds` and `tests/e2e/pins.rs` |"), &[]);
    for bad in [
        "| a | |",
        "| a | — |",
        "| a | none |",
        "| a | `pins::gone` |",
        "| a | `other::it_holds` |",
        "| a | `gone.py` |",
    ] {
        assert!(!find(documents::tested, &page(bad)).is_empty(), "{bad}");
    }
    let guarantee = |row: &str| format!("## Limits\n\n| a | b |\n\n## What is guaranteed\n\n{head}{row}\n");
    let (good, bad) = (guarantee("| a | `pins::it_holds` |"), guarantee("| a | `pins::gone` |"));
    check_finds(documents::tested, &[code, ("README.md", &good)], &[]);
    assert_eq!(find(documents::tested, &[code, ("README.md", &bad)]).len(), 1);
}

#[test]
fn dependencies_and_modules_without_a_line_and_lines_without_them_are_found() {
    let page = "# A\n\n## Modules\n\n| `git/` | x |\n| `old` | x |\n\n## Dependencies\n\n| `serde` | x |\n| `gone` | x |\n";
    let files = [
        ("ARCHITECTURE.md", page),
        (
            "Cargo.toml",
            "[package]\nname = \"x\"\n\n[dependencies]\nserde = \"1\"\nredb = \"4\"\n\n[lints]\nall = 1\n",
        ),
        ("src/lib.rs", "pub mod git;\npub mod run;\n"),
        ("src/git/mod.rs", "use serde::Serialize;"),
    ];
    let line = |what: &str| format!("ARCHITECTURE.md: has {what}");
    let expected = [
        line("no line for the dependency `redb`"),
        line("a line for the dependency `gone`, which is not there"),
    ];
    assert_eq!(find(documents::dependencies, &files), expected);
    let expected =
        [line("no line for the module `run`"), line("a line for the module `old`, which is not there")];
    assert_eq!(find(documents::modules, &files), expected);
    check_finds(documents::idle_dependencies, &files, &["Cargo.toml: nothing uses `redb`"]);
}

#[test]
fn a_name_that_two_types_have_is_found() {
    let files = [
        ("src/git/mod.rs", "pub struct Answer;\nmod inner;"),
        ("src/git/inner.rs", "enum Answer {}\n#[cfg(test)]\nmod tests { struct Repo; }"),
        ("src/plan/mod.rs", "struct Repo;\nimpl Iterator for Repo { type Answer = u8; }"),
    ];
    let expected = "src/git/mod.rs:1: `Answer` is also the name of a type in src/git/inner.rs:1";
    check_finds(language::one_name_one_thing, &files, &[expected]);
}

#[test]
fn references_that_lead_nowhere_are_found() {
    let architecture =
        ("ARCHITECTURE.md", "# A\n\n## Invariants\n\n| No. | What |\n|---|---|\n| 1 | x |\n| 12 | y |\n");
    let check = |text: &str, expected: &[&str]| {
        check_finds(language::references, &[architecture, ("src/git/mod.rs", text)], expected);
    };
    check("// Invariants 1 and 12 hold; Invariant 1 says why.", &[]);
    check(
        "// Invariant 3",
        &["src/git/mod.rs:1: refers to Invariant 3, which ARCHITECTURE.md does not list"],
    );
    check(
        "\n// Invariants 1, 2 and 12",
        &["src/git/mod.rs:2: refers to Invariant 2, which ARCHITECTURE.md does not list"],
    );
    check(
        "//! See design section 4.",
        &["src/git/mod.rs:1: refers to `design section 4`, which is not in this repository"],
    );
}

#[test]
fn crowded_folders_and_tiny_files_are_found() {
    let body = "fn f() {\n".to_owned() + &"    g();\n".repeat(30) + "}\n";
    let names: Vec<String> = (0..16).map(|number| format!("src/git/file_{number}.rs")).collect();
    let mut files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), body.as_str())).collect();
    check_finds(language::folder_size, &files[..15], &[]);
    let expected = "src/git: 16 files side by side; 15 are enough: make rooms";
    check_finds(language::folder_size, &files, &[expected]);
    check_finds(language::small_files, &files, &[]);
    files.push(("src/git/tiny.rs", "//! A head.\n\nfn f() {}\n"));
    let proven = "fn f() {}\n\n#[cfg(test)]\nmod tests {\n".to_owned() + &"    g!();\n".repeat(30) + "}\n";
    files.push(("src/git/proven.rs", &proven));
    files.push(("src/git/mod.rs", "mod tiny;\n"));
    let expected = "src/git/tiny.rs: 1 lines of code; below 30 it belongs to a neighbour";
    check_finds(language::small_files, &files, &[expected]);
}

#[test]
fn code_without_reasons_and_without_traces_is_found() {
    let bare = "fn f() {\n".to_owned() + &"    g();\n".repeat(98) + "}\n";
    let expected = "src: 0 comments say why in 100 lines of code; 4 are wanted";
    check_finds(language::reasons, &[("src/git/a.rs", &bare)], &[expected]);
    let explained = bare.replacen("    g();\n", "    // Because.\n    g();\n", 4);
    check_finds(language::reasons, &[("src/git/a.rs", &explained)], &[]);
    let one = "fn f() {\n    tracing::debug!(commit, \"fetched\");\n}\n";
    let expected = "src: 1 points of tracing outside `cli` and `report`; 60 are wanted";
    check_finds(language::tracing, &[("src/git/a.rs", one), ("src/cli/a.rs", one)], &[expected]);
}
