//! Reading a zip archive of a stranger: entry by entry, each by its name, and never more than asked for. Nothing is extracted under
//! a name that the archive gives.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use miniz_oxide::inflate::decompress_to_vec_with_limit;

/// How many entries are read.
const ENTRIES: u64 = 20_000;

/// The longest name.
const NAME: usize = 255;

/// How many bytes a directory of so many entries may have.
const DIRECTORY: u64 = 8 << 20;

/// The end of an archive, with the longest comment that the format knows.
const END: u64 = 22 + 65_535;

const END_MARK: u32 = 0x0605_4b50;
const END_64_MARK: u32 = 0x0606_4b50;
const LOCATOR_MARK: u32 = 0x0706_4b50;
const ENTRY_MARK: u32 = 0x0201_4b50;
const FILE_MARK: u32 = 0x0403_4b50;

/// Stands in a field for a number that is too large for it, and is in another place.
const ELSEWHERE: u64 = 0xffff_ffff;

/// Why an archive is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveError {
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("it is not a zip archive that can be used: {0}")]
    Malformed(&'static str),
    #[error("it has more than {ENTRIES} entries")]
    TooMany,
    #[error("`{0}` is not in it")]
    Missing(String),
    #[error("`{name}` has more than {most} bytes")]
    TooLarge { name: String, most: u64 },
}

/// Where the bytes of an archive are.
pub(super) trait ArchiveBytes {
    /// How many there are.
    fn length(&self) -> io::Result<u64>;

    /// Reads as many as there is room for, from a place on.
    fn read_exact_at(&self, room: &mut [u8], at: u64) -> io::Result<()>;
}

impl ArchiveBytes for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, room: &mut [u8], at: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, room, at)
    }
}

impl ArchiveBytes for &[u8] {
    fn length(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.len()).unwrap_or(u64::MAX))
    }

    fn read_exact_at(&self, room: &mut [u8], at: u64) -> io::Result<()> {
        let from = usize::try_from(at).ok().and_then(|at| self.get(at..)?.get(..room.len()));
        room.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// An archive.
#[derive(Debug)]
pub(super) struct Archive<B> {
    bytes: B,
    entries: BTreeMap<String, ArchiveEntry>,
}

/// Where an entry is, as the directory says.
#[derive(Debug, Clone, Copy)]
struct ArchiveEntry {
    method: u64,
    packed: u64,
    size: u64,
    at: u64,
}

impl<B: ArchiveBytes> Archive<B> {
    /// Reads the directory.
    pub(super) fn open(archive: B) -> Result<Self, ArchiveError> {
        let length = archive.length()?;
        let (count, size, at) = directory(&archive, length)?;
        if count > ENTRIES || size > DIRECTORY {
            return Err(ArchiveError::TooMany);
        }
        let bytes = piece(&archive, at, size, length)?;
        let mut fields = Fields(&bytes);
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let (name, entry) = fields.entry()?;
            // Two of one name would be two answers to one question.
            if entries.insert(name, entry).is_some() {
                return Err(ArchiveError::Malformed("two entries have one name"));
            }
        }
        Ok(Self { bytes: archive, entries })
    }

    /// The content of an entry, if it has at most so many bytes.
    pub(super) fn read(&self, name: &str, most: u64) -> Result<Vec<u8>, ArchiveError> {
        let entry = self.entries.get(name).ok_or_else(|| ArchiveError::Missing(name.to_owned()))?;
        let too_large = || ArchiveError::TooLarge { name: name.to_owned(), most };
        // Of both, because each is only said: what is packed is read into memory, and so is what comes out of it.
        if entry.size > most || entry.packed > most.saturating_add(1 << 16) {
            return Err(too_large());
        }
        let length = self.bytes.length()?;
        let head = piece(&self.bytes, entry.at, 30, length)?;
        let mut head = Fields(&head);
        if head.number(4)? != u64::from(FILE_MARK) {
            return Err(ArchiveError::Malformed("an entry is not where the directory says"));
        }
        head.skip(22)?;
        let name_length = head.number(2)?;
        let extra = head.number(2)?;
        let at = entry.at.saturating_add(30).saturating_add(name_length).saturating_add(extra);
        let packed = piece(&self.bytes, at, entry.packed, length)?;
        let content = match entry.method {
            0 => packed,
            8 => {
                let limit = usize::try_from(entry.size).map_err(|_| too_large())?;
                decompress_to_vec_with_limit(&packed, limit)
                    .map_err(|_| ArchiveError::Malformed("what is packed is not what the directory says"))?
            }
            _ => return Err(ArchiveError::Malformed("it is packed in a way that is not known")),
        };
        if u64::try_from(content.len()).is_ok_and(|length| length == entry.size) {
            Ok(content)
        } else {
            Err(ArchiveError::Malformed("an entry has another size than the directory says"))
        }
    }

    /// The names of all entries.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Whether it has an entry.
    pub(super) fn holds(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }
}

/// How many entries there are, and how long the directory is and where it begins.
fn directory(file: &impl ArchiveBytes, length: u64) -> Result<(u64, u64, u64), ArchiveError> {
    const NO_END: ArchiveError = ArchiveError::Malformed("it has no end");
    let from = length.saturating_sub(END);
    let tail = piece(file, from, length - from, length)?;
    let mark = END_MARK.to_le_bytes();
    let at = tail.windows(4).rposition(|window| window == mark).ok_or(NO_END)?;
    let mut end = Fields(tail.get(at..).unwrap_or_default());
    end.skip(10)?;
    let found = (end.number(2)?, end.number(4)?, end.number(4)?);
    // The length of the comment, with which the end is whole.
    end.skip(2)?;
    if found.0 != 0xffff && found.1 != ELSEWHERE && found.2 != ELSEWHERE {
        return Ok(found);
    }
    // The larger form of the same, which some archivers always write.
    let locator = at.checked_sub(20).and_then(|at| tail.get(at..)).ok_or(NO_END)?;
    let mut locator = Fields(locator);
    if locator.number(4)? != u64::from(LOCATOR_MARK) {
        return Err(NO_END);
    }
    locator.skip(4)?;
    let larger = piece(file, locator.number(8)?, 56, length)?;
    let mut larger = Fields(&larger);
    if larger.number(4)? != u64::from(END_64_MARK) {
        return Err(NO_END);
    }
    larger.skip(28)?;
    Ok((larger.number(8)?, larger.number(8)?, larger.number(8)?))
}

/// Some bytes of the file, if they are all within it.
fn piece(file: &impl ArchiveBytes, at: u64, count: u64, length: u64) -> Result<Vec<u8>, ArchiveError> {
    const OUTSIDE: ArchiveError = ArchiveError::Malformed("it names bytes that it does not have");
    if at.checked_add(count).is_none_or(|end| end > length) {
        return Err(OUTSIDE);
    }
    let mut bytes = vec![0; usize::try_from(count).map_err(|_| OUTSIDE)?];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// Bytes from which one field after the other is taken.
struct Fields<'b>(&'b [u8]);

impl<'b> Fields<'b> {
    fn take(&mut self, count: u64) -> Result<&'b [u8], ArchiveError> {
        let cut = usize::try_from(count).ok().and_then(|count| self.0.split_at_checked(count));
        let (taken, rest) = cut.ok_or(ArchiveError::Malformed("it ends within a field"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn skip(&mut self, count: u64) -> Result<(), ArchiveError> {
        self.take(count).map(drop)
    }

    /// A number of so many bytes, the lowest first.
    fn number(&mut self, bytes: u64) -> Result<u64, ArchiveError> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// An entry of the directory.
    fn entry(&mut self) -> Result<(String, ArchiveEntry), ArchiveError> {
        if self.number(4)? != u64::from(ENTRY_MARK) {
            return Err(ArchiveError::Malformed("the directory ends too early"));
        }
        self.skip(4)?;
        let flags = self.number(2)?;
        let method = self.number(2)?;
        self.skip(8)?;
        let mut packed = self.number(4)?;
        let mut size = self.number(4)?;
        let (name, extra, comment) = (self.number(2)?, self.number(2)?, self.number(2)?);
        self.skip(8)?;
        let mut at = self.number(4)?;
        let name = self.take(name)?;
        let mut extra = Fields(self.take(extra)?);
        self.skip(comment)?;
        if flags & 1 == 1 {
            return Err(ArchiveError::Malformed("an entry is encrypted"));
        }
        // Those that are too large for their fields are there in this order.
        if [packed, size, at].contains(&ELSEWHERE) {
            let mut larger = extra.larger()?;
            for number in [&mut size, &mut packed, &mut at] {
                if *number == ELSEWHERE {
                    *number = larger.number(8)?;
                }
            }
        }
        let name = std::str::from_utf8(name).ok().filter(|name| name.len() <= NAME);
        let name = name.ok_or(ArchiveError::Malformed("the name of an entry is too long, or no text"))?;
        Ok((name.to_owned(), ArchiveEntry { method, packed, size, at }))
    }

    /// The field of the larger numbers, among the further fields of an entry.
    fn larger(&mut self) -> Result<Self, ArchiveError> {
        loop {
            let kind = self.number(2)?;
            let length = self.number(2)?;
            let field = self.take(length)?;
            if kind == 1 {
                return Ok(Fields(field));
            }
        }
    }
}
