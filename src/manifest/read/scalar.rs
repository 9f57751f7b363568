//! Where a part of a scalar stands in the source, whatever form the scalar was written in: escapes, doubled quotes, folded
//! and indented lines. Knows nothing of what the text means.

use std::ops::Range;

use saphyr_parser::ScalarStyle;

/// A scalar as it is written.
#[derive(Debug, Clone, Copy)]
pub(in crate::manifest) struct ScalarSource<'t> {
    /// The source from the first character of the scalar on; it may go on behind it.
    pub(in crate::manifest) source: &'t str,
    pub(super) style: ScalarStyle,
    /// What the scalar means.
    pub(super) text: &'t str,
    /// Whether it is a string of JSON, whose escapes may be halves of a pair.
    pub(in crate::manifest) json: bool,
}

/// A character of the text, and the bytes of the source that write it.
struct WrittenChar {
    at: Range<usize>,
    /// None for the escaped end of a line, which writes nothing.
    means: Option<char>,
}

impl ScalarSource<'_> {
    /// Where a part of the text stands in the source. Of an empty part, that is the word that begins there, or the
    /// character, where no word is; nothing, just behind what comes before it, where there is a blank or the end.
    ///
    /// Blanks are not counted: which of them a folded line stands for depends on the lines around it, and everything else
    /// is in the source as often as it is in the text, and in the same order.
    pub(in crate::manifest) fn part(&self, part: Range<usize>) -> Option<Range<usize>> {
        // The tree of a JSON text was made from a source in which such pairs were replaced.
        let rebuilt: Option<String> =
            self.json.then(|| self.written().filter_map(|written| written.means).collect());
        let text = rebuilt.as_deref().unwrap_or(self.text);
        let rest = text.get(part.start..)?;
        let before = text.get(..part.start)?.chars().filter(|c| !is_blank(*c)).count();
        let mut written = self.written().filter(|written| written.means.is_some_and(|c| !is_blank(c)));
        let length = match text.get(part)? {
            "" => word_length(rest),
            meant => meant.chars().filter(|c| !is_blank(*c)).count(),
        };
        if length == 0 {
            let end = before.checked_sub(1).and_then(|last| written.nth(last)).map(|last| last.at.end)?;
            return Some(end..end);
        }
        let first = written.nth(before)?;
        // A form that is read here in another way than the parser reads it would mark something at random.
        if first.means != rest.chars().next() {
            return None;
        }
        let last =
            length.checked_sub(2).and_then(|more| written.nth(more)).map_or(first.at.end, |last| last.at.end);
        Some(first.at.start..last)
    }

    /// The characters of the scalar in the order of the source.
    fn written(&self) -> impl Iterator<Item = WrittenChar> {
        let mut at = self.head();
        std::iter::from_fn(move || {
            let written = self.next_char(at)?;
            at = written.at.end;
            Some(written)
        })
    }

    /// The bytes before the first character.
    fn head(&self) -> usize {
        match self.style {
            // The parser gives the place of a block from its first line on, without the `|` above.
            ScalarStyle::Plain | ScalarStyle::Literal | ScalarStyle::Folded => 0,
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => 1,
        }
    }

    fn next_char(&self, at: usize) -> Option<WrittenChar> {
        let rest = self.source.get(at..)?;
        let c = rest.chars().next()?;
        let (length, means) = match (self.style, c) {
            (ScalarStyle::SingleQuoted, '\'') if rest.starts_with("''") => (2, Some('\'')),
            (ScalarStyle::SingleQuoted, '\'') | (ScalarStyle::DoubleQuoted, '"') => return None,
            (ScalarStyle::DoubleQuoted, '\\') => escape(rest)?,
            _ => (c.len_utf8(), Some(c)),
        };
        Some(WrittenChar { at: at..at + length, means })
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// The characters of the path of names that a text begins with, or one for anything else; none for a blank.
fn word_length(text: &str) -> usize {
    let part = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '.');
    let word = text.chars().take_while(part).count();
    if word == 0 { text.chars().take(1).filter(|c| !is_blank(*c)).count() } else { word }
}

/// The length of an escape, and what it means.
fn escape(text: &str) -> Option<(usize, Option<char>)> {
    let hex = |from: usize, digits: usize| u32::from_str_radix(text.get(from..from + digits)?, 16).ok();
    let c = text.chars().nth(1)?;
    let number = |digits: usize| Some((2 + digits, char::from_u32(hex(2, digits)?)));
    match c {
        '\n' => Some((2, None)),
        '\r' => Some((if text.starts_with("\\\r\n") { 3 } else { 2 }, None)),
        'n' => Some((2, Some('\n'))),
        't' => Some((2, Some('\t'))),
        'r' => Some((2, Some('\r'))),
        'x' => number(2),
        'U' => number(8),
        'u' => {
            let high = hex(2, 4)?;
            let low = hex(8, 4);
            match low.filter(|_| text.get(6..8) == Some("\\u")) {
                // Two escapes that are one character, as JSON writes what is beyond 16 bits.
                Some(low) if (0xd800..0xdc00).contains(&high) && (0xdc00..0xe000).contains(&low) => {
                    let pair = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                    Some((12, char::from_u32(pair)))
                }
                _ => number(4),
            }
        }
        // Of the others, only that they are one character and no blank matters.
        other => Some((1 + other.len_utf8(), Some(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(style: ScalarStyle, source: &str, text: &str, word: &str, line: usize, column: usize) {
        let scalar = ScalarSource { source, style, text, json: false };
        let at = text.find(word).unwrap();
        let found = scalar.part(at..at).unwrap();
        let before = source.get(..found.start).unwrap();
        let last = before.rsplit('\n').next().unwrap();
        let place = (before.matches('\n').count() + 1, last.chars().count() + 1);
        assert_eq!(place, (line, column), "{source}");
        assert_eq!(source.get(found).unwrap().chars().next(), word.chars().next(), "{source}");
    }

    #[test]
    fn every_form_of_a_scalar_is_followed() {
        check(ScalarStyle::Plain, "a == 1 && wrong.x", "a == 1 && wrong.x", "wrong", 1, 11);
        check(ScalarStyle::Plain, "a &&\n    é || wrong", "a && é || wrong", "wrong", 2, 10);
        check(ScalarStyle::SingleQuoted, "'a == ''x'' && wrong'", "a == 'x' && wrong", "wrong", 1, 16);
        check(
            ScalarStyle::DoubleQuoted,
            r#""a == \"\u00e9\x41\" \n && wrong""#,
            "a == \"éA\" \n && wrong",
            "wrong",
            1,
            28,
        );
        check(ScalarStyle::DoubleQuoted, "\"a \\\n  && wrong\"", "a && wrong", "wrong", 2, 6);
        check(ScalarStyle::Literal, "a &&\n      wrong", "a &&\n  wrong", "wrong", 2, 7);
        check(ScalarStyle::Folded, "> a &&\r\n\r\n  wrong\r\n", "> a &&\nwrong", "wrong", 3, 3);
    }

    #[test]
    fn a_pair_of_escapes_in_json_is_one_character() {
        let source = r#""\ud83d\ude00 wrong""#;
        let scalar =
            ScalarSource { source, style: ScalarStyle::DoubleQuoted, text: "\0\0 wrong", json: true };
        assert_eq!(source.get(scalar.part(5..5).unwrap()), Some("wrong"));
    }

    #[test]
    fn the_whole_word_is_meant_and_nothing_behind_the_last_one() {
        let text = "nodes.biuld.phase == (1 + ";
        let scalar = ScalarSource { source: text, style: ScalarStyle::Plain, text, json: false };
        assert_eq!(text.get(scalar.part(0..0).unwrap()), Some("nodes.biuld.phase"));
        assert_eq!(text.get(scalar.part(21..21).unwrap()), Some("("));
        assert_eq!(scalar.part(text.len()..text.len()), Some(25..25));
    }

    #[test]
    fn a_part_may_hold_what_no_word_does() {
        let source = "'echo ''a'' ${{ b +\n   c }} d'";
        let text = "echo 'a' ${{ b + c }} d";
        let scalar = ScalarSource { source, style: ScalarStyle::SingleQuoted, text, json: false };
        assert_eq!(source.get(scalar.part(9..21).unwrap()), Some("${{ b +\n   c }}"));
        assert_eq!(scalar.part(9..210), None);
    }
}
