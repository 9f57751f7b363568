//! The tables of the index. Keys are texts (`namespace/kind/name`, paths, topics); values are postcard, which is smaller and
//! faster to read than JSON but has no field names: any change of a stored type needs a new `WRITER` number.

use redb::{Database, MultimapTableDefinition, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::IndexError;

/// A table from text to an encoded value.
pub(super) type TextTable = TableDefinition<'static, &'static str, &'static [u8]>;
/// A table from text to several texts.
pub(super) type MultiTable = MultimapTableDefinition<'static, &'static str, &'static str>;

/// `state`: the commits that the index describes; `clock`: by which clock its times were written.
pub(super) const META: TextTable = TextTable::new("meta");
/// Path → what the file holds.
pub(super) const FILES: TextTable = TextTable::new("files");
/// Path → the blob of a file with diagnostics.
pub(super) const BAD: TextTable = TextTable::new("bad");
/// Key → the paths that declare it.
pub(super) const PLACES: MultiTable = MultiTable::new("places");
/// Key → the declaration in force.
pub(super) const DECLARED: TextTable = TextTable::new("declared");
/// Key → the declaration of a derived Execution, which its record makes.
pub(super) const DERIVED: TextTable = TextTable::new("derived");
/// Topic → the keys whose declaration mentions it.
pub(super) const MENTIONS: MultiTable = MultiTable::new("mentions");
/// Topic → the keys of derived Executions that mention it.
pub(super) const DERIVED_MENTIONS: MultiTable = MultiTable::new("derived mentions");
/// Key → the record.
pub(super) const RECORDED: TextTable = TextTable::new("recorded");
/// Key → nothing: records that somebody broke.
pub(super) const BROKEN: TextTable = TextTable::new("broken");
/// `kind/phase` → how many records are in it.
pub(super) const PHASES: TextTable = TextTable::new("phases");
/// Key → nothing: executions that have not ended.
pub(super) const ACTIVE: TextTable = TextTable::new("active");
/// Time, as sortable text, then the key → nothing: executions that have ended.
pub(super) const ENDED: TextTable = TextTable::new("ended");
/// Key → nothing: what has to be planned again.
pub(super) const WORK: TextTable = TextTable::new("work");
/// Topic → the keys that wait for it.
pub(super) const AWAITS: MultiTable = MultiTable::new("awaits");
/// Key → what it waits for, and until when, as JSON.
pub(super) const SETTLED: TextTable = TextTable::new("settled");
/// Time, as sortable text, then the key → nothing: what has to be planned again then.
pub(super) const WAKES: TextTable = TextTable::new("wakes");

/// Every table from text to a value.
pub(super) const MAPS: [TextTable; 13] =
    [META, FILES, BAD, DECLARED, DERIVED, RECORDED, BROKEN, PHASES, ACTIVE, ENDED, WORK, SETTLED, WAKES];
/// Every table from text to texts.
pub(super) const WAYS: [MultiTable; 4] = [PLACES, MENTIONS, DERIVED_MENTIONS, AWAITS];

/// A time as text that sorts like the time, followed by the key.
pub(super) fn timed_key(millis: i64, key: &str) -> String {
    // Shifted to be positive: a minus sign would sort before the digits, and in the wrong order.
    let shifted = millis.saturating_add(1 << 60);
    // Twenty digits hold every shifted number of 64 bits. With fewer, a later time could be longer and sort first.
    format!("{shifted:020}/{key}")
}

/// Creates all tables: a read transaction fails on a table that does not exist.
pub(super) fn create(database: &Database) -> Result<(), IndexError> {
    let transaction = database.begin_write()?;
    for map in MAPS {
        transaction.open_table(map)?;
    }
    for ways in WAYS {
        transaction.open_multimap_table(ways)?;
    }
    transaction.commit()?;
    Ok(())
}

pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, IndexError> {
    Ok(postcard::to_allocvec(value)?)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, IndexError> {
    Ok(postcard::from_bytes(bytes)?)
}
