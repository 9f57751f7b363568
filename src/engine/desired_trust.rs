//! Signatures of the desired branch, where `trust.desired` asks for them: a commit that holds manifests or configuration comes
//! into force only when somebody has signed it whom the commit in force before it lists.

use tracing::{debug, info};

use super::EngineError;
use super::branches::{BranchTips, Branches};
use super::clock::{Clock as _, SystemClock};
use super::desired_branch::MAX_CONFIG_BYTES;
use super::signed::{SignedBy, VerifiedCommit, cannot_sign, keys_of, named_by, signer_of};
use crate::config::{Config, DesiredTrust, SignedCommits};
use crate::git::{Commit, CommitSignature, ObjectId};
use crate::record::{DESIRED_COMMIT, RUNNER};

/// How many status commits are read for the desired commit that was in force before. Each commit of a runner names one; those
/// of people between two passes may not.
const SEARCHED: usize = 1_000;

/// The most signatures that are checked at once. The first is mostly the one that is looked for, and each takes milliseconds, so
/// the search begins with that one alone.
const BATCH: usize = 32;

impl Branches {
    /// Refuses a desired commit that is not signed as the one in force before it asks. The list of the commit itself counts
    /// only where nothing was in force before: whoever pushes could else bring a list along. Gives the commit that was in force
    /// before, where one of the two asks for signatures and it is another one.
    ///
    /// # Errors
    /// [`EngineError::DesiredNotSigned`]; Git.
    pub(super) fn check_desired(&self, tips: &BranchTips) -> Result<Option<ObjectId>, EngineError> {
        let unsigned = |commit: &Commit, why: String| EngineError::DesiredNotSigned {
            branch: tips.branch.clone(),
            commit: commit.id.short(),
            subject: commit.subject().to_owned(),
            why,
        };
        let before = self.in_force(tips)?;
        if before == Some(tips.desired.id) {
            return Ok(None);
        }
        let read = match before.map(|id| self.read(&tips.branch, id)).transpose() {
            Ok(read) => read,
            // Nothing asks for signatures as far as can be known here, and a clone that is too shallow to know is nothing
            // that a pusher decides. What does ask says so below.
            Err(error) if tips.config.trust.desired.is_none() => {
                debug!(%error, ?before, "the desired commit that was in force before cannot be read");
                None
            }
            Err(error) => {
                let id = before.map(|id| id.short()).unwrap_or_default();
                let why = format!("{id}, which was in force before it, cannot be read here: {error}");
                return Err(unsigned(&tips.desired, why));
            }
        };
        let asked = &read.as_ref().map_or(&tips.config, |read| &read.config).trust.desired;
        if let Some(trust) = asked {
            for (commit, by) in self.signed_since(trust, &tips.desired, before)? {
                match by {
                    Ok(by) => debug!(commit = %commit.id, by = by.name, "desired commit is signed"),
                    Err(why) => return Err(unsigned(&commit, why)),
                }
            }
        }
        Ok(before.filter(|_| asked.is_some() || tips.config.trust.desired.is_some()))
    }

    /// The newest commits, for a pass. Where signatures are asked for, the status branch names each desired commit as it comes into
    /// force, even if nothing else changes by it: a list of signers would else count only once some work is recorded.
    ///
    /// # Errors
    /// As [`Self::tips`]; Git.
    pub(super) fn tips_in_force(&self) -> Result<BranchTips, EngineError> {
        let tips = self.tips()?;
        let (Some(_), Some(tip), Some(before)) = (self.repo().signing_key(), tips.status, tips.replaces)
        else {
            return Ok(tips);
        };
        let by = self.repo().runner_identity();
        let desired = tips.desired.id;
        let message = format!(
            "{} brought into force\n\n{DESIRED_COMMIT}: {desired}\n{RUNNER}: {}\n",
            desired.short(),
            by.email
        );
        let tree = self.repo().commit(tip)?.tree;
        let commit = self.repo().write_commit(tree, &[tip], &message, &by, SystemClock.now())?;
        info!(%desired, %before, "the desired commit is signed and comes into force");
        let signed = self.sign_as_runner(&tips.config, commit)?;
        self.accepted(tips, signed)
    }

    /// Who signed what came into force while signatures were asked for, or why it does not hold; newest first. By what the status
    /// branch names, so that each commit is judged by the list of the one before it.
    ///
    /// # Errors
    /// Git; an invalid configuration.
    pub fn verify_desired(&self, since: Option<ObjectId>) -> Result<Vec<VerifiedCommit>, EngineError> {
        let tips = self.newest_tips()?;
        let mut named: Vec<ObjectId> = vec![tips.desired.id];
        for commit in tips.status.into_iter().flat_map(|tip| self.status_log(&tips.config, tip)) {
            let commit = commit?;
            if Some(commit.id) == since {
                break;
            }
            named.extend(named_by(&commit).filter(|id| named.last() != Some(id)));
        }
        let mut found = Vec::new();
        for pair in named.windows(2) {
            let &[after, before] = pair else { continue };
            let after = self.repo().commit(after)?;
            if let Some(trust) = self.read(&tips.branch, before)?.config.trust.desired {
                found.extend(self.signed_since(&trust, &after, Some(before))?);
            }
        }
        Ok(found)
    }

    /// The desired commit that was in force last, by the newest status commit that this runner signed itself: whoever may push
    /// both branches writes any other. Whoever has no key of a runner starts nothing, and takes the status branch's word.
    fn in_force(&self, tips: &BranchTips) -> Result<Option<ObjectId>, EngineError> {
        let Some(tip) = tips.status else { return Ok(None) };
        let log = || self.status_log(&tips.config, tip).take(SEARCHED);
        // Where nobody signs, nothing was vouched for: the key is not even read, and one that cannot be used is no error.
        let vouched = self.repo().may_have_signed(tip, log())?;
        let own = vouched.then(|| self.repo().own_signature(tip).map_err(cannot_sign)).transpose()?;
        if let Some(own) = own.flatten() {
            let mut commits = log();
            let mut size = 1;
            loop {
                let batch: Vec<Commit> = commits.by_ref().take(size).collect::<Result<_, _>>()?;
                if batch.is_empty() {
                    break;
                }
                let ids: Vec<ObjectId> = batch.iter().map(|commit| commit.id).collect();
                let signatures = self.repo().signatures(&ids, &[])?;
                let mine = batch.iter().zip(&signatures).filter(|(_, signature)| **signature == own);
                if let Some(named) = mine.filter_map(|(commit, _)| named_by(commit)).next() {
                    return Ok(Some(named));
                }
                size = (size * 2).min(BATCH);
            }
            // A new key: as for a new runner, there is nothing that it has vouched for.
            debug!("no status commit is signed with this runner's key yet");
        }
        for commit in log() {
            if let Some(named) = named_by(&commit?) {
                return Ok(Some(named));
            }
        }
        Ok(None)
    }

    /// Reads the public keys that the configuration of a commit names by their files.
    pub(super) fn read_keys(&self, desired: &Commit, config: &mut Config) -> Result<(), EngineError> {
        for key in config.trust.openpgp_keys() {
            let blob = self.repo().file(desired.tree, &key.file)?;
            let bytes = blob.map(|blob| self.repo().blob(blob, MAX_CONFIG_BYTES)).transpose()?;
            let armored = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
            // Not left out: a list that lost a signer in silence would refuse that signer's work with the wrong reason.
            key.armored = armored.ok_or_else(|| EngineError::Config {
                commit: desired.id.short(),
                message: format!(
                    "`trust` names the OpenPGP key `{}`, which is not a text file of that commit",
                    key.file
                ),
            })?;
        }
        Ok(())
    }

    /// The configuration of a desired commit, with the keys that it names by their files.
    ///
    /// # Errors
    /// Git; an invalid configuration.
    pub(crate) fn config_of(&self, desired: ObjectId) -> Result<Config, EngineError> {
        Ok(self.read("", desired)?.config)
    }

    /// Whose signature a commit of the desired branch has, by the list in force, or why it is nobody's.
    ///
    /// # Errors
    /// Git.
    pub(crate) fn desired_signer(
        &self,
        trust: &DesiredTrust,
        commit: ObjectId,
    ) -> Result<Result<SignedBy, String>, EngineError> {
        let (signers, keys) = keys_of(trust.signers.iter());
        let signatures = self.repo().signatures(&[commit], &keys)?;
        let signature = signatures.first().unwrap_or(&CommitSignature::Missing);
        let by = signer_of(signature, &signers);
        Ok(by.map(|signer| SignedBy { name: signer.name.clone(), role: signer.role }))
    }

    /// The commits whose signatures are asked for, newest first, with who signed each or why it does not hold.
    fn signed_since(
        &self,
        trust: &DesiredTrust,
        desired: &Commit,
        before: Option<ObjectId>,
    ) -> Result<Vec<VerifiedCommit>, EngineError> {
        let mut commits = vec![desired.clone()];
        // Where nothing was in force before, what lies below was merged before anybody asked for signatures. A line that does
        // not meet the commit in force was rewritten, and is asked about to its root.
        if let (SignedCommits::All, Some(before)) = (trust.mode, before) {
            while let Some(parent) = commits.last().and_then(|commit| commit.parents.first()).copied()
                && parent != before
            {
                commits.push(self.repo().commit(parent)?);
            }
        }
        let (signers, keys) = keys_of(trust.signers.iter());
        let ids: Vec<ObjectId> = commits.iter().map(|commit| commit.id).collect();
        let signatures = self.repo().signatures(&ids, &keys)?;
        let judged = commits.into_iter().zip(&signatures).map(|(commit, signature)| {
            let by = signer_of(signature, &signers);
            (commit, by.map(|signer| SignedBy { name: signer.name.clone(), role: signer.role }))
        });
        Ok(judged.collect())
    }
}
