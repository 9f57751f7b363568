//! Keys to sign commits with, keys that count, and what a signature turns out to be; `objects` makes and checks signatures.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use super::ObjectId;

/// A private SSH key to sign with.
#[derive(Clone)]
pub struct SigningKey {
    pub(super) source: KeySource,
    /// How a signature by it shows where no key is listed, once that was asked for.
    pub(super) shown: Arc<OnceLock<CommitSignature>>,
    /// The newest commit at and below which no commit is signed, as far as was asked.
    pub(super) unsigned: Arc<Mutex<Option<ObjectId>>>,
}

#[derive(Clone)]
pub(super) enum KeySource {
    /// The key itself.
    Text(String),
    /// A file that holds it.
    File(PathBuf),
}

impl SigningKey {
    /// Reads what an environment gives: the text of a key, or the path of its file.
    #[must_use]
    pub fn parse(value: &str) -> Self {
        // Every private key of OpenSSH begins so, and no path does.
        let source = match value.trim_start().starts_with("-----BEGIN ") {
            true => KeySource::Text(value.to_owned()),
            false => KeySource::File(PathBuf::from(value)),
        };
        Self { source, shown: Arc::default(), unsigned: Arc::default() }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// A public key that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublicKey<'a> {
    /// Of SSH, as in a file `id_ed25519.pub`.
    Ssh(&'a str),
    /// Of OpenPGP: the fingerprint of the primary key, and the armored key.
    OpenPgp {
        /// 40 hexadecimal digits in capitals.
        fingerprint: &'a str,
        /// The text of the key.
        armored: &'a str,
    },
}

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
