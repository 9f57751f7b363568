//! The well-known shapes of tokens: what is one of them is a secret, whoever it was given to.

use std::sync::LazyLock;

use regex::bytes::RegexSet;

/// What tokens of hosts and services look like. Each begins with a mark that its issuer chose so that scanners find it.
const SHAPES: [&str; 9] = [
    r"\bgh[pousr]_[A-Za-z0-9]{36}",
    r"\bgithub_pat_[A-Za-z0-9_]{60}",
    r"\bglpat-[A-Za-z0-9_-]{20}",
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    r"\bxox[abprs]-[A-Za-z0-9-]{20}",
    r"\bsk-ant-[A-Za-z0-9_-]{20}",
    r"\bAIza[0-9A-Za-z_-]{35}",
    r"\bnpm_[A-Za-z0-9]{36}",
    r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----",
];

static SET: LazyLock<Option<RegexSet>> = LazyLock::new(|| RegexSet::new(SHAPES).ok());

/// Whether something in these bytes is shaped like a token.
pub(in crate::provider) fn holds_token(content: &[u8]) -> bool {
    SET.as_ref().is_some_and(|shapes| shapes.is_match(content))
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
        }
        for plain in ["ghp_short", "a password", "AKIA", "-----BEGIN CERTIFICATE-----"] {
            assert!(!holds_token(plain.as_bytes()), "{plain}");
        }
        assert_eq!(SET.as_ref().unwrap().len(), SHAPES.len());
    }
}
