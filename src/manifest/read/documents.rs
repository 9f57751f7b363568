//! The documents of a YAML text as ranges of its bytes, so that one can be replaced or removed and everything
//! around it, comments included, stays as it is. Knows markers and comments, not YAML.

use std::ops::Range;

/// One document of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DocumentRange {
    /// From its marker line, or the start of the text, to the next marker line.
    whole: Range<usize>,
    /// From the first to the last line that is neither empty nor a comment.
    content: Range<usize>,
}

/// Finds the documents, in the order and with the count of a YAML reader: what stands before the first marker
/// is one only when it has content.
fn split(text: &str) -> Vec<DocumentRange> {
    let mut documents = Vec::new();
    let mut open = OpenDocument { start: 0, marked: false, first: None, last: 0 };
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end();
        let marker = bare.strip_prefix("---").filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        if let Some(rest) = marker {
            documents.extend(open.close(at));
            open = OpenDocument { start: at, marked: true, first: None, last: 0 };
            let rest = rest.trim_start();
            if !rest.is_empty() && !rest.starts_with('#') {
                // Content on the marker's own line: the line as a whole counts.
                open.note(at, at + line.len());
            }
        } else if bare.strip_prefix("...").is_some_and(ends_document) {
            // `...` ends a document and begins none: what follows without a marker counts only if it has
            // content.
            documents.extend(open.close(at + line.len()));
            open = OpenDocument { start: at + line.len(), marked: false, first: None, last: 0 };
        } else if open.first.is_none() && bare.trim_start().starts_with('#') {
            // An indented comment; further down it could be the text of a block scalar.
        } else if !bare.trim().is_empty() && !bare.starts_with(['#', '%', '\u{feff}']) {
            open.note(at, at + line.len());
        } else if let Some(rest) = bare.strip_prefix('\u{feff}')
            && !rest.trim().is_empty()
            && !rest.starts_with('#')
        {
            open.note(at + '\u{feff}'.len_utf8(), at + line.len());
        }
        at += line.len();
    }
    documents.extend(open.close(text.len()));
    documents
}

/// Whether a line ends a document that begins with `...`: nothing may follow but a comment.
fn ends_document(rest: &str) -> bool {
    rest.is_empty() || (rest.starts_with([' ', '\t']) && rest.trim_start().starts_with('#'))
}

/// A document whose end is not reached.
struct OpenDocument {
    start: usize,
    marked: bool,
    first: Option<usize>,
    last: usize,
}

impl OpenDocument {
    fn note(&mut self, start: usize, end: usize) {
        self.first.get_or_insert(start);
        self.last = end;
    }

    fn close(&self, end: usize) -> Option<DocumentRange> {
        match self.first {
            Some(first) => Some(DocumentRange { whole: self.start..end, content: first..self.last }),
            None if self.marked => Some(DocumentRange { whole: self.start..end, content: end..end }),
            None => None,
        }
    }
}

/// How many documents there are.
#[cfg(test)]
pub(super) fn count(text: &str) -> usize {
    split(text).len()
}

/// The content of a document.
pub(crate) fn content(text: &str, index: usize) -> Option<&str> {
    text.get(split(text).get(index)?.content.clone())
}

/// The text with the content of one document replaced.
pub(crate) fn replace(text: &str, index: usize, content: &str) -> Option<String> {
    let range = split(text).get(index)?.content.clone();
    let before = text.get(..range.start)?;
    let after = text.get(range.end..)?;
    let mut out = String::with_capacity(before.len() + content.len() + after.len() + 1);
    out.push_str(before);
    let content = content.trim_end_matches(['\r', '\n']);
    // A replaced document that began on its marker's line took the marker along.
    let marked = text.get(range)?.starts_with("---");
    if marked && !content.starts_with("---") {
        out.push_str("---\n");
    }
    out.push_str(content);
    out.push('\n');
    out.push_str(after);
    Some(out)
}

/// The text without some of its documents; `None` when no content would be left.
pub(crate) fn remove(text: &str, indices: &[usize]) -> Option<String> {
    let documents = split(text);
    let kept = |index: usize| !indices.contains(&index);
    // The caller deletes the file then; comments alone declare nothing.
    if !documents.iter().enumerate().any(|(index, document)| kept(index) && !document.content.is_empty()) {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (index, document) in documents.iter().enumerate() {
        if !kept(index) {
            out.push_str(text.get(at..document.whole.start)?);
            at = document.whole.end;
        }
    }
    out.push_str(text.get(at..)?);
    // The first document needs no marker when the one before it is gone.
    let first_is_gone = indices.contains(&0);
    Some(match out.strip_prefix("---\n") {
        Some(rest) if first_is_gone && !text.starts_with("---") => rest.to_owned(),
        _ => out,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# head\na: 1\n# tail of a\n---\n# about b\nb: |\n  # not a comment\n  ---x\n\n---\nc: 3\n";

    #[test]
    fn documents_are_counted_as_a_yaml_reader_counts_them() {
        for (text, count) in [
            (TEXT, 3),
            ("", 0),
            ("# only a comment\n", 0),
            ("# head\n---\na: 1\n", 1),
            ("---\n---\na: 1\n", 2),
            ("a: 1\n...\n# nothing\n", 1),
            ("--- {a: 1}\n--- # b\nb: 1", 2),
            ("---x: 1\n", 1),
            ("%YAML 1.2\n---\na: 1\n", 1),
        ] {
            assert_eq!(split(text).len(), count, "{text:?}");
        }
    }

    #[test]
    fn a_replacement_keeps_every_comment_and_every_other_document() {
        assert_eq!(
            replace(TEXT, 1, "b: 2\n").unwrap(),
            "# head\na: 1\n# tail of a\n---\n# about b\nb: 2\n\n---\nc: 3\n"
        );
        assert_eq!(replace("--- {a: 1}\n", 0, "a: 2").unwrap(), "---\na: 2\n");
        assert_eq!(replace("a: 1", 0, "a: 2").unwrap(), "a: 2\n");
        assert_eq!(replace(TEXT, 3, "x"), None);
    }

    #[test]
    fn a_removed_document_takes_its_marker_along() {
        assert_eq!(remove(TEXT, &[1]).unwrap(), "# head\na: 1\n# tail of a\n---\nc: 3\n");
        assert_eq!(remove("a: 1\n---\nb: 2\n", &[0]).unwrap(), "b: 2\n");
        assert_eq!(remove("a: 1\n---\nb: 2\n", &[1]).unwrap(), "a: 1\n");
        assert_eq!(remove("a: 1\n---\nb: 2\n", &[0, 1]), None);
    }

    #[test]
    fn the_content_has_no_surrounding_comments() {
        assert_eq!(content(TEXT, 0), Some("a: 1\n"));
        assert_eq!(content("\u{feff}a: 1\n", 0), Some("a: 1\n"));
    }
}
