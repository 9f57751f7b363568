//! Durations in the style of Go: `1h30m`, `250ms`, and, beyond Go, days: `7d`.

use std::fmt;
use std::str::FromStr;
use std::time;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A span of time that is not negative, with nanosecond resolution; keeps the text it was written as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duration {
    span: time::Duration,
    text: String,
}

/// Why a string is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a duration; write a number and a unit (ns, us, ms, s, m, h, d), as in `1h30m`")]
pub struct DurationError(pub String);

impl Duration {
    /// The span of time.
    #[must_use]
    pub fn span(&self) -> time::Duration {
        self.span
    }

    /// A duration of whole seconds.
    #[must_use]
    pub fn from_secs(seconds: u64) -> Self {
        Self { span: time::Duration::from_secs(seconds), text: format!("{seconds}s") }
    }
}

/// The time that lies `span` after `at`; the end of time when there is none. Spans come from manifests and from other
/// machines, so an absurd one must neither panic nor wrap around to the past.
#[must_use]
pub(crate) fn after(at: Timestamp, span: time::Duration) -> Timestamp {
    let span = SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX);
    at.saturating_add(span).unwrap_or(Timestamp::MAX)
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        // Cut, because the text comes from a manifest and ends up in a message.
        let error = || DurationError(text.chars().take(40).collect());
        // Go takes a zero without a unit, and only a zero.
        if text == "0" {
            return Ok(Self { span: time::Duration::ZERO, text: text.to_owned() });
        }
        let mut rest = text;
        // In 128 bits, which no single part can overflow; the sum is checked.
        let mut nanos = 0u128;
        if rest.is_empty() {
            return Err(error());
        }
        while !rest.is_empty() {
            let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
            let (number, tail) = rest.split_at_checked(number_len).ok_or_else(error)?;
            let unit_len = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
            let (unit, tail) = tail.split_at_checked(unit_len).ok_or_else(error)?;
            nanos = nanos.checked_add(part(number, unit).ok_or_else(error)?).ok_or_else(error)?;
            rest = tail;
        }
        // The bound is some 584 years, enough for every wait, and what Go's own durations reach is half of it.
        let nanos = u64::try_from(nanos).map_err(|_| error())?;
        Ok(Self { span: time::Duration::from_nanos(nanos), text: text.to_owned() })
    }
}

/// The nanoseconds of one number with its unit.
fn part(number: &str, unit: &str) -> Option<u128> {
    let scale: u128 = match unit {
        "ns" => 1,
        // Both the micro sign and the Greek letter, as in Go: keyboards differ in which one they give.
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        // Of 24 hours, whatever a calendar says: a timeout does not depend on a time zone.
        "d" => 86_400_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    // The lengths keep the products below within 128 bits, whatever the unit.
    if (whole.is_empty() && fraction.is_empty()) || whole.len() > 19 || fraction.len() > 9 {
        return None;
    }
    let parse = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<u128>().ok() };
    let tenths = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    parse(whole)?.checked_mul(scale)?.checked_add(parse(fraction)?.checked_mul(scale)? / tenths)
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text as its author wrote it: `90m` must not come back as `1h30m`, or `edit` would show a change that
        // nobody made.
        f.pad(&self.text)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, millis: u64) {
        let parsed: Duration = text.parse().unwrap();
        assert_eq!(parsed.span(), time::Duration::from_millis(millis), "{text}");
        assert_eq!(parsed.to_string(), text);
    }

    #[test]
    fn go_durations_and_days_are_read() {
        check("1h30m", 5_400_000);
        check("7d", 604_800_000);
        check("250ms", 250);
        check("1.5s", 1_500);
        check(".5s", 500);
        check("0", 0);
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in ["", "5", "s", "1x", "-1s", "1h 30m", "99999999999999999999h", "1..5s", "9999999h"] {
            assert!(bad.parse::<Duration>().is_err(), "{bad}");
        }
    }
}
