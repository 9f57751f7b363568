//! What an External node waits for: another resource, an address, or something on the Git host.

use serde::{Deserialize, Serialize};

use crate::model::{Duration, Kind, Name, ResourceKey};

/// What an External node waits for: exactly the field of its type is present.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ExternalRef {
    /// An address that answers with success.
    #[serde(rename_all = "camelCase")]
    Uri {
        /// The address.
        uri: String,
        /// How often to ask.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        poll_interval: Option<Duration>,
    },
    /// Another resource that succeeds.
    #[serde(rename_all = "camelCase")]
    Resource {
        /// The resource.
        resource_ref: ResourceRef,
        /// How often to poll.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        poll_interval: Option<Duration>,
    },
    /// A webhook that answers with a result.
    #[serde(rename_all = "camelCase")]
    Webhook {
        /// The address.
        webhook_url: String,
        /// How often to ask.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        poll_interval: Option<Duration>,
    },
    /// A pull request that somebody else opens and merges.
    #[serde(rename = "pull-request", rename_all = "camelCase")]
    PullRequest {
        /// Its number; this or `head`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<HostNumber>,
        /// Its branch: `BRANCH`, or `OWNER:BRANCH` for one of a fork.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        head: Option<String>,
        /// `OWNER/NAME`; the repository that planspec works in when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repository: Option<String>,
        /// How often to ask.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        poll_interval: Option<Duration>,
    },
    /// An issue that somebody closes.
    #[serde(rename_all = "camelCase")]
    Issue {
        /// Its number.
        number: HostNumber,
        /// `OWNER/NAME`; the repository that planspec works in when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repository: Option<String>,
        /// How often to ask.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        poll_interval: Option<Duration>,
    },
}

/// The number of a pull request or an issue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HostNumber {
    /// As it is written.
    Number(u64),
    /// An expression that gives it, such as an output of the task that opened it.
    Expression(String),
}

impl ExternalRef {
    /// The fields whose expressions are replaced, with their texts.
    // One list for whoever checks expressions and for whoever finds out what a node waits for: a field that only one of them
    // knew would be read before its node has ended.
    #[must_use]
    pub fn templates(&self) -> Vec<(&'static str, &str)> {
        match self {
            Self::Uri { uri, .. } => vec![("uri", uri)],
            Self::Webhook { webhook_url, .. } => vec![("webhookUrl", webhook_url)],
            Self::Resource { .. } => Vec::new(),
            Self::PullRequest { number, head, .. } => {
                let number = number.as_ref().and_then(HostNumber::expression);
                let number = number.map(|text| ("number", text));
                number.into_iter().chain(head.as_deref().map(|head| ("head", head))).collect()
            }
            Self::Issue { number, .. } => {
                number.expression().map(|text| ("number", text)).into_iter().collect()
            }
        }
    }
}

impl HostNumber {
    fn expression(&self) -> Option<&str> {
        match self {
            Self::Number(_) => None,
            Self::Expression(text) => Some(text),
        }
    }
}

/// The resource that an External node waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceRef {
    /// Its kind; Execution when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// Its name.
    pub name: Name,
    /// Its namespace; the plan's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Name>,
    /// Its uid, when the very same incarnation is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

impl ResourceRef {
    /// The key that this reference means in a plan of namespace `home`.
    #[must_use]
    pub(crate) fn key(&self, home: &Name) -> ResourceKey {
        let namespace = self.namespace.as_ref().unwrap_or(home);
        // The published contract has no `kind` here; an Execution is meant.
        ResourceKey::new(self.kind.unwrap_or(Kind::Execution), namespace.clone(), self.name.clone())
    }
}
