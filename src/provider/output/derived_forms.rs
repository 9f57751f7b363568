//! What a secret looks like where a program wrote it in another form: in base64, alone or after a name, and in an address.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Fewer characters of base64 would blot out ordinary words.
const SHORTEST_ENCODED: usize = 8;

/// The longest secret that is looked for in these forms, in bytes. Longer ones are broken into lines when they are encoded.
const LONGEST: usize = 8 << 10;

/// What of `secret` is the same in every text in which it is encoded.
pub(super) fn derived_forms(secret: &[u8]) -> Vec<Vec<u8>> {
    if secret.is_empty() || secret.len() > LONGEST {
        return Vec::new();
    }
    // Base64 takes three bytes at a time, so what stands before the secret, such as `x-access-token:` in the header that a
    // checkout writes, matters only by its length modulo three.
    let mut forms: Vec<Vec<u8>> = (0..3)
        .flat_map(|before| {
            let engines = [STANDARD_NO_PAD, URL_SAFE_NO_PAD];
            engines.map(|engine| encoded(engine.encode(at(secret, before)), before))
        })
        .flatten()
        .filter(|form| form.len() >= SHORTEST_ENCODED)
        .collect();
    for kept in [&b"-._~"[..], b"-._~!*'()", b"-._*"] {
        for upper in [true, false] {
            forms.push(percent_encoded(secret, kept, upper));
        }
    }
    forms.retain(|form| form != secret);
    forms
}

/// The secret after so many bytes.
fn at(secret: &[u8], before: usize) -> Vec<u8> {
    let mut bytes = vec![0; before];
    bytes.extend_from_slice(secret);
    bytes
}

/// The characters that depend on nothing but the secret, of one that was encoded after `before` bytes: where something follows,
/// and where nothing does.
fn encoded(text: String, before: usize) -> [Vec<u8>; 2] {
    let bytes = text.into_bytes();
    // A last group that is not whole ends in a character whose last bits belong to what follows.
    let end = if bytes.len().is_multiple_of(4) { bytes.len() } else { bytes.len() - 1 };
    let start = (before * 8).div_ceil(6);
    [end, bytes.len()].map(|end| bytes.get(start..end).unwrap_or_default().to_vec())
}

/// As in an address; programs differ in the punctuation that they leave alone, and in the case of the digits.
fn percent_encoded(secret: &[u8], kept: &[u8], upper: bool) -> Vec<u8> {
    let encode = |byte: &u8| match byte {
        byte if byte.is_ascii_alphanumeric() || kept.contains(byte) => vec![*byte],
        byte if upper => format!("%{byte:02X}").into_bytes(),
        byte => format!("%{byte:02x}").into_bytes(),
    };
    secret.iter().flat_map(encode).collect()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn a_secret_is_found_in_base64_whatever_stands_around_it() {
        let secret = "s3cr3t/with+odd?~\u{fc}bytes";
        let forms = derived_forms(secret.as_bytes());
        for before in ["", "a", "ab", "x-access-token:", "user:", "me:"] {
            for after in ["", "\n", "zz", "@host"] {
                let text = STANDARD.encode(format!("{before}{secret}{after}"));
                let found = forms.iter().any(|form| text.contains(std::str::from_utf8(form).unwrap()));
                assert!(found, "{before} {after}: {text}");
            }
        }
        // Of a short one too little is left to be told from a word.
        assert!(derived_forms(b"abcd").is_empty());
    }
}
