//! Git: trees, commits, references by compare-and-swap, and transport. The only user of libgit2 and of the
//! `git` program; knows nothing of resources.
//!
//! Local work goes through libgit2 in this process; whatever talks to a remote goes through the `git`
//! program, which brings credential helpers, SSH, proxies and exact leases with it.

mod branch_commit;
mod checkout;
mod command;
mod commit;
mod compare;
mod edit;
mod entry;
mod error;
mod export;
mod history;
mod lock;
mod merge;
mod object_id;
mod path;
mod raw_tree;
mod read;
mod reference;
mod remote;
mod repository;
mod signature;
mod url;
mod user_commit;
mod work_tree;
mod write;

pub use branch_commit::BranchCommit;
pub use commit::Commit;
pub use compare::TreeChange;
pub use entry::{EntryMode, TreeEntry};
pub use error::GitError;
pub use history::CommitLog;
pub use merge::{MergeResult, is_branch_name};
pub use object_id::{ObjectId, ObjectIdError};
pub use reference::SwapResult;
pub use remote::{PushResult, Remote, RemoteOptions};
pub use repository::Repo;
pub use signature::Signature;
