//! Bytes that a process printed as text that is safe to keep and show: valid UTF-8, no terminal sequences,
//! no control characters.

use anstream::adapter::strip_str;

/// One line: what a terminal would show of it in the end, without its end.
pub(in crate::provider) fn plain_line(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    plain(last_state(text.trim_end_matches(['\n', '\r'])))
}

/// The last lines of a text, at most `limit` bytes; `cut` says that something stood before it.
pub(in crate::provider) fn last_lines(bytes: &[u8], limit: usize, cut: bool) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines =
        text.trim_end_matches(['\n', '\r']).split('\n').map(|line| last_state(line.trim_end_matches('\r')));
    let text = lines.map(plain).collect::<Vec<_>>().join("\n");
    if text.len() <= limit && !cut {
        return text;
    }
    let from = text.len().saturating_sub(limit);
    let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let end = text.get(from..).unwrap_or_default();
    // A line that is longer than everything that may be kept is kept in part.
    match end.split_once('\n') {
        Some((_, lines)) if !starts_line(&text, from) || (from == 0 && cut) => lines.to_owned(),
        _ => end.to_owned(),
    }
}

fn starts_line(text: &str, at: usize) -> bool {
    at == 0 || text.as_bytes().get(at - 1) == Some(&b'\n')
}

/// What stays of a line that was written over, as progress bars do.
fn last_state(line: &str) -> &str {
    line.rsplit('\r').find(|state| !state.is_empty()).unwrap_or_default()
}

fn plain(line: &str) -> String {
    let line = strip_str(line).to_string();
    line.chars().map(|c| if matches!(c, '\t' | '\n') { ' ' } else { c }).filter(|c| !is_control(*c)).collect()
}

/// Control characters, and those that change the direction of the text around them.
fn is_control(c: char) -> bool {
    // With marks of direction, a text can be shown in another order than it is stored, so that people read something
    // else.
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_sequences_and_control_characters_are_removed() {
        assert_eq!(plain_line(b"\x1b[31mred\x1b[0m \x07bell\ttab\r\n"), "red bell tab");
        assert_eq!(plain_line(b"\x1b]0;title\x07text"), "text");
        assert_eq!(plain_line("a\u{202e}b\u{9b}c".as_bytes()), "abc");
        assert_eq!(plain_line(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn of_a_progress_bar_the_last_state_stays() {
        assert_eq!(plain_line(b"10%\r50%\r100%\r\n"), "100%");
    }

    #[test]
    fn the_tail_begins_at_a_line() {
        assert_eq!(last_lines(b"one\ntwo\nthree\n", 100, false), "one\ntwo\nthree");
        assert_eq!(last_lines(b"one\ntwo\nthree\n", 9, false), "two\nthree");
        assert_eq!(last_lines(b"one\ntwo\nthree\n", 8, false), "three");
        assert_eq!(last_lines(b"ne\ntwo\nthree\n", 100, true), "two\nthree");
    }

    #[test]
    fn a_line_longer_than_the_tail_is_cut_at_a_character() {
        assert_eq!(last_lines("ääää".as_bytes(), 5, false), "ää");
    }
}
