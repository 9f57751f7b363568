//! "Did you mean": the nearest of the words that are known.

/// The known word that is nearest to `word`, if one is near enough to be a slip of the keyboard.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // The comparison takes time with the product of the lengths, and the word is anybody's.
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for candidate in known {
        let score = strsim::jaro_winkler(&lower, &candidate.to_lowercase());
        // Two slips turn a short word into another one.
        let near = score > 0.85
            || strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()) <= 2.min(word.len() / 3);
        if near && best.is_none_or(|(other, _)| score > other) {
            best = Some((score, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// A hint that names the nearest known word.
pub(super) fn did_you_mean<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    nearest(word, known).map(|candidate| format!("did you mean `{candidate}`?"))
}

/// The known words as a list for people: `a, b or c`.
pub(super) fn one_of<'k>(known: impl IntoIterator<Item = &'k str>) -> String {
    let words: Vec<&str> = known.into_iter().collect();
    match words.as_slice() {
        [] => String::new(),
        [only] => format!("`{only}`"),
        [most @ .., last] => {
            let most: Vec<String> = most.iter().map(|word| format!("`{word}`")).collect();
            format!("{} or `{last}`", most.join(", "))
        }
    }
}

/// The beginning of a text, fit for one line.
pub(super) fn short(text: &str) -> String {
    let mut short: String = text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if short.len() < text.len() && text.chars().count() > 60 {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let known = ["apiVersion", "description", "graph", "goalRef"];
        for (word, expected) in [
            ("desciption", Some("description")),
            ("apiversion", Some("apiVersion")),
            ("goalref", Some("goalRef")),
            ("zebra", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }
}
