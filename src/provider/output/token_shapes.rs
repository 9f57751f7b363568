//! The well-known shapes of tokens: what is one of them is a secret, whoever it was given to.

use std::sync::LazyLock;

use regex::bytes::{Regex, RegexSet};

/// What tokens of hosts and services look like, and what may follow: the rest of a token that is longer than its shortest form,
/// or the lines of a key, also in the form that they have inside a JSON string. Each begins with a mark that its issuer chose so
/// that scanners find it.
const SHAPES: [(&str, &str); 9] = [
    (r"\bgh[pousr]_[A-Za-z0-9]{36}", "[A-Za-z0-9]{0,219}"),
    (r"\bgithub_pat_[A-Za-z0-9_]{60}", "[A-Za-z0-9_]{0,195}"),
    (r"\bglpat-[A-Za-z0-9_-]{20}", "[A-Za-z0-9_-]{0,235}"),
    (r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b", ""),
    (r"\bxox[abprs]-[A-Za-z0-9-]{20}", "[A-Za-z0-9-]{0,235}"),
    (r"\bsk-ant-[A-Za-z0-9_-]{20}", "[A-Za-z0-9_-]{0,235}"),
    (r"\bAIza[0-9A-Za-z_-]{35}", ""),
    (r"\bnpm_[A-Za-z0-9]{36}", ""),
    (
        r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----",
        r"[A-Za-z0-9+/=\s\\]*(?:-----END (?:[A-Z]+ )?PRIVATE KEY-----)?",
    ),
];

/// How much of the end of a stream is held back because a token may begin in it: a little more than the longest has.
const LONGEST_TOKEN: usize = 300;

/// The same for the lines of a private key.
const LONGEST_KEY: usize = 16 << 10;

/// What a private key begins with.
const KEY: &[u8] = b"-----BEGIN ";

/// More than the first or last line of a private key has.
const LONGEST_LINE: usize = 64;

/// What the tokens of [`SHAPES`] begin with.
const MARKS: [&[u8]; 17] = [
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
];

static SET: LazyLock<Option<RegexSet>> = LazyLock::new(|| RegexSet::new(SHAPES.map(|(shape, _)| shape)).ok());

static WHOLE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let each = SHAPES.map(|(shape, rest)| format!("(?:{shape}{rest})"));
    Regex::new(&format!("(?-u){}", each.join("|"))).ok()
});

/// Whether something in these bytes is shaped like a token.
pub(crate) fn holds_token(content: &[u8]) -> bool {
    SET.as_ref().is_some_and(|shapes| shapes.is_match(content))
}

/// Where tokens stand in these bytes.
pub(super) fn find_tokens(bytes: &[u8]) -> Vec<(usize, usize)> {
    let found = WHOLE.as_ref().into_iter().flat_map(|whole| whole.find_iter(bytes));
    found.map(|found| (found.start(), found.end())).collect()
}

/// The length of the end of `bytes` that may turn out to be part of a token.
pub(super) fn undecided(bytes: &[u8]) -> usize {
    open_word(bytes).max(open_key(bytes))
}

/// The end that holds a mark which the rest of a token may follow, or the beginning of one. Not every word: a progress bar of
/// letters without an end would be kept from its reader.
fn open_word(bytes: &[u8]) -> usize {
    let in_token = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
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
    let after = find_tokens(rest).first().map_or(rest, |(_, end)| rest.get(*end..).unwrap_or_default());
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
