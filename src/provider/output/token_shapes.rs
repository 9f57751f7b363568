//! The well-known shapes of tokens: what is one of them is a secret, whoever it was given to.

use std::sync::LazyLock;

use regex::bytes::{Regex, RegexSet};

/// What tokens of hosts and services look like, and what may follow: the rest of a token that is longer than its shortest form,
/// or the lines of a key, also in the form that they have inside a JSON string. Each begins with a mark that its issuer chose so
/// that scanners find it.
const SHAPES: [(&str, &str); 10] = [
    (r"\bgh[pousr]_[A-Za-z0-9]{36}", "[A-Za-z0-9]{0,219}"),
    (r"\bgithub_pat_[A-Za-z0-9_]{60}", "[A-Za-z0-9_]{0,195}"),
    (r"\bglpat-[A-Za-z0-9_-]{20}", "[A-Za-z0-9_-]{0,235}"),
    (r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b", ""),
    (r"\bxox[abprs]-[A-Za-z0-9-]{20}", "[A-Za-z0-9-]{0,235}"),
    (r"\bsk-ant-[A-Za-z0-9_-]{20}", "[A-Za-z0-9_-]{0,235}"),
    (r"\bAIza[0-9A-Za-z_-]{35}", ""),
    (r"\bnpm_[A-Za-z0-9]{36}", ""),
    // `x-access-token:` and more in base64, as a checkout writes it into `.git/config`.
    (r"eC1hY2Nlc3MtdG9rZW46[A-Za-z0-9+/_-]{20}", "[A-Za-z0-9+/_-]{0,400}={0,2}"),
    (
        r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----",
        r"[A-Za-z0-9+/=\s\\]*(?:-----END (?:[A-Z]+ )?PRIVATE KEY-----)?",
    ),
];

/// The header that sends a name and a password. Its words stand in documents and tests, too, so that it is redacted wherever it is
/// printed, and is no reason to refuse a file.
// By its second word: one text to search for is found several times faster than the many ways to write the first.
const HEADER: &str = "[Bb]asic [A-Za-z0-9+/]{8,400}={0,2}";

/// How the header begins, in any case; a blank may follow.
const HEADER_NAME: &[u8] = b"authorization:";

/// How much of the end of a stream is held back because a token may begin in it: a little more than the longest has.
const LONGEST_TOKEN: usize = 450;

/// The same for the lines of a private key.
const LONGEST_KEY: usize = 16 << 10;

/// What a private key begins with.
const KEY: &[u8] = b"-----BEGIN ";

/// More than the first or last line of a private key has.
const LONGEST_LINE: usize = 64;

/// What the tokens of [`SHAPES`] begin with.
const MARKS: [&[u8]; 18] = [
    b"ghp_",
    b"gho_",
    b"ghu_",
    b"ghs_",
    b"ghr_",
    b"github_pat_",
    b"glpat-",
    b"AKIA",
    b"ASIA",
    b"xoxa-",
    b"xoxb-",
    b"xoxp-",
    b"xoxr-",
    b"xoxs-",
    b"sk-ant-",
    b"AIza",
    b"npm_",
    b"eC1hY2Nlc3MtdG9rZW46",
];

static SET: LazyLock<Option<RegexSet>> = LazyLock::new(|| RegexSet::new(SHAPES.map(|(shape, _)| shape)).ok());

static WHOLE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let each = SHAPES.map(|(shape, rest)| format!("(?:{shape}{rest})"));
    Regex::new(&format!("(?-u){}", each.join("|"))).ok()
});

static HEADERS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(&format!("(?-u){HEADER}")).ok());

/// Whether something in these bytes is shaped like a token.
pub(crate) fn holds_token(content: &[u8]) -> bool {
    SET.as_ref().is_some_and(|shapes| shapes.is_match(content))
}

/// Where tokens stand in these bytes.
pub(super) fn find_tokens(bytes: &[u8]) -> Vec<(usize, usize)> {
    find_shapes(bytes).chain(find_headers(bytes)).collect()
}

fn find_shapes(bytes: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let found = WHOLE.as_ref().into_iter().flat_map(|whole| whole.find_iter(bytes));
    found.map(|found| (found.start(), found.end()))
}

/// Where headers stand in these bytes that send a name and a password.
fn find_headers(bytes: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let found = HEADERS.as_ref().into_iter().flat_map(|header| header.find_iter(bytes));
    found.filter_map(|found| {
        let before = bytes.get(..found.start()).unwrap_or_default();
        let before = before.strip_suffix(b" ").unwrap_or(before);
        let name = before.len().checked_sub(HEADER_NAME.len())?;
        before.get(name..)?.eq_ignore_ascii_case(HEADER_NAME).then_some((name, found.end()))
    })
}

/// The length of the end of `bytes` that may turn out to be part of a token.
pub(super) fn undecided(bytes: &[u8]) -> usize {
    open_word(bytes).max(open_key(bytes)).max(open_header(bytes))
}

/// The end that holds a header whose line goes on.
fn open_header(bytes: &[u8]) -> usize {
    let tail = bytes.get(bytes.len().saturating_sub(LONGEST_TOKEN)..).unwrap_or_default();
    let line = tail.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let begun = line.windows(HEADER_NAME.len()).rposition(|window| window.eq_ignore_ascii_case(HEADER_NAME));
    let cut = (1..HEADER_NAME.len().min(line.len() + 1)).rev().find(|length| {
        let end = line.get(line.len() - length..);
        let start = HEADER_NAME.get(..*length);
        end.zip(start).is_some_and(|(end, start)| end.eq_ignore_ascii_case(start))
    });
    begun.map_or(0, |at| line.len() - at).max(cut.unwrap_or(0))
}

/// The end that holds a mark which the rest of a token may follow, or the beginning of one. Not every word: a progress bar of
/// letters without an end would be kept from its reader.
fn open_word(bytes: &[u8]) -> usize {
    let in_token =
        |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'+' | b'/' | b'=');
    let length = bytes.iter().rev().take(LONGEST_TOKEN).take_while(in_token).count();
    let word = bytes.get(bytes.len() - length..).unwrap_or_default();
    let begun = MARKS.iter().filter_map(|mark| word.windows(mark.len()).position(|window| window == *mark));
    let begun = begun.min().map_or(0, |at| word.len() - at);
    let cut = |mark: &[u8]| {
        let longest = mark.len().min(bytes.len());
        (1..=longest).rev().find(|&length| mark.get(..length).is_some_and(|start| bytes.ends_with(start)))
    };
    let cut = MARKS.iter().copied().chain([KEY]).filter_map(cut).max();
    begun.max(cut.unwrap_or(0))
}

/// The end that holds a private key which is not complete. It goes over many lines, so that its beginning may be far away.
fn open_key(bytes: &[u8]) -> usize {
    let tail = bytes.get(bytes.len().saturating_sub(LONGEST_KEY)..).unwrap_or_default();
    let Some(begin) = tail.windows(KEY.len()).rposition(|window| window == KEY) else { return 0 };
    let rest = tail.get(begin..).unwrap_or_default();
    // Its head is not complete, or its lines reach to the end, or its last line is cut: that has no other bytes than these.
    let after = find_shapes(rest).next().map_or(rest, |(_, end)| rest.get(end..).unwrap_or_default());
    let may_go_on = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b' ');
    match after.len() < LONGEST_LINE && after.iter().all(may_go_on) {
        true => rest.len(),
        false => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_known_by_their_shape() {
        let made_up = [
            format!("ghp_{}", "a1".repeat(18)),
            format!("glpat-{}", "x".repeat(20)),
            format!("AKIA{}", "A".repeat(16)),
            "-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(),
        ];
        for token in made_up {
            assert!(holds_token(format!("key = {token}\n").as_bytes()), "{token}");
            assert_eq!(find_tokens(format!("={token};").as_bytes()), [(1, token.len() + 1)], "{token}");
        }
        for plain in ["ghp_short", "a password", "AKIA", "-----BEGIN CERTIFICATE-----"] {
            assert!(!holds_token(plain.as_bytes()), "{plain}");
            assert!(find_tokens(plain.as_bytes()).is_empty(), "{plain}");
        }
        assert_eq!(SET.as_ref().unwrap().len(), SHAPES.len());
        assert!(WHOLE.is_some());
    }
}
