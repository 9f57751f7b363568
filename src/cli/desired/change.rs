//! A change to the desired state in the making: which files are edited, what happens to which resource, and whether the
//! result is valid. Publishes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::cli::desired::bindings::check_bindings;
use crate::cli::desired::{self, Desired};
use crate::cli::drive::registry_to_check;
use crate::cli::error::CliError;
use crate::cli::repo_context::RepoContext;
use crate::config::Config;
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::git::ObjectId;
use crate::index::ManifestFilter;
use crate::manifest;
use crate::manifest::documents;
use crate::model::{Resource, ResourceKey, Reuse, SourceLocation};

/// What a change does to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChangeKind {
    /// It was not there.
    Created,
    /// It was there, and differs.
    Configured,
    /// It is removed.
    Deleted,
    /// It is as it should be.
    Unchanged,
}

impl ChangeKind {
    /// The word that is printed.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Deleted => "deleted",
            Self::Unchanged => "unchanged",
        }
    }
}

/// The change, with everything at its base that it is checked against.
pub(crate) struct DesiredChange<'w> {
    workspace: &'w RepoContext,
    base: Option<ObjectId>,
    config: Config,
    filter: ManifestFilter,
    before: Desired,
    /// New contents by path; `None` removes the file.
    pub(crate) edits: BTreeMap<String, Option<Vec<u8>>>,
    /// What happens to each resource, in the order in which the user named them.
    pub(crate) changes: Vec<(ResourceKey, ChangeKind)>,
    /// What a new execution will take over from an earlier one.
    pub(crate) reuse: Option<Reuse>,
}

impl<'w> DesiredChange<'w> {
    /// Nothing changed yet, on top of `base`.
    pub(crate) fn on(workspace: &'w RepoContext, base: Option<ObjectId>) -> Result<Self, CliError> {
        let config = workspace.config_at(base)?;
        let filter = ManifestFilter::new(&config).map_err(|error| CliError::no(error.to_string()))?;
        let before = match base {
            Some(commit) => desired::load(&workspace.repo, commit, &config)?,
            None => Desired::default(),
        };
        Ok(Self {
            workspace,
            base,
            config,
            filter,
            before,
            edits: BTreeMap::new(),
            changes: Vec::new(),
            reuse: None,
        })
    }

    /// The commit that is changed.
    pub(crate) fn base(&self) -> Option<ObjectId> {
        self.base
    }

    /// The configuration at the base.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Whether a path may hold manifests.
    pub(crate) fn accepts(&self, path: &str) -> bool {
        self.filter.accepts(path)
    }

    /// The resources at the base.
    pub(crate) fn resources(&self) -> &[Resource] {
        &self.before.resources
    }

    /// What is wrong with manifests at the base.
    pub(crate) fn found(&self) -> &[Diagnostic] {
        &self.before.diagnostics
    }

    /// Why a resource that something refers to is not among those at the base.
    pub(crate) fn missing(&self, key: &ResourceKey) -> CliError {
        match self.before.diagnostics.iter().find(|found| found.breaks(key)) {
            Some(found) => CliError::no(format!("{key} is broken: {}", found.brief())),
            None => CliError::no(format!("there is no {key}")),
        }
    }

    /// The keys of the resources at the base.
    pub(crate) fn keys(&self) -> Vec<ResourceKey> {
        self.before.resources.iter().map(Resource::key).collect()
    }

    /// The resource at the base.
    pub(crate) fn find(&self, key: &ResourceKey) -> Option<&Resource> {
        self.before.resources.iter().find(|resource| resource.key() == *key)
    }

    /// The document that declares a resource, also where it has an error.
    pub(crate) fn source(&self, key: &ResourceKey) -> Option<SourceLocation> {
        let broken = || {
            let found = self.before.diagnostics.iter().find(|found| found.breaks(key))?;
            let Location { path, document, .. } = found.location.clone();
            Some(SourceLocation { path, document })
        };
        self.find(key).map(|resource| resource.source.clone()).or_else(broken)
    }

    /// Takes a file over as it is, at its own path.
    pub(crate) fn take_file(&mut self, path: &str, bytes: &[u8], resources: &[Resource]) {
        for resource in resources {
            let change = self.kind_of_change(resource);
            self.changes.push((resource.key(), change));
        }
        // A file that is committed as it is makes no edit, so that applying it again makes no commit.
        if self.content(path).as_deref() != Some(bytes) {
            self.edits.insert(path.to_owned(), Some(bytes.to_vec()));
        }
    }

    /// Puts one resource into the file that declares it, else into a file of its own. `text` is its document.
    pub(crate) fn put(&mut self, resource: &Resource, text: &str) -> Result<(), CliError> {
        let key = resource.key();
        let change = self.kind_of_change(resource);
        self.changes.push((key.clone(), change));
        if change == ChangeKind::Unchanged {
            return Ok(());
        }
        // Where it is broken it is fixed in its place: a second file would declare it twice.
        let Some(old) = self.source(&key) else {
            let path = self.new_path(&key)?;
            self.edits.insert(path, Some(format!("{}\n", text.trim_end()).into_bytes()));
            return Ok(());
        };
        let new = if old.path.to_ascii_lowercase().ends_with(".json") {
            as_json(text)?
        } else {
            // Only the lines of this document change: comments and neighbours stay as people wrote them.
            let whole = self.text(&old.path)?;
            let index = usize::try_from(old.document).unwrap_or(usize::MAX);
            documents::replace(&whole, index, text).ok_or_else(|| {
                CliError::no(format!("{} cannot be edited one document at a time", old.path))
            })?
        };
        self.edits.insert(old.path, Some(new.into_bytes()));
        Ok(())
    }

    /// Removes resources; those that are not there count as unchanged.
    pub(crate) fn remove(&mut self, keys: &[ResourceKey]) -> Result<(), CliError> {
        let mut by_path: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for key in keys {
            let Some(source) = self.find(key).map(|resource| resource.source.clone()) else {
                self.changes.push((key.clone(), ChangeKind::Unchanged));
                continue;
            };
            let index = usize::try_from(source.document).unwrap_or(usize::MAX);
            // By file, because removing one document moves the index of every one after it.
            by_path.entry(source.path).or_default().push(index);
            self.changes.push((key.clone(), ChangeKind::Deleted));
        }
        for (path, indices) in by_path {
            let left = documents::remove(&self.text(&path)?, &indices);
            self.edits.insert(path, left.map(String::into_bytes));
        }
        Ok(())
    }

    fn kind_of_change(&self, resource: &Resource) -> ChangeKind {
        match self.find(&resource.key()) {
            None if self.source(&resource.key()).is_some() => ChangeKind::Configured,
            None => ChangeKind::Created,
            Some(old) if old.metadata == resource.metadata && old.spec_digest == resource.spec_digest => {
                ChangeKind::Unchanged
            }
            Some(_) => ChangeKind::Configured,
        }
    }

    /// `planspec/<namespace>/<plural>/<name>.yaml`; made of validated names only.
    fn new_path(&self, key: &ResourceKey) -> Result<String, CliError> {
        let path = format!("planspec/{}/{}/{}.yaml", key.namespace, key.kind.plural(), key.name);
        if !self.filter.accepts(&path) {
            return Err(CliError::no(format!("the configuration does not read manifests from {path}"))
                .hint("add `planspec/**` to `paths` in .planspec.yaml, or put the file into the repository yourself"));
        }
        // Writing over it would remove what it declares.
        if self.content(&path).is_some() {
            return Err(CliError::no(format!("{path} already exists and contains something else"))
                .hint("a file whose name suggests this resource declares another one, or is broken"));
        }
        Ok(path)
    }

    /// The content of a file with the edits so far.
    fn content(&self, path: &str) -> Option<Vec<u8>> {
        match self.edits.get(path) {
            Some(edited) => edited.clone(),
            None => self
                .base
                .and_then(|base| desired::read_at(&self.workspace.repo, base, path, &self.config.limits)),
        }
    }

    fn text(&self, path: &str) -> Result<String, CliError> {
        let bytes = self.content(path).unwrap_or_default();
        String::from_utf8(bytes).map_err(|_| CliError::no(format!("{path} is not UTF-8")))
    }

    /// The documents of the resources that the change is about, as they stand after it; what it deletes has none.
    pub(crate) fn written(&self) -> Vec<String> {
        let mut texts = Vec::new();
        for (key, change) in &self.changes {
            let known = self.find(key).map(|old| old.source.path.as_str());
            // In an edited file first: a resource may be new, or may move there.
            let paths = self.edits.keys().map(String::as_str).chain(known);
            let document = paths.filter(|_| *change != ChangeKind::Deleted).find_map(|path| {
                let text = String::from_utf8(self.content(path)?).ok()?;
                let parsed = manifest::parse(path, text.as_bytes(), &self.config.limits);
                let source = parsed.resources.into_iter().find(|resource| resource.key() == *key)?.source;
                let index = usize::try_from(source.document).ok()?;
                documents::content(&text, index).map(str::to_owned)
            });
            texts.extend(document);
        }
        texts
    }

    /// Everything that the change makes wrong, and everything worth knowing about it: findings in the edited
    /// files, references that would break, transitions that are not allowed.
    pub(crate) fn findings(&self) -> Vec<Diagnostic> {
        let edited: HashSet<&str> = self.edits.keys().map(String::as_str).collect();
        let mut resources: Vec<Resource> = self.before.resources.clone();
        // Edited files are parsed again as a whole, since an edit may break its neighbours.
        resources.retain(|resource| !edited.contains(resource.source.path.as_str()));
        let mut found = Vec::new();
        for (path, content) in &self.edits {
            if let Some(bytes) = content {
                let parsed = manifest::parse(path, bytes, &self.config.limits);
                let registry = registry_to_check(&self.config);
                let read = |_: &str| Some(bytes.clone());
                found.extend(check_bindings(&parsed.resources, &registry, &self.config.limits, read));
                resources.extend(parsed.resources);
                found.extend(parsed.diagnostics);
            }
        }
        let limits = &self.config.limits;
        // Without lines, which an edit moves.
        let same = |found: &Diagnostic| (found.code, found.location.path.clone(), found.message.clone());
        let known: HashSet<_> =
            desired::check_references(&self.before.resources, limits, |_| None).iter().map(same).collect();
        let read = |path: &str| self.content(path);
        // What was wrong in other files before is no reason to refuse this change.
        let mut references = desired::check_references(&resources, limits, read);
        references
            .retain(|found| edited.contains(found.location.path.as_str()) || !known.contains(&same(found)));
        found.extend(references);
        let touched: BTreeSet<&ResourceKey> = self.changes.iter().map(|(key, _)| key).collect();
        let after: HashMap<ResourceKey, &Resource> =
            resources.iter().map(|resource| (resource.key(), resource)).collect();
        let old = self.before.resources.iter().filter(|resource| touched.contains(&resource.key()));
        let mut moved: Vec<Diagnostic> =
            old.flat_map(|old| manifest::check_transition(old, after.get(&old.key()).copied())).collect();
        manifest::locate(&mut moved, limits, read);
        found.extend(moved);
        found
    }

    /// Whether any finding forbids the change.
    pub(crate) fn is_refused(findings: &[Diagnostic]) -> bool {
        findings.iter().any(|found| found.severity == Severity::Error)
    }

    /// Reads a file with the edits, for excerpts.
    pub(crate) fn reader(&self) -> impl Fn(&str) -> Option<Vec<u8>> + '_ {
        |path| self.content(path)
    }
}

/// A document as JSON, for a file that holds JSON.
fn as_json(text: &str) -> Result<String, CliError> {
    let value: serde_json::Value = serde_yaml::from_str(text)
        .map_err(|error| CliError::no(format!("the document cannot be written as JSON: {error}")))?;
    Ok(format!("{}\n", serde_json::to_string_pretty(&value)?))
}
