//! The times of a cron expression in a time zone. The expression is read by `cronexpr`; what happens when clocks are changed
//! is decided here.

use std::ops::Range;

use cronexpr::{Crontab, FallbackTimezoneOption, MakeTimestamp, ParseOptions, parse_crontab_with};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};

/// The fields, in their order, as a message names them.
const FIELDS: [&str; 5] = ["minute", "hour", "day of month", "month", "day of week"];

/// Longer than any change of a clock: the largest one left out a whole day, when Samoa crossed the date line.
const LARGEST_SHIFT: SignedDuration = SignedDuration::from_hours(25);

/// How far back the last of many times is searched, a step at a time: a minute's interval is found in the first, a leap day in
/// the last. So an outage of a year costs a few steps instead of half a million times.
const SEARCHED: [SignedDuration; 4] = [
    SignedDuration::from_hours(2),
    SignedDuration::from_hours(2 * 24),
    SignedDuration::from_hours(63 * 24),
    SignedDuration::from_hours(366 * 24),
];

/// Why there are no times.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CronError {
    /// The expression cannot be read.
    #[error("{why}")]
    Expression {
        /// What is wrong with it.
        why: String,
        /// The bytes of the field that is wrong; none where all of them are, together.
        field: Option<Range<usize>>,
    },
    /// There is no such time zone.
    #[error("there is no time zone `{0}`")]
    Zone(String),
}

impl CronError {
    fn whole(why: String) -> Self {
        Self::Expression { why, field: None }
    }
}

/// The times of a cron expression in a time zone.
#[derive(Debug, Clone)]
pub(crate) struct CronTimes {
    /// Read in UTC, where no time is left out and none comes twice.
    wall: Crontab,
    zone: TimeZone,
    /// Whether hour and minute are given: then a time comes once a day, also on the day of a change.
    fixed: bool,
}

impl CronTimes {
    /// Reads an expression.
    ///
    /// # Errors
    /// Which field is wrong and why; or that the zone is unknown.
    pub(crate) fn new(cron: &str, zone: Option<&str>) -> Result<Self, CronError> {
        let fields: Vec<&str> = cron.split_whitespace().collect();
        // Counted here: `cronexpr` takes a sixth one for a time zone, which has a field of its own.
        if fields.len() != FIELDS.len() {
            let found = match fields.as_slice() {
                [one] if one.starts_with('@') => format!("`{one}` is not understood"),
                fields => format!("found {}", fields.len()),
            };
            return Err(CronError::whole(format!("must have five fields ({}), {found}", FIELDS.join(", "))));
        }
        let mut options = ParseOptions::default();
        options.fallback_timezone_option = FallbackTimezoneOption::UTC;
        let wall = parse_crontab_with(&fields.join(" "), options)
            .map_err(|error| in_words(cron, &fields, &error.to_string()))?;
        let fixed = !fields.iter().take(2).any(|field| field.contains('*'));
        let times = Self { wall, zone: find_zone(zone)?, fixed };
        // A day that does not exist would be searched for again at every pass.
        if times.after(Timestamp::UNIX_EPOCH).is_none() {
            return Err(CronError::whole("never comes: no month has such a day".to_owned()));
        }
        Ok(times)
    }

    /// The first time after `at`.
    #[must_use]
    pub(crate) fn after(&self, at: Timestamp) -> Option<Timestamp> {
        // Near a change, clock times before that of `at` may be still to come: those of a repeated hour, and those that a
        // change left out and that are made up for.
        let before = at.checked_sub(LARGEST_SHIFT).ok()?;
        let behind = at.checked_add(LARGEST_SHIFT).ok()?;
        let offset = |at: Timestamp| self.zone.to_offset(at);
        let steady = offset(before) == offset(at) && offset(at) == offset(behind);
        let mut wall = self.zone.to_datetime(if steady { at } else { before });
        let mut margin = SignedDuration::ZERO;
        let mut best: Option<Timestamp> = None;
        loop {
            wall = self.next_wall(wall)?;
            let (times, left_out) = self.instants(wall)?;
            if left_out {
                // What is made up for comes later than clock times behind the change.
                margin = LARGEST_SHIFT;
            }
            let earliest = times.iter().flatten().min().copied();
            let next = times.into_iter().flatten().filter(|&time| time > at).min();
            best = [best, next].into_iter().flatten().min();
            if let (Some(best), Some(earliest)) = (best, earliest)
                && earliest >= best.checked_add(margin).unwrap_or(best)
            {
                return Some(best);
            }
        }
    }

    /// Whether this is one of the times.
    #[must_use]
    pub(crate) fn contains(&self, at: Timestamp) -> bool {
        at.checked_sub(SignedDuration::from_secs(1)).is_ok_and(|before| self.after(before) == Some(at))
    }

    /// The last time from `first`, which is one, up to `until`.
    #[must_use]
    pub(crate) fn last(&self, first: Timestamp, until: Timestamp) -> Option<Timestamp> {
        if first > until {
            return None;
        }
        for step in SEARCHED {
            let Some(start) = until.checked_sub(step).ok().filter(|start| *start > first) else { break };
            let mut last = self.after(start).filter(|time| *time <= until);
            while let Some(next) = last.and_then(|time| self.after(time)).filter(|time| *time <= until) {
                last = Some(next);
            }
            if last.is_some() {
                return last;
            }
        }
        // Rarer than once a year, or not long ago.
        let mut last = first;
        while let Some(next) = self.after(last).filter(|time| *time <= until) {
            last = next;
        }
        Some(last)
    }

    fn next_wall(&self, after: DateTime) -> Option<DateTime> {
        let after = after.to_zoned(TimeZone::UTC).ok()?.timestamp();
        let next = self.wall.find_next(MakeTimestamp(after)).ok()?;
        Some(next.datetime())
    }

    /// When a clock shows this time, and whether a change left it out.
    fn instants(&self, wall: DateTime) -> Option<([Option<Timestamp>; 2], bool)> {
        let ambiguous = self.zone.to_ambiguous_timestamp(wall);
        Some(match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } => ([ambiguous.compatible().ok(), None], false),
            // What names its hour is made up for after the change, as by the cron of Debian: a nightly run is not to be
            // missing once a year. The next quarter of an hour comes by itself.
            AmbiguousOffset::Gap { .. } if self.fixed => ([ambiguous.compatible().ok(), None], true),
            AmbiguousOffset::Gap { .. } => ([None, None], false),
            // And it runs once in an hour that comes twice, while every quarter of an hour is one, twice.
            AmbiguousOffset::Fold { .. } if self.fixed => ([ambiguous.earlier().ok(), None], false),
            AmbiguousOffset::Fold { .. } => {
                ([self.zone.to_ambiguous_timestamp(wall).earlier().ok(), ambiguous.later().ok()], false)
            }
        })
    }
}

fn find_zone(name: Option<&str>) -> Result<TimeZone, CronError> {
    let Some(name) = name else { return Ok(TimeZone::UTC) };
    // Those of this program and not of the machine: two runners must not come to different times.
    TimeZoneDatabase::bundled().get(name).map_err(|_| CronError::Zone(name.to_owned()))
}

/// The names of the time zones.
pub(crate) fn zone_names() -> Vec<String> {
    TimeZoneDatabase::bundled().available().map(|name| name.to_string()).collect()
}

/// What `cronexpr` says of a field, as one line: its message shows the fields with one blank between them, and points at a
/// column.
fn in_words(cron: &str, fields: &[&str], message: &str) -> CronError {
    let last = message.lines().last().unwrap_or(message);
    let Some((blank, reason)) = last.split_once("^ ") else {
        return CronError::whole(last.trim().to_owned());
    };
    let column = blank.chars().count();
    let (mut shown, mut written) = (0, 0);
    for (field, name) in fields.iter().zip(FIELDS) {
        // Whatever blanks were written between them.
        let start =
            cron.get(written..).and_then(|rest| rest.find(field)).map_or(written, |gap| written + gap);
        (shown, written) = (shown + field.len() + 1, start + field.len());
        if column < shown {
            let why = format!("the field for the {name}, `{field}`: {}", plain(reason));
            return CronError::Expression { why, field: Some(start..written) };
        }
    }
    CronError::whole(plain(reason))
}

/// A range as people write it: `value must be in range 0..=23; found 25` uses the notation of Rust.
fn plain(reason: &str) -> String {
    let range = || {
        let (range, found) = reason.strip_prefix("value must be in range ")?.split_once("; found ")?;
        let (first, last) = range.split_once("..=")?;
        Some(format!("{found} is not between {first} and {last}"))
    };
    range().unwrap_or_else(|| reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(cron: &str, zone: &str) -> CronTimes {
        CronTimes::new(cron, Some(zone)).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The times from `first` to `last`, in local time.
    fn local(cron: &str, zone: &str, first: &str, last: &str) -> Vec<String> {
        let times = times(cron, zone);
        let mut found = Vec::new();
        let mut time = at(first);
        while let Some(next) = times.after(time).filter(|next| *next <= at(last)) {
            assert!(times.contains(next));
            found.push(next.to_zoned(times.zone.clone()).strftime("%d %H:%M %z").to_string());
            time = next;
        }
        found
    }

    #[test]
    fn a_nightly_time_comes_once_on_the_days_of_a_change() {
        let spring = local("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", "2026-03-30T12:00:00Z");
        assert_eq!(spring, ["28 02:30 +0100", "29 03:30 +0200", "30 02:30 +0200"]);
        let autumn = local("30 2 * * *", "Europe/Berlin", "2026-10-24T00:00:00Z", "2026-10-26T12:00:00Z");
        assert_eq!(autumn, ["24 02:30 +0200", "25 02:30 +0200", "26 02:30 +0100"]);
        // What is made up for does not hide what comes before it.
        let both = local("45 2 * * *", "America/New_York", "2026-03-08T05:00:00Z", "2026-03-08T12:00:00Z");
        assert_eq!(both, ["08 03:45 -0400"]);
        let two = local("0,45 2,3 * * *", "America/New_York", "2026-03-08T05:00:00Z", "2026-03-08T12:00:00Z");
        assert_eq!(two, ["08 03:00 -0400", "08 03:45 -0400"]);
    }

    #[test]
    fn an_interval_counts_hours_that_are_there() {
        let spring = local("0 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-29T02:00:00Z");
        assert_eq!(spring, ["29 03:00 +0200", "29 04:00 +0200"]);
        let autumn = local("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z");
        assert_eq!(autumn, ["25 02:30 +0200", "25 02:00 +0100", "25 02:30 +0100", "25 03:00 +0100"]);
        // Half an hour is what Lord Howe changes by.
        let half =
            local("*/15 * * * *", "Australia/Lord_Howe", "2026-10-03T15:15:00Z", "2026-10-03T16:00:00Z");
        assert_eq!(half, ["04 02:30 +1100", "04 02:45 +1100", "04 03:00 +1100"]);
    }

    /// Every minute of two years, by what a clock shows in it.
    #[test]
    fn an_interval_comes_whenever_the_clock_shows_it() {
        for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"] {
            let times = times("*/20 1-3 * * 0,6", zone);
            let mut expected = Vec::new();
            let mut minute = at("2026-01-01T00:00:00Z");
            while minute < at("2028-01-01T00:00:00Z") {
                let shown = times.zone.to_datetime(minute);
                let weekend = matches!(shown.weekday().to_sunday_zero_offset(), 0 | 6);
                if weekend && (1..=3).contains(&shown.hour()) && shown.minute() % 20 == 0 {
                    expected.push(minute);
                }
                // Changes of Lord Howe and the others are at whole minutes, and twenty divides none of them.
                minute += SignedDuration::from_mins(10);
            }
            let mut found = Vec::new();
            let mut last = at("2025-12-31T23:59:00Z");
            while let Some(next) = times.after(last).filter(|next| *next < at("2028-01-01T00:00:00Z")) {
                found.push(next);
                last = next;
            }
            assert_eq!(found, expected, "{zone}");
        }
    }

    #[test]
    fn the_last_of_many_is_found_without_counting_them() {
        let minutes = times("* * * * *", "UTC");
        let first = at("2020-01-01T00:00:00Z");
        assert_eq!(minutes.last(first, at("2026-05-05T05:05:05Z")), Some(at("2026-05-05T05:05:00Z")));
        let yearly = times("0 0 29 2 *", "UTC");
        let leap = at("2024-02-29T00:00:00Z");
        assert_eq!(yearly.last(leap, at("2027-05-05T05:05:05Z")), Some(leap));
        assert_eq!(yearly.last(leap, at("2029-05-05T05:05:05Z")), Some(at("2028-02-29T00:00:00Z")));
        assert_eq!(yearly.last(leap, at("2024-02-28T00:00:00Z")), None);
    }

    #[track_caller]
    fn check_error(cron: &str, zone: Option<&str>, expected: &str) {
        assert_eq!(CronTimes::new(cron, zone).unwrap_err().to_string(), expected);
    }

    #[test]
    fn what_is_wrong_is_said_by_field() {
        check_error("0 25 * * *", None, "the field for the hour, `25`: 25 is not between 0 and 23");
        let five = "must have five fields (minute, hour, day of month, month, day of week)";
        check_error("0 2 * *", None, &format!("{five}, found 4"));
        check_error("@daily", None, &format!("{five}, `@daily` is not understood"));
        check_error("0 0 30 2 *", None, "never comes: no month has such a day");
        check_error("0 2 * * *", Some("Europe/Berln"), "there is no time zone `Europe/Berln`");
    }

    #[test]
    fn the_place_of_a_wrong_field_is_known() {
        for (cron, wrong) in [
            ("0 25 * * *", "25"),
            ("  5   5  5 \t 13 * ", "13"),
            ("*/5 * 1-99 * *", "1-99"),
            ("0 2 * * wed-", "wed-"),
        ] {
            let Err(CronError::Expression { field: Some(field), .. }) = CronTimes::new(cron, None) else {
                panic!("{cron}")
            };
            assert_eq!(cron.get(field), Some(wrong), "{cron}");
        }
    }
}
