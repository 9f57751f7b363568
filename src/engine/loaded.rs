//! A resource as it was read from its manifest.

use crate::index::Declared;
use crate::model::Resource;

/// A declared resource with its declaration.
#[derive(Debug, Clone)]
pub(super) struct Loaded {
    pub(super) resource: Resource,
    pub(super) declared: Declared,
}
