//! What a caller may choose about a reconcile.

use std::time::Duration;

/// What a caller may choose about a reconcile.
#[derive(Debug, Clone, Default)]
pub struct ReconcileOptions {
    /// How many local attempts run at once; what the configuration says when absent.
    pub jobs: Option<usize>,
    /// The same, when the configuration says nothing either.
    pub default_jobs: usize,
    /// Go on when everything waits, and look again this often.
    pub watch: Option<Duration>,
    /// Stop cleanly before this much time has passed.
    pub max_duration: Option<Duration>,
    /// Carry out a deletion of more than the configured share of all resources.
    pub allow_mass_delete: bool,
    /// The name of this runner: unique to the process.
    pub runner: String,
    /// Pass the lines on that providers print.
    pub stream_output: bool,
}
