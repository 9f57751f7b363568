//! Where the artifacts and logs of attempts are kept, so that other machines find them, and how much of them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where artifacts and logs are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ArtifactConfig {
    /// The store.
    pub store: ArtifactStore,
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
    /// Nowhere else.
    None,
}

impl TryFrom<String> for ArtifactStore {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "git" => Ok(Self::Git),
            "none" => Ok(Self::None),
            // A relative one would be another folder for every runner.
            path if path.starts_with('/') => Ok(Self::Directory(PathBuf::from(path))),
            _ => Err(format!("unknown store `{text}`; use `git`, `none` or the absolute path of a folder")),
        }
    }
}

impl From<ArtifactStore> for String {
    fn from(store: ArtifactStore) -> Self {
        match store {
            ArtifactStore::Git => "git".to_owned(),
            ArtifactStore::None => "none".to_owned(),
            ArtifactStore::Directory(path) => path.to_string_lossy().into_owned(),
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
        for wrong in ["", "GIT", "mnt/x", "./x", "s3://bucket", "~/x"] {
            assert!(store(wrong).unwrap_err().contains("absolute path"), "{wrong}");
        }
    }
}
