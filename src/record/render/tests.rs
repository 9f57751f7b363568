//! Rendering is lossless for every text, and what is remembered never shows.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::{
    Condition, ConditionStatus, CriterionResult, Digest, ExecutionPhase, GateStatus, GoalStatus,
    InputFingerprint, LogSummary, Name, NodeExtensions, NodePhase, PersonRequest, Review, ReviewAction,
    StatusMetadata,
};

fn hostile() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "a",
        "Z",
        "0",
        " ",
        "  ",
        "\n",
        "\n\n",
        "\r",
        "\r\n",
        "\t",
        "---",
        "...",
        "- ",
        ": ",
        "#",
        " #",
        "\"",
        "'",
        "\\",
        "|",
        ">",
        "&x",
        "*x",
        "!t",
        "%",
        "@",
        "`",
        "{",
        "}",
        "[",
        "]",
        ",",
        "?",
        "<<",
        "null",
        "~",
        "yes",
        "no",
        "true",
        "1",
        "1e3",
        "0x1f",
        "1_000",
        ".inf",
        "2026-01-01",
        "\u{0}",
        "\u{1b}[31m",
        "\u{7f}",
        "\u{85}",
        "\u{a0}",
        "\u{2028}",
        "\u{2029}",
        "\u{feff}",
        "\u{202e}",
        "\u{200b}",
        "é",
        "漢字",
        "🦀",
        "\u{fffe}",
        "status:\n",
        "  nodeStatuses:\n",
        "    sample:\n      phase: Pending\n",
        "sample",
    ]);
    let long = Just("long line ".repeat(200));
    let joined = prop::collection::vec(pieces, 0..8).prop_map(|pieces| pieces.concat());
    prop_oneof![20 => joined, 4 => any::<String>(), 1 => long]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no others", |f| f.is_finite()).prop_map(Value::from),
        hostile().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((hostile(), inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn node() -> impl Strategy<Value = NodeStatus> {
    let phase = prop::sample::select(NodePhase::ALL.to_vec());
    let outputs = prop::collection::vec((hostile(), value()), 0..3);
    let log = prop::option::of(hostile());
    (phase, 0u32..3, outputs, hostile(), log, prop::option::of(hostile())).prop_map(
        |(phase, attempt, outputs, message, tail, handle)| NodeStatus {
            phase,
            attempt,
            outputs: outputs.into_iter().collect(),
            message: message.clone(),
            extensions: NodeExtensions {
                log: tail.map(|tail| LogSummary { tail, size: 7, checksum: Digest::of_bytes(b"x") }),
                criteria: vec![CriterionResult {
                    name: message.clone(),
                    passed: true,
                    required: false,
                    evidence: message,
                    duration_millis: 3,
                    checked: None,
                }],
                handle,
                ..NodeExtensions::default()
            },
            ..NodeStatus::default()
        },
    )
}

fn node_id() -> impl Strategy<Value = NodeId> {
    let words = vec!["null", "yes", "1", "0x1f", "1e3", "sample", "a-b", "a_b", "true", "n", "1-0", "build"];
    prop::sample::select(words).prop_map(|word| NodeId::new(word).unwrap())
}

fn artifact() -> impl Strategy<Value = Artifact> {
    (hostile(), prop::option::of(hostile()), prop::collection::vec((hostile(), value()), 0..2)).prop_map(
        |(name, path, metadata)| {
            let mut artifact: Artifact = serde_json::from_value(json!({"name": "", "type": "file"})).unwrap();
            artifact.name = name;
            artifact.path = path;
            artifact.metadata = metadata.into_iter().collect();
            artifact
        },
    )
}

fn execution() -> impl Strategy<Value = ExecutionStatus> {
    let nodes = prop::collection::btree_map(node_id(), node(), 0..5);
    let artifacts = prop::collection::vec(artifact(), 0..4);
    (nodes, artifacts, prop::option::of(hostile()), prop::option::of(hostile()), hostile()).prop_map(
        |(node_statuses, artifacts, message, comment, by)| {
            let node_statuses = node_statuses.into_iter().collect();
            let mut status =
                ExecutionStatus { node_statuses, artifacts, message, ..ExecutionStatus::default() };
            status.phase = ExecutionPhase::Running;
            status.conditions = vec![Condition {
                kind: "Lost".to_owned(),
                status: ConditionStatus::Unknown,
                reason: by.clone(),
                message: by.clone(),
                last_transition_time: at(),
                observed_generation: None,
            }];
            status.extensions.suspend = Some(PersonRequest { by, at: at(), comment });
            status
        },
    )
}

fn at() -> jiff::Timestamp {
    "2026-02-03T04:05:06.789Z".parse().unwrap()
}

fn record(status: ResourceStatus, annotation: String) -> StatusRecord {
    StatusRecord {
        metadata: StatusMetadata {
            name: Name::new("no").unwrap(),
            namespace: Name::new("1e3").unwrap(),
            uid: "u".to_owned(),
            generation: 1,
            creation_timestamp: at(),
            annotations: [("k".to_owned(), annotation)].into(),
            owner_references: Vec::new(),
        },
        status,
    }
}

fn check_lossless(record: &StatusRecord, renderer: &mut Renderer) {
    let text = renderer.render(record, None).unwrap();
    let read = parse_record(text.as_bytes()).unwrap_or_else(|error| panic!("{error:?}: {text:?}"));
    assert_eq!((&read.record, &read.parts), (record, &None), "{text}");
    assert_eq!(serde_yaml::from_str::<RecordFile>(&text).unwrap(), read, "the parser says the same: {text}");
    assert_eq!(text, Renderer::new().render(record, None).unwrap());
    let plain = parse_record(serde_yaml::to_string(record).unwrap().as_bytes()).unwrap();
    assert_eq!(plain.record, *record);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_execution_survives_and_what_is_remembered_never_shows(
        first in execution(), second in execution(), note in hostile()
    ) {
        let mut renderer = Renderer::new();
        check_lossless(&record(ResourceStatus::Execution(Box::new(first.clone())), note.clone()), &mut renderer);
        check_lossless(&record(ResourceStatus::Execution(Box::new(second.clone())), note.clone()), &mut renderer);
        let mut mixed = first;
        mixed.node_statuses.extend(second.node_statuses);
        mixed.artifacts.extend(second.artifacts);
        check_lossless(&record(ResourceStatus::Execution(Box::new(mixed)), note), &mut renderer);
    }

    #[test]
    fn other_kinds_survive(message in hostile(), reviewer in hostile()) {
        let review = Review {
            reviewer,
            action: ReviewAction::Comment,
            timestamp: at(),
            comment: Some(message.clone()),
            target_generation: Some(1),
            extensions: None,
        };
        let gate = GateStatus { review_history: vec![review], ..GateStatus::default() };
        check_lossless(&record(ResourceStatus::Gate(gate), message.clone()), &mut Renderer::new());
        check_lossless(&record(ResourceStatus::Goal(GoalStatus::default()), message), &mut Renderer::new());
    }
}

/// Read by the parser, the records of a year keep a fresh runner busy for half a second.
#[test]
fn an_ordinary_record_is_read_without_the_parser() {
    let node = NodeStatus {
        phase: NodePhase::Succeeded,
        start_time: Some(at()),
        message: "exited with code 0: done".to_owned(),
        extensions: NodeExtensions {
            // Short digests begin with digits, and a few of them are numbers, such as the last one.
            basis: Some(Arc::new(InputFingerprint {
                node: "70333b647ded5bc1".to_owned(),
                inputs: "3d16549ab183f86e".to_owned(),
                target: "1234567890123e45".to_owned(),
                capabilities: Vec::new(),
            })),
            ..NodeExtensions::default()
        },
        ..NodeStatus::default()
    };
    let status = ExecutionStatus {
        node_statuses: ["a", "b"].map(|name| (NodeId::new(name).unwrap(), node.clone())).into(),
        ..ExecutionStatus::default()
    };
    let record = record(ResourceStatus::Execution(Box::new(status)), "teams/a/run.yaml".to_owned());
    let text = Renderer::new().render(&record, None).unwrap();
    let value = usual_yaml(&text).unwrap_or_else(|| panic!("{text}"));
    assert_eq!(serde_json::from_value::<RecordFile>(value).unwrap().record, record);
}

#[test]
fn what_is_wrong_with_a_record_is_said_by_the_parser() {
    let why = |text: &str| match parse_record(text.as_bytes()) {
        Err(RecordError::Malformed(error)) => error.to_string(),
        other => panic!("{text}: {other:?}"),
    };
    let missing = why("apiVersion: planspec.io/v1alpha1\nkind: Goal\n");
    assert!(missing.contains("missing field `metadata`"), "{missing}");
    let twice = why("kind: Goal\nkind: Goal\n");
    assert!(twice.contains("duplicate"), "{twice}");
}

#[test]
fn only_what_changed_is_rendered_again() {
    let node = |phase| NodeStatus { phase, ..NodeStatus::default() };
    let id = |text| NodeId::new(text).unwrap();
    let mut status = ExecutionStatus {
        node_statuses: ["a", "b", "c"].map(|name| (id(name), node(NodePhase::Pending))).into(),
        ..ExecutionStatus::default()
    };
    let mut rendered = RenderedParts::default();
    rendered.update(&status.node_statuses, &[]).unwrap();
    let places =
        |rendered: &RenderedParts| -> Vec<_> { rendered.nodes.iter().map(|part| part.2.as_ptr()).collect() };
    let before = places(&rendered);
    status.node_statuses.insert(id("b"), node(NodePhase::Running));
    status.node_statuses.insert(id("aa"), node(NodePhase::Skipped));
    rendered.update(&status.node_statuses, &[]).unwrap();
    let after = places(&rendered);
    assert_eq!([after[0], after[3]], [before[0], before[2]]);
    assert_ne!(after[2], before[1]);
}
