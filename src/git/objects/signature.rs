//! Signatures of commits. The `git` program makes and checks them, which knows every agent and hardware key; keys that count
//! are handed to it, so that no configuration of a machine decides whom to believe.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

use crate::git::command::GitCommand;
use crate::git::{GitError, ObjectId, Repo, SigningKey};

/// What is known of the signature of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitSignature {
    /// There is none.
    Missing,
    /// It is by the key at this index of those that were given.
    Known(usize),
    /// It is by another key, with this fingerprint.
    Unknown(String),
    /// It is not for this commit, or cannot be checked.
    Invalid,
}

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
                let path = match key {
                    SigningKey::File(path) => path.clone(),
                    SigningKey::Text(text) => {
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

    /// The signatures of commits, in their order; `keys` are the public keys that count.
    ///
    /// # Errors
    /// When Git cannot be run, or a commit cannot be read.
    pub fn signatures(&self, commits: &[ObjectId], keys: &[&str]) -> Result<Vec<CommitSignature>, GitError> {
        let mut allowed = tempfile::NamedTempFile::new()
            .map_err(|source| no_file(source, PathBuf::from("a temporary file")))?;
        for (index, key) in keys.iter().enumerate() {
            // By number: names of a configuration may hold what is a pattern or a separator in this file.
            writeln!(allowed, "key-{index} namespaces=\"git\" {key}")
                .map_err(|source| no_file(source, allowed.path().to_owned()))?;
        }
        let mut file = OsString::from("gpg.ssh.allowedSignersFile=");
        file.push(allowed.path());
        // SSH alone: an OpenPGP key of this machine's keyring may carry any name, also that of a signer.
        let mut settings: Vec<OsString> = vec!["-c".into(), file];
        for setting in ["gpg.program=false", "gpg.openpgp.program=false", "gpg.x509.program=false"] {
            settings.extend(["-c".into(), setting.into()]);
        }
        let ids = commits.iter().map(|commit| format!("{commit}\n")).collect::<String>();
        let output = GitCommand::new(self.place(), &settings)
            // A replacement would be checked in place of the commit that is named.
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .args([
                "log",
                "--no-walk=unsorted",
                "--no-show-signature",
                "--format=%H%x09%G?%x09%GF%x09%GS",
                "--stdin",
            ])
            .input(ids.into_bytes())
            .run()?;
        if !output.success {
            return Err(GitError::Program { doing: "check signatures", detail: output.stderr });
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let found: Vec<(String, CommitSignature)> = text.lines().map(signature_of).collect();
        let of = |commit: &ObjectId| {
            let id = commit.to_string();
            found.iter().find(|(found, _)| *found == id).map(|(_, signature)| signature.clone())
        };
        // What the program does not speak of counts as unsigned, never as signed.
        Ok(commits.iter().map(|commit| of(commit).unwrap_or(CommitSignature::Missing)).collect())
    }

    fn place(&self) -> &std::path::Path {
        self.work_tree().unwrap_or_else(|| self.git_dir())
    }
}

/// Reads a line `COMMIT STATE FINGERPRINT SIGNER`, separated by tabs.
fn signature_of(line: &str) -> (String, CommitSignature) {
    let mut fields = line.split('\t');
    let commit = fields.next().unwrap_or_default().to_owned();
    let state = fields.next().unwrap_or_default();
    let key = fields.next().unwrap_or_default();
    let signer =
        fields.next().and_then(|name| name.strip_prefix("key-")).and_then(|index| index.parse().ok());
    let signature = match (state, signer) {
        ("G", Some(index)) => CommitSignature::Known(index),
        ("G" | "U", _) => CommitSignature::Unknown(key.to_owned()),
        ("N", _) => CommitSignature::Missing,
        _ => CommitSignature::Invalid,
    };
    (commit, signature)
}

fn no_file(source: std::io::Error, path: PathBuf) -> GitError {
    GitError::Io { doing: "write", path, source }
}
