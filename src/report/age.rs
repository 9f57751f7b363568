//! Spans of time for people: `45s`, `3m12s`, `5h04m`, `12d`.

use jiff::Timestamp;

/// The time from `start` to `end`, in at most two units; `0s` when `end` is not after `start`.
#[must_use]
pub(crate) fn between(start: Timestamp, end: Timestamp) -> String {
    // Two runners may have recorded the two, and their clocks differ.
    let seconds = end.as_second().saturating_sub(start.as_second()).max(0).unsigned_abs();
    seconds_text(seconds)
}

/// A number of seconds, in at most two units.
#[must_use]
pub(crate) fn seconds_text(seconds: u64) -> String {
    let minutes = seconds / 60;
    let hours = seconds / 3600;
    let days = seconds / 86_400;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        86_400..864_000 => format!("{days}d{:02}h", hours % 24),
        // From ten days on, hours are of no use to anybody.
        _ => format!("{days}d"),
    }
}

/// The time of day in UTC, as in `12:03:41`.
#[must_use]
pub(crate) fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}

/// Date and time in UTC, as in `2026-03-04 12:03:41Z`.
#[must_use]
pub(crate) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_at_most_two_units() {
        let cases = [
            (0, "0s"),
            (59, "59s"),
            (192, "3m12s"),
            (18_240, "5h04m"),
            (90_000, "1d01h"),
            (8_640_000, "100d"),
        ];
        for (seconds, text) in cases {
            assert_eq!(seconds_text(seconds), text);
        }
    }

    #[test]
    fn a_clock_that_runs_backwards_gives_no_negative_age() {
        let start = Timestamp::from_second(10).unwrap();
        let end = Timestamp::from_second(5).unwrap();
        assert_eq!(between(start, end), "0s");
    }

    #[test]
    fn times_are_in_utc() {
        let at: Timestamp = "2026-03-04T12:03:41Z".parse().unwrap();
        assert_eq!(clock(at), "12:03:41");
        assert_eq!(moment(at), "2026-03-04 12:03:41Z");
    }
}
