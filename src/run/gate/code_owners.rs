//! CODEOWNERS as GitHub reads it: which accounts and teams own which files. Nothing here knows who they are.

use std::collections::{BTreeMap, BTreeSet};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::model::{FileOwners, OwnedFiles};

/// Where GitHub looks for the file; the first that is there counts, and the others are not read.
const CODE_OWNERS_PATHS: [&str; 3] = [".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"];

/// GitHub does not load a larger file, and then nobody owns anything.
pub(crate) const CODE_OWNERS_BYTES: u64 = 3 << 20;

/// What stands at one of the places where GitHub looks for the file.
pub(crate) enum CodeOwnersPlace {
    /// Nothing, so that the next place counts.
    Empty,
    /// The file.
    Content(Vec<u8>),
    /// A file of more than [`CODE_OWNERS_BYTES`].
    TooLarge,
    /// Something that is not read, in words. GitHub would take this place too; reading on would let another file choose.
    Refused(String),
}

/// The file, as text, by what stands at each place; the inner error says why there is none that can be read.
///
/// # Errors
/// Those of `at`.
pub(crate) fn code_owners_text<E>(
    mut at: impl FnMut(&str) -> Result<CodeOwnersPlace, E>,
) -> Result<Result<String, String>, E> {
    for path in CODE_OWNERS_PATHS {
        return Ok(match at(path)? {
            CodeOwnersPlace::Empty => continue,
            CodeOwnersPlace::Content(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            CodeOwnersPlace::TooLarge => Err(format!("`{path}` is larger than 3 MB")),
            CodeOwnersPlace::Refused(why) => Err(why),
        });
    }
    Ok(Err("there is no CODEOWNERS file".to_owned()))
}

/// How many different sets of owners may be asked at once. They are recorded, and a review can wait for each of them.
const MOST_GROUPS: usize = 100;

/// How many names those sets may hold together.
const MOST_OWNERS: usize = 500;

/// A line: the owners of what its pattern matches.
struct OwnerRule {
    pattern: String,
    owners: Vec<String>,
}

/// All lines, with what their patterns match.
struct OwnerRules {
    rules: Vec<OwnerRule>,
    set: GlobSet,
    /// The line that each pattern of the set is of.
    lines: Vec<usize>,
}

impl OwnerRules {
    /// Those of a file; `None` when the patterns are too many.
    fn read(text: &str) -> Option<Self> {
        let rules = rules(text);
        let (set, lines) = patterns(&rules)?;
        Some(Self { rules, set, lines })
    }

    /// The owners of a file: those of the last line that matches it.
    fn owners(&self, path: &[u8]) -> &[String] {
        // Bytes that are no text could be matched differently here and on the host: then nobody owns the file.
        let last = std::str::from_utf8(path).ok().and_then(|path| self.set.matches(path).into_iter().max());
        let rule = last.and_then(|glob| self.rules.get(*self.lines.get(glob)?));
        rule.map(|rule| rule.owners.as_slice()).unwrap_or_default()
    }
}

/// Who owns these files. The last line that matches a file counts, and one without owners says that nobody owns it.
pub(crate) fn file_owners(text: &str, paths: &[Vec<u8>]) -> FileOwners {
    let Some(rules) = OwnerRules::read(text) else {
        return FileOwners::nobody("the CODEOWNERS file is too complex to be read");
    };
    let mut groups: BTreeMap<Vec<String>, OwnedFiles> = BTreeMap::new();
    for path in paths {
        let name = String::from_utf8_lossy(path);
        let owners = rules.owners(path).to_vec();
        let group = groups.entry(owners.clone());
        let group = group.or_insert_with(|| OwnedFiles { owners, path: name.into_owned(), files: 0 });
        group.files = group.files.saturating_add(1);
    }
    let names: usize = groups.keys().map(Vec::len).sum();
    // Leaving some out would open the gate without them.
    if groups.len() > MOST_GROUPS || names > MOST_OWNERS {
        return FileOwners::nobody(format!(
            "the files have {} different sets of owners with {names} names; at most {MOST_GROUPS} and {MOST_OWNERS} can be asked",
            groups.len()
        ));
    }
    FileOwners { groups: groups.into_values().collect(), ..FileOwners::default() }
}

/// Whether any of these files has an owner; `None` when the patterns are too many to tell.
pub(crate) fn owns_any<'p>(text: &str, paths: impl IntoIterator<Item = &'p [u8]>) -> Option<bool> {
    let rules = OwnerRules::read(text)?;
    Some(paths.into_iter().any(|path| !rules.owners(path).is_empty()))
}

/// The teams that own anything, as `ORGANISATION/TEAM`.
pub(crate) fn owning_teams(text: &str) -> BTreeSet<String> {
    let owners = rules(text).into_iter().flat_map(|rule| rule.owners);
    owners.filter_map(|owner| owning_team(&owner).map(ToOwned::to_owned)).collect()
}

/// The team that an owner is, as `ORGANISATION/TEAM`; none for a person.
pub(crate) fn owning_team(owner: &str) -> Option<&str> {
    owner.strip_prefix('@').filter(|name| name.contains('/'))
}

fn rules(text: &str) -> Vec<OwnerRule> {
    text.trim_start_matches('\u{feff}').lines().filter_map(rule).collect()
}

/// A line, if it is one that GitHub accepts: it skips the others, and what was said before them stays.
fn rule(line: &str) -> Option<OwnerRule> {
    let mut words = words(line).into_iter();
    let pattern = words.next()?;
    // The three forms of `.gitignore` that GitHub documents as not supported.
    if pattern.starts_with(['#', '!']) || pattern.starts_with("\\#") || pattern.contains('[') {
        return None;
    }
    let mut owners: Vec<String> = words.take_while(|word| !word.starts_with('#')).collect();
    if !owners.iter().all(|owner| is_owner(owner)) {
        return None;
    }
    owners.sort();
    owners.dedup();
    Some(OwnerRule { pattern, owners })
}

/// The words of a line; a space after a backslash belongs to a pattern. The backslashes stay, since other ones mean something.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut escaped = false;
    for c in line.chars() {
        if c.is_whitespace() && !escaped {
            words.push(String::new());
        } else if let Some(word) = words.last_mut() {
            word.push(c);
        }
        escaped = c == '\\' && !escaped;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// `@LOGIN`, `@ORGANISATION/TEAM` or an email address.
fn is_owner(word: &str) -> bool {
    let plain =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if let Some(name) = word.strip_prefix('@') {
        return name.split_once('/').map_or_else(|| plain(name), |(owner, team)| plain(owner) && plain(team));
    }
    let sound = |c: char| !c.is_control() && !c.is_whitespace();
    word.split_once('@').is_some_and(|(user, host)| {
        !user.is_empty() && host.contains('.') && !host.contains('@') && word.chars().all(sound)
    })
}

/// All patterns in one set, which reads each path once however many lines there are, with the line of each glob.
fn patterns(rules: &[OwnerRule]) -> Option<(GlobSet, Vec<usize>)> {
    let mut set = GlobSetBuilder::new();
    let mut lines = Vec::new();
    for (line, rule) in rules.iter().enumerate() {
        for glob in globs(&rule.pattern) {
            // A line that cannot be read must not hand its files to the owners of a line before it.
            set.add(GlobBuilder::new(&glob).literal_separator(true).backslash_escape(true).build().ok()?);
            lines.push(line);
        }
    }
    Some((set.build().ok()?, lines))
}

/// The globs that match what a pattern matches, by the rules of `.gitignore` with GitHub's exceptions.
fn globs(pattern: &str) -> Vec<String> {
    let body = pattern.trim_matches('/');
    if body.is_empty() {
        return Vec::new();
    }
    // A slash at the front or in the middle ties it to the root; one at the end only says that it is a directory.
    let prefix = if pattern.trim_end_matches('/').contains('/') { "" } else { "**/" };
    let body: Vec<String> = body.split('/').map(segment).collect();
    let last = body.last().cloned().unwrap_or_default();
    let body = body.join("/");
    let this = format!("{prefix}{body}");
    let below = format!("{prefix}{body}/**");
    match last.as_str() {
        _ if pattern.ends_with('/') => vec![below],
        // Unlike in `.gitignore`, `docs/*` means the files right there, and not those of a directory in it.
        "*" | "**" => vec![this],
        _ => vec![this, below],
    }
}

/// A part of a pattern between slashes, without what means something in a glob and nothing in CODEOWNERS.
fn segment(part: &str) -> String {
    if part == "**" {
        return part.to_owned();
    }
    let mut glob = String::new();
    let mut chars = part.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            // Two stars within a name are one.
            '*' if glob.ends_with('*') && !glob.ends_with("\\*") => {}
            '*' | '?' => glob.push(c),
            '\\' => {
                if let Some(literal) = chars.next() {
                    glob.extend(['\\', literal]);
                }
            }
            '{' | '}' | ']' | '!' | ',' => glob.extend(['\\', c]),
            c => glob.push(c),
        }
    }
    glob
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The owners of one file, with a comma between them; `-` for nobody.
    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        for (path, owners) in expected {
            let found = file_owners(text, &[path.as_bytes().to_vec()]);
            let shown: Vec<&String> = found.owners().collect();
            let shown = shown.iter().map(|owner| owner.as_str()).collect::<Vec<_>>().join(",");
            let shown = if shown.is_empty() { "-" } else { &shown };
            assert_eq!(shown, *owners, "{path} by {text:?}, {found:?}");
        }
    }

    #[test]
    fn the_example_of_github_s_documentation_is_read_as_it_says() {
        let text = "# a comment\n*       @global-owner1 @global-owner2\n*.js    @js-owner #This is an inline comment.\n\
            *.go docs@example.com\n*.txt @octo-org/octocats\n/build/logs/ @doctocat\ndocs/* docs2@example.com\n\
            apps/ @octocat\n/docs/ @doctocat\n/scripts/ @doctocat @octocat\n**/logs @logger\n/apps/ @octocat\n/apps/github \n";
        check(
            text,
            &[
                ("README.md", "@global-owner1,@global-owner2"),
                ("src/deep/a.js", "@js-owner"),
                ("a.go", "docs@example.com"),
                ("x/y.txt", "@octo-org/octocats"),
                ("build/logs/deep/a", "@logger"),
                ("other/logs/a", "@logger"),
                ("logs", "@logger"),
                ("docs/a.md", "@doctocat"),
                ("docs/deep/a.md", "@doctocat"),
                ("lib/apps/a", "@octocat"),
                ("scripts/a.sh", "@doctocat,@octocat"),
                ("apps/a", "@octocat"),
                // A line without owners says that nobody owns it.
                ("apps/github", "-"),
                ("apps/github/a", "-"),
                ("apps/github2", "@octocat"),
            ],
        );
    }

    #[test]
    fn the_last_line_that_matches_counts_and_what_nobody_wrote_down_is_nobody_s() {
        check("*.rs @a\n/src/ @b\n", &[("src/x.rs", "@b"), ("lib/x.rs", "@a"), ("README", "-")]);
        check("/src/ @b\n*.rs @a\n", &[("src/x.rs", "@a"), ("src/x", "@b")]);
        check("", &[("a", "-")]);
    }

    #[test]
    fn patterns_are_those_of_gitignore_with_the_exceptions_of_the_host() {
        check("docs/* @a\n", &[("docs/x", "@a"), ("docs/deep/x", "-"), ("a/docs/x", "-")]);
        check("docs @a\n", &[("docs", "@a"), ("docs/x/y", "@a"), ("a/docs/x", "@a"), ("docs2", "-")]);
        check("/a/**/z @a\n", &[("a/z", "@a"), ("a/b/c/z", "@a"), ("a/b/c/z/file", "@a"), ("b/a/z", "-")]);
        check("/a/** @a\n", &[("a/b/c", "@a"), ("a", "-")]);
        check("a?c @a\n", &[("abc", "@a"), ("a/c", "-"), ("ac", "-")]);
        check("my\\ file.txt @a\n", &[("my file.txt", "@a"), ("x/my file.txt", "@a"), ("my", "-")]);
        check("x**y @a\n", &[("xay", "@a"), ("x/y", "-")]);
        check("a.{b,c} @a\n", &[("a.b", "-"), ("a.{b,c}", "@a")]);
        check(".* @a\n", &[(".env", "@a"), ("b/.env", "@a"), ("env", "-")]);
        check("Src/ @a\n", &[("src/x", "-")]);
        check("/ @a\n", &[("src/x", "-")]);
    }

    #[test]
    fn a_line_that_the_host_does_not_accept_is_skipped() {
        let text = "* @all\n!/src @b\n\\#x @b\n[ab].rs @b\n*.rs nobody\n*.rs @bad/team/name\n*.rs @b @\n[Section] @b\n";
        check(text, &[("src/x", "@all"), ("a.rs", "@all"), ("#x", "@all")]);
        check("\u{feff}* @a\r\n", &[("x", "@a")]);
    }

    #[test]
    fn files_with_the_same_owners_are_one_group_and_none_is_left_out() {
        let paths: Vec<Vec<u8>> =
            ["a.rs", "b.rs", "c.md", "d"].iter().map(|path| path.as_bytes().to_vec()).collect();
        let found = file_owners("*.rs @b @a @b\n*.md @o/docs\n", &paths);
        let shown: Vec<_> = found
            .groups
            .iter()
            .map(|group| (group.owners.join(" "), group.path.as_str(), group.files))
            .collect();
        assert_eq!(
            shown,
            [(String::new(), "d", 1), ("@a @b".to_owned(), "a.rs", 2), ("@o/docs".to_owned(), "c.md", 1)]
        );
        let many: String = (0..200).map(|n| format!("/f{n} @u{n}\n")).collect();
        let paths: Vec<Vec<u8>> = (0..200).map(|n| format!("f{n}").into_bytes()).collect();
        let found = file_owners(&many, &paths);
        assert!(
            found.groups.is_empty() && found.problem.is_some_and(|why| why.contains("200 different sets"))
        );
        // Not text: nobody's, whatever the patterns say.
        assert_eq!(file_owners("* @a\n", &[vec![0xff]]).owners().count(), 0);
    }

    #[test]
    fn the_teams_are_named_for_whoever_asks_the_host_about_them() {
        let teams = owning_teams("* @a @o/sec x@example.com\nb @o/docs @o/sec\n");
        assert_eq!(teams.into_iter().collect::<Vec<_>>(), ["o/docs", "o/sec"]);
    }
}
