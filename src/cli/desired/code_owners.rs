//! Gates that ask the code owners where nobody can be one: said before the merge, and not when such a gate waits.

use std::path::Path;

use crate::cli::error::CliError;
use crate::config::Limits;
use crate::diagnostic::{Diagnostic, Location};
use crate::engine::code_owners;
use crate::git::{ObjectId, Repo};
use crate::manifest::{self, Facts, KindFacts, codes};
use crate::model::{Resource, SourceLocation};
use crate::run::gate::{CODE_OWNERS_BYTES, CodeOwnersPlace, code_owners_text, owns_any};

/// The files that owners are looked for in.
#[derive(Clone, Copy)]
pub(crate) enum OwnedTree<'a> {
    /// Those of a commit.
    Commit(&'a Repo, ObjectId),
    /// Those of the working tree below a directory.
    WorkTree(&'a Repo, &'a Path),
    /// There are none yet, or none that are known.
    Unknown,
}

impl<'a> OwnedTree<'a> {
    /// Those of a commit, if there is one.
    pub(crate) fn at(repo: &'a Repo, commit: Option<ObjectId>) -> Self {
        commit.map_or(Self::Unknown, |commit| Self::Commit(repo, commit))
    }

    /// Those of a commit, or of the working tree where there is no commit.
    pub(crate) fn here(repo: &'a Repo, commit: Option<ObjectId>) -> Self {
        match (commit, repo.work_tree()) {
            (None, Some(root)) => Self::WorkTree(repo, root),
            (commit, _) => Self::at(repo, commit),
        }
    }

    /// Why nobody is an owner of any file; `None` where somebody is, or that cannot be told.
    fn problem(self) -> Result<Option<String>, CliError> {
        let (text, paths) = match self {
            Self::Commit(repo, commit) => {
                let tree = repo.commit(commit)?.tree;
                let text = code_owners(repo, tree)?;
                let changes = repo.compare(None, Some(tree))?;
                (text, changes.into_iter().map(|change| change.path).collect::<Vec<_>>())
            }
            Self::WorkTree(repo, root) => (in_directory(root)?, repo.tracked()?.into_iter().collect()),
            Self::Unknown => return Ok(None),
        };
        Ok(match text {
            Err(why) => Some(why),
            // Before the first commit, nothing is tracked, and nothing follows from that.
            Ok(_) if paths.is_empty() => None,
            Ok(text) => match owns_any(&text, paths.iter().map(Vec::as_slice)) {
                Some(true) => None,
                Some(false) => Some("CODEOWNERS gives no file of the repository an owner".to_owned()),
                None => Some("the CODEOWNERS file is too complex to be read".to_owned()),
            },
        })
    }
}

/// The CODEOWNERS file below a directory, by the rules for a commit: what is a link there is refused here.
fn in_directory(root: &Path) -> Result<Result<String, String>, CliError> {
    code_owners_text(|path| {
        let place = root.join(path);
        let Ok(found) = std::fs::symlink_metadata(&place) else { return Ok(CodeOwnersPlace::Empty) };
        if !found.is_file() {
            return Ok(CodeOwnersPlace::Refused(format!("`{path}` is not a regular file")));
        }
        if found.len() > CODE_OWNERS_BYTES {
            return Ok(CodeOwnersPlace::TooLarge);
        }
        let bytes = std::fs::read(&place);
        bytes
            .map(CodeOwnersPlace::Content)
            .map_err(|error| CliError::caused(&format!("cannot read {path}"), &error))
    })
}

/// Whether any of these is a gate that asks the code owners.
pub(crate) fn any_asks<'a>(facts: impl IntoIterator<Item = &'a Facts>) -> bool {
    facts.into_iter().any(asks)
}

fn asks(facts: &Facts) -> bool {
    facts.detail == KindFacts::OwnersGate
}

/// Checks the gates among all that is declared.
pub(crate) fn check<'a>(
    facts: impl Iterator<Item = &'a (Facts, SourceLocation)>,
    tree: OwnedTree<'_>,
    limits: &Limits,
    read: impl FnMut(&str) -> Option<Vec<u8>>,
) -> Result<Vec<Diagnostic>, CliError> {
    let mut asking = facts.filter(|(facts, _)| asks(facts)).peekable();
    // The files are listed only where somebody asks.
    if asking.peek().is_none() {
        return Ok(Vec::new());
    }
    let Some(why) = tree.problem()? else { return Ok(Vec::new()) };
    let warning = |(facts, source): &(Facts, SourceLocation)| {
        let pointer = "/spec/reviewers".to_owned();
        let place = Location { path: source.path.clone(), span: None, document: source.document, pointer };
        let message = format!("the gate asks the code owners, but {why}, so nobody is one");
        Diagnostic::warning(codes::NO_CODE_OWNERS, place, message)
            .with_hint("add `.github/CODEOWNERS`, or name reviewers beside `codeowners:`")
            .about(&facts.key)
    };
    let mut found: Vec<Diagnostic> = asking.map(warning).collect();
    manifest::locate(&mut found, limits, read);
    Ok(found)
}

/// The same, where the whole of every resource is at hand.
pub(crate) fn check_resources(
    resources: &[Resource],
    tree: OwnedTree<'_>,
    limits: &Limits,
    read: impl FnMut(&str) -> Option<Vec<u8>>,
) -> Result<Vec<Diagnostic>, CliError> {
    let facts: Vec<(Facts, SourceLocation)> = resources
        .iter()
        .map(|resource| (manifest::facts(resource), resource.source.clone()))
        .filter(|(facts, _)| asks(facts))
        .collect();
    check(facts.iter(), tree, limits, read)
}
