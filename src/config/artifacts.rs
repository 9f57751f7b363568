//! Where the artifacts and logs of attempts are kept, so that other machines find them, and how much of them.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where artifacts and logs are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ArtifactConfig {
    /// The store.
    pub store: ArtifactStore,
    /// The address of an object store that is not that of AWS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The region of an object store; that of the environment when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// Where artifacts and logs are kept, besides on the machine that made them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ArtifactStore {
    /// In the repository, beside the results.
    #[default]
    Git,
    /// In a folder that every runner can reach.
    Directory(PathBuf),
    /// In an object store that speaks S3.
    Bucket {
        /// The name of the bucket.
        bucket: String,
        /// What the names of all objects begin with; empty, or with `/` at its end.
        prefix: String,
    },
    /// Nowhere else.
    None,
}

/// The credentials for object stores.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct BucketCredentials {
    /// The id of the key.
    pub key_id: String,
    /// The key.
    pub secret: String,
    /// The token of a session, of temporary credentials.
    pub token: Option<String>,
}

impl fmt::Debug for BucketCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketCredentials").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// What the environment says about object stores.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BucketAccess {
    /// With what requests are signed; without any, they are not.
    pub credentials: Option<BucketCredentials>,
    /// The region, where the configuration names none.
    pub region: Option<String>,
}

impl BucketAccess {
    /// What of it must never be shown.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let known = self.credentials.iter();
        known.flat_map(|known| [Some(known.secret.clone()), known.token.clone()]).flatten().collect()
    }
}

impl TryFrom<String> for ArtifactStore {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "git" => Ok(Self::Git),
            "none" => Ok(Self::None),
            // A relative one would be another folder for every runner.
            path if path.starts_with('/') => Ok(Self::Directory(PathBuf::from(path))),
            _ => match text.strip_prefix("s3://") {
                Some(place) => bucket(place),
                None => Err(format!(
                    "unknown store `{text}`; use `git`, `none`, the absolute path of a folder, or `s3://BUCKET/PREFIX`"
                )),
            },
        }
    }
}

/// Reads `BUCKET` or `BUCKET/PREFIX`.
fn bucket(place: &str) -> Result<ArtifactStore, String> {
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    // By the rules of S3 for names; anything else could change the host or the path of an address.
    let is_name = (3..=63).contains(&bucket.len())
        && bucket.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.')
        && bucket.starts_with(|c: char| c.is_ascii_alphanumeric())
        && bucket.ends_with(|c: char| c.is_ascii_alphanumeric());
    if !is_name {
        return Err(format!(
            "`{bucket}` is not the name of a bucket: 3 to 63 lower-case letters, digits, `-` and `.`"
        ));
    }
    let parts: Vec<&str> = prefix.split('/').filter(|part| !part.is_empty()).collect();
    if parts.iter().any(|part| matches!(*part, "." | "..") || part.chars().any(char::is_control)) {
        return Err(format!("the prefix `{prefix}` must not hold `.`, `..` or control characters"));
    }
    let prefix = parts.iter().fold(String::new(), |all, part| all + part + "/");
    Ok(ArtifactStore::Bucket { bucket: bucket.to_owned(), prefix })
}

impl From<ArtifactStore> for String {
    fn from(store: ArtifactStore) -> Self {
        match store {
            ArtifactStore::Git => "git".to_owned(),
            ArtifactStore::None => "none".to_owned(),
            ArtifactStore::Directory(path) => path.to_string_lossy().into_owned(),
            ArtifactStore::Bucket { bucket, prefix } => {
                format!("s3://{bucket}/{prefix}").trim_end_matches('/').to_owned()
            }
        }
    }
}

/// How much of artifacts and logs is kept in Git.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ArtifactLimits {
    /// Bytes in one file; 1 MiB. In every store, a node finds larger ones only where `config.needs` names them.
    pub file_bytes: u64,
    /// Bytes of one Execution; 10 MiB.
    pub bytes: u64,
    /// Bytes of all Executions; 100 MiB.
    pub total_bytes: u64,
}

impl Default for ArtifactLimits {
    fn default() -> Self {
        // Every clone that fetches all references gets them, so the sum is what a repository may grow by.
        Self { file_bytes: 1 << 20, bytes: 10 << 20, total_bytes: 100 << 20 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_a_word_or_an_absolute_path() {
        let store = |text: &str| ArtifactStore::try_from(text.to_owned());
        assert_eq!(store("git"), Ok(ArtifactStore::Git));
        assert_eq!(store("none"), Ok(ArtifactStore::None));
        assert_eq!(store("/mnt/x"), Ok(ArtifactStore::Directory("/mnt/x".into())));
        for wrong in ["", "GIT", "mnt/x", "./x", "gs://bucket", "~/x"] {
            assert!(store(wrong).unwrap_err().contains("absolute path"), "{wrong}");
        }
    }

    #[test]
    fn a_bucket_has_a_plain_name_and_a_plain_prefix() {
        let store = |text: &str| ArtifactStore::try_from(text.to_owned());
        let bucket =
            |prefix: &str| ArtifactStore::Bucket { bucket: "ci.acme".to_owned(), prefix: prefix.to_owned() };
        assert_eq!(store("s3://ci.acme"), Ok(bucket("")));
        assert_eq!(store("s3://ci.acme//a/b"), Ok(bucket("a/b/")));
        assert_eq!(String::from(bucket("a/b/")), "s3://ci.acme/a/b");
        for wrong in
            ["s3://", "s3://ab", "s3://Acme", "s3://a@b.c", "s3://-acme", "s3://acme/../x", "s3://acme?x/y"]
        {
            assert!(store(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let credentials = BucketCredentials {
            key_id: "AK".to_owned(),
            secret: "s3cret".to_owned(),
            token: Some("t0ken".to_owned()),
        };
        let shown = format!("{credentials:?}");
        assert!(shown.contains("AK") && !shown.contains("s3cret") && !shown.contains("t0ken"), "{shown}");
    }
}
