//! The desired state at a commit: the one function through which commands read all manifests. The files beside this one
//! make changes to it.

pub(crate) mod bindings;
pub(crate) mod change;
pub(crate) mod code_owners;
pub(crate) mod difference;
pub(crate) mod input;
pub(crate) mod nested_plans;
pub(crate) mod preview;
pub(crate) mod publish;
pub(crate) mod required_gates;
pub(crate) mod worker_workflow;

use std::collections::HashMap;

use rayon::prelude::*;
use serde_json::json;

use crate::cli::error::CliError;
use crate::config::{CONFIG_FILE, Config, Limits};
use crate::diagnostic::{Diagnostic, Location};
use crate::git::{GitError, ObjectId, Repo, TreeEntry};
use crate::index::{ManifestFilter, read_entry};
use crate::manifest::{self, Facts, Parsed, codes};
use crate::model::{BindingTarget, ExecutionSpec, Resource, ResourceKey, SourceLocation, Spec};
use crate::plan::binding::{BindingView, Resolution, TaskToBind, resolve};
use crate::provider::Registry;

/// All that a tree declares.
#[derive(Debug, Default)]
pub(crate) struct Desired {
    /// The resources that nothing is wrong with, in the order of paths and documents.
    pub(crate) resources: Vec<Resource>,
    /// Everything that is wrong with files and documents, taken one by one.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Desired {
    /// Adds what was found in one file.
    pub(crate) fn take(&mut self, parsed: Parsed) {
        self.resources.extend(parsed.resources);
        self.diagnostics.extend(parsed.diagnostics);
    }

    /// The file that declares a resource.
    pub(crate) fn path_of(&self, key: &ResourceKey) -> Option<&str> {
        self.resources.iter().find(|resource| resource.key() == *key).map(|found| found.source.path.as_str())
    }
}

/// Resources by what names them.
pub(crate) type ByKey<'a> = HashMap<ResourceKey, &'a Resource>;

/// The resources by key; of two declarations the first by path counts, as for references.
pub(crate) fn by_key(resources: &[Resource]) -> ByKey<'_> {
    let mut map = ByKey::new();
    for resource in resources {
        map.entry(resource.key()).or_insert(resource);
    }
    map
}

/// What does the work of a task, by the Bindings as they are declared. What counts in the end is resolved when the node starts.
pub(crate) fn bound_target(task: &TaskToBind<'_>, declared: &ByKey<'_>) -> Option<BindingTarget> {
    declared_target(task, |key| declared.get(key).map(|resource| &resource.spec))
}

/// All that may do the work of a task; several where the rules of its Binding are in conflict.
pub(crate) fn candidates(task: &TaskToBind<'_>, declared: &ByKey<'_>) -> Vec<BindingTarget> {
    resolution(task, |key| declared.get(key).map(|resource| &resource.spec)).candidates()
}

/// What does the work of a task, wherever the declarations come from.
pub(crate) fn declared_target<'s>(
    task: &TaskToBind<'_>,
    spec: impl Fn(&ResourceKey) -> Option<&'s Spec>,
) -> Option<BindingTarget> {
    resolution(task, spec).target()
}

fn resolution<'s>(task: &TaskToBind<'_>, spec: impl Fn(&ResourceKey) -> Option<&'s Spec>) -> Resolution {
    let found = resolve(task, |key| match spec(key) {
        // The generation is recorded with a claim, and decides nothing here.
        Some(Spec::Binding(spec)) => Some(BindingView { spec, generation: 1 }),
        _ => None,
    });
    found.resolution
}

/// An Execution of a plan that names no Binding, as `planspec run` makes one.
pub(crate) fn unbound(plan: &ResourceKey) -> Option<ExecutionSpec> {
    serde_json::from_value(json!({ "planRef": { "name": plan.name } })).ok()
}

/// What it takes the whole of every resource to find: gates that the configuration requires, and plans that run each other.
pub(crate) fn check_plans(
    resources: &[Resource],
    config: &Config,
    mut read: impl FnMut(&str) -> Option<Vec<u8>>,
) -> Vec<Diagnostic> {
    let mut found = required_gates::check(resources, config, &mut read);
    found.extend(nested_plans::check(resources, config, read));
    found
}

/// Reads every manifest of a commit that the configuration's `paths` and `exclude` let through.
pub(crate) fn load(repo: &Repo, commit: ObjectId, config: &Config) -> Result<Desired, CliError> {
    let mut desired = Desired::default();
    // Shares come in the order of paths, whichever thread was done first.
    for share in read_all(repo, commit, config, Desired::take)? {
        desired.resources.extend(share.resources);
        desired.diagnostics.extend(share.diagnostics);
    }
    Ok(desired)
}

/// What cross-checking needs of all that a tree declares; a fraction of the size of the resources themselves.
#[derive(Debug, Default)]
pub(crate) struct DesiredFacts {
    /// The facts of the resources that nothing is wrong with, in the order of paths and documents.
    pub(crate) facts: Vec<(Facts, SourceLocation)>,
    /// Everything that is wrong with files and documents, taken one by one.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl DesiredFacts {
    /// Adds what was found in one file.
    pub(crate) fn take(&mut self, (facts, diagnostics): FileFacts) {
        self.facts.extend(facts);
        self.diagnostics.extend(diagnostics);
    }
}

/// What was found in one file.
pub(crate) type FileFacts = (Vec<(Facts, SourceLocation)>, Vec<Diagnostic>);

/// The facts of what was found in a file.
pub(crate) fn outline(parsed: Parsed) -> FileFacts {
    let facts = |resource: Resource| (manifest::facts(&resource), resource.source);
    (parsed.resources.into_iter().map(facts).collect(), parsed.diagnostics)
}

/// As [`load`], keeping only what cross-checking needs, and with what providers say of Bindings.
pub(crate) fn survey(
    repo: &Repo,
    commit: ObjectId,
    config: &Config,
    registry: &Registry,
) -> Result<DesiredFacts, CliError> {
    let dir = repo.common_dir().to_owned();
    let shares = read_all(repo, commit, config, |share: &mut DesiredFacts, parsed| {
        let limits = &config.limits;
        // Rarely read twice: only the files of Bindings with which something is wrong, to find the places.
        let text = |path: &str| Repo::open(&dir).ok().and_then(|repo| read_at(&repo, commit, path, limits));
        let found = bindings::check_bindings(&parsed.resources, registry, limits, text);
        share.take(outline(parsed));
        share.diagnostics.extend(found);
    })?;
    let mut survey = DesiredFacts::default();
    // Room for all at once: growing by copying would be most of what a large repository needs.
    survey.facts.reserve_exact(shares.iter().map(|share| share.facts.len()).sum());
    for share in shares {
        survey.facts.extend(share.facts);
        survey.diagnostics.extend(share.diagnostics);
    }
    Ok(survey)
}

/// How many files a thread takes at a time: their contents then lie together in the pack, and no thread is left with the
/// last large share.
const SHARE: usize = 512;

/// Reads every manifest; what was found in the files of each share is added up by `add`.
fn read_all<T: Default + Send>(
    repo: &Repo,
    commit: ObjectId,
    config: &Config,
    add: impl Fn(&mut T, Parsed) + Sync,
) -> Result<Vec<T>, CliError> {
    let files = manifest_files(repo, commit, config)?;
    repo.fetch_promised(files.iter().filter(|(_, entry)| entry.mode.is_file()).map(|(_, entry)| entry.id))?;
    let dir = repo.common_dir();
    files
        .par_chunks(SHARE)
        .map_init(
            // A handle for each thread: those of libgit2 cannot be shared.
            || Repo::open(dir),
            |repo, files| {
                let Ok(repo) = repo else {
                    return Err(CliError::from(GitError::NotARepository { path: dir.to_owned() }));
                };
                let mut share = T::default();
                for (path, entry) in files {
                    add(&mut share, read_entry(repo, path, entry, &config.limits)?);
                }
                Ok(share)
            },
        )
        .collect()
}

/// The candidates of a commit: paths and entries, in the order of the paths.
fn manifest_files(
    repo: &Repo,
    commit: ObjectId,
    config: &Config,
) -> Result<Vec<(String, TreeEntry)>, CliError> {
    let filter =
        ManifestFilter::new(config).map_err(|error| CliError::no(format!("{CONFIG_FILE}: {error}")))?;
    let tree = repo.commit(commit)?.tree;
    let mut files: Vec<(String, TreeEntry)> = Vec::new();
    // A comparison with nothing lists every file, and is the same fast walk over raw trees that finds
    // changes.
    for change in repo.compare(None, Some(tree))? {
        // A path that is not UTF-8 cannot be named in a manifest, a message or a status: it is no manifest.
        if let (Ok(path), Some(entry)) = (String::from_utf8(change.path), change.new)
            && filter.accepts(&path)
        {
            files.push((path, entry));
        }
    }
    Ok(files)
}

/// Checks what resources say of each other, and finds the places of what is wrong. `read` gives the content
/// of a path.
pub(crate) fn check_references(
    resources: &[Resource],
    limits: &Limits,
    read: impl FnMut(&str) -> Option<Vec<u8>>,
) -> Vec<Diagnostic> {
    let facts: Vec<(Facts, SourceLocation)> =
        resources.par_iter().map(|resource| (manifest::facts(resource), resource.source.clone())).collect();
    check_facts(facts.iter(), limits, read)
}

/// As [`check_references`], of what is known of the resources.
pub(crate) fn check_facts<'a>(
    facts: impl Iterator<Item = &'a (Facts, SourceLocation)>,
    limits: &Limits,
    read: impl FnMut(&str) -> Option<Vec<u8>>,
) -> Vec<Diagnostic> {
    let mut found = manifest::check_references(facts.map(|(facts, source)| (facts, source)));
    manifest::locate(&mut found, limits, read);
    found
}

/// What is wrong with the sections of the configuration that belong to one provider each. Schemas say what a section is;
/// only the provider knows the settings in it.
pub(crate) fn check_sections(
    registry: &Registry,
    limits: &Limits,
    read: impl FnMut(&str) -> Option<Vec<u8>>,
) -> Vec<Diagnostic> {
    let place = |keys: &[String]| Location {
        path: CONFIG_FILE.to_owned(),
        pointer: keys.iter().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1"))).collect(),
        ..Location::default()
    };
    let mut found: Vec<Diagnostic> = (registry.check_sections().iter())
        .map(|error| {
            let code = if error.is_unknown { codes::UNKNOWN_FIELD } else { codes::UNUSABLE_VALUE };
            Diagnostic::error(code, place(&error.keys), &error.message)
        })
        .collect();
    manifest::locate(&mut found, limits, read);
    found
}

/// The content of a file at a commit, as far as the limit goes.
pub(crate) fn read_at(repo: &Repo, commit: ObjectId, path: &str, limits: &Limits) -> Option<Vec<u8>> {
    let tree = repo.commit(commit).ok()?.tree;
    let blob = repo.file(tree, path).ok()??;
    repo.blob(blob, limits.file_bytes).ok()
}

/// What may not, or should not lightly, change from one set of resources to another.
pub(crate) fn transitions(old: &[Resource], new: &[Resource]) -> Vec<Diagnostic> {
    let after: HashMap<ResourceKey, &Resource> =
        new.iter().map(|resource| (resource.key(), resource)).collect();
    old.iter()
        .flat_map(|before| manifest::check_transition(before, after.get(&before.key()).copied()))
        .collect()
}
