//! The rules of metadata.

use crate::manifest::problem::Problem;
use crate::manifest::{codes, pointer};
use crate::model::Metadata;

/// The largest value of an annotation, in bytes (contract).
const LARGEST: usize = 64 * 1024;

/// Checks the size of annotations in bytes; a schema counts characters.
pub(super) fn check(metadata: &Metadata, problems: &mut Vec<Problem>) {
    for (key, _) in metadata.annotations.iter().filter(|(_, value)| value.len() > LARGEST) {
        let pointer = pointer::join("/metadata/annotations", key);
        problems.push(Problem::new(codes::OUT_OF_RANGE, pointer, "must have at most 65536 bytes").at_key());
    }
}
