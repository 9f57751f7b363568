//! Text made fit for one line of a commit message or a page: nothing in it can end the line, hide, or
//! turn the reading direction.

/// Whether a character must not appear as itself: controls, line breaks, and what is invisible or reorders.
#[must_use]
pub(crate) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text on one line: hidden characters become single spaces, ends are trimmed, and what is longer than
/// `limit` characters is cut with `…`.
#[must_use]
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    let mut line = String::with_capacity(text.len().min(limit.saturating_mul(4)));
    let mut gap = false;
    // Whatever is far behind the limit cannot show, so a huge text costs no more than a long one.
    for c in text.chars().take(limit.saturating_mul(4).saturating_add(16)) {
        if is_hidden(c) || c.is_whitespace() {
            gap = true;
        } else {
            if gap && !line.is_empty() {
                line.push(' ');
            }
            gap = false;
            line.push(c);
        }
    }
    cut(&line, limit)
}

/// What somebody said, to stand behind a sentence about them: on one line, and in quotation marks, because it is not ours
/// (Invariant 8). Nothing where nothing was said.
#[must_use]
pub(crate) fn in_their_words(text: &str, limit: usize) -> String {
    let words = one_line(text, limit);
    if words.is_empty() { words } else { format!(": “{words}”") }
}

/// The first `limit` characters; the last of them is `…` when there were more.
#[must_use]
pub(crate) fn cut(text: &str, limit: usize) -> String {
    // This stops at the limit; to count the characters would read all of a huge text.
    if text.chars().nth(limit).is_none() {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(limit.saturating_sub(1)).collect();
    short.truncate(short.trim_end().len());
    short.push('…');
    short
}

/// A number with its thousands apart: `9,500`.
#[must_use]
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_could_end_or_turn_a_line_becomes_a_space() {
        assert_eq!(one_line(" a\r\nb\t\u{1b}[31mc\u{202e}\u{2028}d ", 80), "a b [31mc d");
    }

    #[test]
    fn a_long_text_is_cut_with_a_mark() {
        assert_eq!(one_line("漢字漢字漢字", 4), "漢字漢…");
        assert_eq!(one_line("abcd", 4), "abcd");
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
