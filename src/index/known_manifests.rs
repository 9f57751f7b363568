//! Manifests that were parsed by this process, in a compact form: each is parsed once to know what is declared, and read again for
//! its record, for the Execution that pins it, for the check of the pin, and for the Goal that is summed up from it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::ser::Formatter;

use super::Index;
use crate::git::ObjectId;
use crate::model::{Digest, Kind, Metadata, Resource, ResourceKey, SourceLocation, Spec};

/// How many bytes each half may hold. Together they are enough for 100,000 manifests of 1 KB.
const HALF: usize = 64 << 20;

/// How many bytes a process holds that waits for something to happen.
const AT_REST: usize = 8 << 20;

impl Index {
    /// The resource that a blob at `path` declares. `parse` reads the file where it is not known: what is valid in it; none where it
    /// cannot be read.
    ///
    /// # Errors
    /// That of `parse`.
    pub fn manifest<E>(
        &self,
        (blob, path): (ObjectId, &str),
        key: &ResourceKey,
        parse: impl FnOnce() -> Result<Option<Vec<Resource>>, E>,
    ) -> Result<Option<Resource>, E> {
        self.manifests.resource((blob, path), key, parse)
    }

    /// Gives the memory of many known manifests back: what was to be planned is planned.
    pub fn forget_most_manifests(&self) {
        if self.manifests.bytes() > AT_REST {
            self.manifests.clear();
        }
    }
}

/// The files that were read last.
// In two halves instead of a list in the order of use: when the new half is full it becomes the old one. Nothing that is asked for
// moves on: a pass over all of them would else push out what it has not come to.
#[derive(Debug, Default)]
pub(super) struct KnownManifests {
    halves: RefCell<Halves>,
}

#[derive(Debug, Default)]
struct Halves {
    new: HashMap<ObjectId, Rc<FileForm>>,
    old: HashMap<ObjectId, Rc<FileForm>>,
    /// How many bytes are in the new half.
    bytes: usize,
}

/// What a file declares.
#[derive(Debug)]
pub(super) struct FileForm {
    /// In the order of the keys. Of several with one key, the first in the file.
    resources: Vec<ResourceForm>,
    bytes: usize,
}

/// A resource as one piece of memory. Parsed, it takes five times as much in a hundred pieces.
#[derive(Debug)]
struct ResourceForm {
    key: ResourceKey,
    document: u32,
    spec_digest: Digest,
    /// Its metadata and its spec as JSON.
    text: Box<[u8]>,
}

impl KnownManifests {
    fn resource<E>(
        &self,
        (blob, path): (ObjectId, &str),
        key: &ResourceKey,
        parse: impl FnOnce() -> Result<Option<Vec<Resource>>, E>,
    ) -> Result<Option<Resource>, E> {
        // Only where the name of the file does not say how to read it: the same bytes are another text as JSON, and that is rare.
        let known = if may_keep(path) { self.halves.borrow().find(blob) } else { None };
        if let Some(file) = known {
            let Some(form) = file.find(key) else { return Ok(None) };
            if let Some(resource) = form.resource(path) {
                return Ok(Some(resource));
            }
        }
        let Some(resources) = parse()? else { return Ok(None) };
        self.keep(blob, FileForm::of(path, &resources));
        Ok(resources.into_iter().find(|resource| resource.key() == *key))
    }

    /// Keeps what a file declares.
    pub(super) fn keep(&self, blob: ObjectId, file: Option<FileForm>) {
        if let Some(file) = file {
            self.halves.borrow_mut().keep(blob, Rc::new(file));
        }
    }

    fn bytes(&self) -> usize {
        let halves = self.halves.borrow();
        halves.bytes + if halves.old.is_empty() { 0 } else { HALF }
    }

    /// Forgets everything: what is valid depends on the configured limits.
    pub(super) fn clear(&self) {
        self.halves.take();
    }
}

impl Halves {
    fn find(&self, blob: ObjectId) -> Option<Rc<FileForm>> {
        self.new.get(&blob).or_else(|| self.old.get(&blob)).map(Rc::clone)
    }

    fn keep(&mut self, blob: ObjectId, file: Rc<FileForm>) {
        // One large Plan would push everything else out, and is read once by the Execution that runs it.
        if file.bytes > HALF / 8 {
            return;
        }
        if self.bytes + file.bytes > HALF {
            self.old = std::mem::take(&mut self.new);
            self.bytes = 0;
        }
        let bytes = file.bytes;
        if self.new.insert(blob, file).is_none() {
            self.bytes += bytes;
        }
    }
}

impl FileForm {
    /// The compact form of what a file at `path` declares; none where that is not worth it, or would not be the same.
    pub(super) fn of(path: &str, resources: &[Resource]) -> Option<Self> {
        if resources.is_empty() || !may_keep(path) {
            return None;
        }
        let mut forms = resources.iter().map(ResourceForm::of).collect::<Option<Vec<_>>>()?;
        // Stable, so that of two with one key the first stays.
        forms.sort_by(|a, b| a.key.cmp(&b.key));
        forms.dedup_by(|later, first| later.key == first.key);
        let size = |form: &ResourceForm| {
            let names = form.key.namespace.as_str().len() + form.key.name.as_str().len();
            size_of::<ResourceForm>() + names + form.spec_digest.as_str().len() + form.text.len()
        };
        let bytes = size_of::<ObjectId>() + forms.iter().map(size).sum::<usize>();
        Some(Self { resources: forms, bytes })
    }

    fn find(&self, key: &ResourceKey) -> Option<&ResourceForm> {
        let at = self.resources.binary_search_by(|form| form.key.cmp(key)).ok()?;
        self.resources.get(at)
    }
}

impl ResourceForm {
    fn of(resource: &Resource) -> Option<Self> {
        let metadata = &resource.metadata;
        let text = match &resource.spec {
            Spec::Goal(spec) => to_text(metadata, spec),
            Spec::Plan(spec) => to_text(metadata, spec),
            Spec::Capability(spec) => to_text(metadata, spec),
            Spec::Binding(spec) => to_text(metadata, spec),
            Spec::Gate(spec) => to_text(metadata, spec),
            Spec::Execution(spec) => to_text(metadata, spec),
            Spec::Schedule(spec) => to_text(metadata, spec),
        }?;
        let (document, spec_digest) = (resource.source.document, resource.spec_digest.clone());
        let form = Self { key: resource.key(), document, spec_digest, text };
        debug_assert_eq!(form.resource(&resource.source.path).as_ref(), Some(resource));
        Some(form)
    }

    /// The resource, in a file at `path`: the same blob may have been read at another place.
    fn resource(&self, path: &str) -> Option<Resource> {
        let text = &*self.text;
        let (metadata, spec) = match self.key.kind {
            Kind::Goal => of_text(text, Spec::Goal),
            Kind::Plan => of_text(text, Spec::Plan),
            Kind::Capability => of_text(text, Spec::Capability),
            Kind::Binding => of_text(text, Spec::Binding),
            Kind::Gate => of_text(text, Spec::Gate),
            Kind::Execution => of_text(text, Spec::Execution),
            Kind::Schedule => of_text(text, Spec::Schedule),
        }?;
        let source = SourceLocation { path: path.to_owned(), document: self.document };
        Some(Resource { metadata, spec, spec_digest: self.spec_digest.clone(), source })
    }
}

fn may_keep(path: &str) -> bool {
    let path = path.as_bytes();
    let (_, end) = path.split_at(path.len().saturating_sub(5));
    !end.eq_ignore_ascii_case(b".json")
}

fn to_text<T: Serialize>(metadata: &Metadata, spec: &T) -> Option<Box<[u8]>> {
    let mut text = Vec::with_capacity(1 << 10);
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, WithoutFractions);
    (metadata, spec).serialize(&mut serializer).ok()?;
    Some(text.into_boxed_slice())
}

fn of_text<T: DeserializeOwned>(text: &[u8], spec: fn(T) -> Spec) -> Option<(Metadata, Spec)> {
    let (metadata, found) =
        <(Metadata, T)>::deserialize(&mut serde_json::Deserializer::from_slice(text)).ok()?;
    Some((metadata, spec(found)))
}

/// Refuses numbers with fractions: read back, their last bit may be another, and with it the digest of a graph.
struct WithoutFractions;

impl Formatter for WithoutFractions {
    fn write_f64<W: ?Sized + io::Write>(&mut self, _: &mut W, _: f64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn write_f32<W: ?Sized + io::Write>(&mut self, _: &mut W, _: f32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::config::Limits;
    use crate::manifest;
    use crate::model::Name;

    fn capabilities(count: usize) -> String {
        let capability = |number| {
            format!(
                "---\napiVersion: planspec.io/v1alpha1\nkind: Capability\nmetadata: {{name: c{number}, namespace: n}}\n\
                 spec: {{description: Number {number}}}\n"
            )
        };
        (0..count).map(capability).collect()
    }

    fn key(number: usize) -> ResourceKey {
        let name = Name::new(&format!("c{number}")).unwrap();
        ResourceKey::new(Kind::Capability, Name::new("n").unwrap(), name)
    }

    fn blob(number: u8) -> ObjectId {
        ObjectId::from_slice(&[number; 20]).unwrap()
    }

    struct Reader {
        known: KnownManifests,
        text: String,
        parsed: usize,
    }

    impl Reader {
        fn new(text: String) -> Self {
            Self { known: KnownManifests::default(), text, parsed: 0 }
        }

        fn read(&mut self, file: u8, path: &str, number: usize) -> Option<Resource> {
            self.read_key(file, path, &key(number))
        }

        fn read_key(&mut self, file: u8, path: &str, key: &ResourceKey) -> Option<Resource> {
            let parse = || {
                self.parsed += 1;
                let parsed = manifest::parse(path, self.text.as_bytes(), &Limits::default());
                Ok::<_, Infallible>(Some(parsed.resources))
            };
            let Ok(found) = self.known.resource((blob(file), path), key, parse);
            found
        }
    }

    #[test]
    fn a_file_is_parsed_once_for_all_that_it_declares_wherever_it_stands() {
        let mut reader = Reader::new(capabilities(50) + &capabilities(1).replace("Number", "Not the first"));
        for number in 0..50 {
            for path in ["capabilities.yaml", "pinned"] {
                let found = reader.read(1, path, number).unwrap();
                let alone = manifest::parse(path, reader.text.as_bytes(), &Limits::default());
                assert_eq!(Some(&found), alone.resources.get(number), "as if it was read alone");
            }
        }
        assert_eq!(reader.read(1, "capabilities.yaml", 50), None);
        assert_eq!(reader.parsed, 1);
    }

    #[test]
    fn every_kind_with_every_field_is_what_was_parsed() {
        let text = include_str!("../../tests/fixtures/valid/every-kind-with-every-field.yaml");
        let resources = manifest::parse("a.yaml", text.as_bytes(), &Limits::default()).resources;
        let mut kinds: Vec<Kind> = resources.iter().map(|resource| resource.spec.kind()).collect();
        kinds.sort();
        kinds.dedup();
        assert_eq!(kinds.len(), 7);
        for resource in &resources {
            let Some(form) = ResourceForm::of(resource) else { continue };
            assert_eq!(form.resource("a.yaml").as_ref(), Some(resource));
        }
    }

    #[test]
    fn a_number_with_a_fraction_is_parsed_each_time() {
        let parameter = |value: &str| {
            format!(
                "apiVersion: planspec.io/v1alpha1\nkind: Execution\nmetadata: {{name: c0, namespace: n}}\nspec: {{planRef: {{name: \
                 p}}, bindingRef: {{name: b}}, parameters: {{a: [1, {{b: {value}}}]}}}}\n"
            )
        };
        let key = ResourceKey { kind: Kind::Execution, ..key(0) };
        for (value, times) in
            [("18446744073709551615", 1), ("-9223372036854775808", 1), ("0.1", 3), ("1e300", 3)]
        {
            let mut reader = Reader::new(parameter(value));
            let first = reader.read_key(1, "a.yaml", &key);
            assert!(first.is_some(), "{value}");
            for _ in 0..2 {
                assert_eq!(reader.read_key(1, "a.yaml", &key), first);
            }
            assert_eq!(reader.parsed, times, "{value}");
        }
    }

    #[test]
    fn what_was_read_last_stays_and_the_rest_goes_before_it_is_too_much() {
        let known = KnownManifests::default();
        let find = |file| known.halves.borrow().find(blob(file)).is_some();
        let file = |bytes| Some(FileForm { resources: Vec::new(), bytes });
        for number in 0..100 {
            known.keep(blob(number), file(HALF / 8));
            let first = number.saturating_sub(8);
            assert!((first..=number).all(find), "of 16 at least the last 8");
            let halves = known.halves.borrow();
            assert!(halves.new.len() <= 8 && halves.old.len() <= 8 && halves.bytes <= HALF);
        }
        assert!(!find(1));
        known.keep(blob(1), file(HALF / 8 + 1));
        assert!(!find(1), "one that is too large is not kept");
        known.clear();
        assert!(!find(99) && known.bytes() == 0);
        known.keep(blob(1), file(1));
        known.keep(blob(1), file(1));
        assert_eq!(known.bytes(), 1, "counted once");
    }

    #[test]
    fn a_file_that_is_read_as_json_is_read_again() {
        let mut reader = Reader::new(capabilities(1));
        reader.read(1, "capabilities.yaml", 0).unwrap();
        assert_eq!(reader.read(1, "capabilities.JSON", 0), None, "no JSON");
        assert_eq!(reader.parsed, 2);
    }
}
