//! Workspaces with submodules: fetched before the task begins, by the runner and with its credentials, at the commits of the base.

use std::path::PathBuf;

use tracing::debug;

use super::workspace::Workspaces;
use crate::git::{CheckoutForm, GitError, ObjectCache, ObjectId, Remote, Repo, Submodule, WorkingCopy};

/// The folder of workspaces with submodules. They are not used again: resetting one would need a look into each.
const WITH_MODULES: &str = "with-modules";

/// A submodule with the cache of its objects.
pub(super) struct FetchedModule {
    module: Submodule,
    cache: ObjectCache,
    /// Its address, without credentials.
    address: String,
}

impl Workspaces {
    /// The submodules of a commit that a workspace of this form has, with all that is needed to write them. Blocks.
    pub(super) fn fetch_modules(
        &self,
        cache: &ObjectCache,
        commit: ObjectId,
        sparse: &[String],
    ) -> Result<Vec<FetchedModule>, GitError> {
        let mut fetched = Vec::new();
        for module in cache.submodules(commit)?.into_iter().filter(|module| module.is_among(sparse)) {
            let address = Remote::submodule_address(self.remote(), &module)?;
            let cache = cache.module_cache(&address)?;
            let shown = Remote::without_credentials(&address);
            let store = Repo::open(cache.dir())?;
            Remote::fetch_submodule(self.remote(), (&store, &address), module.commit).map_err(|error| {
                match error {
                    GitError::Interrupted => GitError::Interrupted,
                    error => GitError::Submodule {
                        path: module.path.clone(),
                        address: shown.clone(),
                        source: Box::new(error),
                    },
                }
            })?;
            debug!(submodule = module.path, commit = %module.commit, "submodule fetched");
            fetched.push(FetchedModule { module, cache, address: shown });
        }
        Ok(fetched)
    }

    /// Where the objects are that Git reads in a workspace with these submodules.
    pub(super) fn objects_of(cache: &ObjectCache, modules: &[FetchedModule]) -> Vec<PathBuf> {
        std::iter::once(cache.objects())
            .chain(modules.iter().map(|fetched| fetched.cache.objects()))
            .collect()
    }

    /// A workspace that holds a commit of the cache with these submodules.
    pub(super) fn check_out_with_modules(
        &self,
        cache: &ObjectCache,
        commit: ObjectId,
        form: &CheckoutForm<'_>,
        modules: &[FetchedModule],
    ) -> Result<WorkingCopy, GitError> {
        let tags = self.tags()?;
        let mut copy = WorkingCopy::take(&self.folder().join(WITH_MODULES))?;
        copy.empty()?;
        copy.check_out(cache, commit, &tags, form)?;
        let modules: Vec<_> = modules
            .iter()
            .map(|fetched| (&fetched.module, &fetched.cache, fetched.address.as_str()))
            .collect();
        copy.check_out_modules(&modules)?;
        Ok(copy)
    }
}
