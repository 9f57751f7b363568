//! The zlib streams (RFC 1950) that Git keeps objects in.

use miniz_oxide::deflate::compress_to_vec_zlib;

/// The most bytes that are stored as they are; such a block may have 64 KiB. The small objects of a commit shrink by a third, and
/// setting up a compressor for each took a seventh of the processor time of a plan of 2,000 nodes, that of the nodes not counted.
const MOST_STORED: usize = 2_048;

/// The fastest level, as Git's own default for loose objects says.
const LEVEL: u8 = 1;

/// Appends the stream of a content that consists of two parts.
pub(super) fn append(stream: &mut Vec<u8>, first: &[u8], second: &[u8]) {
    let content = [first, second].concat();
    let Some(length) = u16::try_from(content.len()).ok().filter(|_| content.len() <= MOST_STORED) else {
        stream.extend(compress_to_vec_zlib(&content, LEVEL));
        return;
    };
    // The method and the level; then a last block that is not compressed, and how long it is, twice.
    stream.extend_from_slice(&[0x78, 0x01, 0x01]);
    stream.extend_from_slice(&length.to_le_bytes());
    stream.extend_from_slice(&(!length).to_le_bytes());
    stream.extend_from_slice(&content);
    stream.extend_from_slice(&adler2::adler32_slice(&content).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use miniz_oxide::inflate::decompress_to_vec_zlib;

    #[test]
    fn a_stream_holds_both_parts_whatever_their_length() {
        for length in [0, 1, 100, MOST_STORED - 6, MOST_STORED - 5, 100_000] {
            let second = "phase: Succeeded\n".repeat(length.div_ceil(17)).into_bytes();
            let second = second.get(..length).unwrap();
            let mut stream = b"before".to_vec();
            append(&mut stream, b"blob 7", second);
            let stream = stream.strip_prefix(b"before").unwrap();
            assert_eq!(decompress_to_vec_zlib(stream).unwrap(), [b"blob 7", second].concat(), "{length}");
            let is_stored = stream.len() == length + 6 + 11;
            assert_eq!(is_stored, length + 6 <= MOST_STORED, "{length}: {}", stream.len());
        }
    }
}
