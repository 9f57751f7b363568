//! A cheap look at the bytes of a YAML text: whether it could be one that must not reach the fast reader unchecked.
//! May suspect the innocent, who only take longer; never misses the guilty.

/// How many brackets, or indicators at the start of one line, are no cause for suspicion: so deep, the time that the
/// fast reader takes does not matter yet.
const HARMLESS: usize = 1_000;

/// Whether the text may hold an alias: a `*` where a value can start, and an anchor likewise.
pub(super) fn may_hold_aliases(text: &str) -> bool {
    text.contains('&') && text.contains('*') && starts_value(text, b'&') && starts_value(text, b'*')
}

fn starts_value(text: &str, sign: u8) -> bool {
    let bytes = text.as_bytes();
    let mut previous = b'\n';
    let mut pairs = bytes.iter().zip(bytes.iter().skip(1).chain(std::iter::once(&b' ')));
    pairs.any(|(&byte, &next)| {
        // Beyond ASCII there are line ends that only one of the parsers knows.
        let start = byte == sign
            && (matches!(previous, b' ' | b'\t' | b'\n' | b'\r' | b'[' | b',' | b'{' | b':')
                || previous >= 0x80)
            && !next.is_ascii_whitespace();
        previous = byte;
        start
    })
}

/// Whether the text may be nested deeply. Brackets are counted without looking at what closes them, because a closing
/// one may stand in a comment; `- - - …` and `? ? ? …` nest without brackets.
pub(super) fn may_be_deep(text: &str) -> bool {
    let brackets = text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
    let line_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    brackets > HARMLESS
        || (text.len() > HARMLESS && text.as_bytes().split(line_end).any(starts_with_many_indicators))
}

fn starts_with_many_indicators(line: &[u8]) -> bool {
    let start = line.iter().take_while(|byte| matches!(byte, b'-' | b'?' | b':' | b' ' | b'\t'));
    line.len() > HARMLESS && start.filter(|byte| matches!(byte, b'-' | b'?' | b':')).count() > HARMLESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_suspected_and_prose_is_not() {
        for (text, expected) in [
            ("a: &x 1\nb: *x", true),
            ("[&x 1,*x]", true),
            ("a: &x 1\nb: {\"k\":*x}", true),
            ("a: *emphasis* and R&D", false),
            ("glob: \"*.rs\" & more", false),
            ("nothing", false),
        ] {
            assert_eq!(may_hold_aliases(text), expected, "{text}");
        }
    }

    #[test]
    fn depth_is_suspected_in_brackets_and_in_lines() {
        for (text, expected) in [
            ("[".repeat(2_000), true),
            ("[ # ]\n".repeat(2_000), true),
            ("- ".repeat(2_000), true),
            ("- ? ".repeat(1_000), true),
            ("- a\n".repeat(2_000), false),
            ("    a: [b, c]\n".repeat(200), false),
            (" ".repeat(5_000), false),
        ] {
            assert_eq!(may_be_deep(&text), expected, "{:.20}", text);
        }
    }
}
