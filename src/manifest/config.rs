//! The configuration file `.planspec.yaml`: the same reading, schema and positions as for manifests.

use std::collections::BTreeSet;

use globset::Glob;
use serde_json::Value;

use super::locate::SourceText;
use super::problem::Problem;
use super::read::{self, RawDocument, ReadError};
use super::{codes, decode_text, document, rules, schema};
use crate::config::{CONFIG_FILE, Config, Limits, MISNAMED_CONFIG_FILES, SignerKey};
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::JsonMap;

/// Where the mode of publishing stands.
const PUBLISH_MODE: &str = "/publish/mode";

/// Reads the configuration. Where a diagnostic is an error, the configuration is the default one and must not be used.
#[must_use]
pub fn load_config(bytes: &[u8]) -> (Config, Vec<Diagnostic>) {
    // A second document would be settings that nothing reads.
    let limits = Limits { documents: 1, ..Limits::default() };
    let text = match decode_text(CONFIG_FILE, bytes, &limits) {
        Ok(text) => text,
        Err(diagnostic) => return (Config::default(), vec![*diagnostic]),
    };
    match read_text(&text, &limits) {
        Ok(read) => read,
        Err(diagnostics) => (Config::default(), diagnostics),
    }
}

/// Reads the configuration of a tree; `file` gives the content of a file at its root, if that is there.
///
/// # Errors
/// Those of `file`.
pub fn read_config<E>(
    mut file: impl FnMut(&str) -> Result<Option<Vec<u8>>, E>,
) -> Result<(Config, Vec<Diagnostic>), E> {
    // A limit or a reviewer rule under a name that nobody reads would be without effect, in silence.
    for name in MISNAMED_CONFIG_FILES {
        if file(name)?.is_some() {
            let location = Location { path: name.to_owned(), ..Location::default() };
            let message = format!("`{name}` is not read");
            let diagnostic = Diagnostic::error(codes::MISNAMED_CONFIG, location, message);
            let diagnostic = diagnostic.with_hint(format!("rename it to `{CONFIG_FILE}`"));
            return Ok((Config::default(), vec![diagnostic]));
        }
    }
    Ok(file(CONFIG_FILE)?.map(|bytes| load_config(&bytes)).unwrap_or_default())
}

/// Reads a file of values, such as parameters: one mapping, in YAML or JSON.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn load_values(path: &str, bytes: &[u8], limits: &Limits) -> Result<JsonMap, Box<Diagnostic>> {
    // Values of a second document would be dropped in silence.
    let limits = Limits { documents: 1, ..limits.clone() };
    let text = decode_text(path, bytes, &limits)?;
    let documents = text.read(&limits);
    if let Some((index, broken)) = first_broken(&documents) {
        return Err(Box::new(text.broken(broken, index, &limits)));
    }
    let Some(document) = documents.into_iter().next().and_then(Result::ok) else { return Ok(JsonMap::new()) };
    if let Some(finding) = document.findings.first() {
        return Err(Box::new(text.locate(&document::explain(finding), 0, &limits)));
    }
    match document.value {
        Value::Object(values) => Ok(values),
        Value::Null => Ok(JsonMap::new()),
        _ => {
            let problem = Problem::new(codes::WRONG_TYPE, "", "must be a mapping of names to values");
            Err(Box::new(text.locate(&problem, 0, &limits)))
        }
    }
}

/// The configuration with its warnings, or what is wrong with it.
fn read_text(text: &SourceText<'_>, limits: &Limits) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    let documents = text.read(limits);
    if let Some((index, broken)) = first_broken(&documents) {
        return Err(vec![text.broken(broken, index, limits)]);
    }
    let Some(document) = documents.into_iter().next().and_then(Result::ok) else {
        return Ok((Config::default(), Vec::new()));
    };
    // A file of comments alone, as `init` writes it, is the default configuration.
    if document.value.is_null() && document.findings.is_empty() {
        return Ok((Config::default(), Vec::new()));
    }
    let mut problems: Vec<Problem> = document.findings.iter().map(document::explain).collect();
    problems.extend(schema::of_config().check(&document.value));
    // Never in part: the setting that is wrong may be the one that restricts something.
    let config = if problems.is_empty() { decode(&document.value, &mut problems) } else { None };
    if let Some(config) = &config {
        check(config, &mut problems);
    }
    if document.value.pointer(PUBLISH_MODE).is_some_and(|mode| mode == "relaxed") {
        let message = "`relaxed` is an older name for `adaptive`".to_owned();
        problems.push(Problem::new(codes::UNKNOWN_VALUE, PUBLISH_MODE, message).warning());
    }
    let found = problems.iter().map(|problem| text.locate(problem, 0, limits)).collect();
    match config {
        Some(config) if problems.iter().all(|problem| problem.severity != Severity::Error) => {
            Ok((config, found))
        }
        _ => Err(found),
    }
}

fn first_broken(documents: &[Result<RawDocument, ReadError>]) -> Option<(usize, &ReadError)> {
    documents
        .iter()
        .enumerate()
        .find_map(|(index, document)| document.as_ref().err().map(|broken| (index, broken)))
}

fn decode(value: &Value, problems: &mut Vec<Problem>) -> Option<Config> {
    match read::decode(value.clone()) {
        Ok(config) => Some(config),
        Err(reason) => {
            problems.extend(rules::unusable(value, "", &reason));
            None
        }
    }
}

/// What the schema cannot say: globs compile, the status branch can be the name of a branch.
fn check(config: &Config, problems: &mut Vec<Problem>) {
    let mut globs = vec![
        ("/paths", &config.paths),
        ("/exclude", &config.exclude),
        ("/providers/allow", &config.providers.allow),
    ];
    if let Some(sandbox) = &config.providers.sandbox {
        globs.push(("/providers/sandbox/network", &sandbox.network));
        globs.push(("/providers/sandbox/unixSockets", &sandbox.unix_sockets));
    }
    for (list, patterns) in globs {
        for (index, pattern) in patterns.iter().enumerate() {
            if let Err(error) = Glob::new(pattern) {
                let message = format!("not a glob: {}", error.kind());
                problems.push(Problem::new(codes::BAD_PATTERN, format!("{list}/{index}"), message));
            }
        }
    }
    let named = [
        ("/desiredBranch", config.desired_branch.as_deref()),
        ("/statusBranch", Some(&*config.status_branch)),
    ];
    for (pointer, name) in named {
        let Some(name) = name else { continue };
        // A name that Git allows, but it would become the branch `refs/heads/refs/heads/…`.
        if name.starts_with("refs/") {
            let message = "a full reference name; write the branch without `refs/heads/`";
            problems.push(Problem::new(codes::BAD_FORMAT, pointer, message));
        } else if !is_branch(name) {
            problems.push(Problem::new(codes::BAD_FORMAT, pointer, "not the name of a branch"));
        }
    }
    check_merge_targets(config, problems);
    check_signers(config, problems);
    // Git keeps a reference as a file, so that a branch `a` leaves no room for `a/b`.
    if config.desired_branch.as_deref().is_some_and(|desired| overlaps(desired, &config.status_branch)) {
        let message =
            "the status branch cannot be the desired branch, nor can one name be a folder of the other";
        problems.push(Problem::new(codes::BAD_FORMAT, "/statusBranch", message));
    }
    // Found out when the first gate shows files, it would be a push that is refused for ever.
    if overlaps(&config.status_branch, WORK_FOLDER) {
        let message = format!(
            "planspec keeps its work branches below `{WORK_FOLDER}/`, so the status branch cannot be called this"
        );
        problems.push(Problem::new(codes::BAD_FORMAT, "/statusBranch", message));
    }
}

/// The folder of the branches that show what tasks did.
const WORK_FOLDER: &str = "planspec/work";

/// The branches that work may be merged into: none of the reconciler's own, which a merge would break.
fn check_merge_targets(config: &Config, problems: &mut Vec<Problem>) {
    let listed = config.providers.sections.get("merge").and_then(Value::as_array);
    for (index, entry) in listed.into_iter().flatten().enumerate() {
        let (name, pointer) = match entry.as_str() {
            Some(name) => (name, format!("/providers/merge/{index}")),
            None => (
                entry.get("branch").and_then(Value::as_str).unwrap_or_default(),
                format!("/providers/merge/{index}/branch"),
            ),
        };
        let why = if name.starts_with("refs/") {
            "a full reference name; write the branch without `refs/heads/`"
        } else if !is_branch(name) {
            "not the name of a branch; patterns are not allowed here"
        } else if overlaps(name, &config.status_branch) || name.starts_with("planspec/") {
            "a branch that planspec writes itself; work cannot be merged into it"
        } else {
            continue;
        };
        problems.push(Problem::new(codes::BAD_FORMAT, pointer, why));
    }
}

/// Of each list, a name stands for one signer and a key for one name: it would else be chance who has signed.
fn check_signers(config: &Config, problems: &mut Vec<Problem>) {
    if config.trust.desired.is_some() && config.trust.status.is_none() {
        // What was in force before, whose list counts, is what the status branch says.
        let message =
            "needs `trust.status`: which commit was in force before is recorded on the status branch";
        problems.push(Problem::new(codes::BAD_FORMAT, "/trust/desired", message));
    }
    let mut names = BTreeSet::new();
    let mut keys = BTreeSet::new();
    for (list, index, signer) in config.trust.signers() {
        if !names.insert((list, signer.name.as_str())) {
            let message =
                format!("another signer is called `{}`; list all keys of one signer together", signer.name);
            problems.push(Problem::new(codes::BAD_FORMAT, format!("{list}/{index}/name"), message));
        }
        for (place, key) in signer.keys.iter().enumerate() {
            let key = match key {
                // Without the comment, which is no part of the key.
                SignerKey::Ssh(key) => key.split(' ').take(2).collect::<Vec<_>>().join(" "),
                SignerKey::OpenPgp(key) => key.fingerprint.clone(),
            };
            if !keys.insert((list, key)) {
                let pointer = format!("{list}/{index}/keys/{place}");
                problems.push(Problem::new(codes::BAD_FORMAT, pointer, "this key is listed twice"));
            }
        }
    }
}

/// Whether Git cannot hold both names everywhere: they are the same, or one is a directory of the other; also but for the case of
/// letters, since references are files, and on some systems `Main` is the file `main`.
#[must_use]
pub fn overlaps(one: &str, other: &str) -> bool {
    let [one, other] = [one, other].map(str::to_lowercase);
    let within = |name: &str, folder: &str| {
        name.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    within(&one, &other) || within(&other, &one)
}

/// The rules of `git check-ref-format --branch`.
fn is_branch(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    let forbidden = |c: char| c.is_control() || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\');
    // Git has the same check, but nothing here may know a repository.
    name != "@"
        && name != "HEAD"
        && !name.starts_with('-')
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
        && !name.contains(forbidden)
        && name.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_refused(text: &str, code: &str, line: u32, column: u32, pointer: &str) {
        let (config, found) = load_config(text.as_bytes());
        assert_eq!(config, Config::default());
        let [only] = found.as_slice() else { panic!("{text}: {found:#?}") };
        let span = only.location.span.unwrap();
        assert_eq!(
            (
                only.code.id,
                span.line,
                span.column,
                only.location.pointer.as_str(),
                only.location.path.as_str()
            ),
            (code, line, column, pointer, CONFIG_FILE),
            "{only:#?}"
        );
    }

    #[test]
    fn a_file_under_a_name_that_is_not_read_is_an_error() {
        let tree = |present: &'static [&str]| {
            read_config(|name| Ok::<_, ()>(present.contains(&name).then(|| b"jobs: 3\n".to_vec()))).unwrap()
        };
        assert_eq!(tree(&[]), (Config::default(), Vec::new()));
        assert_eq!(tree(&[".planspec.yaml"]).0.jobs, Some(3));
        let (config, found) = tree(&[".planspec.yml", ".planspec.yaml"]);
        assert_eq!((config, found[0].message.as_str()), (Config::default(), "`.planspec.yml` is not read"));
        assert_eq!(found[0].hint.as_deref(), Some("rename it to `.planspec.yaml`"));
    }

    #[test]
    fn names_overlap_when_git_cannot_hold_both() {
        assert!(overlaps("main", "main"));
        assert!(overlaps("planspec", "planspec/status") && overlaps("planspec/status", "planspec"));
        assert!(!overlaps("planspec-old", "planspec/status") && !overlaps("main", "maintenance"));
    }

    #[test]
    fn every_key_has_a_default() {
        for text in ["", "# nothing\n", "---\n", "{}\n"] {
            assert_eq!(load_config(text.as_bytes()), (Config::default(), Vec::new()), "{text:?}");
        }
    }

    #[test]
    fn the_default_configuration_passes_its_own_schema() {
        let text = serde_yaml::to_string(&Config { jobs: Some(2), ..Config::default() }).unwrap();
        let text = text.replace("  duration: null\n", "").replace("desiredBranch: null\n", "");
        let (config, found) = load_config(text.as_bytes());
        assert_eq!(found, Vec::new());
        assert_eq!(config.jobs, Some(2));
    }

    #[test]
    fn keys_are_read() {
        let text = "paths: [\"ops/**\"]\nlease: {duration: 2s, skew: 100ms}\npublish: {mode: adaptive}\nlimits: {depth: 20}\n";
        let (config, found) = load_config(text.as_bytes());
        assert_eq!(found, Vec::new());
        assert_eq!(config.paths, ["ops/**"]);
        assert_eq!(config.lease.skew.span().as_millis(), 100);
        assert_eq!((config.limits.depth, config.limits.documents), (20, 1_000));
    }

    #[test]
    fn the_older_name_of_a_mode_is_read_with_a_warning() {
        let (config, found) = load_config(b"publish: {mode: relaxed}\n");
        assert_eq!(config, Config::default());
        let [only] = found.as_slice() else { panic!("{found:#?}") };
        assert_eq!((only.severity, only.location.pointer.as_str()), (Severity::Warning, "/publish/mode"));
        assert_eq!(only.message, "`relaxed` is an older name for `adaptive`");
    }

    #[test]
    fn unknown_and_malformed_keys_are_refused_with_their_place() {
        check_refused("lease:\n  durations: 5s\n", "PS2003", 2, 3, "/lease/durations");
        check_refused("jobs: many\n", "PS2005", 1, 7, "/jobs");
        check_refused("jobs: 1\njobs: 2\n", "PS1002", 2, 1, "/jobs");
        check_refused("paths: [\"a{\"]\n", "PS2012", 1, 9, "/paths/0");
        check_refused("statusBranch: a..b\n", "PS2007", 1, 15, "/statusBranch");
        check_refused("statusBranch: refs/heads/s\n", "PS2007", 1, 15, "/statusBranch");
        check_refused("desiredBranch: a..b\n", "PS2007", 1, 16, "/desiredBranch");
        check_refused("desiredBranch: ops\nstatusBranch: ops/status\n", "PS2007", 2, 15, "/statusBranch");
        check_refused("desiredBranch: planspec/status\n", "PS2007", 1, 1, "/statusBranch");
        check_refused("desiredBranch: ops\nstatusBranch: Ops\n", "PS2007", 2, 15, "/statusBranch");
        for name in ["planspec", "planspec/work", "planspec/work/team/run/look"] {
            check_refused(&format!("statusBranch: {name}\n"), "PS2007", 1, 15, "/statusBranch");
        }
        check_refused("providers: {merge: [main, \"release/*\"]}\n", "PS2007", 1, 27, "/providers/merge/1");
        check_refused(
            "providers: {merge: [{branch: planspec/status}]}\n",
            "PS2007",
            1,
            30,
            "/providers/merge/0/branch",
        );
        check_refused("retention: 9999999d\n", "PS2013", 1, 12, "/retention");
        check_refused("- a\n", "PS2005", 1, 3, "");
        check_refused("a: [\n", "PS1001", 2, 1, "");
    }
}
