//! Signatures of commits. The `git` program makes and checks them, which knows every agent and hardware key; keys that count
//! are handed to it, so that no configuration of a machine decides whom to believe.

use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::PoisonError;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::git::command::GitCommand;
use crate::git::signing_key::KeySource;
use crate::git::{Commit, CommitSignature, GitError, ObjectId, PublicKey, Repo};

impl Repo {
    /// The same commit with a signature: by the key of this process, else by whatever the user's Git signs with.
    ///
    /// # Errors
    /// When Git cannot sign; when the commit cannot be read.
    pub fn signed(&self, commit: ObjectId) -> Result<ObjectId, GitError> {
        let commit = self.commit(commit)?;
        // The program reads keys from files alone. It is there only as long as the program runs, and for this user alone.
        let mut file = tempfile::NamedTempFile::new()
            .map_err(|source| no_file(source, PathBuf::from("a temporary file")))?;
        let settings: Vec<OsString> = match self.signing_key() {
            None => Vec::new(),
            Some(key) => {
                let path = match &key.source {
                    KeySource::File(path) => path.clone(),
                    KeySource::Text(text) => {
                        // Secrets that went through a web form have other line ends, or lack the last one; `ssh-keygen` takes
                        // neither.
                        let text = text.trim().replace('\r', "");
                        writeln!(file, "{text}").map_err(|source| no_file(source, file.path().to_owned()))?;
                        file.path().to_owned()
                    }
                };
                let mut setting = OsString::from("user.signingkey=");
                setting.push(path);
                vec!["-c".into(), "gpg.format=ssh".into(), "-c".into(), setting]
            }
        };
        let mut command = GitCommand::new(self.place(), &settings).args(["commit-tree", "-S"]);
        command = command.args([commit.tree.to_string()]);
        for parent in &commit.parents {
            command = command.args(["-p".to_owned(), parent.to_string()]);
        }
        command = command.args(["-F", "-"]).input(commit.message.into_bytes());
        for (role, person, time) in [
            ("AUTHOR", &commit.author, commit.author_time),
            ("COMMITTER", &commit.committer, commit.committer_time),
        ] {
            command = command
                .env(&format!("GIT_{role}_NAME"), &person.name)
                .env(&format!("GIT_{role}_EMAIL"), &person.email)
                .env(&format!("GIT_{role}_DATE"), format!("@{} +0000", time.as_second()));
        }
        let output = command.run()?;
        match String::from_utf8_lossy(&output.stdout).trim().parse() {
            Ok(signed) if output.success => Ok(signed),
            _ => Err(GitError::Signing { detail: output.stderr }),
        }
    }

    /// A commit like this one that goes nowhere, to try a key on.
    ///
    /// # Errors
    /// When the commit cannot be read or written.
    pub fn trial_commit(&self, like: ObjectId) -> Result<ObjectId, GitError> {
        let like = self.commit(like)?;
        let by = self.runner_identity();
        self.write_commit(like.tree, &[like.id], "trial", &by, like.committer_time)
    }

    /// How a signature by the key of this process shows where no key is listed; nothing without such a key. Tried on a commit
    /// like the given one, and only once, since only the program reads keys.
    ///
    /// # Errors
    /// When Git cannot sign; when the commit cannot be read.
    pub fn own_signature(&self, like: ObjectId) -> Result<Option<CommitSignature>, GitError> {
        let Some(key) = self.signing_key() else { return Ok(None) };
        if let Some(shown) = key.shown.get() {
            return Ok(Some(shown.clone()));
        }
        let signed = self.signed(self.trial_commit(like)?)?;
        let shown = self.signatures(&[signed], &[])?.into_iter().next();
        Ok(shown.map(|shown| key.shown.get_or_init(|| shown).clone()))
    }

    /// Whether one of these commits, from `tip` back, carries a signature, whatever it is worth, where this process has a key: without
    /// one, none is its own. Reads no key and starts no program.
    ///
    /// # Errors
    /// When a commit cannot be read.
    pub fn may_have_signed<E: From<GitError>>(
        &self,
        tip: ObjectId,
        log: impl Iterator<Item = Result<Commit, E>>,
    ) -> Result<bool, E> {
        let Some(key) = self.signing_key() else { return Ok(false) };
        // Each status commit asks, and lies above the one before it: what was read once is not read again.
        let mut unsigned = key.unsigned.lock().unwrap_or_else(PoisonError::into_inner);
        for commit in log {
            let id = commit?.id;
            if *unsigned == Some(id) {
                break;
            }
            let oid = id.oid().map_err(GitError::doing("bad object id"))?;
            let found = self.git2().find_commit(oid).map_err(GitError::doing("cannot read a commit"))?;
            // A repository of SHA-256 has its own header beside the other.
            let headers = ["gpgsig", "gpgsig-sha256"];
            if headers.iter().any(|header| found.header_field_bytes(header).is_ok()) {
                return Ok(true);
            }
        }
        *unsigned = Some(tip);
        Ok(false)
    }

    /// The signatures of commits, in their order; `keys` are the public keys that count.
    ///
    /// # Errors
    /// When Git cannot be run, or a commit cannot be read.
    pub fn signatures(
        &self,
        commits: &[ObjectId],
        keys: &[PublicKey<'_>],
    ) -> Result<Vec<CommitSignature>, GitError> {
        let folder =
            tempfile::tempdir().map_err(|source| no_file(source, PathBuf::from("a temporary folder")))?;
        let write = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, content).map_err(|source| no_file(source, path.clone())).map(|()| path)
        };
        let mut allowed = String::new();
        let mut ring = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            match key {
                // By number: names of a configuration may hold what is a pattern or a separator in this file.
                PublicKey::Ssh(key) => allowed.push_str(&format!("key-{index} namespaces=\"git\" {key}\n")),
                PublicKey::OpenPgp { armored, .. } => ring.extend(packets(armored)),
            }
        }
        let mut file = OsString::from("gpg.ssh.allowedSignersFile=");
        file.push(write("allowed-signers", allowed.as_bytes())?);
        let mut settings: Vec<OsString> = vec!["-c".into(), file];
        // Without a key of its own it is not even started. With one, it knows no other: a key of this machine's keyring may
        // carry any name, also that of a signer.
        let gpg = if ring.is_empty() { "false" } else { "gpg" };
        for setting in ["gpg.program=", "gpg.openpgp.program="] {
            settings.extend(["-c".into(), format!("{setting}{gpg}").into()]);
        }
        settings.extend(["-c".into(), "gpg.x509.program=false".into()]);
        let ring = write("keys.gpg", &ring)?;
        let home = format!("no-default-keyring\nkeyring {}\ntrust-model always\n", ring.display());
        write("gpg.conf", home.as_bytes())?;
        let ids = commits.iter().map(|commit| format!("{commit}\n")).collect::<String>();
        let output = GitCommand::new(self.place(), &settings)
            .env("GNUPGHOME", folder.path())
            .args([
                "log",
                "--no-walk=unsorted",
                "--no-show-signature",
                "--format=%H%x09%G?%x09%GF%x09%GP%x09%GS",
                "--stdin",
            ])
            .input(ids.into_bytes())
            .run()?;
        if !output.success {
            return Err(GitError::Program { doing: "check signatures", detail: output.stderr });
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let found: Vec<(String, CommitSignature)> =
            text.lines().map(|line| signature_of(line, keys)).collect();
        let of = |commit: &ObjectId| {
            let id = commit.to_string();
            found.iter().find(|(found, _)| *found == id).map(|(_, signature)| signature.clone())
        };
        // What the program does not speak of counts as unsigned, never as signed.
        Ok(commits.iter().map(|commit| of(commit).unwrap_or(CommitSignature::Missing)).collect())
    }

    /// What the user's Git signs with, where that is an SSH key: the path of a file, or the key itself.
    #[must_use]
    pub fn ssh_signing_key(&self) -> Option<String> {
        // The program knows where people keep their settings, and includes and variables that libgit2 does not read.
        let get = |name: &str| self.configured(&["--type=path", name]).ok().flatten();
        (get("gpg.format")? == "ssh").then(|| get("user.signingkey"))?
    }

    fn place(&self) -> &std::path::Path {
        self.work_tree().unwrap_or_else(|| self.git_dir())
    }
}

/// Reads a line `COMMIT STATE FINGERPRINT PRIMARY SIGNER`, separated by tabs.
fn signature_of(line: &str, keys: &[PublicKey<'_>]) -> (String, CommitSignature) {
    let mut fields = line.split('\t');
    let mut next = || fields.next().unwrap_or_default();
    let commit = next();
    let state = next();
    let key = next();
    let primary = next();
    let signer = next();
    let ssh = || signer.strip_prefix("key-")?.parse().ok();
    let openpgp = || {
        let is_it = |key: &PublicKey<'_>| matches!(key, PublicKey::OpenPgp { fingerprint, .. } if *fingerprint == primary);
        keys.iter().position(is_it)
    };
    // The user id of an OpenPGP key is whatever its owner wrote, so it may read as the number of an SSH key.
    let known = if primary.is_empty() { ssh() } else { openpgp() };
    let signature = match (state, known) {
        // `U`: valid, and the program knows nothing of its owner. The list of keys that count does.
        ("G", Some(index)) => CommitSignature::Known(index),
        ("U", Some(index)) if !primary.is_empty() => CommitSignature::Known(index),
        ("G" | "U", _) => CommitSignature::Unknown(key.to_owned()),
        ("N", _) => CommitSignature::Missing,
        _ => CommitSignature::Invalid,
    };
    (commit.to_owned(), signature)
}

/// The packets of armored OpenPGP keys (RFC 9580, section 6): a keyring that the program reads without importing anything.
fn packets(armored: &str) -> Vec<u8> {
    let mut packets = Vec::new();
    for block in armored.replace('\r', "").split("-----BEGIN PGP PUBLIC KEY BLOCK-----\n").skip(1) {
        // Headers end with an empty line; the checksum is a line that begins with `=`.
        let body = block
            .split_once("\n\n")
            .map_or(block, |(headers, body)| if headers.contains("-----") { block } else { body });
        let lines = body.lines().take_while(|line| !line.starts_with(['=', '-']));
        let digits: String = lines.map(str::trim).collect();
        packets.extend(STANDARD.decode(digits).unwrap_or_default());
    }
    packets
}

fn no_file(source: std::io::Error, path: PathBuf) -> GitError {
    GitError::Io { doing: "write", path, source }
}
