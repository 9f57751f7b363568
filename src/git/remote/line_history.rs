//! The commits of a branch that a shallow clone lacks, in a bare repository of ours. The user's own clone stays as shallow as
//! it is.

use std::path::Path;

use super::clone::create;
use super::outage::RemoteAccess;
use super::{FETCH, Remote};
use crate::git::{GitError, ObjectId, Repo};

/// Where the newest fetched commit is kept, so that the next fetch brings only what is newer.
const LINE: &str = "refs/heads/line";

/// How much history is fetched at first. Executions are mostly driven within days of their merge, and all commits of a large
/// repository, even without their trees, are tens of megabytes.
const FIRST_DEPTH: u32 = 1_000;

/// How much of the history is fetched.
#[derive(Debug, Clone, Copy)]
pub struct LineDepth {
    /// With the trees of the commits; never with blobs.
    pub trees: bool,
    /// All commits, not only the newest.
    pub whole: bool,
}

impl Remote {
    /// Fetches commits before `tip` into the repository at `into`, without blobs, and without trees unless they are asked for, where
    /// the remote can leave them out. `repo` is the clone that lacks them.
    ///
    /// # Errors
    /// When the remote cannot be read, or does not have the commit any more.
    pub fn fetch_line(
        &self,
        repo: &Repo,
        into: &Path,
        tip: ObjectId,
        depth: LineDepth,
    ) -> Result<Repo, GitError> {
        let store = match Repo::open(into) {
            Ok(store) => store,
            Err(_) => make(repo, into)?,
        };
        self.patiently(RemoteAccess::Read, || self.fetch_commits(&store, tip, depth))?;
        Repo::open(into)
    }

    fn fetch_commits(&self, store: &Repo, tip: ObjectId, depth: LineDepth) -> Result<(), GitError> {
        // A remote that cannot filter says so and sends everything.
        let filter = if depth.trees { "--filter=blob:none" } else { "--filter=tree:0" };
        let mut program = self.program_in(store.common_dir()).args(FETCH).args(["--refmap=", filter]);
        if depth.trees {
            // Its commits may be here, without their trees.
            program = program.args(["--refetch"]);
        }
        let known = store.read_ref(LINE)?.is_some();
        if depth.whole && store.is_shallow() {
            program = program.args(["--unshallow"]);
        } else if !depth.whole && !known {
            // Only at first: a depth given later would cut off what is there.
            program = program.args([format!("--depth={FIRST_DEPTH}")]);
        }
        let spec = format!("+{tip}:{LINE}");
        let output = self.finish(program.args(["--end-of-options", &self.elsewhere()?, &spec]))?;
        tracing::debug!(remote = self.shown, %tip, ?depth, success = output.success, "fetched the history of a branch");
        if output.success { Ok(()) } else { Err(self.failure("fetching", &output)) }
    }

    /// What the program is given when it runs in another directory than the clone.
    fn elsewhere(&self) -> Result<String, GitError> {
        if !self.address.is_local() || self.address.url.contains("://") {
            return Ok(self.target.clone());
        }
        // A path in the configuration of a clone is relative to that clone.
        let path = self.directory.join(&self.address.url);
        path.to_str().map(str::to_owned).ok_or_else(|| super::unknown(&self.target))
    }
}

fn make(repo: &Repo, into: &Path) -> Result<Repo, GitError> {
    let theirs = repo.common_dir().join("config");
    create(into, |store| {
        let config = store.common_dir().join("config");
        let ours = std::fs::read_to_string(&config)?;
        let theirs = theirs.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
        // Remotes, credentials, proxies and SSH commands are those of the clone. It comes first, so that what makes this a bare
        // repository wins.
        std::fs::write(&config, format!("[include]\n\tpath = \"{theirs}\"\n{ours}"))
    })
}
