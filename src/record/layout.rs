//! Paths in the status tree: `<namespace>/<plural>/<name>.yaml`, pinned blobs beside it in
//! `<name>.pinned/`, the nodes of a large Execution in `<name>.nodes/`, and, in a directory that has grown large, all of it one
//! level deeper under two hexadecimal digits of a hash of the name. Paths only; the objects are `tree`'s, `parts`' and `writer`'s.

use sha2::{Digest as _, Sha256};

use crate::model::{Kind, Name, NodeId, ResourceKey};

/// The path of the dashboard.
pub const DASHBOARD: &str = "README.md";

/// A directory with more entries than this is split. GitHub recommends at most 3,000, and each commit rewrites the tree object
/// of a directory, about 40 bytes an entry.
pub const SPLIT_LIMIT: usize = 1_000;

/// The most bytes of a record that are read. Those that planspec writes stay far below; a larger one was made by hand.
pub const MAX_RECORD_BYTES: u64 = 64 << 20;

/// How many directories are below that of a kind.
const DEEPEST: usize = 4;

const RECORD_SUFFIX: &str = ".yaml";
const PINS_SUFFIX: &str = ".pinned";
const NODES_SUFFIX: &str = ".nodes";

/// A manifest that is kept beside a record, under the file name that is written here.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, strum::IntoStaticStr, strum::VariantArray,
)]
pub enum PinKind {
    /// The last good version of a resource whose newest one is not valid.
    #[strum(serialize = "manifest.yaml")]
    Manifest,
    /// What an execution is pinned to: its own.
    #[strum(serialize = "execution.yaml")]
    Execution,
    /// That of its plan.
    #[strum(serialize = "plan.yaml")]
    Plan,
    /// That of its goal.
    #[strum(serialize = "goal.yaml")]
    Goal,
    /// That of what made a derived execution, which has no manifest of its own.
    #[strum(serialize = "owner.yaml")]
    Owner,
}

impl PinKind {
    /// Every kind of pin.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// The file in the record's directory of pins.
    #[must_use]
    pub fn file_name(self) -> &'static str {
        self.into()
    }
}

/// Where the references of results are.
pub const RESULT_REFS: &str = "refs/planspec/results/";

/// The reference that keeps what the nodes of an Execution changed. No branch: nothing that a task wrote, such as a workflow,
/// may start anything before somebody looked at it.
#[must_use]
pub fn results_ref(execution: &ResourceKey) -> String {
    format!("{RESULT_REFS}{}/{}", execution.namespace, execution.name)
}

/// Where the references of artifacts and logs are.
pub const ARTIFACT_REFS: &str = "refs/planspec/artifacts/";

/// The reference that keeps what the attempts of an Execution left: its tree has the layout of a runner's own folder,
/// `<uid>/<node>/<attempt>/artifacts/…` and `…/log`.
#[must_use]
pub fn artifacts_ref(execution: &ResourceKey) -> String {
    format!("{ARTIFACT_REFS}{}/{}", execution.namespace, execution.name)
}

/// The Execution that `NAMESPACE/NAME` at the end of a reference names.
#[must_use]
pub fn execution_of(rest: &str) -> Option<ResourceKey> {
    let (namespace, name) = rest.split_once('/')?;
    Some(ResourceKey::new(Kind::Execution, Name::new(namespace).ok()?, Name::new(name).ok()?))
}

/// What a path of the status tree holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatusPath {
    /// The record of a resource.
    Record(ResourceKey),
    /// A blob pinned beside the record of an execution.
    Pin(ResourceKey, PinKind),
    /// What belongs to the nodes of an execution whose record is in parts: the file of one, or something else that stands
    /// there. Also what is in a directory in the place of a record, which is broken by it.
    Part(ResourceKey, Option<NodeId>),
    /// The dashboard.
    Dashboard,
}

impl StatusPath {
    /// Reads a path, in the flat or the split layout; `None` for what the layout does not know.
    #[must_use]
    pub fn parse(path: &[u8]) -> Option<Self> {
        // Every part is checked: anybody who can push the branch chooses these names (Invariant 8).
        let path = str::from_utf8(path).ok()?;
        if path == DASHBOARD {
            return Some(Self::Dashboard);
        }
        let mut parts = path.split('/');
        let namespace = Name::new(parts.next()?).ok()?;
        let plural = parts.next()?;
        // By the exact plural: `Kind`'s own reading also takes the singular and capitals, and one record would have
        // several paths.
        let kind = Kind::ALL.into_iter().find(|kind| kind.plural() == plural)?;
        let mut file = parts.next()?;
        let digits = is_prefix(file.as_bytes()).then_some(file);
        if digits.is_some() {
            file = parts.next()?;
        }
        let deeper: Vec<&str> = parts.collect();
        let nodes = file.strip_suffix(NODES_SUFFIX);
        let in_place = record_name(file.as_bytes()).filter(|_| !deeper.is_empty());
        let name = match (nodes, deeper.as_slice()) {
            (Some(nodes), _) => Name::new(nodes).ok()?,
            (None, []) => record_name(file.as_bytes())?,
            (None, _) if in_place.is_some() => in_place.clone()?,
            (None, [_]) => Name::new(file.strip_suffix(PINS_SUFFIX)?).ok()?,
            // Nothing else of planspec lies deeper; a longer path would be cut to a name that is another record's.
            (None, _) => return None,
        };
        // A record under other digits than its own would be read here and never be found, replaced or removed by name.
        if digits.is_some_and(|digits| digits != prefix(name.as_str())) {
            return None;
        }
        let key = ResourceKey::new(kind, namespace, name);
        match (nodes, deeper.as_slice()) {
            // Also what is no node: the record names the whole directory, and does not hold any more once anything is put there.
            (Some(_), deeper) => Some(Self::Part(key, part_node(deeper))),
            (None, []) => Some(Self::Record(key)),
            // Taken for nothing, it would let somebody who may push make what ended run again (Invariant 10).
            (None, _) if in_place.is_some() => Some(Self::Part(key, None)),
            (None, pin) => {
                let pin = PinKind::ALL.iter().copied().find(|kind| pin == [kind.file_name()])?;
                Some(Self::Pin(key, pin))
            }
        }
    }
}

/// Whether a directory of the status tree may hold something that the layout knows. Whoever may push the branch chooses its
/// directories: what lies elsewhere is never read, however deep or wide it is (Invariant 6).
#[must_use]
pub fn may_hold_records(directory: &[u8]) -> bool {
    let Ok(path) = str::from_utf8(directory) else { return false };
    let mut parts = path.split('/');
    let space = parts.next().is_some_and(|name| Name::new(name).is_ok());
    let kind = parts.next().is_none_or(|plural| Kind::ALL.iter().any(|kind| kind.plural() == plural));
    // At most the digits of a split directory, that of the nodes, and the two levels in which these are.
    space && kind && parts.count() <= DEEPEST
}

/// The directory of a kind in a namespace.
pub(super) fn directory(kind: Kind, namespace: &Name) -> String {
    format!("{namespace}/{}", kind.plural())
}

/// The key of the record at a path; `None` for everything else, pins and the dashboard included.
#[must_use]
pub fn key_of_path(path: &str) -> Option<ResourceKey> {
    // Through the same parser, so that no second reading of the layout can come to another answer.
    match StatusPath::parse(path.as_bytes()) {
        Some(StatusPath::Record(key)) => Some(key),
        _ => None,
    }
}

/// The path of a record in a directory that is not split. [`super::StatusTree::locate`] gives the real one.
#[must_use]
pub fn record_path(key: &ResourceKey) -> String {
    path_in(key, false)
}

/// The path of a record in a flat or a split directory.
pub(super) fn path_in(key: &ResourceKey, split: bool) -> String {
    let directory = directory(key.kind, &key.namespace);
    // Two digits give 256 directories, and so room for a quarter of a million records of one kind in a namespace.
    if split {
        format!("{directory}/{}/{}{RECORD_SUFFIX}", prefix(key.name.as_str()), key.name)
    } else {
        format!("{directory}/{}{RECORD_SUFFIX}", key.name)
    }
}

/// The directory of what is pinned beside the record at `record_path`.
pub(super) fn pins_directory(record_path: &str) -> String {
    // Another suffix than a record's, since `.pinned` holds a dot, which no name can: pins never collide with the
    // record of another resource.
    format!("{}{PINS_SUFFIX}", record_path.strip_suffix(RECORD_SUFFIX).unwrap_or(record_path))
}

/// The directory of the nodes of the record at `record_path`, where it is in parts.
pub(super) fn nodes_directory(record_path: &str) -> String {
    format!("{}{NODES_SUFFIX}", record_path.strip_suffix(RECORD_SUFFIX).unwrap_or(record_path))
}

/// The path of a node below the directory of the nodes of its execution: `<digit>/<digit>/<node>.yaml`.
// Ids of objects cannot be compressed, so that each commit costs about 24 bytes for every entry of the directories that it changes:
// for 10,000 nodes these are 71 entries in three directories, and would be 295 in two.
pub(super) fn part_path(node: &NodeId) -> String {
    let digits = prefix(node.as_str());
    let (first, second) = digits.split_at(1);
    format!("{first}/{second}/{node}{RECORD_SUFFIX}")
}

/// The node whose file is at this path below the directory of the nodes of its execution.
pub(super) fn part_node(path: &[&str]) -> Option<NodeId> {
    let [first, second, file] = path else { return None };
    let node = NodeId::new(file.strip_suffix(RECORD_SUFFIX)?).ok()?;
    // Under its own digits alone: elsewhere it would be a second file of the same node.
    (format!("{first}{second}") == prefix(node.as_str())).then_some(node)
}

/// The path of what is pinned beside the record at `record_path`.
pub(super) fn pin_path(record_path: &str, pin: PinKind) -> String {
    format!("{}/{}", pins_directory(record_path), pin.file_name())
}

/// The name of the resource whose record has this file name.
pub(super) fn record_name(file: &[u8]) -> Option<Name> {
    Name::new(str::from_utf8(file).ok()?.strip_suffix(RECORD_SUFFIX)?).ok()
}

/// The name of the resource whose pins are in a directory of this name.
pub(super) fn pins_name(directory: &[u8]) -> Option<Name> {
    Name::new(str::from_utf8(directory).ok()?.strip_suffix(PINS_SUFFIX)?).ok()
}

/// The name of the execution whose nodes are in a directory of this name.
pub(super) fn nodes_name(directory: &[u8]) -> Option<Name> {
    Name::new(str::from_utf8(directory).ok()?.strip_suffix(NODES_SUFFIX)?).ok()
}

/// Whether a directory of this name is a part of a split one.
pub(super) fn is_prefix(name: &[u8]) -> bool {
    name.len() == 2 && name.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// The part of a split directory that holds `name`. By a hash, as names share long prefixes (`nightly-2026-01-…`).
fn prefix(name: &str) -> String {
    // By the name alone and not by what is in the directory: every runner computes the same path without reading
    // anything.
    let hash = Sha256::digest(name);
    format!("{:02x}", hash.first().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ResourceKey {
        ResourceKey::new(Kind::Execution, Name::new("team-a").unwrap(), Name::new("run-1").unwrap())
    }

    #[test]
    fn every_path_that_is_made_is_read_back() {
        for split in [false, true] {
            let path = path_in(&key(), split);
            assert_eq!(StatusPath::parse(path.as_bytes()), Some(StatusPath::Record(key())), "{path}");
            for &pin in PinKind::ALL {
                let path = pin_path(&path, pin);
                assert_eq!(StatusPath::parse(path.as_bytes()), Some(StatusPath::Pin(key(), pin)), "{path}");
            }
        }
        for split in [false, true] {
            let node = NodeId::new("a_b").unwrap();
            let path = format!("{}/{}", nodes_directory(&path_in(&key(), split)), part_path(&node));
            assert_eq!(
                StatusPath::parse(path.as_bytes()),
                Some(StatusPath::Part(key(), Some(node))),
                "{path}"
            );
        }
        for stray in ["", "/a.yaml", "/zz/a.yaml", "/a", "/0/0/a.yaml", "/a.yaml/b.yaml/c/d"] {
            let path = format!("team-a/executions/run-1.nodes{stray}");
            assert_eq!(StatusPath::parse(path.as_bytes()), Some(StatusPath::Part(key(), None)), "{path}");
        }
        let deepest =
            format!("{}/{}", nodes_directory(&path_in(&key(), true)), part_path(&NodeId::new("a").unwrap()));
        for (end, _) in deepest.match_indices('/') {
            let (directory, _) = deepest.split_at(end);
            assert!(may_hold_records(directory.as_bytes()), "{directory}");
        }
        for stray in ["", "Notes", "team-a/notes", "team-a/removed", "team-a/goals/a/b/c/d/e"] {
            assert!(!may_hold_records(stray.as_bytes()), "{stray}");
        }
        assert_eq!(StatusPath::parse(b"README.md"), Some(StatusPath::Dashboard));
        assert_eq!(path_in(&key(), false), "team-a/executions/run-1.yaml");
    }

    #[test]
    fn other_paths_mean_nothing() {
        for path in [
            "",
            "a",
            "a/goals",
            "a/goals/",
            "a/goals/.yaml",
            "a/goals/b",
            "a/goals/B.yaml",
            "A/goals/b.yaml",
            "a/goal/b.yaml",
            "a/goals/../b.yaml",
            "a/goals/zz/b.yaml",
            "a/goals/00/run-1.yaml",
            "a/goals/b.pinned/x.yaml",
            "a/goals/b.pinned/plan.yaml/c",
            "/a/goals/b.yaml",
        ] {
            assert_eq!(StatusPath::parse(path.as_bytes()), None, "{path}");
        }
        assert_eq!(StatusPath::parse(b"a/goals/\xff.yaml"), None);
    }

    #[test]
    fn what_is_in_the_place_of_a_record_concerns_it() {
        let in_place = record_path(&key());
        for path in [format!("{in_place}/x"), format!("{in_place}/deeper/{in_place}")] {
            assert_eq!(StatusPath::parse(path.as_bytes()), Some(StatusPath::Part(key(), None)), "{path}");
        }
    }
}
