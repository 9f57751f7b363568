//! Files of a working tree in which nothing was wrong, recognised by their `stat`, as Git's own index does. A file of its
//! own beside the index, as `validate` must neither wait for a runner nor make it wait; unknown files are read again.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::config::{Config, Limits};
use crate::manifest::Facts;
use crate::model::SourceLocation;
use crate::stamp::FileStamp;

/// The name of the cache file; the number grows when the content changes its meaning.
const FILE: &str = "sound-2";

/// Bytes of the SHA-256 at the front. postcard would decode most damaged bytes to something, and `validate` would be wrong.
const CHECKSUM: usize = 32;

/// The facts of a file in which nothing is wrong, by the number of the document.
pub type ValidatedContent = Vec<(u32, Facts)>;

/// What the result depends on besides the files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct CacheKey {
    version: String,
    limits: Limits,
    paths: Vec<String>,
    exclude: Vec<String>,
    /// The providers as JSON: which may be used, and what they take, judges Bindings.
    providers: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct CacheEntry {
    path: String,
    stamp: FileStamp,
    /// Where its content starts and ends among the contents: decoded only for files that are checked again.
    content: (usize, usize),
}

#[derive(Debug, Serialize, Deserialize)]
struct CacheHead {
    terms: CacheKey,
    /// The number of resources, when nothing at all was wrong with exactly these files together.
    sound: Option<usize>,
    entries: Vec<CacheEntry>,
}

/// The files of a working tree in which nothing was wrong.
#[derive(Debug)]
pub struct ValidationCache {
    file: PathBuf,
    terms: CacheKey,
    sound: Option<usize>,
    entries: HashMap<String, (FileStamp, (usize, usize))>,
    contents: Vec<u8>,
}

impl ValidationCache {
    /// The cache in `cache_dir`; empty when there is none, or when it is damaged or has another key.
    #[must_use]
    pub fn open(cache_dir: &Path, config: &Config) -> Self {
        let terms = CacheKey {
            // The number of the index's layout as well: facts are stored in both, and change together.
            version: super::WRITER.to_owned(),
            limits: config.limits.clone(),
            paths: config.paths.clone(),
            exclude: config.exclude.clone(),
            providers: serde_json::to_string(&config.providers).unwrap_or_default(),
        };
        let file = cache_dir.join(FILE);
        let read = std::fs::read(&file).ok().and_then(|bytes| decode(&bytes, &terms));
        let (sound, entries, contents) = read.unwrap_or_default();
        Self { file, terms, sound, entries, contents }
    }

    /// The number of resources in these files, if nothing was wrong with exactly these files together.
    #[must_use]
    pub fn all_sound<'a>(
        &self,
        files: impl ExactSizeIterator<Item = (&'a str, Option<FileStamp>)>,
    ) -> Option<usize> {
        // A file without a stamp is unknown: it is no regular file, and there is nothing to recognise it by.
        let known = |(path, stamp): (&str, Option<FileStamp>)| {
            stamp.is_some() && self.entries.get(path).map(|(known, _)| *known) == stamp
        };
        // As many as were known, and each of them known: then none was added and none removed.
        let sound = self.sound.filter(|_| files.len() == self.entries.len())?;
        let mut files = files;
        files.all(known).then_some(sound)
    }

    /// What is in a file, if nothing was wrong with it.
    #[must_use]
    pub fn content(&self, path: &str, stamp: FileStamp) -> Option<ValidatedContent> {
        let (known, (start, end)) = self.entries.get(path)?;
        let bytes = self.contents.get(*start..*end).filter(|_| *known == stamp)?;
        postcard::from_bytes(bytes).ok()
    }

    /// Stores `files`, those in which nothing was wrong. `sound` is the number of resources, when nothing was wrong at all and
    /// `files` has all of them. A cache that cannot be written is not an error.
    pub fn keep<'a>(
        self,
        files: impl Iterator<Item = (&'a str, FileStamp, &'a [(Facts, SourceLocation)])>,
        sound: Option<usize>,
    ) {
        let mut contents = Vec::new();
        let mut entries = Vec::new();
        for (path, stamp, facts) in files {
            let content: Vec<(u32, &Facts)> =
                facts.iter().map(|(facts, source)| (source.document, facts)).collect();
            let Ok(bytes) = postcard::to_allocvec(&content) else { return };
            // Contents lie behind the head, so that `open` decodes only paths and stamps; most files are never checked
            // again.
            let start = contents.len();
            contents.extend(bytes);
            entries.push(CacheEntry { path: path.to_owned(), stamp, content: (start, contents.len()) });
        }
        let head = CacheHead { terms: self.terms, sound, entries };
        let Ok(head) = postcard::to_allocvec(&head) else { return };
        if let Err(error) = write(&self.file, &head, &contents) {
            tracing::debug!(%error, "the validation cache was not written");
        }
    }
}

type DecodedContent = (Option<usize>, HashMap<String, (FileStamp, (usize, usize))>, Vec<u8>);

fn decode(bytes: &[u8], terms: &CacheKey) -> Option<DecodedContent> {
    let (checksum, rest) = bytes.split_at_checked(CHECKSUM)?;
    if Sha256::digest(rest).as_slice() != checksum {
        return None;
    }
    let (head, contents) = postcard::take_from_bytes::<CacheHead>(rest).ok()?;
    // Other limits or globs may make a valid file invalid, and another version may know more rules.
    if head.terms != *terms {
        return None;
    }
    let entries = head.entries.into_iter().map(|entry| (entry.path, (entry.stamp, entry.content)));
    Some((head.sound, entries.collect(), contents.to_vec()))
}

/// Writes and renames, so that another `validate` never reads half of it.
fn write(file: &Path, head: &[u8], contents: &[u8]) -> std::io::Result<()> {
    let Some(dir) = file.parent() else { return Ok(()) };
    std::fs::create_dir_all(dir)?;
    let mut checksum = Sha256::new();
    checksum.update(head);
    checksum.update(contents);
    // In the same directory: a rename across file systems is a copy.
    let mut new = tempfile::NamedTempFile::new_in(dir)?;
    new.write_all(&checksum.finalize())?;
    new.write_all(head)?;
    new.write_all(contents)?;
    // No sync: after a crash the checksum does not fit, and everything is read again.
    new.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;
    use std::time::Duration;

    fn stamp(path: &Path) -> FileStamp {
        FileStamp::of(&path.metadata().unwrap())
    }

    fn facts(name: &str) -> (Facts, SourceLocation) {
        let text = format!(
            "apiVersion: planspec.io/v1alpha1\nkind: Goal\nmetadata:\n  name: {name}\n  namespace: n\nspec:\n  description: x\n"
        );
        let parsed = manifest::parse("a.yaml", text.as_bytes(), &Limits::default());
        let resource = parsed.resources.into_iter().next().unwrap();
        (manifest::facts(&resource), resource.source)
    }

    fn keep(dir: &Path, config: &Config, path: &Path, sound: Option<usize>) -> FileStamp {
        let stamp = stamp(path);
        let facts = [facts("a")];
        ValidationCache::open(dir, config).keep([("a.yaml", stamp, facts.as_slice())].into_iter(), sound);
        stamp
    }

    #[test]
    fn a_file_is_known_until_it_changes_in_any_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        std::fs::write(&path, "one").unwrap();
        let config = Config::default();
        let before = keep(dir.path(), &config, &path, Some(1));
        let known = ValidationCache::open(dir.path(), &config);
        assert_eq!(known.content("a.yaml", before), Some(vec![(0, facts("a").0)]));
        assert_eq!(known.all_sound([("a.yaml", Some(before))].into_iter()), Some(1));
        // The same size and the same time of change of content: the system still distinguishes them.
        let modified = path.metadata().unwrap().modified().unwrap();
        std::thread::sleep(Duration::from_millis(20));
        std::fs::write(&path, "two").unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert_eq!(known.content("a.yaml", stamp(&path)), None);
        assert_eq!(known.all_sound([("a.yaml", Some(stamp(&path)))].into_iter()), None);
    }

    #[test]
    fn a_verdict_on_all_files_holds_for_exactly_these() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        std::fs::write(&path, "one").unwrap();
        let stamp = keep(dir.path(), &Config::default(), &path, Some(1));
        let known = ValidationCache::open(dir.path(), &Config::default());
        assert_eq!(known.all_sound([].into_iter()), None);
        assert_eq!(known.all_sound([("b.yaml", Some(stamp))].into_iter()), None);
        assert_eq!(known.all_sound([("a.yaml", Some(stamp)), ("b.yaml", Some(stamp))].into_iter()), None);
        assert_eq!(known.all_sound([("a.yaml", None)].into_iter()), None);
    }

    #[test]
    fn nothing_is_known_under_other_terms_or_from_a_damaged_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        std::fs::write(&path, "one").unwrap();
        let config = Config::default();
        let stamp = keep(dir.path(), &config, &path, Some(1));
        let mut other = config.clone();
        other.limits.depth -= 1;
        assert_eq!(ValidationCache::open(dir.path(), &other).content("a.yaml", stamp), None);
        let file = dir.path().join(FILE);
        let mut bytes = std::fs::read(&file).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(ValidationCache::open(dir.path(), &config).content("a.yaml", stamp), None);
    }
}
