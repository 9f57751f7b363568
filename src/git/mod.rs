//! Git: trees, commits, references by compare-and-swap, and transport. The only user of libgit2 and of the
//! `git` program; knows nothing of resources.
//!
//! Local work goes through libgit2 in this process; whatever talks to a remote goes through the `git`
//! program, which brings credential helpers, SSH, proxies and exact leases with it.

mod branch_commit;
mod checkout;
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
mod person;
mod program;
mod raw_tree;
mod read;
mod reference;
mod remote;
mod repository;
mod url;
mod work_tree;
mod write;

pub use branch_commit::BranchCommit;
pub use commit::Commit;
pub use compare::TreeChange;
pub use entry::{Entry, Mode};
pub use error::GitError;
pub use history::Log;
pub use merge::{Merged, is_branch_name};
pub use object_id::{ObjectId, ObjectIdError};
pub use person::Person;
pub use reference::Swap;
pub use remote::{Push, Remote, RemoteOptions};
pub use repository::Repo;
