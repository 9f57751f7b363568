//! One document: whether it is ours, which resource it declares, and every check that needs no other document.

use serde_json::{Map, Value};

use super::problem::Problem;
use super::read::{self, FindingKind, RawDocument, ReadFinding};
use super::suggest::short;
use super::{codes, rules, schema, suggest};
use crate::diagnostic::Severity;
use crate::model::{
    API_GROUP, API_VERSION, Digest, Kind, Metadata, Name, Resource, ResourceKey, SourceLocation, Spec,
};
use crate::run::json::pointer;

/// The result of checking a document.
#[derive(Debug, Default)]
pub(super) struct DocumentOutcome {
    /// Whether it is a PlanSpec document.
    pub(super) ours: bool,
    /// What it declares, as far as that can be read.
    pub(super) key: Option<ResourceKey>,
    /// The resource, if nothing is wrong with it.
    pub(super) resource: Option<Resource>,
    pub(super) problems: Vec<Problem>,
}

/// Checks and decodes one document.
///
/// `reread` gives the document's value once more; it is asked for only when decoding fails.
pub(super) fn examine(
    document: RawDocument,
    source: SourceLocation,
    reread: impl Fn() -> Option<Value>,
) -> DocumentOutcome {
    let RawDocument { value, findings } = document;
    let Value::Object(map) = value else { return DocumentOutcome::default() };
    let version = match api_version(&map) {
        // Manifests of other projects are passed over in silence: this is an ordinary repository that holds
        // some of ours.
        Version::Foreign => return DocumentOutcome::default(),
        other => other,
    };
    let mut outcome = DocumentOutcome { ours: true, ..DocumentOutcome::default() };
    let kind = map.get("kind").and_then(Value::as_str).and_then(kind_of);
    // Known before anything is judged: for a resource that is refused the last good version stays in force,
    // and that needs its name (Invariant 6).
    outcome.key = kind.and_then(|kind| key_of(kind, &map));
    outcome.problems.extend(findings.iter().map(explain));
    if let Version::Wrong(problem) = version {
        outcome.problems.push(problem);
        // Fields of another version cannot be judged by the schema of this one.
        return outcome;
    }
    let Some(kind) = kind else {
        outcome.problems.push(unknown_kind(&map));
        return outcome;
    };
    // What was cut off would be reported as missing.
    let cut_short = findings.iter().any(|finding| finding.kind == FindingKind::TooDeep);
    if !cut_short {
        examine_kind(kind, map, source, &mut outcome, reread);
    }
    // A finding of the reader, such as a duplicate key, refuses the resource even where the schema takes what
    // is left of the value.
    if outcome.problems.iter().any(|problem| problem.severity == Severity::Error) {
        outcome.resource = None;
    }
    outcome
}

fn examine_kind(
    kind: Kind,
    map: Map<String, Value>,
    source: SourceLocation,
    outcome: &mut DocumentOutcome,
    reread: impl Fn() -> Option<Value>,
) {
    // Before the schema, whose errors end the check: what is merely ignored is reported all the same.
    rules::ignored(&map, &mut outcome.problems);
    let mut value = Value::Object(map);
    let found = schema::of_kind(kind).check(&value);
    let valid = found.is_empty();
    outcome.problems.extend(found);
    // Decoding would find the first of the same problems again, without its place.
    if !valid {
        return;
    }
    // Moved out rather than cloned: specs may be large, and most manifests are valid.
    let mut take = |field: &str| value.as_object_mut().and_then(|map| map.remove(field)).unwrap_or_default();
    let metadata = take("metadata");
    let spec = take("spec");
    // Of the value as it is written: defaults that a later version adds must not change the digest.
    let spec_digest = Digest::of_value(&spec);
    let decoded =
        read::decode::<Metadata>(metadata).and_then(|metadata| Ok((metadata, decode_spec(kind, spec)?)));
    match decoded {
        Ok((metadata, spec)) => {
            let resource = Resource { metadata, spec, spec_digest, source };
            rules::check(&resource, &mut outcome.problems);
            outcome.resource = Some(resource);
        }
        Err(reason) => {
            let whole = reread().unwrap_or_default();
            let spec = whole.get("spec").unwrap_or(&Value::Null);
            outcome.problems.extend(rules::unusable(spec, "/spec", &reason));
        }
    }
}

fn decode_spec(kind: Kind, spec: Value) -> Result<Spec, String> {
    Ok(match kind {
        Kind::Goal => Spec::Goal(read::decode(spec)?),
        Kind::Plan => Spec::Plan(read::decode(spec)?),
        Kind::Capability => Spec::Capability(read::decode(spec)?),
        Kind::Binding => Spec::Binding(read::decode(spec)?),
        Kind::Gate => Spec::Gate(read::decode(spec)?),
        Kind::Execution => Spec::Execution(read::decode(spec)?),
        Kind::Schedule => Spec::Schedule(read::decode(spec)?),
    })
}

enum Version {
    /// Not a PlanSpec document.
    Foreign,
    Known,
    Wrong(Problem),
}

fn api_version(map: &Map<String, Value>) -> Version {
    // The group alone or before a slash: `planspec.iox/v1` belongs to somebody else.
    let of_group = |text: &str| {
        text.strip_prefix(API_GROUP).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    match map.get("apiVersion") {
        Some(Value::String(text)) if text == API_VERSION => Version::Known,
        Some(Value::String(text)) if of_group(text) => {
            let message = format!("unknown apiVersion `{}`", short(text));
            let problem = Problem::new(codes::UNKNOWN_VERSION, "/apiVersion", message);
            Version::Wrong(problem.hint(format!("write `{API_VERSION}`")))
        }
        // A version that is no text names no group at all.
        Some(_) => Version::Foreign,
        None => {
            // Without this, a slip in this one key would make the document somebody else's, and its resource
            // would go without a word.
            let misspelt = map.iter().find(|(key, value)| {
                key.to_ascii_lowercase().replace(['_', '-'], "") == "apiversion"
                    && value.as_str().is_some_and(of_group)
            });
            misspelt.map_or(Version::Foreign, |(key, _)| {
                let message = format!("unknown field `{}`", short(key));
                let problem = Problem::new(codes::UNKNOWN_FIELD, pointer::join("", key), message);
                Version::Wrong(problem.at_key().hint("did you mean `apiVersion`?".to_owned()))
            })
        }
    }
}

/// Why a document is not ours, when it seems to be meant as a resource.
pub(super) fn why_foreign(value: &Value) -> Option<Problem> {
    let map = value.as_object().filter(|map| !map.is_empty())?;
    // kubectl prints several objects as one such document, which people then save as it is.
    if map.get("kind").and_then(Value::as_str) == Some("List") {
        let problem = Problem::new(codes::UNKNOWN_KIND, "/kind", "`kind: List` is not supported");
        let hint = "write each item as a document of its own, with `---` between them";
        return Some(problem.hint(hint.to_owned()));
    }
    Some(match map.get("apiVersion") {
        Some(version) => {
            let version = version.as_str().map_or_else(|| version.to_string(), str::to_owned);
            let message = format!("unknown apiVersion `{}`", short(&version));
            Problem::new(codes::UNKNOWN_VERSION, "/apiVersion", message)
                .hint(format!("write `{API_VERSION}`"))
        }
        None => Problem::new(codes::UNKNOWN_VERSION, "", "missing field `apiVersion`")
            .hint(format!("write `apiVersion: {API_VERSION}`")),
    })
}

fn kind_of(text: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.as_str() == text)
}

fn unknown_kind(map: &Map<String, Value>) -> Problem {
    let known = || Kind::ALL.into_iter().map(Kind::as_str);
    let others =
        map.keys().map(String::as_str).filter(|key| !["apiVersion", "metadata", "spec"].contains(key));
    match map.get("kind") {
        // Misspelt, it is one error at the word that was typed.
        None if let Some(near) = suggest::nearest("kind", others.clone()) => {
            let message = format!("unknown field `{}`", short(near));
            Problem::new(codes::UNKNOWN_FIELD, pointer::join("", near), message)
                .at_key()
                .hint("did you mean `kind`?".to_owned())
        }
        None => Problem::new(codes::UNKNOWN_KIND, "", "missing field `kind`")
            .hint(format!("the kinds are {}", suggest::one_of(known()).replace(" or ", " and "))),
        Some(Value::String(text)) => {
            Problem::new(codes::UNKNOWN_KIND, "/kind", format!("unknown kind `{}`", short(text))).hint(
                suggest::did_you_mean(text, known()).unwrap_or_else(|| {
                    format!("the kinds are {}", suggest::one_of(known()).replace(" or ", " and "))
                }),
            )
        }
        Some(_) => Problem::new(codes::UNKNOWN_KIND, "/kind", "`kind` must be a string"),
    }
}

fn key_of(kind: Kind, map: &Map<String, Value>) -> Option<ResourceKey> {
    let metadata = map.get("metadata")?;
    // Validated here, because keys become paths of the status tree (Invariant 8).
    let name = |field: &str| metadata.get(field)?.as_str().and_then(|text| Name::new(text).ok());
    Some(ResourceKey::new(kind, name("namespace")?, name("name")?))
}

/// What a finding of the reader means to a user.
pub(super) fn explain(finding: &ReadFinding) -> Problem {
    let pointer = finding.pointer.as_str();
    match &finding.kind {
        FindingKind::DuplicateKey => {
            let key = pointer::split_last(pointer).map(|(_, key)| short(&key)).unwrap_or_default();
            let mut problem =
                Problem::new(codes::DUPLICATE_KEY, pointer, format!("duplicate key `{key}`")).at_key();
            // At the second of the two keys; the first one is shown as the related place.
            problem.occurrence = 1;
            // Two resources without a separator between them are one mapping in which every key occurs twice.
            if pointer == "/apiVersion" {
                let hint = "if another resource begins here, write `---` on the line before it";
                problem = problem.hint(hint.to_owned());
            } else if key == "<<" {
                problem = problem.hint("merge several mappings with one `<<: [*a, *b]`".to_owned());
            }
            problem.related(pointer, "first here")
        }
        FindingKind::TooDeep => Problem::new(codes::TOO_DEEP, pointer, "nested too deeply").at_start(),
        FindingKind::Tag(tag) => Problem::new(
            codes::UNKNOWN_TAG,
            pointer,
            format!("unknown tag `!{}`", short(tag.trim_start_matches('!'))),
        )
        .hint("put text that starts with `!` in quotes".to_owned()),
        FindingKind::TagMismatch(tag) => {
            Problem::new(codes::UNKNOWN_TAG, pointer, format!("the value does not fit its tag `{tag}`"))
        }
        FindingKind::BadNumber => Problem::new(codes::BAD_NUMBER, pointer, "the number is out of range")
            .hint("put it in quotes if it is text".to_owned()),
        FindingKind::BadMerge => {
            Problem::new(codes::BAD_MERGE, pointer, "`<<` takes a mapping or a list of mappings").at_key()
        }
    }
}
