//! Keys and scalars that appear in one line.

use serde_json::Value;

use crate::manifest::read::plain;

/// Takes `key:` off a line: the key, and what follows it. Nothing where the line is no usual entry.
pub(super) fn key(line: &str) -> Option<(&str, &str)> {
    let (key, rest) = if line.starts_with(['"', '\'']) {
        let (key, rest) = quoted(line)?;
        (key, rest.strip_prefix(':')?)
    } else {
        let end = line.bytes().position(|byte| !is_of_a_key(byte))?;
        let (key, rest) = line.split_at_checked(end)?;
        // `- ` begins an item, and `...` ends a document.
        if key.is_empty() || key.starts_with(['-', '.']) {
            return None;
        }
        (key, rest.strip_prefix(':')?)
    };
    // A merge key needs the values of anchors, which only the walk has. A colon without a blank is part of a
    // scalar.
    if key == "<<" || !(rest.is_empty() || rest.starts_with(' ')) {
        return None;
    }
    Some((key, rest.trim_start_matches(' ')))
}

fn is_of_a_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/' | b'$')
}

/// Takes a quoted scalar without escapes off a text: its content, and what follows it.
pub(super) fn quoted(text: &str) -> Option<(&str, &str)> {
    let mark = text.chars().next()?;
    let (content, rest) = text.get(1..)?.split_once(mark)?;
    // Between single quotes, a quote that is doubled is the escape.
    let escapes = content.contains('\\') && mark == '"' || rest.starts_with(mark);
    (!escapes).then_some((content, rest))
}

/// Whether nothing but a comment follows.
pub(super) fn nothing_follows(rest: &str) -> bool {
    rest.is_empty() || (rest.starts_with(' ') && rest.trim_start_matches(' ').starts_with('#'))
}

/// A plain scalar that fills the rest of a line.
pub(super) fn plain(text: &str) -> Option<Value> {
    // A comment needs a blank before it: `a#b` is text.
    let text = text.split_once(" #").map_or(text, |(text, _)| text).trim_end_matches(' ');
    if text.contains(": ") || text.ends_with(':') {
        return None;
    }
    resolve(text)
}

/// What a plain scalar stands for.
pub(super) fn resolve(text: &str) -> Option<Value> {
    let first = text.chars().next()?;
    match first {
        'n' | 'N' if matches!(text, "null" | "Null" | "NULL") => Some(Value::Null),
        't' | 'T' if matches!(text, "true" | "True" | "TRUE") => Some(Value::Bool(true)),
        'f' | 'F' if matches!(text, "false" | "False" | "FALSE") => Some(Value::Bool(false)),
        // What is too large for a number of JSON is left to the walk, which has the place to report it with.
        '0'..='9' => plain::resolve(text),
        'a'..='z' | 'A'..='Z' | '/' | '_' | '$' | '(' | '\u{a0}'.. => Some(Value::String(text.to_owned())),
        _ => None,
    }
}
