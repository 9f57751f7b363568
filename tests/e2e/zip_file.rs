//! Zip archives as a host makes them of the files that a job uploads, and as a stranger may make them.

/// An entry as it is written.
pub(crate) struct Entry<'e> {
    pub(crate) name: &'e str,
    /// 0 for stored, 8 for deflated.
    pub(crate) method: u16,
    pub(crate) packed: Vec<u8>,
    /// What the archive says of its size.
    pub(crate) size: u32,
}

impl<'e> Entry<'e> {
    /// One that is deflated.
    pub(crate) fn deflated(name: &'e str, content: &[u8]) -> Self {
        let packed = miniz_oxide::deflate::compress_to_vec(content, 6);
        Self { name, method: 8, packed, size: u32::try_from(content.len()).unwrap() }
    }
}

/// An archive of these entries.
pub(crate) fn zip(entries: &[Entry<'_>]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    let short = |number: usize| u16::try_from(number).unwrap().to_le_bytes();
    let long = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
    for entry in entries {
        let at = archive.len();
        // As archivers do that write as they go: sizes follow the content, and only the directory has them in front.
        let common = [&[20, 0, 8, 0][..], &entry.method.to_le_bytes(), &[0; 8]].concat();
        let sizes = [long(entry.packed.len()), entry.size.to_le_bytes()].concat();
        archive.extend([&b"PK\x03\x04"[..], &common, &[0; 8], &short(entry.name.len()), &[0; 2]].concat());
        archive.extend(entry.name.as_bytes());
        archive.extend(&entry.packed);
        archive.extend([&b"PK\x07\x08"[..], &[0; 4], &sizes].concat());
        directory.extend([&b"PK\x01\x02"[..], &[45, 3], &common, &sizes, &short(entry.name.len())].concat());
        directory.extend([&[0; 12][..], &long(at)].concat());
        directory.extend(entry.name.as_bytes());
    }
    let at = archive.len();
    archive.extend(&directory);
    archive.extend([&b"PK\x05\x06"[..], &[0; 4], &short(entries.len()), &short(entries.len())].concat());
    archive.extend([&long(directory.len())[..], &long(at), &[0; 2]].concat());
    archive
}
