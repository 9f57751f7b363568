//! Manifests as they were parsed last, by blob: an Execution that begins has its Plan and its Goal read to pin them, to check the
//! pin and to sum up the Goal, and a file may declare hundreds of Executions, each of which asks for its own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::git::ObjectId;
use crate::model::{Resource, ResourceKey};

/// How many bytes of text each half holds parsed. Parsed, they take about five times as much memory.
const HALF: u64 = 4 << 20;

/// The resources of one file. Of several with one key, the first counts.
type FileResources = Rc<HashMap<ResourceKey, Resource>>;

/// The files that were read last.
// In two halves instead of a list in the order of use: when the new half is full it becomes the old one, and what is asked for
// in the old one moves on. What nobody asks for is forgotten after at most two fillings.
#[derive(Debug, Default)]
pub(in crate::engine::snapshot) struct ParsedManifests {
    halves: RefCell<Halves>,
}

#[derive(Debug, Default)]
struct Halves {
    new: HashMap<ObjectId, (u64, FileResources)>,
    old: HashMap<ObjectId, (u64, FileResources)>,
    /// How many bytes of text are in the new half.
    bytes: u64,
}

impl ParsedManifests {
    /// The resource that a blob at `path` declares. `parse` reads the file where it is not known: how many bytes it has, and what
    /// is valid in it; none where it cannot be read.
    pub(in crate::engine::snapshot) fn resource<E>(
        &self,
        (blob, path): (ObjectId, &str),
        key: &ResourceKey,
        parse: impl FnOnce() -> Result<Option<(u64, Vec<Resource>)>, E>,
    ) -> Result<Option<Resource>, E> {
        // The same bytes are another text where the name of the file says that they are JSON, and that is rare.
        let keeps = !path.to_ascii_lowercase().ends_with(".json");
        let known = if keeps { self.halves.borrow_mut().find(blob) } else { None };
        let file = match known {
            Some(file) => file,
            None => {
                let Some((size, resources)) = parse()? else { return Ok(None) };
                let mut file = HashMap::with_capacity(resources.len());
                for resource in resources {
                    file.entry(resource.key()).or_insert(resource);
                }
                let file = Rc::new(file);
                if keeps {
                    self.halves.borrow_mut().keep(blob, size, Rc::clone(&file));
                }
                file
            }
        };
        Ok(file.get(key).map(|resource| {
            let mut resource = resource.clone();
            // The same blob may have been read at another place.
            path.clone_into(&mut resource.source.path);
            resource
        }))
    }

    /// Forgets everything: what is valid depends on the configured limits.
    pub(in crate::engine::snapshot) fn clear(&mut self) {
        self.halves = RefCell::default();
    }
}

impl Halves {
    fn find(&mut self, blob: ObjectId) -> Option<FileResources> {
        if let Some((_, file)) = self.new.get(&blob) {
            return Some(Rc::clone(file));
        }
        let (size, file) = self.old.remove(&blob)?;
        self.keep(blob, size, Rc::clone(&file));
        Some(file)
    }

    fn keep(&mut self, blob: ObjectId, size: u64, file: FileResources) {
        // One large Plan would push everything else out, and is read once by the Execution that runs it.
        if size > HALF / 4 {
            return;
        }
        if self.bytes + size > HALF {
            self.old = std::mem::take(&mut self.new);
            self.bytes = 0;
        }
        self.bytes += size;
        self.new.insert(blob, (size, file));
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::config::Limits;
    use crate::manifest;
    use crate::model::{Kind, Name};

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
        cache: ParsedManifests,
        text: String,
        size: u64,
        parsed: usize,
    }

    impl Reader {
        fn new(text: String, size: u64) -> Self {
            Self { cache: ParsedManifests::default(), text, size, parsed: 0 }
        }

        fn read(&mut self, file: u8, path: &str, number: usize) -> Option<Resource> {
            let parse = || {
                self.parsed += 1;
                let parsed = manifest::parse(path, self.text.as_bytes(), &Limits::default());
                Ok::<_, Infallible>(Some((self.size, parsed.resources)))
            };
            let Ok(found) = self.cache.resource((blob(file), path), &key(number), parse);
            found
        }
    }

    #[test]
    fn a_file_is_parsed_once_for_all_that_it_declares_wherever_it_stands() {
        let mut reader = Reader::new(capabilities(50), 5_000);
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
    fn what_is_asked_for_stays_and_the_rest_goes_before_it_is_too_much() {
        let mut reader = Reader::new(capabilities(1), HALF / 8);
        for file in 0..100 {
            reader.read(file, "capabilities.yaml", 0).unwrap();
            reader.read(0, "capabilities.yaml", 0).unwrap();
            let halves = reader.cache.halves.borrow();
            assert!(halves.new.len() <= 8 && halves.old.len() <= 8 && halves.bytes <= HALF);
        }
        assert_eq!(reader.parsed, 100, "the first one was never forgotten");
    }

    #[test]
    fn a_file_that_is_read_as_json_and_one_that_is_too_large_are_read_again() {
        let mut reader = Reader::new(capabilities(1), HALF);
        for _ in 0..3 {
            reader.read(1, "capabilities.yaml", 0).unwrap();
        }
        assert_eq!(reader.parsed, 3);
        let mut reader = Reader::new(capabilities(1), 100);
        reader.read(1, "capabilities.yaml", 0).unwrap();
        assert_eq!(reader.read(1, "capabilities.JSON", 0), None, "no JSON");
        assert_eq!(reader.parsed, 2);
    }
}
