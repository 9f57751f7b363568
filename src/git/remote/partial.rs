//! Partial clones: objects that were left on the remote, fetched when they are needed.

use std::collections::BTreeSet;

use git2::OdbLookupFlags;

use super::outage::RemoteAccess;
use super::{FETCH, Remote, RemoteOptions};
use crate::git::{GitError, ObjectId, Repo};

/// How many levels of directories are fetched one after the other, where trees were left out as well.
const LEVELS: u32 = 256;

impl Repo {
    /// Fetches what a commit leads to and this partial clone left on its remote; does nothing in any other clone. All at once:
    /// a checkout that asks for each file alone makes a connection for each.
    ///
    /// # Errors
    /// When the remote cannot be read, or does not have it either.
    pub fn fetch_missing(&self, commit: ObjectId) -> Result<(), GitError> {
        let Some(remote) = self.promisor()? else { return Ok(()) };
        for _ in 0..LEVELS {
            let missing = remote.list_missing(commit)?;
            if missing.is_empty() {
                return Ok(());
            }
            tracing::debug!(%commit, objects = missing.len(), "fetching what the partial clone left out");
            remote.fetch_promised(&missing)?;
        }
        Err(GitError::BadTree { id: commit, problem: "is nested too deeply" })
    }

    /// Fetches those of the objects that this partial clone left on its remote, in one request; does nothing in any other clone.
    /// Called before many objects are read: a request for each costs a process and a connection (measured: a first pass over
    /// 5,000 manifests took 28 minutes that way, and takes 13 s in a full clone).
    ///
    /// # Errors
    /// When the remote cannot be read, or does not have them either.
    pub fn fetch_promised(&self, ids: impl Iterator<Item = ObjectId>) -> Result<(), GitError> {
        let mut ids = ids.peekable();
        // Asked in every pass, and mostly nothing changed: the configuration need not be read for that.
        if ids.peek().is_none() {
            return Ok(());
        }
        let Some(remote) = self.promisor()? else { return Ok(()) };
        let odb = self.odb()?;
        // Without a look for new packs at every object that is not here: most are not.
        let here = |id: &ObjectId| id.oid().is_ok_and(|oid| odb.exists_ext(oid, OdbLookupFlags::NO_REFRESH));
        let missing: BTreeSet<ObjectId> = ids.filter(|id| !here(id)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        tracing::debug!(objects = missing.len(), "fetching what the partial clone left out");
        let missing: Vec<String> = missing.iter().map(ObjectId::to_string).collect();
        remote.fetch_promised(&missing)
    }

    /// Fetches one object that this partial clone left on its remote. Whether it may be here now.
    pub(in crate::git) fn fetch_object(&self, id: ObjectId) -> bool {
        let Ok(Some(remote)) = self.promisor() else { return false };
        let fetched = remote.fetch_promised(&[id.to_string()]);
        fetched.inspect_err(|error| tracing::debug!(%id, %error, "a promised object cannot be had")).is_ok()
    }

    /// The remote that has what is missing here.
    fn promisor(&self) -> Result<Option<Remote>, GitError> {
        let config = self.git2().config().map_err(GitError::doing("cannot read the configuration"))?;
        let named = config.get_string("extensions.partialclone").ok();
        let marked = |name: &String| config.get_bool(&format!("remote.{name}.promisor")).unwrap_or(false);
        let name = match named {
            Some(name) => Some(name),
            // `git fetch --filter` marks the remote without the extension.
            None => self.remote_names()?.into_iter().find(marked),
        };
        name.map(|name| Remote::open(self, &name, RemoteOptions::default())).transpose()
    }
}

impl Remote {
    /// The objects of a commit that are not here.
    fn list_missing(&self, commit: ObjectId) -> Result<Vec<String>, GitError> {
        let args = ["rev-list", "--objects", "--no-object-names", "--missing=print", "--no-walk"];
        let output = self.program().args(args).args([commit.to_string()]).run()?;
        if !output.success || output.is_cut() {
            return Err(GitError::Program { doing: "list what is missing", detail: output.stderr });
        }
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().filter_map(|line| line.strip_prefix('?').map(str::to_owned)).collect())
    }

    fn fetch_promised(&self, ids: &[String]) -> Result<(), GitError> {
        let input = ids.iter().map(|id| format!("{id}\n")).collect::<String>();
        self.patiently(RemoteAccess::Read, || {
            // As `git` itself does it: no negotiation, since nothing that is here helps with an object that is not.
            let program = self.program().args(["-c", "fetch.negotiationAlgorithm=noop"]).args(FETCH);
            let program = program.args(["--filter=blob:none", "--stdin", &self.target]);
            let output = self.finish(program.input(input.clone().into_bytes()))?;
            if output.success { Ok(()) } else { Err(self.failure("fetching", &output)) }
        })
    }
}
