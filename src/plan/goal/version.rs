//! The order of versions within a series: numbers count as numbers, a pre-release comes before its release.

use std::cmp::Ordering;

/// Compares two versions: `2` < `10`, `1.9` < `1.10`, `2.0-rc1` < `2.0` < `2.0.1`. A leading `v` and a build part
/// (`+…`) do not count, unless nothing else differs: different texts are never equal.
#[must_use]
pub(crate) fn compare_versions(a: &str, b: &str) -> Ordering {
    let (core_a, pre_a) = split(a);
    let (core_b, pre_b) = split(b);
    natural(core_a, core_b)
        // As in semantic versions: `2.0-rc1` is on the way to `2.0` and must not be selected over it.
        .then_with(|| match (pre_a, pre_b) {
            (Some(a), Some(b)) => natural(a, b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        })
        // The texts differ, such as `1.0` and `v1.0`: an order in which they are equal would leave the choice to the
        // order of reading.
        .then_with(|| a.cmp(b))
}

/// The version proper and its pre-release part.
fn split(text: &str) -> (&str, Option<&str>) {
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    // Before the `-` is searched for: a build part may hold a dash, which starts no pre-release.
    let text = text.split_once('+').map_or(text, |(version, _)| version);
    text.split_once('-').map_or((text, None), |(core, pre)| (core, Some(pre)))
}

/// Compares runs of digits as numbers and everything else as text.
fn natural(mut a: &str, mut b: &str) -> Ordering {
    loop {
        let ((run_a, rest_a), (run_b, rest_b)) = (run(a), run(b));
        let digits = |run: &str| run.starts_with(|c: char| c.is_ascii_digit());
        let ordering = match (run_a.is_empty(), run_b.is_empty()) {
            (true, true) => return Ordering::Equal,
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) if digits(run_a) && digits(run_b) => {
                // As text, by length first: a version is a free text, and a date with many digits after it would not
                // fit a number type.
                let x = run_a.trim_start_matches('0');
                let y = run_b.trim_start_matches('0');
                x.len().cmp(&y.len()).then_with(|| x.cmp(y))
            }
            // A number comes before a word, as in semantic versions.
            (false, false) => digits(run_b).cmp(&digits(run_a)).then_with(|| run_a.cmp(run_b)),
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
        (a, b) = (rest_a, rest_b);
    }
}

/// The first run of digits or of anything else, and what follows it.
fn run(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_count_as_numbers() {
        let ordered = [
            "",
            "0.9",
            "1",
            "1.0-alpha",
            "1.0-alpha.2",
            "1.0-alpha.10",
            "1.0-rc1",
            "1.0",
            "1.0.1",
            "v1.9",
            "1.10",
            "2",
            "2.0",
            "2a",
            "9",
            "10",
            "2024.01.31",
            "123456789012345678901234567890",
            "beta",
        ];
        for pair in ordered.windows(2) {
            assert_eq!(compare_versions(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_order_is_total(a in "[v0-2a.+-]{0,6}", b in "[v0-2a.+-]{0,6}", c in "[v0-2a.+-]{0,6}") {
            prop_assert_eq!(compare_versions(&a, &b), compare_versions(&b, &a).reverse());
            prop_assert_eq!(compare_versions(&a, &b) == Ordering::Equal, a == b);
            if compare_versions(&a, &b).is_le() && compare_versions(&b, &c).is_le() {
                prop_assert!(compare_versions(&a, &c).is_le());
            }
        }

        #[test]
        fn no_text_makes_it_panic(a in any::<String>(), b in any::<String>()) {
            prop_assert_eq!(compare_versions(&a, &b) == Ordering::Equal, a == b);
        }
    }
}
