//! How deep a YAML text from anybody is nested, before a parser gets it that takes the square of the depth: 60,000 brackets kept
//! `serde_yaml` busy for 20 seconds.

use saphyr_parser::{Event, Parser};

/// The deepest nesting of a text that is read. What planspec writes stays below: manifests and outputs have limits of their own.
const DEEPEST: usize = 128;

/// Whether a text is nested deeper than anything that planspec writes. What this cannot read counts as too deep only where it
/// has enough brackets to matter; the parser that follows says what else is wrong with it.
#[must_use]
pub(crate) fn is_nested_too_deeply(text: &[u8]) -> bool {
    // Nearly every text has fewer, and then nothing is parsed twice.
    let brackets = text.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
    if brackets <= DEEPEST {
        return false;
    }
    let Ok(text) = std::str::from_utf8(text) else { return true };
    let mut depth = 0_usize;
    for event in Parser::new_from_str(text) {
        match event {
            Ok((Event::SequenceStart(..) | Event::MappingStart(..), _)) => depth += 1,
            Ok((Event::SequenceEnd | Event::MappingEnd, _)) => depth = depth.saturating_sub(1),
            Ok(_) => {}
            // This parser bounds the nesting by itself, and in linear time.
            Err(_) => return true,
        }
        if depth > DEEPEST {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_measured_and_brackets_in_strings_are_none() {
        assert!(is_nested_too_deeply("[".repeat(60_000).as_bytes()));
        assert!(is_nested_too_deeply(format!("a: {}{}", "{b: ".repeat(200), "}".repeat(200)).as_bytes()));
        assert!(!is_nested_too_deeply(format!("a: '{}'", "[".repeat(60_000)).as_bytes()));
        assert!(!is_nested_too_deeply(format!("a: |\n  {}\n", "{[".repeat(9_000)).as_bytes()));
        assert!(!is_nested_too_deeply("- [1, 2]\n".repeat(5_000).as_bytes()));
    }
}
