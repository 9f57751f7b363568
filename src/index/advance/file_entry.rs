//! Files of the desired tree: which of them may hold manifests, what each declares, and which resources it may declare
//! although it is broken.

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};

use crate::config::{CONFIG_FILE, Config};
use crate::diagnostic::Severity;
use crate::git::ObjectId;
use crate::manifest;
use crate::model::ResourceKey;

/// The `paths` and `exclude` globs of the configuration, compiled.
#[derive(Debug, Clone)]
pub struct ManifestFilter {
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl ManifestFilter {
    /// Compiles the globs.
    ///
    /// # Errors
    /// One of them is malformed.
    pub fn new(config: &Config) -> Result<Self, globset::Error> {
        // No globs mean everything, and not nothing: a repository without a configuration has to work.
        let include = if config.paths.is_empty() { None } else { Some(compile(&config.paths)?) };
        Ok(Self { include, exclude: compile(&config.exclude)? })
    }

    /// Whether the file at `path` is to be read.
    #[must_use]
    pub fn accepts(&self, path: &str) -> bool {
        manifest::is_candidate(path)
            // It has a schema of its own, and its diagnostics come from where it is read.
            && path != CONFIG_FILE
            && self.include.as_ref().is_none_or(|set| set.is_match(path))
            // Last word: a path that is excluded is not read, however it is included.
            && !self.exclude.is_match(path)
    }
}

fn compile(globs: &[String]) -> Result<GlobSet, globset::Error> {
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        builder.add(Glob::new(glob)?);
        // A directory means everything below it, as in a `.gitignore`.
        builder.add(Glob::new(&format!("{}/**", glob.trim_end_matches('/')))?);
    }
    builder.build()
}

/// What a file holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FileEntry {
    pub(super) blob: ObjectId,
    /// The resources that it declares.
    pub(super) keys: Vec<ResourceKey>,
    /// The recorded resources that it declared before it was broken; their last good versions stay in force.
    pub(super) held: Vec<ResourceKey>,
    /// What it may declare as well.
    pub(super) doubt: PossibleDeclaration,
    /// Whether something is wrong with it by itself, whatever other files declare.
    pub(super) flawed: bool,
}

/// What a file may declare beside what could be read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum PossibleDeclaration {
    /// Nothing.
    #[default]
    None,
    /// These, each with something wrong.
    Of(Vec<ResourceKey>),
    /// Anything.
    Any,
}

impl PossibleDeclaration {
    pub(super) fn about(parsed: &manifest::Parsed) -> Self {
        // Warnings do not count: what is only warned about was read, and is in force.
        let errors = || parsed.diagnostics.iter().filter(|found| found.severity == Severity::Error);
        // An error that belongs to no resource leaves open what the file would have declared. A resource that it
        // declared before is then kept rather than taken for removed (Invariant 6).
        if parsed.broken || errors().any(|found| found.resource.is_none()) {
            return Self::Any;
        }
        let named: Vec<ResourceKey> = errors().filter_map(|found| found.resource.clone()).collect();
        if named.is_empty() { Self::None } else { Self::Of(named) }
    }

    pub(super) fn covers(&self, key: &ResourceKey) -> bool {
        match self {
            Self::None => false,
            Self::Of(keys) => keys.contains(key),
            Self::Any => true,
        }
    }

    /// The resources that are named.
    pub(super) fn named(&self) -> impl Iterator<Item = ResourceKey> {
        let keys = if let Self::Of(keys) = self { keys.as_slice() } else { &[] };
        keys.iter().cloned()
    }
}

pub(super) fn why_quarantined(path: &str) -> String {
    format!("the newest version in `{path}` is not valid")
}
