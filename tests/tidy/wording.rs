//! What files say: headers, unfinished work, skipped tests, places of one machine, hosts.

use regex::Regex;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

use crate::project::{Finding, Project};

/// Hosts that files of this repository may name. Anything else is a slip, or wants a line here.
const HOSTS: &[&str] = &[
    "api.github.com",
    // Where the buckets of AWS are.
    "amazonaws.com",
    "avatars.githubusercontent.com",
    "cel.dev",
    "127.0.0.1",
    // Other spellings of this machine, and where clouds keep credentials: tests show that neither is reached.
    "0177.0.0.1",
    "0x7f.1",
    "169.254.169.254",
    "apache.org",
    "crates.io",
    "doc.rust-lang.org",
    "docs.github.com",
    "docs.renovatebot.com",
    "pre-commit.com",
    "example.com",
    "example.org",
    "example.net",
    "git-scm.com",
    // Where GitHub keeps the data of an enterprise in one region.
    "ghe.com",
    "github.com",
    "json-schema.org",
    "a2a-protocol.org",
    "keepachangelog.com",
    "localhost",
    "planspec.io",
    "raw.githubusercontent.com",
    "rustup.rs",
    "semver.org",
    "www.apache.org",
    "www.w3.org",
    "yaml.org",
];

/// Every Rust file says in its first line what lives there.
pub(crate) fn headers(project: &Project) -> Vec<Finding> {
    let bare = rust(project).filter(|(_, text)| {
        text.lines()
            .next()
            .and_then(|line| line.strip_prefix("//! "))
            .is_none_or(|words| words.trim().len() < 10)
    });
    bare.map(|(path, _)| Finding::new(path, 1, "does not begin with a `//!` line that says what lives here"))
        .collect()
}

/// Nothing is left for later, and no test is skipped.
pub(crate) fn unfinished(project: &Project) -> Vec<Finding> {
    let marks = Regex::new(&["TO", "DO|FIX", "ME|XX", "X"].concat()).unwrap();
    let mut findings = Vec::new();
    for (path, text) in rust(project) {
        let syntax = syn::parse_file(text).unwrap_or_else(|why| panic!("{path}: {why}"));
        let mut later = Later::default();
        later.visit_file(&syntax);
        findings.extend(later.found.into_iter().map(|(line, message)| Finding::new(path, line, message)));
        let comments = text.lines().enumerate().filter(|(_, line)| {
            line.find("//").is_some_and(|start| marks.is_match(line.get(start..).unwrap_or_default()))
        });
        findings.extend(
            comments.map(|(at, _)| Finding::new(path, at + 1, "leaves something for later in a comment")),
        );
    }
    findings
}

/// Production code has no branch that only tests take: `#[cfg(test)]` stands on modules and nowhere else.
pub(crate) fn test_branches(project: &Project) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in &project.sources {
        // Modules that are only for tests are no longer part of the tree.
        let mut branches = TestBranches::default();
        branches.visit_file(&source.syntax);
        findings.extend(branches.lines.iter().map(|line| {
            Finding::new(&source.path, *line, "behaves differently under test: pass in what differs")
        }));
    }
    findings
}

/// A lint that is switched off says why.
pub(crate) fn reasons(project: &Project) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in rust(project) {
        let syntax = syn::parse_file(text).unwrap_or_else(|why| panic!("{path}: {why}"));
        let mut allowances = Allowances::default();
        allowances.visit_file(&syntax);
        findings.extend(
            allowances
                .lines
                .iter()
                .map(|line| Finding::new(path, *line, "switches a lint off without `reason = \"…\"`")),
        );
    }
    findings
}

/// No path of the machine that a file was written on. Wendy, who is in all examples, has a home.
pub(crate) fn machine_paths(project: &Project) -> Vec<Finding> {
    let places =
        Regex::new(r#"(?-u)(^|[\s"'=(:`])/(root|work|home/[a-z]+|Users/[A-Za-z]+)(/[\w.]|["'`\s]|$)"#)
            .unwrap();
    let own = |line: &str| places.is_match(&line.replace("/home/wendy", "~"));
    by_line(project, |line| own(line).then(|| "names a place on one machine".to_owned()))
}

/// No host that a stranger could not reach, or that a dependency must not come from.
pub(crate) fn hosts(project: &Project) -> Vec<Finding> {
    let hosts =
        Regex::new(r"(?:https?|ssh|git)://(?:[^/\s@]*@)?([A-Za-z0-9][A-Za-z0-9.-]*[A-Za-z0-9])").unwrap();
    by_line(project, |line| {
        let unknown = hosts.captures_iter(line).find_map(|found| {
            let host = found[1].to_ascii_lowercase();
            let known = |known: &str| host == known || host.ends_with(&format!(".{known}"));
            let reserved = ["test", "example", "invalid"].iter().any(|end| known(end));
            // A word without a dot stands in for a host in an example, and no name server knows it.
            (host.contains('.') && !reserved && !HOSTS.iter().any(|each| known(each))).then_some(host)
        })?;
        Some(format!("names the host `{unknown}`, which is not in the list (tests/tidy/wording.rs)"))
    })
}

/// A file that its parent does not name is never compiled, and its tests silently do not run.
pub(crate) fn compiled(project: &Project) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, _) in rust(project).filter(|(path, _)| path.starts_with("src/") || path.starts_with("tests/"))
    {
        let inner = path.trim_end_matches(".rs").trim_end_matches("/mod");
        let Some((folder, name)) = inner.rsplit_once('/') else { continue };
        if ["main", "lib"].contains(&name) {
            continue;
        }
        if folder == "tests" {
            let message =
                "would be a test binary of its own; link once: make it a module of `tests/e2e/main.rs`";
            findings.push(Finding::new(path, 0, message));
            continue;
        }
        let parents = ["/mod.rs", "/lib.rs", "/main.rs", ".rs"].map(|end| format!("{folder}{end}"));
        let declarations = [format!("mod {name};"), format!("mod {name} {{")];
        let declared = |text: &String| declarations.iter().any(|declaration| text.contains(declaration));
        let named = parents.iter().filter_map(|parent| project.texts.get(parent)).any(declared);
        if !named {
            findings.push(Finding::new(
                path,
                0,
                format!("no parent has a line `mod {name};`, so it is never compiled"),
            ));
        }
    }
    findings
}

fn rust(project: &Project) -> impl Iterator<Item = (&String, &String)> {
    project.texts.iter().filter(|(path, _)| path.ends_with(".rs"))
}

fn by_line(project: &Project, rule: impl Fn(&str) -> Option<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in &project.texts {
        for (at, line) in text.lines().enumerate() {
            findings.extend(rule(line).map(|message| Finding::new(path, at + 1, message)));
        }
    }
    findings
}

#[derive(Default)]
struct Later {
    found: Vec<(usize, &'static str)>,
}

impl<'ast> Visit<'ast> for Later {
    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if call.path.is_ident("todo") || call.path.is_ident("unimplemented") {
            self.found.push((call.span().start().line, "is not finished"));
        }
        visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if attribute.path().is_ident("ignore") {
            self.found.push((attribute.span().start().line, "skips a test; mend it or remove it"));
        }
    }
}

#[derive(Default)]
struct TestBranches {
    lines: Vec<usize>,
}

impl<'ast> Visit<'ast> for TestBranches {
    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        let tests = attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"));
        if tests {
            self.lines.push(attribute.span().start().line);
        }
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if call.path.is_ident("cfg") && call.tokens.to_string() == "test" {
            self.lines.push(call.span().start().line);
        }
    }
}

#[derive(Default)]
struct Allowances {
    lines: Vec<usize>,
}

impl<'ast> Visit<'ast> for Allowances {
    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        let off = attribute.path().is_ident("allow") || attribute.path().is_ident("expect");
        if let (true, syn::Meta::List(list)) = (off, &attribute.meta)
            && !list.tokens.to_string().contains("reason =")
        {
            self.lines.push(attribute.span().start().line);
        }
    }
}
