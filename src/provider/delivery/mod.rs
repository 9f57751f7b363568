//! Deliveries: what hands the work of the nodes before it to people. Each way to deliver is a file of its own.

mod merge;

pub(super) use merge::Merge;
