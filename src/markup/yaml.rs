//! YAML as this program writes it: such that every reader takes text for text, those of YAML 1.1 too.
//!
//! The library quotes what YAML 1.2 would take for a number or a boolean. PyYAML, Ruby's Psych and many others still read
//! YAML 1.1, where `no` is false, `1:30` is 90, `2001-01-01` is a date, and `<<` merges.

use serde::Serialize;

/// A value as a YAML document.
///
/// # Errors
/// The value holds what YAML cannot express.
pub(crate) fn yaml(value: &impl Serialize) -> Result<String, serde_yaml::Error> {
    let text = serde_yaml::to_string(value)?;
    // These break lines in YAML 1.1, and the library writes them in the middle of quoted scalars.
    if text.contains(['\u{2028}', '\u{2029}']) { Ok(text) } else { Ok(quoted(&text)) }
}

/// Quotes the plain scalars that readers of YAML 1.1 would take for something else. `text` is the library's: block style,
/// and every scalar in one line but for block text.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    // The indentation of the key or item whose block text continues.
    let mut block: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let content = line.trim_start_matches(' ');
        let indent = line.len() - content.len();
        if block.is_some_and(|block| content.trim().is_empty() || indent > block) {
            out.push_str(line);
            continue;
        }
        let body = content.trim_end_matches('\n');
        let mut rest = body;
        // Items, and the keys and values of the explicit form, which the library uses for keys that are long or strange.
        while let Some(inner) = ["- ", "? ", ": "].iter().find_map(|mark| rest.strip_prefix(mark)) {
            rest = inner;
        }
        let column = indent + body.len() - rest.len();
        let entry = key(rest);
        // Block text is indented further than its key, or than the mark of its item.
        let parent = if entry.is_some() { column } else { column.saturating_sub(2) };
        block = opens_block(rest).then_some(parent);
        out.push_str(line.get(..column).unwrap_or_default());
        match entry {
            Some((key, value)) => {
                scalar(key, &mut out);
                out.push(':');
                if let Some(value) = value.strip_prefix(' ') {
                    out.push(' ');
                    scalar(value, &mut out);
                }
            }
            None => scalar(rest, &mut out),
        }
        out.push_str(content.get(body.len()..).unwrap_or_default());
    }
    out
}

/// Whether block text begins below a line that ends so: `|` or `>`, with an indentation and a chomping indicator.
fn opens_block(line: &str) -> bool {
    let header = line.rsplit_once(' ').map_or(line, |(_, last)| last);
    let mut header = header.chars();
    matches!(header.next(), Some('|' | '>'))
        && header.all(|c| matches!(c, '-' | '+' | '0'..='9'))
        && !line.ends_with(['"', '\''])
}

/// The key of an entry, and what follows its colon.
fn key(line: &str) -> Option<(&str, &str)> {
    let end = match line.chars().next()? {
        mark @ ('"' | '\'') => {
            let mut escaped = false;
            let closing = line.char_indices().skip(1).find(|(_, c)| {
                let closes = *c == mark && !escaped;
                escaped = *c == '\\' && mark == '"' && !escaped;
                closes
            })?;
            closing.0 + 1
        }
        _ => line.find(": ").or_else(|| line.strip_suffix(':').map(str::len))?,
    };
    let (key, rest) = line.split_at_checked(end)?;
    let value = rest.strip_prefix(':')?;
    (value.is_empty() || value.starts_with(' ')).then_some((key, value))
}

fn scalar(text: &str, out: &mut String) {
    if is_ambiguous(text) {
        // None of the texts in question holds a quotation mark.
        out.extend(["'", text, "'"]);
    } else {
        out.push_str(text);
    }
}

/// Whether YAML 1.1 takes a plain scalar, which is text by YAML 1.2, for something else.
fn is_ambiguous(text: &str) -> bool {
    let Some(first) = text.bytes().next() else { return false };
    match first {
        b'y' | b'Y' | b'n' | b'N' | b'o' | b'O' => {
            ["y", "yes", "n", "no", "on", "off"].iter().any(|word| text.eq_ignore_ascii_case(word))
        }
        b'<' | b'=' => matches!(text, "<<" | "="),
        b'0'..=b'9' | b'+' | b'-' | b'.' => looks_like_a_number(text),
        _ => false,
    }
}

/// Octal numbers and numbers with `_`, base 60, dates and times.
fn looks_like_a_number(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    let all = |text: &str, allowed: fn(u8) -> bool| !text.is_empty() && text.bytes().all(allowed);
    if let Some(digits) = ["0x", "0o", "0b"].iter().find_map(|prefix| digits.strip_prefix(prefix)) {
        return all(digits, |byte| byte.is_ascii_hexdigit() || byte == b'_');
    }
    let octal = digits.len() > 1 && digits.starts_with('0') && all(digits, |byte| byte.is_ascii_digit());
    let spaced = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.contains(['_', ':'])
        && all(digits, |byte| {
            byte.is_ascii_digit() || matches!(byte, b'_' | b':' | b'.' | b'+' | b'-' | b'e' | b'E')
        });
    octal || spaced || is_date(text)
}

/// A date, or a date and time.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let mut number = |most: usize| {
        parts.next().is_some_and(|part| {
            (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    number(4)
        && number(2)
        && parts.next().is_some_and(|rest| {
            let of_a_time = |byte: u8| {
                byte.is_ascii_digit() || matches!(byte, b'T' | b't' | b'Z' | b' ' | b':' | b'.' | b'+' | b'-')
            };
            !rest.is_empty() && rest.bytes().all(of_a_time)
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn check(value: &Value, expected: &str) {
        let text = yaml(value).unwrap();
        assert_eq!(text, expected);
        assert_eq!(serde_yaml::from_str::<Value>(&text).unwrap(), *value);
    }

    #[test]
    fn text_that_yaml_1_1_takes_for_something_else_is_quoted() {
        for text in [
            "no",
            "Yes",
            "ON",
            "off",
            "y",
            "N",
            "<<",
            "=",
            "1:30",
            "-1:30:00",
            "1_000",
            "0o17",
            "007",
            "2001-01-01",
            "2001-12-14T21:59:43.10-05:00",
            "2001-12-14 21:59:43",
            "0x1_F",
        ] {
            let text = json!(text);
            let plain = text.as_str().unwrap();
            check(&json!({ "a": [text] }), &format!("a:\n- '{plain}'\n"));
            check(&json!({ plain: { "b": text } }), &format!("'{plain}':\n  b: '{plain}'\n"));
        }
    }

    #[test]
    fn other_scalars_stay_as_they_are() {
        check(
            &json!({ "a": 12, "b": -1.5, "c": true, "d": null, "e": "north", "f": "12", "g": "1.2.3", "h": "7d", "i": "a: no", "j": "5cbdeae1" }),
            "a: 12\nb: -1.5\nc: true\nd: null\ne: north\nf: '12'\ng: 1.2.3\nh: 7d\ni: 'a: no'\nj: 5cbdeae1\n",
        );
    }

    #[test]
    fn block_text_is_left_alone() {
        check(
            &json!({ "a": "x: no\n\n- 1:30\n", "b": ["on\noff\n"], "c": "no" }),
            "a: |\n  x: no\n\n  - 1:30\nb:\n- |\n  on\n  off\nc: 'no'\n",
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        let piece = prop::sample::select(vec![
            "no",
            "1:30",
            "<<",
            "2001-01-01",
            "1_0",
            "007",
            "a: no",
            "- no",
            "? no",
            ": 1:30",
            "|",
            "|-",
            ">",
            "'",
            "\"",
            "#",
            " ",
            "\n",
            "\r\n",
            "\u{2028}",
            "\u{feff}",
            "\t",
            "x",
            "&a",
            "*a",
            "!t",
            "{",
            "[",
            "%",
            "---",
            "ä",
            "\\",
        ]);
        let text = prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat()).boxed();
        let leaf = prop_oneof![
            text.clone().prop_map(Value::String),
            any::<i64>().prop_map(Value::from),
            Just(Value::Null)
        ];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::vec((text.clone(), inner), 0..4)
                    .prop_map(|all| Value::Object(all.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn whatever_the_library_writes_means_the_same_with_quotes(value in value()) {
            let plain = serde_yaml::to_string(&value).unwrap();
            let read = |text: &str| serde_yaml::from_str::<Value>(text).ok();
            prop_assert_eq!(read(&yaml(&value).unwrap()), read(&plain), "{}", plain);
        }
    }
}
