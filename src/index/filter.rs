//! Which paths of a tree may hold manifests.

use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::config::{CONFIG_FILE, Config};
use crate::manifest::is_candidate;

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
        let include = if config.paths.is_empty() { None } else { Some(compile(&config.paths)?) };
        Ok(Self { include, exclude: compile(&config.exclude)? })
    }

    /// Whether the file at `path` is to be read.
    #[must_use]
    pub fn accepts(&self, path: &str) -> bool {
        is_candidate(path)
            && path != CONFIG_FILE
            && self.include.as_ref().is_none_or(|set| set.is_match(path))
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
