//! Which files declare a resource, whether or not a declaration is in force.

use redb::ReadableTable as _;

use super::file_entry::FileEntry;
use crate::git::ObjectId;
use crate::index::tables::{BAD, FILES, PLACES, decode};
use crate::index::{Index, IndexError};
use crate::model::ResourceKey;

impl Index {
    /// The paths of the files that declare a resource; once for each declaration.
    ///
    /// # Errors
    /// The store.
    pub fn places(&self, key: &ResourceKey) -> Result<Vec<String>, IndexError> {
        let read = self.store.begin_read()?;
        let places = read.open_multimap_table(PLACES)?;
        let files = read.open_table(FILES)?;
        let mut found = Vec::new();
        for place in places.get(key.to_string().as_str())? {
            let place = place?.value().to_owned();
            let entry = files.get(place.as_str())?;
            let entry = entry.and_then(|entry| decode::<FileEntry>(entry.value()).ok());
            // Two documents of one file may declare the same resource, and the table holds each path once.
            let count = entry.map_or(1, |entry| entry.keys.iter().filter(|other| *other == key).count());
            // At least once: the table of places says that it is there, even where the file's own entry is damaged.
            found.extend(std::iter::repeat_n(place, count.max(1)));
        }
        Ok(found)
    }

    /// A file that names a resource in a declaration that is not valid: its path and its content.
    ///
    /// # Errors
    /// The store.
    pub fn broken_declaration(&self, key: &ResourceKey) -> Result<Option<(String, ObjectId)>, IndexError> {
        let read = self.store.begin_read()?;
        let bad = read.open_table(BAD)?;
        let files = read.open_table(FILES)?;
        for entry in bad.iter()? {
            // Over broken files alone, which are few. A key has no table of the files that fail to declare it.
            let (path, _) = entry?;
            let file = files.get(path.value())?.and_then(|file| decode::<FileEntry>(file.value()).ok());
            if let Some(file) = file.filter(|file| file.doubt.named().any(|named| named == *key)) {
                return Ok(Some((path.value().to_owned(), file.blob)));
            }
        }
        Ok(None)
    }
}
