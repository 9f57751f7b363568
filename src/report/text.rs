//! Making hostile text safe for a terminal. Everything that comes from a repository, an event or a provider
//! passes here, and only here, before it is printed.

use std::borrow::Cow;

/// What replaces a character that is removed from within a text.
const REPLACEMENT: char = '\u{fffd}';

/// One line: escape sequences are dropped, line ends and tabs become spaces, other control, direction and
/// invisible characters become `U+FFFD`.
#[must_use]
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    clean(text, |c| matches!(c, '\n' | '\r' | '\t').then_some(' '))
}

/// Several lines: as [`line()`], but line feeds stay and a carriage return before one is dropped.
#[must_use]
pub(crate) fn block(text: &str) -> Cow<'_, str> {
    // One line end of Windows must not become two.
    let text: Cow<'_, str> =
        if text.contains("\r\n") { text.replace("\r\n", "\n").into() } else { text.into() };
    let keep = |c| match c {
        '\n' => Some('\n'),
        '\t' => Some('\t'),
        // Obeyed by a terminal, it would let what follows cover what was printed before.
        '\r' => Some('\n'),
        _ => None,
    };
    match text {
        Cow::Borrowed(text) => clean(text, keep),
        Cow::Owned(text) => clean(&text, keep).into_owned().into(),
    }
}

/// The name and the number of what is called `NAME-NUMBER`, as the instances of a repeated node are.
#[must_use]
pub(crate) fn numbered(id: &str) -> Option<(&str, u32)> {
    let (name, number) = id.rsplit_once('-')?;
    let is_plain = number == "0" || !number.starts_with('0');
    Some((name, number.parse().ok().filter(|_| is_plain && number.chars().all(|c| c.is_ascii_digit()))?))
}

/// As much of the id of a commit as people read. The text may be shorter: it comes from a record or a message.
#[must_use]
pub(crate) fn short_commit(commit: &str) -> &str {
    commit.get(..8).unwrap_or(commit)
}

/// The first `width` characters of a safe line; an ellipsis stands for the rest.
#[must_use]
pub(crate) fn shortened(text: &str, width: usize) -> String {
    let safe = line(text);
    if safe.chars().count() <= width {
        return safe.into_owned();
    }
    let mut short: String = safe.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// The lines of a text in this width, broken between words; a word that is longer stays whole.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn clean(text: &str, keep: impl Fn(char) -> Option<char>) -> Cow<'_, str> {
    // Nearly every text is harmless, and is not copied then.
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            skip_escape(&mut rest);
        } else if !is_unsafe(c) {
            out.push(c);
        } else {
            out.push(keep(c).unwrap_or(REPLACEMENT));
        }
    }
    Cow::Owned(out)
}

/// Skips what follows an ESC: a control sequence up to its final byte, a string sequence up to its
/// terminator, or one character. An unfinished sequence ends with the text.
fn skip_escape(rest: &mut std::str::Chars<'_>) {
    match rest.next() {
        Some('[') => {
            for c in rest.by_ref() {
                if !(' '..='?').contains(&c) {
                    break;
                }
            }
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = rest.next() {
                // A string sequence that nobody ends must not swallow the lines that follow.
                if matches!(c, '\u{7}' | '\n' | '\u{9c}') {
                    break;
                }
                if c == '\u{1b}' {
                    rest.next();
                    break;
                }
            }
        }
        _ => {}
    }
}

/// Characters that move the cursor, change the direction of text, or hide.
fn is_unsafe(c: char) -> bool {
    // Beyond control characters: direction marks make a line read otherwise than it is, and characters
    // without width hide text in it.
    c.is_control()
        || matches!(
            u32::from(c),
            0x00ad | 0x061c | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfeff
                | 0xfff9..=0xfffb | 0xe0000..=0xe0fff
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_is_not_touched() {
        for text in ["plain", "Grüße, 世界 🎉", "a  b"] {
            assert!(matches!(line(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn escape_sequences_vanish_whole() {
        assert_eq!(line("a\u{1b}[31;1mred\u{1b}[0m b"), "ared b");
        assert_eq!(line("\u{1b}]0;title\u{7}x"), "x");
        assert_eq!(line("\u{1b}]8;;http://evil\u{1b}\\link\u{1b}]8;;\u{1b}\\"), "link");
        assert_eq!(line("end\u{1b}"), "end");
        assert_eq!(line("end\u{1b}[3"), "end");
    }

    #[test]
    fn an_unfinished_title_does_not_swallow_the_next_line() {
        assert_eq!(block("\u{1b}]0;never ended\nnext"), "next");
    }

    #[test]
    fn controls_directions_and_invisible_characters_are_replaced() {
        assert_eq!(line("a\u{8}b\u{202e}c\u{200b}d\u{9b}e"), "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e");
        assert_eq!(line("two\nlines\tand\r"), "two lines and ");
        assert_eq!(block("two\r\nlines\tstay\u{7}"), "two\nlines\tstay\u{fffd}");
    }

    #[test]
    fn nothing_that_a_terminal_obeys_survives_any_input() {
        let hostile: String = (0..0x3000).chain(0xe0000..0xe0100).filter_map(char::from_u32).collect();
        for end in ["", "\u{1b}", "\u{1b}[", "\u{1b}]"] {
            let text = format!("{hostile}{end}{hostile}");
            assert!(!line(&text).chars().any(is_unsafe));
            assert!(!block(&text).chars().any(|c| is_unsafe(c) && !matches!(c, '\n' | '\t')));
        }
    }

    #[test]
    fn instances_are_known_by_their_numbers() {
        assert_eq!(numbered("load-12"), Some(("load", 12)));
        for other in ["load", "load-", "load-a", "load-01", "load-+1", "12"] {
            assert_eq!(numbered(other), None, "{other}");
        }
    }

    #[test]
    fn a_long_text_ends_with_an_ellipsis() {
        assert_eq!(shortened("abcdef", 4), "abc…");
        assert_eq!(shortened("abcd", 4), "abcd");
    }
}
