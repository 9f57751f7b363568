//! What only some places may do: use a library, read the environment, start processes, do I/O, read the clock.

use syn::visit::{self, Visit};

use crate::paths::mentions;
use crate::project::{Finding, Project, Source};

/// The pure half of the crate: no I/O, no threads of its own, no async, no clock.
const PURE: &[&str] = &["model", "diagnostic", "manifest", "graph", "change", "run", "plan", "event"];

/// What the pure half may not name.
const IMPURE: &[&[&str]] = &[
    &["std", "fs"],
    &["std", "net"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "io", "stdin"],
    &["std", "io", "stdout"],
    &["std", "io", "stderr"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
    &["jiff", "Zoned", "now"],
    &["tokio"],
    &["rustix"],
    &["tempfile"],
];

/// Ways of reading the clock, whichever import they are reached by.
const CLOCKS: &[[&str; 2]] = &[["Timestamp", "now"], ["SystemTime", "now"], ["Zoned", "now"]];

/// A path that may be named in some places only.
struct Reserved {
    path: &'static [&'static str],
    /// Prefixes of file paths.
    places: &'static [&'static str],
    why: &'static str,
}

const RESERVED: &[Reserved] = &[
    Reserved { path: &["git2"], places: &["src/git/"], why: "only `git` knows libgit2" },
    Reserved { path: &["octocrab"], places: &["src/github/"], why: "only `github` knows GitHub's API" },
    Reserved {
        path: &["crate", "github"],
        places: &[
            "src/github/",
            // The one place that chooses a host.
            "src/cli/git_host.rs",
            // GitHub's own: workflows that planspec starts, and the one that starts planspec.
            "src/provider/github_actions/",
            "src/cli/ci/pass/schedule.rs",
            // Speaks to a server that judges each request by GitHub's published description.
            "src/provider/human/tests.rs",
        ],
        why: "what any Git host has is in `host`; only `github` knows which one it is",
    },
    Reserved { path: &["redb"], places: &["src/index/"], why: "only `index` knows how the cache is stored" },
    Reserved {
        path: &["std", "env"],
        places: &["src/config/"],
        why: "only `config` reads the environment; pass the value in",
    },
    Reserved {
        path: &["std", "process", "Command"],
        places: &[
            "src/git/command.rs",
            "src/provider/process/child.rs",
            "src/provider/process/groups.rs",
            "src/provider/process/restart.rs",
        ],
        why: "processes are started by `git::command` and `provider::process` only",
    },
    Reserved {
        path: &["tokio", "process"],
        places: &[],
        why: "processes are started by `git::command` and `provider::process` only",
    },
    Reserved {
        path: &["rustls"],
        places: &["src/provider/web/client.rs", "src/github/workflows/download.rs"],
        why: "TLS is set up in one place; speak HTTP through `provider::web`",
    },
    Reserved {
        path: &["reqwest", "Client"],
        // What a run left is fetched from where the host says it is, which may be a private address like that of the host itself.
        places: &[
            "src/provider/web/client.rs",
            "src/provider/mcp/session.rs",
            "src/github/workflows/download.rs",
        ],
        why: "clients come from `provider::web`, which keeps them from private addresses",
    },
    Reserved { path: &["clap"], places: &["src/cli/"], why: "only `cli` talks to the user" },
];

/// Libraries, the environment and processes stay where they belong.
pub(crate) fn reserved(project: &Project) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &project.sources {
        for mention in mentions(source) {
            let named = |rule: &&Reserved| begins(&mention.segments, rule.path);
            let allowed = |rule: &Reserved| rule.places.iter().any(|place| source.path.starts_with(place));
            if let Some(rule) = RESERVED.iter().find(named).filter(|rule| !allowed(rule)) {
                let message = format!("names `{}`: {}", mention.segments.join("::"), rule.why);
                findings.push(Finding::new(&source.path, mention.line, message));
            }
        }
    }
    findings
}

/// `model` to `event` compute, and do nothing else.
pub(crate) fn purity(project: &Project) -> Vec<Finding> {
    let mut findings = Vec::new();
    let pure = |source: &&Source| source.module.first().is_some_and(|top| PURE.contains(&top.as_str()));
    for source in project.sources.iter().filter(pure) {
        for mention in mentions(source) {
            if IMPURE.iter().any(|path| begins(&mention.segments, path)) {
                let message =
                    format!("names `{}`, but the pure half does no I/O", mention.segments.join("::"));
                findings.push(Finding::new(&source.path, mention.line, message));
            }
        }
        let mut asynchronous = Asynchronous::default();
        asynchronous.visit_file(&source.syntax);
        findings.extend(asynchronous.lines.iter().map(|line| {
            Finding::new(&source.path, *line, "is async, but the pure half computes and nothing else")
        }));
    }
    findings
}

/// The time of day is read in one place and passed on.
pub(crate) fn clock(project: &Project) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in project.sources.iter().filter(|source| source.path != "src/engine/clock.rs") {
        let reads = mentions(source).into_iter().filter(|mention| {
            mention
                .segments
                .windows(2)
                .any(|pair| CLOCKS.iter().any(|clock| pair[0] == clock[0] && pair[1] == clock[1]))
        });
        findings.extend(reads.map(|mention| {
            let message = format!("reads the clock with `{}`; pass the time in", mention.segments.join("::"));
            Finding::new(&source.path, mention.line, message)
        }));
    }
    findings
}

/// The program `git` is named as a program in one folder.
pub(crate) fn git_program(project: &Project) -> Vec<Finding> {
    let outside = project.sources.iter().filter(|source| !source.path.starts_with("src/git/"));
    let mut findings = Vec::new();
    for source in outside {
        let mut programs = Programs::default();
        programs.visit_file(&source.syntax);
        findings.extend(
            programs
                .lines
                .iter()
                .map(|line| Finding::new(&source.path, *line, "starts the program `git`; only `git` does")),
        );
    }
    findings
}

fn begins(path: &[String], with: &[&str]) -> bool {
    path.len() >= with.len() && path.iter().zip(with).all(|(have, want)| have == want)
}

#[derive(Default)]
struct Asynchronous {
    lines: Vec<usize>,
}

impl<'ast> Visit<'ast> for Asynchronous {
    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.lines.extend(signature.asyncness.map(|word| word.span.start().line));
        visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, block: &'ast syn::ExprAsync) {
        self.lines.push(block.async_token.span.start().line);
        visit::visit_expr_async(self, block);
    }
}

#[derive(Default)]
struct Programs {
    lines: Vec<usize>,
}

impl<'ast> Visit<'ast> for Programs {
    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        let constructor = matches!(&*call.func, syn::Expr::Path(path)
            if path.path.segments.iter().rev().take(2).map(|part| part.ident.to_string()).eq(["new", "Command"]));
        if let (true, Some(syn::Expr::Lit(literal))) = (constructor, call.args.first())
            && let syn::Lit::Str(program) = &literal.lit
            && (program.value() == "git" || program.value().ends_with("/git"))
        {
            self.lines.push(program.span().start().line);
        }
        visit::visit_expr_call(self, call);
    }
}
