//! Answers that planning needs again and again at the same commits: resources as they are declared, and what was resolved for
//! nodes that wait for a slot. Forgotten whenever the index is brought to other commits.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::engine::snapshot::LoadedResource;
use crate::git::ObjectId;
use crate::graph::NodeIx;
use crate::model::{ApprovedTarget, ResourceKey};
use crate::plan::ProviderResolution;

/// The blob and the generation of the Binding that was resolved with; none when there is no such Binding.
pub(crate) type BindingVersion = Option<(ObjectId, u64)>;

/// How many executions are remembered at most.
const MOST: usize = 10_000;

/// What was resolved for the nodes of an execution, and when it was so.
type ResolvedNodes = HashMap<NodeIx, (BindingVersion, ProviderResolution)>;

/// The blob of the Binding, and the Execution that is at work for the node.
pub(crate) type ApprovedStamp = (Option<ObjectId>, Option<ResourceKey>);

/// What approvals are bound to for the nodes of an execution, and for which Binding and attempt.
type ApprovedNodes = HashMap<NodeIx, (ApprovedStamp, Option<ApprovedTarget>)>;

/// Answers so far.
#[derive(Debug, Default)]
pub(crate) struct ResolveCache {
    bindings: RefCell<HashMap<ResourceKey, Rc<LoadedResource>>>,
    resolved: RefCell<HashMap<ResourceKey, ResolvedNodes>>,
    approved: RefCell<HashMap<ResourceKey, ApprovedNodes>>,
    /// By commit; none where they cannot be known.
    authors: RefCell<HashMap<String, CommitAuthors>>,
}

/// Who had a hand in a commit; none where that cannot be known.
type CommitAuthors = Option<Rc<[String]>>;

impl ResolveCache {
    /// The Binding, if it was read before.
    pub(crate) fn binding(&self, key: &ResourceKey) -> Option<Rc<LoadedResource>> {
        self.bindings.borrow().get(key).cloned()
    }

    /// Remembers a Binding.
    pub(crate) fn keep_binding(&self, key: &ResourceKey, loaded: &Rc<LoadedResource>) {
        self.bindings.borrow_mut().insert(key.clone(), Rc::clone(loaded));
    }

    /// What was resolved for a node, if that was with the Binding as it is now.
    pub(crate) fn resolved(
        &self,
        execution: &ResourceKey,
        node: NodeIx,
        stamp: BindingVersion,
    ) -> Option<ProviderResolution> {
        let resolved = self.resolved.borrow();
        let (known, answer) = resolved.get(execution)?.get(&node)?;
        // Also within the same commits: the generation changes as soon as the Binding's record is published.
        (*known == stamp).then(|| answer.clone())
    }

    /// Remembers what was resolved for a node.
    pub(crate) fn keep_resolved(
        &self,
        execution: &ResourceKey,
        node: NodeIx,
        stamp: BindingVersion,
        answer: &ProviderResolution,
    ) {
        let mut resolved = self.resolved.borrow_mut();
        // All of it at once: what is dropped is only resolved again, and no order of use has to be kept.
        if resolved.len() >= MOST && !resolved.contains_key(execution) {
            resolved.clear();
        }
        resolved.entry(execution.clone()).or_default().insert(node, (stamp, answer.clone()));
    }

    /// What an approval is bound to for a node, if that was worked out with the Binding and the attempt as they are now.
    pub(crate) fn approved(
        &self,
        execution: &ResourceKey,
        node: NodeIx,
        stamp: &ApprovedStamp,
    ) -> Option<Option<ApprovedTarget>> {
        let approved = self.approved.borrow();
        let (known, target) = approved.get(execution)?.get(&node)?;
        (known == stamp).then(|| target.clone())
    }

    /// Remembers what an approval is bound to for a node.
    pub(crate) fn keep_approved(
        &self,
        execution: &ResourceKey,
        node: NodeIx,
        stamp: ApprovedStamp,
        target: &Option<ApprovedTarget>,
    ) {
        let mut approved = self.approved.borrow_mut();
        if approved.len() >= MOST && !approved.contains_key(execution) {
            approved.clear();
        }
        approved.entry(execution.clone()).or_default().insert(node, (stamp, target.clone()));
    }

    /// Who had a hand in a commit, if that was looked up before.
    pub(crate) fn authors(&self, commit: &str) -> Option<CommitAuthors> {
        self.authors.borrow().get(commit).cloned()
    }

    /// Remembers who had a hand in a commit.
    pub(crate) fn keep_authors(&self, commit: &str, authors: CommitAuthors) {
        let mut known = self.authors.borrow_mut();
        // Thousands of Executions share a few commits; whoever may push the status branch could name any number.
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(commit.to_owned(), authors);
    }
}
