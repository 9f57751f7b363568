//! Hostile text as Markdown text, as a code span, and as a Mermaid label.

use std::fmt::Write as _;

use super::line::{cut, is_hidden, one_line};

/// The text on one line, with everything that means something to Markdown or to a Git host (HTML, links,
/// mentions, references to issues, formulas) made to mean nothing. At most `limit` characters before that.
#[must_use]
pub(crate) fn markdown(text: &str, limit: usize) -> String {
    let line = one_line(text, limit);
    let mut safe = String::with_capacity(line.len());
    let mut word = String::new();
    for c in line.chars() {
        match c {
            // The space of no width keeps a host from finding a mention or an issue in the rendered text.
            '@' | '#' => {
                let _ = write!(safe, "&#{};&#8203;", u32::from(c));
            }
            '.' if word.eq_ignore_ascii_case("www") => safe.push_str("&#46;"),
            // What would start a list within the list, where the text goes first.
            '-' | '+' if safe.is_empty() => {
                let _ = write!(safe, "&#{};", u32::from(c));
            }
            '.' | ')' if !word.is_empty() && word == safe && word.bytes().all(|b| b.is_ascii_digit()) => {
                let _ = write!(safe, "&#{};", u32::from(c));
            }
            // `GH-26` is a reference to an issue, too.
            '-' if word.eq_ignore_ascii_case("gh") => safe.push_str("-&#8203;"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '<' | '>' | '!' | '|' | '~' | '&' | '$'
            | ':' | '^' | '=' => {
                let _ = write!(safe, "&#{};", u32::from(c));
            }
            c => safe.push(c),
        }
        if c.is_alphanumeric() {
            word.push(c);
        } else {
            word.clear();
        }
    }
    safe
}

/// A sentence of planspec as [`markdown`] makes it, with what stands between backticks as code spans. What a provider or a person
/// wrote into it can make a code span too, and nothing else.
#[must_use]
pub(crate) fn sentence(text: &str, limit: usize) -> String {
    let line = one_line(text, limit);
    let parts: Vec<&str> = line.split('`').collect();
    let mut safe = String::with_capacity(line.len());
    let mut rest = parts.iter().enumerate().peekable();
    while let Some((index, part)) = rest.next() {
        let is_closed = index % 2 == 1 && rest.peek().is_some();
        // Two spans side by side would be one, and whoever wrote an empty one wrote no name.
        if is_closed && !part.trim().is_empty() && !safe.ends_with('`') {
            safe.push_str(&code(part, limit));
            continue;
        }
        if index % 2 == 1 {
            safe.push_str("&#96;");
        }
        // Escaping trims, and the words beside a code span are no part of it.
        let is_blank = part.trim().is_empty();
        if index > 0 && part.starts_with(' ') {
            safe.push(' ');
        }
        safe.push_str(&markdown(part, limit));
        if rest.peek().is_some() && part.ends_with(' ') && !is_blank {
            safe.push(' ');
        }
        if is_closed {
            safe.push_str("&#96;");
        }
    }
    safe
}

/// The text with its lines kept, each of them as [`markdown`] makes it. At most `limit` characters before that.
#[must_use]
pub(crate) fn paragraphs(text: &str, limit: usize) -> String {
    let lines: Vec<String> = cut(text.trim(), limit).lines().map(|line| markdown(line, limit)).collect();
    lines.join("\n")
}

/// The text as a block of code that nothing in it can end; without characters that hide or reorder. At most `limit`
/// characters. `language` is a word of planspec.
#[must_use]
pub(crate) fn fence(language: &str, text: &str, limit: usize) -> String {
    let text: String =
        cut(text, limit).chars().filter(|&c| matches!(c, '\n' | '\t') || !is_hidden(c)).collect();
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{}\n{fence}", text.trim_end())
}

/// The text as a code span that is safe in a table. A backtick becomes an apostrophe.
#[must_use]
pub(crate) fn code(text: &str, limit: usize) -> String {
    // A code span has no escapes: a backtick would end it, and in a table a bar ends the cell even there.
    let line = one_line(text, limit).replace('`', "'").replace('|', "\\|");
    if line.is_empty() { line } else { format!("`{line}`") }
}

/// The text as a part of a quoted Mermaid label.
#[must_use]
pub(crate) fn label(text: &str, limit: usize) -> String {
    let line = one_line(text, limit);
    let mut safe = String::with_capacity(line.len());
    for c in line.chars() {
        // Everything else as a number: no list of the characters that mean something to Mermaid needs to be complete.
        if c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '…') {
            safe.push(c);
        } else {
            let _ = write!(safe, "#{};", u32::from(c));
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_sentence_has_between_backticks_is_a_code_span_and_nothing_else_is() {
        for (text, expected) in [
            ("gate `look` has 0 of 1 approvals", "gate `look` has 0 of 1 approvals"),
            ("`a_b` and `c|d`", "`a_b` and `c\\|d`"),
            ("a_b", "a&#95;b"),
            ("it's `open", "it's &#96;open"),
            ("`a``b`", "`a`&#96;b&#96;"),
            ("`` x", "&#96;&#96; x"),
            ("`<b>` <b>", "`<b>` &#60;b&#62;"),
        ] {
            assert_eq!(sentence(text, 100), expected, "{text}");
        }
    }
}
