//! Commands that set up a repository, an editor or a shell.

pub(crate) mod candidates;
pub(crate) mod demo;
pub(crate) mod init;
pub(crate) mod schema;
pub(crate) mod shell_files;
pub(crate) mod trust;

mod workflows;
