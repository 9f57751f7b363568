//! Git: trees, commits, references by compare-and-swap, and transport. The only user of libgit2 and of the
//! `git` program; knows nothing of resources.
//!
//! Local work goes through libgit2 in this process; whatever talks to a remote goes through the `git`
//! program, which brings credential helpers, SSH, proxies and exact leases with it.

mod command;
mod entry;
mod error;
mod gathered;
mod maintenance;
mod object_id;
mod objects;
mod refs;
mod remote;
mod repository;
mod running;
mod signing_key;
mod stop;
mod url;
mod work_tree;
mod workspace;

pub use command::pass_on;
pub use entry::{EntryMode, TreeEntry};
pub use error::GitError;
pub use object_id::{ObjectId, ObjectIdError};
pub use objects::{Commit, CommitLog, FirstParentLine, LinePlace, LineSource, MergeResult, TreeChange};
pub use refs::{KnownTags, RefUpdate, SwapResult, is_branch_name};
pub use remote::{
    LineDepth, NewestCommits, OutageListener, OutageNotice, OutagePatience, PushFailure, PushResult, Remote,
    RemoteOptions, Transport, may_come_later,
};
pub use repository::{Repo, Signature};
pub use running::end_runs;
pub use signing_key::{CommitSignature, PublicKey, SigningKey};
pub use stop::StopSignal;
pub use work_tree::BranchCommit;
pub use workspace::{
    ChangedPaths, CheckoutForm, CommittedWork, FileChange, HandedOverFile, JudgedCommit, Leftovers,
    NewCommit, ObjectCache, Quarantine, ResultMerge, Submodule, WorkingCopy, holds_marker, remove_kept,
};
