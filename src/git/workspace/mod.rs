//! Workspaces: working trees with a `.git` of their own, outside of the user's repository, in which tasks work; and what
//! tasks changed there, taken in as objects. Git of ours never reads a `.git`, a configuration, an index or attributes that a
//! task could write: each workspace has a second Git directory beside it, which only the runner uses.

mod committed;
mod form;
mod kept_pools;
mod left_behind;
mod link;
mod merge_results;
mod object_cache;
mod quarantine;
mod restore;
mod slot;
mod submodules;
mod task_git_dir;
mod untouched;
mod working_copy;

pub use committed::CommittedWork;
pub use form::{CheckoutForm, Leftovers};
pub use kept_pools::remove_kept;
pub use merge_results::{ResultMerge, holds_marker};
pub use object_cache::ObjectCache;
pub use quarantine::{FileChange, HandedOverFile, NewCommit, Quarantine};
pub use restore::JudgedCommit;
pub use submodules::Submodule;
pub use working_copy::{ChangedPaths, WorkingCopy};
