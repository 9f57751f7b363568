//! Which files a result may hold. What is denied here would let a task decide what runs next, beside secrets or in somebody
//! else's name, before anybody looked at it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use globset::{GlobBuilder, GlobMatcher};

/// Why a path is refused that the work is judged by.
const PROTECTED: &str = "protected by `config.protect.forbid`";

/// How many refused paths are named.
const NAMED: usize = 10;

/// What hosts, Git itself and the programs of agents read as orders, with what it is. The next task may be an agent that works on
/// this result: what its settings name runs beside its credentials. Instructions in words, such as `AGENTS.md`, are not here.
const DENIED: [(&str, &str); 35] = [
    (".planspec.{yaml,yml,json}", "the configuration of planspec"),
    ("**/.gitattributes", "attributes of Git"),
    ("**/.gitmodules", "submodules"),
    ("**/.lfsconfig", "the configuration of LFS"),
    ("**/CODEOWNERS", "code owners"),
    (".github/**", "workflows and settings of the host"),
    (".gitea/**", "workflows and settings of the host"),
    (".forgejo/**", "workflows and settings of the host"),
    (".gitlab-ci.yml", "a CI configuration"),
    (".gitlab/**", "settings of the host"),
    (".circleci/**", "a CI configuration"),
    (".buildkite/**", "a CI configuration"),
    (".woodpecker/**", "a CI configuration"),
    (".woodpecker.{yaml,yml}", "a CI configuration"),
    (".teamcity/**", "a CI configuration"),
    (".semaphore/**", "a CI configuration"),
    (".travis.yml", "a CI configuration"),
    (".drone.yml", "a CI configuration"),
    (".cirrus.yml", "a CI configuration"),
    (".build.yml", "a CI configuration"),
    (".builds/**", "a CI configuration"),
    ("appveyor.yml", "a CI configuration"),
    (".appveyor.yml", "a CI configuration"),
    ("azure-pipelines.{yaml,yml}", "a CI configuration"),
    ("bitbucket-pipelines.yml", "a CI configuration"),
    ("Jenkinsfile", "a CI configuration"),
    ("buildspec.{yaml,yml}", "a CI configuration"),
    ("**/.mcp.json", "settings of agents"),
    ("**/.claude/**", "settings of agents"),
    ("**/.codex/**", "settings of agents"),
    ("**/.cursor/**", "settings of agents"),
    ("**/.gemini/**", "settings of agents"),
    ("**/.opencode/**", "settings of agents"),
    ("**/opencode.{json,jsonc}", "settings of agents"),
    ("**/.aider.conf.yml", "settings of agents"),
];

/// A file that a task changed, as far as it matters here.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChangedFile {
    /// The path; bytes that are not UTF-8 are replaced.
    pub path: String,
    /// Whether it is or was a commit of another repository.
    pub is_submodule: bool,
    /// Where it leads, if it is a symbolic link.
    pub link: Option<String>,
    /// Whether it is or was a manifest.
    pub is_manifest: bool,
    /// Whether it holds a secret.
    pub holds_secret: bool,
    /// The filter by which Git would keep it in another form than it was taken in.
    pub unfiltered: Option<String>,
}

/// The globs of the settings that bound what a task may change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PathRules<'r> {
    /// The only paths that may change; any when empty. A path that is denied by default may change when it is named here
    /// literally.
    pub allow: &'r [String],
    /// Paths that may not change.
    pub deny: &'r [String],
    /// Paths that the work is judged by, and that nothing else here lets change.
    pub forbid: &'r [String],
}

/// What is wrong with the changes of a task, in words; nothing when they may be kept. `paths` are all paths of the result.
#[must_use]
pub(crate) fn refusals(changed: &[ChangedFile], paths: &[String], rules: &PathRules<'_>) -> Option<String> {
    let defaults: Vec<(GlobMatcher, &str)> =
        DENIED.iter().filter_map(|(glob, what)| Some((matcher(glob)?, *what))).collect();
    let only = matchers(rules.allow);
    let denied = matchers(rules.deny);
    let protected = matchers(rules.forbid);
    let twins = same_but_for_case(changed, paths);
    let mut found = Vec::new();
    for file in changed {
        let path = file.path.as_str();
        let is = |globs: &[GlobMatcher]| globs.iter().any(|glob| glob.is_match(path));
        // By name alone: `allow: [".github/**"]` would be one careless star away from a workflow of the agent's own.
        let literal = rules.allow.iter().any(|allowed| allowed == path);
        let by_default = defaults.iter().find(|(glob, _)| glob.is_match(path)).map(|(_, what)| *what);
        let by_default = by_default.or(file.is_manifest.then_some("a manifest"));
        let unfiltered = file.unfiltered.as_ref().filter(|_| !literal);
        // First: no `allow` lifts a protection.
        let why = if is(&protected) {
            Some(PROTECTED)
        } else if is(&denied) {
            Some("denied by `config.paths.deny`")
        } else if !only.is_empty() && !literal && !is(&only) {
            Some("not in `config.paths.allow`")
        } else if file.is_submodule {
            Some("a submodule")
        } else if file.link.as_deref().is_some_and(|target| leads_out(path, target)) {
            Some("a symbolic link that leads out of the repository")
        } else if file.holds_secret {
            Some("it holds a secret")
        } else if twins.contains(path) {
            Some("equal to another name but for case")
        } else {
            by_default.filter(|_| !literal)
        };
        let filtered = |filter| format!("its attribute is `filter={filter}`, and no filter is run here");
        let why = why.map(str::to_owned).or_else(|| unfiltered.map(filtered));
        found.extend(why.map(|why| format!("`{path}` ({why})")));
    }
    in_words(found)
}

/// Which of these changed paths `config.protect.forbid` protects, in words; nothing when it is none. That holds for changes
/// that nobody keeps, too: the criteria run on them.
#[must_use]
pub(crate) fn protected<'p>(changed: impl Iterator<Item = &'p str>, forbid: &[String]) -> Option<String> {
    let matchers = matchers(forbid);
    let is_protected = |path: &&str| matchers.iter().any(|glob| glob.is_match(path));
    in_words(changed.filter(is_protected).map(|path| format!("`{path}` ({PROTECTED})")).collect())
}

/// Which of these paths are among some globs.
pub(crate) fn among(globs: &[String]) -> impl Fn(&str) -> bool + use<> {
    let matchers = matchers(globs);
    move |path| matchers.iter().any(|glob| glob.is_match(path))
}

fn in_words(mut found: Vec<String>) -> Option<String> {
    let more = found.len().saturating_sub(NAMED);
    found.truncate(NAMED);
    let list = found.join(", ");
    match (found.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(format!("changed what it may not change: {list}")),
        (false, more) => Some(format!("changed what it may not change: {list} and {more} more")),
    }
}

fn matchers(globs: &[String]) -> Vec<GlobMatcher> {
    globs.iter().filter_map(|glob| matcher(glob)).collect()
}

fn matcher(glob: &str) -> Option<GlobMatcher> {
    Some(GlobBuilder::new(glob).literal_separator(true).build().ok()?.compile_matcher())
}

/// Whether a link ends outside of the tree that it is in.
fn leads_out(path: &str, target: &str) -> bool {
    let mut depth = path.matches('/').count();
    for part in Path::new(target).components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return true,
        }
    }
    false
}

/// The changed files whose path, or a folder in it, is that of another one on file systems that ignore case.
fn same_but_for_case<'c>(changed: &'c [ChangedFile], paths: &[String]) -> BTreeSet<&'c str> {
    let mut spelled: BTreeMap<String, &str> = BTreeMap::new();
    let mut clashing: BTreeSet<String> = BTreeSet::new();
    for prefix in paths.iter().flat_map(|path| prefixes(path)) {
        match spelled.get(&prefix.to_lowercase()) {
            Some(known) if *known != prefix => {
                clashing.insert(prefix.to_lowercase());
            }
            Some(_) => {}
            None => {
                spelled.insert(prefix.to_lowercase(), prefix);
            }
        }
    }
    let clashes = |path: &str| prefixes(path).any(|prefix| clashing.contains(&prefix.to_lowercase()));
    changed.iter().map(|file| file.path.as_str()).filter(|path| clashes(path)).collect()
}

/// `a`, `a/b` and `a/b/c` of `a/b/c`.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    ends.filter_map(|end| path.get(..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> ChangedFile {
        ChangedFile { path: path.to_owned(), ..ChangedFile::default() }
    }

    fn of(changed: &[ChangedFile], allow: &[&str], deny: &[&str]) -> Option<String> {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let paths: Vec<String> = changed.iter().map(|file| file.path.clone()).collect();
        let allow = texts(allow);
        let deny = texts(deny);
        refusals(changed, &paths, &PathRules { allow: &allow, deny: &deny, forbid: &[] })
    }

    #[track_caller]
    fn check(path: &str, allow: &[&str], deny: &[&str], why: Option<&str>) {
        let expected = why.map(|why| format!("changed what it may not change: `{path}` ({why})"));
        assert_eq!(of(&[file(path)], allow, deny), expected);
    }

    #[test]
    fn what_would_decide_what_runs_is_denied_unless_it_is_named() {
        check("src/main.rs", &[], &[], None);
        check(".github/workflows/x.yml", &[], &[], Some("workflows and settings of the host"));
        check(".github/workflows/x.yml", &[".github/**"], &[], Some("workflows and settings of the host"));
        check(".github/workflows/x.yml", &[".github/workflows/x.yml"], &[], None);
        check("docs/.gitattributes", &[], &[], Some("attributes of Git"));
        check(".planspec.yaml", &[], &[], Some("the configuration of planspec"));
        check("appveyor.yml", &[], &[], Some("a CI configuration"));
        check("sub/Jenkinsfile.md", &[], &[], None);
        check(".mcp.json", &[], &[], Some("settings of agents"));
        check("web/.claude/settings.json", &[], &[], Some("settings of agents"));
        check(".claude/commands/release.md", &[".claude/commands/release.md"], &[], None);
        check("AGENTS.md", &[], &[], None);
    }

    #[test]
    fn settings_bound_what_may_change() {
        check("src/a/b.rs", &["src/**"], &[], None);
        check("lib/b.rs", &["src/**"], &[], Some("not in `config.paths.allow`"));
        check("tests/x.rs", &[], &["tests/**"], Some("denied by `config.paths.deny`"));
        check("tests/x.rs", &["tests/x.rs"], &["tests/**"], Some("denied by `config.paths.deny`"));
    }

    #[test]
    fn what_the_work_is_judged_by_is_protected_whatever_else_is_allowed() {
        let forbid = ["tests/**".to_owned()];
        let allow = ["tests/x.rs".to_owned()];
        let why = "changed what it may not change: `tests/x.rs` (protected by `config.protect.forbid`)";
        let rules = PathRules { allow: &allow, deny: &[], forbid: &forbid };
        assert_eq!(refusals(&[file("tests/x.rs")], &[], &rules).as_deref(), Some(why));
        assert_eq!(protected(["src/a", "tests/x.rs"].into_iter(), &forbid).as_deref(), Some(why));
        assert_eq!(protected(["src/a"].into_iter(), &forbid), None);
    }

    #[test]
    fn links_stay_inside() {
        let link = |path: &str, target: &str| ChangedFile { link: Some(target.to_owned()), ..file(path) };
        for (path, target) in [("a", "b"), ("a/b", "../c"), ("a/b/c", "../../d"), ("a", "./b/../c")] {
            assert_eq!(of(&[link(path, target)], &[], &[]), None, "{path} -> {target}");
        }
        for (path, target) in [("a", "/etc/passwd"), ("a", ".."), ("a/b", "../../c"), ("a", "b/../../c")] {
            assert!(of(&[link(path, target)], &[], &[]).is_some(), "{path} -> {target}");
        }
    }

    #[test]
    fn names_that_differ_by_case_alone_are_refused() {
        let twins = [file("Docs/a"), file("docs/b")];
        assert!(of(&twins, &[], &[]).unwrap().contains("`Docs/a` (equal to another name but for case)"));
        let one = [file("docs/a")];
        let all = ["docs/a".to_owned(), "DOCS/a".to_owned()];
        let rules = PathRules { allow: &[], deny: &[], forbid: &[] };
        assert!(refusals(&one, &all, &rules).is_some());
    }

    #[test]
    fn secrets_manifests_and_submodules_are_refused() {
        let secret = ChangedFile { holds_secret: true, ..file("a") };
        let manifest = ChangedFile { is_manifest: true, ..file("plan.yaml") };
        let module = ChangedFile { is_submodule: true, ..file("lib") };
        let all = of(&[secret, manifest, module], &[], &[]).unwrap();
        assert_eq!(
            all,
            "changed what it may not change: `a` (it holds a secret), `plan.yaml` (a manifest), `lib` (a submodule)"
        );
        let many: Vec<ChangedFile> = (0..12).map(|number| file(&format!(".github/{number}"))).collect();
        assert!(of(&many, &[], &[]).unwrap().ends_with(" and 2 more"));
    }
}
