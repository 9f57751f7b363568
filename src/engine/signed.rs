//! Signatures of the status branch, where `trust.status` asks for them. A runner checks what it builds on before it signs, so
//! that its signature vouches for everything below it: a pass reads back to the newest commit of a runner, and no further.

use std::collections::BTreeSet;
use std::fs;

use tracing::{debug, warn};

use super::EngineError;
use super::branches::{BranchTips, Branches};
use super::clock::{Clock as _, SystemClock};
use crate::config::{Config, OpenPgpKey, Signer, SignerKey, SignerRole};
use crate::git::{Commit, CommitSignature, GitError, ObjectId, PublicKey, Repo};
use crate::manifest;
use crate::model::{Digest, Kind, NodeId, NodeKind, ResourceKey, Spec, StatusRecord};
pub(super) use crate::record::desired_commit as named_by;
use crate::record::{DESIRED_COMMIT, RUNNER, StatusPath, StatusTree};
use crate::run::{beyond_decisions, expanded};

/// The runner in the trailer of a commit that takes over a history which was refused.
pub(super) const ACCEPTED: &str = "accept-status-history";

/// A commit of the status branch, with who signed it or why it does not hold.
pub type VerifiedCommit = (Commit, Result<SignedBy, String>);

/// Who signed a commit that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBy {
    /// The name in the configuration.
    pub name: String,
    /// What they may record.
    pub role: SignerRole,
}

/// What is checked of a commit of the status branch.
struct SignedCommit<'a> {
    signature: &'a CommitSignature,
    parents: usize,
    /// Why its change is more than decisions of this person. Asked only of a person, as it costs a comparison of trees.
    beyond: &'a dyn Fn(&str) -> Result<Option<String>, EngineError>,
}

/// The rule, given what is known of a commit: who signed it, or why it does not hold.
fn judge(commit: &SignedCommit<'_>, signers: &[&Signer]) -> Result<Result<SignedBy, String>, EngineError> {
    let signer = match signer_of(commit.signature, signers) {
        Ok(signer) => signer,
        Err(why) => return Ok(Err(why)),
    };
    // Nobody merges status branches: each commit is made on the one tip that its writer read (Invariant 3).
    if commit.parents > 1 {
        return Ok(Err("it is a merge".to_owned()));
    }
    let name = &signer.name;
    let by = SignedBy { name: name.clone(), role: signer.role };
    if signer.role == SignerRole::Runner {
        return Ok(Ok(by));
    }
    if commit.parents == 0 {
        return Ok(Err(format!("{name} is a person, and history ends here without a commit of a runner")));
    }
    Ok(match (commit.beyond)(name)? {
        Some(why) => Err(format!("{name} may record only decisions in that name, and {why}")),
        None => Ok(by),
    })
}

/// Whose signature it is, or why it is nobody's.
pub(super) fn signer_of<'a>(
    signature: &CommitSignature,
    signers: &[&'a Signer],
) -> Result<&'a Signer, String> {
    match signature {
        CommitSignature::Missing => Err("it is not signed".to_owned()),
        CommitSignature::Invalid => {
            Err("its signature is not for this commit, or cannot be checked here".to_owned())
        }
        CommitSignature::Unknown(key) => Err(format!("its key {key} is not listed")),
        CommitSignature::Known(index) => {
            signers.get(*index).copied().ok_or_else(|| "its key is not listed".to_owned())
        }
    }
}

impl Branches {
    /// The commit as it goes onto the status branch: signed, where that is asked for, by the key of this process.
    ///
    /// # Errors
    /// [`EngineError::CannotSign`] without a key; [`EngineError::NotSigner`] when it may not record this; Git.
    pub(super) fn sign(&self, config: &Config, commit: ObjectId) -> Result<ObjectId, EngineError> {
        self.signed_by(config, commit).map(|(commit, _)| commit)
    }

    /// The same, with who signed it; nobody where that is not asked for.
    fn signed_by(
        &self,
        config: &Config,
        commit: ObjectId,
    ) -> Result<(ObjectId, Option<SignedBy>), EngineError> {
        if config.trust.status.is_none() {
            return Ok((commit, None));
        }
        let signed = self.repo().signed(commit).map_err(cannot_sign)?;
        // Before anybody else sees it: a commit that everybody refuses would stop the branch.
        let made = self.repo().commit(signed)?;
        match self.judged(config, &made)? {
            Ok(by) => {
                debug!(%signed, by = by.name, "status commit signed");
                Ok((signed, Some(by)))
            }
            Err(why) => Err(EngineError::NotSigner { why }),
        }
    }

    /// The same, by a runner: for what only a runner may do and no comparison of trees shows.
    pub(super) fn sign_as_runner(&self, config: &Config, commit: ObjectId) -> Result<ObjectId, EngineError> {
        match self.signed_by(config, commit)? {
            (_, Some(by)) if by.role == SignerRole::Person => Err(EngineError::NotSigner {
                why: format!("{} is a person, and only a runner may do this", by.name),
            }),
            (signed, _) => Ok(signed),
        }
    }

    /// Refuses the key of this process where it is no runner's; tried on a commit that goes nowhere.
    pub(super) fn check_runner(&self, config: &Config, like: ObjectId) -> Result<(), EngineError> {
        self.sign_as_runner(config, self.repo().trial_commit(like)?).map(drop)
    }

    /// Refuses a tip of the status branch that does not hold.
    ///
    /// # Errors
    /// [`EngineError::NotSigned`]; Git.
    pub(super) fn check_signed(
        &self,
        config: &Config,
        desired: ObjectId,
        tip: Option<ObjectId>,
    ) -> Result<(), EngineError> {
        let (Some(_), Some(tip)) = (&config.trust.status, tip) else { return Ok(()) };
        let memory = self.repo().cache_dir().join("signed-status-tip");
        // With the list of signers: a key that is taken from it does not count because it did before.
        let trust = Digest::of_bytes(&serde_json::to_vec(&config.trust).unwrap_or_default());
        let known = fs::read_to_string(&memory).unwrap_or_default();
        let last = known.strip_suffix(&format!(" {}", trust.as_str())).and_then(|tip| tip.parse().ok());
        for commit in self.status_log(config, tip) {
            let commit = commit?;
            if Some(commit.id) == last {
                break;
            }
            let why = match self.judged(config, &commit)? {
                // What lies below was checked by that runner before it signed.
                Ok(by) if by.role == SignerRole::Runner => break,
                Ok(_) => continue,
                Err(why) => why,
            };
            match self.judged_then(&commit, desired)? {
                Some(by) if by.role == SignerRole::Person => {}
                // A runner has to be listed now: with a key that was taken from the list, somebody could begin the branch anew,
                // and a fresh clone has no memory of another one.
                _ => return Err(refused(config, &commit, why)),
            }
        }
        if last != Some(tip) {
            let folder = memory.parent().map_or(Ok(()), fs::create_dir_all);
            if let Err(error) = folder.and_then(|()| fs::write(&memory, format!("{tip} {}", trust.as_str())))
            {
                warn!(%error, "the tip that holds could not be remembered; it is checked again");
            }
        }
        Ok(())
    }

    /// The commit with which a runner takes a history over that does not hold; `None` where it holds.
    pub(super) fn take_over(&self, tips: &BranchTips) -> Result<Option<ObjectId>, EngineError> {
        let refused = match self.check_signed(&tips.config, tips.desired.id, tips.status) {
            Ok(()) => return Ok(None),
            Err(refused @ EngineError::NotSigned { .. }) if self.accepts_history() => refused,
            Err(error) => return Err(error),
        };
        let Some(tip) = tips.status else { return Ok(None) };
        let by = self.repo().runner_identity();
        let message = format!(
            "status history accepted by {}\n\n{refused}\n\n{DESIRED_COMMIT}: {}\n{RUNNER}: {ACCEPTED}\n",
            by.email, tips.desired.id
        );
        let tree = self.repo().commit(tip)?.tree;
        let commit = self.repo().write_commit(tree, &[tip], &message, &by, SystemClock.now())?;
        self.sign_as_runner(&tips.config, commit).map(Some)
    }

    /// Who signed each commit of the status branch, or why it does not hold: from the tip to the root, to `since`, or to the
    /// commit in which a runner took over what was there before; newest first. `None` where nothing has to be signed.
    ///
    /// # Errors
    /// Git; an invalid configuration.
    pub fn verify(&self, since: Option<ObjectId>) -> Result<Option<Vec<VerifiedCommit>>, EngineError> {
        let tips = self.newest_tips()?;
        if tips.config.trust.status.is_none() {
            return Ok(None);
        }
        let mut found = Vec::new();
        for commit in tips.status.into_iter().flat_map(|tip| self.status_log(&tips.config, tip)) {
            let commit = commit?;
            if Some(commit.id) == since {
                break;
            }
            let by = self.signer(&tips.config, tips.desired.id, &commit)?;
            let ends = takes_over(&commit) && by.as_ref().is_ok_and(|by| by.role == SignerRole::Runner);
            found.push((commit, by));
            if ends {
                break;
            }
        }
        Ok(Some(found))
    }

    /// Who signed one commit of the status branch, or why it does not hold. `desired` is the desired commit that has this
    /// configuration.
    ///
    /// # Errors
    /// Git.
    pub(crate) fn signer(
        &self,
        config: &Config,
        desired: ObjectId,
        commit: &Commit,
    ) -> Result<Result<SignedBy, String>, EngineError> {
        Ok(match self.judged(config, commit)? {
            Ok(by) => Ok(by),
            Err(why) => self.judged_then(commit, desired)?.ok_or(why),
        })
    }

    /// Who signed a commit that does not hold by the configuration in force: one of the signers of the desired commit that it
    /// names, so that what was signed before a key was replaced still holds.
    fn judged_then(&self, commit: &Commit, desired: ObjectId) -> Result<Option<SignedBy>, EngineError> {
        let repo = self.repo();
        let Some(named) = named_by(commit).filter(|named| *named != desired) else { return Ok(None) };
        let parent = commit.parents.first().map(|parent| repo.commit(*parent)).transpose()?;
        let before = parent.as_ref().and_then(named_by);
        // What a shallow clone does not know is no.
        let follows =
            |old: ObjectId, new: ObjectId| old == new || matches!(repo.is_ancestor(old, new), Ok(Some(true)));
        // Never an older list than that of the parent: a key that was taken from the list would else come back by naming
        // an older commit.
        if !before.is_none_or(|before| follows(before, named)) || !follows(named, desired) {
            return Ok(None);
        }
        let Ok(then) = self.read("", named) else { return Ok(None) };
        Ok(self.judged(&then.config, commit)?.ok())
    }

    /// Who signed a commit, by the signers of a configuration, or why it does not hold.
    fn judged(&self, config: &Config, commit: &Commit) -> Result<Result<SignedBy, String>, EngineError> {
        let signers = config.trust.status.iter().flat_map(|trust| &trust.signers);
        let (signers, keys) = keys_of(signers);
        let signatures = self.repo().signatures(&[commit.id], &keys)?;
        let missing = CommitSignature::Missing;
        let signature = signatures.first().unwrap_or(&missing);
        let beyond = |by: &str| beyond(self.repo(), config, commit, by);
        let facts = SignedCommit { signature, parents: commit.parents.len(), beyond: &beyond };
        judge(&facts, &signers)
    }
}

pub(super) fn cannot_sign(error: GitError) -> EngineError {
    match error {
        GitError::Signing { detail } => EngineError::CannotSign { detail },
        error => error.into(),
    }
}

/// The keys of signers, each with whose it is.
pub(super) fn keys_of<'a>(
    signers: impl Iterator<Item = &'a Signer>,
) -> (Vec<&'a Signer>, Vec<PublicKey<'a>>) {
    let key_of = |key: &'a SignerKey| match key {
        SignerKey::Ssh(key) => PublicKey::Ssh(key),
        SignerKey::OpenPgp(OpenPgpKey { fingerprint, armored, .. }) => {
            PublicKey::OpenPgp { fingerprint, armored }
        }
    };
    signers.flat_map(|signer| signer.keys.iter().map(move |key| (signer, key_of(key)))).unzip()
}

fn refused(config: &Config, commit: &Commit, why: String) -> EngineError {
    let branch = config.status_branch.clone();
    let subject = commit.subject().to_owned();
    EngineError::NotSigned { branch, commit: commit.id.short(), subject, why }
}

/// Whether a commit takes over a history that was refused.
pub(super) fn takes_over(commit: &Commit) -> bool {
    let trailers = commit.trailers();
    trailers.iter().any(|(name, value)| name == RUNNER && value == ACCEPTED)
}

/// Why the difference between a commit and its parent is more than decisions of this person.
fn beyond(repo: &Repo, config: &Config, commit: &Commit, by: &str) -> Result<Option<String>, EngineError> {
    let Some(parent) = commit.parents.first() else {
        return Ok(Some("there is nothing to decide".to_owned()));
    };
    let before = StatusTree::at(repo, Some(*parent))?;
    let after = StatusTree { commit: Some(commit.id), tree: Some(commit.tree) };
    let mut keys: BTreeSet<ResourceKey> = BTreeSet::new();
    let mut pinned: BTreeSet<ResourceKey> = BTreeSet::new();
    for change in repo.compare(before.tree, after.tree)? {
        match StatusPath::parse(&change.path) {
            Some(StatusPath::Record(key) | StatusPath::Part(key, _))
                if matches!(key.kind, Kind::Gate | Kind::Execution) =>
            {
                keys.insert(key);
            }
            // Only `accept-pin` pins anew; the record that goes with it says so, and is looked at below.
            Some(StatusPath::Pin(key, _)) if key.kind == Kind::Execution => {
                pinned.insert(key);
            }
            _ => {
                let path = String::from_utf8_lossy(&change.path).escape_default().to_string();
                return Ok(Some(format!("`{path}` is changed")));
            }
        }
    }
    for key in &keys {
        let Ok(old) = before.get(repo, key) else {
            return Ok(Some(format!("{key} could not be read before")));
        };
        let Ok(new) = after.get(repo, key) else { return Ok(Some(format!("{key} cannot be read"))) };
        let derived = derived_nodes(repo, config, &before, key, old.as_ref())?;
        let is_derived = |id: &NodeId| derived.contains(id);
        if let Some(why) = beyond_decisions(by, old.as_ref(), new.as_ref(), &is_derived) {
            return Ok(Some(format!("in {key} {why}")));
        }
        let accepted =
            |record: &Option<StatusRecord>| record.as_ref().and_then(StatusRecord::pin_accepted).cloned();
        if accepted(&old) != accepted(&new) {
            pinned.remove(key);
        }
    }
    Ok(pinned.first().map(|key| format!("what {key} is pinned to is changed")))
}

/// The nodes of the pinned plan whose phase follows from others: groups, and nodes that are repeated.
fn derived_nodes(
    repo: &Repo,
    config: &Config,
    status: &StatusTree,
    key: &ResourceKey,
    record: Option<&StatusRecord>,
) -> Result<BTreeSet<NodeId>, EngineError> {
    let pinned =
        record.and_then(StatusRecord::execution).and_then(|status| status.extensions.pinned.as_ref());
    let (Some(pinned), Some(blob)) = (pinned, status.pinned(repo, key)?.plan) else {
        return Ok(BTreeSet::new());
    };
    let bytes = repo.blob(blob, config.limits.file_bytes)?;
    let parsed = manifest::parse("pinned.yaml", &bytes, &config.limits);
    let plan = parsed.resources.into_iter().find(|resource| resource.key() == pinned.plan);
    let Some(Spec::Plan(plan)) = plan.map(|plan| plan.spec) else { return Ok(BTreeSet::new()) };
    let status = record.and_then(StatusRecord::execution);
    // With the instances of repeated nodes, which the plan itself does not name.
    let graph = status.and_then(|status| expanded(&plan.graph, status)).unwrap_or(plan.graph);
    Ok(graph.nodes.into_iter().filter(|node| node.kind == NodeKind::Group).map(|node| node.id).collect())
}
