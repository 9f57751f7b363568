//! A status record: one file on the status branch.

use serde::{Deserialize, Serialize};

use super::{
    API_VERSION, BindingStatus, CapabilityStatus, Condition, ExecutionStatus, GateStatus, GoalStatus, Kind,
    PersonRequest, PlanStatus, ResourceKey, ScheduleStatus, StatusMetadata,
};

/// The recorded status of one resource.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusRecord {
    /// Identity, and what is derived from Git.
    pub metadata: StatusMetadata,
    /// The status.
    pub status: ResourceStatus,
}

/// The status of a resource, by kind.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "one variant a kind")]
pub enum ResourceStatus {
    Goal(GoalStatus),
    Plan(PlanStatus),
    Capability(CapabilityStatus),
    Binding(BindingStatus),
    Gate(GateStatus),
    // Boxed, as it is many times the size of the others, and every value would be as large.
    Execution(Box<ExecutionStatus>),
    Schedule(ScheduleStatus),
}

impl ResourceStatus {
    /// The conditions.
    #[must_use]
    pub fn conditions(&self) -> &[Condition] {
        match self {
            Self::Goal(status) => &status.conditions,
            Self::Plan(status) => &status.conditions,
            Self::Capability(status) => &status.conditions,
            Self::Binding(status) => &status.conditions,
            Self::Gate(status) => &status.conditions,
            Self::Execution(status) => &status.conditions,
            Self::Schedule(status) => &status.conditions,
        }
    }

    /// The phase, as it is written in a status.
    #[must_use]
    pub fn phase(&self) -> String {
        match self {
            Self::Goal(status) => format!("{:?}", status.phase),
            Self::Plan(status) => format!("{:?}", status.phase),
            Self::Capability(status) => format!("{:?}", status.phase),
            Self::Binding(status) => format!("{:?}", status.phase),
            Self::Gate(status) => format!("{:?}", status.phase),
            Self::Execution(status) => status.phase.to_string(),
            Self::Schedule(status) => status.word().to_owned(),
        }
    }
}

impl ResourceStatus {
    /// The kind that has this status.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Goal(_) => Kind::Goal,
            Self::Plan(_) => Kind::Plan,
            Self::Capability(_) => Kind::Capability,
            Self::Binding(_) => Kind::Binding,
            Self::Gate(_) => Kind::Gate,
            Self::Execution(_) => Kind::Execution,
            Self::Schedule(_) => Kind::Schedule,
        }
    }
}

impl StatusRecord {
    /// What identifies the resource.
    #[must_use]
    pub fn key(&self) -> ResourceKey {
        ResourceKey::new(self.status.kind(), self.metadata.namespace.clone(), self.metadata.name.clone())
    }

    /// The execution status, if this is one.
    #[must_use]
    pub fn execution(&self) -> Option<&ExecutionStatus> {
        match &self.status {
            ResourceStatus::Execution(status) => Some(status),
            _ => None,
        }
    }

    /// Who accepted the pin of an Execution after the desired branch was rewritten.
    #[must_use]
    pub fn pin_accepted(&self) -> Option<&PersonRequest> {
        self.execution()?.extensions.pin_accepted.as_ref()
    }
}

/// Where the nodes of an Execution are whose record is in parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecordParts {
    /// How many nodes there are.
    pub nodes: usize,
    /// The id of the tree that holds one file for each. It binds the parts to the record: a part that somebody changes,
    /// adds or removes is not what the record names any more.
    pub tree: String,
}

/// The file of a record: all of it, or all but its nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordFile {
    /// The record; without nodes where they are in parts.
    pub record: StatusRecord,
    /// Where its nodes are, when they are not in this file.
    pub parts: Option<RecordParts>,
}

/// The form in which a record is written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<S> {
    api_version: String,
    kind: Kind,
    metadata: StatusMetadata,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parts: Option<RecordParts>,
    status: S,
}

impl Serialize for StatusRecord {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.write(None, serializer)
    }
}

impl Serialize for RecordFile {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.record.write(self.parts.clone(), serializer)
    }
}

impl StatusRecord {
    fn write<S: serde::Serializer>(
        &self,
        parts: Option<RecordParts>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        // One form for all kinds: an `enum` derived by serde would nest the status below the name of its kind.
        macro_rules! wire {
            ($status:expr) => {
                Wire {
                    api_version: API_VERSION.to_owned(),
                    kind: self.status.kind(),
                    metadata: self.metadata.clone(),
                    parts,
                    status: $status,
                }
                .serialize(serializer)
            };
        }
        match &self.status {
            ResourceStatus::Goal(status) => wire!(status),
            ResourceStatus::Plan(status) => wire!(status),
            ResourceStatus::Capability(status) => wire!(status),
            ResourceStatus::Binding(status) => wire!(status),
            ResourceStatus::Gate(status) => wire!(status),
            ResourceStatus::Execution(status) => wire!(status),
            ResourceStatus::Schedule(status) => wire!(status),
        }
    }
}

impl<'de> Deserialize<'de> for StatusRecord {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let file = RecordFile::deserialize(deserializer)?;
        // Taken for an Execution without nodes, it would be planned as one that was never pinned.
        if file.parts.is_some() {
            return Err(D::Error::custom("its nodes are in files of their own"));
        }
        Ok(file.record)
    }
}

impl<'de> Deserialize<'de> for RecordFile {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        // Through a value, since the type of the status follows from `kind`, which may come after it in the text.
        let wire = Wire::<serde_json::Value>::deserialize(deserializer)?;
        // A record of a version that this program does not know is unreadable, and not read as far as it goes: writing
        // it back would lose what was not understood.
        if wire.api_version != API_VERSION {
            return Err(D::Error::custom(format!("unknown apiVersion `{}`", wire.api_version)));
        }
        macro_rules! status {
            ($variant:ident) => {
                serde_json::from_value(wire.status).map(ResourceStatus::$variant)
            };
        }
        let status = match wire.kind {
            Kind::Goal => status!(Goal),
            Kind::Plan => status!(Plan),
            Kind::Capability => status!(Capability),
            Kind::Binding => status!(Binding),
            Kind::Gate => status!(Gate),
            Kind::Execution => status!(Execution),
            Kind::Schedule => status!(Schedule),
        }
        .map_err(D::Error::custom)?;
        let record = StatusRecord { metadata: wire.metadata, status };
        let inside = record.execution().is_some_and(|status| status.node_statuses.is_empty());
        // With nodes in both places it would not be clear which ones count; other kinds have none.
        if wire.parts.is_some() && !inside {
            return Err(D::Error::custom("`parts` is for an Execution without `nodeStatuses`"));
        }
        Ok(Self { record, parts: wire.parts })
    }
}
