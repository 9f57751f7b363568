//! An attempt for the tests of providers: what no test is about is said here once.

use std::sync::Arc;

use super::{Attempt, NoFiles, PrivateCheckout, Workspace, WorkspaceError, WorkspaceForm};
use crate::model::{JsonMap, Kind, ResourceKey};

/// A workspace that nobody may ask for a checkout.
struct Nowhere;

impl Workspace for Nowhere {
    fn prepare_as(&self, _: &WorkspaceForm) -> Result<PrivateCheckout, WorkspaceError> {
        panic!("this work needs no checkout")
    }
}

/// The second attempt of a node of the execution `exec-1`, with nothing given and nowhere to work.
pub(super) fn attempt(node: &str) -> Attempt {
    Attempt {
        key: ResourceKey::new(Kind::Execution, "team".parse().unwrap(), "exec-1".parse().unwrap()),
        node: node.parse().unwrap(),
        attempt: 2,
        run_id: "run-1".to_owned(),
        idempotency_key: format!("uid/{node}/2"),
        work: format!("uid/{node}/1"),
        fencing_token: 7,
        provider: String::new(),
        config: JsonMap::new(),
        inputs: JsonMap::new(),
        declared_outputs: Vec::new(),
        criteria: Vec::new(),
        timeout: None,
        commit: "0".repeat(40),
        run_dir: "/nowhere".into(),
        workspace: Arc::new(Nowhere),
        upstream: Default::default(),
        files: Arc::new(NoFiles),
        handle: None,
        age: Default::default(),
        output_contract: Default::default(),
        answer: None,
        brief: Default::default(),
    }
}
