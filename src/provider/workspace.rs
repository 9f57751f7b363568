//! Where local work happens: a private checkout. The engine implements it; providers only ask for one.

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// Gives private checkouts of one commit.
pub trait Workspace: Send + Sync {
    /// A checkout that nobody else uses. Blocks while it is made.
    ///
    /// # Errors
    /// When it cannot be made.
    fn prepare(&self) -> Result<PrivateCheckout, WorkspaceError>;
}

/// Why there is no checkout.
#[derive(Debug, thiserror::Error)]
#[error("no checkout of the pinned commit")]
pub struct WorkspaceError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl WorkspaceError {
    /// Says why.
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(source.into())
    }
}

type ReleaseCheckout = Box<dyn FnOnce(PathBuf) + Send>;

/// A private checkout: a folder that is given back when this is dropped.
pub struct PrivateCheckout {
    path: PathBuf,
    // An `Option`, because `drop` has only a reference, and the function can be called once.
    give_back: Option<ReleaseCheckout>,
}

impl PrivateCheckout {
    /// A checkout at `path`; `give_back` is called with the path when it is no longer used.
    pub fn new(path: PathBuf, give_back: impl FnOnce(PathBuf) + Send + 'static) -> Self {
        Self { path, give_back: Some(Box::new(give_back)) }
    }
}

impl Deref for PrivateCheckout {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl fmt::Debug for PrivateCheckout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Checkout").field(&self.path).finish()
    }
}

impl Drop for PrivateCheckout {
    fn drop(&mut self) {
        // On every way out, also when the attempt is aborted: a checkout that is not given back is lost to the pool.
        if let Some(give_back) = self.give_back.take() {
            give_back(std::mem::take(&mut self.path));
        }
    }
}
