//! What a snapshot keeps so that it is not read or worked out again. All of it may be forgotten at any time (Invariant 17).

pub(super) mod large_records;
pub(super) mod resolve_cache;
