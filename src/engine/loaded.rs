//! A resource as it was read from its manifest.

use crate::index::Declaration;
use crate::model::Resource;

/// A declared resource with its declaration.
#[derive(Debug, Clone)]
pub(super) struct LoadedResource {
    pub(super) resource: Resource,
    pub(super) declared: Declaration,
}
