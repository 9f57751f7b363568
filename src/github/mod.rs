//! The API of the Git host. The only user of octocrab; knows nothing of plans or executions.
