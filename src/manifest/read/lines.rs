//! Lines and columns of a text: from the positions that parsers give to spans with byte offsets.

use std::ops::Range;

use crate::diagnostic::Span;

/// A text with the starts of its lines. A line ends with LF, CR LF or CR.
#[derive(Debug)]
pub(in crate::manifest) struct LineIndex<'t> {
    text: &'t str,
    starts: Vec<usize>,
    /// The bytes that stand before `text` in the file: a byte order mark.
    skipped: usize,
}

/// A position: line and column from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::manifest) struct Position {
    pub(in crate::manifest) line: usize,
    pub(in crate::manifest) column: usize,
}

/// What stands between two positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::manifest) struct TextRange {
    pub(super) from: Position,
    pub(super) to: Position,
}

impl<'t> LineIndex<'t> {
    pub(in crate::manifest) fn new(text: &'t str, skipped: usize) -> Self {
        let mut starts = vec![0];
        let mut bytes = text.bytes().enumerate().peekable();
        while let Some((at, byte)) = bytes.next() {
            // YAML counts CR LF as one end of a line and a CR alone as another; the parser's line numbers
            // follow that.
            let next_is_lf = matches!(bytes.peek(), Some((_, b'\n')));
            if byte == b'\n' || (byte == b'\r' && !next_is_lf) {
                starts.push(at + 1);
            }
        }
        Self { text, starts, skipped }
    }

    /// The text of a line, without its end; empty beyond the last.
    pub(in crate::manifest) fn line(&self, line: usize) -> &'t str {
        let index = line.saturating_sub(1);
        let start = self.starts.get(index).copied().unwrap_or(self.text.len());
        let end = self.starts.get(index + 1).copied().unwrap_or(self.text.len());
        self.text.get(start..end).unwrap_or_default().trim_end_matches(['\n', '\r'])
    }

    /// The number of lines.
    pub(in crate::manifest) fn count(&self) -> usize {
        self.starts.len()
    }

    fn offset(&self, position: Position) -> usize {
        let start = self.starts.get(position.line.saturating_sub(1)).copied().unwrap_or(self.text.len());
        let rest = self.text.get(start..).unwrap_or_default();
        // Columns count characters, offsets count bytes.
        let within =
            rest.char_indices().nth(position.column.saturating_sub(1)).map_or(rest.len(), |(at, _)| at);
        start + within
    }

    /// The text from a position on, and where that starts.
    pub(super) fn from(&self, position: Position) -> Option<(usize, &'t str)> {
        let start = self.offset(position);
        Some((start, self.text.get(start..)?))
    }

    /// The span of a range of bytes.
    pub(in crate::manifest) fn span_of_bytes(&self, range: Range<usize>) -> Span {
        let position = |offset: usize| {
            let line = self.starts.partition_point(|start| *start <= offset);
            let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or_default();
            let before = self.text.get(start..offset).unwrap_or_default();
            Position { line, column: before.chars().count() + 1 }
        };
        self.span(TextRange { from: position(range.start), to: position(range.end) })
    }

    /// The span of a range. Finding the bytes of a column takes a walk along its line, so ask only for what is shown.
    pub(in crate::manifest) fn span(&self, TextRange { from, to }: TextRange) -> Span {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Span {
            line: number(from.line),
            column: number(from.column),
            end_line: number(to.line),
            end_column: number(to.column),
            start: self.offset(from) + self.skipped,
            end: self.offset(to) + self.skipped,
        }
    }

    /// The span of one character, or of nothing at the end of a line.
    pub(in crate::manifest) fn point(&self, at: Position) -> Span {
        // The columns of the JSON reader count bytes, and may lie beyond the end of a line with other
        // characters than ASCII.
        let last = self.line(at.line).chars().count() + 1;
        let column = at.column.min(last);
        let to = Position { column: (column + 1).min(last), ..at };
        self.span(TextRange { from: Position { column, ..at }, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_offsets_count_bytes() {
        let lines = LineIndex::new("ä: 1\r\nb: ü\rc", 3);
        assert_eq!(lines.count(), 3);
        assert_eq!(lines.line(2), "b: ü");
        let range = TextRange { from: Position { line: 2, column: 4 }, to: Position { line: 2, column: 5 } };
        let span = lines.span(range);
        assert_eq!((span.start, span.end), (13, 15));
        assert_eq!(lines.point(Position { line: 3, column: 9 }).start, 3 + 14);
    }
}
