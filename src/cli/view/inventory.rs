//! Finding live objects: declarations and records, joined and selected by what the user named.

use std::cell::OnceCell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use crate::cli::Context;
use crate::cli::desired::{self, Desired};
use crate::cli::error::CliError;
use crate::cli::repo_context::{RepoContext, SelectedCommits};
use crate::cli::view::resolve;
use crate::cli::view::selector::ResourceSelector;
use crate::diagnostic::{Diagnostic, Severity};
use crate::engine::RECORD_REFUSED;
use crate::index::Index;
use crate::model::{DerivedExecution, Name, Resource, ResourceKey};
use crate::record::StatusTree;
use crate::report::object::LiveObject;
use crate::report::text;

/// All that is declared and recorded.
pub(crate) struct Inventory<'w> {
    workspace: &'w RepoContext,
    status: StatusTree,
    declared: BTreeMap<ResourceKey, Resource>,
    duplicates: BTreeSet<ResourceKey>,
    /// The errors in manifests, which were left out for them.
    broken: Vec<Diagnostic>,
    /// What this machine remembers, once somebody asks.
    index: OnceCell<Option<Index>>,
}

/// What targets select.
pub(crate) struct SelectedObjects {
    pub(crate) objects: Vec<LiveObject>,
    /// What is recorded and cannot be read.
    pub(crate) unreadable: BTreeSet<ResourceKey>,
    /// The first target that names something that is not there.
    missing: Option<ResourceSelector>,
}

impl<'w> Inventory<'w> {
    /// Reads both trees.
    pub(crate) fn load(workspace: &'w RepoContext, tips: &SelectedCommits) -> Result<Self, CliError> {
        let desired = match tips.desired {
            Some(commit) => desired::load(&workspace.repo, commit, &tips.config)?,
            None => Desired::default(),
        };
        let broken =
            desired.diagnostics.into_iter().filter(|found| found.severity == Severity::Error).collect();
        let mut declared = BTreeMap::new();
        let mut duplicates = BTreeSet::new();
        for resource in desired.resources {
            match declared.entry(resource.key()) {
                Entry::Vacant(free) => {
                    free.insert(resource);
                }
                // The first by path counts, as for references, `diff` and the preview.
                Entry::Occupied(taken) => {
                    duplicates.insert(taken.key().clone());
                }
            }
        }
        Ok(Self {
            workspace,
            status: workspace.status(tips)?,
            declared,
            duplicates,
            broken,
            index: OnceCell::new(),
        })
    }

    /// The status tree.
    pub(crate) fn status(&self) -> &StatusTree {
        &self.status
    }

    /// What is wrong with manifests that may declare what the targets select.
    pub(crate) fn broken(&self, targets: &[ResourceSelector]) -> impl Iterator<Item = &Diagnostic> {
        self.broken.iter().filter(move |found| {
            // A file that cannot be read at all may declare anything.
            found.resource.as_ref().is_none_or(|key| {
                targets.iter().any(|target| resolve::selects(target, target.namespace.as_ref(), key))
            })
        })
    }

    /// Whether several manifests declare a resource.
    pub(crate) fn is_duplicate(&self, key: &ResourceKey) -> bool {
        self.duplicates.contains(key)
    }

    /// One object, when anything is known of it.
    pub(crate) fn object(&self, key: &ResourceKey) -> Result<Option<LiveObject>, CliError> {
        let repo = &self.workspace.repo;
        let located = self.status.locate(repo, key)?;
        let resource = self.declared.get(key).cloned();
        if located.is_none() && resource.is_none() {
            return Ok(None);
        }
        // The id of the blob is the resource version: it changes with the record, and nothing has to be
        // stored.
        let (record, resource_version) = match located {
            Some((path, blob)) => (Some(StatusTree::read(repo, key, &path, blob)?), Some(blob.to_string())),
            None => (None, None),
        };
        // A derived Execution has no manifest, and its record says what it runs.
        let resource = resource.or_else(|| {
            let record = record.as_ref()?;
            Some(DerivedExecution::of(record)?.resource(&record.metadata))
        });
        let refused = if record.is_none() { self.refused(key) } else { None };
        Ok(Some(LiveObject {
            key: key.clone(),
            resource,
            record,
            refused,
            resource_version,
            signature: None,
            declared_by: None,
            summaries: BTreeSet::new(),
        }))
    }

    /// What the remote said of a record that it refused to this machine. No branch holds it, and whoever looks wonders why nothing
    /// happens.
    fn refused(&self, key: &ResourceKey) -> Option<String> {
        let index = self.index.get_or_init(|| Index::of_reader(&self.workspace.repo.cache_dir())).as_ref()?;
        let waits = index.waits_of(key).unwrap_or_default();
        waits.into_iter().find(|wait| wait.reason == RECORD_REFUSED).map(|wait| wait.message)
    }

    /// The objects that the targets select, by namespace, kind and name, each once.
    pub(crate) fn select(
        &self,
        targets: &[ResourceSelector],
        context: &mut Context,
    ) -> Result<Vec<LiveObject>, CliError> {
        let selection = self.look(targets, context)?;
        self.check_complete(&selection, context.options.namespace.as_ref())?;
        Ok(selection.objects)
    }

    /// Whether everything that was named is there.
    pub(crate) fn check_complete(
        &self,
        selection: &SelectedObjects,
        namespace: Option<&Name>,
    ) -> Result<(), CliError> {
        // No resource of a kind is an empty list; a name that is not there is a clear no.
        match &selection.missing {
            Some(target) => Err(self.not_found(target, namespace)),
            None => Ok(()),
        }
    }

    /// The same, where something may have been deleted meanwhile.
    pub(crate) fn look(
        &self,
        targets: &[ResourceSelector],
        context: &mut Context,
    ) -> Result<SelectedObjects, CliError> {
        let mut objects: BTreeMap<ResourceKey, LiveObject> = BTreeMap::new();
        let mut unreadable = BTreeSet::new();
        let mut missing = None;
        let namespace = context.options.namespace.clone();
        for target in targets {
            let keys = self.keys(target, namespace.as_ref())?;
            if target.name.is_some() && keys.is_empty() {
                missing.get_or_insert_with(|| target.clone());
            }
            for key in keys {
                match self.object(&key) {
                    Ok(Some(object)) => {
                        objects.insert(key, object);
                    }
                    Ok(None) => {}
                    // One unreadable record hides no other.
                    Err(error) => {
                        context.out.warning(text::line(&error.to_string()))?;
                        unreadable.insert(key);
                    }
                }
            }
        }
        Ok(SelectedObjects { objects: objects.into_values().collect(), unreadable, missing })
    }

    /// The one object that a target names.
    pub(crate) fn one(&self, target: &ResourceSelector, context: &Context) -> Result<LiveObject, CliError> {
        self.find(target, context)?.ok_or_else(|| self.not_found(target, context.options.namespace.as_ref()))
    }

    /// The same; `None` where nothing has the name. Any other failure is an error: it says nothing about what is there.
    pub(crate) fn find(
        &self,
        target: &ResourceSelector,
        context: &Context,
    ) -> Result<Option<LiveObject>, CliError> {
        let name = resolve::name_of(target)?;
        match self.keys(target, context.options.namespace.as_ref())?.as_slice() {
            [] => Ok(None),
            [key] => self.object(key),
            several => Err(resolve::ambiguous(name, several)),
        }
    }

    /// The keys that a target selects; a namespace in the target takes precedence over `-n`.
    pub(crate) fn keys(
        &self,
        target: &ResourceSelector,
        namespace: Option<&Name>,
    ) -> Result<Vec<ResourceKey>, CliError> {
        let namespace = target.namespace.as_ref().or(namespace);
        let recorded = self.status.list(&self.workspace.repo, target.kind, namespace)?;
        // Both sides count: a new manifest has no record yet, and a record outlives its manifest until the
        // next reconcile.
        let declared = self.declared.keys().cloned();
        let mut keys: Vec<ResourceKey> =
            declared.chain(recorded.into_iter().map(|(key, _, _)| key)).collect();
        keys.retain(|key| resolve::selects(target, namespace, key));
        keys.sort();
        keys.dedup();
        Ok(keys)
    }

    fn not_found(&self, target: &ResourceSelector, namespace: Option<&Name>) -> CliError {
        if let Some(error) = resolve::broken(&self.broken, target, namespace) {
            return error;
        }
        let error = match resolve::name_of(target) {
            Ok(name) => resolve::not_found(self.declared.keys(), target.kind, name, ""),
            Err(error) => return error,
        };
        // A resource whose manifest is broken is not among the declared ones, and that is then the likely
        // reason.
        if self.broken.is_empty() {
            return error;
        }
        let error = resolve::unreadable(error, &self.broken);
        error.hint("some manifests have errors and were left out; `planspec validate` lists them")
    }
}
