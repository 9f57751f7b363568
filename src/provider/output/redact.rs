//! Removes the values of secrets from whatever is kept or shown, also from a stream that comes in pieces.

use std::borrow::Cow;

use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value;

use super::derived_forms::derived_forms;
use super::token_shapes::{self, find_tokens};
use crate::model::JsonMap;

/// What replaces a secret.
const STARS: &[u8] = b"***";

/// The shortest value that is redacted; shorter ones would blot out ordinary text.
const SHORTEST: usize = 4;

/// How much memory the search for one value may take, in bytes.
const SEARCH_LIMIT: usize = 8 << 20;

/// The longest value that is searched for together with the others, in bytes.
const LONGEST_TOGETHER: usize = 2 << 10;

/// The values that must not be seen.
#[derive(Debug, Default)]
pub(in crate::provider) struct Redactor {
    /// All of them, the longest first.
    values: Vec<Vec<u8>>,
    /// The bytes that one of them begins with: most ends of a text are told by their first byte to begin none.
    starts: FirstBytes,
    /// One search for many: the forms of a secret are a dozen, and each search reads the whole text.
    together: Option<Regex>,
    /// Those that are searched for alone.
    alone: Vec<SecretPattern>,
}

#[derive(Debug)]
struct SecretPattern {
    value: Vec<u8>,
    /// A quick way to find it; only a value of absurd size has none.
    search: Option<Regex>,
}

impl Redactor {
    /// Redacts these values: each as it is, without surrounding white space, line by line, and in the forms
    /// that it has inside a JSON string, in base64 and in an address.
    pub(in crate::provider) fn new<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut values: Vec<Vec<u8>> = Vec::new();
        for secret in secrets {
            values.push(secret.to_vec());
            values.push(secret.trim_ascii().to_vec());
            // A key in PEM form is printed line by line, with prefixes of loggers in between.
            values.extend(secret.split(|byte| *byte == b'\n').map(|line| line.trim_ascii().to_vec()));
            let json = Value::String(String::from_utf8_lossy(secret).into_owned()).to_string();
            values.push(json.trim_matches('"').as_bytes().to_vec());
            if secret.trim_ascii().len() >= SHORTEST {
                values.extend(derived_forms(secret));
                values.extend(derived_forms(secret.trim_ascii()));
            }
        }
        values.retain(|value| value.len() >= SHORTEST);
        // The longest first: of several that begin at one place, the search takes the first of the list.
        values.sort_unstable_by(|one, other| (other.len(), other).cmp(&(one.len(), one)));
        values.dedup();
        let (short, long): (Vec<_>, Vec<_>) =
            values.iter().cloned().partition(|value| value.len() <= LONGEST_TOGETHER);
        let together = search_for(&short);
        let alone = if together.is_some() { long } else { values.clone() };
        let starts = FirstBytes::of(&values);
        Self { values, starts, together, alone: alone.into_iter().map(SecretPattern::new).collect() }
    }

    /// A text without secrets.
    pub(in crate::provider) fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.bytes(text.as_bytes())).into_owned()
    }

    /// Bytes without secrets.
    pub(in crate::provider) fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.find(bytes, 0).is_empty() {
            return Cow::Borrowed(bytes);
        }
        let mut clean = Vec::with_capacity(bytes.len());
        Stream::default().push(self, bytes, true, &mut clean);
        Cow::Owned(clean)
    }

    /// A map without secrets, in keys and values of every depth.
    pub(in crate::provider) fn map(&self, map: JsonMap) -> JsonMap {
        map.into_iter().map(|(key, value)| (self.text(&key), self.value(value))).collect()
    }

    fn value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.value(item)).collect()),
            Value::Object(map) => Value::Object(self.map(map)),
            // A number may be a secret as well as a string.
            Value::Number(number) => {
                let text = number.to_string();
                let clean = self.text(&text);
                if clean == text { Value::Number(number) } else { Value::String(clean) }
            }
            Value::Null | Value::Bool(_) => value,
        }
    }

    /// Whether a secret is in these bytes.
    pub(in crate::provider) fn finds_any(&self, bytes: &[u8]) -> bool {
        self.together.as_ref().is_some_and(|search| search.is_match(bytes))
            || self.alone.iter().any(|pattern| pattern.find(bytes, 0).is_some())
    }

    /// Where secrets appear in `bytes`, overlapping ones put together, in order.
    fn find(&self, bytes: &[u8], covered: usize) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        if covered > 0 {
            found.push((0, covered));
        }
        let mut from = 0;
        while let Some(hit) = self.together.as_ref().and_then(|search| search.find_at(bytes, from)) {
            found.push((hit.start(), hit.end()));
            // Occurrences may overlap, also those of the same value.
            from = hit.start() + 1;
        }
        for pattern in &self.alone {
            let mut from = 0;
            while let Some(start) = pattern.find(bytes, from) {
                found.push((start, start + pattern.value.len()));
                from = start + 1;
            }
        }
        // Also what nobody declared: a task that came by a token must not spread it, and hosts refuse a push that holds one.
        found.extend(find_tokens(bytes));
        found.sort_unstable();
        let mut merged: Vec<(usize, usize)> = Vec::with_capacity(found.len());
        for (start, end) in found {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        merged
    }

    /// The length of the longest end of `bytes` that may turn out to begin a secret.
    fn undecided(&self, bytes: &[u8]) -> usize {
        let longest = self.values.first().map_or(0, |value| value.len() - 1);
        let from = bytes.len().saturating_sub(longest);
        let begins = |at: &usize| {
            let end = bytes.get(*at..).unwrap_or_default();
            self.starts.has(end)
                && self.values.iter().any(|value| value.len() > end.len() && value.starts_with(end))
        };
        let begun = (from..bytes.len()).find(begins).map_or(0, |at| bytes.len() - at);
        begun.max(token_shapes::undecided(bytes))
    }
}

/// One search for all of these values, the first of the list before the others; `None` for none, or for too many.
fn search_for(values: &[Vec<u8>]) -> Option<Regex> {
    use std::fmt::Write as _;
    // Bytes and not characters: neither a secret nor what is printed needs to be valid UTF-8.
    let mut pattern = String::from("(?-u)");
    for (index, value) in values.iter().enumerate() {
        pattern.push_str(if index == 0 { "" } else { "|" });
        for byte in value {
            // Writing to a string cannot fail.
            let _ = write!(pattern, "\\x{byte:02x}");
        }
    }
    let search = RegexBuilder::new(&pattern).size_limit(SEARCH_LIMIT).build().ok();
    search.filter(|_| !values.is_empty())
}

/// Which bytes some values begin with.
#[derive(Debug, Default)]
struct FirstBytes([u64; 4]);

impl FirstBytes {
    fn of(values: &[Vec<u8>]) -> Self {
        let mut this = Self::default();
        for byte in values.iter().filter_map(|value| value.first()) {
            if let Some(word) = this.0.get_mut(usize::from(byte >> 6)) {
                *word |= 1 << (byte & 63);
            }
        }
        this
    }

    /// Whether a text begins as one of the values does.
    fn has(&self, text: &[u8]) -> bool {
        let word =
            |byte: &u8| self.0.get(usize::from(byte >> 6)).is_some_and(|word| word >> (byte & 63) & 1 == 1);
        text.first().is_some_and(word)
    }
}

impl SecretPattern {
    fn new(value: Vec<u8>) -> Self {
        let search = search_for(std::slice::from_ref(&value));
        Self { value, search }
    }

    fn find(&self, bytes: &[u8], from: usize) -> Option<usize> {
        match &self.search {
            Some(search) => search.find_at(bytes, from).map(|hit| hit.start()),
            None => {
                let rest = bytes.get(from..)?;
                rest.windows(self.value.len()).position(|window| window == self.value).map(|at| from + at)
            }
        }
    }
}

/// What is carried over from one piece of a stream to the next.
#[derive(Debug, Default)]
pub(in crate::provider) struct Stream {
    /// Bytes that may begin a secret; fewer than the longest secret has.
    carry: Vec<u8>,
    /// How many of them are part of a secret whose stars are out already.
    covered: usize,
}

impl Stream {
    /// Takes a piece and appends to `out` what can be decided; `last` says that no more will come.
    pub(in crate::provider) fn push(
        &mut self,
        redactor: &Redactor,
        piece: &[u8],
        last: bool,
        out: &mut Vec<u8>,
    ) {
        let mut bytes = std::mem::take(&mut self.carry);
        bytes.extend_from_slice(piece);
        // What may be the beginning of a secret is held back until it is known what follows.
        let decided = if last { bytes.len() } else { bytes.len() - redactor.undecided(&bytes) };
        let mut at = 0;
        let mut covered = 0;
        for (start, end) in redactor.find(&bytes, self.covered) {
            if start >= decided {
                break;
            }
            out.extend_from_slice(bytes.get(at..start).unwrap_or_default());
            if !(start == 0 && self.covered > 0) {
                out.extend_from_slice(STARS);
            }
            at = end.min(decided);
            covered = end.saturating_sub(decided);
        }
        // What is still carried may be covered from before, when nothing of it could be decided.
        self.covered = if decided == 0 { self.covered } else { covered };
        out.extend_from_slice(bytes.get(at..decided).unwrap_or_default());
        bytes.drain(..decided);
        self.carry = bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn redactor(secrets: &[&str]) -> Redactor {
        Redactor::new(secrets.iter().map(|secret| secret.as_bytes()))
    }

    /// Every way to cut the text into three pieces gives the same result.
    fn check(secrets: &[&str], text: &str, expected: &str) {
        let redactor = redactor(secrets);
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let mut stream = Stream::default();
                let mut out = Vec::new();
                stream.push(&redactor, &text.as_bytes()[..first], false, &mut out);
                stream.push(&redactor, &text.as_bytes()[first..second], false, &mut out);
                stream.push(&redactor, &text.as_bytes()[second..], true, &mut out);
                assert_eq!(String::from_utf8_lossy(&out), expected, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn what_is_shaped_like_a_token_is_a_secret_that_nobody_declared() {
        let token = format!("ghp_{}", "a1".repeat(18));
        check(&[], &format!("x {token}, y"), "x ***, y");
        check(&["hunter22"], &format!("{token} hunter22 ghp_short"), "*** *** ghp_short");
        let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIB+/=\nAAAA\n-----END RSA PRIVATE KEY-----";
        check(&[], &format!("a\n{key}\nb"), "a\n***\nb");
        let outputs = json!({ "key": key, "list": [token] });
        let clean = redactor(&[]).map(outputs.as_object().unwrap().clone());
        assert_eq!(Value::Object(clean), json!({ "key": "***", "list": ["***"] }));
    }

    #[test]
    fn a_secret_is_found_however_the_stream_is_cut() {
        check(&["hunter22"], "password hunter22!", "password ***!");
        check(&["hunter22"], "hunter2 hunter22hunter2", "hunter2 ***hunter2");
        check(&["abcd", "abcdefgh"], "abcdefgh abcdefg abc", "*** ***efg abc");
    }

    #[test]
    fn overlapping_secrets_leave_nothing_behind() {
        check(&["xxab", "abcd"], "-xxabcd-", "-***-");
        check(&["aaaa"], "baaaaaaab", "b***b");
        check(&["abab"], "abababa", "***a");
    }

    #[test]
    fn lines_and_json_forms_of_a_secret_are_secrets() {
        check(&["line one\nline two\n"], "x line two y", "x *** y");
        check(&["qu\"ote"], r#"{"a":"qu\"ote"}"#, r#"{"a":"***"}"#);
    }

    #[test]
    fn forms_that_programs_give_a_secret_are_secrets() {
        // As a checkout writes it; what belongs to the name alone is left.
        let header =
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, "me:hunter22hunter23");
        check(&["hunter22hunter23"], &format!("<{header}>"), "<bWU6***==>");
        check(&["pass word/22"], "https://me:pass%20word%2F22@host", "https://me:***@host");
        check(&["pass word/22"], "https://me:pass%20word%2f22@host", "https://me:***@host");
        let token = format!("ghs_{}", "a1".repeat(18));
        let encoded = base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            format!("x-access-token:{token}"),
        );
        check(&[], &format!("AUTHORIZATION: basic {encoded}\n"), "***\n");
        check(&[], &format!("extraheader={encoded}."), "extraheader=***.");
        check(
            &[],
            "AUTHORIZATION: basic bWU6aHVudGVyMjI=\nAuthorization: Basic is",
            "***\nAuthorization: Basic is",
        );
    }

    #[test]
    fn short_values_and_ordinary_text_are_left_alone() {
        check(&["abc", ""], "abc", "abc");
        check(&["hunter22"], "nothing here", "nothing here");
    }

    #[test]
    fn a_secret_of_any_size_is_found() {
        for size in [5_000, 130_000] {
            let mut state = 1u32;
            let letters = std::iter::repeat_with(|| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                char::from(b'a' + (state >> 24) as u8 % 26)
            });
            let secret: String = letters.take(size).collect();
            let clean = redactor(&[&secret]).text(&format!("<{secret}>"));
            assert!(clean == "<***>", "{size}");
        }
    }

    #[test]
    fn what_is_carried_stays_small() {
        let redactor = redactor(&["aaaa"]);
        let mut stream = Stream::default();
        let mut out = Vec::new();
        for _ in 0..1_000 {
            stream.push(&redactor, &[b'a'; 1_000], false, &mut out);
            assert!(stream.carry.len() < 4);
        }
        stream.push(&redactor, b"", true, &mut out);
        assert_eq!(out, b"***");
    }

    #[test]
    fn outputs_are_cleaned_at_every_depth() {
        let map = json!({"a": ["hunter22", {"hunter22": 12345678}], "b": true});
        let clean = redactor(&["hunter22", "12345678"]).map(map.as_object().unwrap().clone());
        assert_eq!(Value::Object(clean), json!({"a": ["***", {"***": "***"}], "b": true}));
    }
}
